"""The groups of branches that a design's elements become, by the designer's names of nodes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import torch

from analog_ep.circuit import (
    NONE,
    Amplifiers,
    Capacitors,
    Circuit,
    CircuitBuilder,
    Conductances,
    CurrentControlledCurrentSources,
    CurrentControlledVoltageSources,
    CurrentSources,
    NodePair,
    VoltageControlledCurrentSources,
    VoltageControlledVoltageSources,
    VoltageSources,
)
from analog_ep.designs.behaviour import Formed, expression_kind
from analog_ep.designs.expansion import Element
from analog_ep.designs.node_names import safe_names
from analog_ep.designs.scopes import Quantity
from analog_ep.devices import Diode


class Place(Protocol):
    """Where a trainable conductance stands: its parameter, and the index in it."""

    @property
    def parameter(self) -> str: ...
    @property
    def index(self) -> int: ...


@dataclass(frozen=True, eq=False)
class Branch:
    """Two nodes and a value between them; `element` is where it stands."""

    element: Element
    nodes: tuple[str, ...]
    value: float
    quantity: Quantity | None = None
    factor: float = 1.0


@dataclass(eq=False)
class Assembly:
    """What was read of a design, kind by kind, in the order of its cards.

    Attributes
    ----------
    resistors : list of Branch
        Values in ohms; `quantity` is the number on the card, which `factor` multiplies.
    sources : dict of str to Branch
        V, and L as 0 V, by name. [V]
    """

    resistors: list[Branch] = field(default_factory=list)
    capacitors: list[Branch] = field(default_factory=list)
    sources: dict[str, Branch] = field(default_factory=dict)
    currents: list[Branch] = field(default_factory=list)
    voltage_controlled: dict[str, list[Branch]] = field(default_factory=lambda: {"e": [], "g": []})
    current_controlled: dict[str, list[tuple[Branch, str]]] = field(default_factory=lambda: {"f": [], "h": []})
    diodes: list[tuple[Element, str, str, Diode]] = field(default_factory=list)
    expressions: list[tuple[Element, str, str, Formed]] = field(default_factory=list)
    inductors: set[str] = field(default_factory=set)
    notes: list[str] = field(default_factory=list)
    first_use: dict[str, Element] = field(default_factory=dict)
    _count: int = 0

    def use(self, element: Element, *nodes: str) -> tuple[str, ...]:
        """Nodes of an element, written down with the first element that has them."""
        for node in nodes:
            self.first_use.setdefault(node, element)
        return nodes

    def internal(self, element: Element, what: str) -> str:
        """A node that no designer's name can be."""
        self._count += 1
        return self.use(element, f"({what} {self._count})")[0]


@dataclass(frozen=True)
class Amplifier:
    """Nodes and values of one amplifier; `inverted` is "" where it has no second output."""

    input: str
    output: str
    gain: float
    feedback: float
    inverted: str = ""


@dataclass(frozen=True, eq=False)
class Recognised:
    """Amplifiers, and what they take the place of.

    Attributes
    ----------
    amplifiers : list of Amplifier
        In the order of the F.
    sources : set of str
        Names of the 0 V sources.
    branches : set of int
        `id` of the branches of E and F.
    same : dict of str to str
        Output of each node that an E drove: the 0 V source made it the same.
    """

    amplifiers: list[Amplifier] = field(default_factory=list)
    sources: set[str] = field(default_factory=set)
    branches: set[int] = field(default_factory=set)
    same: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Assembled:
    """A circuit and how its parts are called in the design.

    Attributes
    ----------
    circuit : Circuit
        With inputs, outputs and trainable conductances.
    nodes : dict of str to str
        Name in the circuit of each of the designer's nodes.
    """

    circuit: Circuit
    nodes: dict[str, str]


