"""Least squares with a noise model of its own: relative noise and a floor, given or estimated along."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import least_squares, minimize

from analog_ep.calibration.fit import Unknown, covariance_of
from analog_ep.errors import DataError

FINEST = 1e-6
"""No measurement is taken to be better than this, relative to its size: beyond lie the roundings of simulators."""

_ROUNDS = 30
_SETTLED = 1e-3
"""Change of the weights that ends the rounds: it moves the optimum by about a thousandth of its uncertainty."""
_SMALLEST = 1e-3
"""Coordinates that are nearer to 0, as the logarithm of an ideality of 1, count as this in finite differences."""
_WORST = 1e100

Predict = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Noise:
    r"""Independent Gaussian noise of standard deviation :math:`\sqrt{(r y)^2 + f^2}`, y the model's value.

    Attributes
    ----------
    relative : float or None
        r; None to estimate it.
    floor : float or None
        f, in the unit of the data; None to estimate it.
    deviation : ndarray (n,) or None
        Measured standard deviations, in place of both.
    """

    relative: float | None = None
    floor: float | None = None
    deviation: np.ndarray | None = None

    def __post_init__(self):
        for name in ("relative", "floor"):
            value = getattr(self, name)
            if value is not None and not (np.isfinite(value) and value >= 0):
                raise DataError(f"the {name} noise must be a number of at least 0, found {value}")
        if self.deviation is not None and not (self.deviation > 0).all():
            raise DataError("every standard deviation of the data must be positive, found one that is not")
        if self.relative == 0 and self.floor == 0:
            raise DataError("relative noise and noise floor must not both be 0; leave one out to have it estimated")

    @property
    def known(self) -> bool:
        """Whether nothing of it is estimated."""
        return self.deviation is not None or (self.relative is not None and self.floor is not None)


@dataclass(frozen=True, eq=False)
class Regression:
    """A converged least-squares fit, in the fit's coordinates.

    Attributes
    ----------
    coordinates : ndarray (n_unknowns,)
        The optimum.
    covariance : ndarray (n_unknowns, n_unknowns)
        Inverse Fisher information; where noise was estimated, with the degrees of freedom that the fit took.
    jacobian : ndarray (n, n_unknowns)
        Of the model, in the data's unit.
    prediction, deviation, residuals : ndarray (n,)
        Model, standard deviation of the noise, and (data − model)/deviation.
    relative, floor : float
        The noise.
    """

    coordinates: np.ndarray
    covariance: np.ndarray
    jacobian: np.ndarray
    prediction: np.ndarray
    deviation: np.ndarray
    residuals: np.ndarray
    relative: float
    floor: float

    @property
    def whitened(self) -> np.ndarray:
        """Jacobian in standard deviations, `(n, n_unknowns)`."""
        return self.jacobian / self.deviation[:, None]


def regress(
    unknowns: Sequence[Unknown],
    predict: Predict,
    start: Sequence[float],
    data: np.ndarray,
    noise: Noise,
    derive: Callable[[np.ndarray], np.ndarray] | None = None,
    tolerance: float = 1e-12,
) -> Regression:
    """Maximum likelihood of data = predict(parameters) + noise, by reweighted least squares.

    Weights follow from the model, not the data, so that relative noise does not pull the fit down; the noise and the
    parameters are fitted in turn, since their information is orthogonal to first order in the relative noise.

    Parameters
    ----------
    unknowns : sequence of Unknown
        What is fitted.
    predict : callable
        Model `(n,)` of the coordinates `(n_unknowns,)`.
    start : sequence of float
        Parameters near the optimum, in their own units.
    data : ndarray (n,)
        The measurements.
    noise : Noise
        What is known of it.
    derive : callable, optional
        Jacobian `(n, n_unknowns)` of the coordinates; otherwise central differences.
    tolerance : float
        Relative change of parameters and of the squares at which a search ends.

    Raises
    ------
    DataError
        If there are not more data than unknowns.
    """
    _require_points(unknowns, data)
    x = np.array([u.inside(value) for u, value in zip(unknowns, start, strict=True)])
    derive = derive or (lambda at: central_differences(predict, at))
    deviation, relative, floor = _deviation(data, data, noise)
    for _ in range(_ROUNDS):
        x = _least_squares(predict, derive, x, data, 1 / deviation, unknowns, tolerance)
        previous, prediction = deviation, predict(x)
        deviation, relative, floor = _deviation(data, prediction, noise)
        if np.abs(deviation / previous - 1).max() < _SETTLED:
            break
    jacobian, residuals = derive(x), (data - prediction) / deviation
    scale = 1.0 if noise.known else len(data) / (len(data) - len(unknowns))
    covariance = covariance_of(jacobian / deviation[:, None], scale)
    return Regression(x, covariance, jacobian, prediction, deviation, residuals, relative, floor)


def _require_points(unknowns: Sequence[Unknown], data: np.ndarray) -> None:
    if len(data) <= len(unknowns) + 1:
        raise DataError(f"{len(unknowns)} parameters need at least {len(unknowns) + 2} points, found {len(data)}")


def _least_squares(
    predict: Predict,
    derive: Callable[[np.ndarray], np.ndarray],
    start: np.ndarray,
    data: np.ndarray,
    weights: np.ndarray,
    unknowns: Sequence[Unknown],
    tolerance: float,
) -> np.ndarray:
    """Coordinates of the least weighted squares near a start."""
    lower, upper = zip(*(u.ends for u in unknowns), strict=True)
    solution = least_squares(
        lambda at: _bounded((predict(at) - data) * weights),
        start,
        jac=lambda at: derive(at) * weights[:, None],  # pyright: ignore[reportArgumentType]
        bounds=(lower, upper),
        x_scale="jac",
        xtol=tolerance,
        ftol=tolerance,
        gtol=tolerance,
    )
    return solution.x


def central_differences(predict: Predict, at: np.ndarray) -> np.ndarray:
    """Jacobian `(n, n_unknowns)` by central differences."""
    columns = []
    for k in range(len(at)):
        step = np.zeros(len(at))
        step[k] = 6e-6 * max(abs(at[k]), _SMALLEST)
        columns.append((predict(at + step) - predict(at - step)) / (2 * step[k]))
    return np.column_stack(columns)


def _deviation(data: np.ndarray, prediction: np.ndarray, noise: Noise) -> tuple[np.ndarray, float, float]:
    """Standard deviations of the noise and the two numbers that they follow from."""
    if noise.deviation is not None:
        return noise.deviation, 0.0, 0.0
    size = np.abs(prediction)
    residual = data - prediction
    smallest = FINEST * float(np.median(size)) * 1e-6 + np.finfo(float).tiny

    def deviation(relative: float, floor: float) -> np.ndarray:
        return np.sqrt((relative * size) ** 2 + floor**2)

    if noise.relative is not None and noise.floor is not None:
        return deviation(noise.relative, noise.floor), noise.relative, noise.floor
    if not residual.any():  # the first round, which has no model yet
        relative = 0.1 if noise.relative is None else noise.relative
        # Without relative noise all points weigh the same from the beginning; with it, a floor must not hide it.
        floor = 0.1 * float(np.abs(data[data != 0]).min()) if relative else float(np.std(data))
        floor = floor if noise.floor is None else noise.floor
        return deviation(relative, floor), relative, floor

    def unpack(logs: np.ndarray) -> tuple[float, float]:
        free = iter(np.exp(np.clip(logs, -700, 700)))
        relative = max(float(next(free)), FINEST) if noise.relative is None else noise.relative
        return relative, max(float(next(free)), smallest) if noise.floor is None else noise.floor

    def surprise(logs: np.ndarray) -> float:
        sigma = deviation(*unpack(logs))
        return float((np.log(sigma) + 0.5 * (residual / sigma) ** 2).sum())

    guesses = []
    if noise.relative is None:
        guesses.append(np.log(max(float(np.median(np.abs(residual) / np.maximum(size, smallest))), FINEST)))
    if noise.floor is None:
        guesses.append(np.log(max(float(np.quantile(np.abs(residual), 0.05)), smallest)))
    best = minimize(surprise, guesses, method="Nelder-Mead", options={"xatol": 1e-4, "fatol": 1e-8})
    relative, floor = unpack(best.x)
    return deviation(relative, floor), relative, floor


def _bounded(residuals: np.ndarray) -> np.ndarray:
    """A trial step far out may overflow: that is as bad as it gets, not an error."""
    return np.nan_to_num(residuals, nan=_WORST, posinf=_WORST, neginf=-_WORST).clip(-_WORST, _WORST)
