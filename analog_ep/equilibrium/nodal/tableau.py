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
from scipy.sparse import block_array, csc_array, csr_array
from scipy.sparse.csgraph import breadth_first_order, minimum_spanning_tree

from analog_ep.circuit import GROUND, Circuit, CurrentFollower, CurrentLaw, VoltageLaw
from analog_ep.equilibrium.nodal.assembly import Entries, incidence
from analog_ep.equilibrium.nodal.bends import bends, nudge_bends
from analog_ep.equilibrium.nodal.double_double import Double, ExactMatrix
from analog_ep.equilibrium.nodal.reduction import ReducedSystem
from analog_ep.equilibrium.nodal.samples import Sample
from analog_ep.equilibrium.nodal.uncertainty import EPSILON, current_uncertainty, nudge_uncertainty

_TINY = 1e-30
"""Relative rounding of sums and products with twice the digits."""

_KEPT = 8
"""Structures of trees of one circuit that are kept."""


@dataclass(frozen=True, eq=False)
class Evaluation:
    """The equations at a point.

    Attributes
    ----------
    residual : Double (n_unknowns,)
        Net current through each cut [A], then what the voltages of the sources are off [V].
    uncertainty : ndarray (n_unknowns,)
        What float64's rounding of the laws may have changed of it.
    slopes : ndarray (n_slopes,)
        Of the nonlinear branches by their controls, and of pairs of outputs. [S]
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
    system : ReducedSystem
        Its equations, of which the nonlinear laws are taken.
    """

    def __init__(self, circuit: Circuit, system: ReducedSystem):
        self.n_nodes, self.system = circuit.n_nodes, system
        self._voltage_laws = circuit.of_kind(VoltageLaw)
        self._set_linear([group for group in circuit.of_kind(CurrentLaw) if group.linear])
        self.nonlinear, self.controls = system.nonlinear.incidence, system.controls.incidence
        self.output = system.outputs.incidence
        self._structures: list[Structure] = []
        self._set_nonlinear_edges()
        self._set_fixed(circuit.of_kind(CurrentFollower))

    def _set_linear(self, groups: list[CurrentLaw]) -> None:
        laws, controls, slopes, edges = [], [], [], [np.zeros((2, 0), np.int64)]
        weights, self.constant = [], np.zeros(self.n_nodes)
        for group in groups:
            none = [np.zeros(len(group))] * len(group.controls())
            for node, sign in zip(group.ends(), (1.0, -1.0), strict=True):
                np.add.at(self.constant, node, sign * group.current(*none))
            for control, slope in zip(group.controls(), group.slopes(*none), strict=True):
                laws.append(group.ends())
                controls.append(control)
                slopes.append(np.broadcast_to(slope, len(group)))
            if group.is_two_terminal:
                edges.append(np.stack(group.ends()))
                weights.append(slopes[-1])
        self.siemens, self.linear_weights = _joined(slopes), np.abs(_joined(weights))
        self.linear_edges = np.concatenate(edges, axis=1)
        self.linear_law, self.linear_voltage = incidence(laws, self.n_nodes), incidence(controls, self.n_nodes)

    def _set_nonlinear_edges(self) -> None:
        """Ends of nonlinear branches that their own voltage alone controls, and their places among the controls."""
        chosen = [group for group in self.system.groups if group.law.is_two_terminal]
        none = np.zeros((2, 0), np.int64)
        self.nonlinear_edges = np.concatenate([none, *(np.stack(group.law.ends()) for group in chosen)], axis=1)
        places = [np.arange(group.controls[0].start, group.controls[0].stop) for group in chosen]
        self.edge_controls = np.concatenate([np.zeros(0, np.int64), *places])

    def _set_fixed(self, followers: list[CurrentFollower]) -> None:
        """Rows K V + H c = r and columns of the branches that fix a voltage."""
        rows, columns, currents, edges = Entries(), Entries(), Entries(), [np.zeros((2, 0), np.int64)]
        place: dict[str, np.ndarray] = {}
        size = 0
        for group in self._voltage_laws:
            law = group.rows()
            own = place[group.label] = size + np.arange(len(law))
            for node, sign in ((law.positive, 1.0), (law.negative, -1.0)):
                rows.put(own, node, sign)
                columns.put(node, own, sign)
            if law.control is not None and law.gain is not None:
                for node, sign in zip(law.control, (-1.0, 1.0), strict=True):
                    rows.put(own, node, sign * law.gain)
            if law.drawn_from is not None and law.feedback is not None:
                columns.put(law.drawn_from, own, -law.feedback)
            edges.append(np.stack([law.positive, law.negative]))
            size += len(own)
        for group in self._voltage_laws:
            law, followed = group.rows(), group.followed()
            if law.resistance is not None and followed is not None:
                currents.put(place[group.label], place[followed[0]][followed[1]], -law.resistance)
        for group in followers:
            control = place[group.control_label][group.control]
            columns.put(group.positive, control, group.gain)
            columns.put(group.negative, control, -group.gain)
        self.n_fixed, self.fixed_edges = size, np.concatenate(edges, axis=1)
        self.rows = ExactMatrix(rows.matrix((size, self.n_nodes)))
        self.columns = ExactMatrix(columns.matrix((self.n_nodes, size)))
        self.currents = ExactMatrix(currents.matrix((size, size)))

    @property
    def size(self) -> int:
        """Number of unknowns: tree voltages and currents of the branches that fix a voltage."""
        return self.n_nodes - 1 + self.n_fixed

    def prescribed(self, inputs: np.ndarray) -> Double:
        """The right-hand sides r of the branches that fix a voltage. [V]"""
        parts = [Double.of(np.zeros(0))]
        for group in self._voltage_laws:
            law = group.rows()
            driven = np.where(law.input >= 0, law.scale, 0.0)
            value = inputs[np.maximum(law.input, 0)] if driven.any() else np.zeros(len(law))
            parts.append(Double.of(np.array(law.volts, dtype=np.float64)) + Double.product(driven, value))
        return Double.joined(*parts)

    def rounded(self) -> np.ndarray:
        """Magnitudes of the constants that are products, `(n_fixed,)`. [V]"""
        laws = [group.rows() for group in self._voltage_laws]
        return _joined([np.abs(law.volts) if law.gain is not None else np.zeros(len(law)) for law in laws])

    def structure(self, slopes: np.ndarray) -> Structure:
        """Of the tree of the heaviest branches at these slopes; the last few are kept."""
        before = self.tree(slopes)
        found = next((each for each in self._structures if np.array_equal(each.before, before)), None)
        found = Structure(self, before) if found is None else found
        self._structures = [found, *(each for each in self._structures if each is not found)][:_KEPT]
        return found

    def tree(self, slopes: np.ndarray) -> np.ndarray:
        """Node before each on its path from ground, `(n_nodes,)`; paths of the heaviest branches there are."""
        weight = np.concatenate([self.linear_weights, np.abs(slopes[self.edge_controls])])
        edges = np.concatenate([self.fixed_edges, self.linear_edges, self.nonlinear_edges], axis=1)
        # Lightest last: the heaviest spanning tree is the shortest one of the places in this order.
        order = np.argsort(-np.concatenate([np.full(self.n_fixed, np.inf), weight]), kind="stable")
        edges = np.sort(edges[:, order], axis=0)
        kept = edges[0] != edges[1]
        kept[self.n_fixed :] &= weight[order[self.n_fixed :] - self.n_fixed] > 0
        place = np.flatnonzero(kept)
        pair, first = np.unique(edges[0, kept] * self.n_nodes + edges[1, kept], return_index=True)
        # Indices of 32 bits: SciPy 1.13 forms trees of no others.
        ends = np.stack(np.divmod(pair, self.n_nodes)).astype(np.int32)
        graph = csr_array((place[first] + 1.0, tuple(ends)), shape=(self.n_nodes, self.n_nodes))
        _, before = breadth_first_order(minimum_spanning_tree(graph), GROUND, directed=False)
        return np.maximum(before, GROUND)


