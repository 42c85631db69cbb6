"""The stochastic rule against quadrature, and quadrature against closed forms."""

import json

import numpy as np
import pytest
import torch
from scipy import stats

from analog_ep.devices import ShockleyDiode
from analog_ep.dynamics.langevin import Langevin
from analog_ep.equilibrium.equilibrium import solve
from analog_ep.equilibrium.layered.relaxation import Relaxation
from analog_ep.errors import ConvergenceError, StimulusError
from analog_ep.learning.gradients.stochastic import GradientEstimate, StochasticEquilibriumPropagation
from analog_ep.networks import ResistiveNetwork
from analog_ep.stimulus import SquaredError
from analog_ep.theory.quadrature import GibbsGrid
from analog_ep.theory.stationary import stochastic_study

TEMPERATURE = 2e-8
INPUTS = torch.tensor([0.4, -0.3], dtype=torch.float64)
TARGET = torch.tensor([0.2], dtype=torch.float64)


def linear() -> ResistiveNetwork:
    return ResistiveNetwork([2, 1], dtype=torch.float64, seed=1)


def nonlinear() -> ResistiveNetwork:
    diode = ShockleyDiode(1e-9)
    return ResistiveNetwork([2, 1, 1], diode=diode, gain=2.0, feedback=2.0, dtype=torch.float64, seed=1)


def grid(network: ResistiveNetwork, temperature: float = TEMPERATURE, points: int = 33) -> GibbsGrid:
    layers = solve(network, INPUTS, solver=Relaxation()).layers
    return GibbsGrid.fitted(network, INPUTS, temperature, layers, points)


def expected_cost(theta: torch.Tensor, network: ResistiveNetwork) -> torch.Tensor:
    """⟨C⟩ of a single stage: the outputs are independent and Gaussian, with variances T/Σg."""
    siemens = theta * network.reference_conductance
    rows = torch.cat([INPUTS, -INPUTS, torch.tensor([1.0, -1.0], dtype=torch.float64)])
    mean = rows @ siemens / siemens.sum(0)
    return 0.5 * (mean[0] - mean[1] - TARGET[0]) ** 2 + 0.5 * TEMPERATURE * (1 / siemens.sum(0)).sum()


def test_quadrature_of_a_gaussian():
    network = linear()
    theta = network.theta("stage1").detach().clone().requires_grad_()
    cost = expected_cost(theta, network)
    (gradient,) = torch.autograd.grad(cost, theta)
    found = grid(network)
    assert found.mean_cost(SquaredError(), TARGET) == pytest.approx(float(cost.detach()), rel=1e-9)
    torch.testing.assert_close(found.gradient(SquaredError(), TARGET)["stage1"], gradient, rtol=1e-6, atol=1e-12)


def test_quadrature_does_not_depend_on_its_grid():
    coarse, fine = (grid(nonlinear(), points=points).gradient(SquaredError(), TARGET) for points in (25, 41))
    for name, value in fine.items():
        torch.testing.assert_close(coarse[name], value, rtol=1e-5, atol=1e-8)


def test_grids_that_do_not_hold_the_distribution():
    layers = solve(linear(), INPUTS, solver=Relaxation()).layers
    with pytest.raises(StimulusError, match=r"at most 16777216 points, found 5000\^2"):
        GibbsGrid.fitted(linear(), INPUTS, TEMPERATURE, layers, points=5000)
    with pytest.raises(ConvergenceError, match=r"must hold the distribution, found \S+ of it at its faces"):
        GibbsGrid.fitted(linear(), INPUTS, TEMPERATURE, layers, points=3)


@pytest.mark.pictures
@pytest.mark.parametrize("estimator", ["contrast", "covariance"])
def test_the_rule_on_random_networks(estimator):
    study = stochastic_study(2, estimator, chains=1024, steps=200)
    for case in study.cases:
        assert case.relative_error < 0.02
        assert case.cosine > 0.999
    assert study.probability > 0.01
    assert json.loads(study.to_json())["degrees"] == study.degrees
    assert study.table().row_count == 3
    assert study.plot().startswith(b"\x89PNG")


def test_the_chi_square_sees_a_wrong_gradient():
    langevin = Langevin(TEMPERATURE, chains=512, burn_in=200, steps=250)
    rule = StochasticEquilibriumPropagation(nonlinear(), langevin, 1e-7)
    estimate = rule.estimate(INPUTS[None], TARGET[None])
    exact = grid(nonlinear()).gradient(SquaredError(), TARGET)
    right, degrees = estimate.chi_square(exact)
    wrong, _ = estimate.chi_square({name: 1.05 * value for name, value in exact.items()})
    assert stats.chi2.sf(right, degrees) > 0.01
    assert stats.chi2.sf(wrong, degrees) < 1e-6


