"""Fisher's scoring against closed forms."""

from __future__ import annotations

import numpy as np
import pytest

from analog_ep.calibration.differences import curvature, inverse, most_likely


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


@pytest.mark.parametrize("edge", ["above", "below", "beside another"])
def test_a_parameter_at_an_edge_of_what_makes_sense_is_untold_and_the_others_are_told(edge: str):
    information = np.array([[4.0, 1.0, 0.5, 0.0], [1.0, 3.0, 0.2, 0.1], [0.5, 0.2, 2.0, 0.3], [0.0, 0.1, 0.3, 1.0]])
    x = np.array([1.0, 2.0, -1.0, 0.5])
    beyond = {
        "above": lambda step: step[1] > 1e-6,
        "below": lambda step: step[1] < -1e-6,
        "beside another": lambda step: step[1] > 1e-6 and abs(step[2]) > 1e-6,
    }[edge]

    def surprise(at: np.ndarray) -> float:
        return np.inf if beyond(at - x) else 0.5 * float((at - x) @ information @ (at - x))

    covariance = inverse(curvature(surprise, x, 1e-3)[1])
    told = np.isfinite(np.diag(covariance))
    assert (~told).sum() == 1
    assert not told[1:3].all()
    assert told[[0, 3]].all()
    np.testing.assert_allclose(
        covariance[np.ix_(told, told)], np.linalg.inv(information[np.ix_(told, told)]), rtol=1e-6
    )
    assert not covariance[~told][:, told].any()


def test_a_parameter_that_changes_nothing_is_untold_and_its_roundings_leave_the_others_as_they_are():
    information = np.array([[4.0, 1.0, -4e-11], [1.0, 3.0, 0.0], [-4e-11, 0.0, 0.0]])
    covariance = inverse(information)
    np.testing.assert_allclose(covariance[:2, :2], np.linalg.inv(information[:2, :2]), rtol=1e-12)
    assert covariance[2, 2] == np.inf
    assert not covariance[2, :2].any()
    assert np.isinf(np.diag(inverse(np.zeros((2, 2))))).all()
