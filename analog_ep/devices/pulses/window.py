"""The explicit map between a device's state and its conductance."""

from __future__ import annotations

import math
from dataclasses import dataclass

from torch import Tensor

from analog_ep.errors import DeviceParameterError


@dataclass(frozen=True)
class ConductanceMap:
    r"""The affine map :math:`g = g_{min} + (g_{max} - g_{min}) (w - w_{min}) / (w_{max} - w_{min})`.

    Pulse models of the literature live in a dimensionless state w; everything outside them is in siemens.

    Parameters
    ----------
    w_min, w_max : float
        States at the ends, w_min < w_max.
    g_min, g_max : float
        Conductances at the ends, 0 <= g_min < g_max. [S]

    Raises
    ------
    DeviceParameterError
        If an interval is empty or not finite.
    """

    w_min: float
    w_max: float
    g_min: float
    g_max: float

    def __post_init__(self):
        for low, high, name in ((self.w_min, self.w_max, "w"), (self.g_min, self.g_max, "g")):
            if not (math.isfinite(low) and math.isfinite(high) and low < high):
                raise DeviceParameterError(
                    f"ConductanceMap: {name}_min must be below {name}_max, both finite, found {low} and {high}"
                )
        if self.g_min < 0:
            raise DeviceParameterError(f"ConductanceMap: g_min must not be negative, found {self.g_min}")

    @property
    def slope(self) -> float:
        """Conductance of one unit of the state. [S]"""
        return (self.g_max - self.g_min) / (self.w_max - self.w_min)

    def conductance(self, state: Tensor) -> Tensor:
        """Conductance g of a state w. [S]"""
        return self.g_min + (state - self.w_min) * self.slope

    def state(self, conductance: Tensor) -> Tensor:
        """State w of a conductance g [S]."""
        return self.w_min + (conductance - self.g_min) / self.slope
