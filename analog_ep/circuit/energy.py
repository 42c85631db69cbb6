"""The energy of a circuit: the weights of its resistive blocks, and its value at a state."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from analog_ep.circuit.circuit import Circuit
from analog_ep.circuit.laws import Branches, CurrentLaw, VoltageLaw
from analog_ep.circuit.nodes import GROUND
from analog_ep.errors import CircuitError, EnergyUnavailableError

_RTOL = 1e-9


@dataclass(frozen=True)
class EnergyWeights:
    """Weight w of every node's resistive block in E = Σ w P, or why there are none.

    Attributes
    ----------
    nodes : ndarray (n_nodes,) or None
        Weight of each node's block; 1 at ground and at nodes that voltage sources hold.
    reason : str
        Why the circuit has no energy; empty where it has one.
    """

    nodes: np.ndarray | None
    reason: str = ""

    def require(self) -> np.ndarray:
        """The weights, or `EnergyUnavailableError` with the reason."""
        if self.nodes is None:
            raise EnergyUnavailableError(f"this circuit has no energy: {self.reason}")
        return self.nodes


def held_nodes(circuit: Circuit) -> np.ndarray:
    """Mask `(n_nodes,)` of ground and the nodes that grounded independent sources hold."""
    held = np.zeros(circuit.n_nodes, dtype=bool)
    held[GROUND] = True
    for group in circuit.of_kind(VoltageLaw):
        rows = group.rows()
        if rows.is_independent:
            held[rows.positive[rows.negative == GROUND]] = True
            held[rows.negative[rows.positive == GROUND]] = True
    return held


def energy_weights(circuit: Circuit) -> EnergyWeights:
    """Assign the weight of each resistive block, or say why reciprocity fails.

    Nodes joined by conductances, diodes or floating voltage sources form a block. An amplifier with gain a and
    feedback k from block A into block B asks for w_B = w_A k/a; the weights exist if all amplifiers between two
    blocks agree and the product around every cycle is 1 (k = 1/a is Kendall et al. 2020, arXiv:2006.01981; k = a is an
    ideal transformer).
    """
    for group in circuit.groups:
        if len(group) and (reason := group.irreciprocity()):
            return EnergyWeights(None, f"{group.label} {reason}")
    held = held_nodes(circuit)
    n_blocks, block = _blocks(circuit, held)
    links = _links(circuit, held, block)
    weights = np.zeros(n_blocks)
    for start in range(n_blocks):
        if weights[start]:
            continue
        weights[start] = 1.0
        queue = deque([start])
        while queue:
            here = queue.popleft()
            for there, ratio, label in links.get(here, ()):
                wanted = weights[here] * ratio
                if not weights[there]:
                    weights[there] = wanted
                    queue.append(there)
                elif abs(weights[there] - wanted) > _RTOL * wanted:
                    return EnergyWeights(
                        None,
                        f"the amplifiers {label} join two blocks by different k/a, or k/a does not multiply to 1 "
                        f"around a cycle",
                    )
    return EnergyWeights(np.where(held, 1.0, weights[block]))


def _blocks(circuit: Circuit, held: np.ndarray) -> tuple[int, np.ndarray]:
    pairs = [np.zeros((0, 2), np.int64)]
    for group in circuit.groups:
        if group.joins_ends():
            first, second = group.ends()
            free = ~held[first] & ~held[second]
            pairs.append(np.stack([first[free], second[free]], axis=1))
    edges = np.concatenate(pairs)
    graph = coo_array((np.ones(len(edges), np.int8), edges.T), shape=(circuit.n_nodes,) * 2)
    return connected_components(graph.tocsr(), directed=False)


def _links(circuit: Circuit, held: np.ndarray, block: np.ndarray) -> dict[int, set[tuple[int, float, str]]]:
    links: dict[int, set[tuple[int, float, str]]] = {}
    for group in circuit.of_kind(VoltageLaw):
        rows = group.rows()
        if rows.drawn_from is None or rows.feedback is None or rows.gain is None:
            continue
        source, node = rows.drawn_from, rows.positive
        free = ~held[source]
        ratio = rows.feedback / rows.gain
        # Ratios equal to rounding are one link: a million amplifiers make a handful of them.
        rounded = np.round(np.log(ratio) / (0.1 * _RTOL))
        ends = np.stack([block[source[free]], block[node[free]]], axis=1)
        _, at = np.unique(np.column_stack([ends, rounded[free]]), axis=0, return_index=True)
        for (first, second), value in zip(ends[at], ratio[free][at], strict=True):
            links.setdefault(int(first), set()).add((int(second), float(value), group.label))
            links.setdefault(int(second), set()).add((int(first), 1 / float(value), group.label))
    return links


def output_weight(circuit: Circuit) -> float:
    """w_L, the energy weight of the nodes that a nudge acts on; those that a source holds have none.

    Raises
    ------
    EnergyUnavailableError
        If the circuit has no energy, or its outputs lie in blocks of different weight: then currents that follow the
        slope of the cost are no gradient of an energy, and phases do not give that of the cost.
    CircuitError
        If the circuit has no outputs.
    """
    if circuit.outputs is None:
        raise CircuitError(f"a nudge needs outputs, found none in {circuit.title!r}; see set_outputs")
    weights, held = energy_weights(circuit).require(), held_nodes(circuit)
    nodes = np.concatenate(circuit.outputs)
    nodes = nodes[~held[nodes]]
    if not len(nodes):
        return 1.0
    own = weights[nodes]
    apart = np.abs(own - own[0]) > _RTOL * np.abs(own[0])
    if apart.any():
        first, other = (circuit.node_names[node] for node in (nodes[0], nodes[apart][0]))
        raise EnergyUnavailableError(
            f"a nudge has an energy where all output nodes have one energy weight, found {own[0]:.4g} at {first} and "
            f"{own[apart][0]:.4g} at {other}, behind an amplifier; take outputs of one block, or "
            "ImplicitDifferentiation"
        )
    return float(own[0])


def branch_weights(group: Branches, weights: np.ndarray, held: np.ndarray) -> np.ndarray:
    """Weight of each branch's block: that of its free end."""
    first, second = group.ends()
    return np.where(held[first], weights[second], weights[first])


