"""Samples with classes or targets: three sets that are built in, and MNIST from a folder or from OpenML."""

from __future__ import annotations

from dataclasses import dataclass, replace
from http.client import HTTPException
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from analog_ep.datasets.idx import read_idx
from analog_ep.errors import DataError
from analog_ep.stimulus import Cost

Scaling = Literal["unit", "centred", "standardised"]

BUILT_IN = ("digits", "iris", "xor", "mnist")
"""Names that `load_dataset` knows; anything else is a folder."""

_TEST_SHARE = 0.2
_MNIST_TRAIN = 60_000


@dataclass(frozen=True, eq=False)
class Dataset:
    """Samples with labels, classes or targets, split into a training and a test part.

    Attributes
    ----------
    name : str
        What it is, for messages.
    train_inputs, test_inputs : Tensor (n_samples, n_features)
        Features, float32 or float64: dimensionless, and within ±1 in the training part as loaded, those of a table as
        they stand in it; volts after `in_volts`.
    train_labels, test_labels : Tensor (n_samples,) or (n_samples, n_outputs)
        Classes 0…n_classes − 1, integers; or targets of the outputs, in the type of the features. [V]
    n_classes : int, optional
        Number of classes; None where there are targets.

    Raises
    ------
    DataError
        If a part is empty, inputs and labels differ in number, a feature is not finite, or a label is out of range.
    """

    name: str
    train_inputs: Tensor
    train_labels: Tensor
    test_inputs: Tensor
    test_labels: Tensor
    n_classes: int | None

    def __post_init__(self):
        for part in ("train", "test"):
            _check_part(f"{self.name}, {part} part", *self.part(part), self.n_classes)
        if self.train_inputs.shape[1] != self.test_inputs.shape[1]:
            widths = self.train_inputs.shape[1], self.test_inputs.shape[1]
            raise DataError(f"{self.name}: both parts must have one number of features, found {widths}")

    @property
    def n_features(self) -> int:
        """Number of features of a sample."""
        return self.train_inputs.shape[1]

    def part(self, name: str) -> tuple[Tensor, Tensor]:
        """Inputs and labels of the "train" or "test" part."""
        return getattr(self, f"{name}_inputs"), getattr(self, f"{name}_labels")

    def hold_out(self, n_samples: int, seed: int) -> Dataset:
        """The training part alone, with `n_samples` of it, drawn by `seed`, in place of the test part.

        For choosing hyper-parameters without a look at the test part.

        Raises
        ------
        DataError
            If fewer than two training samples would remain.
        """
        n_train = len(self.train_labels)
        if not 1 <= n_samples <= n_train - 2:
            raise DataError(f"{self.name}: validation must lie in 1…{n_train - 2} samples, found {n_samples}")
        order = torch.from_numpy(np.random.default_rng([seed, n_train]).permutation(n_train))
        rest, held = order[n_samples:], order[:n_samples]
        inputs, labels = self.train_inputs, self.train_labels
        return replace(
            self,
            name=f"{self.name}, validation",
            train_inputs=inputs[rest],
            train_labels=labels[rest],
            test_inputs=inputs[held],
            test_labels=labels[held],
        )

    def scaled(self, scaling: Scaling) -> Dataset:
        """The same samples, scaled by what the training part alone tells.

        Parameters
        ----------
        scaling : "unit", "centred" or "standardised"
            unit: as loaded. centred: less the mean of each feature. standardised: centred, then divided by the root
            mean square over all features, one number, so that a feature that hardly varies is not blown up.

        Raises
        ------
        DataError
            If the features are to be standardised and none of them varies.
        """
        if scaling == "unit":
            return self
        mean = self.train_inputs.mean(0)
        spread = (self.train_inputs - mean).square().mean().sqrt() if scaling == "standardised" else torch.ones(())
        if spread == 0:
            raise DataError(f"{self.name}: to be standardised a feature must vary, found all constant; use unit")
        return replace(
            self, train_inputs=(self.train_inputs - mean) / spread, test_inputs=(self.test_inputs - mean) / spread
        )

    def in_volts(self, input_voltage: float) -> Dataset:
        """The same samples as the voltages that drive a network, `input_voltage` [V] per unit."""
        return replace(
            self, train_inputs=self.train_inputs * input_voltage, test_inputs=self.test_inputs * input_voltage
        )


def targets_of(labels: Tensor, cost: Cost, n_outputs: int, like: Tensor) -> Tensor:
    """Targets `(n_samples, n_outputs)` of labels in the type of `like`: targets as they are, classes by a cost."""
    return labels.to(like) if labels.is_floating_point() else cost.encode(labels, n_outputs, like=like)


