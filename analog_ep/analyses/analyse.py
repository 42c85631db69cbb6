"""The studies of `analog_ep.studies` on one sample of a trained run."""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from threading import Lock
from typing import Protocol

import numpy as np
from rich.table import Table
from torch import Tensor

from analog_ep.analyses.conditions import Conditions, Study, Workplace, file_stem
from analog_ep.analyses.corners import Corners, ResistorsOverTemperature, corners
from analog_ep.analyses.energy import Energy
from analog_ep.analyses.measuring_time import MeasuringTime, measuring_time
from analog_ep.analyses.monte_carlo import ChipDraws, MonteCarlo, monte_carlo
from analog_ep.analyses.noise import OutputNoise, output_noise
from analog_ep.analyses.nudging import NudgedBatch, NudgingReport, nudging_report
from analog_ep.analyses.operating_point import OperatingPoint, operating_point
from analog_ep.analyses.periphery import USUAL_BITS, Conversions, Periphery, PhaseEnergy, energies
from analog_ep.analyses.power import Power, branch_power
from analog_ep.analyses.read_errors import Reads
from analog_ep.analyses.response import SmallSignalGradient, small_signal_gradient
from analog_ep.analyses.settling_report import SettlingReport, settling_report
from analog_ep.analyses.transient_noise import TransientNoise, output_noise_over_time
from analog_ep.analyses.wires import WireReport, wire_report
from analog_ep.circuit import GROUND, ChargeLaw, Chip, Circuit, Converters, CurrentLaw, sampled_noise
from analog_ep.circuit.node_capacitance import with_node_capacitance
from analog_ep.circuit.output_sources import with_output_currents
from analog_ep.circuit.real_amplifiers import with_amplifiers
from analog_ep.constants import DEFAULT_TEMPERATURE
from analog_ep.designs.op_amps import outputs_of
from analog_ep.equilibrium.equilibrium import solve
from analog_ep.equilibrium.ngspice import Ngspice
from analog_ep.equilibrium.oscillation import Oscillation
from analog_ep.errors import StimulusError
from analog_ep.networks import ConductanceNetwork, CrossbarNetwork, Network, Question
from analog_ep.networks.needs import crossbars_of
from analog_ep.runs.building import build_cost, build_nudge
from analog_ep.runs.folder import stored_chip
from analog_ep.runs.trained import test_samples, trained_conductances
from analog_ep.spec import Spec

OF_SAMPLES: tuple[Study, ...] = ("corners", "wires", "nudging", "lock-in", "monte-carlo")
"""Studies of all test samples from the one that is given on, or of as many as are asked for."""

_NOISE_INTERVAL, _NOISE_DURATION, _NOISE_START = 1 / 5, 200, 10
"""Times of transient noise in time constants: of the fastest output, and twice of the slowest."""

_NOISE_POINTS = 20
"""Frequencies a decade of a study of noise."""


class StudyReport(Protocol):
    """Figures of a study."""

    def to_json(self) -> str: ...
    def table(self) -> Table: ...


def analyse(
    path: Path,
    study: Study,
    sample: int = 0,
    conditions: Conditions | None = None,
    workplace: Workplace | None = None,
) -> StudyReport:
    """Study one test sample of a run in ngspice, or several from one on.

    Parameters
    ----------
    path : Path
        The run folder.
    study : str
        "operating-point": voltages and diode currents of the free phase. "gradient": that of ngspice's ``.ac``, judged
        by implicit differentiation. "settling": the free phase from discharged nodes, and the nudged phase after it.
        "noise" and "transient-noise": of the outputs, over the frequency and over time. "power": by branches, and the
        energy of an inference and of a training step, until the outputs have settled to 1 %. "corners": outputs of
        all test samples from this one on at other temperatures, supplies and process corners. "monte-carlo": the
        yield of chips drawn from the spec, on the same samples, in PyTorch. "wires": voltage lost at every cell, and
        outputs against ideal wires, on the same samples. "nudging": bias, read noise and levels of the gradient over
        the nudging, in PyTorch. "lock-in": for how long a sinusoidal nudge has to be read, in PyTorch.
    sample : int
        Index in the test part.
    conditions : Conditions, optional
        Capacitances, amplifiers, converter, temperatures, chips.
    workplace : Workplace, optional
        Of a Monte Carlo, which goes on where it was interrupted, and of noise: its processes.

    Raises
    ------
    CheckpointError
        If the folder has no usable checkpoint.
    DataError
        If there is no such sample.
    StimulusError
        If a condition cannot be.
    ConvergenceError, NgspiceError
        If there is no ngspice, or no solution.
    """
    conditions = Conditions() if conditions is None else conditions
    workplace = Workplace() if workplace is None else workplace
    return RunStudies(Path(path), sample, conditions, workplace).find(study)


