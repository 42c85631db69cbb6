"""Equilibria of Hopfield networks: two solvers against each other and against scipy's minimiser."""

import numpy as np
import pytest
import scipy.optimize
import torch

from analog_ep import (
    Chip,
    CrossEntropy,
    EulerRelaxation,
    HopfieldNetwork,
    HopfieldRelaxation,
    Nudge,
    Relaxation,
    ResistiveNetwork,
    SmallSignal,
    SquaredError,
    solve,
)
from analog_ep.errors import ConvergenceError, StimulusError, UnstableNudgeError
from tests.hopfield_networks import ACTIVATIONS, network, samples

FAST, EULER = HopfieldRelaxation(), EulerRelaxation(step_size=0.4, max_steps=2000, atol=1e-12)


def projected_force(net, inputs, layers, nudge=None, free_outputs=None):
    """Largest move of a unit along its force, within its bounds."""
    with torch.no_grad():
        forces = net.force(inputs, layers, nudge, free_outputs)
        moved = [(net.activation.clip(u + f) - u).abs().max() for u, f in zip(layers, forces, strict=True)]
    return float(torch.stack(moved).max())


def assert_same(found, expected, atol=1e-10):
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=atol)


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("sizes", [(5, 3), (6, 8, 4), (6, 8, 7, 4), (4, 6, 6, 6, 3)])
def test_both_solvers_reach_the_same_free_state(activation, sizes):
    net = network(activation, sizes)
    inputs, _ = samples(net, 3, 5)
    fast, euler = solve(net, inputs, solver=FAST), solve(net, inputs, solver=EULER)
    assert_same(fast.layers, euler.layers)
    assert projected_force(net, inputs, fast.layers) < 1e-12
    assert float(fast.residual.max()) < 1e-12


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("kind", ["frozen", "elastic"])
@pytest.mark.parametrize("strength", [0.5, -0.2, 1e-5])
def test_both_solvers_reach_the_same_nudged_state(activation, kind, strength):
    net = network(activation)
    inputs, targets = samples(net, 6)
    nudge = Nudge(strength, targets, SquaredError(), kind)
    free = solve(net, inputs, solver=FAST)
    fast = solve(net, inputs, nudge, solver=FAST, start=free)
    euler = solve(net, inputs, nudge, solver=EULER, start=free)
    assert_same(fast.layers, euler.layers)
    assert projected_force(net, inputs, fast.layers, nudge, free.outputs) < 1e-11
    assert max(float(d.abs().max()) for d in fast.response(about=free)) > 1e-7


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("strength", [None, 0.7])
def test_scipy_minimises_the_energy_to_the_same_state(activation, strength):
    net = network(activation, (6, 8, 7, 4))
    inputs, targets = samples(net, 4)
    nudge = None if strength is None else Nudge(strength, targets, SquaredError(), "elastic")
    found = torch.cat(solve(net, inputs, nudge, solver=FAST).layers, -1)
    for n in range(4):

        def value(u, n=n):
            at = torch.from_numpy(u).requires_grad_()
            energy = net.energy(inputs[n], at.split(net.sizes[1:]))
            if strength is not None:
                energy = energy + strength * SquaredError().value(at[-net.n_outputs :], targets[n])
            return energy.item(), torch.autograd.grad(energy, at)[0].numpy()

        size = sum(net.sizes[1:])
        bounds = None if net.activation.bounds is None else [net.activation.bounds] * size
        best = scipy.optimize.minimize(
            value, np.full(size, 0.1), jac=True, method="L-BFGS-B", bounds=bounds, options={"ftol": 0, "gtol": 1e-11}
        )
        np.testing.assert_allclose(found[n].numpy(), best.x, rtol=0, atol=1e-6)
        assert value(found[n].numpy())[0] <= best.fun + 1e-12


def test_some_units_stand_at_each_bound_and_some_are_free():
    net = network()
    state = torch.cat(solve(net, samples(net, 20)[0], solver=FAST).layers, -1)
    for at in (state == 0, state == 1, (state > 0) & (state < 1)):
        assert 0.02 < at.double().mean() < 0.98


