"""Node capacitances, which the description of a network leaves open."""

from __future__ import annotations

import numpy as np

from analog_ep.circuit import GROUND, Capacitors, ChargeLaw, Circuit, VoltageLaw
from analog_ep.circuit.energy import held_nodes
from analog_ep.errors import StimulusError

LABEL = "node_capacitance"


def with_node_capacitance(circuit: Circuit, farads: float) -> Circuit:
    """The circuit with a capacitor to ground at every node that no source or amplifier holds and that has none yet.

    Nodes within the lines of crossbars, which follow at once where their wires have no capacitance, get none.

    Parameters
    ----------
    circuit : Circuit
        Any circuit.
    farads : float
        Positive; the same for all nodes. [F]

    Raises
    ------
    StimulusError
        If the capacitance is not positive and finite.
    """
    if not 0 < farads < float("inf"):
        raise StimulusError(f"a node capacitance must be positive and finite, found {farads} F")
    held = held_nodes(circuit)
    for rows in (group.rows() for group in circuit.of_kind(VoltageLaw)):
        if not rows.is_independent:
            held[rows.positive] = True
    for group in circuit.of_kind(ChargeLaw):
        held[group.nodes()] = True
    for group in circuit.groups:
        if group.is_wire():
            within = group.nodes()
            held[within[~np.isin(within, np.concatenate([*circuit.layers.values(), [GROUND]]))]] = True
    nodes = np.flatnonzero(~held)
    return circuit.with_groups([*circuit.groups, Capacitors(LABEL, nodes, np.full_like(nodes, GROUND), farads)])