def load_dataset(source: str, seed: int = 0, n_classes: int = 10) -> Dataset:
    """Load a data set by name, or from a folder of idx files.

    Parameters
    ----------
    source : str
        "digits" (8 × 8 handwritten digits) and "iris": 80 % for training, 20 % for testing, stratified. "xor": its
        four points are both parts. "mnist": fetched from OpenML and cached by scikit-learn. Anything else: a folder
        with the four idx files named as MNIST's, gzipped or not; bytes are divided by 255, floats must lie in −1…1.
    seed : int
        Seed of the split of digits and iris.
    n_classes : int
        Number of classes of a folder; the built-in sets know their own.

    Raises
    ------
    DataError
        If the source is neither, or its files are missing, damaged or inconsistent.
    """
    if source == "xor":
        return _xor()
    if source == "digits":
        return _split(source, "load_digits", seed)
    if source == "iris":
        return _split(source, "load_iris", seed)
    if source == "mnist":
        return _fetched_mnist()
    if Path(source).is_dir():
        return _from_folder(Path(source), n_classes)
    raise DataError(f"data must be {', '.join(BUILT_IN)} or a folder of idx files, found {source!r}")


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
    return Dataset(name, train_x, _integer(train_y), test_x, _integer(test_y), int(labels.max()) + 1)


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
    cut = _MNIST_TRAIN
    return Dataset("mnist", pixels[:cut], classes[:cut], pixels[cut:], classes[cut:], n_classes=10)


def _from_folder(folder: Path, n_classes: int) -> Dataset:
    (train_x, train_y), (test_x, test_y) = (_idx_part(folder, part) for part in ("train", "t10k"))
    return Dataset(str(folder), train_x, train_y, test_x, test_y, n_classes)


def _idx_part(folder: Path, part: str) -> tuple[Tensor, Tensor]:
    images, labels = read_idx(_idx_file(folder, f"{part}-images", 3)), read_idx(_idx_file(folder, f"{part}-labels", 1))
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
    return _float(images.reshape(len(images), -1), 0.0, high), _integer(labels)


def _idx_file(folder: Path, stem: str, n_dimensions: int) -> Path:
    name = f"{stem}-idx{n_dimensions}-ubyte"
    for candidate in (folder / f"{name}.gz", folder / name):
        if candidate.exists():
            return candidate
    raise DataError(f"{folder} must hold {name}.gz or {name}, found neither")


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())


def _float(values: np.ndarray, low: float | np.ndarray, high: float | np.ndarray) -> Tensor:
    return torch.from_numpy(np.asarray((values - low) / (high - low), dtype=np.float32))


def _integer(values: np.ndarray) -> Tensor:
    return torch.from_numpy(np.asarray(values, dtype=np.int64))


def _check_part(name: str, inputs: Tensor, labels: Tensor, n_classes: int | None) -> None:
    if inputs.ndim != 2 or labels.ndim != (2 if n_classes is None else 1) or len(inputs) != len(labels):
        shapes = tuple(inputs.shape), tuple(labels.shape)
        raise DataError(f"{name}: there must be one label a sample, found inputs and labels of shapes {shapes}")
    if not len(labels):
        raise DataError(f"{name}: at least one sample is needed, found none")
    if n_classes is None:
        _check_targets(name, inputs, labels)
        return
    if inputs.dtype not in (torch.float32, torch.float64) or labels.is_floating_point() or labels.is_complex():
        raise DataError(
            f"{name}: inputs must be float32 or float64 and labels integers, found {inputs.dtype} and {labels.dtype}; "
            "divide pixels of bytes by 255"
        )
    bad = ~torch.isfinite(inputs).all(1)
    if bad.any():
        raise DataError(f"{name}: inputs must be finite, found NaN or infinity in sample {int(bad.nonzero()[0])}")
    outside = (labels < 0) | (labels >= n_classes)
    if outside.any():
        at = int(outside.nonzero()[0])
        raise DataError(f"{name}: labels must lie in 0…{n_classes - 1}, found {int(labels[at])} at sample {at}")


def _check_targets(name: str, inputs: Tensor, targets: Tensor) -> None:
    for what, values in (("inputs", inputs), ("targets", targets)):
        if values.dtype not in (torch.float32, torch.float64):
            raise DataError(f"{name}: {what} must be float32 or float64, found {values.dtype}")
        bad = ~torch.isfinite(values).all(1)
        if bad.any():
            raise DataError(f"{name}: {what} must be finite, found NaN or infinity in sample {int(bad.nonzero()[0])}")
