"""What must hold before any solver runs: SPICE answers most broken circuits with a number and no message."""

from __future__ import annotations

import numpy as np
import torch
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from analog_ep.circuit.branches import (
    Amplifiers,
    Branches,
    Capacitors,
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
from analog_ep.circuit.circuit import GROUND, Circuit
from analog_ep.errors import CircuitError

_POSITIVE = {Conductances: "siemens", Capacitors: "farads", Amplifiers: "gain feedback"}


def check_circuit(circuit: Circuit) -> None:
    """Raise `CircuitError` for the first thing that makes the equilibrium meaningless.

    Found are: values that are not finite, conductances, capacitances and amplifier gains that are not positive (nudge
    conductances may be negative), controls that do not exist, missing ground, loops of voltage sources, rings of
    amplifiers, nodes without a resistive path to ground or a voltage source, and current sources that drive one.
    """
    _check_values(circuit)
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
        for name in _POSITIVE.get(type(group), "").split():
            values = getattr(group, name)
            exempt = isinstance(group, Conductances) and group.nudge
            if not exempt and len(values) and values.min() <= 0:
                at = int(values.argmin())
                raise CircuitError(f"{group.label}: {name} must be positive, found {values[at]} at element {at}")


def _check_controls(circuit: Circuit) -> None:
    for group in circuit.groups:
        if not isinstance(group, (CurrentControlledCurrentSources, CurrentControlledVoltageSources)):
            continue
        sources = circuit.group(group.control_label)
        if not isinstance(sources, VoltageSources):
            raise CircuitError(f"{group.label}: its current must be that of a voltage source, found {sources.label}")
        if len(group) and not (group.control.min() >= 0 and group.control.max() < len(sources)):
            raise CircuitError(f"{group.label}: control must lie in 0…{len(sources) - 1} of {sources.label}")


def _check_ground(circuit: Circuit) -> None:
    # An amplifier's output is referred to ground, so it counts.
    if not any((group.nodes() == GROUND).any() or isinstance(group, Amplifiers) for group in circuit.groups):
        raise CircuitError("the circuit must have a ground, found no branch at node 0; connect a source to node 0")


def voltage_defined(circuit: Circuit) -> list[tuple[str, np.ndarray, np.ndarray]]:
    """Branches that fix a voltage, as (label, positive, negative)."""
    branches = []
    for group in circuit.groups:
        if isinstance(group, (VoltageSources, VoltageControlledVoltageSources, CurrentControlledVoltageSources)):
            branches.append((group.label, group.positive, group.negative))
        elif isinstance(group, Amplifiers):
            _, nodes, _ = group.outputs()
            branches.append((group.label, nodes, np.zeros_like(nodes)))
    return branches


def _check_voltage_loops(circuit: Circuit) -> None:
    parent = list(range(circuit.n_nodes))

    def root(node: int) -> int:
        while parent[node] != node:
            parent[node] = parent[parent[node]]
            node = parent[node]
        return node

    for label, positive, negative in voltage_defined(circuit):
        for p, n in zip(positive.tolist(), negative.tolist(), strict=True):
            a, b = root(p), root(n)
            if a == b:
                raise CircuitError(
                    f"voltage sources must not form a loop, found one through {label} between "
                    f"{circuit.node_names[p]!r} and {circuit.node_names[n]!r}; remove one or add a resistance"
                )
            parent[a] = b


def _check_amplifier_rings(circuit: Circuit) -> None:
    # An amplifier whose output is another's input fixes that one's voltage too; in a ring nothing is left to fix it.
    feeds: dict[int, tuple[int, str]] = {}
    for group in circuit.of_kind(Amplifiers):
        element, node, _ = group.outputs()
        for output, source in zip(node.tolist(), group.input[element].tolist(), strict=True):
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


def _conducting_edges(group: Branches) -> tuple[np.ndarray, np.ndarray] | None:
    if isinstance(group, Conductances):
        return (group.positive, group.negative) if not group.nudge else None
    if isinstance(group, Diodes):
        lowest = group.device.conductance(torch.full((len(group),), -1e3, dtype=torch.float64)).numpy()
        return group.anode[lowest > 0], group.cathode[lowest > 0]
    return None


def _check_floating(circuit: Circuit) -> None:
    edges = [edge for group in circuit.groups if (edge := _conducting_edges(group)) is not None]
    edges += [(positive, negative) for _, positive, negative in voltage_defined(circuit)]
    rows, columns = (np.concatenate([edge[side] for edge in edges]) if edges else np.zeros(0, int) for side in (0, 1))
    graph = coo_array((np.ones(len(rows), np.int8), (rows, columns)), shape=(circuit.n_nodes, circuit.n_nodes))
    _, component = connected_components(graph.tocsr(), directed=False)
    floating = component != component[GROUND]
    if not floating.any():
        return
    driving = (CurrentSources, VoltageControlledCurrentSources, NonlinearCurrentSources)
    for group in (group for group in circuit.groups if isinstance(group, driving)):
        at = np.flatnonzero(floating[group.positive] | floating[group.negative])
        if len(at):
            node = group.positive[at[0]] if floating[group.positive[at[0]]] else group.negative[at[0]]
            raise CircuitError(
                f"{group.label}: a current source must drive a node with a resistive path to ground, found an open "
                f"node {circuit.node_names[node]!r}; add a conductance"
            )
    names = [circuit.node_names[i] for i in np.flatnonzero(floating)[:3]]
    raise CircuitError(
        f"every node needs a resistive path to ground or to a voltage source, found {int(floating.sum())} without, "
        f"such as {', '.join(names)}; connect or remove them"
    )
