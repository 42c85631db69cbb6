"""The benchmark of crossbars with wires: what it reports besides times is exact, and bad requests are one line."""

import json

import pytest
import torch
from typer.testing import CliRunner

from analog_ep import cli
from analog_ep.benchmarking import wires
from analog_ep.benchmarking.wires import benchmark_wires
from analog_ep.errors import StimulusError


def test_reported_errors_are_those_of_nodal_analysis():
    options = ["--size", "24", "--columns", "17", "--resistance", "1000", "--inputs", "20", "--json"]
    found = json.loads(CliRunner().invoke(cli.app, ["bench", "wires", *options]).stdout)
    assert 0 < found["max_voltage_error"] < 1e-11
    assert found["cold_ms"] > 0
    assert found["batch_ms_per_input"] > 0
    assert (found["judge"], found["rows"], found["columns"], found["inputs"]) == ("sparse LU", 24, 17, 20)


def test_a_wrong_voltage_is_reported(monkeypatch):
    true = wires.crossbar_voltages

    def wrong(*crossbar):
        rows, columns = true(*crossbar)
        return rows, columns + torch.eye(12, 12, dtype=rows.dtype)[..., None] * 1e-6

    monkeypatch.setattr(wires, "crossbar_voltages", wrong)
    assert benchmark_wires(12, inputs=2).max_voltage_error == pytest.approx(1e-6, rel=1e-6)


def test_large_crossbars_are_judged_by_elimination(monkeypatch):
    by_lu = benchmark_wires(12, inputs=2, resistance=100.0)
    monkeypatch.setattr(wires, "_LARGEST_LU", 100)
    by_elimination = benchmark_wires(12, inputs=2, resistance=100.0)
    assert (by_lu.judge, by_elimination.judge) == ("sparse LU", "line elimination")
    assert max(by_lu.max_voltage_error, by_elimination.max_voltage_error) < 1e-12


def test_bad_requests_are_one_line():
    with pytest.raises(StimulusError, match="a crossbar needs rows, columns and inputs, found 4, 4 and 0"):
        benchmark_wires(4, inputs=0)
    with pytest.raises(StimulusError, match="the resistance of a segment must be finite and above 0, found 0 ohm"):
        benchmark_wires(4, resistance=0.0)
