"""The idx format, MNIST's own: a magic number, big-endian sizes, then the values."""

from __future__ import annotations

import gzip
import math
import struct
import zlib
from pathlib import Path

import numpy as np

from analog_ep.errors import DataError

_TYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
"""Type codes in the third byte of the magic number."""


def read_idx(path: Path) -> np.ndarray:
    """Read one idx file, gzipped or not.

    Parameters
    ----------
    path : Path
        The file; gzipped where its name ends in ``.gz``.

    Returns
    -------
    ndarray
        The values in their own type, native byte order, in the shape that the file states.

    Raises
    ------
    DataError
        If the file cannot be read, is not idx, or is shorter or longer than its sizes say.

    References
    ----------
    .. [1] LeCun, Cortes, Burges, "The MNIST database of handwritten digits," section "File formats".
    """
    content = _content(path)
    if len(content) < 4 or content[:2] != b"\0\0" or content[2] not in _TYPES or content[3] == 0:
        raise DataError(
            f"{path} must begin with an idx magic number such as 00 00 08 03, found {content[:4].hex(' ') or 'nothing'}"
        )
    header = 4 + 4 * content[3]
    if len(content) < header:
        raise DataError(f"{path} must state {content[3]} sizes, found the end of the file; copy it again")
    shape = struct.unpack(f">{content[3]}I", content[4:header])
    dtype = np.dtype(_TYPES[content[2]])
    expected = math.prod(shape) * dtype.itemsize
    if len(content) - header != expected:
        raise DataError(
            f"{path} must hold {expected} bytes of values for its shape {shape}, found {len(content) - header}; "
            "copy it again"
        )
    return np.frombuffer(content, dtype, offset=header).reshape(shape).astype(dtype.newbyteorder("="))


def _content(path: Path) -> bytes:
    try:
        raw = path.read_bytes()
        return gzip.decompress(raw) if path.suffix == ".gz" else raw
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise DataError(f"{path} must be a whole gzip file, found a damaged one ({error}); copy it again") from None
    except OSError as error:
        raise DataError(f"{path} must be readable, found: {error.strerror}") from None
