r"""Circuits whose equations are the transposed ones of another: what is exact where there is no energy.

With V the node voltages, c the currents of the branches that prescribe voltages, and J the Jacobian of all of
Kirchhoff's equations in them, a circuit of the same nodes whose Jacobian is Jᵀ is made element by element [1]_:

- a conductance is itself, and a nonlinear branch of two terminals its slope at the operating point;
- a current from p to n that the voltage between r and s controls by the slope g becomes one from r to s, g times the
  voltage between p and n: a law of several controls has the transposed matrix of its slopes;
- an amplifier has gain and feedback exchanged;
- E becomes F and F becomes E; G and H exchange their two ends; independent sources are zero.

A kind says which by `Branches.adjoint`; the general cases are those of its law.

References
----------
.. [1] S. W. Director and R. A. Rohrer, "The generalized adjoint network and network sensitivities," IEEE Trans. Circuit
   Theory 16, 318, 1969, doi:10.1109/TCT.1969.1082965, Table I.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from analog_ep.circuit.branches import (
    Conductances,
    CurrentSources,
    VoltageSources,
)
from analog_ep.circuit.circuit import Circuit
from analog_ep.circuit.controlled_sources import (
    CurrentControlledCurrentSources,
    CurrentControlledVoltageSources,
    VoltageControlledCurrentSources,
    VoltageControlledVoltageSources,
)
from analog_ep.circuit.current_follower import CurrentFollower
from analog_ep.circuit.energy import branch_weights, contrast_weights, held_nodes, output_weight, outputs_differ
from analog_ep.circuit.laws import Branches, CurrentLaw, VoltageLaw
from analog_ep.circuit.nodes import GROUND, NodePair

_RTOL = 1e-9


def adjoint_network(circuit: Circuit, voltages: np.ndarray) -> Circuit:
    r"""The adjoint (inter-reciprocal) network of a circuit at an operating point: linear, and without sources.

    With the currents :math:`-∂C/∂o` into its outputs (into v₊, out of v₋), its branch voltages μ give the gradient of
    the cost: :math:`dC/dg = μ v` of a conductance with the voltage v at the operating point. Nodes that it needs
    besides follow those of the circuit.

    Parameters
    ----------
    circuit : Circuit
        One that `check_circuit` accepts.
    voltages : ndarray (n_nodes,)
        The operating point. [V]
    """
    made = _AdjointNetwork(circuit, voltages)
    groups = [each for group in circuit.groups for each in group.adjoint(made)]
    return replace(
        circuit, title=f"adjoint network of {circuit.title}", node_names=tuple(made.names), groups=tuple(groups)
    )


def with_products(
    network: Circuit, circuit: Circuit, voltages: np.ndarray, strength: float
) -> tuple[Circuit, list[np.ndarray]]:
    """An adjoint network with a node for each element that learns, at which its part of the gradient stands in volts.

    Parameters
    ----------
    network, circuit : Circuit
        The adjoint network, and what it is that of.
    voltages : ndarray (n_nodes,)
        The operating point. [V]
    strength : float
        What the currents into the outputs are -∂C/∂o times.

    Returns
    -------
    Circuit
        With an E source to each node, which loads nothing.
    list of ndarray
        The nodes of each group's elements, ``grad_<label>_<i>``.
    """
    made, products, groups = _AdjointNetwork(network, voltages), [], list(network.groups)
    for group in circuit.learning_groups():
        volts = [voltages[p] - voltages[n] for p, n in group.controls()]
        rise = np.broadcast_to(group.sensitivity(*volts), (len(group),)) / strength
        nodes = np.array([made.node(f"grad_{group.label}_{i}") for i in range(len(group))], np.int64)
        label = made.new_label(f"grad_{group.label}")
        ground = np.full_like(nodes, GROUND)
        groups.append(VoltageControlledVoltageSources(label, nodes, ground, *group.ends(), rise))
        products.append(nodes)
    return replace(network, node_names=tuple(made.names), groups=tuple(groups)), products


def asymmetric_circuit(circuit: Circuit, voltages: np.ndarray, weights: np.ndarray) -> Circuit:
    r"""The circuit in the nudged phase of asymmetric equilibrium propagation, about the free state `voltages`.

    With J̃ = diag(w) J, what flows besides is :math:`(\tilde J^T - \tilde J)(x - x^0)`, so that a nudge finds Jᵀ for
    small changes and the free state is what it was. Reciprocal elements add nothing. A transistor gets controlled
    currents at its terminals; an amplifier, as it works on what has changed since the free phase, gain and feedback
    exchanged: with ratios k/a of weights that fit, it is what it was. Sources stay.

    Parameters
    ----------
    circuit : Circuit
        One that `check_circuit` accepts.
    voltages : ndarray (n_nodes,)
        The free state. [V]
    weights : ndarray (n_nodes,)
        w of every node, see `asymmetric_weights`.
    """
    made = _Asymmetric(circuit, voltages, weights)
    groups: list[Branches] = []
    for group in circuit.groups:
        flowing = [part for part in group.parts() if part.rows() is None and part.followed() is None]
        groups.extend([group] if len(flowing) == len(group.parts()) else flowing)
        groups.extend(group.adjoint(made))
    groups.extend(made.balance())
    return replace(circuit, node_names=tuple(made.names), groups=tuple(groups))


def asymmetric_weights(circuit: Circuit) -> np.ndarray:
    """Weights with which `asymmetric_circuit` corrects least, `(n_nodes,)`: those of contrasts where these will do.

    They must be the same for all outputs, and for the two nodes of every pair between which a branch flows or is
    controlled; otherwise all are 1.
    """
    weights, held = contrast_weights(circuit), held_nodes(circuit)
    pairs = [pair for law in circuit.of_kind(CurrentLaw) for pair in (law.ends(), *law.controls())]
    for law in circuit.of_kind(VoltageLaw):
        rows = law.rows()
        pairs += [(rows.positive, rows.negative), *(() if rows.control is None else (rows.control,))]
    pairs += [law.ends() for law in circuit.of_kind(CurrentFollower)]
    apart = any(
        (~held[p] & ~held[n] & (np.abs(weights[p] - weights[n]) > _RTOL * np.abs(weights[p]))).any() for p, n in pairs
    )
    return np.ones(circuit.n_nodes) if apart or outputs_differ(circuit, weights) else weights


def asymmetric_shares(circuit: Circuit, weights: np.ndarray) -> dict[str, np.ndarray]:
    """w/w_L of the elements of each group that learns, by its label."""
    held, output = held_nodes(circuit), output_weight(circuit, weights)
    return {group.label: branch_weights(group, weights, held) / output for group in circuit.learning_groups()}


class _Elements(ABC):
    """Makes the elements of a circuit with transposed equations: see `AdjointElements`."""

    def __init__(self, circuit: Circuit, voltages: np.ndarray):
        self.circuit, self.voltages = circuit, voltages
        self.names = list(circuit.node_names)
        self._labels = {group.label for group in circuit.groups}
        self._known = set(self.names)

    @abstractmethod
    def rest(self, nodes: np.ndarray) -> np.ndarray: ...

    @abstractmethod
    def weight(self, pair: NodePair) -> np.ndarray: ...

    @abstractmethod
    def of_currents(self, law: CurrentLaw) -> Iterator[Branches]: ...

    def of_rows(self, law: VoltageLaw) -> Iterator[Branches]:
        rows = law.rows()
        own, index = self.weight((rows.positive, rows.negative)), np.arange(len(rows))
        volts = self.rest(rows.positive) - self.rest(rows.negative)
        series = _Series(self, law.label, rows.negative)
        if rows.drawn_from is not None and rows.feedback is not None:
            drawn = (rows.drawn_from, np.full_like(rows.drawn_from, GROUND))
            gain = rows.feedback * self.weight(drawn) / own
            volts = volts - gain * self.rest(rows.drawn_from)
            yield VoltageControlledVoltageSources(self.label(law, "back"), *series.extend(index), *drawn, gain)
        for follower in self._following(law.label):
            for at, ends in series.over(follower.control):
                pair, row = _chosen(follower.ends(), at), follower.control[at]
                gain = -follower.gain[at] * self.weight(pair) / own[row]
                volts = _added(volts, row, -gain * (self.rest(pair[0]) - self.rest(pair[1])))
                yield VoltageControlledVoltageSources(self.label(follower), *ends, *pair, gain)
        for other, control, resistance in self._resisting(law.label):
            held = other.rows()
            for at, ends in series.over(control):
                weight = self.weight((held.positive[at], held.negative[at]))
                ohms = resistance[at] * weight / own[control[at]]
                yield CurrentControlledVoltageSources(self.label(other, "back"), *ends, other.label, at, ohms)
        yield VoltageSources(law.label, rows.positive, series.low, volts)
        if rows.gain is not None and rows.control is not None:
            gain = -rows.gain * own / self.weight(rows.control)
            yield CurrentControlledCurrentSources(self.label(law, "forth"), *rows.control, law.label, index, gain)

    def _following(self, label: str) -> list[CurrentFollower]:
        """Currents that follow those of a group of sources."""
        return [law for law in self.circuit.of_kind(CurrentFollower) if law.control_label == label]

    def _resisting(self, label: str) -> Iterator[tuple[VoltageLaw, np.ndarray, np.ndarray]]:
        """Voltages that follow currents of a group of sources, which of these, and by what resistance."""
        for law in self.circuit.of_kind(VoltageLaw):
            followed, resistance = law.followed(), law.rows().resistance
            if followed is not None and resistance is not None and followed[0] == label:
                yield law, followed[1], resistance

    def label(self, group: Branches, suffix: str = "adjoint") -> str:
        """A label for elements beside a group's."""
        return self.new_label(f"{group.label.replace('.', '_')}_{suffix}")

    def new_label(self, stem: str) -> str:
        """A label that no group has yet."""
        label, count = stem, 1
        while label in self._labels:
            label, count = f"{stem}{count}", count + 1
        self._labels.add(label)
        return label

    def node(self, stem: str) -> int:
        """A node more."""
        name, count = stem, 1
        while name in self._known:
            name, count = f"{stem}_{count}", count + 1
        self._known.add(name)
        self.names.append(name)
        return len(self.names) - 1

    def slopes(self, law: CurrentLaw) -> list[tuple[NodePair, np.ndarray]]:
        """The pairs that control a law, and its slopes by them at the operating point. [S]"""
        pairs = law.controls()
        found = law.slopes(*(self.voltages[p] - self.voltages[n] for p, n in pairs))
        return [(pair, np.broadcast_to(slope, (len(law),))) for pair, slope in zip(pairs, found, strict=True)]

    def currents(
        self, law: CurrentLaw, suffix: str, into: NodePair, by: NodePair, siemens: np.ndarray
    ) -> Iterator[Branches]:
        """Currents between the nodes `into`, `siemens` times the voltages between the nodes `by`."""
        joined = np.array_equal(into, by)
        flowing = (siemens != 0) & (into[0] != into[1]) & (by[0] != by[1])
        for chosen in (flowing & (siemens > 0), flowing & (siemens < 0)) if joined else (flowing,):
            if not chosen.any():
                continue
            ends, control = _chosen(into, chosen), _chosen(by, chosen)
            label, values = self.label(law, suffix), siemens[chosen]
            if joined and (values > 0).all():
                yield Conductances(label, *ends, values)
            else:
                yield VoltageControlledCurrentSources(label, *ends, *control, values)


