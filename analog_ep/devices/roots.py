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
    """Root of an increasing function, elementwise: Newton, with bisection wherever Newton leaves the bracket.

    `slope` is at least `scale` everywhere, so the root lies within |value|/scale, which bounds the side not yet seen.
    """
    x = start
    low, high = torch.full_like(x, -torch.inf), torch.full_like(x, torch.inf)
    tolerance = 2 * torch.finfo(x.dtype).eps
    for _ in range(_MAX_NEWTON_STEPS):
        value = function(x)
        reach = value.abs() / scale
        low = torch.maximum(low, torch.where(value < 0, x, torch.where(value > 0, x - reach, low)))
        high = torch.minimum(high, torch.where(value > 0, x, torch.where(value < 0, x + reach, high)))
        proposal = x - value / slope(x)
        middle = 0.5 * (low + high)
        usable = (proposal >= low) & (proposal <= high)
        proposal = torch.where(usable, proposal, torch.where(torch.isfinite(middle), middle, x))
        settled = ((proposal - x).abs() <= tolerance * proposal.abs()) | (value == 0)
        x = torch.where(value == 0, x, proposal)
        if bool(settled.all()):
            break
    return x
