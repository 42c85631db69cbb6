r"""The energy of a circuit as SPICE elements: their currents add up in 1 Ω at the node `energy`, so v(energy) is E [W].

A source per resistor would double the netlist. By Tellegen's theorem the co-content of a block's resistors is
:math:`\tfrac12 \sum_R g v^2 = \tfrac12 \sum_n V_n J_n`, with :math:`J_n` the current that the *other* elements carry
into node n. With :math:`\omega_n` the energy weight of node n, every other element that takes the current I out of node
p and returns it to node n therefore contributes :math:`-\tfrac12 (\omega_p V_p - \omega_n V_n) I`, besides its own
co-content. Amplifiers between two blocks contribute nothing but their offsets' share: that is what the weights are
chosen for.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from analog_ep.circuit import GROUND, Branches, CurrentLaw, VoltageRows, energy_weights
from analog_ep.circuit.energy import branch_weights, held_nodes
from analog_ep.devices.content import Content, Shared
from analog_ep.devices.statement import states
from analog_ep.netlist.dialects import Dialect
from analog_ep.netlist.netlist import NetlistWriter
from analog_ep.netlist.nudge_cards import NudgeCurrent
from analog_ep.netlist.subcircuits import row_currents
from analog_ep.netlist.texts import number

_TERMS_PER_SOURCE = 16
"""ngspice takes quadratic time over the length of an expression."""

_CANCELLED = 1e-8
"""Relative imbalance of an amplifier's two sides that is the weights' rounding."""


@dataclass(frozen=True)
class EnergyCards:
    """Cards that print the energy, or the reason why there are none.

    Attributes
    ----------
    cards : list of str
        Empty where there are none.
    reason : str
        Empty where there are cards.
    """

    cards: list[str]
    reason: str = ""


def energy_cards(writer: NetlistWriter, nudge: Sequence[NudgeCurrent] = ()) -> EnergyCards:
    """The sources whose sum is E of the circuit, without the nudge's own term.

    Parameters
    ----------
    writer : NetlistWriter
        Of the circuit, with constant sources.
    nudge : sequence of NudgeCurrent
        Currents that flow besides those of the circuit's elements.
    """
    circuit = writer.circuit
    weights = energy_weights(circuit)
    if weights.nodes is None:
        return EnergyCards([], weights.reason)
    contents: dict[str, Content] = {}
    for group in circuit.of_kind(CurrentLaw):
        if group.controls() and group.resistors() is None:
            content = _content(group, circuit.temperature)
            if isinstance(content, str):
                return EnergyCards([], f"{group.label} {content}")
            contents[group.label] = content
    terms = _Terms(writer, weights.nodes, contents)
    dialect = writer.dialect
    try:
        parts = list(terms.all(nudge))
    except _UnseenError as error:
        return EnergyCards([], str(error))
    sources = [dialect.behavioural(f"b_energy_{i}", ("0", "energy"), "i", term) for i, term in enumerate(parts)]
    sink = dialect.element("r_energy", ("energy", "0"), "1.0")
    return EnergyCards([*_functions(contents, dialect), *terms.shared.cards(dialect), *sources, sink])


def _content(group: CurrentLaw, kelvin: float) -> Content | str:
    """What a group says of its co-content, if it says so of its own law."""
    if not states(group.law_type, ("content",), "current"):
        return "has no expression for its co-content"
    return group.content(kelvin)


class _UnseenError(Exception):
    """A current that cannot be named in an expression of the dialect."""


class _Terms:
    """The terms of the energy, each an expression [W] in ngspice's words."""

    def __init__(self, writer: NetlistWriter, weights: np.ndarray, contents: dict[str, Content]):
        self.writer, self.circuit, self.contents = writer, writer.circuit, contents
        # The weights are defined to 1e-9; the digits beyond would only be noise on every card.
        distinct, which = np.unique(weights, return_inverse=True)
        self.weights = np.array([float(f"{weight:.9g}") for weight in distinct])[which]
        self.held = held_nodes(self.circuit)
        resistors = ((group.label, group.resistors()) for group in self.circuit.groups)
        self.siemens = {label: siemens for label, siemens in resistors if siemens is not None}
        constant = (group for group in self.circuit.of_kind(CurrentLaw) if not group.controls())
        self.constant = {group.label: np.broadcast_to(group.current(), (len(group),)) for group in constant}
        self.terminal = self._terminal_weights()
        self.shared = _SharedNodes()

    def all(self, nudge: Sequence[NudgeCurrent]) -> Iterator[str]:
        for group in self.circuit.groups:
            yield from self._of(group)
        for current in nudge:
            if power := self._power(0.5, current.positive, current.negative):
                yield f"{power}*({current.expression})*v(phase)"

    def _of(self, group: Branches) -> Iterator[str]:
        if (rows := group.rows()) is not None:
            if rows.inductive:
                return iter(())
            return self._sources(group, rows) if rows.is_independent else self._amplifiers(group, rows)
        if group.label in self.contents:
            return self._contents(group, self.contents[group.label])
        if group.label in self.siemens:
            return self._other_blocks(group, self.siemens[group.label])
        return self._constant_currents(group, self.constant[group.label]) if group.label in self.constant else iter(())

    def _terminal_weights(self) -> np.ndarray:
        """ω of every node: its block's weight; at a held node that of most of its resistors, 0 where it has none."""
        weight = np.where(self.held, 0.0, self.weights)
        ends = [np.zeros((0, 2))]
        for group in map(self.circuit.group, self.siemens):
            own = branch_weights(group, self.weights, self.held)
            ends += [np.stack([nodes, own], axis=1)[self.held[nodes]] for nodes in group.ends()]
        rows, counts = np.unique(np.concatenate(ends), axis=0, return_counts=True)
        for node, own in rows[np.argsort(counts, kind="stable")]:
            weight[int(node)] = own
        weight[GROUND] = 0.0
        return weight

    def _power(self, scale: float, positive: int, negative: int) -> str:
        """Text of scale · (ω_p V_p − ω_n V_n), to be multiplied by a current; empty where it is zero."""
        names = self.circuit.node_names
        first, second = scale * self.terminal[positive], -scale * self.terminal[negative]
        if first and first == -second:
            return f"{number(first)}*v({names[positive]},{names[negative]})"
        if first and second:
            return f"({number(first)}*v({names[positive]})+({number(second)})*v({names[negative]}))"
        if first or second:
            return f"{number(first or second)}*v({names[positive if first else negative]})"
        return ""

    def _sources(self, group: Branches, rows: VoltageRows) -> Iterator[str]:
        for i, (p, n) in enumerate(zip(rows.positive.tolist(), rows.negative.tolist(), strict=True)):
            if power := self._power(-0.5, p, n):
                yield f"{power}*i({self.writer.element_name(group, i)})"

    def _constant_currents(self, group: Branches, amperes: np.ndarray) -> Iterator[str]:
        for p, n, current in zip(*group.ends(), amperes, strict=True):
            content = self._content_of_source(int(p), int(n))
            yield f"{number(current)}*({content}+({self._power(-0.5, p, n) or 0}))"

    def _content_of_source(self, positive: int, negative: int) -> str:
        """Text of w_p V_p − w_n V_n: the ends of a current source may lie in blocks of different weight."""
        first, second = (
            self.weights[far] if self.held[near] else self.weights[near]
            for near, far in ((positive, negative), (negative, positive))
        )
        if first == second:
            return f"{number(first)}*{self.writer.across(positive, negative)}"
        above, below = (self.writer.across(node, GROUND) for node in (positive, negative))
        return f"({number(first)}*{above}-{number(second)}*{below})"

    def _contents(self, group: Branches, content: Content) -> Iterator[str]:
        own, name = branch_weights(group, self.weights, self.held), _stem(group.label, content)
        for a, k, w, values in zip(*group.ends(), own, content.arguments, strict=True):
            arguments = ",".join([self.writer.across(a, k), *map(self.shared.text, values)])
            power = self._power(-0.5, a, k)
            resistors = f"+({power})*{name}_current({arguments})" if power else ""
            scale = "" if w == 1 else f"{number(w)}*"
            yield f"{scale}{name}_content({arguments}){resistors}"

    def _amplifiers(self, group: Branches, rows: VoltageRows) -> Iterator[str]:
        assert rows.drawn_from is not None
        assert rows.feedback is not None
        assert rows.gain is not None
        names, output = self.circuit.node_names, rows.positive
        drawn = self.terminal[rows.drawn_from] * (rows.feedback / rows.gain)
        shift = 0.5 * drawn * rows.volts
        # Where a source holds the input, its side of the balance is that source's, and the two do not cancel.
        surplus = np.where(
            np.abs(self.terminal[output] - drawn) > _CANCELLED * self.terminal[output],
            0.5 * (self.terminal[output] - drawn),
            0.0,
        )
        counted = np.flatnonzero((surplus != 0) | (shift != 0))
        if len(counted) and not self.writer.dialect.has_library:
            raise _UnseenError(
                f"a {self.writer.dialect.name} netlist cannot name the currents of {group.label}, which it needs"
            )
        currents = row_currents(group)
        for at in counted:
            powers = [f"{number(surplus[at])}*v({names[output[at]]})"] if surplus[at] else []
            powers += [number(shift[at])] if shift[at] else []
            yield f"({'+'.join(powers)})*{currents[at]}" if shift[at] else f"{powers[0]}*{currents[at]}"

    def _other_blocks(self, group: Branches, siemens: np.ndarray) -> Iterator[str]:
        """Corrections at held nodes for resistors of another block than most: ½ (w − ω) V_h g (V_h − V)."""
        own, ends = branch_weights(group, self.weights, self.held), group.ends()
        for near, far in (ends, ends[::-1]):
            other = self.held[near] & (near != GROUND) & (own != self.terminal[near])
            for node in np.unique(near[other]):
                factors = 0.5 * (own - self.terminal[node]) * siemens
                rows = np.flatnonzero(other & (near == node))
                for first in range(0, len(rows), _TERMS_PER_SOURCE):
                    at = rows[first : first + _TERMS_PER_SOURCE]
                    yield self._correction(int(node), factors[at], far[at])

    def _correction(self, node: int, factors: np.ndarray, far: np.ndarray) -> str:
        across = (self.writer.across(node, other) for other in far.tolist())
        terms = [f"({number(factor)})*{volts}" for factor, volts in zip(factors, across, strict=True)]
        return f"v({self.circuit.node_names[node]})*({'+'.join(terms)})"


