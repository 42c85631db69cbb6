"""The saturating transfer curve of a differential pair."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from analog_ep.devices.parameters import require, require_finite


@dataclass(frozen=True)
class TanhCurve:
    r"""A voltage that follows another one and saturates on both sides.

    .. math:: f(v) = b + a \tanh(k (v - c))

    Parameters
    ----------
    amplitude : float
        a, half of the range; positive. [V]
    gain : float
        k; positive. [1/V]
    centre : float
        c, where it is steepest. [V]
    level : float
        b, its value there. [V]

    Raises
    ------
    DeviceParameterError
        If a parameter is not finite, or amplitude or gain are not positive.
    """

    amplitude: float = 1.0
    gain: float = 1.0
    centre: float = 0.0
    level: float = 0.0

    def __post_init__(self):
        require_finite("TanhCurve", **{name: getattr(self, name) for name in ("amplitude", "gain", "centre", "level")})
        for name in ("amplitude", "gain"):
            value = getattr(self, name)
            require(torch.tensor(value > 0), f"TanhCurve: {name} must be positive", value)

    def value(self, voltage: Tensor) -> Tensor:
        """The voltage that follows. [V]"""
        return self.level + self.amplitude * self._tanh(voltage)

    def slope(self, voltage: Tensor) -> Tensor:
        """Its derivative."""
        return self.amplitude * self.gain * (1 - self._tanh(voltage) ** 2)

    def curvature(self, voltage: Tensor) -> Tensor:
        """Its second derivative. [1/V]"""
        return -2 * self.gain * self._tanh(voltage) * self.slope(voltage)

    def expression(self, voltage: str, derivative: bool = False) -> str:
        """The voltage that follows, or its derivative, as an expression of the text of the other voltage."""
        tanh = f"tanh({self.gain!r}*({voltage}-({self.centre!r})))"
        if derivative:
            return f"{self.amplitude * self.gain!r}*(1-{tanh}*{tanh})"
        return f"({self.level!r}+{self.amplitude!r}*{tanh})"

    def _tanh(self, voltage: Tensor) -> Tensor:
        return torch.tanh(self.gain * (voltage - self.centre))
