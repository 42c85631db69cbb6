"""Level and power of the residual tests, and restricted likelihood, against dense linear algebra and repeated draws."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats
from scipy.optimize import minimize

from analog_ep.calibration import Table, fit_amplifier, pulse_adequacy
from analog_ep.calibration.adequacy import Adequacy, lack_of_fit, waves
from analog_ep.calibration.pulse_adequacy import adequacy_of
from analog_ep.calibration.pulse_fit import TrainFit, fit_train
from analog_ep.calibration.pulse_likelihood import PulseLikelihood, PulseTrain
from analog_ep.calibration.step_families import ConstantFamily, ExpFamily, LinearFamily, SoftBoundsFamily

POINTS = 120


def p_values(bend: float, draws: int = 400) -> np.ndarray:
    """Of the test for waves on residuals of a model that holds two of them, its derivatives noisy as reads are."""
    noise = np.random.default_rng(0)
    smooth = waves(np.arange(float(POINTS)))
    found = []
    for _ in range(draws):
        z = noise.standard_normal(POINTS)
        # The reads' noise, from which the residuals come, stands in the derivatives too.
        slopes = smooth[:, :2] + 0.02 * (z[:, None] + noise.standard_normal((POINTS, 2)))
        z = z + bend * smooth[:, 4]
        fitted, *_ = np.linalg.lstsq(slopes, z, rcond=None)
        p = lack_of_fit(z - slopes @ fitted, slopes, smooth, False)
        assert p is not None
        found.append(p)
    return np.array(found)


def test_a_true_model_is_rejected_at_the_stated_level():
    p = p_values(0.0)
    # Binomial, 400 draws: 40 ± 6 below 0.1 and 4 ± 2 below 0.01.
    assert 22 <= (p < 0.1).sum() <= 58
    assert (p < 0.01).sum() <= 10


def test_a_bend_that_the_model_lacks_is_seen():
    """As often as the noncentral F distribution says of the six waves that the model does not hold."""
    expected = stats.ncf.sf(stats.f.isf(0.01, 6, POINTS - 8), 6, POINTS - 8, 0.6**2 * POINTS / 2)
    assert (p_values(0.6) < 0.01).mean() == pytest.approx(expected, abs=0.06)  # three standard deviations of 400 draws


def constant_train(n: int, cycle: float, write: float, seed: int) -> PulseTrain:
    noise = np.random.default_rng(seed)
    up = np.arange(n) % 20 < 10
    steps = np.where(up, 0.02, -0.02) * (1 + cycle * noise.standard_normal(n))
    reads = np.concatenate([[0.0], np.cumsum(steps)]) + write * noise.standard_normal(n + 1)
    return PulseTrain(reads[:-1], reads[1:], up, np.arange(n) > 0)


def test_clean_reads_divide_by_the_degrees_of_freedom():
    """Two means of 40 relative steps leave 38 degrees of freedom to their variance."""
    train = constant_train(40, 0.05, 0.0, 1)
    fit = fit_train(train, ConstantFamily())
    relative = np.concatenate([train.size[side] / train.size[side].mean() for side in (train.up, ~train.up)])
    assert fit.cycle_noise == pytest.approx(np.sqrt(((relative - 1) ** 2).sum() / 38), rel=5e-3)


def test_noisy_reads_have_the_noise_of_the_dense_restricted_likelihood():
    train = constant_train(300, 0.4, 0.01, 2)
    fit = fit_train(train, ConstantFamily())
    up, down = np.exp(fit.steps)
    mean = np.where(train.up, up, -down)
    columns = np.column_stack([train.up * up, ~train.up * -down])
    sums = np.eye(300, 301, 1) - np.eye(300, 301)

    def criterion(logs: np.ndarray) -> float:
        cycle, write = np.exp(logs)
        covariance = np.diag((cycle * mean) ** 2) + write**2 * sums @ sums.T
        residuals = train.after - train.before - mean
        inverse = np.linalg.inv(covariance)
        determinants = np.linalg.slogdet(covariance)[1] + np.linalg.slogdet(columns.T @ inverse @ columns)[1]
        return 0.5 * float(determinants + residuals @ inverse @ residuals)

    best = minimize(criterion, np.log([0.4, 0.01]), method="Nelder-Mead", options={"xatol": 1e-6, "fatol": 1e-10})
    # The steps are those of the maximum of the likelihood, which the variance of the steps moves a little.
    np.testing.assert_allclose(fit.coordinates[2:], best.x, atol=2e-3)
    assert fit.surprise < fit.likelihood.surprise(fit.coordinates)


def test_points_too_few_for_any_test_are_said():
    x = np.linspace(-1, 1, 11)
    y = 4 * x + 0.01 * np.random.default_rng(0).standard_normal(11)
    sentence = fit_amplifier(Table("short.csv", {"input": x, "output": y})).sentence()
    assert sentence.startswith("linear is not tested: no residual test has the 12 points that it needs; ")


RATE_UP, RATE_DOWN, BOUND = 0.007, 0.008, 1.1


def soft_train(noise: float, seed: int, after_a_reversal: float = 1.0) -> TrainFit:
    """Steps towards soft bounds, at their true parameters; just after a reversal they may be larger."""
    random = np.random.default_rng(seed)
    up = np.tile(np.repeat([True, False], 200), 2)
    states = [-0.8]
    for k, sign in enumerate(up):
        step = RATE_UP * (BOUND - states[-1]) if sign else -RATE_DOWN * (states[-1] + BOUND)
        step *= 1 + (after_a_reversal - 1) * np.exp(-(k % 200) / 10)
        states.append(states[-1] + step * (1 + noise * random.normal()))
    path = np.array(states)
    train = PulseTrain(path[:-1], path[1:], up, np.arange(len(up)) > 0)
    likelihood = PulseLikelihood(train, SoftBoundsFamily(), write=False)
    truth = np.array([np.log(RATE_UP), np.log(RATE_DOWN), BOUND, -BOUND, np.log(noise)])
    return TrainFit(likelihood, truth, np.eye(len(truth)), likelihood.surprise(truth))


def test_states_that_walk_with_the_noise_do_not_reject_the_true_model(monkeypatch: pytest.MonkeyPatch):
    trains = [soft_train(10.0, seed) for seed in range(20)]
    # At a level of 1 %, three of twenty come about once in a thousand such tests.
    assert sum(not adequacy_of(train, richer=False).adequate for train in trains) <= 2
    monkeypatch.setattr(pulse_adequacy, "_DROWNED", np.inf)
    assert sum(not adequacy_of(train, richer=False).adequate for train in trains) >= 3


def test_trains_that_walk_still_show_what_the_model_lacks():
    assert not adequacy_of(soft_train(3.0, 0, after_a_reversal=20.0)).adequate


def bent_train(noise: float, seed: int) -> PulseTrain:
    """Steps that fall off exponentially with the state."""
    random = np.random.default_rng(seed)
    up = np.tile(np.repeat([True, False], 200), 2)
    states = [-0.8]
    for sign in up:
        w = states[-1]
        step = 0.006 * (1 - 0.5 * np.expm1(w)) if sign else 0.007 * (1 - 0.4 * np.expm1(-1.2 * w) / 1.2)
        states.append(w + (1 if sign else -1) * max(step, 0.0) * (1 + noise * random.normal()))
    path = np.array(states)
    return PulseTrain(path[:-1], path[1:], up, np.arange(len(up)) > 0)


def test_a_shape_that_a_richer_family_has_is_seen_where_steps_drown():
    # The noise, of ten steps, tells their shape by its spread alone.
    train = bent_train(10.0, 0)
    straight, bent = (adequacy_of(fit_train(train, family)) for family in (LinearFamily(), ExpFamily()))
    assert not straight.adequate
    assert bent.adequate
    assert straight.comparisons.keys() == {"ExpStep", "PowStep", "PiecewiseStep"}
    assert bent.comparisons.keys() == {"PiecewiseStep"}
    assert Adequacy(straight.p_values).adequate


def test_tests_and_comparisons_share_the_level():
    assert Adequacy({"a": 0.0051, "b": 1.0}).adequate
    assert not Adequacy({"a": 0.0049, "b": 1.0}).adequate
    found = Adequacy({"a": 0.0051, "b": 1.0}, comparisons={"ExpStep": 0.0049})
    assert found.corrected == {"a": pytest.approx(0.0204), "b": 1.0, "comparison with ExpStep": pytest.approx(0.0098)}
    assert "the comparison with ExpStep rejects it at 1% (p 9.8e-03, corrected for 3 tests)" in found.sentence("m")