class _SharedNodes:
    """Nodes that carry the quantities which follow the simulation's temperature, one for all elements that share it."""

    def __init__(self):
        self._numbers: dict[str, dict[str, str]] = {}

    def text(self, value: float | Shared) -> str:
        """The value as an argument: a number, or one times the voltage of such a node."""
        if not isinstance(value, Shared):
            return number(value)
        known = self._numbers.setdefault(value.name, {})
        suffix = known.setdefault(value.expression, "" if value.alone else str(len(known)))
        return f"{number(value.factor)}*v(_{value.name}{suffix})"

    def cards(self, dialect: Dialect) -> Iterator[str]:
        """Sources of the nodes; those of which there is one come first."""
        for name, known in sorted(self._numbers.items(), key=lambda each: "" not in each[1].values()):
            for expression, suffix in known.items():
                yield dialect.behavioural(f"b_energy_{name}{suffix}", (f"_{name}{suffix}", "0"), "v", expression)


def _stem(label: str, content: Content) -> str:
    return content.name if content.shared else f"{content.name}_{label}"


def _functions(contents: dict[str, Content], dialect: Dialect) -> Iterator[str]:
    """Definitions, those that groups share first and once."""
    shared = {content.name: content for content in contents.values() if content.shared}
    own = {_stem(label, content): content for label, content in contents.items() if not content.shared}
    for stem, content in (shared | own).items():
        for quantity, body in (("current", content.current), ("content", content.content)):
            yield dialect.function(f"{stem}_{quantity}", ["u", *content.parameters], body)
