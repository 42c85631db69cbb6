"""The one writer of element cards, in any dialect.

Names of elements are the instance letter, the group's label and the index within the group, as in ``r_stage1_17``.
Names that the writer adds begin with an underscore (nodes) or end in ``_inv`` or ``_offset`` (elements), which no
user's name does.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import torch

from analog_ep.circuit import (
    GROUND,
    Amplifiers,
    Branches,
    Capacitors,
    Circuit,
    Conductances,
    CurrentControlledCurrentSources,
    CurrentControlledVoltageSources,
    CurrentLaw,
    CurrentSources,
    Diodes,
    NodePair,
    VoltageControlledCurrentSources,
    VoltageControlledVoltageSources,
    VoltageSources,
)
from analog_ep.circuit.circuit import validate_name
from analog_ep.constants import DEFAULT_TEMPERATURE, SIMULATION_GMIN, ZERO_CELSIUS
from analog_ep.devices import PiecewiseLinearDiode, ShockleyDiode
from analog_ep.errors import CircuitError, DeviceParameterError, NodeNameError
from analog_ep.netlist.dialects import DIALECTS, Dialect, Settings

_ROUNDED_BITS = 64
"""Last bits of a voltage that the elimination may lose: 2 are too few with gains of 24, 16 suffice."""

Model = tuple[tuple[str, str], ...]
"""Parameters of a junction, in SPICE's words, with their values."""

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