@dataclass(frozen=True, eq=False)
class RunStudies:
    """Studies of one run from a test sample on; what several of them need, such as its settling, is found once.

    Several threads may ask, for settling and what needs it one after the other.

    Attributes
    ----------
    path, sample, conditions, workplace
        See `analyse`.
    """

    path: Path
    sample: int
    conditions: Conditions
    workplace: Workplace
    _turn: Lock = field(default_factory=Lock, init=False, repr=False)

    def find(self, study: Study) -> StudyReport:
        """Figures of a study, see `analyse`, whose errors are raised."""
        if study == "monte-carlo":
            trained_conductances(self.path)  # which refuses what has no conductances, as it does for every study
            return _monte_carlo(self.path, self.sample, self.conditions, self.workplace)
        return _STUDIES[study](self._several if study in OF_SAMPLES else self._one)

    def noise(self, points_per_decade: int = _NOISE_POINTS) -> OutputNoise:
        """As `find("noise")`, whose errors are raised, at so many frequencies a decade."""
        return _noise(self._one, points_per_decade)

    @property
    def _one(self) -> _Subject:
        # `cached_property` locks itself up to Python 3.11 alone.
        with self._turn:
            return self._first

    @cached_property
    def _first(self) -> _Subject:
        return self._subject(1)

    @cached_property
    def _several(self) -> _Subject:
        return self._subject(self.conditions.samples)

    def _subject(self, count: int | None) -> _Subject:
        spec, network = trained_conductances(self.path)
        chip = stored_chip(self.path, spec, network)
        samples = slice(self.sample, None if count is None else self.sample + count)
        inputs, targets = test_samples(spec, network, samples, chip)
        # The inputs are those that the DACs drive: no study converts them again.
        converters = None if chip is None else chip.converters
        chip = None if chip is None else replace(chip, converters=None)
        jobs = self.workplace.jobs or os.cpu_count() or 1
        return _Subject(spec, network.as_built(), chip, inputs, targets, self.conditions, converters, jobs)


@dataclass(frozen=True, eq=False)
class _Subject:
    """A network with its chip and samples."""

    spec: Spec
    network: ConductanceNetwork
    chip: Chip | None
    inputs: Tensor
    targets: Tensor
    conditions: Conditions
    converters: Converters | None
    jobs: int

    @property
    def reads(self) -> Reads:
        """As the spec's converters read the layers; without any as the conditions say."""
        c, layers = self.conditions, self.spec.network.read_layers
        if self.converters is not None:
            return Reads.of(self.converters, layers)
        return Reads.same(layers, sampled_noise(c.capacitance), c.lsb)

    @property
    def batch(self) -> slice:
        """As many samples as are asked for, by default a batch of the training."""
        return slice(None, self.conditions.samples or self.spec.training.batch_size or None)

    @property
    def solver(self) -> Ngspice:
        return Ngspice(reduced=True)

    @property
    def values(self) -> np.ndarray:
        """Inputs of the first sample, `(n_inputs,)`. [V]"""
        return self.inputs[0].numpy()

    @cached_property
    def circuit(self) -> Circuit:
        """With the amplifiers that the conditions ask for."""
        model, circuit = self.conditions.amplifiers, self.network.circuit(self.chip)
        return circuit if model is None else with_amplifiers(circuit, model)

    @cached_property
    def loaded(self) -> Circuit:
        """With node capacitances."""
        return with_node_capacitance(self.circuit, self.conditions.capacitance)

    @cached_property
    def free(self) -> tuple[np.ndarray, Tensor]:
        """Node voltages of the free phase, and its outputs."""
        found = solve(self.loaded, self.inputs[:1], solver=self.solver)
        return found.voltages[0].numpy(), found.outputs

    @cached_property
    def nudge_currents(self) -> np.ndarray:
        """Of the spec's nudge, held at its value in the free phase. [A]"""
        return build_nudge(self.spec, self.targets[:1]).current(self.free[1])[0].numpy()

    @cached_property
    def settling(self) -> SettlingReport:
        c = self.conditions
        return settling_report(
            self.loaded,
            self.values,
            self.free[0],
            self.nudge_currents,
            capacitance=c.capacitance,
            lsb=c.lsb,
            integrator=c.integrator,
        )


