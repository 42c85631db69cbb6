"""Content of files that others wrote: of limited size, and in whatever coding."""

from __future__ import annotations

import codecs
import errno
import os
import stat
from pathlib import Path

_MOST_BYTES = 1 << 28


def read_limited(path: Path, most: int = _MOST_BYTES) -> bytes:
    """Content of a regular file of limited size: no pipe or device that never ends is waited for.

    Parameters
    ----------
    path : Path
        The file.
    most : int
        Largest size. [bytes]

    Raises
    ------
    OSError
        If it cannot be read, is no regular file, or is larger.
    """
    try:
        # Without a writer a pipe would make the plain opening wait.
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
    except ValueError as error:  # a name that no file has
        raise OSError(errno.ENOENT, str(error), str(path)) from None
    with open(descriptor, "rb") as file:
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise OSError(errno.EINVAL, "no regular file", str(path))
        content = file.read(most + 1)
    if len(content) > most:
        raise OSError(errno.EFBIG, f"more than {most} bytes", str(path))
    return content


def decoded(content: bytes) -> str:
    """Text of a file from an instrument, a spreadsheet or a simulator.

    UTF-8 or UTF-16 with a byte order mark or without, otherwise Windows-1252 or, where that has no such character,
    Latin-1.

    Raises
    ------
    UnicodeDecodeError
        If UTF-16 is damaged.
    """
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return content.decode("utf-16")
    head = content[:2000]
    # Plain text in UTF-16 has a zero in every other byte, and in no other coding any.
    for offset, name in ((1, "utf-16-le"), (0, "utf-16-be")):
        if len(head) > 3 and not any(head[offset::2]):
            return content.decode(name)
    for name in ("utf-8-sig", "cp1252"):
        try:
            return content.decode(name)
        except UnicodeDecodeError:
            continue
    return content.decode("latin-1")
