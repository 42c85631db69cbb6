"""Pictures of what simulators leave: the vectors of any raw file over their time, frequency or sweep."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from analog_ep.errors import NgspiceResultError
from analog_ep.ngspice.raw import RawFile, read_plots

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MOST_VECTORS = 12
"""Vectors of each kind that are drawn where none are named."""

_SCALES = {"time": "s", "frequency": "Hz"}
_UNITS = {"v": ("voltage", "V"), "i": ("current", "A")}


def plot_waveforms(path: Path | str, names: Sequence[str] | None = None) -> Figure:
    """Draw the vectors of a binary raw file, a row a plot, voltages apart from currents.

    Parameters
    ----------
    path : Path or str
        What ``ngspice -b -r FILE`` or a ``write`` in a deck leaves.
    names : sequence of str, optional
        Vectors such as ``v(out)``, as ngspice writes them; by default the first 12 of each kind.

    Returns
    -------
    matplotlib.figure.Figure
        Complex vectors, of ``.ac``, are shown by their magnitude on a logarithmic axis.

    Raises
    ------
    NgspiceResultError
        If the file is no binary raw file, has no such vector, or nothing to draw.
    """
    # Loaded where something is drawn: no command waits for it.
    from matplotlib.figure import Figure

    wanted = None if names is None else [name.lower() for name in names]
    rows = [(plot, found) for plot in read_plots(Path(path)) if (found := _kinds(plot, wanted))]
    if not rows:
        what = "vectors to draw" if wanted is None else f"vectors called {', '.join(wanted)}"
        raise NgspiceResultError(f"{path} must hold {what} beside a time, a frequency or a sweep, found none")
    columns = max(len(found) for _, found in rows)
    figure = Figure(figsize=(5.2 * columns, 3.2 * len(rows)), layout="constrained")
    panels = figure.subplots(len(rows), columns, squeeze=False)
    for row, (plot, found) in zip(panels, rows, strict=True):
        for panel in row[len(found) :]:
            panel.axis("off")
        for panel, (kind, vectors) in zip(row, found.items(), strict=False):
            _panel(panel, plot, kind, vectors)
    return figure


def _kinds(plot: RawFile, wanted: Sequence[str] | None) -> dict[str, list[str]]:
    """Names of the vectors by what they are; the first one is the scale."""
    kinds: dict[str, list[str]] = {}
    for name in plot.names[1:]:
        if wanted is None or name in wanted:
            letter = name[0] if name[1:2] == "(" and name[0] in _UNITS else "i" if name.endswith("#branch") else "v"
            kinds.setdefault(letter, []).append(name)
    return {kind: found if wanted else found[:MOST_VECTORS] for kind, found in kinds.items()}


def _panel(panel: Axes, plot: RawFile, kind: str, vectors: Sequence[str]) -> None:
    from matplotlib.ticker import EngFormatter

    scale, values = plot.names[0], plot.columns([plot.names[0], *vectors])
    is_complex = np.iscomplexobj(values)
    across, drawn = np.real(values[:, 0]), np.abs(values[:, 1:]) if is_complex else values[:, 1:]
    marker = "o" if len(across) == 1 else ""
    for name, column in zip(vectors, drawn.T, strict=True):
        panel.plot(across, column, label=name, linewidth=1, marker=marker)
    what, unit = _UNITS[kind]
    panel.set(xlabel=scale, ylabel=f"magnitude of the {what}" if is_complex else what)
    if is_complex and (across > 0).all():
        panel.set_xscale("log")
    if is_complex and (drawn > 0).any():
        panel.set_yscale("log")
    panel.xaxis.set_major_formatter(EngFormatter(_SCALES.get(scale, "")))
    panel.yaxis.set_major_formatter(EngFormatter(unit))
    panel.grid(alpha=0.3)
    panel.legend(fontsize="small", ncols=1 + (len(vectors) > 6))