_SHARED_FUNCTIONS = frozenset(["v", "exp", "sqrt", "abs", "min", "max", "sin", "cos", "tanh"])
_EXPRESSION_CHARACTERS = b"abcdefghijklmnopqrstuvwxyz0123456789_+-*/(),. "


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
    dialect : Dialect, optional
        The simulator's; by default ngspice's.

    Raises
    ------
    NodeNameError
        If a node name or label is not one that every netlist can carry, or stands twice.
    CircuitError
        If the circuit has inputs and no `drive` is given, or a group is of an unknown kind.
    DeviceParameterError
        If diodes have another gmin than the simulation, which has only one.
    """

    def __init__(
        self,
        circuit: Circuit,
        drive: Drive | None = None,
        options: SpiceOptions | None = None,
        dialect: Dialect | None = None,
    ):
        self.circuit = circuit
        self.dialect = DIALECTS["ngspice"] if dialect is None else dialect
        self.options = options or SpiceOptions()
        _check_names(circuit)
        for group in circuit.groups:
            if type(group) not in _WRITERS and not isinstance(group, CurrentLaw):
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
        return self.dialect.comment(title)

    def options_card(self) -> str:
        """Temperatures, tolerances and limits, all explicit."""
        o = self.options
        celsius, nominal = (in_celsius(kelvin) for kelvin in (self.circuit.temperature, DEFAULT_TEMPERATURE))
        abstol = max(o.abstol, _current_resolution(self.circuit))
        reltol, vntol, abstol, gmin = (number(value) for value in (o.reltol, o.vntol, abstol, self.gmin))
        settings = Settings(celsius, nominal, reltol, vntol, abstol, gmin, int(o.itl1), int(o.itl2))
        return "\n".join(self.dialect.settings(settings))

    def model_cards(self) -> list[str]:
        """One model per distinct set of diode parameters."""
        return [self.dialect.model(name, dict(parameters)) for parameters, name in self._models.items()]

    def element_cards(self) -> Iterator[str]:
        """Cards of all elements, in the circuit's order."""
        for group in self.circuit.groups:
            yield from self.group_cards(group)

    def group_cards(self, group: Branches) -> Iterator[str]:
        """Cards of the elements of one group."""
        return _WRITERS.get(type(group), NetlistWriter._behavioural)(self, group)

    def element_name(self, group: Branches, i: int) -> str:
        """Name of element `i` of a group; for an amplifier that of the source that drives its output."""
        letter = INSTANCE_LETTERS.get(type(group), "b")
        if isinstance(group, Diodes) and group.device.junction_parameters() is None:
            letter = "b"
        if isinstance(group, VoltageSources) and isinstance(self._source_values[group.label][i], str):
            letter = "b"
        return f"{letter}_{group.label}_{i}"

    def source_value(self, group: VoltageSources, i: int) -> str:
        """Value of a voltage source as its card carries it."""
        value = self._source_values[group.label][i]
        return f"v={_expression(value)}" if isinstance(value, str) else number(value)

    @cached_property
    def _models(self) -> dict[Model, str]:
        """Names of the diode models by their parameters, in order of appearance."""
        models: dict[Model, str] = {}
        for group in self.circuit.of_kind(Diodes):
            if group.device.junction_parameters() is not None:
                for parameters, _ in self.diode_parameters(group):
                    models.setdefault(parameters, f"diode_{len(models)}")
        return models

    def diode_parameters(self, group: Diodes) -> Iterator[tuple[Model, str | None]]:
        """Pairs (model, temperature of its own [°C]) of each junction diode of a group; None for the circuit's."""
        device: Any = group.device
        if not self.dialect.has_device_temperature:
            device = _at_one_temperature(device, self.circuit.temperature)
        parameters = device.junction_parameters()
        nominal, temperature = (_per_element(group, t) for t in (device.nominal_temperature, device.temperature))
        columns = [_per_element(group, value) for value in parameters.values()]
        for *values, at_nominal, kelvin in zip(*columns, nominal, temperature, strict=True):
            present = {n: number(v) for n, v in zip(parameters, values, strict=True) if not math.isnan(v)}
            model = {**present, "TNOM": in_celsius(at_nominal)}
            own = in_celsius(kelvin) if kelvin != self.circuit.temperature else None
            yield tuple(model.items()), own

    def _two_terminal(self, group: Branches, values: Sequence[str]) -> Iterator[str]:
        name_of = self.circuit.node_names.__getitem__
        first, second = (map(name_of, getattr(group, name).tolist()) for name in group.terminals)
        stem = f"{INSTANCE_LETTERS[type(group)]}_{group.label}_"
        return self.dialect.elements(stem, zip(first, second, values, strict=True))

    def _conductances(self, group: Conductances) -> Iterator[str]:
        # ngspice reads 0 Ω as 1 mΩ without a word, and below 2.3e-308 S a resistance is no longer a number.
        with np.errstate(divide="ignore", over="ignore"):
            ohms = 1 / group.siemens
        if not (ohms.all() and np.isfinite(ohms).all()):
            raise CircuitError(
                f"{group.label}: a resistor cannot stand for 0 S or infinite conductance; change the branch"
            )
        return self._two_terminal(group, list(map(repr, ohms.tolist())))

    def _capacitors(self, group: Capacitors) -> Iterator[str]:
        return self._two_terminal(group, [number(c) for c in group.farads.tolist()])

    def _current_sources(self, group: CurrentSources) -> Iterator[str]:
        return self._two_terminal(group, [number(a) for a in group.amperes.tolist()])

    def _voltage_sources(self, group: VoltageSources) -> Iterator[str]:
        names = self.circuit.node_names
        for i, (p, n) in enumerate(zip(group.positive.tolist(), group.negative.tolist(), strict=True)):
            yield self.dialect.element(self.element_name(group, i), (names[p], names[n]), self.source_value(group, i))

    def _diodes(self, group: Diodes) -> Iterator[str]:
        if group.device.junction_parameters() is not None:
            return self._junctions(group)
        if isinstance(group.device, PiecewiseLinearDiode):
            return self._piecewise_diodes(group, group.device)
        return self._behavioural(group)

    def _junctions(self, group: Diodes) -> Iterator[str]:
        names = self.circuit.node_names
        rows = zip(group.anode.tolist(), group.cathode.tolist(), self.diode_parameters(group), strict=True)
        for i, (a, k, (model, celsius)) in enumerate(rows):
            nodes = (names[a], names[k])
            yield self.dialect.diode(self.element_name(group, i), nodes, self._models[model], celsius)

    def _piecewise_diodes(self, group: Diodes, device: PiecewiseLinearDiode) -> Iterator[str]:
        names = self.circuit.node_names
        leakage, offset = (_per_element(group, value) for value in (device.leakage, device.offset))
        for i, (a, k) in enumerate(zip(group.anode.tolist(), group.cathode.tolist(), strict=True)):
            bends = [(t + offset[i], float(d)) for t, d in zip(device.thresholds, device.increments, strict=True)]
            for value in (leakage[i], *(value for bend in bends for value in bend)):
                number(value)
            nodes = (names[a], names[k])
            yield self.dialect.piecewise_linear(self.element_name(group, i), nodes, leakage[i], bends)

    def _voltage_controlled(
        self, group: VoltageControlledVoltageSources | VoltageControlledCurrentSources
    ) -> Iterator[str]:
        names = self.circuit.node_names
        nodes = (getattr(group, name).tolist() for name in group.terminals)
        for i, (*terminals, gain) in enumerate(zip(*nodes, group.gain.tolist(), strict=True)):
            nodes_of = [names[node] for node in terminals]
            yield self.dialect.element(self.element_name(group, i), nodes_of, number(gain))

    def _behavioural(self, group: CurrentLaw) -> Iterator[str]:
        """Sources that follow an expression: how a current law without a card of its own reaches a simulator."""
        names = self.circuit.node_names
        expressions = group.expressions(*([self.across(*pair) for pair in _pairs(nodes)] for nodes in group.controls()))
        if expressions is None:
            raise CircuitError(
                f"{group.label}: no netlist card stands for {group.law_type.__name__}; give it expressions of its "
                f"current"
            )
        for i, ((first, second), expression) in enumerate(zip(_pairs(group.ends()), expressions, strict=True)):
            nodes, name = (names[first], names[second]), self.element_name(group, i)
            yield self.dialect.behavioural(name, nodes, "i", _shared_expression(group, expression))

    def across(self, first: int, second: int) -> str:
        """Text of the voltage between two nodes."""
        names = self.circuit.node_names
        return f"v({names[first]})" if second == GROUND else f"v({names[first]},{names[second]})"

    def _current_controlled(
        self, group: CurrentControlledCurrentSources | CurrentControlledVoltageSources
    ) -> Iterator[str]:
        names, sources = self.circuit.node_names, self.circuit.group(group.control_label)
        rows = zip(*(a.tolist() for a in (group.positive, group.negative, group.control, group.gain)), strict=True)
        for i, (p, n, control, gain) in enumerate(rows):
            source, nodes = self.element_name(sources, control), (names[p], names[n])
            yield self.dialect.current_controlled(self.element_name(group, i), nodes, source, number(gain))

    def _amplifiers(self, group: Amplifiers) -> Iterator[str]:
        names = self.circuit.node_names
        arrays = (group.input, group.output, group.inverted, group.gain, group.feedback, group.offset)
        for i, (u, p, n, gain, feedback, offset) in enumerate(zip(*(a.tolist() for a in arrays), strict=True)):
            stem = f"{group.label}_{i}"
            source, cards = amplifier_input(stem, names[u], offset, self.dialect)
            yield from cards
            yield from self._amplifier_output(stem, source, names[p], gain, feedback)
            if n >= 0:
                yield from self._amplifier_output(f"{stem}_inv", source, names[n], -gain, -feedback)

    def _amplifier_output(self, stem: str, source: str, output: str, gain: float, feedback: float) -> Iterator[str]:
        """A gain, a 0 V ammeter for the current that leaves the output, and what it draws from the input."""
        yield self.dialect.element(f"e_{stem}", (f"_{stem}", "0", source, "0"), number(gain))
        yield self.dialect.element(f"v_{stem}", (f"_{stem}", output), "0.0")
        yield self.dialect.current_controlled(f"f_{stem}", (source, "0"), f"v_{stem}", number(feedback))


