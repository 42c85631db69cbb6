"""A netlist that a circuit designer runs with plain ``ngspice -b FILE``: one sample, free and nudged, no Python."""

from __future__ import annotations

import os
import tempfile
import textwrap
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from analog_ep.circuit import Branches, Circuit, check_circuit
from analog_ep.circuit.energy import held_nodes
from analog_ep.errors import NodeNameError, StimulusError
from analog_ep.resources import netlists_folder
from analog_ep.spice.deck_header import header
from analog_ep.spice.energy_cards import energy_cards
from analog_ep.spice.netlist import NetlistWriter, SpiceOptions, constant_drive
from analog_ep.spice.nudge_cards import NudgeCurrent, nudge_cards, nudge_currents
from analog_ep.spice.subcircuits import SubcircuitWriter
from analog_ep.stimulus import Nudge

Phase = Literal["free", "nudged", "both"]

_SWEEPS: dict[str, str] = {"free": "0 0 1", "nudged": "1 1 1", "both": "0 1 1"}
_WIDTH = 110


def write_deck(
    circuit: Circuit,
    inputs: Tensor | np.ndarray,
    nudge: Nudge | None = None,
    free_outputs: Tensor | np.ndarray | None = None,
    phase: Phase = "free",
    *,
    include_from: str | None = None,
    options: SpiceOptions | None = None,
) -> str:
    """Write one sample's circuit as a self-contained deck.

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

    Returns
    -------
    str
        Text of the deck.

    Raises
    ------
    CircuitError
        If the circuit has no equilibrium, see `check_circuit`, or no netlist can carry it.
    StimulusError
        If inputs, target or free outputs have the wrong shape or are missing.
    """
    if phase not in _SWEEPS:
        raise StimulusError(f'phase must be "free", "nudged" or "both", found {phase!r}')
    if phase != "free" and nudge is None:
        raise StimulusError(f"the phase {phase!r} needs a nudge, found none; give one, or write the free phase")
    check_circuit(circuit)
    sample = _sample(circuit, inputs)
    currents = [] if nudge is None or phase == "free" else nudge_currents(circuit, nudge, _array(free_outputs))
    deck = _Deck(circuit, sample, options)
    lines = [
        deck.writer.title_card(),
        *header(circuit, sample, nudge, currents, phase),
        *deck.settings(),
        *deck.libraries(include_from),
        *deck.elements(),
        *deck.nudge(currents),
        *deck.energy(currents),
        *_analysis(circuit, phase, deck.has_energy),
        ".end",
    ]
    return "\n".join(lines) + "\n"


def save_deck(deck: str, path: Path | str) -> None:
    """Write a deck to a file, whole or not at all: a file that was there stays until the new one is complete."""
    path = Path(path)
    handle, draft = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "w", encoding="ascii") as file:
            file.write(deck)
        os.chmod(draft, 0o644)
        os.replace(draft, path)
    except BaseException:
        os.unlink(draft)
        raise


