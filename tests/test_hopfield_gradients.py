"""Gradients on Hopfield networks against finite differences of the cost and implicit differentiation."""

import pytest
import torch

from analog_ep import EquilibriumPropagation, EulerRelaxation, HopfieldRelaxation, SmallSignal, SquaredError, solve
from analog_ep.errors import ConvergenceError
from analog_ep.learning import EnergyImplicitDifferentiation
from tests.hopfield_networks import ACTIVATIONS, network, samples

TIGHT = HopfieldRelaxation(atol=1e-14)


def cost(net, inputs, targets):
    return float(SquaredError().value(solve(net, inputs, solver=TIGHT, throw=False).outputs, targets).mean())


def cosines(found, expected):
    return {n: float(torch.cosine_similarity(found[n].flatten(), expected[n].flatten(), 0)) for n in expected}


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_the_judge_agrees_with_finite_differences(activation):
    net = network(activation)
    inputs, targets = samples(net, 3)
    judge = EnergyImplicitDifferentiation(net, SquaredError()).gradients(inputs, targets)[1]
    step, generator = 1e-5, torch.Generator().manual_seed(0)
    for name, parameter in net.named_parameters():
        direction = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
        costs = []
        for sign in (1, -1):
            with torch.no_grad():
                parameter.add_(sign * step * direction)
                costs.append(cost(net, inputs, targets))
                parameter.sub_(sign * step * direction)
        slope = (costs[0] - costs[1]) / (2 * step)
        assert float((judge[name] * direction).sum()) == pytest.approx(slope, rel=2e-6, abs=1e-8)


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_the_small_signal_gradient_is_exact(activation):
    net = network(activation)
    inputs, targets = samples(net, 2, 4)
    judge = EnergyImplicitDifferentiation(net, SquaredError()).gradients(inputs, targets)[1]
    value, found = SmallSignal(net).gradients(inputs, targets)
    assert float(value) == pytest.approx(cost(net, inputs, targets), rel=1e-12)
    for name, gradient in judge.items():
        torch.testing.assert_close(found[name], gradient, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("kind", ["frozen", "elastic"])
@pytest.mark.parametrize("variant", ["positive", "negative", "centered", "random"])
def test_equilibrium_propagation_is_along_the_gradient(activation, kind, variant):
    net = network(activation)
    inputs, targets = samples(net, 8)
    judge = EnergyImplicitDifferentiation(net, SquaredError()).gradients(inputs, targets)[1]
    _, found = EquilibriumPropagation(net, 1e-3, variant=variant, kind=kind).gradients(inputs, targets)
    assert min(cosines(found, judge).values()) >= 0.9999


def test_the_bias_falls_with_the_order_of_the_variant():
    net = network("sigmoid")
    inputs, targets = samples(net, 8)
    judge = EnergyImplicitDifferentiation(net, SquaredError()).gradients(inputs, targets)[1]

    def error(variant, nudging):
        _, found = EquilibriumPropagation(net, nudging, variant=variant, kind="elastic").gradients(inputs, targets)
        return sum(float((found[n] - judge[n]).norm()) for n in judge)

    assert error("positive", 0.02) / error("positive", 0.01) == pytest.approx(2, rel=0.1)
    assert error("centered", 0.02) / error("centered", 0.01) == pytest.approx(4, rel=0.1)


def test_single_precision_gradients_of_a_tiny_nudge():
    exact, single = network(sizes=(6, 9, 9, 9, 4)), network(sizes=(6, 9, 9, 9, 4)).float()
    inputs, targets = samples(exact, 8)
    judge = EnergyImplicitDifferentiation(exact, SquaredError()).gradients(inputs, targets)[1]
    _, found = EquilibriumPropagation(single, 1e-6).gradients(inputs.float(), targets.float())
    assert min(cosines({n: g.double() for n, g in found.items()}, judge).values()) >= 0.9999


def test_the_papers_dynamics_give_the_gradient_too():
    net = network()
    inputs, targets = samples(net, 8)
    judge = EnergyImplicitDifferentiation(net, SquaredError()).gradients(inputs, targets)[1]
    solver = EulerRelaxation(0.4, 2000, 1e-12)
    ep = EquilibriumPropagation(net, 1e-4, variant="positive", kind="elastic", solver=solver)
    ep.backward(inputs, targets)
    gradients = {name: p.grad for name, p in net.named_parameters()}
    assert min(cosines(gradients, judge).values()) >= 0.9999


def test_the_judge_refuses_a_saddle():
    net = network("tanh", scale=3.0)
    with torch.no_grad():
        for bias in net.biases:
            bias.zero_()
    inputs = torch.zeros(1, net.n_inputs, dtype=torch.float64)
    rest = solve(net, inputs, solver=EulerRelaxation(0.1, 1))
    with pytest.raises(ConvergenceError, match="needs a minimum of the energy, found a saddle; start elsewhere"):
        EnergyImplicitDifferentiation(net, SquaredError()).gradients(inputs, torch.ones(1, 4).double(), rest)