def test_the_chi_square_is_one():
    generator = torch.Generator().manual_seed(0)
    mixing = torch.randn(3, 5, generator=generator, dtype=torch.float64)
    values = []
    for _ in range(200):
        blocks = torch.randn(40, 3, generator=generator, dtype=torch.float64) @ mixing
        estimate = GradientEstimate(torch.zeros(()), {"a": blocks[:, :2], "b": blocks[:, 2:]})
        value, degrees = estimate.chi_square({"a": torch.zeros(2), "b": torch.zeros(3)})
        assert degrees == 3
        values.append(value)
    assert stats.kstest(values, stats.chi2(3).cdf).pvalue > 0.01


def test_standard_errors_are_those_of_a_mean():
    blocks = torch.randn(6, 2, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    estimate = GradientEstimate(torch.zeros(()), {"a": blocks, "b": 2 * blocks + 1})
    errors = stats.sem(blocks.numpy())
    np.testing.assert_allclose(estimate.standard_errors["a"].numpy(), errors, rtol=1e-12)
    values = np.concatenate([blocks.numpy().mean(0).ravel(), 2 * blocks.numpy().mean(0).ravel() + 1])
    expected = np.sqrt(5) * np.linalg.norm(errors) / np.linalg.norm(values)
    assert estimate.relative_error == pytest.approx(expected, rel=1e-12)


def test_the_chi_square_has_the_probability_of_hotellings_statistic():
    """T² = n dᵀS⁻¹d of six blocks; T² (n − p)/(p (n − 1)) is F-distributed. One entry alone makes it Student's t."""
    blocks = torch.randn(6, 3, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    value, degrees = GradientEstimate(torch.zeros(()), {"a": blocks}).chi_square({"a": torch.full((3,), 0.3)})
    distance = blocks.numpy().mean(0) - 0.3
    statistic = 6 * distance @ np.linalg.solve(np.cov(blocks.numpy().T), distance)
    assert degrees == 3
    assert stats.chi2.sf(value, 3) == pytest.approx(stats.f.sf(statistic * 3 / (3 * 5), 3, 3), rel=1e-6)
    value, degrees = GradientEstimate(torch.zeros(()), {"a": blocks[:, :1]}).chi_square({"a": torch.full((1,), 0.3)})
    student = stats.ttest_1samp(blocks[:, 0].numpy(), 0.3).pvalue  # pyright: ignore[reportAttributeAccessIssue]
    assert stats.chi2.sf(value, degrees) == pytest.approx(student, rel=1e-6)


def test_backward_fills_the_gradient_of_the_mean_over_the_batch():
    network = linear()
    inputs, targets = torch.stack([INPUTS, -INPUTS]), torch.stack([TARGET, TARGET])
    langevin = Langevin(TEMPERATURE, chains=2048, burn_in=100, steps=100)
    rule = StochasticEquilibriumPropagation(network, langevin, 1e-8)
    cost = rule.backward(inputs, targets)
    grids = [
        GibbsGrid.fitted(network, x, TEMPERATURE, solve(network, x, solver=Relaxation()).layers, 33) for x in inputs
    ]
    exact = torch.stack([g.gradient(SquaredError(), TARGET)["stage1"] for g in grids]).mean(0)
    parameter = network.theta("stage1")
    assert parameter.grad is not None
    assert float((parameter.grad - exact).norm() / exact.norm()) < 0.03
    assert float(cost) == pytest.approx(sum(g.mean_cost(SquaredError(), TARGET) for g in grids) / 2, rel=0.03)
    first = parameter.grad.clone()
    rule.backward(inputs, targets)
    # The second estimate has random numbers of its own, and is added.
    assert float((parameter.grad - 2 * first).norm()) > 0
    assert float((parameter.grad - 2 * exact).norm() / exact.norm()) < 0.06


def test_what_the_rule_refuses():
    langevin = Langevin(TEMPERATURE)
    with pytest.raises(StimulusError, match=r"nudging must be positive and finite, found 0"):
        StochasticEquilibriumPropagation(linear(), langevin, 0)
    with pytest.raises(StimulusError, match="estimator must be contrast or covariance, found 'mean'"):
        StochasticEquilibriumPropagation(linear(), langevin, 1e-7, estimator="mean")  # pyright: ignore[reportArgumentType]
    with pytest.raises(StimulusError, match="at least 2 chains, found 1"):
        StochasticEquilibriumPropagation(linear(), Langevin(TEMPERATURE, chains=1), 1e-7)
