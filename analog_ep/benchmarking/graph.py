"""A training step on a circuit that has no layers: a square lattice with diodes, as large as asked."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Literal

import numpy as np
import torch
from rich.table import Table
from torch import Tensor

from analog_ep.circuit import Branches, Circuit, CircuitBuilder, Conductances, FloatingGateMosfets, VoltageSources
from analog_ep.devices import EkvMosfet, Level1Mosfet, Mosfet, ShockleyDiode
from analog_ep.equilibrium import Newton, Ngspice, solve
from analog_ep.errors import StimulusError
from analog_ep.learning import SmallSignal, Update, implicit_gradients
from analog_ep.networks import CircuitNetwork, GateNetwork, RangedNetwork
from analog_ep.support.shown import Tabled

Edges = Literal["conductances", "level1", "ekv"]
"""What learns: conductances, or the gate voltages of floating-gate transistors of one model."""

_BOUNDS = (1e-7, 1e-3)
_GATES = (0.5, 3.0)
_LEAK = 1e-7
"""From every node of a lattice of transistors to ground. [S]"""

_EDGES_PER_DIODE = 20
_FEWEST = 24
_JUDGED = 2
"""Samples that ngspice solves, and on which implicit differentiation judges the gradient."""


@dataclass(frozen=True)
class GraphBenchmark(Tabled):
    """Median of training steps on a lattice, and how exact they were.

    Attributes
    ----------
    step_ms_per_sample : float
        Free state, small-signal response, gradient and update, for each sample of the batch. [ms]
    ngspice_ms_per_sample : float or None
        A free state alone, in a batch of ngspice; None where that was not asked. [ms]
    max_voltage_error : float or None
        Largest difference to ngspice at any node of the free states. [V]
    gradient_error : float
        Largest difference to implicit differentiation, relative to the largest element of the gradient.
    branches, nodes, diodes, samples, threads : int
        Of the lattice; of the batch; of PyTorch.
    """

    step_ms_per_sample: float
    ngspice_ms_per_sample: float | None
    max_voltage_error: float | None
    gradient_error: float
    branches: int
    nodes: int
    diodes: int
    samples: int
    threads: int

    def to_json(self) -> str:
        """The figures as a JSON object."""
        return json.dumps(asdict(self))

    def table(self) -> Table:
        """The figures as a table for a terminal."""
        title = f"{self.branches} branches, {self.nodes} nodes, {self.diodes} diodes"
        table = Table("lattice", "found", title=title)
        table.add_row(f"step, batch of {self.samples}", f"{self.step_ms_per_sample:.4g} ms a sample")
        if self.ngspice_ms_per_sample is not None:
            table.add_row("free state in ngspice", f"{self.ngspice_ms_per_sample:.4g} ms a sample")
            table.add_row("largest voltage error", f"{self.max_voltage_error:.2e} V")
        table.add_row("gradient error", f"{self.gradient_error:.2e}")
        return table


def lattice(branches: int, seed: int = 0, edges: Edges = "conductances") -> Circuit:
    """A square lattice with about so many trainable edges between neighbours, and a diode for every 20.

    Two inputs drive two corners through 1 kΩ, the difference of the other two is the output, and one edge of the
    lattice has a conductance to ground in its middle. A lattice of transistors leaks to ground at every node.

    Raises
    ------
    StimulusError
        If it would have no inside.
    """
    if branches < _FEWEST:
        raise StimulusError(f"a lattice needs at least {_FEWEST} branches, found {branches}")
    random = np.random.default_rng(seed)
    # m × m nodes have 2 m (m − 1) edges.
    m = round((1 + math.sqrt(1 + 2 * branches)) / 2)
    builder = CircuitBuilder(f"lattice of {m} x {m} nodes")
    nodes = builder.add_nodes([f"n{i}_{j}" for i in range(m) for j in range(m)]).reshape(m, m)
    sources = builder.add_nodes(["x0", "x1"])
    builder.add(VoltageSources("vin", sources, 0, 0.0, input=np.arange(2)))
    first = np.concatenate([nodes[:, :-1].ravel(), nodes[:-1].ravel()])
    second = np.concatenate([nodes[:, 1:].ravel(), nodes[1:].ravel()])
    builder.add(_EDGES[edges](first, second, random))
    if edges != "conductances":
        builder.add(Conductances("leak", nodes.ravel(), 0, _LEAK))
    builder.add(Conductances("feed", sources, nodes[0, [0, -1]], 1e-3))
    builder.add(Conductances("load", nodes[-1, [m // 2]], 0, 1e-4))
    anodes = random.choice(nodes.ravel(), max(1, len(first) // _EDGES_PER_DIODE), replace=False)
    builder.add_diodes("d", anodes, np.zeros_like(anodes), ShockleyDiode(saturation_current=1e-12))
    builder.set_outputs(nodes[-1, [0]], nodes[-1, [-1]])
    return builder.build()


def _conductances(first: np.ndarray, second: np.ndarray, random: np.random.Generator) -> Branches:
    siemens = random.uniform(1e-6, 1e-4, len(first))
    return Conductances("edge", first, second, siemens, parameter="edge", index=np.arange(len(first)))


def _transistors(device: Mosfet) -> Callable[[np.ndarray, np.ndarray, np.random.Generator], Branches]:
    def edges(first: np.ndarray, second: np.ndarray, random: np.random.Generator) -> Branches:
        volts = random.uniform(1.0, 2.5, len(first))
        return FloatingGateMosfets("edge", first, second, volts, device, parameter="edge", index=np.arange(len(first)))

    return edges


_EDGES: dict[Edges, Callable[[np.ndarray, np.ndarray, np.random.Generator], Branches]] = {
    "conductances": _conductances,
    "level1": _transistors(Level1Mosfet(width=2e-5, length=1e-6, threshold_voltage=0.7, channel_modulation=0.02)),
    "ekv": _transistors(EkvMosfet(width=2e-5, length=1e-6, threshold_voltage=0.7)),
}


def benchmark_graph(
    branches: int,
    samples: int = 32,
    rounds: int = 3,
    seed: int = 0,
    ngspice: bool = True,
    edges: Edges = "conductances",
) -> GraphBenchmark:
    """Time training steps on a lattice in float64, and compare them with ngspice and implicit differentiation.

    Parameters
    ----------
    branches : int
        Trainable edges, about.
    samples, rounds : int
        Samples of a step, and steps that are timed; conductances and inputs differ from one to the next.
    seed : int
        Seed of conductances, diodes, inputs and targets.
    ngspice : bool
        Whether ngspice is asked too: it takes half a minute a sample at 20,000 branches, and far longer beyond.
    edges : "conductances", "level1" or "ekv"
        What learns.

    Raises
    ------
    StimulusError
        If there is no sample or no round, or the lattice would have no inside.
    NgspiceError
        If there is no ngspice, or it fails.
    """
    if samples < 1 or rounds < 1:
        raise StimulusError(f"a benchmark needs samples and rounds, found {samples} and {rounds}")
    circuit = lattice(branches, seed, edges)
    network = _network(circuit, edges)
    random = torch.Generator().manual_seed(seed)
    method = SmallSignal(network, solver=Newton())
    optimizer = Update(torch.optim.SGD(network.parameters(), lr=1e-3), network)
    stimuli = [_stimulus(samples, random) for _ in range(rounds + 1)]
    # The first step compiles, and finds the order of elimination that all others use.
    seconds = [_timed(method, optimizer, *stimulus) for stimulus in stimuli][1:]
    few, targets = (part[:_JUDGED] for part in stimuli[0])
    spice_seconds, apart = _compared(network, few) if ngspice else (None, None)
    return GraphBenchmark(
        step_ms_per_sample=1e3 * sorted(seconds)[len(seconds) // 2] / samples,
        ngspice_ms_per_sample=spice_seconds and 1e3 * spice_seconds,
        max_voltage_error=apart,
        gradient_error=_gradient_error(network, method, few, targets),
        branches=len(circuit.group("edge")),
        nodes=circuit.n_nodes,
        diodes=len(circuit.group("d")),
        samples=samples,
        threads=torch.get_num_threads(),
    )


def _network(circuit: Circuit, edges: Edges) -> RangedNetwork:
    return CircuitNetwork(circuit, _BOUNDS) if edges == "conductances" else GateNetwork(circuit, _GATES)


def _gradient_error(network: RangedNetwork, method: SmallSignal, inputs: Tensor, targets: Tensor) -> float:
    """Largest difference to implicit differentiation, relative to the largest element of the gradient."""
    judge = implicit_gradients(network, method.cost, inputs, targets)
    _, found = method.gradients(inputs, targets)
    scale = network.parameter_scale
    return max(float((found[name] / scale - judge[name]).abs().max() / judge[name].abs().max()) for name in found)


def _stimulus(samples: int, random: torch.Generator) -> tuple[Tensor, Tensor]:
    inputs = torch.rand(samples, 2, dtype=torch.float64, generator=random)
    return inputs, 0.1 * torch.randn(samples, 1, dtype=torch.float64, generator=random)


def _compared(network: RangedNetwork, inputs: Tensor) -> tuple[float, float]:
    """Seconds of ngspice a sample, and the largest difference of a node's voltage [V]."""
    began = time.perf_counter()
    spice = solve(network, inputs, solver=Ngspice(processes=1))
    seconds = (time.perf_counter() - began) / len(inputs)
    return seconds, float((spice.voltages - solve(network, inputs, solver=Newton()).voltages).abs().max())


def _timed(method: SmallSignal, optimizer: Update, inputs: Tensor, targets: Tensor) -> float:
    began = time.perf_counter()
    optimizer.zero_grad()
    method.backward(inputs, targets)
    optimizer.step()
    return time.perf_counter() - began
