"""Noise of the outputs over time: Johnson noise of every resistor and shot noise of every junction in `.tran`."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from rich.table import Table

from analog_ep.circuit import (
    Capacitors,
    Circuit,
    CurrentSources,
    NoiseCurrents,
    VoltageSources,
    check_circuit,
    johnson_currents,
    shot_currents,
)
from analog_ep.errors import StimulusError
from analog_ep.spice.batch import run_twice
from analog_ep.spice.norton import NortonReduction
from analog_ep.spice.sweep import Batch, Sweep, held_voltages
from analog_ep.spice.transient_noise import transient_noise


@dataclass(frozen=True, eq=False)
class TransientNoise:
    """Fluctuation of the differential outputs about their equilibrium.

    Attributes
    ----------
    times : ndarray (n_times,)
        From the end of the part that is left out. [s]
    outputs : ndarray (n_times, n_outputs)
        Differential outputs less their equilibrium. [V]
    covariance : ndarray (n_outputs, n_outputs)
        Over the time. [V²]
    """

    times: np.ndarray
    outputs: np.ndarray
    covariance: np.ndarray

    @property
    def rms(self) -> np.ndarray:
        """Standard deviations, `(n_outputs,)`. [V]"""
        return np.sqrt(np.diag(self.covariance))

    def to_json(self) -> str:
        """The figures as a JSON object."""
        seconds = float(self.times[-1] - self.times[0])
        return json.dumps({"rms": self.rms.tolist(), "covariance": self.covariance.tolist(), "duration": seconds})

    def table(self) -> Table:
        """A row an output."""
        table = Table("output", "rms", title=f"noise over {self.times[-1] - self.times[0]:.3g} s")
        for i, rms in enumerate(self.rms):
            table.add_row(str(i), f"{rms:.3e} V")
        return table


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

    Temperature is 27 °C. Shot noise has the currents of the operating point. Over a duration T the standard error of
    the variance of a node that settles with the time constant τ is √(2 τ/T) of it.

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
        See `check_circuit`.
    StimulusError
        If the circuit has no outputs or no capacitors, or the counts, the interval or the seed are not positive.
    NgspiceError
        If ngspice fails.
    """
    if circuit.outputs is None or not circuit.of_kind(Capacitors):
        raise StimulusError(f"noise over time needs outputs and capacitors, found none in {circuit.title!r}")
    check_circuit(circuit)
    inputs = np.asarray(inputs, dtype=np.float64)
    reduction = NortonReduction.of(circuit) if reduced else None
    voltages = run_twice(lambda: Sweep(circuit, None, reduction, executable, timeout).run(Batch(inputs[None])))[0]
    followed = circuit if reduction is None else _reduced_at(circuit, reduction, inputs)

    def noise(system: Circuit) -> NoiseCurrents:
        return johnson_currents(system) + shot_currents(system, voltages)

    found = transient_noise(
        followed,
        inputs,
        noise,
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
    return TransientNoise(interval * np.arange(samples), outputs, np.atleast_2d(np.cov(outputs.T, bias=True)))


def _reduced_at(circuit: Circuit, reduction: NortonReduction, inputs: np.ndarray) -> Circuit:
    """The reduced circuit with the Norton currents of one sample as sources, and with the sources of all held nodes."""
    currents = reduction.currents(held_voltages(circuit, inputs[None]))[0]
    ground = np.zeros_like(reduction.nodes)
    norton = CurrentSources("norton_currents", ground, reduction.nodes, currents)
    others = [group for group in reduction.circuit.groups if not isinstance(group, VoltageSources)]
    return circuit.with_groups([*others, *circuit.of_kind(VoltageSources), norton])
