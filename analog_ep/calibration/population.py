"""Devices that differ: the mean of their parameters and the spread behind the scatter of the fits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize_scalar

from analog_ep.calibration.pulse_fit import TrainFit


@dataclass(frozen=True, eq=False)
class Population:
    """Parameters of all devices together.

    Attributes
    ----------
    fits : tuple of TrainFit
        One a device.
    mean : ndarray (n_coordinates,)
        Mean coordinates; where not all devices have a noise, that of those that have it.
    covariance : ndarray (n_coordinates, n_coordinates)
        Of the mean.
    cycle, write : bool
        Which noises the last coordinates are.
    """

    fits: tuple[TrainFit, ...]
    mean: np.ndarray
    covariance: np.ndarray
    cycle: bool
    write: bool

    @property
    def cycle_noise(self) -> float:
        """σ; 0 for none."""
        return float(np.exp(self.mean[self.fits[0].family.n_coordinates])) if self.cycle else 0.0

    @property
    def write_noise(self) -> float:
        """e, in the state; 0 for none."""
        return float(np.exp(self.mean[-1])) if self.write else 0.0


def combine(fits: Sequence[TrainFit]) -> Population:
    """Generalised least squares of the devices' coordinates, each with its own covariance and the common spread."""
    # A noise that half of the devices show is one of the model; the others then have a small share of it.
    cycle, write = (np.mean([getattr(f.likelihood, noise) for f in fits]) >= 0.5 for noise in ("cycle", "write"))
    alike = [f for f in fits if f.likelihood.cycle == cycle and f.likelihood.write == write] or list(fits)
    cycle, write = alike[0].likelihood.cycle, alike[0].likelihood.write
    if len(alike) == 1:
        return Population(tuple(fits), alike[0].coordinates, alike[0].covariance, cycle, write)
    values = np.array([fit.coordinates for fit in alike])
    own = [np.where(np.isfinite(fit.covariance), fit.covariance, 0.0) for fit in alike]
    for matrix, fit in zip(own, alike, strict=True):
        lost = ~np.isfinite(np.diag(fit.covariance))
        matrix[lost, lost] = 1e6
    spread = np.array([spread_of(values[:, k], np.array([c[k, k] for c in own]))[0] for k in range(values.shape[1])])
    weights = [np.linalg.inv(c + np.diag(spread**2 + 1e-18)) for c in own]
    covariance = np.linalg.inv(sum(weights))
    mean = covariance @ sum(weight @ value for weight, value in zip(weights, values, strict=True))
    return Population(tuple(fits), mean, covariance, cycle, write)


def spread_of(values: np.ndarray, variances: np.ndarray) -> tuple[float, float]:
    """Standard deviation over devices behind values that each have a variance of their own, and its uncertainty.

    Maximum likelihood, the mean profiled out with the degree of freedom that it takes (restricted likelihood).
    """
    top = float(np.std(values)) * 3 + 1e-12

    def surprise(spread: float) -> float:
        total = variances + spread**2
        mean = (values / total).sum() / (1 / total).sum()
        return 0.5 * float((np.log(total) + (values - mean) ** 2 / total).sum() + np.log((1 / total).sum()))

    best = minimize_scalar(surprise, bounds=(0.0, top), method="bounded", options={"xatol": 1e-6 * top})
    spread = float(best.x) if surprise(float(best.x)) < surprise(0.0) else 0.0
    weights = 1 / (variances + spread**2)
    # ½ tr PP with P = W − W1 1ᵀW/1ᵀW1, for the square of the spread: the mean takes its part of the information too.
    total, squares = weights.sum(), (weights**2).sum()
    information = 2 * spread**2 * float(squares - 2 * (weights**3).sum() / total + (squares / total) ** 2)
    return spread, float(information**-0.5) if information else float(np.sqrt(np.median(variances) / len(values)))
