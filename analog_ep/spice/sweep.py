"""A whole batch as one `.dc` over a sample index.

ngspice orders its matrix anew for every operating point, but in a `.dc` only for the first: sources that are
piecewise-linear in the index make a batch many times faster than one run a sample.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from analog_ep.circuit import GROUND, Circuit, VoltageSources
from analog_ep.circuit.energy import held_nodes
from analog_ep.errors import NgspiceResultError, StimulusError
from analog_ep.spice.netlist import NetlistWriter, SpiceOptions, number
from analog_ep.spice.nudge_cards import elastic_currents
from analog_ep.spice.process import run_ngspice
from analog_ep.stimulus import Nudge


def run_sweep(
    circuit: Circuit,
    inputs: np.ndarray,
    nudge: Nudge | None = None,
    frozen_currents: np.ndarray | None = None,
    options: SpiceOptions | None = None,
    executable: str | Path | None = None,
    timeout: float | None = 600.0,
) -> np.ndarray:
    """Voltages of all nodes for every sample, `(n_samples, n_nodes)`, from one run of ngspice. [V]

    Nodes that grounded independent sources hold are filled in; all others are ngspice's own.

    Parameters
    ----------
    circuit : Circuit
        One that `check_circuit` accepts.
    inputs : ndarray (n_samples, n_inputs)
        Inputs. Keep to a few thousand samples a run: ngspice 39 crashes at 200 000 points. [V]
    nudge : Nudge, optional
        An elastic one, with targets `(n_samples, n_outputs)`.
    frozen_currents : ndarray (n_samples, n_outputs), optional
        Constant currents into v₊ and out of v₋, in place of an elastic nudge. [A]
    options, executable, timeout
        See `SpiceOptions` and `run_ngspice`.

    Raises
    ------
    StimulusError
        If currents or targets do not fit the circuit's outputs.
    NgspiceError
        If ngspice fails, or its result must not be believed.
    """
    samples = len(inputs)
    voltages = _held_voltages(circuit, inputs)
    free = np.flatnonzero(~held_nodes(circuit))
    if not samples or not len(free):
        return voltages
    saved = [f"v({circuit.node_names[node]})" for node in free]
    deck = _deck(circuit, inputs, nudge, frozen_currents, options, saved)
    raw = run_ngspice(deck, samples, executable, timeout)
    if not np.array_equal(raw.columns(["v(v-sweep)"])[:, 0], np.arange(samples)):
        raise NgspiceResultError(f"ngspice must sweep the samples 0…{samples - 1} in order, found another sweep")
    voltages[:, free] = raw.columns(saved)
    return voltages


def _deck(
    circuit: Circuit,
    inputs: np.ndarray,
    nudge: Nudge | None,
    frozen_currents: np.ndarray | None,
    options: SpiceOptions | None,
    saved: list[str],
) -> str:
    writer = NetlistWriter(circuit, lambda group: _columns(group.source_values(inputs)), options)
    return "\n".join(
        [
            "* batch over a sample index",
            writer.options_card(),
            *writer.model_cards(),
            *writer.element_cards(),
            *_nudge_cards(circuit, nudge, frozen_currents),
            "vidx idx 0 0.0",
            f".dc vidx 0 {len(inputs) - 1} 1",
            f".save {' '.join(saved)}",
            ".end\n",
        ]
    )


def _nudge_cards(circuit: Circuit, nudge: Nudge | None, frozen_currents: np.ndarray | None) -> Iterator[str]:
    if nudge is None and frozen_currents is None:
        return
    if circuit.outputs is None:
        raise StimulusError(f"a nudge needs outputs, found none in {circuit.title!r}; declare them with set_outputs")
    if frozen_currents is not None:
        currents = [str(value) for value in _columns(frozen_currents)]
    else:
        assert nudge is not None
        currents = elastic_currents(circuit, nudge, [str(value) for value in _columns(nudge.target.numpy())])
    names = circuit.node_names
    for i, (p, n, current) in enumerate(zip(*circuit.outputs, currents, strict=True)):
        yield f"bnudge_{i} {names[n]} {names[p]} i={current}"


def _columns(values: np.ndarray) -> list[float | str]:
    return [_over_samples(column) for column in values.T]


def _over_samples(column: np.ndarray) -> float | str:
    """One number where all samples agree, otherwise an expression of the sample index."""
    if np.all(column == column[0]):
        return float(column[0])
    points = ",".join(f"{index},{number(value)}" for index, value in enumerate(column.tolist()))
    return f"pwl(v(idx),{points})"


def _held_voltages(circuit: Circuit, inputs: np.ndarray) -> np.ndarray:
    """Voltages of the nodes that grounded independent sources hold, NaN at the others."""
    voltages = np.full((len(inputs), circuit.n_nodes), np.nan)
    voltages[:, GROUND] = 0.0
    for group in circuit.of_kind(VoltageSources):
        values = group.source_values(inputs)
        up, down = group.negative == GROUND, group.positive == GROUND
        voltages[:, group.positive[up]] = values[:, up]
        voltages[:, group.negative[down]] = -values[:, down]
    return voltages
