"""From the coordinates of a pulse fit to the fields of a pulse model, with their uncertainties."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from analog_ep.calibration.fit import UNTOLD, Estimate
from analog_ep.calibration.population import Population, spread_of
from analog_ep.calibration.step_families import StepFamily

_UNITS = {"conductance_min": "S", "conductance_max": "S"}
_SIGNED = {"gamma_up", "gamma_down", "up_down", "amplitude_up", "amplitude_down", "gamma_up_down"}
_FIXED = {"a", "b", "w_min", "w_max"}


def pulse_estimates(
    population: Population, family: StepFamily, window: tuple[float, float], averages: int = 1
) -> tuple[dict[str, Estimate], dict[str, Estimate], np.ndarray, tuple[str, ...]]:
    """Estimates, constants, correlation of the estimates, and what the data cannot tell."""
    fields = _fields(population, family, window, averages)
    values = fields(population.mean)
    slopes = _slopes(fields, population.mean)
    finite = np.where(np.isfinite(population.covariance), population.covariance, 0.0)
    covariance = slopes @ finite @ slopes.T
    lost = (np.abs(slopes) @ ~np.isfinite(np.diag(population.covariance))) > 0
    deviations = np.where(lost, np.inf, np.sqrt(np.diag(covariance).clip(min=0)))
    moving = [k for k, name in enumerate(values) if name not in _FIXED and deviations[k] > 0]
    names = list(values)
    estimates = {names[k]: _estimate(names[k], values[names[k]], deviations[k]) for k in moving}
    constants = {name: _estimate(name, value, 0.0) for name, value in values.items() if name not in estimates}
    scale = np.where(np.isfinite(deviations[moving]), deviations[moving], 1.0)
    correlation = covariance[np.ix_(moving, moving)] / np.outer(scale, scale)
    spreads = _spreads(population, family)
    correlation = np.block(
        [
            [correlation, np.zeros((len(moving), len(spreads)))],
            [np.zeros((len(spreads), len(moving))), np.eye(len(spreads))],
        ]
    )
    estimates |= spreads
    return estimates, constants, correlation, _untold(estimates)


def _fields(
    population: Population, family: StepFamily, window: tuple[float, float], averages: int
) -> Callable[[np.ndarray], dict[str, float]]:
    n = family.n_coordinates

    def fields(x: np.ndarray) -> dict[str, float]:
        own = family.fields(x[:n])
        low, high = own.pop("low"), own.pop("high")
        scale = (window[1] - window[0]) / 2
        own |= {"w_min": -1.0, "w_max": 1.0}
        own |= {"conductance_min": window[0] + (low + 1) * scale, "conductance_max": window[0] + (high + 1) * scale}
        if population.cycle:
            own["step_noise"] = math.sqrt(averages) * float(np.exp(x[n]))
        if population.write:
            # The state of the model spans −1…1 between its own bounds, and the noise counts in mean steps.
            own["write_noise"] = math.sqrt(averages) * float(np.exp(x[-1])) * 2 / (high - low) / own["step"]
        return own

    return fields


def _slopes(fields: Callable[[np.ndarray], dict[str, float]], x: np.ndarray) -> np.ndarray:
    columns = []
    for h in 1e-6 * np.eye(len(x)):
        ahead, behind = (np.array(list(fields(x + sign * h).values())) for sign in (1, -1))
        columns.append((ahead - behind) / 2e-6)
    return np.column_stack(columns)


def _estimate(name: str, value: float, deviation: float) -> Estimate:
    return Estimate(float(value), float(deviation), _UNITS.get(name, "1"))


def _untold(estimates: dict[str, Estimate]) -> tuple[str, ...]:
    phrases = []
    for name, entry in estimates.items():
        loose = not entry.uncertainty < (abs(entry.value) / 2 if name in _SIGNED else UNTOLD * abs(entry.value))
        if loose and name in _SIGNED:
            phrases.append(f"{name} from 0 (it is {entry.value:.2g} ± {entry.uncertainty:.2g})")
        elif loose:
            phrases.append(f"{name} well (it is {entry.value:.2g} ± {entry.uncertainty:.2g} {entry.unit})")
    return tuple(phrases)


def _spreads(population: Population, family: StepFamily) -> dict[str, Estimate]:
    """Device-to-device spreads, in the terms of `PulseModel`: gain and tilt of the steps, and the bounds."""
    if len(population.fits) < 3:
        return {}
    nominal = family.fields(population.mean[: family.n_coordinates])
    middle, half = (nominal["high"] + nominal["low"]) / 2, (nominal["high"] - nominal["low"]) / 2
    up, down = _pair(nominal)

    def own(x: np.ndarray) -> np.ndarray:
        # A device's steps and bounds in the state of the mean device.
        fields = family.fields(x)
        low, high = (fields["low"] - middle) / half, (fields["high"] - middle) / half
        width = (fields["high"] - fields["low"]) / 2 / half
        mine_up, mine_down = _pair(fields)
        if family.name == "SoftBounds":
            mine_up, mine_down = mine_up * high, -mine_down * low
        elif family.name == "PowStep":
            mine_up, mine_down = mine_up * width, mine_down * width
        mine_up, mine_down = (mine_up - up) / nominal["step"], (mine_down - down) / nominal["step"]
        return np.array([(mine_up + mine_down) / 2, (mine_up - mine_down) / 2, low, high])

    values, variances = [], []
    for fit in population.fits:
        slopes = np.column_stack(
            [(own(fit.steps + h) - own(fit.steps - h)) / 2e-6 for h in 1e-6 * np.eye(len(fit.steps))]
        )
        n = len(fit.steps)
        covariance = np.where(np.isfinite(fit.covariance[:n, :n]), fit.covariance[:n, :n], 1e6)
        values.append(own(fit.steps))
        variances.append(np.einsum("ij,jk,ik->i", slopes, covariance, slopes))
    names = ["step_spread", "up_down_spread"]
    names += ["w_min_spread", "w_max_spread"] if family.name in ("SoftBounds", "PowStep") else []
    table, own_variances = np.array(values), np.array(variances)
    found = {name: spread_of(table[:, k], own_variances[:, k]) for k, name in enumerate(names)}
    return {name: Estimate(spread, uncertainty, "1") for name, (spread, uncertainty) in found.items() if spread > 0}


def _pair(fields: dict[str, float]) -> tuple[float, float]:
    """Steps up and down of a model's fields."""
    step, tilt = fields["step"], fields["up_down"]
    return step * (1 + min(tilt, 0.0)), step * (1 - max(tilt, 0.0))
