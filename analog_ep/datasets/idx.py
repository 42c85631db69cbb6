"""The idx format, MNIST's own: a magic number, big-endian sizes, then the values."""

from __future__ import annotations

import math
import struct
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from analog_ep.datasets.dataset import Dataset, Shape
from analog_ep.datasets.packed import MOST_BYTES, PackedFile, opened, packed_file
from analog_ep.errors import DataError

_TYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
"""Type codes in the third byte of the magic number."""

_MOST_DIMENSIONS = 8

_PARTS = ("train", "t10k")


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
    with opened(path) as file:
        return _values(path, file)


def _values(path: Path, file: PackedFile) -> np.ndarray:
    dtype, shape = _header(path, file)
    expected = math.prod(shape) * dtype.itemsize
    if not 0 < expected <= MOST_BYTES:
        raise DataError(
            f"{path} must hold at least one sample and at most {MOST_BYTES:,} bytes of values, found the shape {shape}"
        )
    # One byte more than there may be; a gzip file is unpacked no further, whatever it holds.
    content = file.read(expected + 1)
    if len(content) != expected:
        found = f"{len(content)} or more" if len(content) > expected else len(content)
        raise DataError(
            f"{path} must hold {expected} bytes of values for its shape {shape}, found {found}; copy it again"
        )
    return np.frombuffer(content, dtype).reshape(shape).astype(dtype.newbyteorder("="))


def _header(path: Path, file: PackedFile) -> tuple[np.dtype, tuple[int, ...]]:
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


def is_idx(folder: Path) -> bool:
    """Whether a folder holds one of the four files of such a set."""
    return any(_stem_file(folder, *stem) for part in _PARTS for stem in _stems(part))


def load_idx(folder: Path, n_classes: int) -> Dataset:
    """The four files of a folder that are named as MNIST's, gzipped or not, as a set of `n_classes`.

    Bytes are divided by 255, floats must lie in −1…1.

    Raises
    ------
    DataError
        If a file is missing, damaged, or does not fit the others.
    """
    (train_x, train_y, shape), (test_x, test_y, _) = (_part(folder, part) for part in _PARTS)
    return Dataset(str(folder), train_x, train_y, test_x, test_y, n_classes, shape)


def _part(folder: Path, part: str) -> tuple[Tensor, Tensor, Shape | None]:
    """Features and classes; the shape of images that have rows and columns."""
    images, labels = (read_idx(_required_file(folder, *stem)) for stem in _stems(part))
    if images.ndim < 2 or labels.ndim != 1 or len(images) != len(labels):
        raise DataError(
            f"{folder}: {part} must have one label an image, found images of shape {images.shape} "
            f"and labels of shape {labels.shape}"
        )
    if not np.issubdtype(labels.dtype, np.integer):
        raise DataError(f"{folder}: {part} labels must be integers, found {labels.dtype}")
    if images.dtype != np.uint8 and not np.issubdtype(images.dtype, np.floating):
        raise DataError(f"{folder}: {part} images must be unsigned bytes or floats, found {images.dtype}")
    low, top = (float(bound(images)) for bound in (np.min, np.max))
    # NaN is named with its sample later; of it no comparison is true.
    if images.dtype != np.uint8 and (low < -1 or top > 1):
        raise DataError(
            f"{folder}: {part} images in floats must lie in −1…1, since 1 becomes the input voltage; found "
            f"{low:g}…{top:g}; divide them by {max(-low, top):g}, or store 0…255 as unsigned bytes"
        )
    high = 255.0 if images.dtype == np.uint8 else 1.0
    shape = (1, *images.shape[1:]) if images.ndim == 3 else None
    pixels = np.asarray(images.reshape(len(images), -1) / high, dtype=np.float32)
    return torch.from_numpy(pixels), torch.from_numpy(labels.astype(np.int64)), shape


def _stems(part: str) -> tuple[tuple[str, int], tuple[str, int]]:
    return (f"{part}-images", 3), (f"{part}-labels", 1)


def _stem_file(folder: Path, stem: str, n_dimensions: int) -> Path | None:
    return packed_file(folder, f"{stem}-idx{n_dimensions}-ubyte")


def _required_file(folder: Path, stem: str, n_dimensions: int) -> Path:
    found, name = _stem_file(folder, stem, n_dimensions), f"{stem}-idx{n_dimensions}-ubyte"
    if found is None:
        raise DataError(f"{folder} must hold {name}.gz or {name}, found neither")
    return found
