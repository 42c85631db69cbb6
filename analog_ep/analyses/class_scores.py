"""Accuracy of each class with its confidence interval, and which classes are taken for which."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from rich.table import Table

from analog_ep.errors import StimulusError
from analog_ep.support.shown import Tabled

if TYPE_CHECKING:
    from matplotlib.figure import Figure

CONFIDENCE = 0.95


@dataclass(frozen=True)
class Share:
    """A share of samples, and Wilson's score interval of it.

    Attributes
    ----------
    right, count : int
        Samples that are right, and all.
    low, high : float
        Ends of the interval at `CONFIDENCE`; 0 and 1 without samples.
    """

    right: int
    count: int
    low: float
    high: float

    @property
    def share(self) -> float:
        """Right samples over all; NaN without any."""
        return self.right / self.count if self.count else float("nan")

    @classmethod
    def of(cls, right: int, count: int) -> Share:
        """With the score interval of Wilson, J. Am. Stat. Assoc. 22:209, 1927, doi:10.2307/2276774."""
        # Loaded where it is used: scipy.stats takes half a second.
        from scipy.stats import binomtest

        if count == 0:
            return cls(0, 0, 0.0, 1.0)
        found = binomtest(right, count).proportion_ci(CONFIDENCE, method="wilson")
        return cls(right, count, float(found.low), float(found.high))

    @property
    def text(self) -> str:
        """Share and interval in percent."""
        if not self.count:
            return "no samples"
        return f"{self.share:.2%} ({self.low:.2%} … {self.high:.2%})"


@dataclass(frozen=True, eq=False)
class ClassScores(Tabled):
    """How a network classifies samples.

    Attributes
    ----------
    confusion : ndarray (n_classes, n_classes)
        Number of samples by their class and by the one they are given.
    """

    confusion: np.ndarray

    @property
    def whole(self) -> Share:
        """Of all samples."""
        return Share.of(int(self.confusion.trace()), int(self.confusion.sum()))

    @property
    def classes(self) -> list[Share]:
        """Of each class: which of its samples are right."""
        return [Share.of(int(row[i]), int(row.sum())) for i, row in enumerate(self.confusion)]

    def to_json(self) -> str:
        """The figures as a JSON object."""
        return json.dumps(
            {
                "confidence": CONFIDENCE,
                "accuracy": self.whole.share,
                "interval": [self.whole.low, self.whole.high],
                "classes": [
                    {"right": each.right, "samples": each.count, "interval": [each.low, each.high]}
                    for each in self.classes
                ],
                "confusion": self.confusion.tolist(),
            }
        )

    def table(self) -> Table:
        """A row a class, then all."""
        table = Table("class", "samples", "right", f"accuracy, {CONFIDENCE:.0%} interval")
        for number, each in enumerate(self.classes):
            table.add_row(str(number), str(each.count), str(each.right), each.text)
        whole = self.whole
        table.add_row("all", str(whole.count), str(whole.right), whole.text)
        return table

    def plot(self) -> Figure:
        """Accuracy of each class with its interval, and the confusions as an image."""
        # Loaded where something is drawn: no command waits for it.
        from matplotlib.figure import Figure
        from matplotlib.ticker import MaxNLocator

        figure = Figure(figsize=(9, 3.6), layout="constrained")
        shares, image = figure.subplots(1, 2, width_ratios=(3, 2))
        # A class without samples has no share to draw.
        shown = [(number, each) for number, each in enumerate(self.classes) if each.count]
        values = np.array([[100 * each.share, 100 * each.low, 100 * each.high] for _, each in shown])
        errors = np.abs(values[:, 1:] - values[:, :1]).T
        shares.errorbar([number for number, _ in shown], values[:, 0], yerr=errors, fmt="o", capsize=3)
        shares.axhline(100 * self.whole.share, color="grey", linestyle=":", label="all classes")
        shares.set(xlabel="class", ylabel="accuracy [%]")
        shares.xaxis.set_major_locator(MaxNLocator(integer=True))
        shares.legend(fontsize="small")
        share = self.confusion / np.maximum(self.confusion.sum(1, keepdims=True), 1)
        drawn = image.imshow(share, cmap="Blues", vmin=0, vmax=1)
        image.set(xlabel="given class", ylabel="class")
        for axis in (image.xaxis, image.yaxis):
            axis.set_major_locator(MaxNLocator(integer=True))
        if len(share) <= 12:
            for (i, j), count in np.ndenumerate(self.confusion):
                color = "white" if share[i, j] > 0.6 else "black"
                image.text(j, i, str(count) if count else "", ha="center", va="center", fontsize=7, color=color)
        figure.colorbar(drawn, ax=image, label="share of the class")
        return figure


def class_scores(found: np.ndarray, labels: np.ndarray, n_classes: int) -> ClassScores:
    """Count the samples of each class by the class they are given.

    Parameters
    ----------
    found, labels : ndarray (n_samples,)
        The class that each sample is given, and its own; integers from 0.
    n_classes : int
        How many there are.

    Raises
    ------
    StimulusError
        If there are no samples, their numbers differ, or a class is outside 0 … n_classes − 1.
    """
    found, labels = np.asarray(found), np.asarray(labels)
    if found.shape != labels.shape or found.ndim != 1 or not len(found):
        raise StimulusError(f"classes of the same samples are needed, found shapes {found.shape} and {labels.shape}")
    low, high = min(found.min(), labels.min()), max(found.max(), labels.max())
    if low < 0 or high >= n_classes:
        raise StimulusError(f"classes must lie in 0 … {n_classes - 1}, found {low} … {high}")
    confusion = np.zeros((n_classes, n_classes), dtype=np.int64)
    np.add.at(confusion, (labels, found), 1)
    return ClassScores(confusion)
