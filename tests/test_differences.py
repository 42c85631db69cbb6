"""Fisher's scoring against closed forms."""

from __future__ import annotations

import numpy as np
import pytest

from analog_ep.calibration.differences import most_likely


@pytest.mark.parametrize("begin", [0.0, -3.0, -8.0])
def test_a_coordinate_that_runs_away_does_not_hold_up_the_others(begin: float):
    random = np.random.default_rng(0)
    data, weight = 10 * random.normal(size=200) + 30, np.zeros(200)
    # These two want what is added to them to be negative: its logarithm goes towards minus infinity.
    weight[:2], data[:2] = 1.0, 20.0

    def innovations(x: np.ndarray) -> np.ndarray:
        mean, log_deviation, log_added = x
        return np.stack(
            [np.full(200, log_deviation), (data - mean - weight * np.exp(log_added)) / np.exp(log_deviation)]
        )

    def surprise(x: np.ndarray) -> float:
        logs, z = innovations(x)
        return float(logs.sum() + 0.5 * z @ z)

    found = most_likely(surprise, innovations, np.array([0.0, 1.0, begin]))
    assert surprise(found) == pytest.approx(surprise(np.array([data.mean(), np.log(data.std()), -50.0])), abs=1e-3)
