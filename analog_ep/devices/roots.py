"""Roots of increasing functions, elementwise: where characteristics meet their loads."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor

_MAX_NEWTON_STEPS = 100


class Characteristic(Protocol):
    """What has a non-decreasing current: one diode, or all the diodes of a node."""

    def conductance(self, voltage: Tensor) -> Tensor:
        """Slope of the current. [S]"""
        ...

    def current_difference(self, voltage: Tensor, change: Tensor) -> Tensor:
        """Change of the current, at full relative precision. [A]"""
        ...


def newton_change(
    element: Characteristic, total: Tensor, voltage: Tensor, drive: Tensor, knee: Callable[[], Tensor]
) -> Tensor:
    """Solve total·d + Δi(voltage, d) = drive for d, from the better of the linearised and the `knee` estimate."""

    def imbalance(d: Tensor) -> Tensor:
        return total * d + element.current_difference(voltage, d) - drive

    # Small changes begin at the linearised one, which is exact in the limit; large ones at the knee estimate, since
    # beyond a knee the linearised change overshoots exponentially.
    linear, estimate = drive / (total + element.conductance(voltage)), knee()
    start = torch.where(imbalance(linear).abs() <= imbalance(estimate).abs(), linear, estimate)
    return bracketed_newton(start, imbalance, lambda d: total + element.conductance(voltage + d), total)


def bracketed_newton(
    start: Tensor, function: Callable[[Tensor], Tensor], slope: Callable[[Tensor], Tensor], scale: Tensor
) -> Tensor:
    """Root of an increasing function, elementwise: Newton, with bisection where that leaves the bracket or is slow.

    `slope` is at least `scale` everywhere, so that the root lies within |value|/scale of any point: of 0 to begin with,
    where exponentials do not overflow. A step that is not half the one before last is a bisection: down a steep
    exponential Newton's method goes one growth voltage at a time. (Press et al., Numerical Recipes, section 9.4,
    ``rtsafe``.) A small step that does not shrink is rounding, and ends the search.
    """
    tolerance = 2 * torch.finfo(start.dtype).eps
    small = tolerance**0.5
    at_zero = function(torch.zeros_like(start))
    low, high = torch.clamp(-at_zero / scale, max=0), torch.clamp(-at_zero / scale, min=0)
    x = torch.minimum(torch.maximum(start, low), high)
    last = before_last = torch.full_like(x, torch.inf)
    for _ in range(_MAX_NEWTON_STEPS):
        value = function(x)
        reach = value.abs() / scale
        low = torch.maximum(low, torch.where(value < 0, x, torch.where(value > 0, x - reach, low)))
        high = torch.minimum(high, torch.where(value > 0, x, torch.where(value < 0, x + reach, high)))
        step, middle = value / slope(x), 0.5 * (low + high)
        slow, tiny = 2 * step.abs() > before_last, step.abs() <= small * x.abs()
        proposal = x - step
        usable = (proposal >= low) & (proposal <= high) & (tiny | ~slow)
        proposal = torch.where(usable | ~torch.isfinite(middle), proposal, middle)
        proposal = torch.where(value == 0, x, proposal)
        before_last, last = last, (proposal - x).abs()
        settled = (last <= tolerance * proposal.abs()) | (slow & tiny)
        x = proposal
        if bool(settled.all()):
            break
    return x
