"""Gain, input offset and rails of an amplifier from its transfer curve."""

from __future__ import annotations

import numpy as np

from analog_ep.calibration.adequacy import judge, waves
from analog_ep.calibration.fit import Axes, Curve, Fit, Unknown, deviations_of_mean, estimates_of
from analog_ep.calibration.regression import Noise, Regression, central_differences, regress
from analog_ep.errors import DataError
from analog_ep.measurements import Column, Table

COLUMNS = (
    Column("input", "V", others=("vin", "v in", "input voltage")),
    Column("output", "V", others=("vout", "v out", "output voltage")),
    Column("output_std", "V", required=False),
)
"""Columns of a table of an amplifier's transfer curve."""

_FEWEST = 8
_LINEAR = (Unknown("gain", "1", logarithmic=False), Unknown("offset", "V", logarithmic=False))
_RAILS = (*_LINEAR, Unknown("low", "V", logarithmic=False), Unknown("high", "V", logarithmic=False))


def fit_amplifier(table: Table, *, noise: Noise | None = None) -> Fit:
    """Fit output = gain (input + offset), between rails where the curve reaches some.

    Whether it does is decided by the Bayesian information criterion.

    Parameters
    ----------
    table : Table
        Columns `input` [V], `output` [V]; optionally `output_std` [V].
    noise : Noise, optional
        By default of one size at all outputs, estimated; a column `output_std` goes first.

    Raises
    ------
    DataError
        If points are too few, the inputs are all the same, or the output does not follow them in one direction.
    """
    _require_transfer(table)
    x, y = table["input"], table["output"]
    deviation = table.get("output_std")
    noise = Noise(deviation=deviation) if deviation is not None else noise or Noise(relative=0.0)
    line = regress(_LINEAR, lambda at: _transfer(at, x), _line(x, y), y, noise)
    railed = regress(_RAILS, lambda at: _transfer(at, x), _railed_start(x, y), y, noise)
    linear = _information(line) <= _information(railed)
    unknowns, result = (_LINEAR, line) if linear else (_RAILS, railed)
    estimates, correlation, untold = estimates_of(unknowns, result.coordinates, result.covariance)
    words = "as given" if noise.known else "estimated from the residuals"
    return Fit(
        kind="amplifier",
        model="linear" if linear else "rails",
        estimates=estimates,
        correlation=correlation,
        constants={},
        adequacy=judge(
            result.residuals,
            result.whitened,
            {"trend with input": waves(x), "trend with order": waves(np.arange(len(x), dtype=float))},
            noise.known,
        ),
        untold=(*untold, "the rails, which the outputs do not reach") if linear else untold,
        noise=f"independent Gaussian noise of {np.median(result.deviation):.2g} V at the output, {words}",
        n_points=len(table),
        validity={"input_V": (float(x.min()), float(x.max())), "output_V": (float(y.min()), float(y.max()))},
        axes=Axes("input [V]", "output [V]"),
        curves=(_curve(x, y, result),),
    )


def _require_transfer(table: Table) -> None:
    table.require_rows(_FEWEST, "an amplifier")
    x, y = table["input"], table["output"]
    if not np.ptp(x):
        raise DataError(f"{table.name}: the input of an amplifier must change, found {x[0]:g} V throughout")
    order = np.argsort(x, kind="stable")
    thirds = np.array([part.mean() for part in np.array_split(y[order], 3)])
    if not (np.all(np.diff(thirds) > 0) or np.all(np.diff(thirds) < 0)):
        raise DataError(
            f"{table.name}: the output must rise, or fall, with the input, found means of "
            f"{', '.join(f'{value:.3g}' for value in thirds)} V over thirds of the inputs"
        )


def _transfer(parameters: np.ndarray, x: np.ndarray) -> np.ndarray:
    output = parameters[0] * (x + parameters[1])
    return output if len(parameters) == 2 else np.clip(output, parameters[2], max(parameters[2], parameters[3]))


def _line(x: np.ndarray, y: np.ndarray) -> list[float]:
    slope, intercept = np.polyfit(x, y, 1)
    return [float(slope), float(intercept / slope)]


def _railed_start(x: np.ndarray, y: np.ndarray) -> list[float]:
    """The line through the middle half of the outputs, and their extremes."""
    low, high = float(y.min()), float(y.max())
    middle = np.abs(y - (low + high) / 2) < 0.3 * (high - low)
    line = _line(x[middle], y[middle]) if middle.sum() >= 2 and np.ptp(x[middle]) else _line(x, y)
    return [*line, low + 0.02 * (high - low), high - 0.02 * (high - low)]


def _information(result: Regression) -> float:
    """BIC of Gaussian residuals whose deviations are part of the fit."""
    likelihood = 2 * np.log(result.deviation).sum() + (result.residuals**2).sum()
    return float(likelihood + len(result.coordinates) * np.log(len(result.residuals)))


def _curve(x: np.ndarray, y: np.ndarray, result: Regression) -> Curve:
    grid = np.linspace(x.min(), x.max(), 200)
    slopes = central_differences(lambda at: _transfer(at, grid), result.coordinates)
    return Curve(
        label="transfer curve",
        x=x,
        y=y,
        residuals=result.residuals,
        grid=grid,
        mean=_transfer(result.coordinates, grid),
        band=deviations_of_mean(slopes, result.covariance),
        spread=np.full(len(grid), np.median(result.deviation)),
    )
