"""Smaller circuits of the same voltages: Norton equivalents of held rows, transconductances in place of amplifiers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Self

import numpy as np
from scipy.sparse import coo_array, csr_array

from analog_ep.circuit import (
    GROUND,
    NONE,
    Branches,
    Circuit,
    Conductances,
    CurrentLaw,
    CurrentSources,
    VoltageControlledCurrentSources,
    VoltageLaw,
)


@dataclass(frozen=True, eq=False)
class FoldedOutputs:
    """Outputs of amplifiers that a circuit has no longer, see `NortonReduction.without_amplifiers`.

    Attributes
    ----------
    nodes, inputs, drawn : ndarray (n_outputs,)
        The outputs, and c and d of each.
    gain, volts, feedback : ndarray (n_outputs,)
        α, β [V] and φ.
    """

    nodes: np.ndarray
    inputs: np.ndarray
    drawn: np.ndarray
    gain: np.ndarray
    volts: np.ndarray
    feedback: np.ndarray

    @classmethod
    def none(cls) -> Self:
        """No outputs."""
        nodes, values = np.zeros(0, np.int64), np.zeros(0)
        return cls(nodes, nodes, nodes, values, values, values)

    @classmethod
    def of(cls, group: VoltageLaw) -> Self | None:
        """The outputs of a group of amplifiers; None of other groups."""
        rows = group.rows()
        if rows.control is None or rows.gain is None or rows.drawn_from is None or rows.feedback is None:
            return None
        inputs, ground = rows.control
        plain = (rows.negative == GROUND) & (ground == GROUND) & (rows.input == NONE)
        if rows.resistance is not None or not (rows.chained and plain.all()):
            return None
        return cls(rows.positive, inputs, rows.drawn_from, rows.gain, rows.volts, rows.feedback)

    def joined(self, other: Self) -> Self:
        """Both."""
        pairs = zip(vars(self).values(), vars(other).values(), strict=True)
        return type(self)(*(np.concatenate(pair) for pair in pairs))

    def fill(self, voltages: np.ndarray) -> None:
        """Set the outputs among node voltages `(n_samples, n_nodes)` from the inputs there. [V]"""
        voltages[:, self.nodes] = self.gain * voltages[:, self.inputs] + self.volts

    def fill_changes(self, changes: np.ndarray) -> None:
        """Set the outputs among changes of the voltages `(n_samples, n_nodes)`. [V]"""
        changes[:, self.nodes] = self.gain * changes[:, self.inputs]


@dataclass(frozen=True, eq=False)
class NortonReduction:
    r"""A circuit in which one conductance and one current source a node stand for all resistors to held nodes.

    With g_i the conductances from a free node to the nodes that grounded independent sources hold at V_i,

    .. math:: \sum_i g_i (V - V_i) = G V - I, \qquad G = \sum_i g_i, \quad I = \sum_i g_i V_i ,

    so that the voltages of all free nodes stay the same. Currents of the sources do not: those that an F or H source
    refers to keep their rows.

    Attributes
    ----------
    circuit : Circuit
        The same nodes with fewer branches: without the rows, with G of each node, and without sources that hold nothing
        else.
    nodes : ndarray (n_reduced,)
        Nodes that have a current source.
    transfer : csr_array (n_reduced, n_nodes)
        I of each of these nodes per volt of the held ones. [S]
    folded : FoldedOutputs
        Outputs of amplifiers that nothing touches any more; none where amplifiers stay.
    """

    circuit: Circuit
    nodes: np.ndarray
    transfer: csr_array
    folded: FoldedOutputs = field(default_factory=FoldedOutputs.none)

    @classmethod
    def of(cls, circuit: Circuit) -> NortonReduction:
        """Reduce a circuit that `check_circuit` accepts."""
        held, resistors = _held_nodes(circuit), _resistors(circuit)
        groups: list[Branches] = []
        rows = [np.zeros((0, 3))]
        for group in circuit.groups:
            if group.label in resistors:
                kept, absorbed = _split(group, resistors[group.label], held)
                groups.append(kept)
                rows.append(absorbed)
            else:
                groups.append(group)
        node, source, siemens = np.concatenate(rows).T
        nodes, which = np.unique(node.astype(np.int64), return_inverse=True)
        shape = (len(nodes), circuit.n_nodes)
        transfer = csr_array((siemens, (which, source.astype(np.int64))), shape=shape)
        total = Conductances(_unused(circuit, "norton"), nodes, np.zeros_like(nodes), transfer.sum(axis=1))
        groups = [group for group in groups if len(group)] + ([total] if len(nodes) else [])
        reduced = circuit.with_groups(_needed(circuit, groups))
        return cls(reduced, nodes, transfer)

    def without_amplifiers(self) -> NortonReduction:
        r"""The reduction without those amplifiers whose outputs nothing but resistors touches.

        Such an output is at :math:`α v_c + β`, v_c the voltage at its input, and φ times the current that leaves it is
        drawn from a node d. With α = φ = 1, β = 0 and c = d the node itself for any other, a resistor carries

        .. math:: i = g (α_1 v_{c_1} + β_1 - α_2 v_{c_2} - β_2)

        and takes φ₁ i out of d₁ and −φ₂ i out of d₂. Over all resistors at such outputs that is one conductance a node,
        one transconductance a pair of nodes, and constant currents: one element where ±u rows have two, and none of the
        eight unknowns of a pair of amplifiers in SPICE. The resistors' noise does not survive.
        """
        circuit, resistors = self.circuit, _resistors(self.circuit)
        folded, amplifiers = _foldable(circuit, resistors, self.nodes)
        if not amplifiers:
            return self
        stamps, groups = _Stamps(folded, circuit.n_nodes), []
        for group in circuit.groups:
            if group.label in resistors:
                stays = stamps.take(*group.ends(), resistors[group.label])
                groups.append(group.select(stays))
            elif group.label not in amplifiers:
                groups.append(group)
        groups += stamps.branches(_unused(circuit, "folded"))
        return replace(self, circuit=circuit.with_groups([group for group in groups if len(group)]), folded=folded)

    def under_all_sources(self, circuit: Circuit) -> Circuit:
        """The reduced circuit with all independent sources of the one that it was made of, needed or not."""
        kept = [group for group in self.circuit.groups if not group.can_be_followed()]
        return circuit.with_groups([*(group for group in circuit.groups if group.can_be_followed()), *kept])

    def of_sample(self, circuit: Circuit, voltages: np.ndarray) -> Circuit:
        """`under_all_sources`, with the currents of one sample, whose held nodes count, as sources of their own.

        Parameters
        ----------
        circuit : Circuit
            The one that it was made of.
        voltages : ndarray (n_nodes,)
            [V]
        """
        whole, ground = self.under_all_sources(circuit), np.zeros_like(self.nodes)
        label = _unused(circuit, "norton_currents")
        norton = CurrentSources(label, ground, self.nodes, self.currents(voltages[None])[0])
        return whole.with_groups([*whole.groups, norton])

    def currents(self, voltages: np.ndarray) -> np.ndarray:
        """I `(n_samples, n_reduced)` [A] from node voltages `(n_samples, n_nodes)`, of which the held ones count."""
        return (self.transfer @ np.nan_to_num(np.ascontiguousarray(voltages.T))).T

    def injected(self, voltages: np.ndarray) -> np.ndarray:
        """The same currents by node, `(n_samples, n_nodes)`. [A]"""
        injected = np.zeros_like(voltages)
        injected[:, self.nodes] = self.currents(voltages)
        return injected


class _Stamps:
    """What resistors at folded outputs add to Kirchhoff's law, in the letters of `without_amplifiers`."""

    def __init__(self, folded: FoldedOutputs, n_nodes: int):
        self._folded = np.isin(np.arange(n_nodes), folded.nodes)
        self._c, self._d = np.arange(n_nodes), np.arange(n_nodes)
        self._alpha, self._beta, self._phi = np.ones(n_nodes), np.zeros(n_nodes), np.ones(n_nodes)
        parts = ("inputs", "drawn", "gain", "volts", "feedback")
        for values, name in zip((self._c, self._d, self._alpha, self._beta, self._phi), parts, strict=True):
            values[folded.nodes] = getattr(folded, name)
        self._siemens = coo_array((n_nodes, n_nodes))
        self._amperes = np.zeros(n_nodes)

    def take(self, first: np.ndarray, second: np.ndarray, siemens: np.ndarray) -> np.ndarray:
        """Add the resistors at folded outputs, and tell which others stay."""
        at = self._folded[first] | self._folded[second]
        first, second, siemens = first[at], second[at], siemens[at]
        constant = siemens * (self._beta[first] - self._beta[second])
        for near, far, sign in ((first, second, 1.0), (second, first, -1.0)):
            taken = self._phi[near] * siemens
            values = np.concatenate([taken * self._alpha[near], -taken * self._alpha[far]])
            places = np.tile(self._d[near], 2), np.concatenate([self._c[near], self._c[far]])
            self._siemens += coo_array((values, places), shape=self._siemens.shape)
            np.add.at(self._amperes, self._d[near], sign * self._phi[near] * constant)
        return ~at

    def branches(self, label: str) -> Iterator[Branches]:
        """The elements that are left of them; what ground takes or gives needs none."""
        matrix = self._siemens.tocsc()
        matrix.sum_duplicates()
        matrix = matrix.tocoo()
        some = (matrix.row > GROUND) & (matrix.col > GROUND) & (matrix.data != 0)
        row, column, siemens = matrix.row[some], matrix.col[some], matrix.data[some]
        own = (row == column) & (siemens > 0)
        ground = np.full(len(row), GROUND)
        yield Conductances(f"{label}_own", row[own], ground[own], siemens[own])
        yield VoltageControlledCurrentSources(label, row[~own], ground[~own], column[~own], ground[~own], siemens[~own])
        nodes = np.flatnonzero(self._amperes[1:]) + 1
        yield CurrentSources(f"{label}_offsets", nodes, np.full_like(nodes, GROUND), self._amperes[nodes])


