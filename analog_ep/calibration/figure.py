"""The picture of a fit: data, model with its confidence band, and residuals."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from analog_ep.calibration.fit import Fit
from analog_ep.support.png import png_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes as Panel

_SIGMAS = 2.0
"""Half width of the bands, in standard deviations: 95 %."""

_MOST_LABELS = 6


def fit_figure(fit: Fit, title: str) -> bytes:
    """Data and model above, standardised residuals below, as a PNG."""
    # Loaded where it is drawn: no training waits for it.
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 6), layout="constrained")
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=[3, 1])
    for i, curve in enumerate(fit.curves):
        colour = f"C{i % 10}"
        absolute = np.abs if fit.axes.logarithmic else np.asarray
        mean = absolute(curve.mean)
        upper.plot(curve.x, absolute(curve.y), ".", color=colour, markersize=4, alpha=0.5, label=curve.label)
        upper.plot(curve.grid, mean, color=colour, linewidth=1.2)
        _band(upper, curve.grid, mean, curve.spread, colour, 0.15, fit.axes.logarithmic)
        _band(upper, curve.grid, mean, curve.band, colour, 0.4, fit.axes.logarithmic)
        lower.plot(curve.x, curve.residuals, ".", color=colour, markersize=4, alpha=0.5)
    upper.set(ylabel=fit.axes.y, yscale="log" if fit.axes.logarithmic else "linear")
    if len(fit.curves) <= _MOST_LABELS:
        upper.legend(
            title="points; line: model;\nbands: 95 % of model, of data", fontsize="small", title_fontsize="x-small"
        )
    lower.axhspan(-_SIGMAS, _SIGMAS, color="0.9")
    lower.axhline(0, color="0.3", linewidth=0.8)
    largest = max(4.0, *(1.1 * float(np.abs(curve.residuals).max()) for curve in fit.curves))
    lower.set(xlabel=fit.axes.x, ylabel="residual [σ]", ylim=(-largest, largest))
    verdict = "adequate" if fit.adequacy.adequate else "NOT adequate"
    figure.suptitle(f"{title}: {fit.model}, {verdict}")
    return png_of(figure)


def _band(
    panel: Panel, x: np.ndarray, mean: np.ndarray, deviation: np.ndarray, colour: str, alpha: float, logarithmic: bool
) -> None:
    low, high = mean - _SIGMAS * deviation, mean + _SIGMAS * deviation
    if logarithmic:
        low = np.maximum(low, 1e-3 * mean)
    panel.fill_between(x, low, high, color=colour, alpha=alpha, linewidth=0)
