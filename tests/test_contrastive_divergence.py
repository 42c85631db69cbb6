"""Contrastive divergence against the enumerated likelihood of tiny Boltzmann machines."""

from itertools import product

import pytest
import torch
from torch import Tensor

from analog_ep.errors import StimulusError
from analog_ep.learning import ContrastiveDivergence
from analog_ep.networks import HopfieldNetwork, ResistiveNetwork
from analog_ep.stimulus import SquaredError


def hopfield(sizes: list[int], **options) -> HopfieldNetwork:
    network = HopfieldNetwork(sizes, initial_scale=2.0, seed=1, dtype=torch.float64, **options)
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for bias in network.biases:
            bias.uniform_(-0.5, 1.0, generator=generator)
    return network


def corners(sizes: list[int]) -> tuple[Tensor, ...]:
    every = torch.tensor(list(product([0.0, 1.0], repeat=sum(sizes))), dtype=torch.float64)
    return every.split(sizes, -1)


def negative_log_likelihood(network: HopfieldNetwork, inputs: Tensor, targets: Tensor, temperature: float) -> Tensor:
    """−log p(y | x), mean over the samples, from the energies of all corners."""
    layers = corners(list(network.sizes[1:]))
    total = torch.zeros((), dtype=torch.float64)
    for x, y in zip(inputs, targets, strict=True):
        weight = -network.energy(x.expand(len(layers[0]), -1), layers) / temperature
        right = (layers[-1] == y).all(-1)
        total = total + torch.logsumexp(weight, 0) - torch.logsumexp(weight[right], 0)
    return total / len(inputs)


def relative(found: dict[str, Tensor], network: HopfieldNetwork) -> float:
    gradients = {name: p.grad for name, p in network.named_parameters() if p.grad is not None}
    difference = torch.cat([(found[name] - value).flatten() for name, value in gradients.items()])
    return float(difference.norm() / torch.cat([value.flatten() for value in gradients.values()]).norm())


@pytest.mark.parametrize(("sizes", "burn_in"), [([2, 2], 1), ([2, 3, 2], 1), ([2, 3, 2, 2], 20)])
@pytest.mark.parametrize("temperature", [1.0, 0.5])
def test_many_steps_give_the_gradient_of_the_likelihood(sizes: list[int], burn_in: int, temperature: float):
    network = hopfield(sizes)
    inputs = torch.tensor([[0.2, 0.9], [1.0, 0.0]], dtype=torch.float64)
    targets = torch.eye(2, dtype=torch.float64)
    negative_log_likelihood(network, inputs, targets, temperature).backward()
    method = ContrastiveDivergence(network, 30, temperature=temperature, burn_in=burn_in)
    n = 20000
    _, found = method.gradients(inputs.repeat(n, 1), targets.repeat(n, 1))
    assert relative(found, network) < 0.03


def test_one_step_is_biased_and_more_steps_less_so():
    network = hopfield([2, 3, 2])
    inputs, targets = torch.tensor([[0.2, 0.9]] * 40000).double(), torch.tensor([[1.0, 0.0]] * 40000).double()
    negative_log_likelihood(network, inputs[:1], targets[:1], 0.3).backward()
    errors = [
        relative(ContrastiveDivergence(network, k, temperature=0.3).gradients(inputs, targets)[1], network)
        for k in (1, 4, 40)
    ]
    assert errors[0] > 2 * errors[1] > 4 * errors[2]


def test_learning_raises_the_likelihood():
    network = hopfield([3, 6, 2])
    inputs = torch.tensor([[1.0, 0, 0], [0, 1, 0], [0, 0, 1], [1, 1, 0]]).double()
    targets = torch.tensor([[1.0, 0], [0, 1], [1, 0], [0, 1]]).double()
    method, optimizer = ContrastiveDivergence(network, 3), torch.optim.Adam(network.parameters(), 0.05)
    before = float(negative_log_likelihood(network, inputs, targets, 1.0).detach())
    costs = []
    for _ in range(120):
        optimizer.zero_grad()
        costs.append(float(method.backward(inputs.repeat(10, 1), targets.repeat(10, 1))))
        optimizer.step()
    after = float(negative_log_likelihood(network, inputs, targets, 1.0).detach())
    assert after < 0.25 < 1.0 < before
    assert costs[-1] < 0.3 * costs[0]


def test_the_seed_decides():
    network = hopfield([3, 4, 2])
    inputs, targets = torch.rand(5, 3, generator=torch.Generator().manual_seed(0)).double(), torch.eye(5, 2).double()
    first, second, third = (
        ContrastiveDivergence(network, seed=seed).gradients(inputs, targets)[1]["weight1"] for seed in (3, 3, 4)
    )
    assert torch.equal(first, second)
    assert not torch.equal(first, third)


def test_reported_cost_is_that_of_the_reconstruction():
    network = hopfield([2, 2])
    inputs, targets = torch.ones(1, 2).double(), torch.tensor([[1.0, 0.0]]).double()
    cost, _ = ContrastiveDivergence(network).gradients(inputs, targets)
    probability = torch.sigmoid(inputs @ network.weights[0] + network.biases[0] - 0.5)
    torch.testing.assert_close(cost, SquaredError().value(probability, targets)[0].detach())


def test_errors():
    network = hopfield([2, 3, 2])
    with pytest.raises(StimulusError, match="steps must be at least 1, found 0"):
        ContrastiveDivergence(network, 0)
    with pytest.raises(StimulusError, match="burn_in must be at least 1, found 0"):
        ContrastiveDivergence(network, burn_in=0)
    with pytest.raises(StimulusError, match="needs a positive temperature, found -1"):
        ContrastiveDivergence(network, temperature=-1.0)
    with pytest.raises(StimulusError, match="with the hard sigmoid, found a HopfieldNetwork with Sigmoid"):
        ContrastiveDivergence(hopfield([2, 2], activation="sigmoid"))
    with pytest.raises(StimulusError, match="with the hard sigmoid, found a ResistiveNetwork"):
        ContrastiveDivergence(ResistiveNetwork([2, 2]))  # pyright: ignore[reportArgumentType]