def amplifier_input(stem: str, node: str, offset: float, dialect: Dialect) -> tuple[str, list[str]]:
    """The node that an amplifier sees as its input, and the source that puts the offset before it, if there is one."""
    if not offset:
        return node, []
    return f"_{stem}_in", [dialect.element(f"v_{stem}_offset", (f"_{stem}_in", node), number(offset))]


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
        if group.device.junction_parameters() is not None
        for gmin in torch.as_tensor(group.device.gmin, dtype=torch.float64).reshape(-1).tolist()
    }
    wanted = found if options.gmin is None else found | {options.gmin}
    if len(wanted) > 1:
        raise DeviceParameterError(
            f"SPICE has one gmin for all junctions, found {sorted(wanted)} S; give all diodes and the options one value"
        )
    return next(iter(wanted), SIMULATION_GMIN)


def _current_resolution(circuit: Circuit) -> float:
    """Current by which the rounding of the voltages moves the steepest piecewise-linear diode. [A]

    Without it as a tolerance ngspice goes back and forth between neighbouring numbers, until it gives the point up.
    """
    rails, resolution = np.zeros(circuit.n_nodes), 0.0
    for group in circuit.of_kind(VoltageSources):
        for node in (group.positive, group.negative):
            np.maximum.at(rails, node, np.abs(group.volts))
    rails[GROUND] = 0.0
    for group in circuit.of_kind(Diodes):
        if isinstance(group.device, PiecewiseLinearDiode) and len(group):
            slope = max(abs(increment) for increment in group.device.increments)
            offset = torch.as_tensor(group.device.offset, dtype=torch.float64).abs().max()
            bend = max(abs(threshold) for threshold in group.device.thresholds) + float(offset)
            volts = bend + max(rails[group.anode].max(), rails[group.cathode].max())
            resolution = max(resolution, float(slope * volts * _ROUNDED_BITS * np.finfo(np.float64).eps))
    return resolution


