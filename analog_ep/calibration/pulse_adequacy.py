r"""Whether the residuals of a pulse train look like the noise that its fit assumes.

An F test asks for alternatives that do not depend on the noise. The state is a sum of steps with their noise, and
where that is of several steps a random walk, on which the next residuals act: by the orders of the walk and of time
residual tests then reject a true model in up to a fifth of trains, as those of a unit root do [1]_. There the p-values
are those among trains that the fitted model makes.

Smooth alternatives of any shape see little of a shape that a richer family has: the likelihood ratio to a family that
holds the fitted one, twice its logarithm, has a χ² distribution [2]_ of as many degrees as it has more parameters.

References
----------
.. [1] D. A. Dickey and W. A. Fuller, "Likelihood ratio statistics for autoregressive time series with a unit root,"
   Econometrica 49, 1057-1072, 1981, doi:10.2307/1912517.
.. [2] S. S. Wilks, "The large-sample distribution of the likelihood ratio for testing composite hypotheses," Ann. Math.
   Stat. 9, 60-62, 1938, doi:10.1214/aoms/1177732360.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from scipy.special import chdtrc

from analog_ep.calibration.adequacy import Adequacy, judge, lack_of_fit, waves
from analog_ep.calibration.pulse_fit import TrainFit, most_likely_fit, richer_fit
from analog_ep.calibration.pulse_likelihood import RESOLUTION, PulseLikelihood, PulseTrain
from analog_ep.calibration.step_families import FAMILIES, StepFamily

_LAGS = 5

_DROWNED = 1.0
"""Noise of a step, relative to it, from which on trains are simulated before a model is rejected."""

_TRAINS, _SMOOTHINGS = 200, 3

_TAIL = 0.2
"""Share of the simulated trains that the tail of a test's distribution is taken from."""

_LOUDEST = 690.0
"""-ln of the smallest p-value that a float holds."""


def adequacy_of(fit: TrainFit, richer: bool = True) -> Adequacy:
    """Whether the residuals of a fit hold a structure that its family lacks.

    Parameters
    ----------
    fit : TrainFit
        Of a train; residuals are tested for trends with state, order and history, for a spread that changes, and for
        serial correlation.
    richer : bool
        Whether the families of more parameters are fitted too, for their likelihood.
    """
    tests = _tests(fit.likelihood, fit.coordinates).p_values
    compared = _comparisons(fit.likelihood.train, fit.family) if richer else {}
    found = Adequacy(tests, comparisons=compared)
    if fit.cycle_noise < _DROWNED or all(found.corrected[name] >= found.level for name in tests):
        return found
    return Adequacy(_among_simulated(fit, tests), comparisons=compared)


def _comparisons(train: PulseTrain, family: StepFamily) -> dict[str, float]:
    """p-values of the likelihood ratios to the families of more parameters.

    Those that do not hold this one come near it: of 20 trains of ExpStep each by `pulse_search.py`, ratios to
    PiecewiseStep were as large as those of families that do.
    """
    own, found = most_likely_fit(train, family), {}
    for other in FAMILIES.values():
        if (more := other.n_coordinates - family.n_coordinates) > 0:
            ratio = own.surprise - richer_fit(own, other).surprise
            found[other.name] = float(chdtrc(more, 2 * max(ratio, 0.0)))
    return found


def _tests(likelihood: PulseLikelihood, coordinates: np.ndarray) -> Adequacy:
    """By the distributions that they have where states do not depend on the noise."""
    train, family = likelihood.train, likelihood.family
    n = family.n_coordinates
    linear = likelihood.at(coordinates)
    z = linear.whitened(linear.residuals)
    slopes = linear.whitened(-likelihood.slopes(coordinates))
    # Smoothed states hold the future, and with it the residual itself: what orders the tests must not.
    states = train.before - linear.read_noise_so_far(train.follows)
    size = train.sign * family.step(coordinates[:n], states, train.up)[0]
    order = np.arange(len(train), dtype=float)
    alternatives = {
        "trend with conductance": waves(states, train.up),
        "trend with order": waves(order),
        "trend since the last reversal": _history(train),
    }
    bent = {name: linear.whitened(size[:, None] * columns) for name, columns in alternatives.items() if columns.size}
    # Steps of next to nothing have no spread of their own.
    seen = linear.factor[0] > 2 * RESOLUTION
    spread = _spread(z[seen], states[seen], train.up[seen])
    further = [("serial correlation", _ljung_box(z))]
    if spread is not None:
        further.append(("spread with conductance", spread))
    return judge(z, slopes, bent, False, further)


