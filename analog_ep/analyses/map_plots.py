"""Pictures of maps of crossbars and of their conductances."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm, Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, LogFormatterSciNotation, MaxNLocator

from analog_ep.analyses.crossbar_map import CrossbarMap

_DECADES = 20.0
"""Ratio of conductances from which their colours are logarithmic."""


def map_figure(maps: Sequence[CrossbarMap]) -> Figure:
    """A row of images for each crossbar: conductances, voltages, currents, and changes where all have them."""
    with_changes = all(each.change is not None for each in maps)
    columns = 4 if with_changes else 3
    figure = Figure(figsize=(3.1 * columns, 3.3 * len(maps)), layout="constrained")
    panels = figure.subplots(len(maps), columns, squeeze=False)
    for row, each in zip(panels, maps, strict=True):
        _conductances(row[0], each)
        signed = [("voltage across", each.volts, "V"), ("current", each.amperes, "A")]
        if with_changes:
            signed.append(("ΔG of a step", np.asarray(each.change), "S"))
        for panel, (what, values, unit) in zip(row[1:], signed, strict=True):
            _signed(panel, f"{each.label}: {what}", values, unit)
        row[0].set_ylabel("row")
    for panel in panels[-1]:
        panel.set_xlabel("column")
    return figure


def _conductances(panel: Axes, each: CrossbarMap) -> None:
    low, high = float(each.siemens.min()), float(each.siemens.max())
    logarithmic = high > _DECADES * low > 0
    norm = LogNorm(low, high) if logarithmic else Normalize(low, high)
    image = panel.imshow(each.siemens, aspect="auto", interpolation="nearest", cmap="viridis", norm=norm)
    panel.set_title(f"{each.label}: conductance", fontsize="medium")
    assert panel.figure is not None
    form = EngFormatter("S", sep="\N{NO-BREAK SPACE}")
    bar = panel.figure.colorbar(image, ax=panel, location="bottom", format=form)
    if logarithmic:
        bar.ax.xaxis.set_minor_formatter(LogFormatterSciNotation(minor_thresholds=(0, 0)))
    bar.ax.tick_params(labelsize="small")


def _signed(panel: Axes, title: str, values: np.ndarray, unit: str) -> None:
    most = float(np.abs(values).max()) or 1.0
    # A few cells at the rails would leave the others without colour.
    shown = float(np.quantile(np.abs(values), 0.995)) or most
    image = panel.imshow(values, aspect="auto", interpolation="nearest", cmap="RdBu_r", norm=Normalize(-shown, shown))
    panel.set_title(title, fontsize="medium")
    assert panel.figure is not None
    bar = panel.figure.colorbar(
        image,
        ax=panel,
        location="bottom",
        format=EngFormatter(unit, sep="\N{NO-BREAK SPACE}"),
        ticks=MaxNLocator(3),
        extend="both" if shown < most else "neither",
    )
    bar.ax.tick_params(labelsize="small")


def conductance_histograms(
    now: Mapping[str, np.ndarray], begun: Mapping[str, np.ndarray], bounds: tuple[float, float]
) -> Figure:
    """Histograms of the conductances by parameter, and of those that the training began with, on a logarithmic axis.

    Parameters
    ----------
    now, begun : mapping of str to ndarray
        By parameter. [S]
    bounds : (float, float)
        g_min and g_max; bins run from one to the other. [S]
    """
    figure = Figure(figsize=(3.6 * max(len(now), 2), 2.9), layout="constrained")
    panels = figure.subplots(1, len(now), squeeze=False)[0]
    for panel, (label, values) in zip(panels, now.items(), strict=True):
        low, high = min(bounds[0], values.min()), max(bounds[1], values.max())
        bins = np.geomspace(low * (1 - 1e-6), high * (1 + 1e-6), 41).tolist()
        panel.hist(np.ravel(values), bins=bins, color="C0", alpha=0.8, label="trained")
        if label in begun:
            panel.hist(np.ravel(begun[label]), bins=bins, histtype="step", color="black", label="at the beginning")
        panel.set(xscale="log", xlabel="conductance", title=f"{label}: {values.size} conductances")
        panel.xaxis.set_major_formatter(EngFormatter("S"))
    panels[0].set_ylabel("number")
    panels[0].legend(fontsize="small")
    return figure