def _foldable(circuit: Circuit, resistors: dict[str, np.ndarray], fed: np.ndarray) -> tuple[FoldedOutputs, set[str]]:
    """Outputs that can be folded, and the labels of their amplifiers; nodes that Norton currents feed are none."""
    outputs = () if circuit.outputs is None else circuit.outputs
    held, controlling = np.flatnonzero(_held_nodes(circuit)), _controlling(circuit)
    found, labels = FoldedOutputs.none(), set[str]()
    for group in circuit.of_kind(VoltageLaw):
        one = FoldedOutputs.of(group)
        if one is None or group.label in controlling:
            continue
        others = (each.nodes() for each in circuit.groups if each is not group and each.label not in resistors)
        touched = np.concatenate([fed, held, *outputs, *others])
        before = np.concatenate([one.inputs, one.drawn])
        if not np.isin(one.nodes, touched).any() and not np.isin(before, np.concatenate([held, one.nodes])).any():
            found, labels = found.joined(one), labels | {group.label}
    return found, labels


def _resistors(circuit: Circuit) -> dict[str, np.ndarray]:
    """Conductances of the groups that are resistors, by label. [S]"""
    return {
        group.label: siemens
        for group in circuit.of_kind(CurrentLaw)
        if (siemens := group.resistors()) is not None and group.conducts().all()
    }


