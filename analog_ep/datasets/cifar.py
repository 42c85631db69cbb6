"""CIFAR-10 in its binary version: records of a label and the bytes of an image, in files named as its authors do."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from analog_ep.datasets.dataset import Dataset, Shape
from analog_ep.datasets.packed import opened, packed_file
from analog_ep.datasets.pixels import Channels, features, grey
from analog_ep.errors import DataError

_SHAPE: Shape = (3, 32, 32)
_RECORD = 1 + 3 * 32 * 32
_N_CLASSES = 10
_MOST_RECORDS = 60_000
"""Of one file: the whole set."""

_TRAIN = tuple(f"data_batch_{number}.bin" for number in range(1, 6))
_TEST = "test_batch.bin"


def is_cifar(folder: Path) -> bool:
    """Whether a folder holds one of the files of such a set."""
    return any(packed_file(folder, name) for name in (*_TRAIN, _TEST))


def load_cifar(folder: Path, channels: Channels | None = None) -> Dataset:
    """``data_batch_1.bin`` and those that follow, as many as there are, and ``test_batch.bin`` [1]_.

    Parameters
    ----------
    folder : Path
        What ``cifar-10-binary.tar.gz`` unpacks to; each file may be gzipped, with a name that ends in ``.gz``.
    channels : 1 or 3, optional
        Grey images, or red, green and blue ones; by default 3.

    Raises
    ------
    DataError
        If the first file of a part or one in between is missing, or a file is no whole number of records, has more of
        them than the whole set, or holds a label beyond 9.

    References
    ----------
    .. [1] A. Krizhevsky, "Learning multiple layers of features from tiny images," 2009; "Binary version" on
       https://www.cs.toronto.edu/~kriz/cifar.html.
    """
    train, test = (_part(folder, names, channels or 3) for names in (_TRAIN, (_TEST,)))
    return Dataset(str(folder), *train, *test, n_classes=_N_CLASSES, shape=(channels or 3, *_SHAPE[1:]))


def _part(folder: Path, names: Sequence[str], channels: Channels) -> tuple[Tensor, Tensor]:
    """Features and classes of a part."""
    found = [packed_file(folder, name) for name in names]
    count = 1 + max((at for at, path in enumerate(found) if path), default=0)
    for name, path in zip(names, found[:count], strict=False):
        if path is None:
            raise DataError(f"{folder} must hold {name}.gz or {name}, found neither")
    records = np.concatenate([_records(path) for path in found if path])
    images = records[:, 1:].reshape(-1, *_SHAPE)
    labels = torch.from_numpy(records[:, 0].astype(np.int64))
    return features(grey(images) if channels == 1 else images), labels


def _records(path: Path) -> np.ndarray:
    with opened(path) as file:
        # One byte more than there may be; a gzip file is unpacked no further, whatever it holds.
        content = file.read(_MOST_RECORDS * _RECORD + 1)
    if not content or len(content) % _RECORD or len(content) > _MOST_RECORDS * _RECORD:
        raise DataError(
            f"{path} must hold 1 to {_MOST_RECORDS:,} records of {_RECORD:,} bytes, found {len(content):,} bytes; copy "
            "the binary version of CIFAR-10 again"
        )
    records = np.frombuffer(content, np.uint8).reshape(-1, _RECORD)
    beyond = np.flatnonzero(records[:, 0] >= _N_CLASSES)
    if len(beyond):
        at = int(beyond[0])
        raise DataError(
            f"{path}: labels must lie in 0…{_N_CLASSES - 1}, found {records[at, 0]} in record {at}; copy the binary "
            "version of CIFAR-10 again"
        )
    return records
