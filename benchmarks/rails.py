"""Reads the voltage of every node of a trained network from ngspice, in the free and the nudged phases.

python benchmarks/rails.py RUN --rail 0.6 --samples 100
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch

from analog_ep.circuit import Circuit
from analog_ep.equilibrium.equilibrium import solve
from analog_ep.equilibrium.ngspice import Ngspice
from analog_ep.runs.building import build_nudge
from analog_ep.runs.trained import test_samples, trained_circuit


def extremes(path: Path, samples: int) -> dict[str, tuple[float, float, str]]:
    """Lowest and highest voltage of each phase, and the node that is farthest from the reference. [V]"""
    spec, network, chip = trained_circuit(path)
    inputs, targets = test_samples(spec, network, slice(0, samples), chip)
    circuit, solver, nudge = network.circuit(chip), Ngspice(reduced=True), build_nudge(spec, targets)
    free = solve(circuit, inputs, solver=solver)
    phases = {"free": free.voltages}
    for sign in spec.gradient.compared_signs:
        nudged = nudge.scaled(sign * nudge.strength)
        phases[f"nudged by {sign * nudge.strength:g}"] = solve(
            circuit, inputs, nudged, solver=solver, start=free
        ).voltages
    return {name: _extremes(circuit, volts) for name, volts in phases.items()}


def _extremes(circuit: Circuit, volts: torch.Tensor) -> tuple[float, float, str]:
    farthest = int(volts.abs().amax(0).argmax())
    return float(volts.min()), float(volts.max()), circuit.node_names[farthest]


def main() -> None:
    """Print the extremes; exit with 1 where a voltage is beyond the rail."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path)
    parser.add_argument("--rail", type=float, required=True, help="Largest voltage from the reference. [V]")
    parser.add_argument("--samples", type=int, default=100)
    options = parser.parse_args()
    found = extremes(options.run, options.samples)
    for phase, (low, high, node) in found.items():
        print(f"{phase}: {low:.4f} to {high:.4f} V, farthest {node}")
    raise SystemExit(any(max(-low, high) > options.rail * (1 + 1e-9) for low, high, _ in found.values()))


if __name__ == "__main__":
    main()
