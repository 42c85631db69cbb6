"""Johnson and shot noise at the outputs, by ngspice's `.noise`, with what it leaves out added."""

from __future__ import annotations

import json
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
from rich.table import Table

from analog_ep.circuit import Circuit, check_circuit
from analog_ep.circuit.noise import unknown_to_spice
from analog_ep.errors import NgspiceResultError, StimulusError
from analog_ep.netlist.netlist import SpiceOptions
from analog_ep.netlist.noise_cards import resistor_noise_cards
from analog_ep.ngspice.batch import run_parallel, run_twice
from analog_ep.ngspice.norton import NortonReduction
from analog_ep.ngspice.process import Stop, run_plots
from analog_ep.ngspice.sweep import Batch, Sweep
from analog_ep.support.shown import Tabled


@dataclass(frozen=True, eq=False)
class OutputNoise(Tabled):
    """Noise of the differential outputs.

    Attributes
    ----------
    frequencies : ndarray (n_frequencies,)
        [Hz]
    density : ndarray (n_outputs, n_frequencies)
        One-sided. [V/√Hz]
    rms : ndarray (n_outputs,)
        Over the band of the frequencies. [V]
    ngspice_density, ngspice_rms : ndarray
        The same as a plain ``.noise`` gives them, which takes 2q|i| for a junction, none at rest, and nothing for a
        piecewise-linear diode.
    outputs : ndarray (n_outputs,)
        The noiseless differential outputs. [V]
    """

    frequencies: np.ndarray
    density: np.ndarray
    rms: np.ndarray
    ngspice_density: np.ndarray
    ngspice_rms: np.ndarray
    outputs: np.ndarray

    def to_json(self) -> str:
        """The figures as a JSON object."""
        return json.dumps({field.name: getattr(self, field.name).tolist() for field in fields(self)})

    def table(self) -> Table:
        """A row an output."""
        low, high = self.frequencies[[0, -1]]
        band = f"rms, {low:.3g}…{high:.3g} Hz"
        table = Table("output", "voltage", "density at the lowest frequency", band, f"{band}, plain .noise")
        table.caption = "a plain .noise of ngspice takes 2q|i| for a junction, which has no noise at rest"
        rows = zip(self.outputs, self.density, self.rms, self.ngspice_rms, strict=True)
        for i, (output, density, rms, plain) in enumerate(rows):
            table.add_row(str(i), f"{output:.4g} V", f"{density[0]:.3e} V/√Hz", f"{rms:.3e} V", f"{plain:.3e} V")
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

    Resistors have Johnson noise at the circuit's temperature, diodes shot noise, see `shot_currents`; amplifiers and
    sources, nonlinear ones included, are noiseless. ngspice's own shot noise, 2q|i|, vanishes at rest, where a junction
    has 4 k_B T g; what is missing comes from resistors beside the circuit, whose noise is turned into currents at
    the diodes. Both results are given. Without capacitors the noise is white, and its rms the square root of the band's
    width times the density; a node with a capacitance C and no other noise has √(kT/C).

    Parameters
    ----------
    circuit : Circuit
        With outputs, and capacitors where the noise is to have an end.
    inputs : ndarray (n_inputs,)
        Inputs of the sample. [V]
    band, points_per_decade : (float, float), int
        Lowest and highest frequency [Hz], and how many; the rms, integrated over them, has an error of 0.1 % at 20.
    options, executable, timeout
        See `SpiceOptions` and `run_ngspice`.
    reduced : bool
        Whether a `NortonReduction`, whose conductances have the same noise, is run in place of the circuit.
    processes : int
        Runs at a time; there is one an output.

    Raises
    ------
    CircuitError
        See `check_circuit`; also if there is a kind of branches whose noise is not known.
    DeviceParameterError
        If a diode does not tell its noise.
    StimulusError
        If the circuit has no outputs, or the band is empty.
    NgspiceError
        If ngspice fails.
    """
    _require_band(circuit, band, points_per_decade)
    reduction = NortonReduction.of(circuit) if reduced else None
    sweep = Sweep(circuit, options, reduction, executable, timeout, with_klu=False)
    return _Spectra(sweep, np.asarray(inputs, dtype=np.float64), band, int(points_per_decade)).noise(processes)


def _require_band(circuit: Circuit, band: tuple[float, float], points_per_decade: int) -> None:
    low, high = band
    if not (0 < low < high < float("inf") and points_per_decade >= 1):
        raise StimulusError(f"a noise band must be 0 < low < high with points in it, found {band} Hz")
    if circuit.outputs is None:
        raise StimulusError(f"noise needs outputs, found none in {circuit.title!r}; declare them with set_outputs")
    check_circuit(circuit)


@dataclass(frozen=True, eq=False)
class _Spectra:
    """Runs of ``.noise`` at one sample, one an output."""

    sweep: Sweep
    inputs: np.ndarray
    band: tuple[float, float]
    points_per_decade: int

    def noise(self, processes: int) -> OutputNoise:
        """Spectra of all outputs, as ngspice has them and with the noise that it leaves out."""
        positive, negative = self._outputs
        voltages = run_twice(lambda: self.sweep.run(self._batch))[0]
        circuit, outputs = self.sweep.circuit, range(len(positive))
        added = list(resistor_noise_cards(circuit, unknown_to_spice(circuit, voltages), self.sweep.dialect))
        plain = run_parallel(self._run, [(output, []) for output in outputs], processes)
        whole = run_parallel(self._run, [(output, added) for output in outputs], processes) if added else plain
        return OutputNoise(
            frequencies=plain[0][0] if plain else np.zeros(0),
            density=np.stack([density for _, density, _ in whole]),
            rms=np.array([total for *_, total in whole]),
            ngspice_density=np.stack([density for _, density, _ in plain]),
            ngspice_rms=np.array([total for *_, total in plain]),
            outputs=voltages[positive] - voltages[negative],
        )

    @property
    def _outputs(self) -> tuple[np.ndarray, np.ndarray]:
        nowhere = np.zeros(0, dtype=np.int64)
        return self.sweep.circuit.outputs or (nowhere, nowhere)

    @property
    def _batch(self) -> Batch:
        return Batch(self.inputs[None])

    def _run(self, task: tuple[int, list[str]], stop: Stop) -> tuple[np.ndarray, np.ndarray, float]:
        """Frequencies [Hz], density [V/√Hz] and rms [V] of one output, with more cards in the deck."""
        (output, more), sweep, (low, high) = task, self.sweep, self.band
        p, n = (sweep.circuit.node_names[side[output]] for side in self._outputs)
        # An analysis of noise asks for a source to refer it to; this one is there for that alone.
        source = sweep.dialect.element("inoise", ("0", p if p != "0" else n), sweep.analyses.stimulus(1.0))
        analysis = sweep.analyses.noise((p, n), "inoise", int(self.points_per_decade), low, high)
        cards = [*more, source, analysis]
        deck = sweep.deck(self._batch, cards, save=False)
        plots = run_twice(lambda: run_plots(deck, sweep.executable, sweep.timeout, stop))
        if len(plots) != 2 or plots[1].values.shape[0] != 1:
            raise NgspiceResultError(f"ngspice must return a spectrum and its integral, found {len(plots)} plots")
        frequency, density = np.real(plots[0].columns(["frequency", "onoise_spectrum"])).T
        return frequency, density, float(np.sqrt(_power(frequency, density**2)))


def _power(frequency: np.ndarray, power: np.ndarray) -> float:
    """Integral of a spectrum over its band, each stretch between two frequencies taken as a power law. [V²]"""
    ratio, span = power[1:] / power[:-1], frequency[1:] / frequency[:-1]
    exponent = np.log(ratio) / np.log(span) + 1
    # (span^exponent − 1)/exponent, which is log(span) where the exponent vanishes.
    safe = np.where(np.abs(exponent) < 1e-9, 1.0, exponent)
    stretch = np.where(np.abs(exponent) < 1e-9, np.log(span), np.expm1(safe * np.log(span)) / safe)
    return float((power[:-1] * frequency[:-1] * stretch).sum())
