"""The training-step benchmark: what it reports besides times is exact, and bad requests are one line."""

import json

import pytest
import torch

from analog_ep.benchmarking.step import benchmark_step, free_residual, gradient_error
from analog_ep.devices import IdealDiode, ShockleyDiode
from analog_ep.errors import StimulusError
from analog_ep.learning.gradients.propagation import SmallSignal
from analog_ep.networks import ResistiveNetwork
from analog_ep.stimulus import CrossEntropy

COST = CrossEntropy(0.1)


def task(diode) -> tuple[ResistiveNetwork, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    network = ResistiveNetwork([12, 9, 8, 3], diode=diode)
    return network, 10 * torch.rand(64, 12, generator=generator), torch.randint(0, 3, (64,), generator=generator)


@pytest.mark.parametrize("diode", [IdealDiode(), ShockleyDiode(1e-12)], ids=["ideal", "shockley"])
def test_reported_residuals_and_gradients_are_within_the_stated_bounds(diode):
    network, inputs, labels = task(diode)
    result = benchmark_step(network, SmallSignal(network, COST), inputs, labels, batch=16, training_steps=20, rounds=2)
    assert result.free_residual <= 1e-5
    assert result.response_residual <= 1e-3
    assert max(result.gradient_error) <= 1e-3
    assert result.ratio == min(result.ratios.values())
    found = json.loads(result.to_json())
    assert {"ep_step_ms", "ep_step_unfused_ms", "backprop_step_ms", "ratio", "gradient_error"} <= found.keys()
    assert {"free_residual", "response_residual"} <= found.keys()


def test_a_wrong_gradient_is_seen():
    network, inputs, labels = task(ShockleyDiode(1e-12))
    targets = COST.encode(labels, 3, inputs)
    assert max(gradient_error(network, SmallSignal(network, COST), inputs[:4], targets[:4])) < 1e-4
    other = SmallSignal(ResistiveNetwork([12, 9, 8, 3], diode=ShockleyDiode(1e-12), seed=1), COST)
    assert min(gradient_error(network, other, inputs[:4], targets[:4])) > 0.1


def test_the_free_residual_is_small_next_to_the_currents():
    network, inputs, _ = task(IdealDiode())
    assert free_residual(network, inputs[:4]) <= 1e-5


def test_a_batch_beyond_the_data_is_refused():
    network, inputs, labels = task(IdealDiode())
    with pytest.raises(StimulusError, match=r"batch must lie in 1…64 and rounds be positive, found 65 and 2"):
        benchmark_step(network, SmallSignal(network, COST), inputs, labels, batch=65, rounds=2)
