"""Noise of the outputs over time: Johnson noise of every resistor and shot noise of every junction in `.tran`."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from rich.table import Table

from analog_ep.circuit import (
    ChargeLaw,
    Circuit,
    check_circuit,
    johnson_currents,
    shot_currents,
)
from analog_ep.errors import StimulusError
from analog_ep.ngspice.batch import run_twice
from analog_ep.ngspice.norton import NortonReduction
from analog_ep.ngspice.sweep import Batch, Sweep, held_voltages
from analog_ep.ngspice.transient_noise import transient_noise
from analog_ep.support.shown import Tabled

_WINDOW = 6.0
"""Lags of the autocorrelation that count, in units of their sum: e^-12 of an exponential's square is left."""


@dataclass(frozen=True, eq=False)
class TransientNoise(Tabled):
    """Fluctuation of the differential outputs about their equilibrium.

    Attributes
    ----------
    times : ndarray (n_times,)
        From the end of the part that is left out. [s]
    outputs : ndarray (n_times, n_outputs)
        Differential outputs less their equilibrium. [V]
    covariance : ndarray (n_outputs, n_outputs)
        Over the time, about the equilibrium. [V²]
    """

    times: np.ndarray
    outputs: np.ndarray
    covariance: np.ndarray

    @property
    def rms(self) -> np.ndarray:
        """Standard deviations, `(n_outputs,)`. [V]"""
        return np.sqrt(np.diag(self.covariance))

    @cached_property
    def independent_samples(self) -> np.ndarray:
        """As many independent values would tell the variance as well, `(n_outputs,)`; see `independent_samples`."""
        return np.array([independent_samples(output) for output in self.outputs.T])

    @property
    def standard_error(self) -> np.ndarray:
        """Of `rms`, `(n_outputs,)`: of a Gaussian process, rms/√(2 N) with N independent samples. [V]"""
        return self.rms / np.sqrt(2 * self.independent_samples)

    def to_json(self) -> str:
        """The figures as a JSON object."""
        names = ("rms", "standard_error", "independent_samples", "covariance")
        figures = {name: getattr(self, name).tolist() for name in names}
        return json.dumps({**figures, "duration": float(self.times[-1] - self.times[0])})

    def table(self) -> Table:
        """A row an output."""
        title = f"noise over {self.times[-1] - self.times[0]:.3g} s"
        table = Table("output", "rms, ± standard error", "independent samples", title=title)
        rows = zip(self.rms, self.standard_error, self.independent_samples, strict=True)
        for i, (rms, error, count) in enumerate(rows):
            table.add_row(str(i), f"{with_error(rms, error)} V", f"{count:.0f}")
        return table


def independent_samples(values: np.ndarray) -> float:
    r"""Number N of independent values whose mean square is as uncertain as that of a correlated record.

    The mean square of a Gaussian record of n values about a known mean has the variance
    :math:`2 σ^4/N,\; N = n / \sum_k ρ_k^2` over all lags k, positive and negative, with ρ the autocorrelation (M. S.
    Bartlett, "On the theoretical specification and sampling properties of autocorrelated time-series," Suppl. J. R.
    Stat. Soc. 8, 27–41, 1946). The sum ends at the first lag that is six times itself, before the noise of ρ counts.

    Parameters
    ----------
    values : ndarray (n_values,)
        At equal distances, about a mean of 0.
    """
    n = len(values)
    spectrum = np.fft.rfft(values, 2 * n)
    covariance = np.fft.irfft(np.abs(spectrum) ** 2)[:n]
    if not covariance[0] > 0:
        return float(n)
    sums = 2 * np.cumsum((covariance / covariance[0]) ** 2) - 1
    enough = np.flatnonzero(np.arange(n) >= _WINDOW * sums)
    return float(n / sums[enough[0] if len(enough) else -1])


def with_error(value: float, error: float) -> str:
    """Value and standard error, to the digits that the error bears: two of an error that begins with 1, else one."""
    exponent = math.floor(math.log10(abs(value))) if value else 0
    if not (0 < error < abs(value)):
        return f"{value:.0e} ± {error:.0e}"
    first = math.floor(math.log10(error))
    digits = exponent - first + (1 if error < 1.95 * 10**first else 0)
    return f"({value / 10**exponent:.{digits}f} ± {error / 10**exponent:.{digits}f})e{exponent:+03d}"


def output_noise_over_time(
    circuit: Circuit,
    inputs: np.ndarray,
    *,
    interval: float,
    samples: int,
    burn_in: int = 0,
    seed: int = 1,
    reduced: bool = False,
    executable: str | Path | None = None,
    timeout: float | None = 600.0,
) -> TransientNoise:
    """Let the noise of all conductances and junctions act on the operating point of one sample.

    Resistors and diodes have the circuit's temperature, or their own; shot noise has the currents of the operating
    point, see `shot_currents`. Over a duration T the standard error of the variance of a node that settles with the
    time constant τ is √(2 τ/T) of it.

    Parameters
    ----------
    circuit : Circuit
        With outputs and capacitors.
    inputs : ndarray (n_inputs,)
        Inputs. [V]
    interval : float
        Over which each current is constant, and between the times that are given out; see `transient_noise`. [s]
    samples, burn_in : int
        Intervals that are given out, and those before them that let the noise build up.
    seed : int
        Of ngspice's random numbers; positive.
    reduced : bool
        Whether a `NortonReduction`, whose conductances have the same noise, is run in place of the circuit.
    executable, timeout
        See `run_ngspice`.

    Raises
    ------
    CircuitError
        See `check_circuit`; also if there is a kind of branches whose noise is not known.
    DeviceParameterError
        If a diode does not tell its noise.
    StimulusError
        If the circuit has no outputs or no capacitors, or the counts, the interval or the seed are not positive.
    NgspiceError
        If ngspice fails.
    """
    if circuit.outputs is None or not circuit.of_kind(ChargeLaw):
        raise StimulusError(f"noise over time needs outputs and capacitors, found none in {circuit.title!r}")
    check_circuit(circuit)
    inputs = np.asarray(inputs, dtype=np.float64)
    reduction = NortonReduction.of(circuit) if reduced else None
    voltages = run_twice(lambda: Sweep(circuit, None, reduction, executable, timeout).run(Batch(inputs[None])))[0]
    found = transient_noise(
        circuit if reduction is None else reduction.of_sample(circuit, held_voltages(circuit, inputs[None])[0]),
        inputs,
        lambda system: johnson_currents(system) + shot_currents(system, voltages),
        interval=interval,
        samples=samples,
        burn_in=burn_in,
        n_copies=1,
        seed=seed,
        executable=executable,
        timeout=timeout,
    ).voltages[:, 0, 0]
    positive, negative = circuit.outputs
    outputs = (found - voltages)[:, positive] - (found - voltages)[:, negative]
    return TransientNoise(interval * np.arange(samples), outputs, outputs.T @ outputs / samples)