def _operating_point(subject: _Subject) -> OperatingPoint:
    return operating_point(subject.circuit, subject.values, solver=Ngspice())


def _gradient(subject: _Subject) -> SmallSignalGradient:
    cost = build_cost(subject.spec)
    return small_signal_gradient(subject.network, cost, subject.inputs, subject.targets, subject.solver, subject.chip)


def _noise(subject: _Subject, points: int = _NOISE_POINTS) -> OutputNoise:
    jobs = subject.jobs
    return output_noise(subject.loaded, subject.values, points_per_decade=points, reduced=True, processes=jobs)


def _transient_noise(subject: _Subject) -> TransientNoise:
    fastest, slowest = _output_time_constants(subject.loaded)
    interval = fastest * _NOISE_INTERVAL
    samples, burn_in = (math.ceil(slowest * n / interval) for n in (_NOISE_DURATION, _NOISE_START))
    return output_noise_over_time(
        subject.loaded, subject.values, interval=interval, samples=samples, burn_in=burn_in, reduced=True
    )


def _power(subject: _Subject) -> Energy:
    settled, free = subject.settling, subject.free[0]
    nudged_circuit = with_output_currents(subject.loaded, subject.nudge_currents)
    nudged = solve(nudged_circuit, subject.inputs[:1], solver=subject.solver).voltages[0].numpy()
    # Of ideal amplifiers: what those in their place dissipate inside is not told by the model.
    circuit = subject.network.circuit(subject.chip)
    nudged_circuit = with_output_currents(circuit, subject.nudge_currents)
    free, nudged = free[None, : circuit.n_nodes], nudged[None, : circuit.n_nodes]
    op_amps = outputs_of(circuit)
    periphery = _periphery(subject, max(float(np.abs(each).max()) for each in (free, nudged)))

    def phase(name: str, there: Circuit, voltages: np.ndarray, change: np.ndarray) -> tuple[Power, PhaseEnergy]:
        seconds = settled.output_time(name)
        power = branch_power(there, voltages, seconds)
        watts = periphery.phase(there, voltages, power, op_amps)
        return power, PhaseEnergy(watts, seconds, periphery.charging(change))

    (free_power, begun), (nudged_power, nudging) = (
        phase("free", circuit, free, free),
        phase("nudged", nudged_circuit, nudged, nudged - free),
    )
    count, conversions = subject.spec.gradient.nudged_phases, _conversions(subject, circuit)
    inference, step = energies(periphery, begun, nudging, count, conversions, circuit.temperature)
    operations = subject.network.answer(_Operations())
    return Energy(free_power, nudged_power, count, inference, step, operations, periphery)


def _periphery(subject: _Subject, largest: float) -> Periphery:
    """As the conditions and the spec say; without a supply voltage the least that the nodes need."""
    c, converters = subject.conditions, subject.converters
    bits = (None, None) if converters is None else (converters.dac.bits, converters.adc[0].bits)
    dac, adc = (USUAL_BITS if each is None else each for each in bits)
    supply = 2 * largest if c.supply_voltage is None else c.supply_voltage
    return Periphery(supply, c.amplifier_current, dac, adc, c.energy_per_step, c.write_energy, c.capacitance)


def _conversions(subject: _Subject, circuit: Circuit) -> Conversions:
    nodes = [len(each) for each in circuit.layers.values()]
    outputs = 0 if circuit.outputs is None else len(np.setdiff1d(np.concatenate(circuit.outputs), [GROUND]))
    cells = sum(parameter.numel() for parameter in subject.network.parameters())
    batch = subject.spec.training.batch_size or 1
    return Conversions(circuit.n_inputs, outputs, sum(nodes) or outputs, subject.network.n_outputs, cells, batch)