def circuit_energy(circuit: Circuit, voltages: np.ndarray, injected: np.ndarray | None = None) -> np.ndarray:
    """Energy E = Σ w (Σ φ − Σ I v), `(*batch,)`, of the state `voltages`. [W]

    Parameters
    ----------
    circuit : Circuit
        With energy weights.
    voltages : ndarray (*batch, n_nodes)
        Node voltages, ground first. [V]
    injected : ndarray (*batch, n_nodes), optional
        Additional currents into the nodes. [A]

    Raises
    ------
    EnergyUnavailableError
        If the circuit has no energy.
    """
    weights, held = energy_weights(circuit).require(), held_nodes(circuit)
    total = np.zeros(voltages.shape[:-1])
    for group in circuit.of_kind(CurrentLaw):
        if not group.controls():
            total = total - _source_power(group, voltages, weights, held)
            continue
        first, second = group.ends()
        content = group.cocontent(voltages[..., first] - voltages[..., second])
        total = total + np.asarray(content) @ branch_weights(group, weights, held)
    if injected is not None:
        total = total - (injected * voltages) @ weights
    return total


def _source_power(group: CurrentLaw, voltages: np.ndarray, weights: np.ndarray, held: np.ndarray) -> np.ndarray:
    """Σ w I v of constant currents, from the positive end through the source to the negative one. [W]"""
    total, (positive, negative) = np.zeros(voltages.shape[:-1]), group.ends()
    # Its ends may lie in blocks of different weight; a held end shares that of the other.
    for near, far, sign in ((negative, positive, 1.0), (positive, negative, -1.0)):
        weight = np.where(held[near], weights[far], weights[near])
        total = total + voltages[..., near] @ (sign * group.current() * weight)
    return total
