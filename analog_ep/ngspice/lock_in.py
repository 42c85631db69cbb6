"""A circuit under a slow sinusoidal nudge in ngspice's `.tran`, read out as a lock-in amplifier does."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from analog_ep.circuit import ChargeLaw, Circuit, check_circuit
from analog_ep.errors import NgspiceError, StimulusError
from analog_ep.netlist.netlist import SpiceOptions
from analog_ep.ngspice.batch import run_parallel, run_twice
from analog_ep.ngspice.process import Stop, run_plots
from analog_ep.ngspice.raw import RawFile
from analog_ep.ngspice.sweep import Batch, Sweep

_STEPS = 1024
"""Most of a period's time that ngspice may step over, as 1 in so many: the trapezoidal rule is then off by 3e-6."""

_MOST_LAG = 0.1
"""Most of a response that may lag by a quarter of a period: what is in phase is then off by its square, 1 %."""

_ROUNDING = 1e-5
"""Amplitude, relative to the largest voltage, below which a lag is ngspice's own error."""

_OPTIONS = SpiceOptions(reltol=1e-6, vntol=1e-10, abstol=1e-14)


@dataclass(frozen=True, eq=False)
class LockIn:
    """Node voltages over the last period.

    Attributes
    ----------
    circuit : Circuit
        What was nudged.
    voltages : ndarray (n_phases, n_nodes)
        At equidistant phases θ of a period from 0, ground first. [V]
    """

    circuit: Circuit
    voltages: np.ndarray

    def phasor(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Mean of each node, and amplitudes of what goes as cos and as sin 2πft, each `(n_nodes,)`. [V]"""
        angles = 2 * math.pi * np.arange(len(self.voltages)) / len(self.voltages)
        cosine, sine = (2 / len(angles) * wave(angles) @ self.voltages for wave in (np.cos, np.sin))
        return self.voltages.mean(axis=0), cosine, sine

    def harmonics(self, highest: int) -> dict[str, np.ndarray]:
        """In-phase harmonics c_0 … c_K of ½ v² of every trainable conductance, `(K + 1, n_parameters)`. [V²]

        Values of elements that share a parameter add up.
        """
        angles = 2 * math.pi * np.arange(len(self.voltages)) / len(self.voltages)
        reference = np.cos(np.arange(highest + 1)[:, None] * angles) * 2 / len(angles)
        reference[0] /= 2
        result: dict[str, np.ndarray] = {}
        groups = self.circuit.trained_groups()
        for _, parameter, index in groups:
            size = max(int(index.max(initial=-1)) + 1, result[parameter].shape[1] if parameter in result else 0)
            result[parameter] = np.zeros((highest + 1, size))
        for group, parameter, index in groups:
            first, second = group.ends()
            across = self.voltages[:, first] - self.voltages[:, second]
            np.add.at(result[parameter].T, index, (reference @ (0.5 * across**2)).T)
        return result


def lock_in(
    circuit: Circuit,
    inputs: np.ndarray,
    amplitudes: np.ndarray,
    frequency: float,
    *,
    phases: int = 256,
    options: SpiceOptions = _OPTIONS,
    executable: str | Path | None = None,
    timeout: float | None = 600.0,
    stop: Stop | None = None,
) -> LockIn:
    """Drive the outputs with currents I cos 2πft, over one period to settle and one to read.

    Parameters
    ----------
    circuit : Circuit
        With outputs and capacitors, see `with_node_capacitance`.
    inputs : ndarray (n_inputs,)
        Inputs of the sample. [V]
    amplitudes : ndarray (n_outputs,)
        I: the current into v₊ and out of v₋ at phase 0. [A]
    frequency : float
        f; slow against the circuit's time constants τ. In-phase harmonics are off by O((2πkfτ)²). [Hz]
    phases : int
        Phases of a period at which the voltages are given; twice the highest harmonic of ½ v² or more.
    options, executable, timeout, stop
        See `SpiceOptions` and `run_ngspice`.

    Raises
    ------
    StimulusError
        If there are no outputs or capacitors, or other amplitudes, or the frequency is not positive.
    NgspiceError
        If ngspice fails.
    """
    pairs = nudged_pairs(circuit, amplitudes, frequency)
    check_circuit(circuit)
    names, period = circuit.node_names, 1 / frequency
    sweep = Sweep(circuit, options, executable=executable, timeout=timeout)
    cards = [
        sweep.dialect.element(f"i_nudge_{i}", (names[n], names[p]), sweep.analyses.cosine(a, frequency))
        for i, ((p, n), a) in enumerate(zip(pairs, amplitudes, strict=True))
    ]
    cards.append(sweep.analyses.transient(period / _STEPS, 2 * period))
    batch = Batch(np.asarray(inputs, dtype=np.float64)[None])
    (plot,) = run_twice(lambda: run_plots(sweep.deck(batch, cards), executable, timeout, stop))
    return LockIn(circuit, _read(plot, sweep, batch, period * (1 + np.arange(phases) / phases)))


def lock_in_samples(
    circuit: Circuit,
    inputs: np.ndarray,
    amplitudes: np.ndarray,
    frequency: float,
    *,
    executable: str | Path | None = None,
    timeout: float | None = 600.0,
    processes: int = 1,
) -> tuple[np.ndarray, np.ndarray]:
    """Means and in-phase amplitudes of all nodes, each `(n_samples, n_nodes)` [V], from a `lock_in` of each sample.

    Parameters
    ----------
    circuit, frequency, executable, timeout
        As for `lock_in`.
    inputs, amplitudes : ndarray (n_samples, n_inputs), (n_samples, n_outputs)
        Of each sample. [V], [A]
    processes : int
        Runs at a time.

    Raises
    ------
    StimulusError
        See `lock_in`; also where nodes respond with a lag: where what goes as sin 2πft is more than a tenth of what
        goes as cos 2πft, both over all nodes.
    NgspiceError
        If ngspice fails in a sample, which the message names.
    """
    found, run = np.empty((2, len(inputs), circuit.n_nodes)), partial(lock_in, executable=executable, timeout=timeout)

    def read(sample: int, stop: Stop) -> None:
        try:
            reading = run(circuit, inputs[sample], amplitudes[sample], frequency, stop=stop)
        except NgspiceError as error:
            raise type(error)(f"sample {sample}: {error}") from None
        found[0, sample], found[1, sample], lagging = reading.phasor()
        _require_in_phase(found[1, sample], lagging, frequency, _ROUNDING * float(np.abs(found[0, sample]).max()))

    run_parallel(read, range(len(inputs)), processes)
    return found[0], found[1]


def _require_in_phase(leading: np.ndarray, lagging: np.ndarray, frequency: float, least: float) -> None:
    late, amplitude = float(np.linalg.norm(lagging)), float(np.linalg.norm(leading))
    if late > max(_MOST_LAG * amplitude, least):
        degrees = math.degrees(math.atan2(late, amplitude))
        raise StimulusError(
            f"all nodes must follow a sinusoidal nudge in phase, found a lag of {degrees:.0f}° at {frequency:.3g} Hz "
            f"in ngspice; use a frequency of at most {frequency * _MOST_LAG * amplitude / late:.1e} Hz"
        )


def nudged_pairs(circuit: Circuit, amplitudes: np.ndarray, frequency: float) -> list[tuple[int, int]]:
    """Nodes v₊ and v₋ of each output, if the circuit can have such a nudge."""
    if circuit.outputs is None or not circuit.of_kind(ChargeLaw):
        raise StimulusError(f"a sinusoidal nudge needs outputs and capacitors, found none in {circuit.title!r}")
    positive, negative = circuit.outputs
    if not 0 < frequency < math.inf or np.shape(amplitudes) != positive.shape:
        raise StimulusError(
            f"a sinusoidal nudge needs a positive frequency and {len(positive)} amplitudes, found {frequency} Hz and "
            f"shape {np.shape(amplitudes)}"
        )
    return list(zip(positive.tolist(), negative.tolist(), strict=True))


def _read(plot: RawFile, sweep: Sweep, batch: Batch, at: np.ndarray) -> np.ndarray:
    """Node voltages `(n_times, n_nodes)` [V] at some times [s], between ngspice's own."""
    times, index = np.unique(plot.columns(["time"])[:, 0], return_index=True)
    # Loaded where it is used: every command would wait for scipy.interpolate.
    from scipy.interpolate import CubicSpline

    n_nodes = sweep.circuit.n_nodes
    voltages = np.empty((len(at), n_nodes))
    voltages[:, ~np.isin(np.arange(n_nodes), sweep.free)] = sweep.held(batch)
    voltages[:, sweep.free] = CubicSpline(times, plot.columns(sweep.saved)[index])(at)
    return voltages
