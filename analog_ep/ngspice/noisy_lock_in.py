"""Lock-in readings of a circuit with white noise in ngspice's `.tran`: what predictions of their noise are held to."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from analog_ep.circuit import Circuit, NoiseCurrents
from analog_ep.circuit.copies import copies
from analog_ep.errors import NgspiceResultError, StimulusError
from analog_ep.netlist.netlist import SpiceOptions
from analog_ep.netlist.noise_cards import noise_cards
from analog_ep.ngspice.batch import run_twice
from analog_ep.ngspice.lock_in import nudged_pairs
from analog_ep.ngspice.process import run_plots
from analog_ep.ngspice.raw import RawFile
from analog_ep.ngspice.sweep import Batch, Sweep

_OPTIONS = SpiceOptions(reltol=1e-4, vntol=1e-9, abstol=1e-13)
"""Errors of a step are small against the noise, and ngspice makes at least four steps an interval."""


@dataclass(frozen=True, eq=False)
class Readings:
    """Lock-in readings, one after the other, of copies with noise of their own.

    Attributes
    ----------
    mean, in_phase : ndarray (n_copies, n_readings, n_nodes)
        Averages, and amplitudes of what goes as cos 2πft, each over one reading. [V]
    """

    mean: np.ndarray
    in_phase: np.ndarray


@dataclass(frozen=True)
class Protocol:
    """How long, how often and how finely is read, after one period to settle.

    Attributes
    ----------
    periods, readings : int
        Length of one reading, and how many follow each other.
    points : int
        Intervals of a period, over each of which the noise currents are constant: they are white far below
        points·frequency.
    n_copies : int
        Copies of the circuit with independent noise.
    seed : int
        Of ngspice's random numbers; positive.

    Raises
    ------
    StimulusError
        If a count is not positive, or a period has fewer than four points.
    """

    periods: int = 1
    readings: int = 8
    points: int = 128
    n_copies: int = 16
    seed: int = 1

    def __post_init__(self):
        if min(self.periods, self.readings, self.n_copies) < 1 or self.points < 4:
            raise StimulusError(
                f"readings need periods, copies and at least 4 points a period, found {self.readings} readings of "
                f"{self.periods} periods of {self.points} points in {self.n_copies} copies"
            )

    @property
    def count(self) -> int:
        """Intervals of the whole run."""
        return self.points * (1 + self.periods * self.readings)


def noisy_lock_in(
    circuit: Circuit,
    inputs: np.ndarray,
    amplitudes: np.ndarray,
    frequency: float,
    noise: Callable[[Circuit], NoiseCurrents],
    protocol: Protocol,
    *,
    executable: str | Path | None = None,
    timeout: float | None = 600.0,
) -> Readings:
    """Read copies of a circuit under sinusoidal nudges and noise.

    Parameters
    ----------
    circuit, inputs, amplitudes, frequency, executable, timeout
        As for `lock_in`, whose errors it has.
    noise : callable
        Gives the noise currents of a circuit, such as `johnson_currents`.
    protocol : Protocol
        How it is read.
    """
    pairs = nudged_pairs(circuit, amplitudes, frequency)
    whole, interval = copies(circuit, protocol.n_copies), 1 / (frequency * protocol.points)
    sweep, batch = Sweep(whole, _OPTIONS, executable=executable), Batch(np.asarray(inputs, dtype=np.float64)[None])
    cards = list(noise_cards([whole], [noise(whole)], interval, protocol.seed, sweep.dialect))
    for k in range(protocol.n_copies):
        shift = k * (circuit.n_nodes - 1)
        for i, (pair, amplitude) in enumerate(zip(pairs, amplitudes, strict=True)):
            p, n = (whole.node_names[node + shift if node else 0] for node in pair)
            wave = sweep.analyses.cosine(amplitude, frequency)
            cards.append(sweep.dialect.element(f"i_nudge_{k}_{i}", (n, p), wave))
    cards.append(sweep.analyses.transient(interval, protocol.count * interval))
    (plot,) = run_twice(lambda: run_plots(sweep.deck(batch, cards), executable, timeout))
    rows = rows_at_intervals(plot, interval, protocol.count)[protocol.points + 1 :]
    voltages = np.empty((len(rows), whole.n_nodes))
    voltages[:, ~np.isin(np.arange(whole.n_nodes), sweep.free)] = sweep.held(batch)
    voltages[:, sweep.free] = plot.columns(sweep.saved)[rows]
    return _read(voltages, protocol)


def rows_at_intervals(plot: RawFile, interval: float, count: int) -> np.ndarray:
    """Rows `(count + 1,)` of a transient at the ends of its intervals, the start among them.

    Raises
    ------
    NgspiceResultError
        If ngspice stepped over one.
    """
    times = plot.columns(["time"])[:, 0] / interval
    rows = np.flatnonzero(np.abs(times - np.round(times)) < 1e-6)
    if not np.array_equal(np.round(times[rows]), np.arange(count + 1)):
        found = f"{len(rows)} of {count + 1} times"
        raise NgspiceResultError(f"ngspice must stop at the end of every interval, found {found}")
    return rows


def _read(voltages: np.ndarray, protocol: Protocol) -> Readings:
    """Of voltages at the ends of intervals `(n_times, n_nodes of all copies)`."""
    length = protocol.periods * protocol.points
    each = voltages[:, 1:].reshape(protocol.readings, length, protocol.n_copies, -1)
    with_ground = np.concatenate([np.zeros((*each.shape[:-1], 1)), each], axis=-1)
    cosine = np.cos(2 * math.pi * np.arange(1, length + 1) / protocol.points)
    in_phase = 2 / length * np.einsum("t,rtcn->crn", cosine, with_ground)
    return Readings(with_ground.mean(axis=1).swapaxes(0, 1), in_phase)
