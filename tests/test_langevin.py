"""Langevin dynamics against closed forms: forces, Gaussian distributions, the bias of a step."""

import math

import pytest
import torch
from torch import Tensor

from analog_ep.devices import IdealDiode, ShockleyDiode
from analog_ep.dynamics.landscape import Landscape, landscape_of
from analog_ep.dynamics.langevin import Langevin, injected_temperature
from analog_ep.errors import StimulusError, UnstableNudgeError
from analog_ep.networks import HopfieldNetwork, ResistiveNetwork
from analog_ep.stimulus import CrossEntropy, SquaredError

TEMPERATURE = 2e-8


def resistive(sizes=(3, 4, 3, 2), **options) -> ResistiveNetwork:
    return ResistiveNetwork(list(sizes), diode=ShockleyDiode(1e-9), dtype=torch.float64, seed=3, **options)


def landscape(network, nudging=(0.0,), cost=None, n_samples: int = 1) -> Landscape:
    generator = torch.Generator().manual_seed(5)
    inputs = 0.3 * torch.randn(n_samples, network.n_inputs, generator=generator, dtype=torch.float64)
    targets = torch.softmax(torch.randn(n_samples, network.n_outputs, generator=generator, dtype=torch.float64), -1)
    return landscape_of(network, inputs, targets, cost or SquaredError(), torch.tensor(nudging, dtype=torch.float64))


def hopfield(activation: str = "tanh") -> HopfieldNetwork:
    return HopfieldNetwork([3, 4, 2], activation=activation, initial_scale=2.0, dtype=torch.float64, seed=3)


def test_force_of_a_hopfield_network_is_the_slope_of_the_energy():
    for activation in ("tanh", "sigmoid"):
        over = landscape(hopfield(activation), (-0.5, 0.0, 2.0), n_samples=2)
        generator = torch.Generator().manual_seed(0)
        state = torch.randn(3, 2, 4, sum(over.sizes), generator=generator, dtype=torch.float64)
        step = 1e-5 * torch.eye(sum(over.sizes), dtype=torch.float64)
        slopes = [(over.energy(state + move) - over.energy(state - move)) / 2e-5 for move in step]
        torch.testing.assert_close(over.force(state), -torch.stack(slopes, -1), rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("cost", [SquaredError(), CrossEntropy(0.1)])
@pytest.mark.parametrize("network", [resistive(gain=3.0), resistive(gain=2.0, drive="single", bias_voltage=None)])
def test_force_is_the_slope_of_the_energy(network, cost):
    over = landscape(network, (-1e-7, 0.0, 3e-6), cost, n_samples=2)
    generator = torch.Generator().manual_seed(0)
    state = 0.05 * torch.randn(3, 2, 4, sum(over.sizes), generator=generator, dtype=torch.float64)
    step = 1e-4 * torch.eye(sum(over.sizes), dtype=torch.float64)
    slopes = [(over.energy(state + move) - over.energy(state - move)) / 2e-4 for move in step]
    torch.testing.assert_close(over.force(state), -torch.stack(slopes, -1), rtol=1e-4, atol=1e-12)


def spread(over: Landscape, langevin: Langevin) -> Tensor:
    """Variance of each unit over chains and states, `(n_phases, n_units)`."""
    start = torch.zeros(1, sum(over.sizes), dtype=torch.float64)
    states = torch.stack(list(langevin.states(over, start)))
    return states.var(dim=(0, 2, 3))


def test_a_linear_network_is_gaussian_at_any_step():
    network = ResistiveNetwork([2, 1], dtype=torch.float64, seed=1)
    over = landscape(network)
    total = network.conductances["stage1"].sum(0)
    for step in (0.3, 1.0):
        langevin = Langevin(TEMPERATURE, chains=8192, burn_in=60, steps=100, every=10, step=step / float(total.max()))
        # 80 000 states, a tenth of them independent at the least: 1.6 % is one standard deviation.
        torch.testing.assert_close(spread(over, langevin)[0], TEMPERATURE / total, rtol=0.03, atol=0.0)


def test_the_bias_of_an_unadjusted_step_is_the_known_one():
    network = ResistiveNetwork([2, 1], dtype=torch.float64, seed=1)
    total = network.conductances["stage1"].sum(0)
    for share in (0.3, 1.0):
        step = share / float(total.max())
        langevin = Langevin(TEMPERATURE, chains=8192, burn_in=60, steps=100, every=10, step=step, adjusted=False)
        # u' = (1 − h g) u + √(2 h T) ξ has the variance T/(g (1 − h g/2)).
        expected = TEMPERATURE / (total * (1 - step * total / 2))
        torch.testing.assert_close(spread(landscape(network), langevin)[0], expected, rtol=0.03, atol=0.0)


def test_phases_share_their_random_numbers():
    over = landscape(resistive((2, 2, 1), gain=2.0, feedback=2.0), (-1e-7, 1e-7))
    start = torch.zeros(1, sum(over.sizes), dtype=torch.float64)
    (negative, positive) = next(Langevin(TEMPERATURE, chains=256, burn_in=50, steps=5).states(over, start))
    assert (positive - negative).std() < 0.05 * positive.std()
    again = next(Langevin(TEMPERATURE, chains=256, burn_in=50, steps=5).states(over, start))
    assert torch.equal(again[1], positive)
    other = next(Langevin(TEMPERATURE, chains=256, burn_in=50, steps=5, seed=1).states(over, start))
    assert not torch.equal(other[1], positive)


def test_temperature_of_injected_noise():
    assert injected_temperature(4e-20, 1e-12) == pytest.approx(2e-8)
    with pytest.raises(StimulusError, match=r"must be positive, found 0\.0 and 1e-12"):
        injected_temperature(0.0, 1e-12)


def test_what_langevin_dynamics_refuses():
    with pytest.raises(StimulusError, match="must be positive, found Langevin"):
        Langevin(0.0)
    with pytest.raises(StimulusError, match="must be positive, found Langevin"):
        Langevin(math.inf)
    with pytest.raises(StimulusError, match="need their length, found none; give a step"):
        Langevin(1.0, adjusted=False)
    ideal = ResistiveNetwork([2, 2, 1], diode=IdealDiode(), dtype=torch.float64)
    with pytest.raises(StimulusError, match="diodes with a finite current, found ideal ones"):
        landscape(ideal)
    with pytest.raises(UnstableNudgeError, match=r"must be weaker than \S+, found 1: beyond it nothing holds"):
        landscape(resistive(), (-1.0, 1.0))
    with pytest.raises(StimulusError, match="needs states without bounds, found HardSigmoid; use sigmoid or tanh"):
        landscape(hopfield("hard_sigmoid"))
    with pytest.raises(UnstableNudgeError, match="must be weaker than 1, found 1: beyond it nothing holds"):
        landscape(hopfield(), (-1.0, 1.0))
