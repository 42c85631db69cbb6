"""The elimination of a crossbar's lines, in compiled loops and in batches of matrices, against nodal analysis."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from nodal_crossbars import Wired, random_crossbar

from analog_ep.errors import NetworkError
from analog_ep.networks.wires import elimination
from analog_ep.networks.wires.elimination import LineElimination

DOUBLE = torch.float64


@pytest.fixture(params=["compiled", "joined"])
def way(request, monkeypatch):
    """Leaves in compiled loops, and as on other devices; from 3 cells a side, so that small crossbars are joined."""
    monkeypatch.setattr(elimination, "runs_compiled", lambda _: request.param == "compiled")
    monkeypatch.setattr(elimination, "_COMPILED_LEAF", 3)
    monkeypatch.setattr(elimination, "_JOINED_LEAF", 2)
    return request.param


def eliminated(*wired: Wired, open_right: bool = True, open_top: bool = True) -> LineElimination:
    parts = (
        torch.from_numpy(np.stack([getattr(one, name) for one in wired]))
        for name in ("cells", "row_links", "column_links")
    )
    return LineElimination(*parts, open_right=open_right, open_top=open_top)


@pytest.mark.parametrize("resistance", [1e-3, 1.0, 1e3])
@pytest.mark.parametrize("shape", [(7, 13), (8, 4), (1, 1), (2, 9)], ids=str)
def test_links_between_ends_keep_their_relative_precision(way, shape, resistance):
    wired = random_crossbar(shape, resistance)
    links, parts = wired.exact()
    found = eliminated(wired)
    np.testing.assert_allclose(found.links[0].numpy(), links, rtol=1e-10, atol=0)
    rows, columns = found.voltages(torch.eye(len(links), dtype=DOUBLE)[None])
    np.testing.assert_allclose(rows[0].numpy(), parts[0], rtol=0, atol=1e-13)
    np.testing.assert_allclose(columns[0].numpy(), parts[1], rtol=0, atol=1e-13)


def test_right_and_top_ends_are_the_nodes_of_the_last_cells(way):
    wired = random_crossbar((7, 5), 1.0)
    # Ends that hang on segments of so little resistance are these nodes.
    long = Wired(wired.cells, wired.row_links, wired.column_links, np.full(7, 1e15), np.full(5, 1e15))
    links, parts = long.exact()
    found = eliminated(wired, open_right=False, open_top=False)
    np.testing.assert_allclose(found.links[0].numpy(), links, rtol=1e-10, atol=1e-18)
    rows, columns = found.voltages(torch.eye(len(links), dtype=DOUBLE)[None])
    np.testing.assert_allclose(rows[0].numpy(), parts[0], rtol=0, atol=1e-13)
    np.testing.assert_allclose(columns[0].numpy(), parts[1], rtol=0, atol=1e-13)


@pytest.mark.parametrize("resistance", [1e-3, 1.0, 1e3])
@pytest.mark.parametrize("shape", [(64, 64), (128, 100)], ids=str)
def test_every_voltage_is_that_of_nodal_analysis(shape, resistance):
    wired = random_crossbar(shape, resistance)
    # More samples than are spread at once.
    ends = np.random.default_rng(1).uniform(-1, 1, (sum(shape), 40))
    right = wired.voltages(ends[:, [0, 39]])
    rows, columns = eliminated(wired).voltages(torch.from_numpy(ends)[None])
    for found, exact in ((rows, right[0]), (columns, right[1])):
        assert np.abs(found[0][..., [0, 39]].numpy() - exact).max() < 1e-11


def test_crossbars_of_a_batch_do_not_mix(way):
    wired = [random_crossbar((6, 11), resistance, seed) for seed, resistance in enumerate((1.0, 100.0, 1e3))]
    together = eliminated(*wired)
    ends = torch.rand(3, 17, 2, dtype=DOUBLE, generator=torch.Generator().manual_seed(0))
    rows, columns = together.voltages(ends)
    moments = ends @ ends.mT
    across = together.moments(moments)
    for k, one in enumerate(wired):
        alone = eliminated(one)
        torch.testing.assert_close(together.links[k], alone.links[0], rtol=1e-13, atol=0)
        exact = one.voltages(ends[k].numpy())
        np.testing.assert_allclose(rows[k].numpy(), exact[0], rtol=0, atol=1e-12)
        np.testing.assert_allclose(columns[k].numpy(), exact[1], rtol=0, atol=1e-12)
        np.testing.assert_allclose(across[k].numpy(), ((exact[0] - exact[1]) ** 2).sum(-1), rtol=0, atol=1e-12)


def test_moments_are_sums_over_samples(way):
    wired = random_crossbar((13, 7), 100.0)
    first, second = np.random.default_rng(3).normal(size=(2, 20, 5))
    v, w = (np.subtract(*wired.voltages(ends)) for ends in (first, second))
    both = first @ second.T
    found = eliminated(wired).moments(torch.from_numpy(both + both.T)[None] / 2)
    np.testing.assert_allclose(found[0].numpy(), (v * w).sum(-1), rtol=0, atol=1e-12)


@pytest.mark.parametrize("short", [1e6, 1e12])
def test_open_and_shorted_segments(way, short):
    wired = random_crossbar((7, 9), 10.0, seed=3, siemens=(1e-6, 1e-3))
    wired.row_links[[0, 3, 5], [0, 4, 2]] = 0
    wired.column_links[[6, 2], [1, 5]] = 0
    wired.row_links[6, 1] = wired.column_links[4, 4] = short
    wired.cells[2, 2] = 0
    links, parts = wired.exact()
    found = eliminated(wired)
    np.testing.assert_allclose(found.links[0].numpy(), links, rtol=1e-10, atol=1e-25)
    rows, columns = found.voltages(torch.eye(len(links), dtype=DOUBLE)[None])
    np.testing.assert_allclose(rows[0].numpy(), parts[0], rtol=0, atol=1e-13)
    np.testing.assert_allclose(columns[0].numpy(), parts[1], rtol=0, atol=1e-13)


def test_a_changed_segment_or_cell_is_seen(way):
    wired = random_crossbar((6, 7), 1.0, siemens=(1e-6, 1e-3))
    links, _ = wired.exact()
    for part in (wired.row_links, wired.column_links, wired.cells):
        kept = part[3, 3]
        part[3, 3] *= 1.001
        assert not np.allclose(eliminated(wired).links[0].numpy(), links, rtol=1e-10, atol=0)
        part[3, 3] = kept
    np.testing.assert_allclose(eliminated(wired).links[0].numpy(), links, rtol=1e-10, atol=0)


def test_what_is_connected_to_nothing_is_an_error(way):
    wired = random_crossbar((6, 7), 1.0)
    wired.row_links[2, 4] = 0
    wired.cells[2, 4:] = 0
    with pytest.raises(NetworkError, match="every part of a crossbar's lines must be connected to one of their ends"):
        eliminated(wired)
