"""A mean over the seeds and how sure it is."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from analog_ep.errors import StudyError
from analog_ep.studies.summary import Score

CONFIDENCE = 0.95
"""Of the intervals."""


@dataclass(frozen=True)
class Estimate:
    """A mean and its confidence interval by Student's t.

    Attributes
    ----------
    count : int
        Values it is of.
    mean, half : float
        Half the width of the interval is infinite of a single value.
    p : float
        Of the mean being zero; NaN of a single value.
    """

    count: int
    mean: float
    half: float
    p: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Estimate:
        """From at least one value.

        Raises
        ------
        StudyError
            If there is none.
        """
        # Loaded where it is used: scipy.stats takes half a second.
        from scipy.stats import t

        n = len(values)
        if n == 0:
            raise StudyError("a mean needs a value, found none")
        mean = float(np.mean(values))
        if n == 1:
            return cls(1, mean, math.inf, math.nan)
        error = float(np.std(values, ddof=1)) / math.sqrt(n)
        half = float(t.ppf(0.5 + CONFIDENCE / 2, n - 1)) * error
        p = (1.0 if mean == 0 else 0.0) if error == 0 else float(2 * t.sf(abs(mean) / error, n - 1))
        return cls(n, mean, half, p)

    def text(self, score: Score) -> str:
        """Mean and interval."""
        if math.isinf(self.half):
            return f"{score.text(self.mean)}, one seed"
        return f"{score.text(self.mean)} ± {score.text(self.half)}"