class _Operations(Question[int]):
    """Multiplications and additions that an inference stands for: of every weight, or of every cell that learns."""

    def network(self, network: Network) -> int:
        return 2 * sum(parameter.numel() for parameter in network.parameters())

    def crossbars(self, network: CrossbarNetwork) -> int:
        pairs = zip(network.layouts, network.sizes[1:], strict=True)
        return 2 * sum(layout.n_taps * units for layout, units in pairs if layout.learns)


def _corners(subject: _Subject) -> Corners:
    spec, c = subject.spec, subject.conditions
    kelvin = DEFAULT_TEMPERATURE if subject.chip is None else subject.chip.temperature or DEFAULT_TEMPERATURE
    return corners(
        subject.circuit,
        subject.inputs,
        solver=subject.solver,
        labels=None if spec.data.outputs else subject.targets.argmax(-1),
        celsius=c.temperature,
        supply_scales=c.supply,
        resistors=ResistorsOverTemperature.of(spec, kelvin, c.temperature_coefficients),
    )


def _monte_carlo(path: Path, sample: int, c: Conditions, workplace: Workplace) -> MonteCarlo:
    folder, draws = workplace.folder, ChipDraws.of(path, sample, c.samples, c.engine)
    # Chips of an earlier call count however many are asked for now.
    of_chips = file_stem("monte-carlo", sample, replace(c, chips=0, check_chips=0))
    return monte_carlo(
        draws,
        c.chips,
        checks=c.check_chips,
        folder=None if folder is None else folder / f"{of_chips}_scores",
        worst=None if folder is None else folder / f"{file_stem('monte-carlo', sample, c)}_worst",
        jobs=workplace.jobs,
        progress=workplace.progress,
    )


def _nudging(subject: _Subject) -> NudgingReport:
    network = crossbars_of(
        subject.network, "a study of nudging needs a ResistiveNetwork", "train one by a spec with sizes"
    )
    gradient = subject.spec.gradient
    batch = subject.batch
    nudge = build_nudge(subject.spec, subject.targets[batch])
    nudged = NudgedBatch(network, subject.inputs[batch], nudge, gradient.compared_signs, subject.chip)
    return nudging_report(nudged, subject.reads, gradient.nudging)


def _lock_in(subject: _Subject) -> MeasuringTime:
    c, batch = subject.conditions, subject.batch
    nudge = build_nudge(subject.spec, subject.targets[batch])
    oscillation = Oscillation(c.frequency, c.capacitance)
    return measuring_time(subject.network, subject.inputs[batch], nudge, oscillation, c.snr, subject.chip)


def _wires(subject: _Subject) -> WireReport:
    network = crossbars_of(
        subject.network, "a study of wires needs a ResistiveNetwork", "give the spec one with [wires]"
    )
    return wire_report(network, subject.inputs, subject.targets, chip=subject.chip)


def _output_time_constants(circuit: Circuit) -> tuple[float, float]:
    """Smallest and largest C/Σg at the outputs' nodes. [s]"""
    if circuit.outputs is None:
        raise StimulusError(f"noise over time needs outputs, found none in {circuit.title!r}; see set_outputs")
    farads, siemens = np.zeros(circuit.n_nodes), np.zeros(circuit.n_nodes)
    for group in circuit.of_kind(ChargeLaw):
        np.add.at(farads, group.ends()[0], group.capacitances())
    for group in circuit.of_kind(CurrentLaw):
        if (own := group.resistors()) is not None:
            for node in group.ends():
                np.add.at(siemens, node, own)
    nodes = np.setdiff1d(np.concatenate(circuit.outputs), [GROUND])
    constants = farads[nodes] / siemens[nodes]
    return float(constants.min()), float(constants.max())


_STUDIES: dict[Study, Callable[[_Subject], StudyReport]] = {
    "operating-point": _operating_point,
    "gradient": _gradient,
    "settling": lambda subject: subject.settling,
    "noise": _noise,
    "transient-noise": _transient_noise,
    "power": _power,
    "corners": _corners,
    "wires": _wires,
    "nudging": _nudging,
    "lock-in": _lock_in,
}
