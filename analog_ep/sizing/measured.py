"""What a trained candidate shows: voltages, power, accuracy, and the nudgings that its reads allow."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from analog_ep.analyses.nudging import MOST_BIAS, MOST_ERROR, NudgedBatch, nudging_report
from analog_ep.analyses.periphery import ENERGY_PER_STEP, USUAL_BITS, Periphery, PhaseEnergy, inference_energy
from analog_ep.analyses.power import branch_power
from analog_ep.analyses.read_errors import Reads
from analog_ep.analyses.settling import settling_in_torch
from analog_ep.circuit import Chip, sampled_noise
from analog_ep.circuit.node_capacitance import with_node_capacitance
from analog_ep.equilibrium.equilibrium import solve
from analog_ep.networks import CrossbarNetwork
from analog_ep.runs.building import build_nudge, build_resistive, build_solver
from analog_ep.runs.folder import stored_chip
from analog_ep.runs.trained import test_samples, trained_network
from analog_ep.spec import Spec
from analog_ep.spec.technology import Technology

_SAMPLES = 100
"""Of the test part, by which voltages and power are told."""


@dataclass(frozen=True)
class Measured:
    """A network at work.

    Attributes
    ----------
    largest : float
        Voltage of any node, free or nudged; inputs and biases stand at the rails by design. [V]
    hidden, outputs : float
        The same of the hidden nodes and of the outputs. [V]
    free_outputs : float
        Of the outputs in the free phase alone. [V]
    power : float
        Static, mean over samples. [W]
    settling_time : float
        Of the outputs to 1 %, free, at the first sample. [s]
    at_bounds : float
        Share of the cells that stand at g_min or g_max.
    energy : dict of str to float
        Of an inference by where it goes, drivers, amplifiers and converters included. [J]
    """

    largest: float
    hidden: float
    outputs: float
    free_outputs: float
    power: float
    settling_time: float
    at_bounds: float
    energy: dict[str, float]


def measure(path: Path, technology: Technology) -> Measured:
    """Solve the phases of a run's network on the first test samples, in float64."""
    spec, network = trained_network(path)
    return measure_network(spec, network, stored_chip(path, spec, network), technology)


def initial_power(spec: Spec) -> float:
    """Static power of an inference before any training. [W]"""
    network = build_resistive(spec, torch.float64)
    inputs, _ = test_samples(spec, network, slice(0, 1), None)
    state = solve(network, inputs, solver=build_solver(spec))
    return branch_power(network.circuit(), state.voltages.numpy()).total


def measure_network(spec: Spec, network: CrossbarNetwork, chip: Chip | None, technology: Technology) -> Measured:
    """See `measure`."""
    inputs, targets = test_samples(spec, network, slice(0, None), chip)
    inputs, targets = inputs[:_SAMPLES], targets[:_SAMPLES]
    solver, nudge = build_solver(spec), build_nudge(spec, targets)
    free = solve(network, inputs, solver=solver, chip=chip)
    states = [free]
    for sign in spec.gradient.compared_signs:
        nudged = nudge.scaled(sign * nudge.strength)
        states.append(solve(network, inputs, nudged, solver=solver, start=free, chip=chip))
    layers = [torch.stack([each.layers[n].abs().max() for each in states]).max() for n in range(len(free.layers))]
    circuit, voltages = network.circuit(chip), free.voltages.numpy()
    power = branch_power(circuit, voltages)
    largest = max(float(each.voltages.abs().max()) for each in states)
    loaded = with_node_capacitance(circuit, technology.capacitance.node)
    seconds = settling_in_torch(loaded, inputs[0].numpy()).within_share()["o"]
    periphery = _periphery(technology, largest)
    phase = PhaseEnergy(periphery.phase(circuit, voltages, power), seconds, periphery.charging(voltages))
    ranges = {name: network.range_of(name) for name in network.conductances}
    at_bounds = torch.cat(
        [
            ((siemens <= 1.001 * ranges[name][0]) | (siemens >= ranges[name][1] / 1.001)).flatten()
            for name, siemens in network.conductances.items()
        ]
    )
    return Measured(
        largest=largest,
        hidden=max(float(volts) for volts in layers[:-1]),
        outputs=float(layers[-1]),
        free_outputs=float(free.layers[-1].abs().max()),
        power=power.total,
        settling_time=seconds,
        at_bounds=float(at_bounds.double().mean()),
        energy=inference_energy(periphery, phase, network.n_inputs, 2 * network.n_outputs, circuit.temperature),
    )


def _periphery(technology: Technology, largest: float) -> Periphery:
    """Of the technology, at a supply that the nodes do not leave."""
    converters = technology.converters
    return Periphery(
        max(technology.supply.voltage, 2 * largest),
        technology.amplifier.supply_current,
        converters.dac_bits or USUAL_BITS,
        converters.adc_bits or USUAL_BITS,
        converters.energy_per_step or ENERGY_PER_STEP,
        capacitance=technology.capacitance.node,
    )


@dataclass(frozen=True)
class Band:
    """Nudgings that reads allow, in every crossbar.

    Attributes
    ----------
    nudging : float
        The one to take: where the largest of bias and error, each relative to what is allowed, is least. [A·V]
    margin : float
        1 over that: at 1 and above a batch can be learnt from without averaging.
    """

    nudging: float
    margin: float


def usable_nudging(path: Path, technology: Technology, ranges: tuple[float, float]) -> Band:
    """The best nudging of a run's network by the reads of a technology; see `nudging_report`.

    Parameters
    ----------
    path : Path
        Of a run without a chip.
    technology : Technology
        Its ADCs and sampling capacitors count.
    ranges : tuple of float
        Full scales of the ADCs, hidden and output. [V]
    """
    spec, network = trained_network(path)
    inputs, targets = test_samples(spec, network, slice(0, None), None)
    batch = slice(0, spec.training.batch_size)
    nudge = build_nudge(spec, targets[batch])
    nudged = NudgedBatch(network, inputs[batch], nudge, spec.gradient.compared_signs, None)
    report = nudging_report(nudged, _reads(technology, ranges), spec.gradient.nudging)
    worst = np.max([np.maximum(each.bias / MOST_BIAS, each.error / MOST_ERROR) for each in report.layers], axis=0)
    best = int(np.argmin(worst))
    return Band(float(report.nudgings[best]), float(1 / worst[best]))


def _reads(technology: Technology, ranges: tuple[float, float]) -> Reads:
    bits, sample = technology.converters.adc_bits, technology.capacitance.sample
    noise = 0.0 if sample is None else sampled_noise(sample)
    steps = tuple(0.0 if bits is None else scale / 2 ** (bits - 1) for scale in ranges)
    return Reads((noise, noise), steps, ranges if bits is not None else (math.inf, math.inf))