def test_no_sweep_raises_the_energy():
    net = network("sigmoid", scale=2.0)
    inputs, _ = samples(net, 10)
    states = [solve(net, inputs, solver=HopfieldRelaxation(max_steps=n, strict=False)) for n in range(1, 8)]
    energies = torch.stack([net.energy(inputs, state.layers).detach() for state in states])
    assert (energies.diff(dim=0) <= 1e-13).all()


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_strong_weights_end_in_a_minimum_downhill_of_the_start(activation):
    net = network(activation, scale=2.5)
    inputs, _ = samples(net, 10)
    start = solve(net, inputs, solver=EulerRelaxation(0.2, 30))
    state = solve(net, inputs, solver=FAST, start=start)
    assert projected_force(net, inputs, state.layers) < 1e-11
    assert (net.energy(inputs, state.layers) <= net.energy(inputs, start.layers)).all()


def test_a_start_at_the_solution_stays_there():
    net = network()
    inputs, _ = samples(net, 10)
    first = solve(net, inputs, solver=FAST)
    again = solve(net, inputs, solver=FAST, start=first)
    assert again.iterations == 1
    assert_same(again.layers, first.layers, 1e-13)
    before = [layer.clone() for layer in first.layers]
    solve(net, inputs.flip(0), solver=FAST, start=first)
    assert_same(first.layers, before, 0)


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_a_response_keeps_its_relative_precision_in_single_precision(activation):
    exact = network(activation)
    single = network(activation).float()
    inputs, targets = samples(exact, 8)
    responses = []
    for net, dtype in ((exact, torch.float64), (single, torch.float32)):
        free = solve(net, inputs.to(dtype), solver=FAST)
        nudge = Nudge(1e-6, targets.to(dtype), SquaredError())
        responses.append(solve(net, inputs.to(dtype), nudge, solver=FAST, start=free).response(about=free))
    for double, found in zip(*responses, strict=True):
        assert float((found.double() - double).norm() / double.norm()) < 1e-4


def test_cross_entropy_nudges_frozen_only():
    net = network()
    inputs, targets = samples(net, 4)
    targets = targets / targets.sum(-1, keepdim=True)
    free = solve(net, inputs, solver=FAST)
    for strength in (0.2, -0.2):
        nudge = Nudge(strength, targets, CrossEntropy(0.3), "frozen")
        fast, euler = (solve(net, inputs, nudge, solver=solver, start=free) for solver in (FAST, EULER))
        assert_same(fast.layers, euler.layers)
    with pytest.raises(StimulusError, match="needs SquaredError, found CrossEntropy; use a frozen nudge"):
        solve(net, inputs, Nudge(0.2, targets, CrossEntropy(0.3), "elastic"), solver=FAST)


def test_a_phase_of_fixed_length_is_the_papers():
    net = network()
    inputs, targets = samples(net, 3)
    solver = EulerRelaxation(step_size=0.5, max_steps=4)
    free = solve(net, inputs, solver=solver)
    by_hand = net.rest(inputs)
    for _ in range(4):
        moved = zip(by_hand, net.force(inputs, by_hand), strict=True)
        by_hand = tuple((u + 0.5 * f).clamp(0, 1).detach() for u, f in moved)
    assert_same(free.layers, by_hand, 0)
    assert free.iterations == 4
    assert bool(free.converged.all())
    nudged = solve(net, inputs, Nudge(0.5, targets, SquaredError(), "elastic"), solver=solver, start=free)
    assert nudged.message == "4 steps"


def test_an_unfinished_relaxation_says_so_or_is_accepted():
    net = network()
    inputs, _ = samples(net, 5)
    words = r"samples did not reach atol 1e-13 in 2 sweeps; raise max_steps or atol"
    with pytest.raises(ConvergenceError, match=words):
        solve(net, inputs, solver=HopfieldRelaxation(max_steps=2))
    loose = solve(net, inputs, solver=HopfieldRelaxation(max_steps=2, strict=False))
    assert "stopped after 2 sweeps" in loose.message
    assert float(loose.residual.max()) > 1e-6
    with pytest.raises(ConvergenceError, match=r"samples did not reach atol 1e-13 in 3 steps; raise max_steps or atol"):
        solve(net, inputs, solver=EulerRelaxation(0.3, 3, 1e-13))
    with torch.no_grad():
        net.get_parameter("weight2")[0, 0] = torch.nan
    with pytest.raises(ConvergenceError, match="5 samples are not finite after 20 steps"):
        solve(net, inputs, solver=EulerRelaxation())
    with pytest.raises(ConvergenceError, match="5 samples"):
        solve(net, inputs, solver=HopfieldRelaxation(max_steps=3, strict=False))