def assemble(
    assembly: Assembly,
    title: str,
    kelvin: float,
    trainable: Mapping[str, Place],
    inputs: tuple[str, ...],
    outputs: tuple[tuple[str, str], ...],
    recognised: Recognised,
    prefix: str = "",
) -> Assembled:
    """Build the circuit.

    Parameters
    ----------
    assembly : Assembly
        What was read.
    title : str
        Of the circuit.
    kelvin : float
        Temperature. [K]
    trainable : mapping of str to Place
        Trainable resistors by name, with the parameter that each is in and its index there.
    inputs : tuple of str
        Voltage sources that the inputs drive, in order.
    outputs : tuple of (str, str)
        Nodes of the outputs.
    recognised : Recognised
        Amplifiers among the controlled sources.
    prefix : str
        Begins the labels of the groups.
    """
    same = recognised.same
    names = safe_names(dict.fromkeys(["0", *(node for node in assembly.first_use if node not in same)]))
    builder = CircuitBuilder(_plain(title), kelvin)
    indices = dict(zip(list(names)[1:], builder.add_nodes(list(names.values())[1:]).tolist(), strict=True))
    names |= {driven: names[output] for driven, output in same.items()}
    indices |= {driven: indices[output] for driven, output in same.items()}
    assembler = _Assembler(builder, {"0": 0, **indices}, assembly, recognised, prefix)
    assembler.resistors(trainable)
    assembler.linear(inputs)
    assembler.amplifiers()
    assembler.diodes()
    assembler.expressions()
    if outputs:
        positive, negative = (np.array([assembler.nodes[pair[side]] for pair in outputs]) for side in (0, 1))
        builder.set_outputs(positive, negative)
        builder.set_layer("outputs", positive)
    return Assembled(builder.build(), names)


def _plain(title: str) -> str:
    """A title that every netlist can carry."""
    text = "".join(character if " " <= character <= "~" else "?" for character in title.strip().lstrip("*").strip())
    return text[:100] or "a design"


