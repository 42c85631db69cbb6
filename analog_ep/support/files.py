"""Files that are either whole or not there, and temporary ones that do not outlive their process for long."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import shutil
import stat
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

if sys.platform != "win32":
    import fcntl

_DRAFT = ".analog_ep."
_FOLDER = "analog_ep-"


def require_regular(path: Path) -> None:
    """Raise `OSError` unless the path leads to a file: a pipe may never end, nor answer, and a device neither.

    Raises
    ------
    OSError
        With what was found as its `strerror`.
    """
    mode = os.stat(path).st_mode
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, "a folder", str(path))
    if not stat.S_ISREG(mode):
        raise OSError(errno.EINVAL, "a pipe, a device or a socket; copy it to a file", str(path))


def read_bounded(path: Path, most: int) -> bytes:
    """The content of a file of `most` bytes or less.

    Raises
    ------
    OSError
        If it cannot be read, is no file, or is longer.
    """
    require_regular(path)
    with path.open("rb") as file:
        content = file.read(most + 1)
    if len(content) > most:
        raise OSError(errno.EFBIG, f"more than {most:,} bytes", str(path))
    return content


def is_utf8(path: Path | str) -> bool:
    """Whether every library can open the path: some take UTF-8 alone."""
    try:
        str(path).encode()
    except UnicodeEncodeError:
        return False
    return True


def write_atomically(path: Path, content: bytes | str) -> None:
    """Write a file that, whatever interrupts, holds either what it held before or all of `content`.

    What a killed process left behind when it wrote the same file is removed. A link is followed; a device or pipe is
    written as it is.

    Parameters
    ----------
    path : Path
        Where to write; its folder must exist.
    content : bytes or str
        What to write; a string as UTF-8.

    Raises
    ------
    OSError
        If the folder cannot be written, or has no room; it names the file.
    """
    data = content.encode() if isinstance(content, str) else content
    if path.exists() and not path.is_file():
        path.write_bytes(data)
        return
    path = Path(os.path.realpath(path))
    remove_abandoned(path.parent, path.name)
    descriptor, name = _locked_file(path.parent, _draft_prefix(path.name))
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(descriptor)
            os.chmod(name, 0o666 & ~_umask())
            os.replace(name, path)
    except BaseException as error:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(name)
        if isinstance(error, OSError) and error.errno is not None:
            # A full disk does not say which file had no room.
            raise OSError(error.errno, os.strerror(error.errno), str(path)) from None
        raise


@contextmanager
def draft_folder(path: Path) -> Iterator[Path]:
    """A folder beside a path, to be filled and then renamed to it; removed at the end where it was not.

    Parameters
    ----------
    path : Path
        The name that the folder gets; its own folder must exist.
    """
    remove_abandoned(path.parent, path.name)
    with _locked_folder(path.parent, _draft_prefix(path.name)) as folder:
        yield folder


@contextmanager
def private_folder() -> Iterator[Path]:
    """A temporary folder that ends with the context; those of killed processes are removed too, once a process.

    Raises
    ------
    OSError
        If there is no folder for temporary files that can be written.
    """
    parent = Path(tempfile.gettempdir())
    _remove_abandoned_once(parent)
    with _locked_folder(parent, _FOLDER) as folder:
        yield folder


def remove_abandoned(folder: Path, name: str | None = None) -> None:
    """Remove the drafts that killed processes left in a folder.

    Parameters
    ----------
    folder : Path
        Where to look.
    name : str, optional
        Only those of the file or folder of this name.
    """
    _remove_unlocked(folder, _DRAFT if name is None else _draft_prefix(name))


def _draft_prefix(name: str) -> str:
    """Tells drafts of one name from those of others, and is short where the name is long."""
    return f"{_DRAFT}{hashlib.sha256(os.fsencode(name)).hexdigest()[:12]}."


@cache
def _remove_abandoned_once(parent: Path) -> None:
    _remove_unlocked(parent, _FOLDER)


def _remove_unlocked(folder: Path, prefix: str) -> None:
    with contextlib.suppress(OSError):
        for entry in os.scandir(folder):
            if entry.name.startswith(prefix):
                _remove_if_unlocked(Path(entry.path))


def _remove_if_unlocked(path: Path) -> None:
    """Remove a file or folder of this user if the process that made it has ended, which frees its lock."""
    if sys.platform == "win32":
        return
    with contextlib.suppress(OSError):
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        try:
            found = os.fstat(descriptor)
            if found.st_uid == os.geteuid() and _lock(descriptor):
                if stat.S_ISDIR(found.st_mode):
                    shutil.rmtree(path, ignore_errors=True)
                elif stat.S_ISREG(found.st_mode):
                    path.unlink()
        finally:
            os.close(descriptor)


def _locked_file(parent: Path, prefix: str) -> tuple[int, str]:
    """Descriptor and name of a new file, which is this process's until it is closed."""
    while True:
        descriptor, name = tempfile.mkstemp(prefix=prefix, dir=parent)
        if _keep(descriptor, name):
            return descriptor, name
        os.close(descriptor)


@contextmanager
def _locked_folder(parent: Path, prefix: str) -> Iterator[Path]:
    """A new folder, which is this process's until the end of the context."""
    while True:
        folder, lock = Path(tempfile.mkdtemp(prefix=prefix, dir=parent)), contextlib.ExitStack()
        if sys.platform == "win32":
            break
        with contextlib.suppress(FileNotFoundError):
            descriptor = os.open(folder, os.O_RDONLY)
            lock.callback(os.close, descriptor)
            if _keep(descriptor, folder):
                break
            lock.close()
    with lock:
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def _keep(descriptor: int, name: str | Path) -> bool:
    """Lock what was just made; false where another process took it for abandoned before."""
    try:
        return _lock(descriptor) and os.path.exists(name)
    except OSError:
        # Where files cannot be locked none is ever taken for abandoned.
        return True


def _lock(descriptor: int) -> bool:
    """Lock an open file or folder until it is closed; false where another process has it."""
    if sys.platform == "win32":
        raise OSError("there are no such locks")
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _umask() -> int:
    """The process's umask; the system gives it only by setting it."""
    mask = os.umask(0o022)
    os.umask(mask)
    return mask
