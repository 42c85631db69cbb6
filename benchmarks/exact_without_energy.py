"""Gradients of circuits without an energy, from ngspice's voltages alone, beside the exact ones.

    python benchmarks/exact_without_energy.py gradients    # 1 − cosine and ratio − 1, by method and circuit
    python benchmarks/exact_without_energy.py knowledge    # the same of adjoint networks with wrong gains and feedbacks
    python benchmarks/exact_without_energy.py training     # a ring and NMOS edges that learn, by method

Circuits: chips of a 4-6-5-3 network with log-normal spreads of gain and feedback, seeds 0 to 4, Shockley diodes; a ring
with a one-way source; 40 NMOS edges with gates against ground. The exact gradient is by implicit differentiation, in
float64. "Plain" is the limit of small nudges, on chips that know nothing (nominal gains), or with rows as they are
(known).
"""

from __future__ import annotations

import argparse
import itertools
import json
from collections.abc import Callable, Iterator
from functools import partial

import numpy as np
import torch
from torch import Tensor

import analog_ep as aep
from analog_ep.circuit import (
    CircuitBuilder,
    Conductances,
    GatedMosfets,
    VoltageControlledVoltageSources,
    VoltageSources,
)
from analog_ep.circuit.adjoint import adjoint_network
from analog_ep.devices import Level1Mosfet
from analog_ep.learning.gradients.branch_gradient import likeness
from analog_ep.networks import Network, RangedNetwork

_SOLVER = aep.Ngspice()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["gradients", "knowledge", "training"])
    torch.set_num_threads(1)
    rows = {"gradients": gradients, "knowledge": knowledge, "training": training}
    for row in rows[parser.parse_args().what]():
        print(json.dumps(row), flush=True)


def gradients() -> Iterator[dict]:
    """A row a circuit and method: 1 − cosine, and the ratio of norms less 1."""
    network, (inputs, targets) = _layers(), _layer_samples()
    for spread, seed in itertools.product((0.01, 0.1), range(5)):
        chip = aep.Chip.draw(network.circuit(), seed, gain=spread, feedback=spread)
        name = f"chip {seed}, spread {spread:g}"
        methods = {
            "plain EP": aep.EquilibriumPropagation(network, 1e-7, solver=_SOLVER, chip=chip),
            "plain EP, rows known": aep.EquilibriumPropagation(network, 1e-7, solver=_SOLVER, chip=chip, known=chip),
        }
        yield from _compared(name, network, methods | _exact(network, chip), inputs, targets, chip)
    inputs = torch.tensor([[0.8], [-0.4]], dtype=torch.float64)
    ring = aep.CircuitNetwork(_ring(), (1e-6, 1e-3), reciprocal=False)
    plain = {"plain EP": aep.SmallSignal(ring, solver=_SOLVER)}
    yield from _compared("ring, one-way source", ring, plain | _exact(ring), inputs, 0 * inputs + 0.3)
    edges = aep.GateNetwork(_edges(), (0.8, 3.0), reciprocal=False)
    plain = {"plain EP": aep.SmallSignal(edges, solver=_SOLVER)}
    inputs, targets = _random((3, 2), 2) - 0.5, 0.4 * _random((3, 2), 3) - 0.2
    yield from _compared("NMOS edges", edges, plain | _exact(edges), inputs, targets)


def knowledge() -> Iterator[dict]:
    """A row an error and chip: adjoint networks whose gains and feedbacks are off by a spread of their own."""
    network, (inputs, targets) = _layers(), _layer_samples()
    circuit = network.circuit()
    for error, seed in itertools.product((0.0, 1e-3, 1e-2), range(5)):
        chip = aep.Chip.draw(circuit, seed, gain=0.1, feedback=0.1)
        off = aep.Chip.draw(circuit, 100 + seed, gain=error, feedback=error)
        hardware, known = chip.apply(circuit), off.apply(chip.apply(circuit))
        free = aep.solve(hardware, inputs, solver=aep.Newton())
        exact = aep.implicit_gradients(hardware, aep.SquaredError(), inputs, targets, free)
        found = {name: torch.zeros_like(value) for name, value in exact.items()}
        for volts, current in zip(free.voltages.numpy(), (targets - free.outputs).numpy(), strict=True):
            adjoint = adjoint_network(known, volts)
            rest = np.zeros((1, 0)), np.zeros((1, adjoint.n_nodes))
            mu = aep.Newton().solve_small_signal(adjoint, *rest, current[None])[0]
            for group, name, index in hardware.trained_groups():
                product = np.prod([v[group.positive] - v[group.negative] for v in (volts, mu)], axis=0)
                found[name].index_add_(0, torch.tensor(index), torch.from_numpy(product / len(inputs)))
        alike = likeness(found, exact)
        yield {"error": error, "chip": seed, "1-cosine": 1 - alike.cosine, "ratio-1": alike.ratio - 1}


