"""Free states of several samples as one deck: a row a sample."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator

import numpy as np
from torch import Tensor

from analog_ep.circuit import Circuit, check_circuit
from analog_ep.errors import StimulusError
from analog_ep.netlist.deck import as_array, output_table
from analog_ep.netlist.deck_header import samples_header
from analog_ep.netlist.deck_sections import DeckSections
from analog_ep.netlist.dialects import NGSPICE
from analog_ep.netlist.netlist import SpiceOptions
from analog_ep.netlist.texts import number

_WIDTH = 100


def write_samples_deck(
    circuit: Circuit,
    inputs: Tensor | np.ndarray,
    targets: Tensor | np.ndarray | None = None,
    *,
    include_from: str | None = None,
    options: SpiceOptions | None = None,
) -> str:
    """Text of a circuit as an ngspice deck that shows it samples in turn, and prints its outputs, a row a sample.

    The deck sweeps a source v_sample over the samples' numbers, and the inputs follow it by a table. No phase is
    nudged, and nothing changes: it shows what was learnt.

    Parameters
    ----------
    circuit : Circuit
        With outputs.
    inputs : Tensor or ndarray (n_samples, n_inputs)
        Samples. [V]
    targets : Tensor or ndarray (n_samples, n_targets), optional
        What the outputs should be, for the deck's header. [V], or one-hot
    include_from, options
        See `write_deck`.

    Raises
    ------
    CircuitError
        If the circuit has no equilibrium, see `check_circuit`.
    StimulusError
        If shapes do not fit, there is no sample, or the circuit has no outputs.
    """
    check_circuit(circuit)
    samples, wanted = _samples(circuit, inputs), as_array(targets)
    if wanted is not None and (wanted.ndim != 2 or len(wanted) != len(samples)):
        raise StimulusError(f"targets must be ({len(samples)}, n_targets), found {wanted.shape}")
    deck = DeckSections(circuit, samples[0], options, NGSPICE)
    lines = [
        deck.writer.title_card(),
        *samples_header(circuit, samples, wanted, NGSPICE),
        *deck.settings(),
        *deck.libraries(include_from),
        *deck.elements(deck.driven_sources(samples, _source)),
        *_analysis(deck, len(samples)),
        NGSPICE.end(),
    ]
    return "\n".join(lines) + "\n"


def _samples(circuit: Circuit, inputs: Tensor | np.ndarray) -> np.ndarray:
    samples = as_array(inputs)
    assert samples is not None
    if samples.ndim != 2 or samples.shape[-1] != circuit.n_inputs or not len(samples):
        raise StimulusError(f"inputs must be (n_samples, {circuit.n_inputs}), found {samples.shape}")
    if circuit.outputs is None:
        raise StimulusError("a deck of samples prints outputs, found a circuit that has none; set them")
    return samples


def _source(name: str, ends: tuple[str, str], values: np.ndarray) -> str:
    """A source that follows the sample's number; in two parts, since others may sense its current by its name."""
    positive, negative = ends
    if np.ptp(values) == 0:
        return f"{name} {positive} {negative} {number(values[0])}"
    points = ", ".join(f"{sample}, {number(value)}" for sample, value in enumerate(values))
    table = f"b_{name} table_{name} {negative} V=pwl(v(sample), {points})"
    wrapped = textwrap.wrap(table, _WIDTH, subsequent_indent="+ ", break_long_words=False)
    return "\n".join([f"{name} {positive} table_{name} 0", *wrapped])


def _analysis(deck: DeckSections, n_samples: int) -> Iterator[str]:
    yield from deck.section("the number of the sample", [deck.dialect.element("v_sample", ("sample", "0"), "0")])
    sweep = deck.dialect.sweep("v_sample", f"0 {max(n_samples - 1, 0)} 1", [output_table(deck.circuit)])
    yield from deck.section("analysis: a row a sample, which is v-sweep", sweep)
