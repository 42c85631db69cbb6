"""A hundred circuits without layers: ngspice, implicit differentiation and finite differences agree on gradients."""

import re
from dataclasses import replace

import numpy as np
import pytest
import torch
from random_circuits import Recipe, build, inputs_of

import analog_ep as aep
from analog_ep.circuit import Circuit, energy_weights
from analog_ep.equilibrium import Newton, Ngspice, solve

COST = aep.SquaredError()
STEP = 1e-4
"""Of the logarithm of a conductance: the differences of third order are extrapolated away."""


def recipe(seed: int) -> Recipe:
    """Blocks of one to six nodes, with amplifiers between, of equal and of unequal gains, and controlled sources."""
    rng = np.random.default_rng([seed, 7])
    return Recipe(
        seed=seed,
        n_inputs=int(rng.integers(1, 4)),
        block_sizes=tuple(rng.integers(1, 7, int(rng.integers(1, 4))).tolist()),
        decades=2.0,
        reciprocal=seed % 4 != 3,
        controlled=seed % 4 == 2,
        floating=bool(rng.random() < 0.3),
    )


@pytest.mark.ngspice
@pytest.mark.parametrize("seed", range(100))
def test_what_learns_is_what_ngspice_has(seed: int):
    circuit = with_outputs(build(recipe(seed)), seed)
    network = aep.CircuitNetwork(circuit, (1e-9, 1e-1))
    inputs = torch.from_numpy(inputs_of(circuit, 2, seed))
    targets = 0.3 * torch.from_numpy(np.random.default_rng(seed).standard_normal((2, circuit.n_outputs)))
    ours, theirs = (solve(network, inputs, solver=solver) for solver in (Newton(), Ngspice()))
    assert float((ours.voltages - theirs.voltages).abs().max()) <= 1e-8
    exact = aep.ImplicitDifferentiation(network, COST).gradients(inputs, targets)[1]
    found, theta = {"implicit": exact}, network.get_parameter("theta")
    if has_energy_of_nudges(circuit):
        found["small signal"] = aep.SmallSignal(network, COST).gradients(inputs, targets)[1]
        scale = exact["theta"].abs().max()
        assert float((found["small signal"]["theta"] - exact["theta"]).abs().max() / scale) <= 1e-9
        # A nudge so small that no diode leaves its branch on the way.
        check = aep.cross_check(network, inputs, targets, nudging=1e-9, method=aep.SmallSignal(network, COST))
        assert check.passed, check
    else:
        with pytest.raises(aep.AnalogEPError, match=r"no energy: .*; use ImplicitDifferentiation"):
            aep.SmallSignal(network, COST).gradients(inputs, targets)
    direction = torch.from_numpy(np.random.default_rng([seed, 1]).standard_normal(theta.shape))
    slope = slope_in_ngspice(network, inputs, targets, direction)
    size = float((exact["theta"] * theta.detach() * direction).abs().sum())
    for name, gradient in found.items():
        own = float((gradient["theta"] * theta.detach() * direction).sum())
        assert abs(own - slope) <= 1e-5 * size, name


def with_outputs(circuit: Circuit, seed: int) -> Circuit:
    """The circuit with outputs against ground or each other, in seven of eight cases of one block."""
    rng = np.random.default_rng([seed, 2])
    blocks: dict[str, list[int]] = {}
    for node, name in enumerate(circuit.node_names):
        if re.fullmatch(r"n\d+_\d+", name):
            blocks.setdefault(name.split("_")[0], []).append(node)
    chosen = list(blocks.values())
    every = [node for block in chosen for node in block]
    pool = every if seed % 8 == 0 else chosen[int(rng.integers(len(chosen)))]
    positive = rng.permutation(pool)[:2]
    others = [node for node in pool if node not in positive]
    negative = np.append(rng.permutation(others), [0, 0])[: len(positive)].astype(np.int64)
    return replace(circuit, outputs=(positive, negative))


def has_energy_of_nudges(circuit: Circuit) -> bool:
    """Whether the circuit has an energy, and all output nodes the same weight in it."""
    weights = energy_weights(circuit).nodes
    if weights is None:
        return False
    nodes = np.concatenate(circuit.outputs or ())
    own = weights[nodes[nodes > 0]]
    return bool((np.abs(own - own[0]) <= 1e-9 * own[0]).all())


def test_most_have_an_energy_and_some_do_not():
    kinds = [has_energy_of_nudges(with_outputs(build(recipe(seed)), seed)) for seed in range(100)]
    assert 45 <= sum(kinds) <= 80


def slope_in_ngspice(
    network: aep.CircuitNetwork, inputs: torch.Tensor, targets: torch.Tensor, direction: torch.Tensor
) -> float:
    """Slope of the mean cost along a direction of ln g, by central differences of ngspice's outputs, extrapolated."""
    theta = network.get_parameter("theta")
    start = theta.detach().clone()

    def cost(step: float) -> float:
        with torch.no_grad():
            theta.copy_(start * torch.exp(step * direction))
        state = solve(network, inputs, solver=Ngspice())
        return float(COST.value(state.outputs, targets).mean())

    near, far = ((cost(step) - cost(-step)) / (2 * step) for step in (STEP, 2 * STEP))
    with torch.no_grad():
        theta.copy_(start)
    return (4 * near - far) / 3
