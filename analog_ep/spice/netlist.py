"""The one writer of element cards, in ngspice's dialect.

Names of elements are the instance letter, the group's label and the index within the group, as in ``r_stage1_17``.
Names that the writer adds begin with an underscore (nodes) or end in ``_inv`` or ``_offset`` (elements), which no
user's name does.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch

from analog_ep.circuit import (
    Amplifiers,
    Branches,
    Capacitors,
    Circuit,
    Conductances,
    CurrentControlledCurrentSources,
    CurrentControlledVoltageSources,
    CurrentSources,
    Diodes,
    VoltageControlledCurrentSources,
    VoltageControlledVoltageSources,
    VoltageSources,
)
from analog_ep.circuit.circuit import validate_name
from analog_ep.constants import DEFAULT_TEMPERATURE, SIMULATION_GMIN, ZERO_CELSIUS
from analog_ep.devices import PiecewiseLinearDiode, ShockleyDiode
from analog_ep.errors import CircuitError, DeviceParameterError, NodeNameError

Drive = Callable[[VoltageSources], Sequence[float | str] | np.ndarray]
"""Gives the value of each source of a group: a number [V], or an expression in ngspice's words for a B source."""

INSTANCE_LETTERS: dict[type[Branches], str] = {
    Conductances: "r",
    Capacitors: "c",
    VoltageSources: "v",
    CurrentSources: "i",
    Diodes: "d",
    VoltageControlledVoltageSources: "e",
    VoltageControlledCurrentSources: "g",
    CurrentControlledCurrentSources: "f",
    CurrentControlledVoltageSources: "h",
    Amplifiers: "e",
}
"""Letter that begins the names of a kind's elements; "b" instead where the element needs an expression."""

_JUNCTION_PARAMETERS = (
    "saturation_current ideality series_resistance energy_gap saturation_exponent nominal_temperature temperature"
)
_EXPRESSION_CHARACTERS = frozenset("abcdefghijklmnopqrstuvwxyz0123456789_+-*/(),. ")


@dataclass(frozen=True)
class SpiceOptions:
    """Tolerances and limits of the simulation.

    The defaults agree with an independent Newton to 1e-10 V; SPICE's own (reltol 1e-3) are useless for responses to
    a nudge.

    Parameters
    ----------
    reltol : float
        Relative tolerance of voltages and currents.
    vntol : float
        Absolute tolerance of voltages. [V]
    abstol : float
        Absolute tolerance of currents. [A]
    gmin : float, optional
        Conductance across every junction; that of the circuit's diodes where None. [S]
    itl1, itl2 : int
        Newton iterations of an operating point, and of each further point of a sweep.
    """

    reltol: float = 1e-9
    vntol: float = 1e-12
    abstol: float = 1e-15
    gmin: float | None = None
    itl1: int = 1000
    itl2: int = 500


def number(value: float) -> str:
    """Text of a finite number: digits, point and exponent only, since SPICE reads ``1M`` as milli.

    Raises
    ------
    CircuitError
        If it is NaN or infinite.
    """
    value = float(value)
    if not math.isfinite(value):
        raise CircuitError(f"a netlist carries finite numbers only, found {value}; check the element values")
    return repr(value)


def constant_drive(inputs: np.ndarray) -> Drive:
    """Sources at the values that one sample's `inputs`, `(n_inputs,)` [V], give them."""
    return lambda group: group.source_values(inputs)


