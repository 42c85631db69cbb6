"""The comments at the head of a deck: what it is, how to run it, what it prints, and for which sample."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from analog_ep.circuit import Circuit
from analog_ep.spice.dialects import Dialect
from analog_ep.spice.netlist import number
from analog_ep.spice.nudge_cards import NudgeCurrent
from analog_ep.stimulus import Nudge

_SOLVES = {
    "free": "It solves the free phase: inputs held, outputs open.",
    "nudged": "It solves the nudged phase: inputs held, currents into the outputs.",
    "both": "It solves the free phase (outputs open) and the nudged phase (currents into the outputs).",
}
_MAX_LISTED = 32
"""Values that a line of the header lists; longer ones stand on the cards alone."""


def header(
    circuit: Circuit,
    sample: np.ndarray,
    nudge: Nudge | None,
    currents: Sequence[NudgeCurrent],
    phase: str,
    dialect: Dialect,
) -> Iterator[str]:
    """Comment lines for one sample `(n_inputs,)` [V] of a circuit and its nudge currents, if any."""
    energy = "the energy v(energy) [W], where the circuit has one; " if dialect.has_energy else ""
    subcircuits = "; x_ elements are subcircuits" if dialect.has_library else ""
    paragraphs = [
        "One sample of a circuit that learns by equilibrium propagation.",
        dialect.how_to_run,
        _SOLVES[phase],
        f"{dialect.prints} In them: {energy}the differential outputs [V]; node voltages [V].",
        f"Names: an element is its letter, its group and its index in the group{subcircuits}. _p and _n are the two "
        "sides of a differential signal.",
        f"Size: {circuit.n_nodes - 1} nodes, {circuit.n_branches} branches.",
        *_layers(circuit),
        _listed("Inputs [V]", sample.tolist()),
        *_nudge(nudge, currents),
    ]
    for paragraph in paragraphs:
        yield from dialect.paragraph(paragraph)


def _layers(circuit: Circuit) -> Iterator[str]:
    for name, nodes in circuit.layers.items():
        first, last = circuit.node_names[nodes[0]], circuit.node_names[nodes[-1]]
        yield f"Layer {name}: {len(nodes)} nodes, {first} to {last}."


def _nudge(nudge: Nudge | None, currents: Sequence[NudgeCurrent]) -> Iterator[str]:
    if nudge is None or not currents:
        return
    yield _listed("Target", nudge.target.tolist())
    yield f"Nudge: {nudge.kind}, beta = {number(nudge.strength)}, cost {type(nudge.cost).__name__}."
    if all(current.constant for current in currents):
        values = [float(current.expression) for current in currents]
        yield _listed("Nudge currents [A], computed from the outputs of the free phase", values)


def _listed(what: str, values: list[float]) -> str:
    if len(values) > _MAX_LISTED:
        return f"{what}: {len(values)} values, on the cards below."
    return f"{what}: {' '.join(f'{value:.9g}' for value in values) or 'none'}"
