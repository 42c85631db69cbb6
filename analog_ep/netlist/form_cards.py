"""The cards of each netlist form, in any dialect: what a group says of itself, with names, nodes and values."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np

from analog_ep.circuit import GROUND, Branches, Circuit, CurrentLaw, NodePair
from analog_ep.devices.foreign_form import ForeignInstance
from analog_ep.devices.forms import (
    Assembly,
    Expression,
    Follower,
    Junction,
    Model,
    ModelInstance,
    NetlistForm,
    Part,
    PiecewiseLinear,
    Primitive,
    Source,
    Table,
    per_element,
)
from analog_ep.devices.statement import states
from analog_ep.errors import CircuitError
from analog_ep.netlist.dialects import NGSPICE, Dialect, require_form
from analog_ep.netlist.texts import expression, in_celsius, number, shared_expression


class FormCards:
    """Makes the cards of a circuit's forms: a `FormWriter`.

    Parameters
    ----------
    circuit : Circuit
        Gives nodes their names.
    dialect : Dialect
        Formats the cards.
    forms : dict of str to NetlistForm
        By the group's label.
    source_values : dict of str to list
        Values of groups of sources, by label.
    models : dict of Model to str
        Names of the model cards.
    """

    def __init__(
        self,
        circuit: Circuit,
        dialect: Dialect,
        forms: Mapping[str, NetlistForm],
        source_values: Mapping[str, list[float | str]],
        models: Mapping[Model, str],
    ):
        self.circuit, self.dialect = circuit, dialect
        self._forms, self._source_values, self._models = forms, source_values, models

    def name(self, group: Branches, i: int) -> str:
        """Name of element `i` of a group."""
        return f"{self._letter(group, i)}_{group.label}_{i}"

    def _letter(self, group: Branches, i: int) -> str:
        values = self._source_values.get(group.label)
        return "b" if values is not None and isinstance(values[i], str) else self._forms[group.label].letter

    def primitives(self, group: Branches, form: Primitive) -> Iterator[str]:
        values, stem = form.values_of(group.label), f"{form.letter}_{group.label}_"
        # There may be millions: only where one is not finite does each get its own check, which names it.
        texts = list(map(repr if np.isfinite(values).all() else number, values))
        rows = zip(*self._nodes(group, group.terminals), texts, strict=True)
        if len(group.terminals) == 2:
            return self.dialect.elements(stem, rows)
        return (self.dialect.element(f"{stem}{i}", nodes, value) for i, (*nodes, value) in enumerate(rows))

    def sources(self, group: Branches, form: Source) -> Iterator[str]:
        for i, (nodes, value) in enumerate(zip(self._ends(group), self._source_values[group.label], strict=True)):
            name = self.name(group, i)
            if isinstance(value, str):
                yield self.dialect.behavioural(name, nodes, "v", expression(value))
            else:
                yield self.dialect.element(name, nodes, number(value))

    def followers(self, group: Branches, form: Follower) -> Iterator[str]:
        followed = group.followed()
        assert followed is not None
        sources = self.circuit.group(followed[0])
        rows = zip(self._ends(group), followed[1].tolist(), form.gain.tolist(), strict=True)
        for i, (nodes, control, gain) in enumerate(rows):
            sensed = self.name(sources, control)
            yield self.dialect.current_controlled(self.name(group, i), nodes, sensed, number(gain))

    def assemblies(self, group: Branches, form: Assembly) -> Iterator[str]:
        for i, parts in enumerate(form.parts):
            yield from self.parts(f"{group.label}_{i}", parts)

    def parts(self, stem: str, parts: Iterable[Part]) -> Iterator[str]:
        """Cards of the parts of one element, whose label and index are the stem."""
        for part in parts:
            name, nodes = f"{part.letter}_{stem}{part.suffix}", self.nodes(stem, part.nodes)
            if part.sensed is None:
                yield self.dialect.element(name, nodes, number(part.value))
            else:
                yield self.dialect.current_controlled(name, nodes, f"v_{stem}{part.sensed}", number(part.value))

    def nodes(self, stem: str, nodes: Sequence[int | str]) -> list[str]:
        """Names of nodes, of which those that the element hides are given by their suffix."""
        names = self.circuit.node_names
        return [f"_{stem}{node}" if isinstance(node, str) else names[node] for node in nodes]

    def junctions(self, group: Branches, form: Junction) -> Iterator[str]:
        own = per_element(form.temperature, len(group))
        for i, (nodes, kelvin, model) in enumerate(zip(self._ends(group), own, self.models(group), strict=True)):
            held = self.dialect.has_device_temperature and kelvin != self.circuit.temperature
            celsius = in_celsius(kelvin) if held else None
            yield self.dialect.diode(self.name(group, i), nodes, self._models[model], celsius)

    def models(self, group: Branches) -> list[Model]:
        """Model of each element of a group."""
        kelvin = None if self.dialect.has_device_temperature else self.circuit.temperature
        return self._forms[group.label].models(len(group), kelvin)

    def instances(self, group: Branches, form: ModelInstance) -> Iterator[str]:
        columns = [map(number, per_element(values, len(group))) for values in form.instance.values()]
        texts = zip(*columns, strict=True) if columns else [()] * len(group)
        own = form.temperatures(len(group))
        rows = zip(zip(*self._terminals(group, form.terminals), strict=True), self.models(group), texts, strict=True)
        for i, (nodes, model, values) in enumerate(rows):
            if form.parts:
                yield from self.parts(f"{group.label}_{i}", form.parts[i])
            parameters: dict[str, str] = dict(zip(form.instance, values, strict=True))
            if own and own[i] != self.circuit.temperature:
                parameters |= self.dialect.device_temperature(in_celsius(own[i]))
            yield self.dialect.instance(self.name(group, i), nodes, self._models[model], parameters)

    def foreign(self, group: Branches, form: ForeignInstance) -> Iterator[str]:
        form.require_at(group.label, self.circuit.temperature)
        columns = [map(number, per_element(values, len(group))) for values in form.instance.values()]
        texts = zip(*columns, strict=True) if columns else [()] * len(group)
        rows = zip(zip(*self._terminals(group, form.terminals), strict=True), texts, strict=True)
        for i, (nodes, values) in enumerate(rows):
            if form.parts:
                yield from self.parts(f"{group.label}_{i}", form.parts[i])
            parameters: dict[str, str] = dict(zip(form.instance, values, strict=True))
            yield self.dialect.instance(self.name(group, i), nodes, form.model, parameters)

    def piecewise(self, group: Branches, form: PiecewiseLinear) -> Iterator[str]:
        for i, (nodes, (leakage, bends)) in enumerate(zip(self._ends(group), form.rows(len(group)), strict=True)):
            for value in (leakage, *(value for bend in bends for value in bend)):
                number(value)
            yield self.dialect.piecewise_linear(self.name(group, i), nodes, leakage, bends)

    def expressions(self, group: CurrentLaw, form: Expression) -> Iterator[str]:
        texts = form.texts(*([self.across(*pair) for pair in _pairs(nodes)] for nodes in group.controls()))
        if texts is None:
            raise CircuitError(no_form(group))
        for i, (nodes, text) in enumerate(zip(self._ends(group), texts, strict=True)):
            words = self.dialect.in_own_words(shared_expression(group.label, text))
            yield self.dialect.behavioural(self.name(group, i), nodes, "i", words)

    def tables(self, group: CurrentLaw, form: Table) -> Iterator[str]:
        if len(group.controls()) != 1:
            raise CircuitError(
                f"{group.label}: a table is of one voltage, found {len(group.controls())} controls; give expressions"
            )
        (control,) = (zip(*self._named(nodes), strict=True) for nodes in group.controls())
        for i, (nodes, across, points) in enumerate(
            zip(self._ends(group), control, form.rows(len(group)), strict=True)
        ):
            yield self.dialect.table(self.name(group, i), nodes, across, points)

    def across(self, first: int, second: int) -> str:
        """Text of the voltage between two nodes."""
        names = self.circuit.node_names
        return f"v({names[first]})" if second == GROUND else f"v({names[first]},{names[second]})"

    def _ends(self, group: Branches) -> Iterator[tuple[str, str]]:
        return zip(*self._named(group.ends()), strict=True)

    def _terminals(self, group: Branches, terminals: Sequence[str]) -> list[Iterator[str]]:
        """As `_nodes`, and the hidden nodes whose suffixes stand in place of terminals."""
        return [self._hidden(group, name) if name[0] == "_" else self._nodes(group, [name])[0] for name in terminals]

    def _hidden(self, group: Branches, suffix: str) -> Iterator[str]:
        return (f"_{group.label}_{i}{suffix}" for i in range(len(group)))

    def _nodes(self, group: Branches, terminals: Sequence[str]) -> list[Iterator[str]]:
        return self._named([getattr(group, terminal) for terminal in terminals])

    def _named(self, nodes: Sequence) -> list[Iterator[str]]:
        name_of = self.circuit.node_names.__getitem__
        return [map(name_of, each.tolist()) for each in nodes]


def element_names(group: Branches) -> list[str]:
    """Names of the elements of a group whose values are numbers, as netlists have them."""
    form = checked_form(group, NGSPICE)
    return [f"{form.letter}_{group.label}_{i}" for i in range(len(group))]


def checked_form(group: Branches, dialect: Dialect) -> NetlistForm:
    """The form of a group.

    Raises
    ------
    CircuitError
        If it has none, inherits that of another law, or the dialect lacks it.
    """
    form = group.netlist_form()
    if form is None or not states(group.law_type, ("netlist_form", "expressions"), group.law_method):
        raise CircuitError(no_form(group))
    require_form(dialect, form.name, f"{form.letter}_{group.label}_0", "give it another netlist_form")
    return form


def no_form(group: Branches) -> str:
    """Why a group cannot be written."""
    return (
        f"{group.label}: no netlist card stands for {group.law_type.__name__}; give it expressions of its current, or "
        f"another netlist_form of its law"
    )


def _pairs(nodes: NodePair) -> Iterator[tuple[int, int]]:
    return zip(nodes[0].tolist(), nodes[1].tolist(), strict=True)
