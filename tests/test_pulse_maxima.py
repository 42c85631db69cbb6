"""Fits of pulse trains whose steps drown in their noise: no start leads to a larger likelihood."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.linalg.lapack import dtbtrs  # pyright: ignore[reportAttributeAccessIssue]

from analog_ep.calibration import pulse_likelihood
from analog_ep.calibration.pulse_fit import _maximise, fit_train, most_likely_fit
from analog_ep.calibration.pulse_likelihood import PulseLikelihood, PulseTrain
from analog_ep.calibration.step_families import FAMILIES

SOFT = np.array([np.log(0.004), np.log(0.005), 1.1, -1.1])
POWER = np.array([np.log(0.008), np.log(0.009), 0.3, 0.2, 1.2, -1.2])


def train_of(name: str, x: np.ndarray, noise: float, write: float, seed: int) -> PulseTrain:
    random = np.random.default_rng(seed)
    up = np.tile(np.repeat([True, False], 400), 2)
    states = [-0.8]
    for sign in up:
        size = FAMILIES[name].step(x, np.array(states[-1:]), np.array([sign]))[0][0]
        states.append(states[-1] + (1 if sign else -1) * size * (1 + noise * random.normal()))
    reads = np.array(states) + write * random.normal(size=len(states))
    return PulseTrain(reads[:-1], reads[1:], up, np.arange(len(up)) > 0)


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize(
    ("name", "x", "noise"), [("SoftBounds", SOFT, 5.0), ("SoftBounds", SOFT, 10.0), ("PowStep", POWER, 3.0)]
)
def test_write_noise_is_found_below_steps_that_drown(name, x, noise, seed):
    train, family = train_of(name, x, noise, 0.005, seed), FAMILIES[name]
    fit = most_likely_fit(train, family)
    from_the_truth = [
        _maximise(PulseLikelihood(train, family, write=write), np.concatenate([x, [np.log(noise)], written]))
        for write, written in ((True, [np.log(0.005)]), (False, []))
    ]
    assert fit.bayes_information < min(each.bayes_information for each in from_the_truth) + 0.2
    states = np.linspace(-0.8, 0.8, 50)
    mean = [family.step(each, states, states < 9)[0].mean() for each in (fit.steps, x)]
    # 1600 pulses of so much noise tell the mean step to a quarter at best.
    assert 0.5 < mean[0] / mean[1] < 2


@pytest.fixture(scope="module")
def drowned() -> PulseTrain:
    """As of RRAM cells: steps of a thousandth of the window, noise of twenty steps, reads noisier still."""
    return train_of("ConstantStep", np.log([0.0015, 0.0015]), 22.0, 0.08, 3)


@pytest.mark.parametrize("seed", [36, 149, 153])
def test_a_closed_form_that_leads_nowhere_does_not_lead_the_fit(seed: int):
    """Power laws through the few steps that noise left positive: full steps of e^100 and more."""
    random = np.random.default_rng(seed)
    up = np.tile(np.repeat([True, False], 200), 2)
    steps = np.where(up, 0.006, -0.007) * (1 + 1.05 * random.standard_normal(len(up)))
    path = np.concatenate([[-0.8], -0.8 + np.cumsum(steps)])
    train = PulseTrain(path[:-1], path[1:], up, np.arange(len(up)) > 0)
    family = FAMILIES["PowStep"]
    assert np.abs(family.start(train.before, train.size, train.up)[:2]).max() > 80
    # Constant steps are power laws whose bounds are far away.
    assert most_likely_fit(train, family).surprise < most_likely_fit(train, FAMILIES["ConstantStep"]).surprise + 0.01


@pytest.mark.parametrize("name", ["LinearStep", "ExpStep", "PowStep", "PiecewiseStep"])
def test_a_family_fits_as_well_as_the_one_within_it(drowned: PulseTrain, name: str):
    family = FAMILIES[name]
    assert family.inner is not None
    fit, inner = (most_likely_fit(drowned, each) for each in (family, family.inner))
    # Steps between nodes, and those of a bound far away, are only nearly lines.
    assert fit.surprise < inner.surprise + 0.1
    assert fit.cycle_noise > 1


@pytest.mark.parametrize("name", sorted(FAMILIES))
def test_the_restricted_likelihood_leaves_the_steps_where_they_are(drowned: PulseTrain, name: str):
    family = FAMILIES[name]
    fits = [each(drowned, family) for each in (most_likely_fit, fit_train)]
    up, down = drowned.up, ~drowned.up
    for sign in (up, down):
        most_likely, restricted = (family.step(f.steps, drowned.before, drowned.up)[0][sign].mean() for f in fits)
        assert restricted == pytest.approx(most_likely, rel=0.1)


def test_a_train_that_tells_of_no_step_at_all_leaves_every_step_untold(monkeypatch: pytest.MonkeyPatch):
    """Its likelihood grows towards steps of nothing with noise of infinitely many of them."""
    random, up = np.random.default_rng([2, 11]), np.tile(np.repeat([True, False], 200), 2)
    moved = np.where(up, 0.006, -0.007) * (1 + 10 * random.normal(size=len(up)))
    reads = -0.8 + np.concatenate([[0.0], np.cumsum(moved)])
    train = PulseTrain(reads[:-1], reads[1:], up, np.arange(len(up)) > 0)

    def solved(factor: np.ndarray, columns: np.ndarray, **options):
        assert columns.size
        return dtbtrs(factor, columns, **options)

    # Of no columns SciPy's wrapper writes outside its memory, and the process ends somewhere else.
    monkeypatch.setattr(pulse_likelihood, "dtbtrs", solved)
    fit = fit_train(train, FAMILIES["SoftBounds"])
    assert np.exp(fit.steps[:2]).max() < 1e-12
    assert np.isinf(np.diag(fit.covariance)).all()
