"""Milliseconds a sample of whole batches in ngspice, everything included, as JSON on one line.

    python benchmarks/spice_batches.py [--rounds N] [--input-voltage V] [--only NAME] [--samples N]

Rows are the input and bias nodes of the first crossbar: 4-10-3 has 10 rows, 10 hidden nodes and 6 output nodes;
127-64-10 has 256, 64 and 20. Everything from the network to the voltages is inside the time: its circuit, the netlist's
text, ngspice, the reading, and the Kirchhoff residual. Times are of the free and the nudged phase together but for
`phase_ms`.

`cpu` counts the processor time of Python and of ngspice, and `elsewhere` is the share of the machine that other work
took from the timed runs: where it is more than a few hundredths, two processes have less than two processors, and
`two_processes_speedup` says little. `two_processes_speedup_of_best` divides the shortest times of all rounds.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import resource
import time
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

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
    Case("10x10x6 full, 10,000", (4, 10, 3), 10_000, False),
    Case("256x64x20 full", (127, 64, 10), 200, False),
    Case("256x64x20 full, 1,000", (127, 64, 10), 1000, False),
    Case("256x64x20 reduced", (127, 64, 10), 1000, True),
    Case("784-100-10 reduced", (784, 100, 10), 1000, True),
)


def main() -> None:
    options = argparse.ArgumentParser(description="Time whole batches in ngspice.")
    options.add_argument("--rounds", type=int, default=3, help="How often each way is timed; medians are told.")
    options.add_argument("--input-voltage", type=float, default=1.0, help="Inputs lie in 0…this. [V]")
    options.add_argument("--only", default="", help="Beginning of the names of the cases to measure.")
    options.add_argument("--samples", type=int, help="Samples of each batch, in place of the case's own.")
    chosen = options.parse_args()
    torch.set_num_threads(1)
    cases = [case for case in CASES if case.name.startswith(chosen.only)]
    if chosen.samples is not None:
        cases = [replace(case, samples=chosen.samples) for case in cases]
    print(json.dumps({case.name: measure(case, chosen.rounds, chosen.input_voltage) for case in cases}))


def measure(case: Case, rounds: int, input_voltage: float) -> dict[str, float | None]:
    """Medians for one process and for two, in turn. [ms a sample]"""
    network = ResistiveNetwork(case.sizes, diode=ShockleyDiode(saturation_current=1e-9), dtype=torch.float64)
    random = torch.Generator().manual_seed(0)
    inputs = input_voltage * torch.rand(case.samples, network.n_inputs, dtype=torch.float64, generator=random)
    labels = torch.randint(network.n_outputs, (case.samples,), generator=random)
    targets = SquaredError().encode(labels, network.n_outputs, like=inputs)
    found: dict[int, list[Times]] = {1: [], 2: []}
    run(network, inputs, targets, case.reduced, 2)
    for _ in range(rounds):
        for processes, measured in found.items():
            measured.append(run(network, inputs, targets, case.reduced, processes))
    one, two = (Times(*map(_median, zip(*found[processes], strict=True))) for processes in (1, 2))
    best = [min(times.wall for times in found[processes]) for processes in (1, 2)]
    taken = [times.elsewhere for measured in found.values() for times in measured]
    return {
        "both_phases_ms": one.wall,
        "phase_ms": one.wall / 2,
        "cpu_python_ms": one.python,
        "cpu_ngspice_ms": one.ngspice,
        "two_processes_both_phases_ms": two.wall,
        "two_processes_cpu_python_ms": two.python,
        "two_processes_cpu_ngspice_ms": two.ngspice,
        "two_processes_speedup": one.wall / two.wall,
        "two_processes_speedup_of_best": best[0] / best[1],
        "elsewhere": None if math.isnan(_median(taken)) else _median(taken),
    }


class Times(NamedTuple):
    """Of a free and a nudged phase. [ms a sample]; `elsewhere` is a share of all processors, NaN where unknown."""

    wall: float
    python: float
    ngspice: float
    elsewhere: float


def run(network: ResistiveNetwork, inputs: torch.Tensor, targets: torch.Tensor, reduced: bool, processes: int) -> Times:
    """Time a free and a nudged phase."""
    solver = Ngspice(reduced=reduced, processes=processes)
    busy, before, began = _busy_seconds(), _processor_seconds(), time.perf_counter()
    free = solve(network, inputs, solver=solver)
    solve(network, inputs, Nudge(1e-6, targets, SquaredError()), solver=solver, start=free)
    wall, after = time.perf_counter() - began, _processor_seconds()
    python, ngspice = (b - a for a, b in zip(before, after, strict=True))
    elsewhere = (_busy_seconds() - busy - python - ngspice) / (wall * (os.cpu_count() or 1))
    per_sample = 1e3 / len(inputs)
    return Times(wall * per_sample, python * per_sample, ngspice * per_sample, elsewhere)


def _median(values: Iterable[float]) -> float:
    ordered = sorted(values)
    return ordered[len(ordered) // 2]


def _busy_seconds() -> float:
    """Processor time of everything that runs on this machine, where Linux tells."""
    try:
        words = Path("/proc/stat").read_text(encoding="ascii").split("\n", 1)[0].split()[1:9]
    except OSError:
        return math.nan
    user, nice, system, _idle, _waiting, *interrupts = map(int, words)
    return (user + nice + system + sum(interrupts)) / os.sysconf("SC_CLK_TCK")


def _processor_seconds() -> tuple[float, float]:
    """Of this process, and of those it has waited for."""
    used = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    python, children = (usage.ru_utime + usage.ru_stime for usage in used)
    return python, children


if __name__ == "__main__":
    main()
