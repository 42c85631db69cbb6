"""The picture of a study: test accuracy or cost of each variant, seed by seed."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING

from analog_ep.studies.summary import Summary
from analog_ep.support.png import png_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def accuracy_picture(
    title: str, axes: Mapping[str, Collection[str]], one_at_a_time: bool, summaries: Sequence[Summary]
) -> bytes:
    """Scores as a PNG: each seed a dot, mean ± standard deviation a diamond with a bar.

    Parameters
    ----------
    title : str
        Of the study.
    axes : mapping of str to collection of str
        Names of the variants by axis, each with the nominal one first.
    one_at_a_time : bool
        Whether one axis at a time is varied, with a panel for each; a factorial study has one panel, rows by its first
        axis and colours by the combinations of the others.
    summaries : sequence of Summary
        Of each combination.
    """
    panels = list(axes) if one_at_a_time else [next(iter(axes))]
    rows = [len(axes[axis]) for axis in panels]
    # Loaded where it is drawn: a study's processes do not wait for it.
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 1.2 + 0.5 * sum(rows) + 0.4 * len(rows)), layout="constrained")
    drawn = figure.subplots(len(panels), 1, sharex=True, squeeze=False, height_ratios=rows)[:, 0]
    for panel, axis in zip(drawn, panels, strict=True):
        _panel(panel, axes, one_at_a_time, summaries, axis)
    drawn[-1].set_xlabel(summaries[0].score.name)
    figure.suptitle(title)
    return png_of(figure)


def _panel(
    panel: Axes, axes: Mapping[str, Collection[str]], one_at_a_time: bool, summaries: Sequence[Summary], axis: str
) -> None:
    names = list(axes[axis])
    if one_at_a_time:
        first = {other: next(iter(variants)) for other, variants in axes.items() if other != axis}
        series = {"": [each for each in summaries if first.items() <= each.labels.items()]}
    else:
        series = {}
        for each in summaries:
            rest = ", ".join(name for other, name in each.labels.items() if other != axis)
            series.setdefault(rest, []).append(each)
    for place, (label, members) in enumerate(series.items()):
        shift = (place - (len(series) - 1) / 2) * 0.7 / len(series)
        _series(panel, members, [names.index(each.labels[axis]) + shift for each in members], label, f"C{place}")
    panel.set_yticks(range(len(names)), names)
    panel.set_ylim(len(names) - 0.5, -0.5)
    panel.set_ylabel(axis)
    panel.grid(axis="x", alpha=0.3)
    if len(series) > 1:
        panel.legend()


def _series(panel: Axes, members: Sequence[Summary], heights: Sequence[float], label: str, color: str) -> None:
    for each, height in zip(members, heights, strict=True):
        panel.plot(each.values, [height] * len(each.values), "o", color=color, alpha=0.35, markersize=4)
    panel.errorbar(
        [each.mean for each in members],
        heights,
        xerr=[each.deviation for each in members],
        fmt="D",
        color=color,
        markersize=5,
        capsize=3,
        label=label,
    )
