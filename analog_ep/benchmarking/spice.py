"""Time of a sample in a fresh ngspice, in the best batch of ngspice, and in PyTorch: one circuit, one tolerance."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import torch
from rich.table import Table
from torch import Tensor

from analog_ep.devices import ShockleyDiode
from analog_ep.equilibrium.equilibrium import Equilibrium, Solver, solve
from analog_ep.equilibrium.layered.relaxation import Relaxation
from analog_ep.equilibrium.ngspice import Ngspice
from analog_ep.errors import StimulusError
from analog_ep.networks import ResistiveNetwork
from analog_ep.ngspice.process import EngineReport
from analog_ep.stimulus import Nudge, SquaredError
from analog_ep.support.shown import Tabled

_NUDGING = 1e-6


@dataclass(frozen=True)
class SpiceBenchmark(Tabled):
    """Wall time of a free and a nudged phase together, everything included: medians over the rounds.

    Attributes
    ----------
    torch_ms_per_sample, ngspice_fresh_ms_per_sample, ngspice_batched_ms_per_sample : float
        PyTorch's batch; one process a sample and phase with the full netlist; reduced netlists in sweeps. [ms]
    max_voltage_error : float
        Largest difference of a layer's voltages between PyTorch and the batch of ngspice, both phases. [V]
    sizes : tuple of int
        The network.
    samples, processes, threads : int
        Size of the batch, processes of ngspice, threads of PyTorch.
    engine : EngineReport
        Which ngspice.
    """

    torch_ms_per_sample: float
    ngspice_fresh_ms_per_sample: float
    ngspice_batched_ms_per_sample: float
    max_voltage_error: float
    sizes: tuple[int, ...]
    samples: int
    processes: int
    threads: int
    engine: EngineReport

    def to_json(self) -> str:
        """The figures as a JSON object."""
        return json.dumps({**asdict(self), **self.engine.to_dict()})

    def table(self) -> Table:
        """The figures as a table for a terminal."""
        table = Table("free and nudged phase", "ms a sample", "times torch", title="-".join(map(str, self.sizes)))
        program = self.engine.program
        for name, milliseconds in (
            (f"torch, {self.threads} threads", self.torch_ms_per_sample),
            (
                f"{program}, batch of {self.samples}, {self.processes} processes",
                self.ngspice_batched_ms_per_sample,
            ),
            (f"{program}, fresh", self.ngspice_fresh_ms_per_sample),
        ):
            table.add_row(name, f"{milliseconds:.4g}", f"{milliseconds / self.torch_ms_per_sample:.4g}")
        table.add_row("engine", str(self.engine), "")
        table.add_row("largest voltage error", f"{self.max_voltage_error:.2e} V", "")
        return table


def benchmark_spice(
    sizes: Sequence[int],
    samples: int = 1000,
    rounds: int = 3,
    processes: int | None = None,
    seed: int = 0,
) -> SpiceBenchmark:
    """Time a free and a frozen-nudge phase of a Shockley network in float64, the ways of solving in turn.

    Parameters
    ----------
    sizes : sequence of int
        Units of the network, such as [784, 100, 10].
    samples, rounds : int
        Samples of the batches, and how often each way is timed; a fresh ngspice with one sample a round.
    processes, seed : int
        Processes of the batch in ngspice, by default one a processor; seed of conductances and inputs.

    Raises
    ------
    StimulusError
        If there is no sample or no round.
    NgspiceError
        If there is no ngspice, or it fails.
    """
    if samples < 1 or rounds < 1:
        raise StimulusError(f"a benchmark needs samples and rounds, found {samples} and {rounds}")
    network, inputs, targets = _problem(sizes, samples, seed)
    processes = os.cpu_count() or 1 if processes is None else processes
    batched, fresh = Ngspice(reduced=True, processes=processes), Ngspice(max_points=1)
    # The first call pays for what later ones share, such as starting threads.
    expected = _phases(network, inputs, targets, Relaxation())
    found = _phases(network, inputs, targets, batched)
    seconds: dict[str, list[float]] = {"fresh": [], "batched": [], "torch": []}
    for i in range(rounds):
        one = slice(i % samples, i % samples + 1)
        seconds["fresh"].append(_timed(network, inputs[one], targets[one], fresh))
        seconds["batched"].append(_timed(network, inputs, targets, batched))
        seconds["torch"].append(_timed(network, inputs, targets, Relaxation()))
    fresh_ms, batched_ms, torch_ms = (1e3 * sorted(times)[len(times) // 2] for times in seconds.values())
    return SpiceBenchmark(
        torch_ms_per_sample=torch_ms,
        ngspice_fresh_ms_per_sample=fresh_ms,
        ngspice_batched_ms_per_sample=batched_ms,
        max_voltage_error=_largest_difference(expected, found),
        sizes=network.sizes,
        samples=samples,
        processes=processes,
        threads=torch.get_num_threads(),
        engine=batched.engine,
    )


def _problem(sizes: Sequence[int], samples: int, seed: int) -> tuple[ResistiveNetwork, Tensor, Tensor]:
    """A network, inputs and targets."""
    network = ResistiveNetwork(sizes, diode=ShockleyDiode(saturation_current=1e-9), dtype=torch.float64, seed=seed)
    random = torch.Generator().manual_seed(seed)
    inputs = torch.rand(samples, network.n_inputs, dtype=torch.float64, generator=random)
    labels = torch.randint(network.n_outputs, (samples,), generator=random)
    return network, inputs, SquaredError().encode(labels, network.n_outputs, like=inputs)


def _phases(
    network: ResistiveNetwork, inputs: Tensor, targets: Tensor, solver: Solver
) -> tuple[Equilibrium, Equilibrium]:
    free = solve(network, inputs, solver=solver)
    return free, solve(network, inputs, Nudge(_NUDGING, targets, SquaredError()), solver=solver, start=free)


def _timed(network: ResistiveNetwork, inputs: Tensor, targets: Tensor, solver: Solver) -> float:
    """Seconds a sample."""
    began = time.perf_counter()
    _phases(network, inputs, targets, solver)
    return (time.perf_counter() - began) / len(inputs)


def _largest_difference(first: tuple[Equilibrium, ...], second: tuple[Equilibrium, ...]) -> float:
    return max(
        float((a - b).abs().max())
        for one, other in zip(first, second, strict=True)
        for a, b in zip(one.layers, other.layers, strict=True)
    )
