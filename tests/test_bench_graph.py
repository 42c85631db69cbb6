"""The lattice benchmark: what it reports besides times is exact, and bad requests are one line."""

import json

import pytest
from typer.testing import CliRunner

from analog_ep import cli
from analog_ep.benchmarking.graph import Edges, benchmark_graph, lattice
from analog_ep.errors import StimulusError


@pytest.mark.ngspice
def test_reported_errors_are_those_of_exact_solutions():
    run = CliRunner().invoke(
        cli.app, ["bench", "graph", "--branches", "400", "--samples", "9", "--rounds", "1", "--json"]
    )
    found = json.loads(run.stdout)
    assert found["max_voltage_error"] < 1e-8
    assert found["gradient_error"] < 1e-9
    assert found["step_ms_per_sample"] > 0
    assert found["ngspice_ms_per_sample"] > 0
    assert (found["branches"], found["nodes"], found["diodes"]) == (420, 228, 21)


def test_without_ngspice_nothing_is_said_of_it():
    result = benchmark_graph(100, samples=2, rounds=1, ngspice=False)
    assert result.ngspice_ms_per_sample is None
    assert result.max_voltage_error is None
    assert result.gradient_error < 1e-9


@pytest.mark.ngspice
@pytest.mark.parametrize("edges", ["level1", "ekv"])
def test_edges_may_be_transistors(edges: Edges):
    result = benchmark_graph(100, samples=3, rounds=1, edges=edges)
    assert result.max_voltage_error is not None
    assert result.max_voltage_error < 1e-8
    assert result.gradient_error < 1e-9


def test_a_lattice_has_about_the_branches_asked_for():
    for branches in (24, 2_000, 20_000):
        assert len(lattice(branches).group("edge")) == pytest.approx(branches, rel=0.1)


def test_bad_requests_are_one_line():
    with pytest.raises(StimulusError, match="a lattice needs at least 24 branches, found 3"):
        lattice(3)
    with pytest.raises(StimulusError, match="a benchmark needs samples and rounds, found 0 and 1"):
        benchmark_graph(100, samples=0, rounds=1)
