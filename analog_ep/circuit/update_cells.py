"""The circuit at every conductance that makes it learn by itself, and in what one differs from the next."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from analog_ep.circuit.drawing import require_spread, stream
from analog_ep.errors import CircuitError


@dataclass(frozen=True)
class UpdateCells:
    r"""A capacitor for each conductance, and a multiplier that charges it by equilibrium propagation's local rule.

    The charge w, from 0 to 1 V, sets :math:`g = g_\min + (g_\max - g_\min) w`. A write phase changes it by

    .. math:: \Delta w = -\eta\, \frac{w_s}{w_L \beta}\, (g_\max - g_\min)\,
              \tfrac12 (1 + \epsilon) (v^\beta - v^0 + o) (v^\beta + v^0)

    with the offset o and the gain error ε of its own multiplier, and between writes the charge leaks.

    Parameters
    ----------
    capacitance : float
        That of the charge; positive. [F]
    leak_time : float
        Time constant with which the charge leaks to 0 V; positive, infinite for none. [s]
    offset_spread : float
        Standard deviation of o over the cells. [V]
    gain_spread : float
        Standard deviation of ε over the cells.
    seed : int
        Of the drawn values; each parameter has a stream of its own.

    Raises
    ------
    CircuitError
        If a value is out of its range.
    """

    capacitance: float = 1e-12
    leak_time: float = float("inf")
    offset_spread: float = 0.0
    gain_spread: float = 0.0
    seed: int = 0

    def __post_init__(self):
        if not 0 < self.capacitance < float("inf"):
            raise CircuitError(f"the capacitance of a charge must be positive and finite, found {self.capacitance} F")
        if not self.leak_time > 0:
            raise CircuitError(f"the time constant of a charge's leak must be positive, found {self.leak_time} s")
        require_spread("the update cells' offsets", self.offset_spread)
        require_spread("the update cells' gains", self.gain_spread)

    @property
    def leak(self) -> float:
        """Conductance beside every charge. [S]"""
        return self.capacitance / self.leak_time

    def offsets(self, label: str, count: int) -> np.ndarray:
        """O of the cells of one group, `(count,)`. [V]"""
        # Without -0.0, which a netlist would show.
        return self.offset_spread * stream(self.seed, f"{label}.offset").standard_normal(count) + 0.0

    def gains(self, label: str, count: int) -> np.ndarray:
        """1 + ε of the cells of one group, `(count,)`."""
        return 1 + self.gain_spread * stream(self.seed, f"{label}.gain").standard_normal(count)
