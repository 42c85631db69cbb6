"""The ideal diode: no current below its forward voltage, any current at it; and the clamp that it makes."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cached_property
from typing import NoReturn, Self

import torch
from torch import Tensor

from analog_ep.devices.clamp import Clamp
from analog_ep.devices.diode import DiodeClamp
from analog_ep.devices.parameters import require, require_finite
from analog_ep.devices.piecewise import PiecewiseLinearDiode

STEEPNESS = 1e6
"""Least g_on over a node's other conductances. Clamps at 0 V are solved by ngspice up to 1e12; at a bias voltage V the
current g_on·V·2⁻⁵² of the last bit becomes visible, and 1e8 leaves no room beside the tolerances."""


@dataclass(frozen=True)
class IdealDiode:
    """The voltage cannot exceed `forward_voltage`, and whatever current this takes flows.

    An ideal diode has no current–voltage *function*, so it is not a `Diode`: its clamp, a `HardClamp`, holds the node
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

    def clamp(self, upper: float | Tensor | None = None, lower: float | Tensor | None = None) -> HardClamp:
        """Such diodes from a node up to one bias voltage and down to another, see `HardClamp`. [V]"""
        return HardClamp(self, upper, lower)

    def of_layer(self, n_nodes: int) -> Clamp:
        """The clamp of a layer that is given this diode alone: alternating, see `Clamp.alternating`."""
        return Clamp.alternating(self, n_nodes)


@dataclass(frozen=True)
class HardClamp(Clamp):
    """Of ideal diodes, which hold the node voltage within `limits` by whatever current this takes.

    Raises
    ------
    DeviceParameterError
        If neither side has a diode, a bias voltage is not a number, lower is above upper, or the diode is none.
    """

    diode: IdealDiode

    def __post_init__(self):
        require(
            isinstance(self.diode, IdealDiode),
            f"HardClamp: the diode must be an IdealDiode, found {type(self.diode).__name__}; write "
            "diode.clamp(upper, lower), which is a DiodeClamp for any other",
        )
        super().__post_init__()
        low, high = (torch.as_tensor(bound) for bound in self.limits)
        require(low <= high, f"HardClamp: lower must be below upper, found {self.lower} and {self.upper}")

    @property
    def limits(self) -> tuple[float | Tensor, float | Tensor]:
        """Node voltages (low, high) at which it begins to hold the node, forward voltage included. [V]"""
        drop = self.diode.forward_voltage
        low = -torch.inf if self.lower is None else self.lower - drop
        high = torch.inf if self.upper is None else self.upper + drop
        return low, high

    def limits_like(self, like: Tensor) -> tuple[Tensor, Tensor]:
        """`limits` as tensors in the dtype and on the device of `like`; made once for each. [V]"""
        key = (like.dtype, like.device)
        if key not in self._limits:
            low, high = (torch.as_tensor(bound, dtype=like.dtype, device=like.device) for bound in self.limits)
            self._limits[key] = low, high
        return self._limits[key]

    @cached_property
    def _limits(self) -> dict[tuple[torch.dtype, torch.device], tuple[Tensor, Tensor]]:
        return {}

    @property
    def has_current(self) -> bool:
        return False

    def sides(self) -> NoReturn:
        raise TypeError("an ideal diode has no current function; use for_spice, or what else a clamp has")

    def current(self, voltage: Tensor) -> NoReturn:
        self.sides()

    def conductance(self, voltage: Tensor) -> NoReturn:
        self.sides()

    def cocontent(self, voltage: Tensor) -> Tensor:
        return torch.zeros_like(voltage)

    def for_spice(self, node_conductance: float) -> DiodeClamp:
        return DiodeClamp(self.diode.stand_in(node_conductance), self.upper, self.lower)

    def in_parallel(self, count: float) -> Self:
        return replace(self)

    def holds(self, voltage: Tensor, margin: float | Tensor = 0.0) -> Tensor:
        low, high = self.limits_like(voltage)
        return (voltage <= low + margin) | (voltage >= high - margin)

    def beyond(self, voltage: Tensor) -> Tensor:
        low, high = self.limits_like(voltage)
        return torch.maximum(voltage - high, low - voltage).clamp(min=0)

    def current_and_slope(self, voltage: Tensor) -> tuple[float, float]:
        return 0.0, 0.0

    def slope_at(self, voltage: Tensor, total: Tensor, held: float) -> Tensor:
        return torch.where(self.holds(voltage), held * total, 0.0)

    def solve_node(self, total: Tensor, drive: Tensor, resistance: Tensor | None = None) -> Tensor:
        alone = drive / total if resistance is None else drive * resistance
        return torch.clamp(alone, *self.limits_like(drive))

    def solve_change(self, total: Tensor, voltage: Tensor, excess: Tensor, drive: Tensor) -> Tensor:
        low, high = self.limits_like(drive)
        return torch.clamp(excess + drive / total, low - voltage, high - voltage)

    def excess(self, voltage: Tensor, drive: Tensor, resistance: Tensor) -> Tensor:
        return drive * resistance - voltage

    def consistent(self, voltage: Tensor, drive: Tensor, resistance: Tensor) -> tuple[Tensor, Tensor]:
        # Another solver's voltages are exact to its tolerance only: at a free node the drive is the one they ask for.
        low, high = self.limits_like(voltage)
        drive = torch.where((voltage > low) & (voltage < high), voltage / resistance, drive)
        return torch.clamp(drive * resistance, low, high), drive

    def response_resistance(self, voltage: Tensor, total: Tensor, drive: Tensor, resistance: Tensor) -> Tensor:
        # A free node lies exactly where its drive puts it. In place a comparison gives numbers, in half the time.
        return (drive * resistance).eq_(voltage).mul_(resistance)
