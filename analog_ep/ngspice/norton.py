"""Rows that independent sources hold, as their Norton equivalents: exact, and many resistors fewer."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.sparse import csr_array

from analog_ep.circuit import GROUND, Branches, Circuit, Conductances, CurrentLaw, CurrentSources, VoltageLaw


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
    """

    circuit: Circuit
    nodes: np.ndarray
    transfer: csr_array

    @classmethod
    def of(cls, circuit: Circuit) -> NortonReduction:
        """Reduce a circuit that `check_circuit` accepts."""
        held = _held_nodes(circuit)
        groups: list[Branches] = []
        rows = [np.zeros((0, 3))]
        resistors = {
            group.label: siemens
            for group in circuit.of_kind(CurrentLaw)
            if (siemens := group.resistors()) is not None and group.conducts().all()
        }
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