def _at_one_temperature(device: Any, kelvin: float) -> Any:
    """The junctions that at `kelvin` have the characteristics of these at their own temperatures.

    Those that are at `kelvin` keep their parameters, and so follow the simulation's temperature.
    """
    own = torch.as_tensor(device.temperature, dtype=torch.float64)
    if bool((own == kelvin).all()):
        return device
    if not isinstance(device, ShockleyDiode):
        raise CircuitError(
            f"this dialect has no temperatures of single diodes, found a {type(device).__name__} at {float(own.max())} "
            f"K in a circuit at {kelvin} K; write another dialect"
        )
    changed = {
        "saturation_current": device.effective_saturation_current,
        "ideality": device.ideality * (own / kelvin),
        "nominal_temperature": torch.tensor(kelvin, dtype=torch.float64),
    }
    kept = {name: torch.where(own == kelvin, getattr(device, name), value) for name, value in changed.items()}
    return replace(device, temperature=kelvin, **kept)


def _pairs(nodes: NodePair) -> Iterator[tuple[int, int]]:
    return zip(nodes[0].tolist(), nodes[1].tolist(), strict=True)


def _per_element(group: Diodes, value: float | torch.Tensor) -> list[float]:
    return torch.as_tensor(value, dtype=torch.float64).expand(len(group)).tolist()


def in_celsius(kelvin: float) -> str:
    """Text of a temperature given in kelvin. [°C]"""
    # Beyond 12 digits lies the rounding of the subtraction, and 300.15 K must read 27.
    return number(round(kelvin - ZERO_CELSIUS, 12))


def _shared_expression(group: CurrentLaw, text: str) -> str:
    """An expression that means the same to every simulator."""
    strange = sorted(set(re.findall(r"([a-z_][a-z0-9_]*)\(", text)) - _SHARED_FUNCTIONS)
    if strange or "**" in text:
        raise CircuitError(
            f"{group.label}: an expression must use {', '.join(sorted(_SHARED_FUNCTIONS))} and + - * / alone, since "
            f"simulators differ in others, found {', '.join(strange) or '**'} in {text[:60]!r}"
        )
    return _expression(text)


def _expression(text: str) -> str:
    unknown = text.encode().translate(None, _EXPRESSION_CHARACTERS).decode()
    if unknown:
        raise NodeNameError(f"an expression may not contain {sorted(set(unknown))}; found it in {text[:60]!r}")
    return text
