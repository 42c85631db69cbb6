"""What the seeds of one combination of a study have in common."""

from __future__ import annotations

import statistics
from dataclasses import dataclass


@dataclass(frozen=True)
class Summary:
    """Test accuracy of one combination over its seeds.

    Attributes
    ----------
    labels : dict of str to str
        Variant by axis.
    accuracies : list of float
        Of the seeds whose training did not fail.
    n_failed : int
        Number of the others.
    """

    labels: dict[str, str]
    accuracies: list[float]
    n_failed: int

    @property
    def mean(self) -> float:
        """Mean test accuracy; NaN where every training failed."""
        return statistics.fmean(self.accuracies) if self.accuracies else float("nan")

    @property
    def deviation(self) -> float:
        """Standard deviation over the seeds, n − 1 in the denominator; NaN for a single one."""
        return statistics.stdev(self.accuracies) if len(self.accuracies) > 1 else float("nan")
