"""How closely ngspice's analyses agree with calculations that share no code with them, as JSON on one line.

    python benchmarks/spice_accuracy.py [--sizes 16-20-4]

- `gradient_cosine`: the gradient from `.ac` alone against implicit differentiation, by crossbar.
- `kt_over_c`: variance of `.noise` at a node of 50 kΩ and 100 kΩ and 1 pF, over k_B T/C.
- `network_noise`: largest relative distance of a network's output density (`.noise`) from 4 k_B T g and 2 q |i| carried
  to the outputs by dense linear solves.
- `settling`: relative distances of the settling times to 1 % and to 1 mV, by phase and layer, between ngspice's `.tran`
  and the integration in PyTorch, with ideal amplifiers and with those of 100 MHz, 100 Ω and rails at 3 V.
"""

from __future__ import annotations

import argparse
import json
import math

import numpy as np
import torch

from analog_ep.analyses.noise import output_noise
from analog_ep.analyses.response import small_signal_gradient
from analog_ep.analyses.settling_report import SettlingReport, settling_report
from analog_ep.circuit import GROUND, Capacitors, Circuit, CircuitBuilder, Conductances, Diodes, VoltageSources
from analog_ep.circuit.node_capacitance import with_node_capacitance
from analog_ep.circuit.real_amplifiers import AmplifierModel, with_amplifiers
from analog_ep.constants import BOLTZMANN, DEFAULT_TEMPERATURE, ELEMENTARY_CHARGE
from analog_ep.devices import ShockleyDiode
from analog_ep.equilibrium.equilibrium import solve
from analog_ep.equilibrium.ngspice import Ngspice
from analog_ep.equilibrium.nodal.newton import Newton
from analog_ep.networks import ResistiveNetwork
from analog_ep.stimulus import SquaredError

AMPLIFIERS = AmplifierModel(bandwidth=1e8, output_resistance=100.0, rail=3.0)


def main() -> None:
    options = argparse.ArgumentParser(description="Compare ngspice's analyses with independent calculations.")
    options.add_argument("--sizes", default="16-20-4", help="Units of the network's layers.")
    sizes = [int(size) for size in options.parse_args().sizes.split("-")]
    torch.set_num_threads(1)
    network = ResistiveNetwork(sizes, diode=ShockleyDiode(saturation_current=1e-9), dtype=torch.float64)
    random = torch.Generator().manual_seed(0)
    inputs = 8 * torch.rand(4, network.n_inputs, dtype=torch.float64, generator=random) - 4
    targets = SquaredError().encode(torch.arange(4) % network.n_outputs, network.n_outputs, like=inputs)
    gradient = small_signal_gradient(network, SquaredError(), inputs, targets, Ngspice(reduced=True))
    ideal = network.circuit()
    real = with_amplifiers(ideal, AMPLIFIERS)
    print(
        json.dumps(
            {
                "gradient_cosine": gradient.cosines,
                "kt_over_c": kt_over_c(),
                "network_noise": network_noise(with_node_capacitance(real, 1e-12), inputs[0].numpy()),
                "settling": {
                    name: settling_distances(with_node_capacitance(circuit, 1e-12), inputs[0], targets[0])
                    for name, circuit in (("ideal", ideal), ("real", real))
                },
            }
        )
    )


def kt_over_c() -> float:
    """Variance of the noise at a single node, over k_B T/C."""
    builder = CircuitBuilder("single node")
    x, a = builder.add_nodes(["x", "a"])
    builder.add(VoltageSources("x", x, GROUND, 0.0, 0))
    builder.add(Conductances("r", [x, a], [a, GROUND], [2e-5, 1e-5]))
    builder.add(Capacitors("c", a, GROUND, 1e-12))
    builder.set_outputs(a, np.array(GROUND))
    rms = output_noise(builder.build(), np.ones(1)).rms[0]
    return float(rms**2 / (BOLTZMANN * DEFAULT_TEMPERATURE / 1e-12))


def network_noise(circuit: Circuit, inputs: np.ndarray) -> float:
    """Largest relative distance of the density from a nodal analysis of small signals."""
    found = output_noise(circuit, inputs, band=(1e3, 1e10), points_per_decade=2, reduced=True)
    voltages = solve(circuit, torch.from_numpy(inputs), solver=Newton()).voltages.numpy()
    expected = np.stack([nodal_noise(circuit, voltages, frequency) for frequency in found.frequencies], axis=1)
    return float(np.abs(found.density / expected - 1).max())


def nodal_noise(circuit: Circuit, voltages: np.ndarray, frequency: float) -> np.ndarray:
    """Density of each output `(n_outputs,)` [V/√Hz], by the adjoint of the nodal matrix; no E, F or H sources."""
    nodal = np.zeros((circuit.n_nodes, circuit.n_nodes), complex)
    currents = []
    for group in circuit.groups:
        if isinstance(group, VoltageSources):
            continue
        if isinstance(group, (Conductances, Capacitors, Diodes)):
            first, second = (getattr(group, name) for name in group.terminals)
            control, density = (first, second), np.zeros(len(group))
            if isinstance(group, Conductances):
                admittance, density = group.siemens, 4 * BOLTZMANN * DEFAULT_TEMPERATURE * group.siemens
            elif isinstance(group, Capacitors):
                admittance = 2j * math.pi * frequency * group.farads
            else:
                across = torch.from_numpy(voltages[first] - voltages[second])
                admittance = group.device.conductance(across).numpy()
                if isinstance(group.device, ShockleyDiode):
                    density = 2 * ELEMENTARY_CHARGE * np.abs(group.device.current(across).numpy())
            currents.append((first, second, density))
        else:
            first, second, control, admittance = _controlled(group)
        for node, sign in ((first, 1), (second, -1)):
            np.add.at(nodal, (node, control[0]), sign * admittance)
            np.add.at(nodal, (node, control[1]), -sign * admittance)
    held = np.zeros(circuit.n_nodes, dtype=bool)
    held[GROUND] = True
    for group in circuit.of_kind(VoltageSources):
        held[group.positive] = True
    assert circuit.outputs is not None
    pick = np.zeros((circuit.n_nodes, len(circuit.outputs[0])))
    pick[circuit.outputs[0], np.arange(pick.shape[1])] = 1
    pick[circuit.outputs[1], np.arange(pick.shape[1])] = -1
    adjoint = np.zeros(pick.shape, complex)
    adjoint[~held] = np.linalg.solve(nodal[np.ix_(~held, ~held)].T, pick[~held])
    power = sum((s[:, None] * np.abs(adjoint[a] - adjoint[b]) ** 2).sum(axis=0) for a, b, s in currents)
    return np.sqrt(power)


def _controlled(group) -> tuple:
    return group.positive, group.negative, (group.control_positive, group.control_negative), group.gain


def settling_distances(circuit: Circuit, inputs: torch.Tensor, target: torch.Tensor) -> dict[str, float]:
    """|t_torch/t_ngspice − 1| of every settling time that is not zero."""
    free = solve(circuit, inputs, solver=Newton())
    currents = 1e-5 * (target - free.outputs).numpy()
    reports: list[SettlingReport] = [
        settling_report(
            circuit, inputs.numpy(), free.voltages.numpy(), currents, capacitance=1e-12, lsb=1e-3, integrator=name
        )
        for name in ("torch", "ngspice")
    ]
    ours, theirs = (report.phases for report in reports)
    return {
        f"{phase} {layer} {what}": abs(ours[phase][layer][what] / seconds - 1)
        for phase, layers in theirs.items()
        for layer, times in layers.items()
        for what, seconds in times.items()
        if seconds
    }


if __name__ == "__main__":
    main()
