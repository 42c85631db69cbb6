"""Sparse elimination against dense algebra and SuperLU."""

import numpy as np
import pytest
from scipy.sparse import coo_array

import analog_ep.equilibrium.nodal.elimination as module
from analog_ep.equilibrium.nodal.elimination import Elimination, elimination_of
from analog_ep.support.lanes import LANES


def _pattern(rng, size, n_edges, symmetric):
    """Places of a random matrix's entries, its diagonal first."""
    i, j = rng.integers(0, size, (2, n_edges))
    i, j = i[i != j], j[i != j]
    rows, columns = (np.concatenate(pair) for pair in ((i, j), (j, i))) if symmetric else (i, j)
    unique = np.unique(columns * size + rows)
    columns, rows = np.divmod(unique, size)
    own = np.arange(size)
    return np.concatenate([own, rows]), np.concatenate([own, columns])


def _dense(rows, columns, values, size):
    return coo_array((values, (rows, columns)), shape=(size, size)).toarray()


def _symmetric_values(rng, rows, columns, size, n_samples, definite):
    """Entries of symmetric matrices, positive definite or with eigenvalues of both signs."""
    table = rng.normal(size=(n_samples, size, size))
    table = table + table.transpose(0, 2, 1)
    values = table[:, rows, columns]
    weight = np.array([np.bincount(rows, np.abs(sample), minlength=size) for sample in values])
    sign = np.ones(size) if definite else rng.choice([-1.0, 1.0], size)
    values[:, :size] = sign * (weight + 0.1)
    return values


@pytest.mark.parametrize("definite", [True, False])
@pytest.mark.parametrize(("size", "n_edges"), [(1, 0), (2, 1), (7, 9), (60, 90), (60, 900), (300, 700)])
def test_symmetric_systems(size, n_edges, definite):
    rng = np.random.default_rng(size + n_edges)
    rows, columns = _pattern(rng, size, n_edges, symmetric=True)
    values = _symmetric_values(rng, rows, columns, size, LANES + 3, definite)
    right = rng.normal(size=(LANES + 3, size))
    elimination = Elimination(rows, columns, size)
    matrices = [_dense(rows, columns, sample, size) for sample in values]
    expected = np.stack([np.linalg.solve(matrix, b) for matrix, b in zip(matrices, right, strict=True)])
    for transposed in (False, True):
        np.testing.assert_allclose(elimination.solve(values, right, transposed), expected, rtol=1e-9, atol=1e-11)
    assert elimination.definite(values).tolist() == [bool((np.linalg.eigvalsh(m) > 0).all()) for m in matrices]
    inverse = elimination.inverse_diagonal(values[0])
    if definite:
        assert inverse is not None
        np.testing.assert_allclose(inverse, np.linalg.inv(matrices[0]).diagonal(), rtol=1e-11)
    else:
        assert (inverse is None) == (np.linalg.eigvalsh(matrices[0]) <= 0).any()


@pytest.mark.parametrize(("size", "n_edges"), [(2, 1), (9, 20), (60, 150), (300, 900)])
def test_general_systems(size, n_edges):
    rng = np.random.default_rng(size + n_edges)
    rows, columns = _pattern(rng, size, n_edges, symmetric=False)
    values = rng.normal(size=(2 * LANES + 1, len(rows)))
    values[:, :size] += 3 * np.sign(values[:, :size])
    right = rng.normal(size=(len(values), size))
    elimination = Elimination(rows, columns, size, values[0])
    matrices = np.stack([_dense(rows, columns, sample, size) for sample in values])
    for transposed, each in ((False, matrices), (True, matrices.transpose(0, 2, 1))):
        found = elimination.solve(values, right, transposed)
        left = np.einsum("bij,bj->bi", each, found) - right
        scale = np.einsum("bij,bj->bi", np.abs(each), np.abs(found)) + np.abs(right)
        assert (np.abs(left) / scale).max() < 1e-9


def _bordered(rng, size, n_sources):
    """A resistor network with floating sources: rows without a diagonal, as modified nodal analysis has them."""
    rows, columns = _pattern(rng, size, 3 * size, symmetric=True)
    first = rng.permutation(size)[:n_sources]
    border = size + np.arange(n_sources)
    rows = np.concatenate([rows, first, border, border])
    columns = np.concatenate([columns, border, first, border])
    values = np.concatenate([np.zeros(len(rows) - 3 * n_sources), np.ones(2 * n_sources), np.zeros(n_sources)])
    off = slice(size, len(rows) - 3 * n_sources)
    values[off] = -rng.uniform(1e-6, 1e-4, off.stop - off.start)
    values[:size] = 1e-7 - np.bincount(rows[off], values[off], minlength=size)
    return rows, columns, values, size + n_sources


