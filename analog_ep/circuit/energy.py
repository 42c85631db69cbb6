"""The energy of a circuit: the weights of its resistive blocks, and its value at a state."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.sparse.linalg import lsqr

from analog_ep.circuit.law_check import answered, check_laws
from analog_ep.circuit.laws import Branches, CurrentLaw, VoltageLaw
from analog_ep.circuit.nodes import GROUND
from analog_ep.errors import EnergyUnavailableError

if TYPE_CHECKING:
    from analog_ep.circuit.circuit import Circuit

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
        if rows.is_source:
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
    for group in circuit.parts:
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


def contrast_weights(circuit: Circuit) -> np.ndarray:
    """Weight of each node's block in contrasts of branch voltages, `(n_nodes,)`: the energy's where there is one.

    Without an energy they are the weights nearest to one and to 1 everywhere: the shortest of the least-squares
    solutions of ln w_B − ln w_A = ln k/a over the amplifiers. One-way sources ask for nothing; where no amplifiers
    are left, every weight is 1. The gradient that follows is then not the cost's. A circuit that stands for an `ideal`
    one has the weights of that, and 1 at the nodes that it adds.
    """
    if circuit.ideal is not None:
        known = contrast_weights(circuit.ideal)
        return np.concatenate([known, np.ones(circuit.n_nodes - len(known))])
    if (weights := energy_weights(circuit).nodes) is not None:
        return weights
    held = held_nodes(circuit)
    n_blocks, block = _blocks(circuit, held)
    links = [(a, b, ratio) for a, each in _links(circuit, held, block).items() for b, ratio, _ in each]
    if not links:
        return np.ones(circuit.n_nodes)
    first, second, ratio = (np.array(column) for column in zip(*links, strict=True))
    row = np.arange(len(links))
    entries = np.concatenate([-np.ones(len(row)), np.ones(len(row))])
    places = np.tile(row, 2), np.concatenate([first, second])
    matrix = coo_array((entries, places), shape=(len(row), n_blocks)).tocsr()
    found = lsqr(matrix, np.log(ratio), atol=1e-14, btol=1e-14)[0]
    return np.where(held, 1.0, np.exp(found)[block])


def why_irreciprocal(circuit: Circuit, nominal: Circuit) -> str:
    """Why contrasts with the nominal circuit's weights do not give the gradient of this one; empty where they do."""
    found, wanted = energy_weights(circuit), energy_weights(nominal)
    if found.nodes is None or wanted.nodes is None:
        return found.reason or wanted.reason
    if reason := why_no_contrast(nominal):
        return reason
    alike = np.allclose(found.nodes, wanted.nodes, rtol=_RTOL)
    return "" if alike else "its amplifiers ask for other weights than the nominal ones"


def _blocks(circuit: Circuit, held: np.ndarray) -> tuple[int, np.ndarray]:
    pairs = [np.zeros((0, 2), np.int64)]
    for group in circuit.parts:
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
        with np.errstate(all="ignore"):
            ratio = rows.feedback / rows.gain
        # Whoever has one beyond the range of numbers has no energy, and says so.
        free = ~held[source] & (ratio > 0) & np.isfinite(ratio)
        # Ratios equal to rounding are one link: a million amplifiers make a handful of them.
        ratio, ends = ratio[free], np.stack([block[source[free]], block[node[free]]], axis=1)
        rounded = np.round(np.log(ratio) / (0.1 * _RTOL))
        _, at = np.unique(np.column_stack([ends, rounded]), axis=0, return_index=True)
        for (first, second), value in zip(ends[at], ratio[at], strict=True):
            links.setdefault(int(first), set()).add((int(second), float(value), group.label))
            links.setdefault(int(second), set()).add((int(first), 1 / float(value), group.label))
    return links


def why_no_contrast(circuit: Circuit) -> str:
    """Why phases with nudged outputs do not give the cost's gradient; empty where they do.

    The circuit has no energy, or its output nodes have different weights in it: then currents that follow the slope of
    the cost are the gradient of none.
    """
    found = energy_weights(circuit)
    if found.nodes is None:
        return found.reason
    nodes = _nudged_nodes(circuit)
    apart = _apart(found.nodes[nodes])
    if not len(apart):
        return ""
    own = found.nodes[nodes]
    first, other = (circuit.node_names[nodes[at]] for at in (0, apart[0]))
    return (
        f"the outputs have different energy weights, {own[0]:.4g} at {first} and {own[apart[0]]:.4g} at {other}, "
        f"behind an amplifier"
    )


def outputs_differ(circuit: Circuit, weights: np.ndarray) -> bool:
    """Whether the output nodes that a nudge acts on have different weights."""
    return bool(len(_apart(weights[_nudged_nodes(circuit)])))


def _apart(weights: np.ndarray) -> np.ndarray:
    """Places of the weights that are not the first one."""
    return np.flatnonzero(np.abs(weights - weights[:1]) > _RTOL * np.abs(weights[:1]))


def output_weight(circuit: Circuit, weights: np.ndarray) -> float:
    """w_L, the weight of the nodes that a nudge acts on; 1 where sources hold all of them."""
    own = weights[_nudged_nodes(circuit)]
    return float(own[0]) if len(own) else 1.0


def _nudged_nodes(circuit: Circuit) -> np.ndarray:
    """Nodes of the outputs but for those that sources hold, whose currents nudge nothing."""
    nodes = np.zeros(0, np.int64) if circuit.outputs is None else np.concatenate(circuit.outputs)
    return nodes[~held_nodes(circuit)[nodes]]


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
    CircuitError
        If a law contradicts itself, see `check_circuit`.
    """
    check_laws(circuit)
    weights, held = energy_weights(circuit).require(), held_nodes(circuit)
    total = np.zeros(voltages.shape[:-1])
    for group in circuit.of_kind(CurrentLaw):
        if not group.controls():
            total = total - _source_power(group, voltages, weights, held)
            continue
        first, second = group.ends()
        across = voltages[..., first] - voltages[..., second]
        content = answered(group, "cocontent", lambda law=group, at=across: law.cocontent(at), across.shape)
        total = total + content @ branch_weights(group, weights, held)
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
