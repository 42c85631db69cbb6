"""Sparse elimination for many matrices of one pattern: analysed once, then factorised several samples at a time."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from scipy.sparse import coo_array, csc_array, csr_array
from scipy.sparse.linalg import splu

from analog_ep.equilibrium.nodal.front_kernels import (
    backward_errors,
    column_structures,
    elimination_tree,
    factorise,
    inverse_diagonal,
    postorder,
    substitute,
)
from analog_ep.support.lanes import LANES, vectors

_EXACT = 1e-13
"""Backward error from which on a solution is refined once."""

_LARGEST = 2**30
"""Bytes of factors beyond which samples are solved one by one."""

_TRUSTED = 1e-9
"""Backward error up to which a solution without a search for pivots is relied on."""


_KEPT = 8
"""Patterns whose analysis is kept for the next circuit of the same structure, such as the next step of a training."""

_Factors = tuple[np.ndarray, np.ndarray, np.ndarray]
"""L and U `(n_factor, LANES)`, the same array for symmetric matrices, and D `(n, LANES)`."""

_ANALYSED: OrderedDict[tuple[object, ...], Elimination] = OrderedDict()


def elimination_of(rows: np.ndarray, columns: np.ndarray, size: int, typical: np.ndarray | None = None) -> Elimination:
    """The analysis of a pattern, from an earlier call where there was one: see `Elimination`."""
    key = (size, typical is None, rows.tobytes(), columns.tobytes())
    found = _ANALYSED.pop(key, None)
    if found is None or found.is_unsuited:
        found = Elimination(rows, columns, size, typical)
    _ANALYSED[key] = found
    while len(_ANALYSED) > _KEPT:
        _ANALYSED.popitem(last=False)
    return found


@dataclass(frozen=True, eq=False)
class _Fronts:
    """What `Elimination` works on, all positions within the order of elimination.

    Attributes
    ----------
    first : ndarray (n_fronts + 1,)
        First column of each front; its columns are eliminated together.
    rows_at, rows : ndarray (n_fronts + 1,), (n_rows,)
        Rows of each front: its own columns, then those below.
    factor_at : ndarray (n_fronts + 1,)
        Where the columns of the factor begin, each as long as the front has rows.
    inverse_at : ndarray (n_fronts + 1,)
        Where a square of the front's size begins.
    children_at, children : ndarray (n_fronts + 1,), (n_children,)
        Fronts that contribute to each.
    into_at, into : ndarray (n_fronts + 1,), (n_below,)
        Place of each row below within the parent's front.
    """

    first: np.ndarray
    rows_at: np.ndarray
    rows: np.ndarray
    factor_at: np.ndarray
    inverse_at: np.ndarray
    children_at: np.ndarray
    children: np.ndarray
    into_at: np.ndarray
    into: np.ndarray

    @classmethod
    def of(cls, pattern: csr_array) -> _Fronts:
        """The fronts of a symmetric pattern whose columns are in postorder."""
        parent = elimination_tree(pattern.indptr, pattern.indices)
        starts, below = column_structures(pattern.indptr, pattern.indices, parent)
        # Columns of one structure belong together. Wider fronts, with zeros stored, were slower: what a front costs
        # besides its arithmetic is shared by the samples.
        count = np.diff(starts)
        joined = (parent[:-1] == np.arange(1, len(parent))) & (count[:-1] == count[1:] + 1)
        first = np.concatenate([[0], np.flatnonzero(~joined) + 1, [len(parent)]])
        last = first[1:] - 1
        width, n_below = np.diff(first), starts[last + 1] - starts[last]
        height = width + n_below
        front_of = np.repeat(np.arange(len(width)), width)
        rows_at, into_at = _offsets(height), _offsets(n_below)
        rows, into = np.empty(rows_at[-1], np.int64), np.empty(into_at[-1], np.int64)
        above = np.where(parent[last] >= 0, front_of[parent[last]], -1)
        for s in range(len(width)):
            rows[rows_at[s] : rows_at[s] + width[s]] = np.arange(first[s], first[s + 1])
            rows[rows_at[s] + width[s] : rows_at[s + 1]] = below[starts[last[s]] : starts[last[s] + 1]]
        for s in np.flatnonzero(above >= 0):
            wanted = rows[rows_at[s] + width[s] : rows_at[s + 1]]
            there = rows[rows_at[above[s]] : rows_at[above[s] + 1]]
            into[into_at[s] : into_at[s + 1]] = np.searchsorted(there, wanted)
        order = np.argsort(above, kind="stable")
        children = order[np.searchsorted(above[order], 0) :]
        children_at = _offsets(np.bincount(above[children], minlength=len(width)))
        factor_at, inverse_at = _offsets(width * height), _offsets(height * height)
        return cls(first, rows_at, rows, factor_at, inverse_at, children_at, children, into_at, into)

    @property
    def height(self) -> np.ndarray:
        """Rows of each front."""
        return np.diff(self.rows_at)

    def waiting(self) -> int:
        """Most entries of contributions that wait to be added to their parents."""
        size, top, most = np.diff(self.into_at) ** 2, 0, 0
        for s in range(len(size)):
            top -= int(size[self.children[self.children_at[s] : self.children_at[s + 1]]].sum())
            top += int(size[s])
            most = max(most, top)
        return most


class Elimination:
    r"""Linear systems whose matrices have one pattern: A x = b for many samples.

    The order of elimination and the pattern of the factors are found once. The matrices are then factorised by fronts,
    `LANES` samples at a time, without a search for pivots: symmetric ones as L D Lᵀ, others as L D U with the pivots
    that suited the matrix which the analysis was made with. Every solution's backward error is looked at; it is refined
    where it has more than rounding, and where that is not enough the sample is solved anew with pivots of its own.

    Attributes
    ----------
    is_unsuited : bool
        Whether most samples of the last call needed pivots of their own: then another analysis is called for.

    Parameters
    ----------
    rows, columns : ndarray (n_entries,)
        The pattern; the diagonal belongs to it. Of a symmetric matrix all entries.
    size : int
        n.
    typical : ndarray (n_entries,), optional
        Entries of a matrix like those to come, for the choice of pivots; None for symmetric matrices.

    References
    ----------
    .. [1] I. S. Duff and J. K. Reid, "The multifrontal solution of indefinite sparse symmetric linear equations," ACM
       Trans. Math. Softw. 9(3), 302–325, 1983, doi:10.1145/356044.356047.
    .. [2] J. W. H. Liu, "The role of elimination trees in sparse factorization," SIAM J. Matrix Anal. Appl. 11(1),
       134–172, 1990, doi:10.1137/0611010.
    .. [3] A. M. Erisman and W. F. Tinney, "On computing certain elements of the inverse of a sparse matrix," Commun.
       ACM 18(3), 177–179, 1975, doi:10.1145/360680.360704.
    """

    def __init__(self, rows: np.ndarray, columns: np.ndarray, size: int, typical: np.ndarray | None = None):
        self.rows, self.columns, self.size, self.is_symmetric = rows, columns, size, typical is None
        self.is_unsuited = False
        row_place, column_place = self._order(typical)
        pattern = _symmetric_pattern(row_place[rows], column_place[columns], size)
        after = np.empty(size, np.int64)
        after[postorder(elimination_tree(pattern.indptr, pattern.indices))] = np.arange(size)
        self._row_place, self._column_place = after[row_place], after[column_place]
        i, j = self._row_place[rows], self._column_place[columns]
        self._fronts = _Fronts.of(_symmetric_pattern(i, j, size))
        self._set_plans(i, j)

    def _order(self, typical: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
        """Places of rows and columns in an order with little fill."""
        if typical is None:
            # Any matrix of the pattern that has all pivots on its diagonal; SuperLU's order does not depend on values.
            entries = np.where(self.rows == self.columns, float(len(self.rows) + 1), 1.0)
            options = {"SymmetricMode": True}
            factors = splu(self._matrix(entries), "MMD_AT_PLUS_A", diag_pivot_thresh=0.0, options=options)
            return factors.perm_c.astype(np.int64), factors.perm_c.astype(np.int64)
        try:
            factors = splu(self._matrix(typical), "MMD_AT_PLUS_A", diag_pivot_thresh=0.01)
        except RuntimeError:
            # A singular one has no pivots to follow; the next matrix of the pattern may have.
            self.is_unsuited = True
            return np.arange(self.size), np.arange(self.size)
        return factors.perm_r.astype(np.int64), factors.perm_c.astype(np.int64)

    def _matrix(self, values: np.ndarray) -> csc_array:
        return csc_array(coo_array((values, (self.rows, self.columns)), shape=(self.size, self.size)))

    def _set_plans(self, i: np.ndarray, j: np.ndarray) -> None:
        fronts = self._fronts
        front_of = np.repeat(np.arange(len(fronts.first) - 1), np.diff(fronts.first))
        kept = np.flatnonzero(i >= j) if self.is_symmetric else np.arange(len(i))
        front = front_of[np.minimum(i, j)[kept]]
        order = np.argsort(front, kind="stable")
        kept, front = kept[order], front[order]
        entries_at = _offsets(np.bincount(front, minlength=len(fronts.first) - 1))
        row, column = (_within(fronts, front, positions[kept]) for positions in (i, j))
        f = fronts
        tree = (f.children_at, f.children)
        self._plan = (f.first, f.rows_at, f.factor_at, *tree, entries_at, kept, row, column, f.into_at, f.into)
        self._sizes = int(f.height.max(initial=0)), f.waiting()
        self._solving = f.first, f.rows_at, f.factor_at, f.rows
        self._inverting = f.first, f.rows_at, f.factor_at, *tree, f.into_at, f.into, f.inverse_at

    @property
    def n_bytes(self) -> int:
        """Memory of the factors and of the contributions that wait, for `LANES` samples."""
        factor = int(self._fronts.factor_at[-1]) * (1 if self.is_symmetric else 2)
        return (factor + self._sizes[0] ** 2 + self._sizes[1]) * LANES * 8

    @property
    def n_operations(self) -> int:
        """Multiplications of one factorisation, about."""
        width, height = np.diff(self._fronts.first), self._fronts.height
        total = sum(float(((h - k) ** 2).sum()) for w, h in zip(width, height, strict=True) for k in [np.arange(w)])
        return int(total / 2 if self.is_symmetric else total)

    def solve(self, values: np.ndarray, right: np.ndarray, transposed: bool = False) -> np.ndarray:
        """Solutions `(n_samples, n)` of A x = right, or of Aᵀ x = right; NaN where A is singular.

        Parameters
        ----------
        values : ndarray (n_samples, n_entries)
            Entries of the matrices.
        right : ndarray (n_samples, n)
            Right-hand sides.
        transposed : bool
            Whether Aᵀ takes the place of A.
        """
        found, missed = np.empty(right.shape), 0
        if self.n_bytes > _LARGEST:
            return np.stack([self._with_pivots(*one, transposed) for one in zip(values, right, strict=True)])
        factors = self._workspace()
        for part in self._parts(len(right)):
            x, error = self._solve_lanes(_side_by_side(values[part]), _side_by_side(right[part]), factors, transposed)
            found[part] = x[:, : part.stop - part.start].T
            for sample in part.start + np.flatnonzero(~(error[: part.stop - part.start] <= _TRUSTED)):
                found[sample] = self._with_pivots(values[sample], right[sample], transposed)
                missed += 1
        self.is_unsuited = 2 * missed > len(right)
        return found

    def definite(self, values: np.ndarray) -> np.ndarray:
        """Which symmetric matrices `(n_samples, n_entries)` are positive definite, bool `(n_samples,)`."""
        found = np.zeros(len(values), dtype=bool)
        factors = self._workspace()
        for part in self._parts(len(values)):
            self._factorise(_side_by_side(values[part]), factors)
            # By Sylvester's law of inertia the signs of D are those of the eigenvalues.
            found[part] = (factors[2][:, : part.stop - part.start] > 0).all(axis=0)
        return found

    def inverse_diagonal(self, values: np.ndarray) -> np.ndarray | None:
        """Diagonal of the inverse of one symmetric matrix, `(n,)`; None where it is not positive definite."""
        lower, _, pivots = factors = self._workspace()
        self._factorise(_side_by_side(values[None]), factors)
        if not (pivots[:, 0] > 0).all():
            return None
        return inverse_diagonal(lower, pivots, self._inverting)[self._column_place]

    @staticmethod
    def _parts(n_samples: int) -> Iterator[slice]:
        """Samples that are eliminated side by side."""
        for begin in range(0, n_samples, LANES):
            yield slice(begin, min(begin + LANES, n_samples))

    def _workspace(self) -> _Factors:
        lower = vectors(self._fronts.factor_at[-1])
        return lower, lower if self.is_symmetric else vectors(len(lower)), vectors(self.size)

    def _factorise(self, values: np.ndarray, factors: _Factors) -> None:
        room = vectors(self._sizes[0] ** 2), vectors(self._sizes[1])
        factorise(values, self._plan, room, *factors, self.is_symmetric)

    def _solve_lanes(
        self,
        values: np.ndarray,
        right: np.ndarray,
        factors: _Factors,
        transposed: bool,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Solutions `(n, LANES)` and their backward errors `(LANES,)`."""
        self._factorise(values, factors)
        left = np.empty(right.shape)
        places = (self.columns, self.rows) if transposed else (self.rows, self.columns)
        with np.errstate(all="ignore"):
            x = self._substitute(factors, right, transposed)
            error = backward_errors(values, *places, x, right, left)
            if (error > _EXACT).any():
                better = x + self._substitute(factors, left, transposed)
                after = backward_errors(values, *places, better, right, left)
                improved = after < error
                x, error = np.where(improved, better, x), np.where(improved, after, error)
        return x, error

    def _substitute(self, factors: _Factors, right: np.ndarray, transposed: bool) -> np.ndarray:
        lower, upper, pivots = factors
        # With Pr and Pc the permutations, Pr A Pcᵀ = L D U; the transposed matrix changes the roles of all of them.
        into, out = (self._column_place, self._row_place) if transposed else (self._row_place, self._column_place)
        x = vectors(len(right))
        x[into] = right
        substitute(*((upper, lower) if transposed else (lower, upper)), pivots, self._solving, x)
        return x[out]

    def _with_pivots(self, values: np.ndarray, right: np.ndarray, transposed: bool) -> np.ndarray:
        try:
            return splu(self._matrix(values)).solve(right, "T" if transposed else "N")
        except RuntimeError:
            return np.full_like(right, np.nan)


