"""What must hold before any solver runs: SPICE answers most broken circuits with a number and no message."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from analog_ep.circuit.circuit import Circuit
from analog_ep.circuit.law_check import check_laws
from analog_ep.circuit.laws import CurrentLaw, VoltageLaw
from analog_ep.circuit.nodes import GROUND, NodePair
from analog_ep.circuit.reactances import FluxLaw
from analog_ep.errors import CircuitError

_SOURCES = "voltage sources"


def check_circuit(circuit: Circuit) -> None:
    """Raise `CircuitError` for the first thing that makes the equilibrium meaningless.

    Found are: values that are not finite, conductances, capacitances and amplifier gains that are not positive (nudge
    conductances may be negative), laws that contradict themselves (`check_laws`), controls that do not exist,
    missing ground, loops of voltage sources, rings of amplifiers, nodes without a resistive path to ground or a voltage
    source, and current sources that drive one.
    """
    _check_values(circuit)
    check_laws(circuit)
    _check_controls(circuit)
    _check_ground(circuit)
    _check_voltage_loops(circuit)
    _check_amplifier_rings(circuit)
    _check_floating(circuit)


def _check_values(circuit: Circuit) -> None:
    for group in circuit.groups:
        for name in group.values:
            values = getattr(group, name)
            if not np.isfinite(values).all():
                at = int(np.flatnonzero(~np.isfinite(values))[0])
                raise CircuitError(f"{group.label}: {name} must be finite, found {values[at]} at element {at}")
        for name in group.positive_values():
            values = getattr(group, name)
            if len(values) and values.min() <= 0:
                at = int(values.argmin())
                raise CircuitError(f"{group.label}: {name} must be positive, found {values[at]} at element {at}")


def _check_controls(circuit: Circuit) -> None:
    for group in circuit.groups:
        if (followed := group.followed()) is None:
            continue
        label, control = followed
        sources = circuit.group(label)
        if not sources.can_be_followed():
            raise CircuitError(f"{group.label}: its current must be that of a voltage source, found {sources.label}")
        if len(group) and not (control.min() >= 0 and control.max() < len(sources)):
            raise CircuitError(f"{group.label}: control must lie in 0…{len(sources) - 1} of {sources.label}")


def _check_ground(circuit: Circuit) -> None:
    # What a row prescribes may be referred to ground without a terminal there: an amplifier's output is.
    referred = any(group.rows().grounded.any() for group in circuit.of_kind(VoltageLaw))
    if not (referred or any((group.nodes() == GROUND).any() for group in circuit.groups)):
        raise CircuitError("the circuit must have a ground, found no branch at node 0; connect a source to node 0")


def _voltage_defined(circuit: Circuit) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    """Branches that fix a voltage, as (label, positive, negative)."""
    for group in circuit.of_kind(VoltageLaw):
        rows = group.rows()
        yield group.label, rows.positive, rows.negative


def _check_voltage_loops(circuit: Circuit) -> None:
    parent = list(range(circuit.n_nodes))

    def root(node: int) -> int:
        while parent[node] != node:
            parent[node] = parent[parent[node]]
            node = parent[node]
        return node

    for label, positive, negative in _voltage_defined(circuit):
        for p, n in zip(positive.tolist(), negative.tolist(), strict=True):
            a, b = root(p), root(n)
            if a == b:
                what = (
                    "voltage sources, and inductors, which are shorts at rest,"
                    if circuit.of_kind(FluxLaw)
                    else _SOURCES
                )
                raise CircuitError(
                    f"{what} must not form a loop, found one through {label} between "
                    f"{circuit.node_names[p]!r} and {circuit.node_names[n]!r}; remove one or add a resistance"
                )
            parent[a] = b


def _check_amplifier_rings(circuit: Circuit) -> None:
    # An amplifier whose output is another's input fixes that one's voltage too; in a ring nothing is left to fix it.
    feeds: dict[int, tuple[int, str]] = {}
    for group in circuit.of_kind(VoltageLaw):
        rows = group.rows()
        if not rows.chained or rows.control is None:
            continue
        for output, source in zip(rows.positive.tolist(), rows.control[0].tolist(), strict=True):
            feeds[output] = (source, group.label)
    passed: set[int] = set()
    for start in feeds:
        chain: set[int] = set()
        node = start
        while node in feeds and node not in passed:
            if node in chain:
                raise CircuitError(
                    f"amplifiers must not feed each other in a ring, found one through {feeds[node][1]} at "
                    f"{circuit.node_names[node]!r}; put a conductance between an output and the next input"
                )
            chain.add(node)
            node = feeds[node][0]
        passed |= chain


def _conducting_edges(group: CurrentLaw) -> NodePair:
    first, second = group.ends()
    conducts = group.conducts()
    return first[conducts], second[conducts]


def _check_floating(circuit: Circuit) -> None:
    edges = [_conducting_edges(group) for group in circuit.of_kind(CurrentLaw)]
    edges += [(positive, negative) for _, positive, negative in _voltage_defined(circuit)]
    rows, columns = (np.concatenate([edge[side] for edge in edges]) if edges else np.zeros(0, int) for side in (0, 1))
    graph = coo_array((np.ones(len(rows), np.int8), (rows, columns)), shape=(circuit.n_nodes, circuit.n_nodes))
    _, component = connected_components(graph.tocsr(), directed=False)
    floating = component != component[GROUND]
    if not floating.any():
        return
    for group in circuit.of_kind(CurrentLaw):
        if group.is_two_terminal:
            continue
        first, second = group.ends()
        at = np.flatnonzero(floating[first] | floating[second])
        if len(at):
            node = first[at[0]] if floating[first[at[0]]] else second[at[0]]
            raise CircuitError(
                f"{group.label}: a current source must drive a node with a resistive path to ground, found an open "
                f"node {circuit.node_names[node]!r}; add a conductance"
            )
    names = [circuit.node_names[i] for i in np.flatnonzero(floating)[:3]]
    raise CircuitError(
        f"every node needs a resistive path to ground or to a voltage source, found {int(floating.sum())} without, "
        f"such as {', '.join(names)}; connect or remove them"
    )
