"""A netlist of the adjoint network of one sample, which prints the gradient by every element that learns."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from analog_ep.circuit import GROUND, Circuit, check_circuit
from analog_ep.circuit.adjoint import adjoint_network, with_products
from analog_ep.errors import StimulusError
from analog_ep.netlist.deck import printed_nodes
from analog_ep.netlist.deck_header import adjoint_header
from analog_ep.netlist.deck_sections import DeckSections
from analog_ep.netlist.dialects import DIALECTS, DialectName
from analog_ep.netlist.netlist import SpiceOptions
from analog_ep.netlist.nudge_cards import NudgeCurrent, nudge_cards, nudge_currents
from analog_ep.stimulus import Nudge


def write_adjoint_deck(
    circuit: Circuit,
    voltages: np.ndarray,
    nudge: Nudge,
    *,
    options: SpiceOptions | None = None,
    dialect: DialectName = "ngspice",
) -> str:
    """Text of the adjoint network at a free state, driven by the currents of a nudge, as a self-contained deck.

    It prints the voltages of the network's layers (of all nodes where there are none), and for element i of a group
    that learns, as its card is numbered, that of a node ``grad_<group>_<i>``, dC/dg of a conductance: its free voltage
    times its voltage here, over β.

    Parameters
    ----------
    circuit : Circuit
        With outputs and elements that learn.
    voltages : ndarray (n_nodes,)
        Its free state. [V]
    nudge : Nudge
        With a target `(n_outputs,)`; its strength counts, its kind does not, as the network is linear.
    options : SpiceOptions, optional
        Tolerances.
    dialect : str
        The simulator to write for, see `DIALECTS`.

    Raises
    ------
    CircuitError
        If the circuit has no equilibrium, or no netlist of the dialect can carry it.
    StimulusError
        If there are no outputs, nothing that learns, the target has another width, or there is no such dialect.
    """
    if dialect not in DIALECTS:
        raise StimulusError(f"dialect must be one of {', '.join(DIALECTS)}, found {dialect!r}")
    if not nudge.strength:
        raise StimulusError("the nudging strength must not be zero: the gradient is what it drives, over it")
    if not circuit.learning_groups():
        raise StimulusError(f"an adjoint netlist prints what learns, found nothing in {circuit.title!r}")
    check_circuit(circuit)
    outputs = None if circuit.outputs is None else voltages[circuit.outputs[0]] - voltages[circuit.outputs[1]]
    currents = nudge_currents(circuit, replace(nudge, kind="frozen"), outputs)
    network = adjoint_network(circuit, voltages)
    whole, products = with_products(network, circuit, voltages, nudge.strength)
    deck = DeckSections(whole, np.zeros(0), options, DIALECTS[dialect])
    head = adjoint_header(network, nudge, currents, deck.dialect)
    lines = _lines(deck, head, currents, [*printed_nodes(network), *products])
    return "\n".join(deck.dialect.finished(lines)) + "\n"


def _lines(
    deck: DeckSections, head: Iterator[str], currents: list[NudgeCurrent], printed: list[np.ndarray]
) -> Iterator[str]:
    yield deck.writer.title_card()
    yield from head
    yield from deck.settings()
    yield from deck.libraries(None)
    yield from deck.elements()
    source = deck.dialect.element("v_phase", ("phase", "0"), "1.0")
    yield from deck.section("phase: 1 V, the drive is on", [source])
    title = "drive: currents out of each v- node into its v+ node, -beta dC/do, switched by v(phase)"
    yield from deck.section(title, nudge_cards(deck.circuit, currents, deck.dialect))
    names = deck.circuit.node_names
    tables = [[(names[node],) for node in nodes if node != GROUND] for nodes in printed]
    yield from deck.section("analysis: an operating point", deck.dialect.point("v_phase", "1", tables))
    yield deck.dialect.end()
