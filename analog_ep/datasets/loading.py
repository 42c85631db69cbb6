"""Data sets by name, or from a folder: three that are built in, MNIST from OpenML, images of one's own."""

from __future__ import annotations

import math
from http.client import HTTPException
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from analog_ep.datasets.cifar import is_cifar, load_cifar
from analog_ep.datasets.dataset import Dataset
from analog_ep.datasets.idx import is_idx, load_idx
from analog_ep.datasets.image_folder import is_image_folder, load_images
from analog_ep.datasets.pixels import Channels
from analog_ep.errors import DataError

BUILT_IN = ("digits", "iris", "xor", "mnist")
"""Names that `load_dataset` knows; anything else is a folder."""

_FOLDERS = (
    "train-images-idx3-ubyte.gz and MNIST's other idx files, CIFAR-10's data_batch_1.bin and test_batch.bin, or a "
    "folder of images for each class"
)

_TEST_SHARE = 0.2
_MNIST_TRAIN = 60_000


def load_dataset(source: str, seed: int = 0, n_classes: int = 10, channels: Channels | None = None) -> Dataset:
    """Load a data set by name, or from a folder of images.

    Parameters
    ----------
    source : str
        "digits" (8 × 8 handwritten digits) and "iris": 80 % for training, 20 % for testing, stratified. "xor": its
        four points are both parts. "mnist": fetched from OpenML and cached by scikit-learn. Anything else: a folder
        with the four idx files named as MNIST's (`analog_ep.datasets.load_idx`), the binary files of CIFAR-10
        (`analog_ep.datasets.load_cifar`), or images in a folder for each class (`analog_ep.datasets.load_images`).
    seed : int
        Seed of the split of digits, of iris, and of images without parts.
    n_classes : int
        Number of classes of idx files; all others know their own.
    channels : 1 or 3, optional
        Grey or coloured images, of CIFAR-10 and of folders of images; by default as they are.

    Raises
    ------
    DataError
        If the source is neither, or its files are missing, damaged or inconsistent; if channels are given for another
        kind of source.
    """
    folder = Path(source)
    if source not in BUILT_IN and folder.is_dir():
        if is_cifar(folder):
            return load_cifar(folder, channels)
        if not is_idx(folder) and is_image_folder(folder):
            return load_images(folder, channels, seed)
    if channels is not None:
        raise DataError(
            f"channels of images need the binary files of CIFAR-10 or a folder of images, found {source!r}; leave "
            "them out"
        )
    if source == "xor":
        return _xor()
    if source == "digits":
        return _split(source, "load_digits", seed)
    if source == "iris":
        return _split(source, "load_iris", seed)
    if source == "mnist":
        return _fetched_mnist()
    if is_idx(folder):
        return load_idx(folder, n_classes)
    if folder.is_dir():
        raise DataError(f"{source} must hold {_FOLDERS}, found none of these")
    raise DataError(f"data must be {', '.join(BUILT_IN)} or a folder of images, found {source!r}")


def _xor() -> Dataset:
    inputs = torch.tensor([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
    labels = torch.tensor([0, 1, 1, 0])
    return Dataset("xor", inputs, labels, inputs, labels, n_classes=2)


def _split(name: str, loader: str, seed: int) -> Dataset:
    # Loaded where its data are wanted: other commands do not wait for it.
    import sklearn.datasets
    from sklearn.model_selection import train_test_split

    samples: Any = getattr(sklearn.datasets, loader)()
    inputs, labels = samples["data"], samples["target"]
    parts = train_test_split(inputs, labels, test_size=_TEST_SHARE, random_state=seed, stratify=labels)
    train_x, test_x, train_y, test_y = (np.asarray(part) for part in parts)
    # Pixels share a unit and one range; each feature of iris has a range of its own.
    low, high = (0.0, 16.0) if name == "digits" else (train_x.min(0), train_x.max(0))
    train_x, test_x = (_float(x, low, high) for x in (train_x, test_x))
    shape = (1, 8, 8) if name == "digits" else None
    return Dataset(name, train_x, _integer(train_y), test_x, _integer(test_y), int(labels.max()) + 1, shape)


def _fetched_mnist() -> Dataset:
    import sklearn.datasets

    try:
        inputs, labels = sklearn.datasets.fetch_openml(
            "mnist_784", version=1, as_frame=False, return_X_y=True, parser="liac-arff"
        )
    except (OSError, HTTPException, ValueError) as error:
        raise DataError(
            f"mnist must be fetched from openml.org, found: {_one_line(error)}; "
            "go online once, or give a folder with the four idx files"
        ) from None
    pixels, classes = _float(inputs, 0.0, 255.0), _integer(labels.astype(np.int64))
    cut, side = _MNIST_TRAIN, math.isqrt(pixels.shape[1])
    return Dataset("mnist", pixels[:cut], classes[:cut], pixels[cut:], classes[cut:], 10, (1, side, side))


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())


def _float(values: np.ndarray, low: float | np.ndarray, high: float | np.ndarray) -> Tensor:
    return torch.from_numpy(np.asarray((values - low) / (high - low), dtype=np.float32))


def _integer(values: np.ndarray) -> Tensor:
    return torch.from_numpy(np.asarray(values, dtype=np.int64))
