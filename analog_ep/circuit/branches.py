"""The kinds of branches, one class a kind of element. Each array has one entry per element."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, Self

import numpy as np
import torch

from analog_ep.circuit.device_branches import DeviceBranches
from analog_ep.circuit.laws import CurrentLaw, VoltageLaw
from analog_ep.circuit.nodes import NONE, Indices, NodePair, Values
from analog_ep.circuit.trainable import ConductanceLaw, TunableAdmittance
from analog_ep.circuit.voltage_rows import VoltageRows
from analog_ep.constants import BOLTZMANN
from analog_ep.devices import Diode
from analog_ep.devices.content import Content
from analog_ep.devices.diode_check import require_sound
from analog_ep.devices.forms import NetlistForm, Primitive, Resistors, Source
from analog_ep.devices.library import ClampParameters
from analog_ep.errors import CircuitError

_FAR_BELOW = -1e3
"""Voltage at which what still conducts always does. [V]"""


@dataclass(frozen=True, eq=False)
class Conductances(TunableAdmittance, ConductanceLaw):
    """Linear conductances g, i = g (v_p − v_n). [S]

    Trainable ones carry the name of the parameter and, per branch, the flat index into it. `nudge` marks elements
    that stand for the elastic nudge: those alone may be negative. `wire` marks segments of lines, whose mismatch and
    temperature are not those of the devices.
    """

    positive: Indices
    negative: Indices
    siemens: Values
    parameter: str | None = None
    index: Indices | None = None
    nudge: bool = False
    wire: bool = False

    values: ClassVar[tuple[str, ...]] = ("siemens",)
    tuned_field: ClassVar[str] = "siemens"
    linear: ClassVar[bool] = True
    symbol: ClassVar[str] = "resistor"
    shown: ClassVar[tuple[str, str]] = ("siemens", "S")

    def __post_init__(self):
        super().__post_init__()
        self._check_parameter()

    def current(self, *volts: np.ndarray) -> np.ndarray:
        return self.siemens * volts[0]

    def slopes(self, *volts: np.ndarray) -> tuple[np.ndarray]:
        return (self.siemens,)

    def cocontent(self, *volts: np.ndarray) -> np.ndarray:
        return 0.5 * self.siemens * volts[0] ** 2

    def admittance(self, omega: np.ndarray) -> np.ndarray:
        return self.siemens + 0j * omega

    def admittance_slope(self, omega: np.ndarray) -> np.ndarray:
        return np.ones_like(self.siemens) + 0j * omega

    def noise_density(self, kelvin: float, *volts: np.ndarray) -> np.ndarray:
        """Johnson's, 2 k_B T g."""
        if (self.siemens < 0).any():
            raise CircuitError(f"Johnson noise needs passive conductances, found {self.siemens.min():.3g} S")
        return 2 * BOLTZMANN * kelvin * self.siemens

    def places(self) -> np.ndarray:
        return super().places() if self.index is None else np.asarray(self.index)

    def netlist_form(self) -> NetlistForm:
        return Resistors(self.siemens)

    def is_monotone(self) -> bool:
        return bool((self.siemens >= 0).all())

    def spread_names(self) -> dict[str, str]:
        return {"segment" if self.wire else "siemens": "siemens"}

    def at_corner(self, kelvin: float, conductance_scale: float, saturation_scale: float) -> Self:
        return self if self.wire else replace(self, siemens=self.siemens * conductance_scale)

    def with_resistances(self, cells: float, wires: float) -> Self:
        return self.with_parameters({"siemens": self.siemens * (wires if self.wire else cells)})

    def is_wire(self) -> bool:
        return self.wire

    def conducts(self) -> np.ndarray:
        return np.full(len(self), not self.nudge)

    def positive_values(self) -> tuple[str, ...]:
        return () if self.nudge else self.values


