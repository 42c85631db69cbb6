"""The ideal diode: no current below its forward voltage, any current at it."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from analog_ep.devices.diode import require, require_finite
from analog_ep.devices.piecewise import PiecewiseLinearDiode


@dataclass(frozen=True)
class IdealDiode:
    """A clamp: the voltage cannot exceed `forward_voltage`, and whatever current this takes flows.

    An ideal diode has no current–voltage *function*, so it is not a `Diode`: the layer solver clamps the node
    exactly. SPICE has no such element; there, and wherever a solver is compared with SPICE, `spice_model` stands for
    it, and a node that carries the clamp current I ends I/g_on beyond the clamp.

    Parameters
    ----------
    on_conductance : float
        Slope g_on of the element that stands for the clamp in SPICE; positive. [S]
    forward_voltage : float
        Voltage at which the diode begins to conduct. [V]
    """

    on_conductance: float = 1.0
    forward_voltage: float = 0.0

    def __post_init__(self):
        require_finite("IdealDiode", on_conductance=self.on_conductance, forward_voltage=self.forward_voltage)
        require(
            torch.tensor(self.on_conductance > 0),
            f"IdealDiode: on_conductance must be positive, found {self.on_conductance}",
        )

    @property
    def spice_model(self) -> PiecewiseLinearDiode:
        """The piecewise-linear diode that stands for this clamp in SPICE."""
        return PiecewiseLinearDiode((self.forward_voltage,), (self.on_conductance,))
