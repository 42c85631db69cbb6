"""The ideal diode: no current below its forward voltage, any current at it."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

from analog_ep.devices.diode import require, require_finite
from analog_ep.devices.piecewise import PiecewiseLinearDiode

STEEPNESS = 1e6
"""Least g_on over a node's other conductances. Clamps at 0 V are solved by ngspice up to 1e12; at a bias voltage V the
current g_on·V·2⁻⁵² of the last bit becomes visible, and 1e8 leaves no room beside the tolerances."""


@dataclass(frozen=True)
class IdealDiode:
    """A clamp: the voltage cannot exceed `forward_voltage`, and whatever current this takes flows.

    An ideal diode has no current–voltage *function*, so it is not a `Diode`: the layer solver clamps the node
    exactly. SPICE has no such element; there, and wherever a solver of circuits is used, `stand_in` stands for it, and
    a node that carries the clamp current I ends I/g_on beyond the clamp.

    Parameters
    ----------
    on_conductance : float, optional
        Slope g_on of the element that stands for the clamp in SPICE; positive. By default chosen for the nodes that the
        diodes hold, see `stand_in`. [S]
    forward_voltage : float
        Voltage at which the diode begins to conduct. [V]
    """

    on_conductance: float | None = None
    forward_voltage: float = 0.0

    def __post_init__(self):
        require_finite("IdealDiode", forward_voltage=self.forward_voltage)
        if self.on_conductance is not None:
            require_finite("IdealDiode", on_conductance=self.on_conductance)
            require(
                torch.tensor(self.on_conductance > 0),
                f"IdealDiode: on_conductance must be positive, found {self.on_conductance}",
            )

    def stand_in(self, node_conductance: float) -> PiecewiseLinearDiode:
        """The piecewise-linear diode that stands for this clamp in SPICE.

        A node that the other elements alone would take u beyond the clamp ends u/(1 + g_on/G) beyond it, G the sum of
        their conductances at the node. Where g_on is not given it is the power of ten from 1e6 G on, which leaves 1e-6
        of u at most.

        Parameters
        ----------
        node_conductance : float
            Largest G of the nodes that the diodes hold; positive. [S]
        """
        slope = self.on_conductance
        if slope is None:
            slope = 10.0 ** math.ceil(math.log10(STEEPNESS * node_conductance))
        return PiecewiseLinearDiode((self.forward_voltage,), (slope,))