class Structure:
    """What the equations of all samples have in common whose spanning trees are the same.

    Parameters
    ----------
    branching : Branching
        The circuit.
    before : ndarray (n_nodes,)
        Node before each on its path from ground.

    Attributes
    ----------
    paths, cuts : ExactMatrix
        B, `(n_nodes, n_tree)`, and its transpose.
    linear, nonlinear, output : _Port
        Branches of linear and nonlinear laws, and the outputs.
    by_control : csr_array (n_tree, n_controls)
        Law of the branch of each control.
    matrix, magnitude : csr_array (n_unknowns, n_unknowns)
        The part of the Jacobian that is the same at all states, and the sum of the magnitudes of each entry.
    """

    def __init__(self, branching: Branching, before: np.ndarray):
        b, self.before, self.n_tree = branching, before, branching.n_nodes - 1
        paths = _paths(before)
        cuts = csr_array(paths.T)
        self.paths, self.cuts = ExactMatrix(paths), ExactMatrix(cuts)
        self.linear = _Port(cuts, paths, b.linear_law, b.linear_voltage)
        self.nonlinear = _Port(cuts, paths, b.nonlinear, b.controls)
        self.by_control = csr_array(csc_array(self.nonlinear.law.matrix)[:, b.system.controlled])
        self.output = _Port(cuts, paths, b.output, b.output)
        self.constant = self.cuts @ Double.of(b.constant)
        scaled = csr_array(self.linear.law.matrix * b.siemens[None, :])
        fixed = csr_array(cuts @ b.columns.matrix), csr_array(b.rows.matrix @ paths), b.currents.matrix
        self.matrix = _bordered(scaled @ self.linear.voltage.matrix, *fixed)
        self.magnitude = _bordered(
            abs(scaled) @ self.linear.voltage.magnitude,
            self.cuts.magnitude @ b.columns.magnitude,
            b.rows.magnitude @ self.paths.magnitude,
            abs(b.currents.matrix),
        )


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
        b = branching
        self._structure = common = b.structure(b.system.currents((b.controls.T @ voltages)[None])[1][0])
        self.n_tree, self.paths, self._cuts, self._before = common.n_tree, common.paths, common.cuts, common.before
        self._linear, self._nonlinear, self._output = common.linear, common.nonlinear, common.output
        self._prescribed = b.prescribed(sample.inputs)
        self._rounded = b.rounded()

    def start(self, voltages: np.ndarray) -> Double:
        """The unknowns at node voltages, with zero currents."""
        own = np.arange(1, self.n_tree + 1)
        tree = Double.difference(voltages[own], voltages[self._before[own]])
        return Double.joined(tree, Double.of(np.zeros(self.branching.n_fixed)))

    def voltages(self, unknowns: Double) -> Double:
        """Node voltages. [V]"""
        return self.paths @ unknowns.at(slice(0, self.n_tree))

    def controls(self, unknowns: Double) -> np.ndarray:
        """Voltages that control the nonlinear branches. [V]"""
        return (self._nonlinear.voltage @ unknowns.at(slice(0, self.n_tree))).high

    def at(self, unknowns: Double) -> Evaluation:
        """Evaluate the equations."""
        b, tree = self.branching, unknowns.at(slice(0, self.n_tree))
        fixed = unknowns.at(slice(self.n_tree, None))
        linear = (self._linear.voltage @ tree).times(b.siemens)
        residual = self._linear.law @ linear + self._structure.constant + self._cuts @ (b.columns @ fixed)
        uncertainty = _TINY * (self._linear.law.magnitude @ np.abs(linear.high))
        volts = self._nonlinear.voltage @ tree
        current, slope = self._currents(volts.high)
        low = np.zeros_like(current)
        np.add.at(low, b.system.controlled, slope * volts.low)
        doubt = current_uncertainty(b.system.groups, volts.high, current, slope, np.abs(volts.high))
        law, slopes = self._nonlinear.law, [slope]
        residual, uncertainty = residual + law @ Double(current, low), uncertainty + law.magnitude @ doubt
        nudged = self._nudge(tree)
        if nudged is not None:
            current, doubt, slope = nudged
            residual = residual - self._output.law @ current
            uncertainty, slopes = uncertainty + self._output.law.magnitude @ doubt, [*slopes, slope]
        off = b.rows @ self.voltages(unknowns) + b.currents @ fixed - self._prescribed
        # Constants such as ±a times an offset are rounded products.
        rounding = np.where(np.abs(self._prescribed.high) > 0, EPSILON * self._rounded, 0.0)
        return Evaluation(Double.joined(residual, off), np.concatenate([uncertainty, rounding]), np.concatenate(slopes))

    def jacobian(self, slopes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The Jacobian `(n_unknowns, n_unknowns)`, and the sum of the magnitudes that each entry is made of."""
        n, n_controls = self.n_tree, len(self.branching.system.controlled)
        matrix, magnitude = self._structure.matrix.toarray(), self._structure.magnitude.toarray()
        scaled = csr_array(self._structure.by_control * slopes[None, :n_controls])
        matrix[:n, :n] += csr_array(scaled @ self._nonlinear.voltage.matrix).toarray()
        magnitude[:n, :n] += csr_array(abs(scaled) @ self._nonlinear.voltage.magnitude).toarray()
        if len(slopes) > n_controls:
            count = self._output.law.matrix.shape[1]  # pyright: ignore[reportOptionalSubscript]
            law, voltage = self._output.law.matrix.toarray(), self._output.voltage.matrix.toarray()
            square = slopes[n_controls:].reshape(count, count)
            matrix[:n, :n] += law @ square @ voltage
            magnitude[:n, :n] += np.abs(law) @ np.abs(square) @ np.abs(voltage)
        return matrix, magnitude

    def curvature(self, unknowns: Double, reach: np.ndarray) -> np.ndarray:
        """Most that the residual is off its tangent where the tree voltages move by `reach` at most. [A]"""
        tree, near = unknowns.at(slice(0, self.n_tree)), reach[: self.n_tree]
        total = np.zeros(len(unknowns.high))
        volts, moved = (self._nonlinear.voltage @ tree).high, self._nonlinear.voltage.magnitude @ near
        total[: self.n_tree] = self._nonlinear.law.magnitude @ bends(self.branching.system, volts[None], moved[None])[0]
        if self.sample.nudge is not None:
            outputs, moved = (self._output.voltage @ tree).high, self._output.voltage.magnitude @ near
            bend = nudge_bends(self.sample.nudge, outputs[None], moved[None])[0]
            total[: self.n_tree] += self._output.law.magnitude @ bend
        return total

    def _currents(self, volts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        current, slopes = self.branching.system.currents(volts[None])
        return current[0], slopes[0]

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


class _Port:
    """Branches as cuts and paths see them."""

    def __init__(self, cuts: csr_array, paths: csr_array, law: csr_array, voltage: csr_array):
        self.law = ExactMatrix(csr_array(cuts @ law))
        self.voltage = ExactMatrix(csr_array(csr_array(voltage.T) @ paths))


def _bordered(inner: csr_array, right: csr_array, below: csr_array, corner: csr_array) -> csr_array:
    """One matrix of four parts."""
    return csr_array(block_array([[inner, right], [below, corner]]))


def _paths(before: np.ndarray) -> csr_array:
    """B: which branches of the tree lead from ground to each node; each carries the number of its node less one."""
    n_nodes = len(before)
    node = here = np.arange(1, n_nodes)
    ends, passed = [], []
    while len(node):
        ends.append(node)
        passed.append(here - 1)
        inner = before[here] > GROUND
        node, here = node[inner], before[here[inner]]
    places = _whole(ends), _whole(passed)
    return csr_array((np.ones(len(places[0])), places), shape=(n_nodes, n_nodes - 1))


def _whole(parts: list[np.ndarray]) -> np.ndarray:
    return np.concatenate([np.zeros(0, np.int64), *parts])


def _joined(parts: list[np.ndarray] | tuple[np.ndarray, ...]) -> np.ndarray:
    return np.concatenate([np.zeros(0), *parts])
