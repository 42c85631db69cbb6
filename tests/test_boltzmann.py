"""Block Gibbs sampling against enumeration of every state of tiny machines."""

from itertools import pairwise, product

import pytest
import torch
from torch import Tensor

from analog_ep.dynamics.boltzmann import BoltzmannMachine
from analog_ep.errors import StimulusError


def machine(sizes: list[int], temperature: float = 0.7) -> BoltzmannMachine:
    generator = torch.Generator().manual_seed(sum(sizes))
    shapes = list(pairwise(sizes))
    return BoltzmannMachine(
        [torch.randn(shape, generator=generator, dtype=torch.float64) for shape in shapes],
        [torch.randn(n, generator=generator, dtype=torch.float64) for _, n in shapes],
        temperature,
    )


def states(sizes: list[int]) -> tuple[Tensor, ...]:
    """All states of the layers, each `(n_states, n_units)`."""
    every = torch.tensor(list(product([0.0, 1.0], repeat=sum(sizes))), dtype=torch.float64)
    return every.split(sizes, -1)


def log_weight(found: BoltzmannMachine, inputs: Tensor, layers: tuple[Tensor, ...]) -> Tensor:
    """−E/T written out unit by unit."""
    total = torch.zeros(len(layers[0]), dtype=torch.float64)
    before = inputs.expand(len(layers[0]), -1)
    for layer, weight, bias in zip(layers, found.weights, found.biases, strict=True):
        total += torch.einsum("ni,ij,nj->n", before, weight, layer) + layer @ bias - 0.5 * layer.square().sum(-1)
        before = layer
    return total / found.temperature


@pytest.mark.parametrize("sizes", [[2, 3], [2, 3, 2], [2, 2, 3, 2]])
@pytest.mark.parametrize("held", [False, True])
def test_samples_follow_the_distribution(sizes: list[int], held: bool):
    found, inputs = machine(sizes), torch.tensor([0.3, 0.9], dtype=torch.float64)
    every = states(sizes[1:])
    weight = torch.softmax(log_weight(found, inputs, every), 0)
    target = torch.ones(sizes[-1], dtype=torch.float64)
    if held:
        weight = weight * (every[-1] == target).all(-1)
        weight = weight / weight.sum()
    n, generator = 20000, torch.Generator().manual_seed(0)
    layers = [torch.zeros(n, size, dtype=torch.float64) for size in sizes[1:-1]]
    layers.append(target.expand(n, -1) if held else torch.zeros(n, sizes[-1], dtype=torch.float64))
    batch = inputs.expand(n, -1)
    for _ in range(30):
        layers = found.sweep(batch, layers, generator, held=held)
    power = 2 ** torch.arange(sum(sizes[1:]) - 1, -1, -1)
    index = (torch.cat(layers, -1).long() * power).sum(-1)
    count = torch.bincount(index, minlength=len(weight)).double()
    possible = weight > 0
    assert count[~possible].sum() == 0
    # χ² over the states that are met often enough, the others pooled.
    expected = n * weight
    rare = expected < 10
    pooled = (float(count[rare].sum()), float(expected[rare].sum()))
    terms = torch.cat([(count - expected)[~rare].square() / expected[~rare], _pooled(pooled)])
    freedom = len(terms) - 1
    assert float(terms.sum()) <= freedom + 4 * (2 * freedom) ** 0.5
    means = found.expected(batch, layers, held=held)
    for layer, other in zip(means, every, strict=True):
        torch.testing.assert_close(layer.mean(0), weight @ other, rtol=0, atol=0.02)


def _pooled(pair: tuple[float, float]) -> Tensor:
    count, expected = pair
    return torch.tensor([(count - expected) ** 2 / expected] if expected > 1e-6 else [])


def test_conditional_probabilities_are_those_of_the_distribution():
    sizes = [2, 2, 3, 2]
    found, inputs = machine(sizes), torch.tensor([0.5, -0.2], dtype=torch.float64)
    every = states(sizes[1:])
    for k in range(3):
        probability = found.probability(k, inputs, every)
        for unit in range(sizes[k + 1]):
            on, off = ([layer.clone() for layer in every] for _ in range(2))
            on[k][:, unit], off[k][:, unit] = 1.0, 0.0
            odds = log_weight(found, inputs, tuple(on)) - log_weight(found, inputs, tuple(off))
            torch.testing.assert_close(probability[:, unit], torch.sigmoid(odds), rtol=1e-12, atol=1e-14)


def test_a_cold_machine_settles_in_a_minimum():
    found, inputs = machine([2, 3, 2], 1e-3), torch.tensor([1.0, 1.0], dtype=torch.float64)
    every = states([3, 2])
    generator = torch.Generator().manual_seed(0)
    layers = [torch.rand(50, n, generator=generator, dtype=torch.float64).round() for n in (3, 2)]
    for _ in range(30):
        layers = found.sweep(inputs, layers, generator, held=False)
    energy = -found.temperature * log_weight(found, inputs, tuple(layers))
    for k, layer in enumerate(layers):
        for unit in range(layer.shape[-1]):
            other = [each.clone() for each in layers]
            other[k][:, unit] = 1 - layer[:, unit]
            flipped = -found.temperature * log_weight(found, inputs, tuple(other))
            assert bool((flipped >= energy).all())
    assert energy.min() >= -found.temperature * log_weight(found, inputs, every).max() - 1e-12


@pytest.mark.parametrize("temperature", [0.0, -1.0, float("nan"), float("inf")])
def test_temperatures_must_be_positive(temperature: float):
    with pytest.raises(StimulusError, match="needs a positive temperature, found"):
        machine([2, 2], temperature)


@pytest.mark.parametrize("sizes", [[2, 3], [2, 4, 3]])
def test_class_scores_are_the_likelihood_of_one_hot_outputs(sizes: list[int]):
    found, inputs = machine(sizes), torch.tensor([[0.3, 0.9], [1.0, -1.0]], dtype=torch.float64)
    every = states(sizes[1:])
    for x, scores in zip(inputs, found.class_scores(inputs), strict=True):
        weight = log_weight(found, x, every)
        wanted = torch.stack(
            [torch.logsumexp(weight[(every[-1] == one).all(-1)], 0) for one in torch.eye(3, dtype=torch.float64)]
        )
        torch.testing.assert_close(scores - scores[0], wanted - wanted[0], rtol=1e-12, atol=1e-12)


def test_class_scores_of_a_deep_machine_have_no_closed_form():
    with pytest.raises(StimulusError, match="need at most one hidden layer, found 2"):
        machine([2, 3, 3, 2]).class_scores(torch.ones(1, 2, dtype=torch.float64))
