"""Samples with classes or targets, in two parts: one to learn from, one to be tested with."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from analog_ep.errors import DataError
from analog_ep.stimulus import Cost

Scaling = Literal["unit", "centred", "standardised"]

Shape = tuple[int, int, int]
"""Channels, height and width of images."""


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
    shape : (int, int, int), optional
        Channels, height and width, where the samples are images that tell.

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
    shape: Shape | None = None

    def __post_init__(self):
        for part in ("train", "test"):
            _check_part(f"{self.name}, {part} part", *self.part(part), self.n_classes)
        if self.train_inputs.shape[1] != self.test_inputs.shape[1]:
            widths = self.train_inputs.shape[1], self.test_inputs.shape[1]
            raise DataError(f"{self.name}: both parts must have one number of features, found {widths}")
        if self.shape is not None and math.prod(self.shape) != self.n_features:
            raise DataError(
                f"{self.name}: images of shape {self.shape} must fill a sample, found {self.n_features} features"
            )

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