@dataclass(frozen=True, eq=False)
class Diodes(DeviceBranches, CurrentLaw):
    """Nonlinear two-terminal elements of one model; the model's parameters may be per element."""

    anode: Indices
    cathode: Indices
    device: Diode

    terminals: ClassVar[tuple[str, ...]] = ("anode", "cathode")
    symbol: ClassVar[str] = "diode"

    def current(self, *volts: np.ndarray) -> np.ndarray:
        return self.device.current(torch.from_numpy(volts[0])).numpy()

    def slopes(self, *volts: np.ndarray) -> tuple[np.ndarray]:
        return (self.device.conductance(torch.from_numpy(volts[0])).numpy(),)

    def current_and_slopes(self, *volts: np.ndarray) -> tuple[np.ndarray, tuple[np.ndarray]]:
        current, slope = self.device.current_and_conductance(torch.from_numpy(volts[0]))
        return current.numpy(), (slope.numpy(),)

    def cocontent(self, *volts: np.ndarray) -> np.ndarray:
        return self.device.cocontent(torch.from_numpy(volts[0])).numpy()

    def noise_density(self, kelvin: float, *volts: np.ndarray) -> np.ndarray:
        return self.device.noise_density(torch.from_numpy(volts[0]), kelvin).numpy()

    def noise_in_spice(self, *volts: np.ndarray) -> np.ndarray:
        return self.device.noise_in_spice(torch.from_numpy(volts[0])).numpy()

    def expressions(self, *volts: Sequence[str]) -> Sequence[str] | None:
        return self.device.expand(len(self)).expressions(volts[0])

    def netlist_form(self) -> NetlistForm:
        return self.device.expand(len(self)).netlist_form()

    def content(self, kelvin: float) -> Content | str:
        return self.device.expand(len(self)).content(kelvin)

    def clamp_parameters(self, kelvin: float) -> ClampParameters | None:
        return self.device.expand(len(self)).clamp_parameters(kelvin)

    def spread_names(self) -> dict[str, str]:
        return {"threshold" if name == "offset" else name: name for name in self.parameters()}

    def own_temperatures(self) -> np.ndarray:
        own = self.device.own_temperature
        return np.zeros(0) if own is None else self._spread(own)

    def condition(self) -> np.ndarray:
        return self._spread(self.device.condition())

    def steepness(self) -> tuple[np.ndarray, np.ndarray] | None:
        found = self.device.steepness()
        return None if found is None else (self._spread(found[0]), self._spread(found[1]))

    def is_monotone(self) -> bool:
        return True

    def require_sound(self) -> None:
        require_sound(self.device)

    def at_corner(self, kelvin: float, conductance_scale: float, saturation_scale: float) -> Self | None:
        device = self.device.expand(len(self)).at_corner(kelvin, saturation_scale)
        return None if device is None else replace(self, device=device)

    def conducts(self) -> np.ndarray:
        return self.device.conductance(torch.full((len(self),), _FAR_BELOW, dtype=torch.float64)).numpy() > 0

    def growth_voltages(self) -> tuple[np.ndarray]:
        return (self._spread(self.device.growth_voltage),)


@dataclass(frozen=True, eq=False)
class VoltageSources(VoltageLaw):
    """Independent sources, v_p − v_n = volts + scale · inputs[input]; `input` −1 for a constant one. [V]"""

    positive: Indices
    negative: Indices
    volts: Values
    input: Indices = NONE
    scale: Values = 1.0

    values: ClassVar[tuple[str, ...]] = ("volts", "scale")
    symbol: ClassVar[str] = "source"
    shown: ClassVar[tuple[str, str]] = ("volts", "V")

    def __post_init__(self):
        super().__post_init__()
        self._set("input", np.atleast_1d(self.input), np.int64, len(self))

    def rows(self) -> VoltageRows:
        return VoltageRows(self.positive, self.negative, self.volts, self.input, self.scale, chained=True)

    def source_values(self, inputs: np.ndarray) -> np.ndarray:
        """Source voltages `(*batch, n_elements)` for inputs `(*batch, n_inputs)`. [V]"""
        return self.rows().values(inputs)

    def at_supply(self, factor: float) -> Self:
        return self.with_parameters({"volts": self.volts * factor, "scale": self.scale * factor})

    def netlist_form(self) -> NetlistForm:
        return Source()


@dataclass(frozen=True, eq=False)
class CurrentSources(CurrentLaw):
    """Independent sources; the current flows from the positive node through the source to the negative one. [A]"""

    positive: Indices
    negative: Indices
    amperes: Values

    values: ClassVar[tuple[str, ...]] = ("amperes",)
    linear: ClassVar[bool] = True
    symbol: ClassVar[str] = "current source"
    shown: ClassVar[tuple[str, str]] = ("amperes", "A")

    def controls(self) -> Sequence[NodePair]:
        return ()

    def current(self, *volts: np.ndarray) -> np.ndarray:
        return self.amperes

    def netlist_form(self) -> NetlistForm:
        return Primitive("i", self.amperes)

    def noise_density(self, kelvin: float, *volts: np.ndarray) -> np.ndarray:
        return np.zeros(len(self))

    def slopes(self, *volts: np.ndarray) -> tuple[()]:
        return ()
