"""Maximum likelihood of one pulse train under one family of steps."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from analog_ep.calibration.differences import curvature, inverse, most_likely
from analog_ep.calibration.fit import UNTOLD
from analog_ep.calibration.pulse_likelihood import Linearised, PulseLikelihood, PulseTrain
from analog_ep.calibration.pulse_restricted import restricted
from analog_ep.calibration.step_families import ConstantFamily, StepFamily

_ROUNDS = 5
_LEAST_WRITTEN = 0.02
"""Of the variance: write noise to begin with where neighbouring residuals show none."""

_CLEARLY_WRITTEN = -0.25
"""Correlation of neighbouring residuals below which nothing but write noise explains it; alone it gives −½."""


@dataclass(frozen=True, eq=False)
class TrainFit:
    """The optimum of one family on one train.

    Attributes
    ----------
    likelihood : PulseLikelihood
        With the smoothed states.
    coordinates : ndarray (n_coordinates,)
        Steps, then ln σ and ln e where there are such noises.
    covariance : ndarray (n_coordinates, n_coordinates)
        Inverse of the observed Fisher information; infinite where the data do not tell.
    surprise : float
        −ln of the largest likelihood.
    """

    likelihood: PulseLikelihood
    coordinates: np.ndarray
    covariance: np.ndarray
    surprise: float

    @property
    def family(self) -> StepFamily:
        """Of the steps."""
        return self.likelihood.family

    @property
    def steps(self) -> np.ndarray:
        """Coordinates of the steps."""
        return self.coordinates[: self.family.n_coordinates]

    @property
    def cycle_noise(self) -> float:
        """σ, relative to a step; 0 for none."""
        return float(np.exp(self.coordinates[self.family.n_coordinates])) if self.likelihood.cycle else 0.0

    @property
    def write_noise(self) -> float:
        """e, in the state; 0 for none."""
        return float(np.exp(self.coordinates[-1])) if self.likelihood.write else 0.0

    @property
    def bayes_information(self) -> float:
        """BIC: 2 · surprise + k ln n."""
        return 2 * self.surprise + len(self.coordinates) * float(np.log(len(self.likelihood.train)))


def fit_train(train: PulseTrain, family: StepFamily) -> TrainFit:
    """Fit a family by restricted likelihood; a noise that the data do not tell from none is left out.

    The start is the closed form: least squares of the steps on the states, with noise from the covariance of
    neighbouring residuals, which write noise alone makes negative.
    """
    fit = most_likely_fit(train, family)
    coordinates, covariance = restricted(fit.likelihood, fit.coordinates, fit.covariance)
    return dataclasses.replace(fit, coordinates=coordinates, covariance=covariance)


@lru_cache(maxsize=64)
def most_likely_fit(train: PulseTrain, family: StepFamily) -> TrainFit:
    """Largest likelihood; kept, since the fit of a family begins at that of a simpler one too."""
    inner = most_likely_fit(train, family.inner) if family.inner else None
    starts = [family.start(train.before, train.size, train.up), _flat(family, train)]
    starts += [family.around(inner.steps)] if inner else []
    # Where steps drown, the closed form may lead anywhere: the noise is that about the best start.
    variance, correlation = min(_left_by(x, train, family) for x in starts)
    written = _fit_written(train, family, variance, min(correlation, -_LEAST_WRITTEN), inner)
    if correlation < _CLEARLY_WRITTEN:
        return written
    return min(written, _fit_steady(train, family, starts, variance), key=lambda f: f.bayes_information)


def richer_fit(own: TrainFit, family: StepFamily) -> TrainFit:
    """Fit of a richer family with the noises of a simpler one's: where the likelihood rises to from near the latter."""
    likelihood = own.likelihood.of(family)
    inner = most_likely_fit(likelihood.train, family.inner or own.family)
    noises = own.coordinates[own.family.n_coordinates :]
    return _maximise(likelihood, np.concatenate([family.around(inner.steps), noises]))


def _fit_steady(train: PulseTrain, family: StepFamily, starts: Sequence[np.ndarray], variance: float) -> TrainFit:
    """Without write noise."""
    likelihood = PulseLikelihood(train, family, write=False)
    return _best(likelihood, [np.append(start, _log_noise(variance, start, likelihood)) for start in starts])


