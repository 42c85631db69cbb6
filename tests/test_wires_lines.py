"""One crossbar with lines that have resistance, by conjugate gradients over whole lines, against nodal analysis."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from nodal_crossbars import Wired, random_crossbar

from analog_ep.errors import ConvergenceError, NetworkError
from analog_ep.networks.wires import lines, voltages
from analog_ep.networks.wires.lines import LineSolver, LineVoltages
from analog_ep.networks.wires.voltages import crossbar_voltages


def solver(wired: Wired) -> LineSolver:
    ends = {"right_links": wired.right_links, "top_links": wired.top_links}
    given = {name: torch.from_numpy(values) for name, values in ends.items() if values is not None}
    parts = (torch.from_numpy(values) for values in (wired.cells, wired.row_links, wired.column_links))
    return LineSolver(*parts, **given)


def drive(wired: Wired, samples: int = 2, seed: int = 1) -> np.ndarray:
    *_, inner, count = wired.branches()
    return np.random.default_rng(seed).uniform(-1, 1, (count - inner, samples))


def solved(wired: Wired, ends: np.ndarray) -> LineVoltages:
    return solver(wired).solve(torch.from_numpy(ends))


def largest_error(found: LineVoltages, right: np.ndarray) -> float:
    return max(
        np.abs(part.numpy() - exact).max() for part, exact in zip((found.rows, found.columns), right, strict=True)
    )


@pytest.mark.parametrize("both", [False, True], ids=["one end", "both ends"])
@pytest.mark.parametrize("resistance", [1e-3, 1.0, 1e3])
@pytest.mark.parametrize("shape", [(64, 64), (128, 100)], ids=str)
def test_every_voltage_is_that_of_nodal_analysis(shape, resistance, both):
    wired = random_crossbar(shape, resistance, both=both)
    ends = drive(wired)
    right = wired.voltages(ends)
    found = solved(wired, ends)
    assert largest_error(found, right) < 1e-11
    across = right[0] - right[1]
    np.testing.assert_allclose(found.across.numpy(), across, rtol=0, atol=1e-11)
    if not both:
        currents = wired.cells[..., None] * across
        into = np.concatenate([currents.sum(1), -currents.sum(0)])
        np.testing.assert_allclose(found.currents.numpy(), into, rtol=1e-10, atol=1e-14 * np.abs(into).max())


@pytest.mark.parametrize("both", [False, True], ids=["one end", "both ends"])
@pytest.mark.parametrize("resistance", [1e-3, 1.0, 1e3])
@pytest.mark.parametrize("shape", [(9, 6), (1, 1), (1, 5), (5, 1)], ids=str)
def test_currents_keep_their_relative_precision(shape, resistance, both):
    wired = random_crossbar(shape, resistance, seed=2, both=both)
    links, parts = wired.exact()
    # One end at 1 V: each current is a link or the sum of an end's links, down to 1e-9 S beside wires of 1e3 S.
    found = solved(wired, np.eye(len(links)))
    exact = np.diag(links.sum(1)) - links
    np.testing.assert_allclose(found.currents.numpy(), exact, rtol=1e-10, atol=0)
    assert largest_error(found, parts) < 1e-13


@pytest.mark.parametrize("both", [False, True], ids=["one end", "both ends"])
@pytest.mark.parametrize("short", [1e6, 1e12, 1e18])
def test_open_and_shorted_segments(short, both):
    wired = random_crossbar((9, 7), 10.0, seed=3, siemens=(1e-6, 1e-3), both=both)
    wired.row_links[[0, 3, 5], [0, 4, 2]] = 0
    wired.column_links[[8, 2], [1, 5]] = 0
    wired.row_links[6, 1] = wired.column_links[4, 4] = short
    wired.cells[2, 2] = 0
    links, parts = wired.exact()
    found = solved(wired, np.eye(len(links)))
    assert largest_error(found, parts) < 1e-13
    np.testing.assert_allclose(found.currents.numpy(), np.diag(links.sum(1)) - links, rtol=1e-9, atol=1e-14)


def test_a_changed_segment_or_cell_is_seen():
    wired = random_crossbar((64, 64), 1.0)
    ends = drive(wired)
    right = wired.voltages(ends)
    for part in (wired.row_links, wired.column_links, wired.cells):
        kept = part[20, 30]
        part[20, 30] *= 1.001
        assert largest_error(solved(wired, ends), right) > 1e-9
        part[20, 30] = kept
    assert largest_error(solved(wired, ends), right) < 1e-11


@pytest.mark.parametrize("both", [False, True], ids=["one end", "both ends"])
def test_refinement_corrects_what_conjugate_gradients_leave(both, monkeypatch):
    wired = random_crossbar((30, 20), 1e3, siemens=(1e-5, 1e-3), both=both)
    ends = drive(wired)
    right = wired.voltages(ends)
    monkeypatch.setattr(lines, "_TOLERANCE", 1e-4)
    assert largest_error(solved(wired, ends), right) < 1e-11
    monkeypatch.setattr(lines, "_MOST_REFINEMENTS", 2)
    with pytest.raises(ConvergenceError):
        solved(wired, ends)


def test_few_steps_are_taken_where_lines_drop_little():
    limits = {1e-3: 3, 1.0: 8, 10.0: 25}
    for resistance, most in limits.items():
        wired = random_crossbar((128, 128), resistance, siemens=(1e-7, 1e-4))
        assert max(solved(wired, drive(wired)).steps) <= most


def test_many_samples_are_as_one_by_one_whichever_way_is_taken(monkeypatch):
    wired = random_crossbar((20, 30), 10.0)
    ends = drive(wired, samples=12)
    right = wired.voltages(ends)
    cells, row_links, column_links = (
        torch.from_numpy(values) for values in (wired.cells, wired.row_links, wired.column_links)
    )
    taken = []

    class Watched(voltages.LineElimination):
        def __init__(self, *args, **options):
            taken.append(self)
            super().__init__(*args, **options)

    monkeypatch.setattr(voltages, "LineElimination", Watched)
    for seconds, count in ((1.0, 0), (0.0, 1)):
        monkeypatch.setattr(voltages, "_FORMING", seconds)
        found = crossbar_voltages(cells, row_links, column_links, torch.from_numpy(ends))
        assert len(taken) == count
        for part, exact in zip(found, right, strict=True):
            np.testing.assert_allclose(part.numpy(), exact, rtol=0, atol=1e-12)


def test_what_is_connected_to_nothing_is_an_error():
    alone = random_crossbar((4, 3), 1.0)
    alone.row_links[2, 1] = 0
    alone.cells[2, 1:] = 0
    with pytest.raises(NetworkError, match="every part of a crossbar's lines must be connected to one of their ends"):
        solver(alone)
    # A row and a column that have each other alone.
    pair = random_crossbar((4, 3), 1.0)
    pair.row_links[1, 0] = pair.column_links[3, 2] = 0
    pair.cells[1, :2] = 0
    pair.cells[[0, 2, 3], 2] = 0
    with pytest.raises(NetworkError, match="found one that is not"):
        solver(pair)
    pair.cells[1, 0] = 1e-9
    links, parts = pair.exact()
    # What holds them is 3e-6 of the cell between them, and rounding counts by that.
    assert largest_error(solved(pair, np.eye(len(links))), parts) < 1e-9


def test_rounding_that_spoils_the_voltages_is_an_error():
    wired = random_crossbar((60, 60), 1e9, siemens=(1.0, 2.0))
    with pytest.raises(ConvergenceError, match="voltages in a crossbar with wires must be found to 1e-09"):
        solved(wired, drive(wired))
