"""Branches that voltages or currents elsewhere control: ideal sources, and the bidirectional amplifier."""

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
from analog_ep.circuit.laws import CurrentLaw, VoltageLaw
from analog_ep.circuit.nodes import GROUND, NONE, Indices, NodePair, Values, sees_own_ends
from analog_ep.circuit.voltage_rows import VoltageRows
from analog_ep.devices import TanhCurve
from analog_ep.devices.forms import Follower, NetlistForm, Primitive
from analog_ep.devices.library import LibraryForm


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

    def conducts(self) -> np.ndarray:
        return sees_own_ends(self.ends(), self.controls()) & (self.gain != 0)

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
