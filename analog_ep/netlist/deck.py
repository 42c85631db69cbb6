"""A netlist that a circuit designer runs with the simulator alone: one sample, free and nudged, no Python."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from analog_ep.circuit import GROUND, Circuit, check_circuit
from analog_ep.circuit.energy import held_nodes
from analog_ep.errors import StimulusError
from analog_ep.netlist.deck_header import header
from analog_ep.netlist.deck_sections import DeckSections
from analog_ep.netlist.dialects import DIALECTS, DialectName
from analog_ep.netlist.energy_cards import EnergyCards, energy_cards
from analog_ep.netlist.netlist import SpiceOptions
from analog_ep.netlist.nudge_cards import NudgeCurrent, nudge_cards, nudge_currents
from analog_ep.netlist.texts import number
from analog_ep.stimulus import Nudge
from analog_ep.support.files import write_atomically

Phase = Literal["free", "nudged", "both"]

_SWEEPS: dict[str, str] = {"free": "0 0 1", "nudged": "1 1 1", "both": "0 1 1"}


def write_deck(
    circuit: Circuit,
    inputs: Tensor | np.ndarray,
    nudge: Nudge | None = None,
    free_outputs: Tensor | np.ndarray | None = None,
    phase: Phase = "free",
    *,
    include_from: str | None = None,
    options: SpiceOptions | None = None,
    dialect: DialectName = "ngspice",
    start: np.ndarray | None = None,
) -> str:
    """Text of one sample's circuit as a self-contained deck.

    The deck sweeps a source v_phase, 0 V for the free and 1 V for the nudged phase, and prints a row a phase: the
    energy (where the circuit has one), the differential outputs, and the voltages of the circuit's layers; where it
    has no layers, those of all nodes that no source holds.

    Parameters
    ----------
    circuit : Circuit
        Any circuit.
    inputs : Tensor or ndarray (n_inputs,)
        Inputs of one sample. [V]
    nudge : Nudge, optional
        With a target `(n_outputs,)`; needed for the phases "nudged" and "both", and left out of the phase "free".
    free_outputs : Tensor or ndarray (n_outputs,), optional
        Differential outputs of the free phase, from which a frozen nudge takes its currents. [V]
    phase : "free", "nudged" or "both"
        What the deck solves.
    include_from : str, optional
        Folder of the subcircuit libraries, as the deck should name it in ``.include``; None writes them into the deck.
    options : SpiceOptions, optional
        Tolerances; the defaults resolve responses to a nudge.
    dialect : str
        The simulator to write for, see `DIALECTS`. The energy and the library are ngspice's alone; the others get
        amplifiers and diodes as elements.
    start : ndarray (n_nodes,), optional
        Voltages at which the search for the first phase begins, for a circuit with several equilibria. [V]

    Raises
    ------
    CircuitError
        If the circuit has no equilibrium, see `check_circuit`, or no netlist of the dialect can carry it.
    StimulusError
        If inputs, target or free outputs have the wrong shape or are missing.
    """
    _require_possible(circuit, phase, nudge, dialect)
    deck = DeckSections(circuit, one_sample(circuit, inputs), options, DIALECTS[dialect])
    lines = _lines(deck, nudge, as_array(free_outputs), phase, include_from, start)
    return "\n".join(deck.dialect.finished(lines)) + "\n"


def _require_possible(circuit: Circuit, phase: str, nudge: Nudge | None, dialect: str) -> None:
    if phase not in _SWEEPS:
        raise StimulusError(f'phase must be "free", "nudged" or "both", found {phase!r}')
    if phase != "free" and nudge is None:
        raise StimulusError(f"the phase {phase!r} needs a nudge, found none; give one, or write the free phase")
    if dialect not in DIALECTS:
        raise StimulusError(f"dialect must be one of {', '.join(DIALECTS)}, found {dialect!r}")
    check_circuit(circuit)


def _lines(
    deck: DeckSections,
    nudge: Nudge | None,
    free_outputs: np.ndarray | None,
    phase: Phase,
    include_from: str | None,
    start: np.ndarray | None,
) -> Iterator[str]:
    currents = [] if nudge is None or phase == "free" else nudge_currents(deck.circuit, nudge, free_outputs)
    energy = energy_cards(deck.writer, currents) if deck.dialect.has_energy else None
    yield deck.writer.title_card()
    yield from header(deck.circuit, deck.sample, nudge, currents, phase, deck.dialect)
    yield from deck.settings()
    yield from deck.libraries(include_from)
    yield from deck.elements()
    yield from _nudge(deck, currents)
    yield from _energy(deck, energy)
    yield from _start(deck, start)
    yield from _analysis(deck, phase, energy is not None and bool(energy.cards))
    yield deck.dialect.end()


def save_deck(deck: str, path: Path | str) -> None:
    """Write a deck to a file, whole or not at all: a file that was there stays until the new one is complete."""
    write_atomically(Path(path), deck.encode("ascii"))


def _nudge(deck: DeckSections, currents: list[NudgeCurrent]) -> Iterator[str]:
    source = deck.dialect.element("v_phase", ("phase", "0"), "0.0")
    yield from deck.section("phase: 0 V free, 1 V nudged", [source])
    if currents:
        title = "nudge: currents out of each v- node into its v+ node, switched by v(phase)"
        yield from deck.section(title, nudge_cards(deck.circuit, currents, deck.dialect))


def _energy(deck: DeckSections, energy: EnergyCards | None) -> Iterator[str]:
    if energy is None:
        return
    if energy.cards:
        title = "energy: v(energy) in volts is E in watts, without the nudge's own term (Tellegen's theorem)"
        yield from deck.section(title, energy.cards)
    else:
        yield from deck.section(f"no energy is printed: {energy.reason}", [])


def _start(deck: DeckSections, start: np.ndarray | None) -> Iterator[str]:
    if start is None:
        return
    names = deck.circuit.node_names
    nodes = np.concatenate(printed_nodes(deck.circuit))
    cards = deck.dialect.nodeset(
        [(names[node], number(volts)) for node, volts in zip(nodes, start[nodes], strict=True)]
    )
    yield from deck.section("where the search for the first phase begins: there may be other equilibria", cards)


def _analysis(deck: DeckSections, phase: Phase, has_energy: bool) -> Iterator[str]:
    names = deck.circuit.node_names
    tables: list[list[tuple[str, ...]]] = [[("energy",)]] if has_energy else []
    if deck.circuit.outputs is not None:
        tables.append(output_table(deck.circuit))
    tables += [[(names[node],) for node in nodes] for nodes in printed_nodes(deck.circuit)]
    yield from deck.section("analysis: a row a phase", deck.dialect.sweep("v_phase", _SWEEPS[phase], tables))


def output_table(circuit: Circuit) -> list[tuple[str, ...]]:
    """Nodes of each output, of a circuit that has some."""
    assert circuit.outputs is not None
    names = circuit.node_names
    # A difference with ground is the node's own voltage, and ngspice cannot print it as v(a,0).
    return [(names[p], names[n]) if n != GROUND else (names[p],) for p, n in zip(*circuit.outputs, strict=True)]


def printed_nodes(circuit: Circuit) -> list[np.ndarray]:
    """The circuit's layers; without them all nodes that no source holds."""
    if circuit.layers:
        return list(circuit.layers.values())
    free = np.flatnonzero(~held_nodes(circuit))
    return [free] if len(free) else []


def as_array(values: Tensor | np.ndarray | None) -> np.ndarray | None:
    """In float64 on the CPU."""
    return None if values is None else torch.as_tensor(values).detach().to("cpu", torch.float64).numpy()


def one_sample(circuit: Circuit, inputs: Tensor | np.ndarray) -> np.ndarray:
    """The inputs of one sample `(n_inputs,)` [V], or `StimulusError`."""
    sample = as_array(inputs)
    assert sample is not None
    if sample.shape != (circuit.n_inputs,):
        raise StimulusError(
            f"a deck holds one sample: inputs must have shape ({circuit.n_inputs},), found {sample.shape}"
        )
    if not np.isfinite(sample).all():
        raise StimulusError("inputs must be finite, found NaN or infinity")
    return sample
