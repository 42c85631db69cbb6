"""The kinds of branches, one class a kind of element. Each array has one entry per element."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, Self

import numpy as np
import torch
from torch import Tensor

from analog_ep.circuit.adjoint_elements import AdjointElements
from analog_ep.circuit.amplifier_forms import amplifier_assembly, amplifier_instances
from analog_ep.circuit.current_follower import CurrentFollower
from analog_ep.circuit.device_branches import DeviceBranches
from analog_ep.circuit.laws import ChargeLaw, CurrentLaw, VoltageLaw
from analog_ep.circuit.nodes import GROUND, NONE, Indices, NodePair, Values
from analog_ep.circuit.trainable import ConductanceLaw, Tunable
from analog_ep.circuit.voltage_rows import VoltageRows
from analog_ep.constants import BOLTZMANN
from analog_ep.devices import Diode, TanhCurve
from analog_ep.devices.content import Content
from analog_ep.devices.diode_check import require_sound
from analog_ep.devices.forms import Follower, NetlistForm, Primitive, Resistors, Source
from analog_ep.devices.library import ClampParameters, LibraryForm
from analog_ep.errors import CircuitError

_FAR_BELOW = -1e3
"""Voltage at which what still conducts always does. [V]"""


@dataclass(frozen=True, eq=False)
class Conductances(Tunable, ConductanceLaw):
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

    def __post_init__(self):
        super().__post_init__()
        self._check_parameter()

    def current(self, *volts: np.ndarray) -> np.ndarray:
        return self.siemens * volts[0]

    def slopes(self, *volts: np.ndarray) -> tuple[np.ndarray]:
        return (self.siemens,)

    def cocontent(self, *volts: np.ndarray) -> np.ndarray:
        return 0.5 * self.siemens * volts[0] ** 2

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
class Capacitors(ChargeLaw):
    """Linear capacitors. [F]"""

    positive: Indices
    negative: Indices
    farads: Values

    values: ClassVar[tuple[str, ...]] = ("farads",)

    def capacitances(self) -> np.ndarray:
        return self.farads

    def netlist_form(self) -> NetlistForm:
        return Primitive("c", self.farads)

    def positive_values(self) -> tuple[str, ...]:
        return self.values


@dataclass(frozen=True, eq=False)
class VoltageSources(VoltageLaw):
    """Independent sources, v_p − v_n = volts + scale · inputs[input]; `input` −1 for a constant one. [V]"""

    positive: Indices
    negative: Indices
    volts: Values
    input: Indices = NONE
    scale: Values = 1.0

    values: ClassVar[tuple[str, ...]] = ("volts", "scale")

    def __post_init__(self):
        super().__post_init__()
        self._set("input", np.atleast_1d(self.input), np.int64, len(self))

    def rows(self) -> VoltageRows:
        return VoltageRows(self.positive, self.negative, self.volts, self.input, self.scale, chained=True)

    def source_values(self, inputs: np.ndarray) -> np.ndarray:
        """Source voltages `(*batch, n_elements)` for inputs `(*batch, n_inputs)`. [V]"""
        return self.rows().values(inputs)

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


@dataclass(frozen=True, eq=False)
class VoltageControlledVoltageSources(VoltageLaw):
    """SPICE's E: v_p − v_n = gain · (v_cp − v_cn)."""

    positive: Indices
    negative: Indices
    control_positive: Indices
    control_negative: Indices
    gain: Values

    values: ClassVar[tuple[str, ...]] = ("gain",)
    terminals: ClassVar[tuple[str, ...]] = ("positive", "negative", "control_positive", "control_negative")

    def rows(self) -> VoltageRows:
        control = (self.control_positive, self.control_negative)
        return VoltageRows.between(self.positive, self.negative, control=control, gain=self.gain)

    def netlist_form(self) -> NetlistForm:
        return Primitive("e", self.gain)


@dataclass(frozen=True, eq=False)
class VoltageControlledCurrentSources(CurrentLaw):
    """SPICE's G: a current gain · (v_cp − v_cn) from the positive node through the source to the negative one. [S]"""

    positive: Indices
    negative: Indices
    control_positive: Indices
    control_negative: Indices
    gain: Values

    values: ClassVar[tuple[str, ...]] = ("gain",)
    terminals: ClassVar[tuple[str, ...]] = ("positive", "negative", "control_positive", "control_negative")
    linear: ClassVar[bool] = True
    has_own_supply: ClassVar[bool] = True

    def controls(self) -> Sequence[NodePair]:
        return ((self.control_positive, self.control_negative),)

    def current(self, *volts: np.ndarray) -> np.ndarray:
        return self.gain * volts[0]

    def noise_density(self, kelvin: float, *volts: np.ndarray) -> np.ndarray:
        return np.zeros(len(self))

    def slopes(self, *volts: np.ndarray) -> tuple[np.ndarray]:
        return (self.gain,)

    def netlist_form(self) -> NetlistForm:
        return Primitive("g", self.gain)


