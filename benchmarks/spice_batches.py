"""Milliseconds a sample of whole batches in ngspice, everything included, as JSON on one line.

    python benchmarks/spice_batches.py [--rounds N] [--input-voltage V]

Rows are the input and bias nodes of the first crossbar: 4-10-3 has 10 rows, 10 hidden nodes and 6 output nodes;
127-64-10 has 256, 64 and 20. Everything from the network to the voltages is inside the time: its circuit, the netlist's
text, ngspice, the reading, and the Kirchhoff residual. `cpu` counts the processor time of Python and of ngspice, which
other work on the machine leaves as it is.
"""

from __future__ import annotations

import argparse
import json
import resource
import time
from dataclasses import dataclass

import torch

from analog_ep.devices import ShockleyDiode
from analog_ep.equilibrium.equilibrium import solve
from analog_ep.equilibrium.ngspice import Ngspice
from analog_ep.networks import ResistiveNetwork
from analog_ep.stimulus import Nudge, SquaredError


@dataclass(frozen=True)
class Case:
    """A network, a batch, and how it is solved."""

    name: str
    sizes: tuple[int, ...]
    samples: int
    reduced: bool


CASES = (
    Case("10x10x6 full", (4, 10, 3), 1000, False),
    Case("256x64x20 full", (127, 64, 10), 200, False),
    Case("256x64x20 reduced", (127, 64, 10), 1000, True),
    Case("784-100-10 reduced", (784, 100, 10), 1000, True),
)


def main() -> None:
    options = argparse.ArgumentParser(description="Time whole batches in ngspice.")
    options.add_argument("--rounds", type=int, default=3, help="How often each way is timed; medians are told.")
    options.add_argument("--input-voltage", type=float, default=1.0, help="Inputs lie in 0…this. [V]")
    chosen = options.parse_args()
    torch.set_num_threads(1)
    print(json.dumps({case.name: measure(case, chosen.rounds, chosen.input_voltage) for case in CASES}))


def measure(case: Case, rounds: int, input_voltage: float) -> dict[str, float]:
    """Medians for one process and for two, in turn. [ms a sample]"""
    network = ResistiveNetwork(case.sizes, diode=ShockleyDiode(saturation_current=1e-9), dtype=torch.float64)
    random = torch.Generator().manual_seed(0)
    inputs = input_voltage * torch.rand(case.samples, network.n_inputs, dtype=torch.float64, generator=random)
    labels = torch.randint(network.n_outputs, (case.samples,), generator=random)
    targets = SquaredError().encode(labels, network.n_outputs, like=inputs)
    found: dict[int, list[tuple[float, float, float]]] = {1: [], 2: []}
    run(network, inputs, targets, case.reduced, 2)
    for _ in range(rounds):
        for processes, measured in found.items():
            measured.append(run(network, inputs, targets, case.reduced, processes))
    one, two = (sorted(found[processes])[rounds // 2] for processes in (1, 2))
    return {
        "both_phases_ms": one[0],
        "phase_ms": one[0] / 2,
        "cpu_python_ms": one[1],
        "cpu_ngspice_ms": one[2],
        "two_processes_both_phases_ms": two[0],
        "two_processes_speedup": one[0] / two[0],
    }


def run(
    network: ResistiveNetwork, inputs: torch.Tensor, targets: torch.Tensor, reduced: bool, processes: int
) -> tuple[float, float, float]:
    """Wall time, and processor time of Python and ngspice, of a free and a nudged phase. [ms a sample]"""
    solver = Ngspice(reduced=reduced, processes=processes)
    before, began = _processor_seconds(), time.perf_counter()
    free = solve(network, inputs, solver=solver)
    solve(network, inputs, Nudge(1e-6, targets, SquaredError()), solver=solver, start=free)
    wall, after = time.perf_counter() - began, _processor_seconds()
    python, ngspice = (b - a for a, b in zip(before, after, strict=True))
    per_sample = 1e3 / len(inputs)
    return wall * per_sample, python * per_sample, ngspice * per_sample


def _processor_seconds() -> tuple[float, float]:
    """Of this process, and of those it has waited for."""
    used = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    python, children = (usage.ru_utime + usage.ru_stime for usage in used)
    return python, children


if __name__ == "__main__":
    main()