def _fit_written(
    train: PulseTrain, family: StepFamily, variance: float, correlation: float, inner: TrainFit | None
) -> TrainFit:
    """With write noise, and with cycle-to-cycle noise where that makes the data likelier."""
    likelihood = PulseLikelihood(train, family)
    read = np.sqrt(-correlation * variance)
    rest = max(variance - 2 * read**2, 0.01 * variance)
    likelihood.states = _smoothed(train, read, np.sqrt(rest))
    moved = train.sign * (_following(likelihood.states, train) - likelihood.states)
    starts = [family.start(likelihood.states, moved, train.up), _flat(family, train)]
    noisy = [np.concatenate([x, [_log_noise(rest, x, likelihood)], [np.log(read)]]) for x in starts]
    if inner:
        x = family.around(inner.steps)
        cycle = np.log(inner.cycle_noise) if inner.likelihood.cycle else _log_noise(rest, x, likelihood)
        write = inner.write_noise if inner.likelihood.write else read
        noisy.append(np.concatenate([x, [cycle], [np.log(write)]]))
    fit = _best(likelihood, noisy)
    n = family.n_coordinates
    if fit.covariance[n, n] < UNTOLD**2:
        return fit
    # Where steps drown, their noise may be told well though not how many steps it is.
    alone = PulseLikelihood(train, family, cycle=False)
    alone.states = fit.likelihood.states
    return min(fit, _maximise(alone, np.delete(fit.coordinates, n)), key=lambda each: each.bayes_information)


def _best(likelihood: PulseLikelihood, starts: list[np.ndarray]) -> TrainFit:
    """The largest likelihood that any start leads to: it has several maxima, of small steps with much noise too."""
    return min((_maximise(likelihood.copy(), start) for start in starts), key=lambda fit: fit.surprise)


def standardised(fit: TrainFit) -> tuple[np.ndarray, Linearised]:
    """Residuals of unit variance `(n,)`, and what they come from."""
    linear = fit.likelihood.at(fit.coordinates)
    return linear.whitened(linear.residuals), linear


@np.errstate(all="ignore")
def _left_by(x: np.ndarray, train: PulseTrain, family: StepFamily) -> tuple[float, float]:
    """Variance of the residuals, infinite where they are none, and the correlation of neighbours."""
    residuals = train.sign * (train.size - family.step(x, train.before, train.up)[0])
    variance = float(residuals @ residuals) / len(train) + 1e-16
    if not np.isfinite(variance):
        return np.inf, 0.0
    pairs = train.follows[1:]
    covariance = float((residuals[1:] * residuals[:-1])[pairs].mean()) if pairs.any() else 0.0
    return variance, max(covariance / variance, -0.499)


def _flat(family: StepFamily, train: PulseTrain) -> np.ndarray:
    sizes = train.size
    mean = max(float(np.abs(sizes.mean())), 1e-9)
    return family.flat(*(max(float(sizes[train.up == up].mean()), 0.05 * mean) for up in (True, False)))


def _smoothed(train: PulseTrain, read: float, walk: float) -> np.ndarray:
    """States under constant steps, before anything is known of their shape."""
    constant = ConstantFamily()
    likelihood = PulseLikelihood(train, constant)
    x = constant.start(train.before, train.size, train.up)
    mean = float(np.exp(x).mean())
    likelihood.smooth(np.concatenate([x, np.log([walk / mean, read])]))
    return likelihood.states


def _following(states: np.ndarray, train: PulseTrain) -> np.ndarray:
    """The state after each pulse: the next one's, or what was read where no pulse follows."""
    following = np.append(states[1:], train.after[-1])
    return np.where(np.append(train.follows[1:], False), following, train.after)


@np.errstate(all="ignore")
def _log_noise(variance: float, x: np.ndarray, likelihood: PulseLikelihood) -> float:
    size = likelihood.family.step(x, likelihood.states, likelihood.train.up)[0]
    return 0.5 * float(np.log(variance / max((size**2).mean(), 1e-16)))


def _maximise(likelihood: PulseLikelihood, x: np.ndarray) -> TrainFit:
    for _ in range(_ROUNDS):
        x = most_likely(likelihood.surprise, likelihood.innovations, x)
        # States within a hundredth of the read's noise leave the likelihood as it is.
        if likelihood.smooth(x) < 0.01 * (np.exp(x[-1]) if likelihood.write else 1.0):
            break
    x = most_likely(likelihood.surprise, likelihood.innovations, x)
    hessian = curvature(likelihood.surprise, x, 1e-3)[1]
    return TrainFit(likelihood, x, inverse(hessian), likelihood.surprise(x))