def test_pivots_are_found_where_the_diagonal_has_none(monkeypatch):
    rng = np.random.default_rng(0)
    rows, columns, values, size = _bordered(rng, 80, 20)
    samples = np.stack([np.where(np.arange(len(values)) < 80, values * f, values) for f in np.linspace(1, 5, 11)])
    right = rng.normal(size=(len(samples), size))
    elimination = Elimination(rows, columns, size, samples[0])
    own_pivots = []
    monkeypatch.setattr(elimination, "_with_pivots", lambda values, right, _: own_pivots.append(values) or right)
    found = elimination.solve(samples, right)
    for sample, b, x in zip(samples, right, found, strict=True):
        np.testing.assert_allclose(_dense(rows, columns, sample, size) @ x, b, atol=1e-9)
    assert not own_pivots
    assert not elimination.is_unsuited


def test_pivots_that_do_not_suit_are_noticed():
    """Matrices whose pivots vanish, of the kind that the analysis was not made for."""
    rng = np.random.default_rng(1)
    size = 30
    rows, columns = _pattern(rng, size, 200, symmetric=False)
    typical = rng.normal(size=len(rows))
    typical[:size] = 100.0
    values = rng.normal(size=(9, len(rows)))
    values[:, :size] = 0.0
    right = rng.normal(size=(9, size))
    elimination = elimination_of(rows, columns, size, typical)
    found = elimination.solve(values, right)
    expected = np.stack(
        [np.linalg.solve(_dense(rows, columns, v, size), b) for v, b in zip(values, right, strict=True)]
    )
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    assert elimination.is_unsuited
    again = elimination_of(rows, columns, size, values[0])
    assert again is not elimination
    assert elimination_of(rows, columns, size, values[0]) is again


def test_singular_matrices_have_no_solution():
    rows, columns = np.array([0, 1, 0, 1]), np.array([0, 1, 1, 0])
    values = np.array([[1.0, 1.0, 1.0, 1.0], [2.0, 1.0, 1.0, 1.0], [0.0, 0.0, 0.0, 0.0]])
    for elimination in (Elimination(rows, columns, 2), Elimination(rows, columns, 2, values[1])):
        found = elimination.solve(values, np.array([[1.0, 2.0]] * 3))
        assert not np.isfinite(found[[0, 2]]).any()
        np.testing.assert_allclose(found[1], [-1.0, 3.0])
    assert Elimination(rows, columns, 2).inverse_diagonal(values[0]) is None


def test_an_indefinite_matrix_with_zero_pivots_is_solved_with_others():
    rows, columns = np.array([0, 1, 0, 1]), np.array([0, 1, 1, 0])
    values = np.array([[0.0, 0.0, 1.0, 1.0]])
    np.testing.assert_allclose(Elimination(rows, columns, 2).solve(values, np.array([[3.0, 4.0]])), [[4.0, 3.0]])


def test_factors_beyond_the_memory_are_left_to_one_sample_at_a_time(monkeypatch):
    rng = np.random.default_rng(2)
    rows, columns = _pattern(rng, 40, 80, symmetric=True)
    values = _symmetric_values(rng, rows, columns, 40, 3, definite=True)
    right = rng.normal(size=(3, 40))
    elimination = Elimination(rows, columns, 40)
    expected = elimination.solve(values, right)
    monkeypatch.setattr(module, "_LARGEST", elimination.n_bytes - 1)
    np.testing.assert_allclose(elimination.solve(values, right), expected, rtol=1e-10)


def test_only_the_last_patterns_are_kept():
    for size in range(2, 2 + 2 * module._KEPT):
        own = np.arange(size)
        elimination_of(own, own, size)
    assert len(module._ANALYSED) <= module._KEPT


def test_small_pivots_cost_no_digits(monkeypatch):
    """Diagonals below the other entries: the factors lose digits, which one refinement restores, without a search."""
    rng = np.random.default_rng(4)
    size = 40
    rows, columns = _pattern(rng, size, 300, symmetric=False)
    typical, values = rng.normal(size=len(rows)), rng.normal(size=(LANES, len(rows)))
    typical[:size] = 100.0
    values[:, :size] = 0.3 * rng.uniform(1, 2, (LANES, size))
    right = rng.normal(size=(LANES, size))
    elimination, own_pivots = Elimination(rows, columns, size, typical), []
    monkeypatch.setattr(elimination, "_with_pivots", lambda values, right, _: own_pivots.append(values) or right)
    found = elimination.solve(values, right)
    matrices = np.stack([_dense(rows, columns, sample, size) for sample in values])
    left = np.einsum("bij,bj->bi", matrices, found) - right
    scale = np.einsum("bij,bj->bi", np.abs(matrices), np.abs(found)) + np.abs(right)
    assert (np.abs(left) / scale).max() < 1e-13
    assert not own_pivots
