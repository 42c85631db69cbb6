"""Several copies of a circuit as one circuit, and groups that move to other nodes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from analog_ep.circuit.circuit import Circuit
from analog_ep.circuit.laws import Branches
from analog_ep.circuit.nodes import GROUND, NONE


def copies(circuit: Circuit, n_copies: int) -> Circuit:
    """The circuit n times side by side, on one ground and with the same inputs.

    Node `a` of copy k is called `a_k<k>`; all nodes but ground of a copy stand together, in the circuit's order, and so
    do its elements within each group and its outputs.
    """
    own = circuit.n_nodes - 1
    names = (circuit.node_names[0], *(f"{name}_k{k}" for k in range(n_copies) for name in circuit.node_names[1:]))

    def shifted(nodes: np.ndarray) -> np.ndarray:
        shift = own * np.arange(n_copies)[:, None]
        return np.where((nodes == GROUND) | (nodes == NONE), nodes, nodes + shift).reshape(-1)

    return Circuit(
        circuit.title,
        names,
        tuple(_repeated(circuit, group, n_copies, shifted) for group in circuit.groups),
        None if circuit.outputs is None else (shifted(circuit.outputs[0]), shifted(circuit.outputs[1])),
        {name: shifted(nodes) for name, nodes in circuit.layers.items()},
        circuit.temperature,
    )


def moved(group: Branches, node_of: np.ndarray) -> Branches:
    """The elements of a group between other nodes.

    Parameters
    ----------
    group : Branches
        Any group.
    node_of : ndarray (n_nodes,)
        For each node the one that takes its place.
    """
    nodes = {name: getattr(group, name) for name in (*group.terminals, *group.optional_terminals)}
    return replace(group, **{k: np.where(own == NONE, own, node_of[np.maximum(own, 0)]) for k, own in nodes.items()})


def _repeated(
    circuit: Circuit, group: Branches, n_copies: int, shifted: Callable[[np.ndarray], np.ndarray]
) -> Branches:
    changed = {name: shifted(getattr(group, name)) for name in (*group.terminals, *group.optional_terminals)}
    if (followed := group.followed()) is not None:
        step = len(circuit.group(followed[0]))
        field = next(name for name, array in group.arrays().items() if array is followed[1])
        changed[field] = (followed[1] + step * np.arange(n_copies)[:, None]).reshape(-1)
    return replace(group.select(np.tile(np.arange(len(group)), n_copies)), **changed)
