r"""Kirchhoff's equations in tree voltages, where no ratio of conductances costs a digit.

The unknowns are the voltages y across the branches of a spanning tree, heaviest conductances first, and the currents c
of the branches that fix a voltage. A node's voltage is the sum of y along its path from ground, V = B y, and its
equation that of the cut which the tree's branch makes, :math:`B^T` (Kirchhoff's laws at the nodes). A large conductance
then stands in one equation alone, in front of its own voltage, and its current is not the difference of two node
voltages that agree in their first digits. For conductances alone the equations have, once their rows and columns are
scaled, a condition number of at most one and the number of branches times that of nodes, whatever the ratio of the
conductances: no branch outside the tree is heavier than those whose cut it crosses.

Voltages and currents carry twice the digits of float64, so that a loop of amplifiers that cancels to one part in 1e12
is resolved too. The law of diodes, nonlinear sources and nudges is evaluated in float64; its rounding is carried along
as an uncertainty of the currents.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from scipy.sparse import csr_array
from scipy.sparse.csgraph import breadth_first_order, minimum_spanning_tree

from analog_ep.circuit import (
    GROUND,
    Amplifiers,
    Circuit,
    Conductances,
    CurrentControlledCurrentSources,
    CurrentControlledVoltageSources,
    CurrentSources,
    Diodes,
    NonlinearCurrentSources,
    VoltageControlledCurrentSources,
    VoltageControlledVoltageSources,
    VoltageSources,
)
from analog_ep.equilibrium.assembly import Entries, ends, incidence
from analog_ep.equilibrium.double_double import Double, ExactMatrix
from analog_ep.equilibrium.uncertainty import EPSILON, diode_state, diode_uncertainty, nudge_uncertainty
from analog_ep.stimulus import Nudge

_TINY = 1e-30
"""Relative rounding of sums and products with twice the digits."""


@dataclass(frozen=True, eq=False)
class Sample:
    """What is done to the circuit: one sample of a batch.

    Attributes
    ----------
    inputs : ndarray (n_inputs,)
        Inputs. [V]
    nudge : Nudge or None
        An elastic one, with targets `(1, n_outputs)`.
    injected : ndarray (n_outputs,) or None
        Constant current into v₊ and out of v₋ of each output. [A]
    """

    inputs: np.ndarray
    nudge: Nudge | None = None
    injected: np.ndarray | None = None


@dataclass(frozen=True, eq=False)
class Evaluation:
    """The equations at a point.

    Attributes
    ----------
    residual : Double (n_unknowns,)
        Net current through each cut [A], then what the voltages of the sources are off [V].
    uncertainty : ndarray (n_unknowns,)
        What float64's rounding of the laws may have changed of it.
    slopes : ndarray (n_nonlinear,)
        Of diodes, nonlinear sources by control and factor, and pairs of outputs. [S]
    """

    residual: Double
    uncertainty: np.ndarray
    slopes: np.ndarray


class Branching:
    """The branches of a circuit as incidences on all its nodes, formed once for any number of samples.

    Parameters
    ----------
    circuit : Circuit
        One that `check_circuit` accepts.
    """

    def __init__(self, circuit: Circuit):
        self.n_nodes, self.groups = circuit.n_nodes, circuit.groups
        conductances = circuit.of_kind(Conductances)
        controlled = circuit.of_kind(VoltageControlledCurrentSources)
        self.diodes, self.curved = circuit.of_kind(Diodes), circuit.of_kind(NonlinearCurrentSources)
        linear = self.conductance_pairs = [ends(group) for group in conductances]
        controls = [(group.control_positive, group.control_negative) for group in controlled]
        self.siemens = _joined([*(g.siemens for g in conductances), *(g.gain for g in controlled)])
        self.n_conductances = sum(map(len, conductances))
        self.linear_law = self._incidence(linear + [ends(group) for group in controlled])
        self.linear_voltage = self._incidence(linear + controls)
        self.diode_pairs = [ends(group) for group in self.diodes]
        self.diode = self._incidence(self.diode_pairs)
        self.source = self._incidence([ends(group) for group in self.curved])
        self.control = self._incidence([_to_ground(group.control) for group in self.curved])
        self.factor = self._incidence([_to_ground(group.factor) for group in self.curved])
        self.no_factor = _joined([group.factor < 0 for group in self.curved]).astype(bool)
        self.output = self._incidence([] if circuit.outputs is None else [circuit.outputs])
        self.constant = np.zeros(circuit.n_nodes)
        for group in circuit.of_kind(CurrentSources):
            np.add.at(self.constant, group.positive, group.amperes)
            np.add.at(self.constant, group.negative, -group.amperes)
        self._set_fixed()

    def _incidence(self, pairs: list[tuple[np.ndarray, np.ndarray]]) -> csr_array:
        return incidence(pairs, self.n_nodes)

    def _set_fixed(self) -> None:
        """Rows K V + H c = r and columns of the branches that fix a voltage."""
        rows, columns, currents, edges = Entries(), Entries(), Entries(), [np.zeros((2, 0), np.int64)]
        place: dict[str, np.ndarray] = {}
        size = 0
        for group in self.groups:
            if isinstance(group, Amplifiers):
                element, node, sign = group.outputs()
                own = size + np.arange(len(node))
                rows.put(own, node, 1.0)
                rows.put(own, group.input[element], -sign * group.gain[element])
                columns.put(node, own, 1.0)
                columns.put(group.input[element], own, -sign * group.feedback[element])
                edges.append(np.stack([node, np.full_like(node, GROUND)]))
            elif isinstance(group, (VoltageSources, VoltageControlledVoltageSources, CurrentControlledVoltageSources)):
                own = place[group.label] = size + np.arange(len(group))
                for node, sign in ((group.positive, 1.0), (group.negative, -1.0)):
                    rows.put(own, node, sign)
                    columns.put(node, own, sign)
                if isinstance(group, VoltageControlledVoltageSources):
                    rows.put(own, group.control_positive, -group.gain)
                    rows.put(own, group.control_negative, group.gain)
                edges.append(np.stack([group.positive, group.negative]))
            else:
                continue
            size += len(own)
        for group in self.groups:
            if isinstance(group, CurrentControlledVoltageSources):
                currents.put(place[group.label], place[group.control_label][group.control], -group.gain)
            elif isinstance(group, CurrentControlledCurrentSources):
                control = place[group.control_label][group.control]
                columns.put(group.positive, control, group.gain)
                columns.put(group.negative, control, -group.gain)
        n_nodes = self.n_nodes
        self.n_fixed, self.fixed_edges = size, np.concatenate(edges, axis=1)
        self.rows = ExactMatrix(rows.matrix((size, n_nodes)))
        self.columns = ExactMatrix(columns.matrix((n_nodes, size)))
        self.currents = ExactMatrix(currents.matrix((size, size)))

    @property
    def size(self) -> int:
        """Number of unknowns: tree voltages and currents of the branches that fix a voltage."""
        return self.n_nodes - 1 + self.n_fixed

    def prescribed(self, inputs: np.ndarray) -> Double:
        """The right-hand sides r of the branches that fix a voltage. [V]"""
        parts = [Double.of(np.zeros(0))]
        for group in self.groups:
            if isinstance(group, VoltageSources):
                driven = np.where(group.input >= 0, group.scale, 0.0)
                value = inputs[np.maximum(group.input, 0)] if driven.any() else np.zeros(len(group))
                parts.append(Double.of(group.volts) + Double.product(driven, value))
            elif isinstance(group, Amplifiers):
                element, _, sign = group.outputs()
                parts.append(Double.product(sign * group.gain[element], group.offset[element]))
            elif isinstance(group, (VoltageControlledVoltageSources, CurrentControlledVoltageSources)):
                parts.append(Double.of(np.zeros(len(group))))
        return Double.joined(*parts)

    def tree(self, diode_slopes: np.ndarray) -> np.ndarray:
        """Node before each on its path from ground, `(n_nodes,)`; paths of the heaviest branches there are."""
        positive, negative = (_joined(side) for side in zip(*self._conducting(), strict=True))
        weight = np.concatenate([np.abs(self.siemens[: self.n_conductances]), diode_slopes])
        edges = np.concatenate([self.fixed_edges, np.stack([positive, negative])], axis=1).astype(np.int64)
        # Lightest last: the heaviest spanning tree is the shortest one of the places in this order.
        order = np.argsort(-np.concatenate([np.full(self.n_fixed, np.inf), weight]), kind="stable")
        edges = np.sort(edges[:, order], axis=0)
        n_nodes = self.n_nodes
        kept = edges[0] != edges[1]
        kept[self.n_fixed :] &= weight[order[self.n_fixed :] - self.n_fixed] > 0
        pair, first = np.unique(edges[0, kept] * n_nodes + edges[1, kept], return_index=True)
        graph = csr_array((first + 1.0, np.divmod(pair, n_nodes)), shape=(n_nodes, n_nodes))
        _, before = breadth_first_order(minimum_spanning_tree(graph), GROUND, directed=False)
        return np.maximum(before, GROUND)

    def _conducting(self) -> list[tuple[np.ndarray, np.ndarray]]:
        none = np.zeros(0, np.int64)
        return [(none, none), *self.conductance_pairs, *self.diode_pairs]


class Tableau:
    """The equations of one sample in tree voltages.

    Parameters
    ----------
    branching : Branching
        The circuit.
    sample : Sample
        Its inputs and nudge.
    voltages : ndarray (n_nodes,)
        About which the tree is chosen. [V]

    Attributes
    ----------
    n_tree : int
        Number of tree voltages; the currents of the branches that fix a voltage follow them.
    paths : ExactMatrix (n_nodes, n_tree)
        B.
    """

    def __init__(self, branching: Branching, sample: Sample, voltages: np.ndarray):
        self.branching, self.sample = branching, sample
        across = branching.diode.T @ voltages
        before = branching.tree(diode_state(branching.diodes, across)[1])
        self.n_tree = branching.n_nodes - 1
        paths = _paths(before)
        cuts = csr_array(paths.T)
        self._before = before
        self.paths, self._cuts = ExactMatrix(paths), ExactMatrix(cuts)
        b = branching
        self._linear = _Port(cuts, paths, b.linear_law, b.linear_voltage)
        self._diode = _Port(cuts, paths, b.diode, b.diode)
        self._control = _Port(cuts, paths, b.source, b.control)
        self._factor = _Port(cuts, paths, b.source, b.factor)
        self._output = _Port(cuts, paths, b.output, b.output)
        self._prescribed = b.prescribed(sample.inputs)
        self._constant = self._cuts @ Double.of(b.constant)
        self._fixed_tree = (b.rows.matrix @ paths).toarray()
        self._fixed_cuts = (cuts @ b.columns.matrix).toarray()

    def start(self, voltages: np.ndarray) -> Double:
        """The unknowns at node voltages, with zero currents."""
        own = np.arange(1, self.n_tree + 1)
        tree = Double.difference(voltages[own], voltages[self._before[own]])
        return Double.joined(tree, Double.of(np.zeros(self.branching.n_fixed)))

    def voltages(self, unknowns: Double) -> Double:
        """Node voltages. [V]"""
        return self.paths @ unknowns.at(slice(0, self.n_tree))

    def across(self, unknowns: Double) -> np.ndarray:
        """Diode voltages. [V]"""
        return (self._diode.voltage @ unknowns.at(slice(0, self.n_tree))).high

    def at(self, unknowns: Double) -> Evaluation:
        """Evaluate the equations."""
        b, tree = self.branching, unknowns.at(slice(0, self.n_tree))
        fixed = unknowns.at(slice(self.n_tree, None))
        linear = (self._linear.voltage @ tree).times(b.siemens)
        residual = self._linear.law @ linear + self._constant + self._cuts @ (b.columns @ fixed)
        uncertainty = _TINY * (self._linear.law.magnitude @ np.abs(linear.high))
        slopes = []
        for add, law in ((self._add_diodes, self._diode.law), (self._add_curved, self._control.law)):
            current, doubt, slope = add(tree)
            residual, uncertainty = residual + law @ current, uncertainty + law.magnitude @ doubt
            slopes += slope
        nudged = self._nudge(tree)
        if nudged is not None:
            current, doubt, slope = nudged
            residual = residual - self._output.law @ current
            uncertainty, slopes = uncertainty + self._output.law.magnitude @ doubt, [*slopes, slope]
        volts = b.rows @ self.voltages(unknowns) + b.currents @ fixed - self._prescribed
        rounding = _TINY * np.abs(self._prescribed.high)
        return Evaluation(
            Double.joined(residual, volts), np.concatenate([uncertainty, rounding]), np.concatenate(slopes)
        )

    def jacobian(self, slopes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The Jacobian `(n_unknowns, n_unknowns)`, and the sum of the magnitudes that each entry is made of."""
        b, n = self.branching, self.n_tree
        ports = [self._diode, self._control, self._factor]
        sizes = np.cumsum([port.law.matrix.shape[1] for port in ports])
        pieces = [(self._linear, b.siemens), *zip(ports, np.split(slopes[: sizes[-1]], sizes[:-1]), strict=True)]
        matrix, magnitude = np.zeros((2, n + b.n_fixed, n + b.n_fixed))
        for port, values in pieces:
            scaled = csr_array(port.law.matrix * values[None, :])
            matrix[:n, :n] += (scaled @ port.voltage.matrix).toarray()
            magnitude[:n, :n] += (abs(scaled) @ port.voltage.magnitude).toarray()
        if len(slopes) > sizes[-1]:
            count = self._output.law.matrix.shape[1]
            law, voltage = self._output.law.matrix.toarray(), self._output.voltage.matrix.toarray()
            square = slopes[sizes[-1] :].reshape(count, count)
            matrix[:n, :n] += law @ square @ voltage
            magnitude[:n, :n] += np.abs(law) @ np.abs(square) @ np.abs(voltage)
        matrix[:n, n:], matrix[n:, :n], matrix[n:, n:] = self._fixed_cuts, self._fixed_tree, b.currents.matrix.toarray()
        magnitude[:n, n:] = self._cuts.magnitude @ b.columns.magnitude.toarray()
        magnitude[n:, :n] = b.rows.magnitude @ self.paths.magnitude.toarray()
        magnitude[n:, n:] = np.abs(matrix[n:, n:])
        return matrix, magnitude

    def curvature(self, unknowns: Double, reach: np.ndarray) -> np.ndarray:
        """Most that the residual is off its tangent where the tree voltages move by `reach` at most. [A]"""
        tree, b = unknowns.at(slice(0, self.n_tree)), self.branching
        total = np.zeros(len(unknowns.high))
        moved = self._diode.voltage.magnitude @ reach[: self.n_tree]
        bend = _bends(b.diodes, (self._diode.voltage @ tree).high, moved)
        total[: self.n_tree] = self._diode.law.magnitude @ bend
        if b.curved:
            total[: self.n_tree] += self._control.law.magnitude @ self._curved_bend(tree, reach[: self.n_tree])
        if self.sample.nudge is not None:
            total[: self.n_tree] += self._output.law.magnitude @ self._nudge_bend(tree, reach[: self.n_tree])
        return total

    def _add_diodes(self, tree: Double) -> tuple[Double, np.ndarray, list[np.ndarray]]:
        across = self._diode.voltage @ tree
        current, slope = diode_state(self.branching.diodes, across.high)
        doubt = diode_uncertainty(self.branching.diodes, across.high, current, slope, np.abs(across.high))
        return Double(current, slope * across.low), doubt, [slope]

    def _add_curved(self, tree: Double) -> tuple[Double, np.ndarray, list[np.ndarray]]:
        control, factor = self._curved_voltages(tree)
        current, by_control, by_factor = _curved(self.branching, control, factor)
        doubt = 8 * EPSILON * (np.abs(current) + np.abs(by_control * control) + np.abs(by_factor * factor))
        return Double.of(current), doubt, [by_control, by_factor]

    def _curved_voltages(self, tree: Double) -> tuple[np.ndarray, np.ndarray]:
        factor = (self._factor.voltage @ tree).high
        return (self._control.voltage @ tree).high, np.where(self.branching.no_factor, 1.0, factor)

    def _curved_bend(self, tree: Double, reach: np.ndarray) -> np.ndarray:
        control, factor = self._curved_voltages(tree)
        moves = self._control.voltage.magnitude @ reach, self._factor.voltage.magnitude @ reach
        current, by_control, by_factor = _curved(self.branching, control, factor)
        bend = np.zeros_like(current)
        for side in (-1, 1):
            for other in (-1, 1):
                found = _curved(self.branching, control + side * moves[0], factor + other * moves[1])[0]
                tangent = current + by_control * side * moves[0] + by_factor * other * moves[1]
                bend = np.maximum(bend, np.abs(found - tangent))
        return bend

    def _nudge(self, tree: Double) -> tuple[Double, np.ndarray, np.ndarray] | None:
        nudge, injected = self.sample.nudge, self.sample.injected
        if nudge is None:
            none = np.zeros(0 if injected is None else len(injected) ** 2)
            return None if injected is None else (Double.of(injected), 2 * EPSILON * np.abs(injected), none)
        outputs = (self._output.voltage @ tree).high
        volts = torch.from_numpy(outputs[None])
        current = nudge.current(volts)[0].numpy()
        curvature = nudge.strength * nudge.cost.hessian(volts)[0].numpy()
        doubt = nudge_uncertainty(nudge, current[None], np.abs(outputs)[None])[0]
        return Double.of(current), doubt, curvature.ravel()

    def _nudge_bend(self, tree: Double, reach: np.ndarray) -> np.ndarray:
        nudge = self.sample.nudge
        assert nudge is not None
        outputs = torch.from_numpy((self._output.voltage @ tree).high[None])
        moved = self._output.voltage.magnitude @ reach
        here = nudge.cost.hessian(outputs)[0].numpy()
        bend = np.zeros_like(moved)
        for side in (-1, 1):
            there = nudge.cost.hessian(outputs + side * torch.from_numpy(moved))[0].numpy()
            bend = np.maximum(bend, abs(nudge.strength) * np.abs(there - here) @ moved)
        return bend