def _side_by_side(samples: np.ndarray) -> np.ndarray:
    """At most `LANES` samples `(n_samples, n)` as vectors `(n, LANES)`; the last one stands for those that lack."""
    found = vectors(samples.shape[1])
    found[:, : len(samples)] = samples.T
    found[:, len(samples) :] = found[:, len(samples) - 1, None]
    return found


def _symmetric_pattern(i: np.ndarray, j: np.ndarray, size: int) -> csr_array:
    ones = np.ones(2 * len(i) + size, dtype=bool)
    places = np.concatenate([i, j, np.arange(size)]), np.concatenate([j, i, np.arange(size)])
    pattern = csr_array((ones, places), shape=(size, size))
    pattern.sum_duplicates()
    pattern.indptr, pattern.indices = pattern.indptr.astype(np.int64), pattern.indices.astype(np.int64)
    return pattern


def _within(fronts: _Fronts, front: np.ndarray, positions: np.ndarray) -> np.ndarray:
    """Place of each position among the rows of its front."""
    # Rows ascend within a front; shifted by a range for each front they ascend in all of them together.
    size = int(fronts.first[-1])
    shift = np.repeat(np.arange(len(fronts.first) - 1), fronts.height) * size
    return np.searchsorted(fronts.rows + shift, positions + front * size) - fronts.rows_at[front]


def _offsets(counts: np.ndarray) -> np.ndarray:
    return np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
