"""Steps of a memristor: its equations, integrated over a pulse."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from analog_ep.devices.memristors import Memristor, integrate, pulse_train
from analog_ep.devices.pulses.device import Parameters, PulseModel
from analog_ep.devices.selection import EDGE

_STATES = 1001
"""States from bound to bound at which pulses are integrated; between them steps are interpolated."""

READ = 0.01
"""Voltage of a read over that of a potentiating pulse."""


@dataclass(frozen=True, kw_only=True, eq=False)
class MemristorSteps(PulseModel):
    """A memristor under programming pulses; the state w is its conductance as it is read. [S]

    A pulse is a trapezoid of its width between edges of a tenth of that. Half-selected devices move as the memristor
    does under their part of the voltage. A spread of steps makes them larger or smaller as a whole.

    Parameters
    ----------
    memristor : Memristor
        Its law, alike for all devices.
    potentiate, depress : float
        Voltages of pulses that raise and that lower the conductance, row against column; of opposite signs. [V]

    Raises
    ------
    DeviceParameterError
        If a pulse does not move the conductance as it is meant to.
    """

    memristor: Memristor
    potentiate: float
    depress: float
    w_min: float = dataclasses.field(default=0.0, init=False)
    w_max: float = dataclasses.field(default=1.0, init=False)
    pulse_voltage: float = dataclasses.field(default=1.0, init=False)
    depress_voltage: float = dataclasses.field(default=0.0, init=False)
    disturb_voltage: float = dataclasses.field(default=1.0, init=False)

    def __post_init__(self):
        for name in ("potentiate", "depress"):
            self._require(
                isinstance(getattr(self, name), (int, float)), f"{name} must be a number", getattr(self, name)
            )
        opposite = self.potentiate * self.depress < 0
        self._require(opposite, "potentiate and depress must have opposite signs", (self.potentiate, self.depress))
        self._require(self.pulse_width > 0, "pulse_width must be positive", self.pulse_width)
        ends = self._conductances
        object.__setattr__(self, "w_min", float(ends[0]))
        object.__setattr__(self, "w_max", float(ends[-1]))
        super().__post_init__()
        up, down = (self._changes(voltage).mean() for voltage in self.voltages)
        moves = bool((up > 0) & (down < 0))
        found = f"{float(up):+.3g} and {float(down):+.3g} S"
        self._require(moves, "a pulse of potentiate must raise the conductance, one of depress lower it", found)

    def _signed(self) -> tuple[str, ...]:
        return ("potentiate", "depress")

    @property
    def voltages(self) -> tuple[float, float]:
        return self.potentiate, self.depress

    @property
    def electrical(self) -> tuple[str, ...]:
        return ("pulse_width",)

    @property
    def underlying(self) -> Memristor:
        return self.memristor

    @cached_property
    def _states(self) -> Tensor:
        """The memristor's states in the order of their conductances, `(_STATES,)`."""
        low, high = (float(bound) for bound in self.memristor.bounds)
        states = torch.linspace(low, high, _STATES, dtype=torch.float64)
        siemens = self.memristor.conductance(states, READ * self.potentiate)
        return states if siemens[0] < siemens[-1] else states.flip(0)

    @cached_property
    def _conductances(self) -> Tensor:
        return self.memristor.conductance(self._states, READ * self.potentiate)

    @cached_property
    def _tables(self) -> dict[float, Tensor]:
        return {}

    def _changes(self, voltage: float) -> Tensor:
        """What a pulse does to the conductance of each of the states, `(_STATES,)`. [S]"""
        if voltage not in self._tables:
            heights = torch.full((1, _STATES), voltage, dtype=torch.float64)
            times, volts = pulse_train(heights, self.pulse_width, EDGE * self.pulse_width)
            after = integrate(self.memristor, times, volts, self._states).states[-1]
            moved = self.memristor.conductance(after, READ * self.potentiate) - self._conductances
            self._tables[voltage] = moved
        return self._tables[voltage]

    def _at(self, table: Tensor, state: Tensor) -> Tensor:
        """A table over the conductances, at others."""
        siemens, exact = self._conductances.to(state.device), state.double()
        above = torch.searchsorted(siemens, exact.contiguous()).clamp(1, _STATES - 1)
        share = ((exact - siemens[above - 1]) / (siemens[above] - siemens[above - 1])).clamp(0, 1)
        own = table.to(state.device)
        return (own[above - 1] * (1 - share) + own[above] * share).to(state)

    def states_of(self, conductance: Tensor) -> Tensor:
        """The memristor's states x at conductances [S], `(n,)`, float64."""
        return self._at(self._states, conductance.double())

    @property
    def mean_step(self) -> float:
        up, down = (float(self._changes(voltage).mean()) for voltage in self.voltages)
        return (up - down) / 2

    def potentiation(self, state: Tensor, drawn: Parameters) -> Tensor:
        return drawn["up"] / self.mean_step * self._at(self._changes(self.potentiate), state)

    def depression(self, state: Tensor, drawn: Parameters) -> Tensor:
        return -drawn["down"] / self.mean_step * self._at(self._changes(self.depress), state)

    def disturbance(self, state: Tensor, voltage: float, drawn: Parameters) -> Tensor:
        scale = drawn["up"] if voltage * self.potentiate > 0 else drawn["down"]
        return scale / self.mean_step * self._at(self._changes(voltage), state)