def test_what_cannot_be_solved_is_refused():
    net = network()
    inputs, targets = samples(net, 2)
    with pytest.raises(UnstableNudgeError, match=r"must be weaker than 1, the leak of an output, found 1\.5"):
        solve(net, inputs, Nudge(-1.5, targets, SquaredError(), "elastic"), solver=FAST)
    with pytest.raises(StimulusError, match="solves a HopfieldNetwork, found a ResistiveNetwork"):
        solve(ResistiveNetwork([6, 4]), inputs, solver=FAST)
    with pytest.raises(StimulusError, match="Relaxation solves layered networks, found a HopfieldNetwork"):
        solve(net, inputs, solver=Relaxation())
    with pytest.raises(StimulusError, match="hold no chip's mismatch"):
        solve(net, inputs, solver=FAST, chip=Chip({}))
    with pytest.raises(StimulusError, match="step_size must be positive and finite, found 0"):
        EulerRelaxation(step_size=0)
    with pytest.raises(StimulusError, match="max_steps must be at least 1, found 0"):
        EulerRelaxation(max_steps=0)
    free = solve(net, inputs, solver=FAST)
    with torch.no_grad():
        net.get_parameter("bias1").add_(0.1)
    with pytest.raises(StimulusError, match="must be that of the same weights; solve it again"):
        solve(net, inputs, Nudge(0.1, targets, SquaredError()), solver=FAST, start=free)


@pytest.mark.parametrize("factor", [1.3, 1.7])
def test_over_relaxation_ends_in_the_same_states(factor):
    net = HopfieldNetwork([12, 16, 16, 16, 5], initial_scale=0.4, seed=3, dtype=torch.float64)
    inputs, targets = samples(net, 10)
    relaxed = HopfieldRelaxation(over_relaxation=factor)
    free, expected = (solve(net, inputs, solver=solver) for solver in (relaxed, FAST))
    assert_same(free.layers, expected.layers, 1e-11)
    for strength in (0.5, -0.3, 1e-8):
        nudge = Nudge(strength, targets, SquaredError(), "elastic" if strength == 0.5 else "frozen")
        found, wanted = (
            solve(net, inputs, nudge, solver=solver, start=about).response(about=about)
            for solver, about in ((relaxed, free), (FAST, expected))
        )
        assert_same(found, wanted, 1e-10 * abs(strength))
    small = [SmallSignal(net, solver=solver).gradients(inputs, targets)[1] for solver in (relaxed, FAST)]
    for name, gradient in small[0].items():
        torch.testing.assert_close(gradient, small[1][name], rtol=1e-9, atol=1e-13)


def test_over_relaxation_takes_fewer_sweeps_and_never_raises_the_energy():
    net = HopfieldNetwork([12, 40, 40, 40, 5], initial_scale=0.55, seed=3, dtype=torch.float64)
    inputs, targets = samples(net, 20)
    plain, relaxed = (HopfieldRelaxation(1e-3, 1e-3, over_relaxation=factor) for factor in (1.0, 1.4))
    sweeps = []
    for solver in (plain, relaxed):
        free = solve(net, inputs, solver=solver)
        nudged = solve(net, inputs, Nudge(0.5, targets, SquaredError(), "elastic"), solver=solver, start=free)
        sweeps.append((free.iterations, nudged.iterations))
    assert sweeps[1][0] < sweeps[0][0]
    assert sweeps[1][1] < sweeps[0][1]
    steps = [HopfieldRelaxation(max_steps=n, strict=False, over_relaxation=1.7) for n in range(1, 12)]
    energies = torch.stack([net.energy(inputs, solve(net, inputs, solver=step).layers).detach() for step in steps])
    assert (energies.diff(dim=0) <= 1e-13).all()


def test_over_relaxation_has_its_limits():
    for factor in (0.7, 2.0, float("nan")):
        with pytest.raises(StimulusError, match="over_relaxation must be at least 1 and below 2, found"):
            HopfieldRelaxation(over_relaxation=factor)
    net = network("tanh")
    with pytest.raises(StimulusError, match="needs units with bounds, hard_sigmoid, found Tanh; leave over_relaxation"):
        solve(net, samples(net, 2)[0], solver=HopfieldRelaxation(over_relaxation=1.5))