def _spread(z: np.ndarray, states: np.ndarray, up: np.ndarray) -> float | None:
    """p-value of a spread that changes with the state; None of too few points."""
    if not len(z):
        return None
    return lack_of_fit(z**2 - (z**2).mean(), np.ones((len(z), 1)), waves(states, up), False)


def _among_simulated(fit: TrainFit, p_values: Mapping[str, float]) -> dict[str, float]:
    """How often a test speaks as loudly of a train that the fitted model makes.

    The tests leave out what parameters explain, so that those of the model serve in place of a fit of each train.
    """
    loudness = []
    for train in _simulated(fit):
        likelihood = PulseLikelihood(train, fit.family, fit.likelihood.cycle, fit.likelihood.write)
        for _ in range(_SMOOTHINGS if likelihood.write else 0):
            likelihood.smooth(fit.coordinates)
        own = _tests(likelihood, fit.coordinates).p_values
        loudness.append([_loudness(own.get(name, 1.0)) for name in p_values])
    columns = np.array(loudness).T
    return {name: _share(column, _loudness(p)) for (name, p), column in zip(p_values.items(), columns, strict=True)}


def _simulated(fit: TrainFit) -> list[PulseTrain]:
    """Trains of the same pulses that the fitted model makes."""
    random = np.random.default_rng(0)
    train, began = fit.likelihood.train, fit.likelihood.states
    before, after = np.empty((2, len(train), _TRAINS))
    states, reads = np.zeros(_TRAINS), np.zeros(_TRAINS)
    for k, (up, follows) in enumerate(zip(train.up, train.follows, strict=True)):
        if not follows:
            states = np.full(_TRAINS, began[k])
            reads = states + fit.write_noise * random.standard_normal(_TRAINS)
        before[k] = reads
        size = fit.family.step(fit.steps, states, np.full(_TRAINS, up))[0]
        states = states + (1 if up else -1) * size * (1 + fit.cycle_noise * random.standard_normal(_TRAINS))
        reads = after[k] = states + fit.write_noise * random.standard_normal(_TRAINS)
    return [PulseTrain(b, a, train.up, train.follows) for b, a in zip(before.T, after.T, strict=True)]


def _loudness(p: float) -> float:
    return float(min(-np.log(max(p, 1e-300)), _LOUDEST))


def _share(simulated: np.ndarray, found: float) -> float:
    """Of a distribution that is at or above a value; its tail falls off exponentially, as -ln p does."""
    falling = np.sort(simulated)[::-1]
    k = int(_TAIL * len(falling))
    limit = falling[k]
    if found <= limit:
        return (1 + int((simulated >= found).sum())) / (1 + len(simulated))
    mean = max(float((falling[:k] - limit).mean()), 1e-3)
    return max(float(_TAIL * np.exp(-(found - limit) / mean)), float(np.exp(-_LOUDEST)))


def _history(train: PulseTrain) -> np.ndarray:
    """Alternatives in which a step depends on how many pulses of its sign came just before."""
    same = np.concatenate([[False], train.up[1:] == train.up[:-1]]) & train.follows
    position = np.zeros(len(train))
    for k in range(1, len(train)):
        position[k] = position[k - 1] + 1 if same[k] else 0
    columns = [np.exp(-position / scale) * (train.up == up) for scale in (0.3, 3.0, 30.0) for up in (False, True)]
    return np.column_stack(columns)


def _ljung_box(z: np.ndarray) -> float:
    n, centred = len(z), z - z.mean()
    total = centred @ centred
    correlations = [centred[k:] @ centred[:-k] / total for k in range(1, _LAGS + 1)]
    statistic = n * (n + 2) * sum(c**2 / (n - k) for k, c in enumerate(correlations, start=1))
    return float(chdtrc(_LAGS, statistic))