@dataclass(frozen=True, eq=False)
class NonlinearCurrentSources(CurrentLaw):
    """SPICE's B: a current siemens · f(v_control) · v_factor from the positive node through the source to the negative.

    f is `curve` or, where `slope` is set, its derivative. A `factor` of −1 is a constant 1 V. [S], of a product [S/V]
    """

    positive: Indices
    negative: Indices
    control: Indices
    curve: TanhCurve
    siemens: Values
    factor: Indices = NONE
    slope: bool = False

    values: ClassVar[tuple[str, ...]] = ("siemens",)
    terminals: ClassVar[tuple[str, ...]] = ("positive", "negative", "control")
    optional_terminals: ClassVar[tuple[str, ...]] = ("factor",)
    has_own_supply: ClassVar[bool] = True

    def controls(self) -> Sequence[NodePair]:
        ground = np.full_like(self.control, GROUND)
        return ((self.control, ground), (np.maximum(self.factor, GROUND), ground))

    def current(self, *volts: np.ndarray) -> np.ndarray:
        control, factor = volts
        return self._by_factor(control) * self._factor(factor)

    def slopes(self, *volts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        control, factor = volts
        rise = self.curve.curvature if self.slope else self.curve.slope
        by_factor = np.where(self.factor < 0, 0.0, self._by_factor(control))
        return self.siemens * _numpy(rise, control) * self._factor(factor), by_factor

    def noise_density(self, kelvin: float, *volts: np.ndarray) -> np.ndarray:
        return np.zeros(len(self))

    def expressions(self, *volts: Sequence[str]) -> Sequence[str]:
        return [
            f"({siemens!r})*{self.curve.expression(control, self.slope)}{'' if node < 0 else f'*{factor}'}"
            for siemens, node, control, factor in zip(self.siemens.tolist(), self.factor.tolist(), *volts, strict=True)
        ]

    def _by_factor(self, control: np.ndarray) -> np.ndarray:
        return self.siemens * _numpy(self.curve.slope if self.slope else self.curve.value, control)

    def _factor(self, volts: np.ndarray) -> np.ndarray:
        return np.where(self.factor < 0, 1.0, volts)


@dataclass(frozen=True, eq=False)
class CurrentControlledCurrentSources(CurrentFollower):
    """SPICE's F: gain times the current through voltage source `control` of group `control_label`."""

    def netlist_form(self) -> NetlistForm:
        return Follower("f", self.gain)


@dataclass(frozen=True, eq=False)
class CurrentControlledVoltageSources(VoltageLaw):
    """SPICE's H: v_p − v_n = gain times the current through voltage source `control` of `control_label`. [Ω]"""

    positive: Indices
    negative: Indices
    control_label: str
    control: Indices
    gain: Values

    values: ClassVar[tuple[str, ...]] = ("gain",)

    def __post_init__(self):
        super().__post_init__()
        self._set("control", np.atleast_1d(self.control), np.int64, len(self))

    def followed(self) -> tuple[str, np.ndarray]:
        return self.control_label, self.control

    def rows(self) -> VoltageRows:
        return VoltageRows.between(self.positive, self.negative, resistance=self.gain)

    def netlist_form(self) -> NetlistForm:
        return Follower("h", self.gain)


@dataclass(frozen=True, eq=False)
class Amplifiers(VoltageLaw):
    """Bidirectional amplifiers (Kendall et al. 2020, arXiv:2006.01981).

    Holds `output` at gain·(u + offset) and, where it has one, `inverted` at −gain·(u + offset), u the voltage of
    `input` and `offset` the amplifier's own, referred to its input [V]. Draws from `input` feedback·(i₊ − i₋), i₊ and
    i₋ the currents that leave the two outputs.
    """

    input: Indices
    output: Indices
    gain: Values
    feedback: Values
    inverted: Indices = NONE
    offset: Values = 0.0

    values: ClassVar[tuple[str, ...]] = ("gain", "feedback", "offset")
    terminals: ClassVar[tuple[str, ...]] = ("input", "output")
    optional_terminals: ClassVar[tuple[str, ...]] = ("inverted",)

    def positive_values(self) -> tuple[str, ...]:
        return ("gain", "feedback")

    def stages(self) -> np.ndarray:
        return self.outputs()[0]

    def rows(self) -> VoltageRows:
        element, node, sign = self.outputs()
        source, ground = self.input[element], np.full_like(node, GROUND)
        # What is not finite is named by `check_circuit`.
        with np.errstate(invalid="ignore"):
            volts = sign * (self.gain * self.offset)[element]
        return VoltageRows.between(
            node,
            ground,
            volts=volts,
            control=(source, ground),
            gain=sign * self.gain[element],
            drawn_from=source,
            feedback=sign * self.feedback[element],
            chained=True,
        )

    def adjoint(self, network: AdjointElements) -> Iterator[Self]:
        """The same amplifiers with gain and feedback exchanged."""
        ground = np.full_like(self.input, GROUND)
        share = network.weight((self.input, ground)) / network.weight((self.output, ground))
        gain = self.feedback * share
        offset = network.rest(self.output) / gain - network.rest(self.input)
        yield replace(self, gain=gain, feedback=self.gain / share, offset=offset)

    def outputs(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Triples (amplifier, output node, +1 or −1), one entry an output."""
        has, element = self.inverted >= 0, np.arange(len(self))
        node = np.concatenate([self.output, self.inverted[has]])
        return np.concatenate([element, element[has]]), node, np.where(np.arange(len(node)) < len(self), 1.0, -1.0)

    def netlist_form(self) -> NetlistForm:
        return amplifier_assembly(*self._columns())

    def library_form(self) -> LibraryForm:
        element, _, sign = self.outputs()
        return amplifier_instances(element, sign, *self._columns())

    def _columns(self) -> Iterator[list[float]]:
        """Input, output, inverted output, gain, feedback and offset of each amplifier, as lists of Python's numbers."""
        arrays = (self.input, self.output, self.inverted, self.gain, self.feedback, self.offset)
        return (array.tolist() for array in arrays)


def _numpy(function: Callable[[Tensor], Tensor], volts: np.ndarray) -> np.ndarray:
    return function(torch.from_numpy(np.ascontiguousarray(volts))).numpy()
