"""Files that are either whole or not there."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path


def write_atomically(path: Path, content: bytes | str) -> None:
    """Write a file that, whatever interrupts, holds either what it held before or all of `content`.

    Parameters
    ----------
    path : Path
        Where to write; its folder must exist.
    content : bytes or str
        What to write; a string as UTF-8.

    Raises
    ------
    OSError
        If the folder cannot be written.
    """
    data = content.encode() if isinstance(content, str) else content
    descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(name, 0o666 & ~_umask())
        os.replace(name, path)
    except BaseException:
        os.unlink(name)
        raise


def _umask() -> int:
    """The process's umask; the system gives it only by setting it."""
    mask = os.umask(0o022)
    os.umask(mask)
    return mask
