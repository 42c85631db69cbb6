"""What numbers a network of conductances may be made of, and may hold."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from analog_ep.errors import NetworkError


def require_positive(label: str, values: Tensor, unit: float = 1.0) -> None:
    """Raise `NetworkError` where values, in that unit of siemens, are no conductances."""
    low, high = (float(bound) for bound in torch.aminmax(values))
    if not (low > 0 and high < float("inf")):
        raise NetworkError(
            f"{label}: conductances must be positive and finite, found {(high if low > 0 else low) * unit:g} S; keep "
            f"them in conductance_range, as Update does"
        )


def positive_number(name: str, value: float) -> float:
    """A positive and finite number, or `NetworkError`."""
    number = _number(name, value)
    if not (0 < number < float("inf")):
        raise NetworkError(f"{name} must be positive and finite, found {value}")
    return number


def _number(name: str, value: float) -> float:
    try:
        return float(value)
    except (TypeError, ValueError, OverflowError):
        raise NetworkError(f"{name} must be made of numbers, found {value!r}") from None


def positive_range(name: str, value: tuple[float, float]) -> tuple[float, float]:
    """Two positive numbers in their order, or `NetworkError`."""
    if not isinstance(value, Sequence) or len(value) != 2:
        raise NetworkError(f"{name} must be two numbers, low and high, found {value!r}")
    low, high = (_number(name, bound) for bound in value)
    if not (0 < low <= high < float("inf")):
        raise NetworkError(f"{name} must be 0 < low ≤ high, found {value}")
    return low, high
