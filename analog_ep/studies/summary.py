"""What the seeds of one combination of a study have in common."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Score:
    """What a study compares its trainings by.

    Attributes
    ----------
    name : str
        With its unit.
    scale : float
        Factor from the figure of a result to the unit.
    text : callable
        A figure in the unit, as it is printed.
    """

    name: str
    scale: float
    text: Callable[[float], str]


ACCURACY = Score("test accuracy [%]", 100.0, "{:.2f}".format)
COST = Score("test cost", 1.0, "{:.3g}".format)


@dataclass(frozen=True)
class Summary:
    """Test accuracy of one combination over its seeds, or test cost where samples have targets.

    Attributes
    ----------
    labels : dict of str to str
        Variant by axis.
    values : list of float
        Of the seeds whose training did not fail, in the unit of the score.
    n_failed : int
        Number of the others.
    score : Score
        What the values are.
    """

    labels: dict[str, str]
    values: list[float]
    n_failed: int
    score: Score = ACCURACY

    @property
    def mean(self) -> float:
        """Mean; NaN where every training failed."""
        return statistics.fmean(self.values) if self.values else float("nan")

    @property
    def deviation(self) -> float:
        """Standard deviation over the seeds, n − 1 in the denominator; NaN for a single one."""
        return statistics.stdev(self.values) if len(self.values) > 1 else float("nan")

    @property
    def text(self) -> str:
        """Mean ± standard deviation."""
        if not self.values:
            return "failed"
        mean = self.score.text(self.mean)
        return f"{mean} ± {self.score.text(self.deviation)}" if len(self.values) > 1 else mean
