"""A cut-down run of the coverage benchmark; its truths and bounds come from code of its own."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

DRAWS = 24


@pytest.fixture(scope="module")
def coverage() -> ModuleType:
    path = Path(__file__).parent.parent / "benchmarks" / "calibration_coverage.py"
    spec = importlib.util.spec_from_file_location("calibration_coverage", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", ["diode", "SoftBounds", "ExpStep"])
def test_intervals_hold_and_errors_are_near_the_bound(coverage: ModuleType, name: str):
    rows, rejected = coverage.coverage(name, DRAWS)
    for parameter, _, covered, error, bound in rows:
        # 68 % of 24 draws within three standard deviations; the error of 24 has a spread of 14 % itself.
        assert 0.40 <= covered <= 0.97, parameter
        assert error < 1.5 * bound, parameter
    # Of 24 draws at a level of 1 %, three are rejected once in 500 times.
    assert rejected < 3 / DRAWS
