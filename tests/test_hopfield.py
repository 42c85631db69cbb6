"""The Hopfield network's energy, force and contrast against enumeration over pairs, autograd and definitions."""

import pytest
import torch

from analog_ep import HopfieldNetwork, Network, Newton, Nudge, SquaredError, solve
from analog_ep.errors import NetworkError, StimulusError
from tests.hopfield_networks import ACTIVATIONS, network, samples


def states(net, *batch, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return tuple(torch.rand(*batch, n, generator=generator, dtype=torch.float64) for n in net.sizes[1:])


def paper_energy(net, inputs, layers):
    """E of one sample over all units with a full symmetric matrix, less the constant ½|x|² of the inputs."""
    first = torch.cumsum(torch.tensor([0, *net.sizes]), 0)
    matrix = torch.zeros(int(first[-1]), int(first[-1]), dtype=torch.float64)
    for s, weight in enumerate(net.weights):
        rows, columns = slice(first[s], first[s + 1]), slice(first[s + 1], first[s + 2])
        matrix[rows, columns], matrix[columns, rows] = weight.detach(), weight.detach().T
    rates = torch.cat([inputs, *(net.activation.value(layer) for layer in layers)])
    biases = torch.cat([torch.zeros(net.n_inputs, dtype=torch.float64), *(b.detach() for b in net.biases)])
    leak = 0.5 * torch.cat(layers).square().sum()
    return leak - 0.5 * rates @ matrix @ rates - biases @ rates


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_energy_is_that_of_the_paper(activation):
    net = network(activation)
    inputs, layers = samples(net, 3)[0], states(net, 3)
    found = net.energy(inputs, layers)
    for n in range(3):
        expected = paper_energy(net, inputs[n], [layer[n] for layer in layers])
        torch.testing.assert_close(found[n].detach(), expected, rtol=1e-13, atol=1e-13)


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("strength", [None, 0.3])
def test_force_is_the_slope_of_the_energy(activation, strength):
    net = network(activation)
    inputs, targets = samples(net, 2, 3)
    layers = tuple(layer.requires_grad_() for layer in states(net, 2, 3))
    nudge, total = None, net.energy(inputs, layers).sum()
    if strength is not None:
        nudge = Nudge(strength, targets, SquaredError(), "elastic")
        total = total + strength * SquaredError().value(layers[-1], targets).sum()
    for force, slope in zip(net.force(inputs, layers, nudge), torch.autograd.grad(total, layers), strict=True):
        torch.testing.assert_close(force, -slope)


def test_a_frozen_nudge_keeps_the_error_of_the_free_outputs():
    net = network()
    inputs, targets = samples(net, 3)
    layers, free_outputs = states(net, 3), torch.full((3, 4), 0.25, dtype=torch.float64)
    nudge = Nudge(0.5, targets, SquaredError(), "frozen")
    pushed = net.force(inputs, layers, nudge, free_outputs)[-1] - net.force(inputs, layers)[-1]
    torch.testing.assert_close(pushed.detach(), 0.5 * (targets - free_outputs))


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_contrast_is_the_change_of_the_energys_slope(activation):
    net = network(activation)
    inputs, layers = samples(net, 2, 3)[0], states(net, 2, 3)
    step = tuple(0.1 * (layer - 0.4) for layer in states(net, 2, 3, seed=1))
    names = [name for name, _ in net.named_parameters()]

    def slopes(at):
        return torch.autograd.grad(net.energy(inputs, at).sum(), list(net.parameters()))

    moved = tuple(layer + d for layer, d in zip(layers, step, strict=True))
    found = net.contrast(inputs, layers, step)
    for name, after, before in zip(names, slopes(moved), slopes(layers), strict=True):
        torch.testing.assert_close(found[name], after - before, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_contrast_keeps_its_precision_and_has_a_linear_limit(activation):
    net = network(activation)
    inputs, layers = samples(net, 4)[0], states(net, 4)
    step = tuple(layer - 0.4 for layer in states(net, 4, seed=1))
    tiny = net.contrast(inputs, layers, tuple(1e-9 * d for d in step))
    linear = net.contrast(inputs, layers, step, linear=True)
    for name, value in linear.items():
        torch.testing.assert_close(tiny[name] / 1e-9, value, rtol=1e-7, atol=1e-7)


def test_initial_weights_are_glorot_uniform_and_seeded():
    net = HopfieldNetwork([300, 200, 10], seed=3)
    bound = (6 / 500) ** 0.5
    weight = net.get_parameter("weight1")
    assert weight.abs().max() <= bound
    assert weight.std().item() == pytest.approx(bound / 3**0.5, rel=0.02)
    assert net.get_parameter("bias1").abs().max() == 0
    assert torch.equal(weight, HopfieldNetwork([300, 200, 10], seed=3).get_parameter("weight1"))
    assert not torch.equal(weight, HopfieldNetwork([300, 200, 10], seed=4).get_parameter("weight1"))
    half = HopfieldNetwork([300, 200, 10], initial_scale=[0.5, 1.0], seed=3)
    torch.testing.assert_close(half.get_parameter("weight1"), 0.5 * weight)
    assert [tuple(p.shape) for p in net.parameters()] == [(300, 200), (200,), (200, 10), (10,)]


def test_what_cannot_be_built_is_refused():
    with pytest.raises(NetworkError, match=r"sizes must be at least two positive numbers, found \[3\]"):
        HopfieldNetwork([3])
    with pytest.raises(NetworkError, match="initial_scale must be positive and finite, found 0"):
        HopfieldNetwork([3, 2], initial_scale=0)
    with pytest.raises(
        NetworkError, match=r"initial_scale must be one number or 1, one per weight, found \[1.0, 2.0\]"
    ):
        HopfieldNetwork([3, 2], initial_scale=[1, 2])


def test_a_circuit_solver_says_what_is_no_circuit():
    class Bare(Network):
        sizes = (6, 4)

        def outputs_of(self, layers):
            return layers[-1]

        def energy(self, inputs, layers):
            return inputs.sum(-1)

        def contrast(self, inputs, layers, response, *, linear=False):
            return {}

    with pytest.raises(StimulusError, match="needs a network that is a circuit, found a Bare"):
        solve(Bare(), samples(network(), 2)[0], solver=Newton())