def _controlling(circuit: Circuit) -> set[str]:
    """Labels of the source groups whose currents others refer to."""
    return {followed[0] for group in circuit.groups if (followed := group.followed()) is not None}


def _held_nodes(circuit: Circuit) -> np.ndarray:
    """Mask of ground and the nodes that grounded sources hold whose currents do not matter."""
    held = np.zeros(circuit.n_nodes, dtype=bool)
    held[GROUND] = True
    controlling = _controlling(circuit)
    for group in circuit.of_kind(VoltageLaw):
        rows = group.rows()
        if rows.is_source and group.label not in controlling:
            held[rows.positive[rows.negative == GROUND]] = True
            held[rows.negative[rows.positive == GROUND]] = True
    return held


def _split(group: Branches, siemens: np.ndarray, held: np.ndarray) -> tuple[Branches, np.ndarray]:
    """Resistors that stay, and rows (free node, held node, siemens) of those that do not."""
    positive, negative = group.ends()
    first, second = held[positive], held[negative]
    forward, backward, stays = second & ~first, first & ~second, ~first & ~second
    rows = [
        np.stack([positive[forward], negative[forward], siemens[forward]], axis=1),
        np.stack([negative[backward], positive[backward], siemens[backward]], axis=1),
    ]
    return group.select(stays), np.concatenate(rows)


def _needed(circuit: Circuit, groups: Sequence[Branches]) -> Iterator[Branches]:
    """The groups without grounded sources at nodes that nothing else touches."""
    controlling = _controlling(circuit)
    touched = [np.zeros(1, np.int64), *(() if circuit.outputs is None else circuit.outputs)]
    for group in groups:
        touched.append(_floating_nodes(group) if group.can_be_followed() else group.nodes())
    nodes = np.unique(np.concatenate(touched))
    for group in groups:
        if not group.can_be_followed() or group.label in controlling:
            yield group
            continue
        # The higher of the two is the node that a grounded source holds; a floating one's are all there.
        used = np.isin(np.maximum(*group.ends()), nodes)
        if used.any():
            yield group.select(used)


def _floating_nodes(group: Branches) -> np.ndarray:
    positive, negative = group.ends()
    floating = (positive != GROUND) & (negative != GROUND)
    return np.concatenate([positive[floating], negative[floating]])


def _unused(circuit: Circuit, label: str) -> str:
    while any(group.label == label for group in circuit.groups):
        label += "_"
    return label
