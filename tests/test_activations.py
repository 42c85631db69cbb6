"""Firing rates against automatic differentiation and high precision."""

import mpmath
import pytest
import torch

from analog_ep.errors import NetworkError
from analog_ep.networks import HardSigmoid, Sigmoid, Tanh
from analog_ep.networks.activation import activation_of

SMOOTH = [Sigmoid(), Tanh()]
STATES = torch.linspace(-6, 6, 241, dtype=torch.float64)

mpmath.mp.dps = 50
REFERENCE = {
    Sigmoid: lambda u: 1 / (1 + mpmath.exp(2 - 4 * u)),
    Tanh: mpmath.tanh,
}


def derivative(function, state):
    at = state.clone().requires_grad_()
    return torch.autograd.grad(function(at).sum(), at)[0]


@pytest.mark.parametrize("rho", [*SMOOTH, HardSigmoid()], ids=lambda rho: type(rho).__name__)
def test_slope_and_curvature_are_the_derivatives(rho):
    states = STATES + 0.003  # off the kinks
    torch.testing.assert_close(rho.slope(states), derivative(rho.value, states), rtol=1e-12, atol=1e-14)
    if rho.bounds is None:
        torch.testing.assert_close(rho.curvature(states), derivative(rho.slope, states), rtol=1e-12, atol=1e-14)
    assert rho.curvature(states).abs().max() <= rho.curvature_bound


@pytest.mark.parametrize("rho", SMOOTH, ids=lambda rho: type(rho).__name__)
@pytest.mark.parametrize("step", [1e-12, -1e-12, 1e-3, -0.7, 40.0, -40.0])
def test_a_change_keeps_its_relative_precision(rho, step):
    reference = REFERENCE[type(rho)]
    for state in (-3.0, -0.2, 0.5, 1.7, 4.0):
        d = mpmath.mpf(step)
        exact = reference(mpmath.mpf(state) + d) - reference(mpmath.mpf(state))
        found = rho.change(torch.tensor(state, dtype=torch.float64), torch.tensor(step, dtype=torch.float64))
        assert float(abs(found.item() / exact - 1)) < 1e-14
        slope = mpmath.diff(reference, mpmath.mpf(state) + d) - mpmath.diff(reference, mpmath.mpf(state))
        found = rho.slope_change(torch.tensor(state, dtype=torch.float64), torch.tensor(step, dtype=torch.float64))
        if abs(step) <= 0.7:
            assert float(abs(found.item() - slope)) < 1e-14 * max(1e-12, float(abs(d)))


@pytest.mark.parametrize("rho", SMOOTH, ids=lambda rho: type(rho).__name__)
def test_a_smooth_rate_is_analytic(rho):
    state, step = torch.tensor([0.3 + 0.2j, -1 + 0.1j]), torch.tensor([1e-3j, 0.1 - 0.2j])
    torch.testing.assert_close(
        rho.change(state, step), rho.value(state + step) - rho.value(state), rtol=1e-4, atol=1e-7
    )
    imaginary = rho.value(torch.complex(STATES, torch.full_like(STATES, 1e-20))).imag / 1e-20
    torch.testing.assert_close(imaginary, rho.slope(STATES))


def test_the_hard_sigmoid_clips():
    rho = HardSigmoid()
    state = torch.tensor([0.0, 0.0, 0.5, 1.0, -1.0, 2.0])
    step = torch.tensor([-0.2, 0.2, 1e-9, -3.0, 1.5, -1.5])
    assert rho.change(state, step).tolist() == pytest.approx([0.0, 0.2, 1e-9, -1.0, 0.5, -0.5])
    assert rho.slope(state).tolist() == [1, 1, 1, 1, 0, 0]
    assert rho.slope_change(state, step).tolist() == [-1, 0, 0, -1, 1, 1]
    assert rho.clip(state).tolist() == [0, 0, 0.5, 1, 0, 1]


def test_an_unknown_name_is_refused():
    with pytest.raises(NetworkError, match="activation must be one of hard_sigmoid, sigmoid, tanh, found 'relu'"):
        activation_of("relu")