class NetlistWriter:
    """Writes the cards of one circuit; everything is checked before the first one is written.

    Parameters
    ----------
    circuit : Circuit
        What to write.
    drive : callable, optional
        Values of the voltage sources; needed where the circuit has inputs. See `constant_drive`.
    options : SpiceOptions
        What `options_card` writes.

    Raises
    ------
    NodeNameError
        If a node name or label is not one that every netlist can carry, or stands twice.
    CircuitError
        If the circuit has inputs and no `drive` is given, or a group is of an unknown kind.
    DeviceParameterError
        If diodes have another gmin than the simulation, which has only one.
    """

    def __init__(self, circuit: Circuit, drive: Drive | None = None, options: SpiceOptions | None = None):
        self.circuit = circuit
        self.options = options or SpiceOptions()
        _check_names(circuit)
        for group in circuit.groups:
            if type(group) not in _WRITERS:
                raise CircuitError(f"{group.label}: no netlist card stands for {type(group).__name__}")
        if drive is None and circuit.n_inputs:
            raise CircuitError(f"the circuit has {circuit.n_inputs} inputs; give the values of its sources, found none")
        drive = drive or constant_drive(np.zeros(0))
        self._source_values = {group.label: list(drive(group)) for group in circuit.of_kind(VoltageSources)}
        self.gmin = _gmin(circuit, self.options)

    def title_card(self) -> str:
        """First line of a deck, a comment."""
        title = self.circuit.title
        if not title.isprintable() or not title.isascii():
            raise NodeNameError(f"a title must be printable ASCII on one line, found {title!r}")
        return f"* {title}"

    def options_card(self) -> str:
        """Temperatures, tolerances and limits, all explicit."""
        o = self.options
        celsius = _celsius(DEFAULT_TEMPERATURE)
        return (
            f".options TEMP={celsius} TNOM={celsius} reltol={number(o.reltol)} vntol={number(o.vntol)} "
            f"abstol={number(o.abstol)} gmin={number(self.gmin)} itl1={int(o.itl1)} itl2={int(o.itl2)}"
        )

    def model_cards(self) -> list[str]:
        """One ``.model`` per distinct set of diode parameters."""
        return [f".model {name} D({parameters})" for parameters, name in self._models.items()]

    def element_cards(self) -> Iterator[str]:
        """Cards of all elements, in the circuit's order."""
        for group in self.circuit.groups:
            yield from self.group_cards(group)

    def group_cards(self, group: Branches) -> Iterator[str]:
        """Cards of the elements of one group."""
        return _WRITERS[type(group)](self, group)

    def element_name(self, group: Branches, i: int) -> str:
        """Name of element `i` of a group; for an amplifier that of the source that drives its output."""
        letter = INSTANCE_LETTERS[type(group)]
        if isinstance(group, Diodes) and isinstance(group.device, PiecewiseLinearDiode):
            letter = "b"
        if isinstance(group, VoltageSources) and isinstance(self._source_values[group.label][i], str):
            letter = "b"
        return f"{letter}_{group.label}_{i}"

    def source_value(self, group: VoltageSources, i: int) -> str:
        """Value of a voltage source as its card carries it."""
        value = self._source_values[group.label][i]
        return f"v={_expression(value)}" if isinstance(value, str) else number(value)

    @cached_property
    def _models(self) -> dict[str, str]:
        """Names of the diode models by their parameters, in order of appearance."""
        models: dict[str, str] = {}
        for group in self.circuit.of_kind(Diodes):
            if isinstance(group.device, ShockleyDiode):
                for parameters, _ in self.diode_parameters(group):
                    models.setdefault(parameters, f"diode_{len(models)}")
        return models

    def diode_parameters(self, group: Diodes) -> Iterator[tuple[str, str]]:
        """Pairs (model parameters, instance parameters) of each junction diode of a group."""
        device = group.device
        assert isinstance(device, ShockleyDiode)
        columns = [_per_element(group, getattr(device, name)) for name in _JUNCTION_PARAMETERS.split()]
        for saturation, ideality, resistance, gap, exponent, nominal, temperature in zip(*columns, strict=True):
            series = f" RS={number(resistance)}" if resistance > 0 else ""
            instance = f" temp={_celsius(temperature)}" if temperature != DEFAULT_TEMPERATURE else ""
            model = (
                f"IS={number(saturation)} N={number(ideality)}{series} "
                f"EG={number(gap)} XTI={number(exponent)} TNOM={_celsius(nominal)}"
            )
            yield model, instance

    def _two_terminal(self, group: Branches, values: Sequence[str]) -> Iterator[str]:
        names, letter = self.circuit.node_names, INSTANCE_LETTERS[type(group)]
        first, second = (getattr(group, name).tolist() for name in group.terminals)
        for i, (p, n, value) in enumerate(zip(first, second, values, strict=True)):
            yield f"{letter}_{group.label}_{i} {names[p]} {names[n]} {value}"

    def _conductances(self, group: Conductances) -> Iterator[str]:
        # ngspice reads 0 Ω as 1 mΩ without a word, and below 2.3e-308 S a resistance is no longer a number.
        with np.errstate(divide="ignore", over="ignore"):
            ohms = 1 / group.siemens
        if not (ohms.all() and np.isfinite(ohms).all()):
            raise CircuitError(
                f"{group.label}: a resistor cannot stand for 0 S or infinite conductance; change the branch"
            )
        return self._two_terminal(group, [number(r) for r in ohms.tolist()])

    def _capacitors(self, group: Capacitors) -> Iterator[str]:
        return self._two_terminal(group, [number(c) for c in group.farads.tolist()])

    def _current_sources(self, group: CurrentSources) -> Iterator[str]:
        return self._two_terminal(group, [number(a) for a in group.amperes.tolist()])

    def _voltage_sources(self, group: VoltageSources) -> Iterator[str]:
        names = self.circuit.node_names
        for i, (p, n) in enumerate(zip(group.positive.tolist(), group.negative.tolist(), strict=True)):
            yield f"{self.element_name(group, i)} {names[p]} {names[n]} {self.source_value(group, i)}"

    def _diodes(self, group: Diodes) -> Iterator[str]:
        if isinstance(group.device, ShockleyDiode):
            values = [f"{self._models[model]}{instance}" for model, instance in self.diode_parameters(group)]
            return self._two_terminal(group, values)
        if isinstance(group.device, PiecewiseLinearDiode):
            return self._piecewise_diodes(group, group.device)
        raise CircuitError(f"{group.label}: no netlist card stands for {type(group.device).__name__}")

    def _piecewise_diodes(self, group: Diodes, device: PiecewiseLinearDiode) -> Iterator[str]:
        names = self.circuit.node_names
        leakage, offset = (_per_element(group, value) for value in (device.leakage, device.offset))
        for i, (a, k) in enumerate(zip(group.anode.tolist(), group.cathode.tolist(), strict=True)):
            across = f"v({names[a]},{names[k]})"
            terms = [f"{number(leakage[i])}*{across}"]
            for threshold, increment in zip(device.thresholds, device.increments, strict=True):
                t = threshold + offset[i]
                bend = f"max({across}-({number(t)}),0)-({number(max(-t, 0.0))})"
                terms.append(f"({number(increment)})*({bend})")
            yield f"{self.element_name(group, i)} {names[a]} {names[k]} i={_expression('+'.join(terms))}"

    def _voltage_controlled(
        self, group: VoltageControlledVoltageSources | VoltageControlledCurrentSources
    ) -> Iterator[str]:
        names = self.circuit.node_names
        nodes = (getattr(group, name).tolist() for name in group.terminals)
        for i, (*terminals, gain) in enumerate(zip(*nodes, group.gain.tolist(), strict=True)):
            yield " ".join([self.element_name(group, i), *(names[node] for node in terminals), number(gain)])

    def _current_controlled(
        self, group: CurrentControlledCurrentSources | CurrentControlledVoltageSources
    ) -> Iterator[str]:
        names, sources = self.circuit.node_names, self.circuit.group(group.control_label)
        rows = zip(*(a.tolist() for a in (group.positive, group.negative, group.control, group.gain)), strict=True)
        for i, (p, n, control, gain) in enumerate(rows):
            source = self.element_name(sources, control)
            yield f"{self.element_name(group, i)} {names[p]} {names[n]} {source} {number(gain)}"

    def _amplifiers(self, group: Amplifiers) -> Iterator[str]:
        names = self.circuit.node_names
        arrays = (group.input, group.output, group.inverted, group.gain, group.feedback, group.offset)
        for i, (u, p, n, gain, feedback, offset) in enumerate(zip(*(a.tolist() for a in arrays), strict=True)):
            stem = f"{group.label}_{i}"
            source, cards = amplifier_input(stem, names[u], offset)
            yield from cards
            yield from _amplifier_output(stem, source, names[p], gain, feedback)
            if n >= 0:
                yield from _amplifier_output(f"{stem}_inv", source, names[n], -gain, -feedback)