class _AdjointNetwork(_Elements):
    """Of responses alone, with all slopes at the operating point."""

    def rest(self, nodes: np.ndarray) -> np.ndarray:
        return np.zeros(len(nodes))

    def weight(self, pair: NodePair) -> np.ndarray:
        return np.ones(len(pair[0]))

    def of_currents(self, law: CurrentLaw) -> Iterator[Branches]:
        if law.resistors() is not None:
            yield law
            return
        for control, siemens in self.slopes(law):
            yield from self.currents(law, "slope", control, law.ends(), siemens)


class _Asymmetric(_Elements):
    """Of the nudged phase, about the free state."""

    def __init__(self, circuit: Circuit, voltages: np.ndarray, weights: np.ndarray):
        super().__init__(circuit, voltages)
        # What sources hold does not respond, so that a pair has the weight of its other node.
        self._weights, self._held = weights, held_nodes(circuit)

    def rest(self, nodes: np.ndarray) -> np.ndarray:
        return self.voltages[nodes]

    def weight(self, pair: NodePair) -> np.ndarray:
        return np.where(self._held[pair[0]], self._weights[pair[1]], self._weights[pair[0]])

    def of_currents(self, law: CurrentLaw) -> Iterator[Branches]:
        ends = law.ends()
        for control, siemens in self.slopes(law):
            if np.array_equal(control, ends):
                continue
            transposed = siemens * self.weight(ends) / self.weight(control)
            for into, by, rise in ((ends, control, -siemens), (control, ends, transposed)):
                yield from self.currents(law, "asymmetric", into, by, rise)
                amperes = -rise * (self.voltages[by[0]] - self.voltages[by[1]])
                yield CurrentSources(self.label(law, "at_rest"), *into, amperes)

    def balance(self) -> Iterator[Branches]:
        """Currents that prescribed voltages give in the free state, so that their own are what has changed since."""
        total = np.zeros(self.circuit.n_nodes)
        for law in self.circuit.of_kind(CurrentLaw):
            volts = [self.voltages[p] - self.voltages[n] for p, n in law.controls()]
            amperes = np.broadcast_to(law.current(*volts), (len(law),))
            for nodes, sign in zip(law.ends(), (1.0, -1.0), strict=True):
                np.add.at(total, nodes, sign * amperes)
        nodes = [np.zeros(0, np.int64)]
        for law in self.circuit.of_kind(VoltageLaw):
            rows = law.rows()
            drawn = () if rows.drawn_from is None else (rows.drawn_from,)
            nodes += [rows.positive, rows.negative, *(rows.control or ()), *drawn]
        nodes += [each for law in self.circuit.of_kind(CurrentFollower) for each in law.ends()]
        at = np.unique(np.concatenate(nodes))
        at = at[at != GROUND]
        yield CurrentSources(self.new_label("balance"), at, np.full_like(at, GROUND), -total[at])


class _Series:
    """Sources in series in place of one, from the negative node up."""

    def __init__(self, elements: _Elements, label: str, low: np.ndarray):
        self._elements, self._label = elements, label
        self.low = low.copy()
        """Nodes on which the next sources stand."""

    def extend(self, rows: np.ndarray) -> NodePair:
        """Nodes between which one source more of these rows stands."""
        below = self.low[rows].copy()
        above = np.array([self._elements.node(f"{self._label}_adjoint{row}") for row in rows.tolist()], np.int64)
        self.low[rows] = above
        return above, below

    def over(self, rows: np.ndarray) -> Iterator[tuple[np.ndarray, NodePair]]:
        """Elements that each follow a row, a few at a time of which no two follow the same, and their nodes."""
        left = np.arange(len(rows))
        while len(left):
            at = left[np.sort(np.unique(rows[left], return_index=True)[1])]
            yield at, self.extend(rows[at])
            left = np.setdiff1d(left, at)


def _chosen(pair: NodePair, at: np.ndarray) -> NodePair:
    return pair[0][at], pair[1][at]


def _added(values: np.ndarray, places: np.ndarray, more: np.ndarray) -> np.ndarray:
    total = np.array(values, dtype=np.float64)
    np.add.at(total, places, more)
    return total
