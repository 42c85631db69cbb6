"""Digits by gate voltages on chips that did not learn them: trained runs, mismatch of the transistors, all test images.

The spreads are those with which the public PyCLLN makes its chips: 10 mV of the threshold, 0.5 % of the drive.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch

from analog_ep.equilibrium import Newton, Ngspice, solve
from analog_ep.learning.training import accuracy
from analog_ep.runs.building import build_dataset, build_solver
from analog_ep.runs.chips import build_chip
from analog_ep.runs.trained import trained_circuit
from analog_ep.spec.reading import with_values


def scores(run: Path, chips: int, threshold: float, drive: float) -> list[float]:
    """Test accuracy of a run without mismatch, then on each chip."""
    spec, network, _ = trained_circuit(run)
    data = build_dataset(spec, network)
    inputs, solver = data.test_inputs.double(), build_solver(spec)
    found = [accuracy(network, inputs, data.test_labels, solver)]
    for seed in range(chips):
        table = {"seed": seed, "gate_threshold_spread": threshold, "transconductance_spread": drive}
        chip = build_chip(with_values(spec, chip=table), network)
        found.append(accuracy(network, inputs, data.test_labels, solver, chip))
    return found


def apart(run: Path, samples: int) -> float:
    """Largest difference of a node's voltage between Newton's method and ngspice, on the first test samples. [V]"""
    spec, network, _ = trained_circuit(run)
    inputs = build_dataset(spec, network).test_inputs[:samples].double()
    newton, ngspice = (solve(network, inputs, solver=solver).voltages for solver in (Newton(), Ngspice(processes=1)))
    return float((newton - ngspice).abs().max())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("runs", nargs="+", type=Path, help="run folders of specs/digits-nmos.toml")
    parser.add_argument("--chips", type=int, default=3)
    parser.add_argument("--threshold", type=float, default=0.01, help="standard deviation of threshold voltages [V]")
    parser.add_argument("--drive", type=float, default=0.005, help="spread of transconductances")
    parser.add_argument("--ngspice", type=int, default=0, help="samples of the first run that ngspice solves, too")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    table = [scores(run, arguments.chips, arguments.threshold, arguments.drive) for run in arguments.runs]
    for run, found in zip(arguments.runs, table, strict=True):
        print(f"{run}: {found[0]:.2%}; chips {', '.join(f'{score:.2%}' for score in found[1:])}", flush=True)
    clean, noisy = torch.tensor(table, dtype=torch.float64)[:, :1], torch.tensor(table, dtype=torch.float64)[:, 1:]
    print(f"mean {clean.mean():.2%}; on chips {noisy.mean():.2%}")
    if arguments.ngspice:
        found = apart(arguments.runs[0], arguments.ngspice)
        print(f"ngspice, {arguments.ngspice} samples, every node: within {found:.1e} V")


if __name__ == "__main__":
    main()
