"""One figure of a check beside the bound that it has to keep, and how figures are formed."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Check:
    """One figure.

    Attributes
    ----------
    claim : str
        What it is about.
    figure : str
        What was measured.
    where : str
        Of which layer, or in which form.
    value : float
        The figure.
    low, high : float
        Bounds that it must lie within.
    """

    claim: str
    figure: str
    where: str
    value: float
    low: float = -math.inf
    high: float = math.inf

    @property
    def passed(self) -> bool:
        """Whether the figure keeps its bounds."""
        return self.low <= self.value <= self.high

    @property
    def bound(self) -> str:
        """The bounds in words."""
        if self.low == -math.inf:
            return f"≤ {self.high:g}"
        return f"≥ {self.low:g}" if self.high == math.inf else f"{self.low:g} … {self.high:g}"


def cosine(found: Tensor, wanted: Tensor) -> float:
    """Cosine of the angle between two tensors."""
    return float((found * wanted).sum() / (found.norm() * wanted.norm()))


def relative_difference(found: Tensor, wanted: Tensor) -> float:
    """Norm of the difference over that of what is wanted, which does not vanish."""
    return float((found - wanted).norm() / wanted.norm())


def flattened(gradients: dict[str, Tensor]) -> Tensor:
    """All parameters' values in a row, in the order of their names."""
    return torch.cat([gradients[name].flatten() for name in sorted(gradients)])


def order(steps: Sequence[float], errors: Sequence[float]) -> float:
    """Exponent p of error ∝ step^p between the last two of a series."""
    return math.log(errors[-2] / errors[-1]) / math.log(steps[-2] / steps[-1])
