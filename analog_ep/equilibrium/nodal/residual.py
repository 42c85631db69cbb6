"""The Kirchhoff residual of given node voltages: the judge of every solver, and no part of any."""

from __future__ import annotations

import numpy as np
from scipy.sparse import csc_array, csr_array
from scipy.sparse.csgraph import connected_components
from scipy.sparse.linalg import SuperLU, splu

from analog_ep.circuit import GROUND, Circuit, CurrentFollower, CurrentLaw, VoltageLaw
from analog_ep.equilibrium.nodal.assembly import Entries, incidence
from analog_ep.errors import CircuitError

_CHUNK = 2**19
"""Branch currents held at a time: 4 MiB, which stay in the processor's cache."""


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


def _branch_current(group: CurrentLaw, volts: np.ndarray) -> np.ndarray:
    """Currents from the first to the second terminal, `(n_elements, n_samples)`, of node voltages, a row a node."""
    across = [(volts[first] - volts[second]).T for first, second in group.controls()]
    return np.broadcast_to(group.current(*across), (volts.shape[1], len(group))).T


class KirchhoffLaw:
    """Kirchhoff's current law at the nodes of one circuit, for any number of batches; see `kirchhoff_residual`."""

    def __init__(self, circuit: Circuit):
        self._currents = circuit.of_kind(CurrentLaw)
        self._branches = incidence([group.ends() for group in self._currents], circuit.n_nodes)
        self._sources = _VoltageDefined(circuit)
        self._magnitude, self._magnitude_unknown = abs(self._branches), abs(self._sources.incidence)
        self._step = max(1, _CHUNK // max(circuit.n_branches, circuit.n_nodes))

    # Voltages of a lost sample may be infinite; what comes out tells of it.
    @np.errstate(all="ignore")
    def residual(self, voltages: np.ndarray, injected: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
        """What `kirchhoff_residual` returns."""
        residual, scale = np.zeros_like(voltages), np.zeros_like(voltages)
        for begin in range(0, len(voltages), self._step):
            part = slice(begin, begin + self._step)
            # A row a node: the ends of the branches are then taken from memory row by row, which is several times
            # faster.
            volts = np.ascontiguousarray(voltages[part].T)
            into = np.zeros_like(volts) if injected is None else injected[part].T
            through = np.concatenate([volts[:0], *(_branch_current(group, volts) for group in self._currents)])
            outflow = self._branches @ through - into
            unknown = self._sources.currents(outflow)
            net = outflow + self._sources.incidence @ unknown
            residual[part] = np.where(self._sources.is_condition[:, None], net, 0.0).T
            np.abs(through, out=through)
            scale[part] = (self._magnitude @ through + self._magnitude_unknown @ np.abs(unknown) + np.abs(into)).T
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