class _Port:
    """Branches as cuts and paths see them."""

    def __init__(self, cuts: csr_array, paths: csr_array, law: csr_array, voltage: csr_array):
        self.law = ExactMatrix(csr_array(cuts @ law))
        self.voltage = ExactMatrix(csr_array(csr_array(voltage.T) @ paths))


def _paths(before: np.ndarray) -> csr_array:
    """B: which branches of the tree lead from ground to each node; each carries the number of its node less one."""
    n_nodes = len(before)
    paths = term = csr_array(
        (np.ones(n_nodes - 1), (np.arange(1, n_nodes), np.arange(n_nodes - 1))), shape=(n_nodes, n_nodes - 1)
    )
    inner = np.flatnonzero(before > GROUND)
    links = csr_array((np.ones(len(inner)), (inner, before[inner])), shape=(n_nodes, n_nodes))
    while (term := csr_array(links @ term)).nnz:
        paths = csr_array(paths + term)
    return paths


def _joined(parts: list[np.ndarray] | tuple[np.ndarray, ...]) -> np.ndarray:
    return np.concatenate([np.zeros(0), *parts])


def _to_ground(nodes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return np.maximum(nodes, GROUND), np.full_like(nodes, GROUND)


def _bends(groups: list[Diodes], across: np.ndarray, moved: np.ndarray) -> np.ndarray:
    """Change of the slope over a move, times the move: the slopes of junctions and clamps change one way. [A]"""
    here = diode_state(groups, across)[1]
    with np.errstate(over="ignore", invalid="ignore"):
        there = [np.abs(diode_state(groups, across + side * moved)[1] - here) for side in (-1, 1)]
        bend = np.maximum(*there) * moved
    return np.where(moved > 0, bend, 0.0)


def _curved(branching: Branching, control: np.ndarray, factor: np.ndarray) -> tuple[np.ndarray, ...]:
    states, first = [(np.zeros(0),) * 3], 0
    for group in branching.curved:
        place = slice(first, first := first + len(group))
        states.append(group.currents(control[place], factor[place]))
    return tuple(np.concatenate(part) for part in zip(*states, strict=True))