def amplifier_input(stem: str, node: str, offset: float) -> tuple[str, list[str]]:
    """The node that an amplifier sees as its input, and the source that puts the offset before it, if there is one."""
    if not offset:
        return node, []
    return f"_{stem}_in", [f"v_{stem}_offset _{stem}_in {node} {number(offset)}"]


def _amplifier_output(stem: str, source: str, output: str, gain: float, feedback: float) -> Iterator[str]:
    """A gain, a 0 V ammeter for the current that leaves the output, and what it draws from the input."""
    yield f"e_{stem} _{stem} 0 {source} 0 {number(gain)}"
    yield f"v_{stem} _{stem} {output} 0.0"
    yield f"f_{stem} {source} 0 v_{stem} {number(feedback)}"


_WRITERS: dict[type[Branches], Callable[..., Iterator[str]]] = {
    Conductances: NetlistWriter._conductances,
    Capacitors: NetlistWriter._capacitors,
    VoltageSources: NetlistWriter._voltage_sources,
    CurrentSources: NetlistWriter._current_sources,
    Diodes: NetlistWriter._diodes,
    VoltageControlledVoltageSources: NetlistWriter._voltage_controlled,
    VoltageControlledCurrentSources: NetlistWriter._voltage_controlled,
    CurrentControlledCurrentSources: NetlistWriter._current_controlled,
    CurrentControlledVoltageSources: NetlistWriter._current_controlled,
    Amplifiers: NetlistWriter._amplifiers,
}


