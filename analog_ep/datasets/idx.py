"""The idx format, MNIST's own: a magic number, big-endian sizes, then the values."""

from __future__ import annotations

import gzip
import math
import struct
import zlib
from io import BufferedReader
from pathlib import Path

import numpy as np

from analog_ep.errors import DataError
from analog_ep.support.files import require_regular

_TYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
"""Type codes in the third byte of the magic number."""

_MOST_DIMENSIONS = 8
_MOST_BYTES = 2**31
"""Of values in one file: 45 times MNIST's. They are held in memory, bytes as floats of four."""


def read_idx(path: Path) -> np.ndarray:
    """Read one idx file, gzipped or not; no further than its own sizes say.

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
        If the file cannot be read, is not idx, holds no value or more than 2 GiB of them, or is shorter or longer than
        its sizes say.

    References
    ----------
    .. [1] LeCun, Cortes, Burges, "The MNIST database of handwritten digits," section "File formats".
    """
    try:
        require_regular(path)
        with path.open("rb") as raw, gzip.open(raw) if path.suffix == ".gz" else raw as file:
            return _values(path, file)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise DataError(f"{path} must be a whole gzip file, found a damaged one ({error}); copy it again") from None
    except OSError as error:
        raise DataError(f"{path} must be a readable file, found: {error.strerror}") from None


def _values(path: Path, file: gzip.GzipFile | BufferedReader) -> np.ndarray:
    dtype, shape = _header(path, file)
    expected = math.prod(shape) * dtype.itemsize
    if not 0 < expected <= _MOST_BYTES:
        raise DataError(
            f"{path} must hold at least one sample and at most {_MOST_BYTES:,} bytes of values, found the shape {shape}"
        )
    # One byte more than there may be; a gzip file is unpacked no further, whatever it holds.
    content = file.read(expected + 1)
    if len(content) != expected:
        found = f"{len(content)} or more" if len(content) > expected else len(content)
        raise DataError(
            f"{path} must hold {expected} bytes of values for its shape {shape}, found {found}; copy it again"
        )
    return np.frombuffer(content, dtype).reshape(shape).astype(dtype.newbyteorder("="))


def _header(path: Path, file: gzip.GzipFile | BufferedReader) -> tuple[np.dtype, tuple[int, ...]]:
    """Type and shape of the values that follow."""
    magic = file.read(4)
    if len(magic) < 4 or magic[:2] != b"\0\0" or magic[2] not in _TYPES or magic[3] == 0:
        raise DataError(
            f"{path} must begin with an idx magic number such as 00 00 08 03, found {magic.hex(' ') or 'nothing'}"
        )
    if magic[3] > _MOST_DIMENSIONS:
        raise DataError(f"{path} must have at most {_MOST_DIMENSIONS} dimensions, found {magic[3]}")
    sizes = file.read(4 * magic[3])
    if len(sizes) < 4 * magic[3]:
        raise DataError(f"{path} must state {magic[3]} sizes, found the end of the file; copy it again")
    return np.dtype(_TYPES[magic[2]]), struct.unpack(f">{magic[3]}I", sizes)
