"""Files of samples that may be gzipped: opened with care, and read within a bound."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from io import BufferedReader
from pathlib import Path

from analog_ep.errors import DataError
from analog_ep.support.files import require_regular

MOST_BYTES = 2**31
"""Of values in one part of a set: 45 times MNIST's. They are held in memory, bytes as floats of four."""

PackedFile = gzip.GzipFile | BufferedReader
"""What `opened` gives; of a gzip file no more is unpacked than is read."""


@contextmanager
def opened(path: Path) -> Iterator[PackedFile]:
    """A file to read, unpacked where its name ends in ``.gz``.

    Raises
    ------
    DataError
        If it cannot be read, is no file, or turns out to be damaged in the context.
    """
    try:
        require_regular(path)
        with path.open("rb") as raw, gzip.open(raw) if path.suffix == ".gz" else raw as file:
            yield file
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise DataError(f"{path} must be a whole gzip file, found a damaged one ({error}); copy it again") from None
    except OSError as error:
        raise DataError(f"{path} must be a readable file, found: {error.strerror}") from None


def packed_file(folder: Path, name: str) -> Path | None:
    """`name`.gz or `name` in a folder, whichever is there."""
    return next((path for path in (folder / f"{name}.gz", folder / name) if path.exists()), None)
