"""A netlist in which one sample settles from rest, first free and then nudged: plain ngspice, no Python."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from torch import Tensor

from analog_ep.circuit import ChargeLaw, Circuit, check_circuit
from analog_ep.errors import StimulusError
from analog_ep.netlist.deck import as_array, one_sample, printed_nodes
from analog_ep.netlist.deck_header import settling_header
from analog_ep.netlist.deck_sections import DeckSections
from analog_ep.netlist.dialects import DIALECTS, DialectName, transients_of
from analog_ep.netlist.netlist import SpiceOptions
from analog_ep.netlist.nudge_cards import NudgeCurrent, nudge_cards, nudge_currents
from analog_ep.netlist.timing import SETTLING_STEPS, SETTLING_TRTOL
from analog_ep.stimulus import Nudge

_EDGE = 1e-4
"""Time in which the nudge is switched on, of a phase."""


def write_settling_deck(
    circuit: Circuit,
    inputs: Tensor | np.ndarray,
    nudge: Nudge | None = None,
    free_outputs: Tensor | np.ndarray | None = None,
    *,
    duration: float,
    include_from: str | None = None,
    options: SpiceOptions | None = None,
    dialect: DialectName = "ngspice",
) -> str:
    """Write one sample's circuit as it settles, every capacitor discharged at first.

    Plain ``ngspice -b FILE`` prints ``free_<node>`` and ``nudged_<node>`` [V] for the nodes of the layers: what the
    free phase comes to, and what the nudged phase comes to from there. Nothing that a solver found stands in the deck,
    but for the currents of a frozen nudge.

    Parameters
    ----------
    circuit : Circuit
        With capacitors.
    inputs : Tensor or ndarray (n_inputs,)
        Inputs of one sample. [V]
    nudge : Nudge, optional
        With a target `(n_outputs,)`; without one the deck holds the free phase.
    free_outputs : Tensor or ndarray (n_outputs,), optional
        Outputs of the free phase, from which a frozen nudge takes its currents. [V]
    duration : float
        Of each phase, long enough to settle: the deck cannot know. [s]
    include_from, options
        See `write_deck`.
    dialect : str
        The simulator to write for, one of `with_transients`.

    Raises
    ------
    CircuitError
        If the circuit has no equilibrium, see `check_circuit`, no netlist can carry it, or the dialect has no
        transients.
    StimulusError
        If inputs, target or free outputs have the wrong shape or are missing, the circuit has no capacitors, or the
        duration is not positive.
    """
    check_circuit(circuit)
    transients_of(DIALECTS[dialect])
    if not circuit.of_kind(ChargeLaw):
        raise StimulusError(f"settling needs capacitors, found none in {circuit.title!r}; add Capacitors")
    if not 0 < duration < float("inf"):
        raise StimulusError(f"a phase needs a positive duration, found {duration} s")
    sample = one_sample(circuit, inputs)
    currents = [] if nudge is None else nudge_currents(circuit, nudge, as_array(free_outputs))
    deck = DeckSections(circuit, sample, options, DIALECTS[dialect])
    head = settling_header(circuit, sample, nudge, currents, duration, deck.dialect)
    body = _body(deck, None if nudge is None else currents, duration, include_from)
    return "\n".join(deck.dialect.finished([deck.writer.title_card(), *head, *body])) + "\n"


def _body(
    deck: DeckSections, currents: list[NudgeCurrent] | None, duration: float, include_from: str | None
) -> Iterator[str]:
    """All that follows the header; without currents the free phase alone."""
    yield from deck.settings()
    yield transients_of(deck.dialect).integration(SETTLING_TRTOL)
    yield from deck.libraries(include_from)
    yield from deck.elements()
    if currents is not None:
        yield from _nudge(deck, currents, duration)
    yield from _analysis(deck, duration, currents is not None)
    yield deck.dialect.end()


def _nudge(deck: DeckSections, currents: list[NudgeCurrent], duration: float) -> Iterator[str]:
    rise = transients_of(deck.dialect).corners([(0, 0), (duration, 0), ((1 + _EDGE) * duration, 1)])
    source = deck.dialect.waveform("v_phase", ("phase", "0"), rise)
    yield from deck.section("phase: 0 V free, 1 V nudged", [source])
    title = "nudge: currents into the outputs, switched by v(phase)"
    yield from deck.section(title, nudge_cards(deck.circuit, currents, deck.dialect))


def _analysis(deck: DeckSections, duration: float, nudged: bool) -> Iterator[str]:
    transients = transients_of(deck.dialect)
    times = {"free": duration, **({"nudged": 2 * duration} if nudged else {})}
    # ngspice measures within the interval only: it goes on for a step.
    step, end = duration / SETTLING_STEPS, max(times.values()) + duration / SETTLING_STEPS
    yield from deck.section("analysis", [transients.transient(step, end, from_start=True)])
    for name, at in times.items():
        for node in np.concatenate(printed_nodes(deck.circuit)):
            vector = deck.circuit.node_names[node]
            yield transients.measured(f"{name}_{vector}", f"v({vector})", at)
