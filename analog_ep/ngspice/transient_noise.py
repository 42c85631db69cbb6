"""Circuits under white noise currents in ngspice's `.tran`, free and nudged ones under the same noise."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from analog_ep.circuit import ChargeLaw, Circuit, NoiseCurrents, check_circuit
from analog_ep.circuit.copies import copies
from analog_ep.errors import StimulusError
from analog_ep.netlist.dialects import Dialect
from analog_ep.netlist.netlist import SpiceOptions
from analog_ep.netlist.noise_cards import noise_cards
from analog_ep.netlist.nudge_cards import current_cards, elastic_currents
from analog_ep.netlist.texts import number
from analog_ep.ngspice.batch import run_twice
from analog_ep.ngspice.noisy_lock_in import rows_at_intervals
from analog_ep.ngspice.process import run_plots
from analog_ep.ngspice.sweep import Batch, Sweep
from analog_ep.stimulus import Nudge

_OPTIONS = SpiceOptions(reltol=1e-4, vntol=1e-9, abstol=1e-13)
"""Errors of a step are small against the noise, and ngspice makes at least four steps an interval."""


@dataclass(frozen=True, eq=False)
class NoisyTransient:
    """Node voltages at the ends of the intervals.

    Attributes
    ----------
    voltages : ndarray (n_times, n_phases, n_copies, n_nodes)
        Ground first. [V]
    interval : float
        From one time to the next. [s]
    """

    voltages: np.ndarray
    interval: float


def transient_noise(
    circuit: Circuit,
    inputs: np.ndarray,
    noise: Callable[[Circuit], NoiseCurrents],
    *,
    interval: float,
    samples: int,
    burn_in: int = 0,
    n_copies: int = 32,
    nudges: Sequence[Nudge | None] = (None,),
    seed: int = 1,
    options: SpiceOptions | None = None,
    executable: str | Path | None = None,
    timeout: float | None = 600.0,
) -> NoisyTransient:
    """Follow copies of a circuit under noise of their own; each phase of a copy sees the same noise.

    At the ends of the intervals a linear mode of rate 1/τ has the variance of white noise but for the factor
    tanh(x)/x ≈ 1 − x²/3, x = interval/(2τ).

    Parameters
    ----------
    circuit : Circuit
        With capacitors, see `with_node_capacitance`.
    inputs : ndarray (n_inputs,)
        Inputs of the sample. [V]
    noise : callable
        Gives the noise currents of a circuit, such as `johnson_currents`.
    interval : float
        Over which the currents are constant. [s]
    samples, burn_in : int
        Intervals that are given out, and those before them, which are not.
    n_copies : int
        Copies with independent noise; they make ngspice's overhead for each step small.
    nudges : sequence of Nudge or None
        The phases: None for the free one, otherwise an elastic nudge with a target `(n_outputs,)`.
    seed : int
        Of ngspice's random numbers; positive.
    options, executable, timeout
        See `SpiceOptions` and `run_ngspice`.

    Raises
    ------
    StimulusError
        If the circuit has no capacitors, a count is not positive, or a nudge is frozen.
    CircuitError
        See `check_circuit`.
    NgspiceError
        If ngspice fails.
    """
    if not circuit.of_kind(ChargeLaw):
        raise StimulusError(f"transient noise needs capacitors, found none in {circuit.title!r}")
    if min(samples, n_copies, len(nudges)) < 1 or burn_in < 0:
        raise StimulusError(f"samples, copies and phases must be positive, found {samples}, {n_copies}, {len(nudges)}")
    check_circuit(circuit)
    run = _Run(circuit, np.asarray(inputs, dtype=np.float64), noise, list(nudges), n_copies)
    deck = run.deck(_OPTIONS if options is None else options, interval, burn_in + samples, seed, executable)
    (plot,) = run_twice(lambda: run_plots(deck, executable, timeout))
    rows = rows_at_intervals(plot, interval, burn_in + samples)
    return NoisyTransient(run.voltages(plot.columns(run.saved)[rows[burn_in + 1 :]]), interval)


class _Run:
    """One deck of copies × phases of a circuit."""

    def __init__(
        self,
        circuit: Circuit,
        inputs: np.ndarray,
        noise: Callable[[Circuit], NoiseCurrents],
        nudges: list[Nudge | None],
        n_copies: int,
    ):
        self.circuit, self.inputs, self.nudges, self.n_copies = circuit, inputs, nudges, n_copies
        self.whole = copies(circuit, n_copies * len(nudges))
        self._currents = noise(copies(circuit, n_copies))
        self.sweep: Sweep | None = None

    def deck(
        self, options: SpiceOptions, interval: float, n_intervals: int, seed: int, executable: str | Path | None
    ) -> str:
        """The text, with currents that are new in each interval."""
        self.sweep = sweep = Sweep(self.whole, options, executable=executable)
        phases = [self._phase(i) for i in range(len(self.nudges))]
        cards = [*noise_cards(phases, [self._currents] * len(phases), interval, seed, sweep.dialect)]
        for i, (phase, nudge) in enumerate(zip(phases, self.nudges, strict=True)):
            cards += [] if nudge is None else self._nudge_cards(i, phase, nudge, sweep.dialect)
        cards.append(sweep.analyses.transient(interval, n_intervals * interval))
        return sweep.deck(Batch(self.inputs[None]), cards)

    def _phase(self, i: int) -> Circuit:
        """The nodes of the copies in phase i, in the order of a circuit that holds these copies alone."""
        own = (self.whole.n_nodes - 1) // len(self.nudges)
        names = self.whole.node_names[1 + i * own : 1 + (i + 1) * own]
        first = copies(self.circuit, self.n_copies)
        return replace(first, node_names=(self.whole.node_names[0], *names))

    def _nudge_cards(self, i: int, phase: Circuit, nudge: Nudge, dialect: Dialect) -> list[str]:
        if nudge.kind != "elastic":
            raise StimulusError("a nudge under noise must be elastic, to follow the fluctuating outputs; found frozen")
        assert phase.outputs is not None
        n_outputs = len(phase.outputs[0]) // self.n_copies
        targets = [number(y) for y in nudge.target.double().tolist()]
        cards = []
        for k in range(self.n_copies):
            part = slice(k * n_outputs, (k + 1) * n_outputs)
            outputs = (phase.outputs[0][part], phase.outputs[1][part])
            expressions = elastic_currents(replace(phase, outputs=outputs), nudge, targets)
            pairs = zip(*outputs, strict=True)
            cards += current_cards(phase.node_names, pairs, expressions, f"b_nudge_{i}_{k}", dialect)
        return cards

    @property
    def saved(self) -> list[str]:
        """Ngspice's vectors."""
        assert self.sweep is not None
        return self.sweep.saved

    def voltages(self, saved: np.ndarray) -> np.ndarray:
        """Voltages of every copy's nodes, held ones included, from those saved."""
        assert self.sweep is not None
        whole = np.empty((len(saved), self.whole.n_nodes))
        whole[:, self.sweep.free] = saved
        whole[:, ~np.isin(np.arange(self.whole.n_nodes), self.sweep.free)] = self.sweep.held(Batch(self.inputs[None]))
        own = whole[:, 1:].reshape(len(saved), len(self.nudges), self.n_copies, self.circuit.n_nodes - 1)
        return np.concatenate([np.zeros((*own.shape[:-1], 1)), own], axis=-1)
