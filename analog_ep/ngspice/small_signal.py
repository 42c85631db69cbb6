"""The response to small currents into the outputs, by ngspice's `.ac` analysis of each sample."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from analog_ep.circuit import Circuit
from analog_ep.errors import NgspiceError, NgspiceResultError, StimulusError
from analog_ep.netlist.netlist import SpiceOptions
from analog_ep.ngspice.batch import run_parallel, run_twice
from analog_ep.ngspice.norton import NortonReduction
from analog_ep.ngspice.process import Stop, run_plots
from analog_ep.ngspice.sweep import Batch, Sweep


def small_signal_response(
    circuit: Circuit,
    inputs: np.ndarray,
    currents: np.ndarray,
    *,
    options: SpiceOptions | None = None,
    reduced: bool = False,
    executable: str | Path | None = None,
    timeout: float | None = 600.0,
    processes: int = 1,
) -> np.ndarray:
    """Response of every node to currents into the outputs, linearised at the operating point of each sample.

    The nudge is the source of an ``.ac`` analysis, which ngspice precedes by the operating point: the limit β → 0 of
    the response divided by β, free of the subtraction of two solutions. Capacitors are left out.

    Parameters
    ----------
    circuit : Circuit
        One that `check_circuit` accepts, with outputs.
    inputs : ndarray (n_samples, n_inputs)
        Inputs. [V]
    currents : ndarray (n_samples, n_outputs)
        Into v₊ and out of v₋ of each output. [A]
    options, executable, timeout
        See `SpiceOptions` and `run_ngspice`.
    reduced : bool
        Whether a `NortonReduction` is run in place of the circuit.
    processes : int
        Runs at a time.

    Returns
    -------
    ndarray (n_samples, n_nodes)
        Zero at nodes that sources hold. [V]

    Raises
    ------
    StimulusError
        If the circuit has no outputs.
    NgspiceError
        If ngspice fails in a sample, which the message names.
    """
    if circuit.outputs is None:
        raise StimulusError(f"a nudge needs outputs, found none in {circuit.title!r}; declare them with set_outputs")
    circuit = circuit.with_groups(group for group in circuit.groups if not group.is_open_at_rest)
    reduction = NortonReduction.of(circuit).without_amplifiers() if reduced else None
    response = _responses(Sweep(circuit, options, reduction, executable, timeout), inputs, currents, processes)
    if reduction is not None:
        reduction.folded.fill_changes(response)
    return response


def _responses(sweep: Sweep, inputs: np.ndarray, currents: np.ndarray, processes: int) -> np.ndarray:
    """The response of each sample, several runs at a time."""
    response = np.zeros((len(inputs), sweep.circuit.n_nodes))

    def solve(sample: int, stop: Stop) -> None:
        try:
            response[sample, sweep.free] = run_twice(lambda: _run(sweep, inputs[sample], currents[sample], stop))
        except NgspiceError as error:
            raise type(error)(f"sample {sample}: {error}") from None

    run_parallel(solve, range(len(inputs)), processes)
    return response


def _run(sweep: Sweep, inputs: np.ndarray, currents: np.ndarray, stop: Stop) -> np.ndarray:
    assert sweep.circuit.outputs is not None
    names, dialect, analyses = sweep.circuit.node_names, sweep.dialect, sweep.analyses
    cards = [
        dialect.element(f"iac_{i}", (names[n], names[p]), analyses.stimulus(current))
        for i, (p, n, current) in enumerate(zip(*sweep.circuit.outputs, currents, strict=True))
    ]
    deck = sweep.deck(Batch(inputs[None]), [*cards, analyses.small_signal()])
    plots = run_plots(deck, sweep.executable, sweep.timeout, stop)
    if len(plots) != 1 or plots[0].values.shape[0] != 1 or plots[0].values.dtype != np.complex128:
        raise NgspiceResultError(f"ngspice must return one complex point, found {len(plots)} plots; check the deck")
    return plots[0].columns(sweep.saved)[0].real
