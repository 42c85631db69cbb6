"""The Kirchhoff residual of given node voltages: the judge of every solver, and no part of any."""

from __future__ import annotations

import copy

import numpy as np
from scipy.sparse import csc_array, csr_array
from scipy.sparse.csgraph import connected_components
from scipy.sparse.linalg import SuperLU, splu

from analog_ep.circuit import GROUND, Circuit, CurrentFollower, CurrentLaw, VoltageLaw
from analog_ep.equilibrium.nodal.assembly import Entries
from analog_ep.equilibrium.nodal.ends import BRANCH_CHUNK, Ends
from analog_ep.errors import CircuitError


def kirchhoff_residual(
    circuit: Circuit, voltages: np.ndarray, injected: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Net current out of each free node, and the sum of the magnitudes it is made of.

    The currents of independent sources, E and H sources and amplifier outputs are not functions of the node voltages;
    they follow from Kirchhoff's law at the nodes that these branches join. What such a branch joins is therefore one
    supernode: its net current stands at its first node, and is no condition at all where ground belongs to it. So the
    residual is zero at ground, at nodes that sources hold and at amplifier outputs, while the current that an
    amplifier draws from its input, and the F and H sources, are part of the law at the other nodes. Whether the sources
    have the voltages that they prescribe is not looked at.

    Parameters
    ----------
    circuit : Circuit
        One that `check_circuit` accepts.
    voltages : ndarray (n_samples, n_nodes)
        Node voltages, ground first. [V]
    injected : ndarray (n_samples, n_nodes), optional
        Additional currents into the nodes. [A]

    Returns
    -------
    residual : ndarray (n_samples, n_nodes)
        Net current out of each node. [A]
    scale : ndarray (n_samples, n_nodes)
        Sum of |branch current| at each node, `injected` included. [A]

    Raises
    ------
    CircuitError
        If the currents of the voltage-defined branches are not determined.
    """
    return KirchhoffLaw(circuit).residual(voltages, injected)


class KirchhoffLaw:
    """Kirchhoff's current law at the nodes of one circuit, for any number of batches; see `kirchhoff_residual`."""

    def __init__(self, circuit: Circuit):
        self._currents = circuit.of_kind(CurrentLaw)
        self._ends = [Ends.of([group.ends()], circuit.n_nodes) for group in self._currents]
        self._controls = [[Ends.of([pair], circuit.n_nodes) for pair in group.controls()] for group in self._currents]
        self._sources = _VoltageDefined(circuit)
        self._magnitude_unknown = abs(self._sources.incidence)
        self._step = max(1, BRANCH_CHUNK // max(max(map(len, self._currents), default=0), circuit.n_nodes))

    def with_laws(self, circuit: Circuit) -> KirchhoffLaw:
        """The law of a circuit that differs in what nonlinear branches carry alone, see `differs_in_laws`."""
        law = copy.copy(self)
        law._currents = circuit.of_kind(CurrentLaw)
        return law

    # Voltages of a lost sample may be infinite; what comes out tells of it.
    @np.errstate(all="ignore")
    def residual(self, voltages: np.ndarray, injected: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
        """What `kirchhoff_residual` returns."""
        residual, scale = np.zeros_like(voltages), np.zeros_like(voltages)
        for begin in range(0, len(voltages), self._step):
            part = slice(begin, begin + self._step)
            into = np.zeros_like(voltages[part]) if injected is None else injected[part]
            outflow, size = -into, np.abs(into)
            for group, ends, controls in zip(self._currents, self._ends, self._controls, strict=True):
                across = [control.across(voltages[part]) for control in controls]
                current = np.broadcast_to(group.current(*across), (len(into), len(group)))
                outflow += ends.outflow(current)
                size += ends.magnitudes(current)
            unknown = self._sources.currents(outflow.T)
            net = outflow + (self._sources.incidence @ unknown).T
            residual[part] = np.where(self._sources.is_condition, net, 0.0)
            scale[part] = size + (self._magnitude_unknown @ np.abs(unknown)).T
        return residual, scale


class _VoltageDefined:
    """The branches whose current is not a function of the node voltages, and how Kirchhoff's law gives it."""

    def __init__(self, circuit: Circuit):
        entries, edges = Entries(), []
        first_column, n_columns = {}, 0
        for group in circuit.of_kind(VoltageLaw):
            rows = group.rows()
            column = n_columns + np.arange(len(rows))
            entries.put(rows.positive, column, 1.0)
            entries.put(rows.negative, column, -1.0)
            if rows.drawn_from is not None and rows.feedback is not None:
                # c flows out of the positive node into the branch: what the branch gives to the circuit is −c.
                entries.put(rows.drawn_from, column, -rows.feedback)
            edges.append(np.stack([rows.positive, rows.negative]))
            first_column[group.label] = n_columns
            n_columns += len(rows)
        for group in circuit.of_kind(CurrentFollower):
            column = first_column[group.control_label] + group.control
            entries.put(group.positive, column, group.gain)
            entries.put(group.negative, column, -group.gain)
        self.incidence = entries.matrix((circuit.n_nodes, n_columns))
        self._joined, self.is_condition = _supernodes(edges, circuit.n_nodes)
        self._factors = self._factorise(n_columns)

    def _factorise(self, n_columns: int) -> SuperLU | None:
        if not len(self._joined):
            return None
        if len(self._joined) != n_columns:
            raise CircuitError("voltage sources must not form a loop: then their currents are not determined")
        try:
            return splu(csc_array(self.incidence[self._joined]))
        except RuntimeError:
            raise CircuitError(
                "the currents of the voltage sources are not determined; look at current-controlled sources and "
                "amplifiers that feed back on themselves"
            ) from None

    def currents(self, outflow: np.ndarray) -> np.ndarray:
        """Currents of these branches `(n_columns, n_samples)` from what else leaves the nodes."""
        if self._factors is None:
            return np.zeros((0, outflow.shape[1]))
        return self._factors.solve(-outflow[self._joined])


def _supernodes(edges: list[np.ndarray], n_nodes: int) -> tuple[np.ndarray, np.ndarray]:
    """Nodes whose law gives a source's current, and the mask of those whose law is a condition."""
    first, second = np.concatenate([np.zeros((2, 0), np.int64), *edges], axis=1)
    graph = csr_array((np.ones(len(first), np.int8), (first, second)), shape=(n_nodes, n_nodes))
    _, component = connected_components(graph, directed=False)
    # The first node of each component represents it; ground is node 0, so it represents its own.
    _, first_node = np.unique(component, return_index=True)
    represents = np.zeros(n_nodes, dtype=bool)
    represents[first_node] = True
    joined = np.flatnonzero(~represents)
    represents[GROUND] = False
    return joined, represents