def training() -> Iterator[dict]:
    """A row a circuit, seed and method: the cost before and after a training, and the least on the way."""
    for seed, method in itertools.product(range(4), _TRAINED):
        network = aep.CircuitNetwork(_ring(), (1e-5, 1e-3), reciprocal=False)
        inputs = 2 * _random((4, 1), seed) - 1
        targets = 0.3 * inputs + 0.1 * (_random((4, 1), 50 + seed) - 0.5)
        yield {"circuit": "ring", "seed": seed} | _trained(method, network, inputs, targets, 150, 0.005)
    for seed, method in itertools.product(range(3), _TRAINED):
        network, teacher = (aep.GateNetwork(_edges(), (0.8, 3.0), reciprocal=False) for _ in range(2))
        teacher.set_gate_voltages({"gates": 1.0 + 1.8 * _random((40,), 10 + seed)})
        inputs = _random((6, 2), seed) - 0.5
        targets = aep.solve(teacher, inputs, solver=aep.Newton()).outputs
        yield {"circuit": "NMOS edges", "seed": seed} | _trained(method, network, inputs, targets, 60, 0.05)


_TRAINED: dict[str, Callable[[Network], aep.GradientMethod]] = {
    "plain EP": aep.SmallSignal,
    "asymmetric EP": partial(aep.AsymmetricEquilibriumPropagation, variant="vanishing"),
    "adjoint network": aep.AdjointNetwork,
}


def _trained(method: str, network: RangedNetwork, inputs: Tensor, targets: Tensor, steps: int, rate: float) -> dict:
    """By Adam; the solver is Newton's."""
    update = aep.Update(torch.optim.Adam(network.parameters(), lr=rate), network)
    gradient, costs = _TRAINED[method](network), []
    for _ in range(steps):
        update.zero_grad()
        costs.append(float(gradient.backward(inputs, targets)))
        update.step()
    return {"method": method, "first": costs[0], "least": min(costs), "last": costs[-1]}


def _exact(network: Network, chip: aep.Chip | None = None) -> dict[str, aep.GradientMethod]:
    asymmetric = aep.AsymmetricEquilibriumPropagation
    return {
        "asymmetric EP": asymmetric(network, variant="vanishing", solver=_SOLVER, chip=chip),
        "asymmetric EP, nudges of 1e-6 S": asymmetric(network, 1e-6, solver=_SOLVER, chip=chip),
        "adjoint network": aep.AdjointNetwork(network, solver=_SOLVER, chip=chip),
    }


def _compared(
    name: str,
    network: Network,
    methods: dict[str, aep.GradientMethod],
    inputs: Tensor,
    targets: Tensor,
    chip: aep.Chip | None = None,
) -> Iterator[dict]:
    _, exact = aep.ImplicitDifferentiation(network, chip=chip).gradients(inputs, targets)
    for label, method in methods.items():
        found = likeness(method.gradients(inputs, targets)[1], exact)
        yield {"circuit": name, "method": label, "1-cosine": 1 - found.cosine, "ratio-1": found.ratio - 1}


def _layers() -> aep.ResistiveNetwork:
    return aep.ResistiveNetwork([4, 6, 5, 3], diode=aep.ShockleyDiode(1e-9), seed=1, dtype=torch.float64)


def _layer_samples() -> tuple[Tensor, Tensor]:
    return 2 * _random((5, 4), 0), _random((5, 3), 1) - 0.5


def _ring():
    builder = CircuitBuilder("one-way ring")
    builder.add_nodes(["x", "a", "b", "c", "d", "e"])
    builder.add(VoltageSources("v", "x", "0", 0.0, 0))
    builder.add(VoltageControlledVoltageSources("e", "e", "0", "b", "0", 1.7))
    siemens = np.array([1.0, 2.0, 0.7, 1.5, 0.9, 1.2, 2.2]) * 1e-4
    builder.add(Conductances("g", list("xabcded"), [*"abcda", "c", "0"], siemens, "g", range(7)))
    builder.set_outputs(["c"], ["a"])
    return builder.build()


def _edges():
    """40 edges between 14 nodes, two inputs and a constant; loads; two outputs."""
    random, builder = np.random.default_rng(0), CircuitBuilder("NMOS edges")
    inner = builder.add_nodes([f"n{i}" for i in range(14)])
    driven = builder.add_nodes(["x0", "x1", "one", "low"])
    builder.add(VoltageSources("x", driven[:2], 0, 0.0, [0, 1]))
    builder.add(VoltageSources("one", driven[2:], 0, [0.4, -1.0]))
    pairs = np.array([p for p in itertools.combinations([*inner, *driven[:3]], 2) if p[0] < driven[0]])
    chosen = np.concatenate([np.stack([inner, np.roll(inner, -1)], axis=1), random.permutation(pairs)[:26]])
    device = Level1Mosfet(width=2e-5, length=1e-6, threshold_voltage=0.7, body_effect=0.4, channel_modulation=0.05)
    gates = random.uniform(1.0, 2.8, 40)
    drain, source = chosen.T
    own = {"bulk": driven[3], "parameter": "gates", "index": np.arange(40)}
    builder.add(GatedMosfets("m", drain, source, gates, device, **own))
    builder.add(Conductances("load", inner, 0, 2e-6))
    builder.set_outputs(inner[[3, 8]], [0, inner[5]])
    return builder.build()


def _random(shape: tuple[int, ...], seed: int) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


if __name__ == "__main__":
    main()