def _check_names(circuit: Circuit) -> None:
    """The builder checks names as they are added; a circuit may have been made without it."""
    if not circuit.node_names or circuit.node_names[0] != "0":
        raise NodeNameError(f"the first node must be ground, '0', found {circuit.node_names[:1]}")
    for names in (circuit.node_names[1:], [group.label for group in circuit.groups]):
        for name in names:
            validate_name(name)
        if len(set(names)) < len(names):
            twice = next(name for i, name in enumerate(names) if name in names[:i])
            raise NodeNameError(f"names in a netlist must be unique, found {twice!r} twice")


def _gmin(circuit: Circuit, options: SpiceOptions) -> float:
    found = {
        gmin
        for group in circuit.of_kind(Diodes)
        if isinstance(group.device, ShockleyDiode)
        for gmin in torch.as_tensor(group.device.gmin, dtype=torch.float64).reshape(-1).tolist()
    }
    wanted = found if options.gmin is None else found | {options.gmin}
    if len(wanted) > 1:
        raise DeviceParameterError(
            f"SPICE has one gmin for all junctions, found {sorted(wanted)} S; give all diodes and the options one value"
        )
    return next(iter(wanted), SIMULATION_GMIN)


def _per_element(group: Diodes, value: float | torch.Tensor) -> list[float]:
    return torch.as_tensor(value, dtype=torch.float64).expand(len(group)).tolist()


def _celsius(kelvin: float) -> str:
    # Beyond 12 digits lies the rounding of the subtraction, and 300.15 K must read 27.
    return number(round(kelvin - ZERO_CELSIUS, 12))


def _expression(text: str) -> str:
    unknown = set(text) - _EXPRESSION_CHARACTERS
    if unknown:
        raise NodeNameError(f"an expression may not contain {sorted(unknown)}; found it in {text[:60]!r}")
    return text
