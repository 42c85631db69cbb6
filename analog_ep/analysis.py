"""The studies of `analog_ep.studies` on one sample of a trained run."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from torch import Tensor

from analog_ep.building import build_nudge
from analog_ep.circuit import Circuit
from analog_ep.equilibrium.equilibrium import Equilibrium, solve
from analog_ep.equilibrium.ngspice import Ngspice
from analog_ep.run import stored_chip
from analog_ep.spec import Spec
from analog_ep.studies.capacitance import with_node_capacitance
from analog_ep.studies.corners import Corners, corners
from analog_ep.studies.noise import OutputNoise, output_noise
from analog_ep.studies.power import Power, branch_power
from analog_ep.studies.settling import SettlingReport, settling
from analog_ep.trained import test_samples, trained_network

Study = Literal["settling", "noise", "power", "corners"]


def analyse(
    path: Path, study: Study, sample: int = 0, *, capacitance: float = 1e-12, lsb: float = 1e-3
) -> SettlingReport | OutputNoise | Power | Corners:
    """Study one test sample of a run in ngspice.

    Parameters
    ----------
    path : Path
        The run folder.
    study : "settling", "noise", "power" or "corners"
        Settling of the free phase from discharged nodes, and of the nudged phase after it; noise of the outputs; power
        in the free phase, with the energy until the outputs have settled to 1 %; outputs at other temperatures and
        process corners.
    sample : int
        Index in the test part.
    capacitance : float
        Of every node that neither a source nor an amplifier holds. [F]
    lsb : float
        Step of the converter at the outputs. [V]

    Raises
    ------
    CheckpointError
        If the folder has no usable checkpoint.
    DataError
        If there is no such sample.
    NgspiceError
        If there is no ngspice, or it fails.
    """
    spec, network = trained_network(path)
    chip = stored_chip(path, spec, network)
    inputs, targets = test_samples(spec, network, slice(sample, sample + 1), chip)
    circuit, solver = network.circuit(chip), Ngspice(reduced=True)
    if study == "corners":
        return corners(circuit, inputs, solver=solver)
    loaded, values = with_node_capacitance(circuit, capacitance), inputs[0].numpy()
    if study == "noise":
        return output_noise(loaded, values, reduced=True)
    free = solve(network, inputs, solver=solver, chip=chip)
    if study == "settling":
        return _settling(spec, loaded, free, targets, capacitance, lsb)
    output_layer = list(circuit.layers)[-1]
    seconds = settling(loaded, values, reduced=True).within_share()[output_layer]
    return branch_power(circuit, free.voltages.numpy(), seconds)


def _settling(
    spec: Spec, circuit: Circuit, free: Equilibrium, targets: Tensor, capacitance: float, lsb: float
) -> SettlingReport:
    currents = build_nudge(spec, targets).current(free.outputs)[0].numpy()
    values, start = free.inputs[0].numpy(), free.voltages[0].numpy()
    phases = {
        "free": settling(circuit, values, reduced=True),
        "nudged": settling(circuit, values, nudge_currents=currents, start=start, reduced=True),
    }
    return SettlingReport({name: phase.figures(lsb) for name, phase in phases.items()}, capacitance, lsb)
