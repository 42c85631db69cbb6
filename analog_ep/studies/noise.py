"""Johnson and shot noise at the outputs, by ngspice's `.noise`."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from rich.table import Table

from analog_ep.circuit import Circuit, check_circuit
from analog_ep.errors import NgspiceResultError, StimulusError
from analog_ep.spice.batch import run_parallel, run_twice
from analog_ep.spice.netlist import SpiceOptions, number
from analog_ep.spice.norton import NortonReduction
from analog_ep.spice.process import Stop, run_plots
from analog_ep.spice.sweep import Batch, Sweep


@dataclass(frozen=True, eq=False)
class OutputNoise:
    """Noise of the differential outputs.

    Attributes
    ----------
    frequencies : ndarray (n_frequencies,)
        [Hz]
    density : ndarray (n_outputs, n_frequencies)
        [V/√Hz]
    rms : ndarray (n_outputs,)
        Over the band of the frequencies. [V]
    outputs : ndarray (n_outputs,)
        The noiseless differential outputs. [V]
    """

    frequencies: np.ndarray
    density: np.ndarray
    rms: np.ndarray
    outputs: np.ndarray

    def to_json(self) -> str:
        """The figures as a JSON object."""
        return json.dumps({name: getattr(self, name).tolist() for name in ("frequencies", "density", "rms", "outputs")})

    def table(self) -> Table:
        """A row an output."""
        low, high = self.frequencies[[0, -1]]
        table = Table("output", "voltage", "density at the lowest frequency", f"rms, {low:.3g}…{high:.3g} Hz")
        for i, (output, density, rms) in enumerate(zip(self.outputs, self.density, self.rms, strict=True)):
            table.add_row(str(i), f"{output:.4g} V", f"{density[0]:.3e} V/√Hz", f"{rms:.3e} V")
        return table


def output_noise(
    circuit: Circuit,
    inputs: np.ndarray,
    *,
    band: tuple[float, float] = (1.0, 1e12),
    points_per_decade: int = 20,
    options: SpiceOptions | None = None,
    reduced: bool = False,
    executable: str | Path | None = None,
    timeout: float | None = 600.0,
    processes: int = 1,
) -> OutputNoise:
    """Noise of every differential output at the operating point of one sample.

    Resistors have Johnson noise at 27 °C, junctions shot noise; amplifiers and sources are noiseless, and so are
    piecewise-linear diodes. Without capacitors the noise is white, and its rms the square root of the band's width
    times the density; a node with a capacitance C and no other noise has √(kT/C).

    Parameters
    ----------
    circuit : Circuit
        With outputs, and capacitors where the noise is to have an end.
    inputs : ndarray (n_inputs,)
        Inputs of the sample. [V]
    band : (float, float)
        Lowest and highest frequency. [Hz]
    points_per_decade : int
        Frequencies; the rms is integrated over them, with an error of 0.1 % at 20.
    options, executable, timeout
        See `SpiceOptions` and `run_ngspice`.
    reduced : bool
        Whether a `NortonReduction`, whose conductances have the same noise, is run in place of the circuit.
    processes : int
        Runs at a time; there is one an output.

    Raises
    ------
    CircuitError
        See `check_circuit`.
    StimulusError
        If the circuit has no outputs, or the band is empty.
    NgspiceError
        If ngspice fails.
    """
    low, high = band
    if not (0 < low < high < float("inf") and points_per_decade >= 1):
        raise StimulusError(f"a noise band must be 0 < low < high with points in it, found {band} Hz")
    if circuit.outputs is None:
        raise StimulusError(f"noise needs outputs, found none in {circuit.title!r}; declare them with set_outputs")
    check_circuit(circuit)
    sweep = Sweep(circuit, options, NortonReduction.of(circuit) if reduced else None, executable, timeout)
    batch = Batch(np.asarray(inputs, dtype=np.float64)[None])
    positive, negative = circuit.outputs
    voltages = run_twice(lambda: sweep.run(batch))[0]
    analysis = f"dec {int(points_per_decade)} {number(low)} {number(high)}"

    def solve(output: int, stop: Stop) -> tuple[np.ndarray, np.ndarray, float]:
        p, n = (circuit.node_names[side[output]] for side in (positive, negative))
        # An analysis of noise asks for a source to refer it to; this one is there for that alone.
        cards = [f"inoise 0 {p if p != '0' else n} dc 0 ac 1.0", f".noise v({p},{n}) inoise {analysis}"]
        deck = sweep.deck(batch, cards, save=False)
        plots = run_twice(lambda: run_plots(deck, executable, timeout, stop))
        if len(plots) != 2 or plots[1].values.shape[0] != 1:
            raise NgspiceResultError(f"ngspice must return a spectrum and its integral, found {len(plots)} plots")
        frequency, density = np.real(plots[0].columns(["frequency", "onoise_spectrum"])).T
        return frequency, density, float(np.sqrt(_power(frequency, density**2)))

    found = run_parallel(solve, range(len(positive)), processes)
    return OutputNoise(
        frequencies=found[0][0] if found else np.zeros(0),
        density=np.stack([density for _, density, _ in found]),
        rms=np.array([total for *_, total in found]),
        outputs=voltages[positive] - voltages[negative],
    )


def _power(frequency: np.ndarray, power: np.ndarray) -> float:
    """Integral of a spectrum over its band, each stretch between two frequencies taken as a power law. [V²]"""
    ratio, span = power[1:] / power[:-1], frequency[1:] / frequency[:-1]
    exponent = np.log(ratio) / np.log(span) + 1
    # (span^exponent − 1)/exponent, which is log(span) where the exponent vanishes.
    safe = np.where(np.abs(exponent) < 1e-9, 1.0, exponent)
    stretch = np.where(np.abs(exponent) < 1e-9, np.log(span), np.expm1(safe * np.log(span)) / safe)
    return float((power[:-1] * frequency[:-1] * stretch).sum())
