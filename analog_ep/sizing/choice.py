"""What was taken of one axis of a design, and of what."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Choice:
    """What was taken of one axis.

    Attributes
    ----------
    axis, name : str
        The axis, and its variant.
    accuracies : dict of str to float
        Of every variant, mean over the seeds, on the samples held back; NaN where it fails to train.
    """

    axis: str
    name: str
    accuracies: dict[str, float]