class _Deck:
    """The sections of a deck between its header and its analysis."""

    def __init__(self, circuit: Circuit, sample: np.ndarray, options: SpiceOptions | None):
        self.circuit = circuit
        self.writer = NetlistWriter(circuit, constant_drive(sample), options)
        self.subcircuits = SubcircuitWriter(circuit)
        self.has_energy = False
        # Models of the diodes that the library holds would stand in the deck unused.
        flat = circuit.with_groups(group for group in circuit.groups if not self.subcircuits.writes(group))
        self._flat = NetlistWriter(flat, constant_drive(sample), replace(self.writer.options, gmin=self.writer.gmin))

    def settings(self) -> Iterator[str]:
        # .options cannot set the digits that ngspice 39 prints; other simulators read the line as a comment.
        yield "*#set numdgt=9"
        yield ".width out=132"
        yield self.writer.options_card()

    def libraries(self, include_from: str | None) -> Iterator[str]:
        for file, used in self.subcircuits.libraries().items():
            yield ""
            if include_from is None:
                yield _used_part((netlists_folder() / file).read_text(encoding="ascii"), used)
            else:
                yield f".include {_folder(include_from)}{file}"

    def elements(self) -> Iterator[str]:
        if models := self._flat.model_cards():
            yield from _section("diode models", models)
        for group in self.circuit.groups:
            instances = self.subcircuits.writes(group)
            cards = list(self.subcircuits.group_cards(group) if instances else self._flat.group_cards(group))
            yield from _section(_describe(group, cards), cards)

    def nudge(self, currents: list[NudgeCurrent]) -> Iterator[str]:
        yield from _section("phase: 0 V free, 1 V nudged", ["v_phase phase 0 0.0"])
        if currents:
            title = "nudge: currents out of each v- node into its v+ node, switched by v(phase)"
            yield from _section(title, nudge_cards(self.circuit, currents))

    def energy(self, currents: list[NudgeCurrent]) -> Iterator[str]:
        energy = energy_cards(self.writer, currents)
        self.has_energy = bool(energy.cards)
        if self.has_energy:
            title = "energy: v(energy) in volts is E in watts, without the nudge's own term (Tellegen's theorem)"
            yield from _section(title, energy.cards)
        else:
            yield from _section(f"no energy is printed: {energy.reason}", [])


def _used_part(library: str, used: set[str]) -> str:
    """Head of a library and the subcircuits named in `used`; blank lines separate them in the file."""
    head, *subcircuits = library.strip().split("\n\n")
    return "\n\n".join([head, *(text for text in subcircuits if used & set(text.split()))])


def _section(title: str, cards: Iterable[str]) -> Iterator[str]:
    yield ""
    yield f"* {title}"
    yield from cards


def _describe(group: Branches, cards: list[str]) -> str:
    kind = "".join(f" {c.lower()}" if c.isupper() else c for c in type(group).__name__).strip()
    elsewhere = ", each part of the other side's clamp_between" if len(group) and not cards else ""
    return f"{group.label}: {len(group)} {kind if len(group) != 1 else kind.removesuffix('s')}{elsewhere}"


def _analysis(circuit: Circuit, phase: Phase, has_energy: bool) -> Iterator[str]:
    yield from _section("analysis: a row a phase", [f".dc v_phase {_SWEEPS[phase]}"])
    names = circuit.node_names
    if has_energy:
        yield ".print dc v(energy)"
    if circuit.outputs is not None:
        yield from _print_card([f"v({names[p]},{names[n]})" for p, n in zip(*circuit.outputs, strict=True)])
    for nodes in _printed_nodes(circuit):
        yield from _print_card([f"v({names[node]})" for node in nodes])


def _printed_nodes(circuit: Circuit) -> list[np.ndarray]:
    if circuit.layers:
        return list(circuit.layers.values())
    free = np.flatnonzero(~held_nodes(circuit))
    return [free] if len(free) else []


def _print_card(vectors: list[str]) -> Iterator[str]:
    yield from textwrap.wrap(" ".join(vectors), _WIDTH, initial_indent=".print dc ", subsequent_indent="+ ")


def _folder(folder: str) -> str:
    if not all(c.isascii() and (c.isalnum() or c in "/._-") for c in folder):
        raise NodeNameError(f"include_from may hold letters, digits and /._- only, found {folder!r}; use a plain path")
    return folder if folder.endswith("/") or not folder else f"{folder}/"


def _array(values: Tensor | np.ndarray | None) -> np.ndarray | None:
    return None if values is None else torch.as_tensor(values).detach().to("cpu", torch.float64).numpy()


def _sample(circuit: Circuit, inputs: Tensor | np.ndarray) -> np.ndarray:
    sample = _array(inputs)
    assert sample is not None
    if sample.shape != (circuit.n_inputs,):
        raise StimulusError(
            f"a deck holds one sample: inputs must have shape ({circuit.n_inputs},), found {sample.shape}"
        )
    if not np.isfinite(sample).all():
        raise StimulusError("inputs must be finite, found NaN or infinity")
    return sample