@dataclass(eq=False)
class _Assembler:
    builder: CircuitBuilder
    nodes: dict[str, int]
    assembly: Assembly
    recognised: Recognised
    prefix: str = ""

    def called(self, name: str) -> str:
        """Label of a group."""
        return f"{self.prefix}{name}"

    def ends(self, branches: Iterable[Branch]) -> NodePair:
        first, second = np.array([[self.nodes[n] for n in branch.nodes[:2]] for branch in branches], np.int64).T
        return first, second

    def controls(self, branches: Iterable[Branch]) -> NodePair:
        first, second = np.array([[self.nodes[n] for n in branch.nodes[2:]] for branch in branches], np.int64).T
        return first, second

    def resistors(self, trainable: Mapping[str, Place]) -> None:
        every = self.assembly.resistors
        fixed = [b for b in every if b.element.name not in trainable and b.value > 0]
        # A negative resistance is passive nowhere: as a controlled source it has no energy, and says so.
        negative = [b for b in every if b.value < 0]
        learnt: dict[str, list[tuple[Branch, int]]] = {}
        for branch in every:
            if branch.element.name in trainable:
                place = trainable[branch.element.name]
                learnt.setdefault(place.parameter, []).append((branch, place.index))
        if fixed:
            self.builder.add(Conductances(self.called("r"), *self.ends(fixed), [1 / b.value for b in fixed]))
        for parameter, members in learnt.items():
            branches, index = zip(*members, strict=True)
            siemens = [1 / b.value for b in branches]
            self.builder.add(Conductances(parameter, *self.ends(branches), siemens, parameter, list(index)))
        if negative:
            ends = self.ends(negative)
            gains = [1 / b.value for b in negative]
            self.builder.add(VoltageControlledCurrentSources(self.called("rneg"), *ends, *ends, gains))

    def linear(self, inputs: tuple[str, ...]) -> None:
        assembly, add = self.assembly, self.builder.add
        if assembly.capacitors:
            add(Capacitors(self.called("c"), *self.ends(assembly.capacitors), [b.value for b in assembly.capacitors]))
        sources = [name for name in assembly.sources if name not in self.recognised.sources]
        if sources:
            branches = [assembly.sources[name] for name in sources]
            order = {name: k for k, name in enumerate(inputs)}
            driven = np.array([order.get(name, NONE) for name in sources])
            volts = np.where(driven >= 0, 0.0, [b.value for b in branches])
            add(VoltageSources(self.called("v"), *self.ends(branches), volts, driven))
        if assembly.currents:
            add(CurrentSources(self.called("i"), *self.ends(assembly.currents), [b.value for b in assembly.currents]))
        kinds = {"e": VoltageControlledVoltageSources, "g": VoltageControlledCurrentSources}
        for letter, every in assembly.voltage_controlled.items():
            if branches := [branch for branch in every if id(branch) not in self.recognised.branches]:
                add(
                    kinds[letter](
                        self.called(letter), *self.ends(branches), *self.controls(branches), [b.value for b in branches]
                    )
                )
        followers = {"f": CurrentControlledCurrentSources, "h": CurrentControlledVoltageSources}
        place = {name: k for k, name in enumerate(sources)}
        for letter, every in assembly.current_controlled.items():
            if pairs := [pair for pair in every if id(pair[0]) not in self.recognised.branches]:
                branches = [branch for branch, _ in pairs]
                controls = [place[source] for _, source in pairs]
                add(
                    followers[letter](
                        self.called(letter),
                        *self.ends(branches),
                        self.called("v"),
                        controls,
                        [b.value for b in branches],
                    )
                )

    def amplifiers(self) -> None:
        every = self.recognised.amplifiers
        if every:
            inputs, outputs = ([self.nodes[getattr(a, end)] for a in every] for end in ("input", "output"))
            inverted = [self.nodes[a.inverted] if a.inverted else NONE for a in every]
            gains, feedbacks = [a.gain for a in every], [a.feedback for a in every]
            self.builder.add(Amplifiers(self.called("amp"), inputs, outputs, gains, feedbacks, inverted))

    def diodes(self) -> None:
        by_kind: dict[type, list[tuple[Element, str, str, Diode]]] = {}
        for row in self.assembly.diodes:
            by_kind.setdefault(type(row[3]), []).append(row)
        for number, rows in enumerate(by_kind.values()):
            anodes, cathodes = [self.nodes[row[1]] for row in rows], [self.nodes[row[2]] for row in rows]
            self.builder.add_diodes(
                self.called(f"d{number or ''}"), np.array(anodes), np.array(cathodes), _together(rows)
            )

    def expressions(self) -> None:
        groups: dict[tuple, list[tuple[Element, str, str, Formed]]] = {}
        for row in self.assembly.expressions:
            formed = row[3]
            groups.setdefault((formed.form, len(formed.controls), len(formed.constants)), []).append(row)
        for number, (key, rows) in enumerate(groups.items()):
            fields: dict[str, list] = {}
            for k in range(key[1]):
                fields[f"control_{k}"] = [self.nodes[row[3].controls[k][0]] for row in rows]
                fields[f"reference_{k}"] = [self.nodes[row[3].controls[k][1]] for row in rows]
            for k in range(key[2]):
                fields[f"constant_{k}"] = [row[3].constants[k] for row in rows]
            positive, negative = [self.nodes[row[1]] for row in rows], [self.nodes[row[2]] for row in rows]
            self.builder.add(expression_kind(*key)(self.called(f"b{number}"), positive, negative, **fields))


def _together(rows: list[tuple[Element, str, str, Diode]]) -> Diode:
    """Diodes of one class as one device with a value an element."""
    devices = [row[3] for row in rows]
    names = type(devices[0]).__dataclass_fields__
    columns = {n: torch.tensor([getattr(d, n) for d in devices], dtype=torch.float64) for n in names}
    return type(devices[0])(**columns)
