"""The Jacobian of the reduced equations: where it has entries, and its linear solves."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from scipy.sparse import csc_array, csr_array
from scipy.sparse.linalg import SuperLU, splu
from torch import Tensor

from analog_ep.equilibrium.nodal.assembly import apply
from analog_ep.equilibrium.nodal.elimination import Elimination, elimination_of
from analog_ep.equilibrium.nodal.ends import BRANCH_CHUNK
from analog_ep.equilibrium.nodal.reduction import ReducedSystem

_MATRIX_CHUNK = 2**23
"""Entries of dense Jacobians held at a time: 64 MiB, and as much again for their factors."""

_SMALL = 96
"""Unknowns up to which dense factorisations are used whatever the pattern."""

_DENSE_LIMIT = 6000
_DENSE_FILL = 0.05

_FRONTS_SLOWER = 8
"""Multiplications that dense factors make in the time of one by fronts."""

_LAYERED_FILL = (8 / (6 * _FRONTS_SLOWER)) ** 0.5
"""Part of the entries up to which an elimination by fronts may pay: without any fill, f n²/2 entries of a triangle take
at least f² n³/8 multiplications, where dense factors take n³/6. To find an order takes longer than to solve."""


class Jacobian:
    """J = M + Σ g (law column) ⊗ (voltage row), the sum over the controls of the nonlinear branches, g their slopes.

    The law column is that of the branch, the voltage row that of the control. An elastic nudge adds all pairs of
    outputs, with the elements of β ∂²C/∂o² for slopes. J is kept as the entries of one pattern for all samples.

    Parameters
    ----------
    system : ReducedSystem
        What it is the derivative of.
    elastic : bool
        Whether there are elastic nudges.
    symmetric : bool
        Whether diag(weights) J is symmetric, to be factorised as such.

    Attributes
    ----------
    rows, columns : ndarray (n_entries,)
        Places of the entries, in the order of compressed columns.
    n_slopes : int
        Number of nonlinear branches.
    is_dense : bool
        Whether it is factorised as a dense matrix: where it is small, or more than a twentieth full and without an
        order that keeps most of the work away, as layers have it.
    """

    def __init__(self, system: ReducedSystem, elastic: bool = False, symmetric: bool = False):
        self.size = system.n_unknowns
        self.weights = system.weights if symmetric else None
        couplings = [_coupling(csc_array(system.nonlinear.law)[:, system.controlled], system.controls.voltage)]
        if elastic:
            n_outputs = len(system.outputs.voltage.indptr) - 1
            first, second = np.divmod(np.arange(n_outputs**2), n_outputs)
            couplings.append(_coupling(csc_array(system.outputs.law)[:, first], system.outputs.voltage[second]))
        self._set_pattern(system.matrix, couplings)
        filled = len(self.rows) / max(self.size, 1) ** 2
        dense = (
            filled > _DENSE_FILL and self.size <= _DENSE_LIMIT and not (filled <= _LAYERED_FILL and self._has_layers())
        )
        self.is_dense = self.size <= _SMALL or dense

    def _set_pattern(self, matrix: csr_array, couplings: list[_Coupling]) -> None:
        base, diagonal = matrix.tocoo(), np.arange(self.size)
        # Entry (r, c) has the number c n + r, whose order is that of compressed columns; `position` leads from each
        # contribution to its entry, so that values = base + slopes @ position-matrix for any slopes.
        # The diagonal is always stored, so that a symmetric factorisation finds its pivots there.
        places = [base.col * self.size + base.row, diagonal * (self.size + 1)]
        places += [coupling.columns * self.size + coupling.rows for coupling in couplings]
        unique, position = np.unique(np.concatenate(places).astype(np.int64), return_inverse=True)
        self.columns, self.rows = np.divmod(unique, max(self.size, 1))
        self._base = np.bincount(position[: base.nnz], base.data, minlength=len(unique))
        first = np.cumsum([0, *(coupling.n_branches for coupling in couplings)])
        self.n_slopes = int(first[-1])
        branch = np.concatenate([start + coupling.branches for start, coupling in zip(first, couplings, strict=False)])
        value = np.concatenate([coupling.values for coupling in couplings])
        self._slopes = csr_array((value, (position[base.nnz + self.size :], branch)), shape=(len(unique), first[-1]))

    def _has_layers(self) -> bool:
        """Whether an elimination by fronts pays although the matrix is not sparse.

        So it is of a wide layer between narrow ones: its nodes are not joined to each other, and eliminated one by one.
        """
        by_fronts = elimination_of(self.rows, self.columns, self.size).n_operations
        return _FRONTS_SLOWER * by_fronts < self.size**3 / 6

    @property
    def chunk(self) -> int:
        """Samples to solve at a time: so many that their matrices, and the values of their branches, are not large."""
        entries = max(1, len(self.rows), self.size**2 if self.is_dense else 0)
        return max(1, min(_MATRIX_CHUNK // entries, BRANCH_CHUNK // max(1, self.n_slopes)))

    def values(self, slopes: np.ndarray) -> np.ndarray:
        """Entries `(n_samples, n_entries)` for slopes `(n_samples, n_slopes)`, as `State.slopes` gives them."""
        # An entry's samples stand side by side, as the elimination takes them.
        found = self._slopes @ slopes.T
        found += self._base[:, None]
        return found.T

    def row_norms(self, values: np.ndarray) -> np.ndarray:
        """Sum of the magnitudes in each row, `(n_samples, n_unknowns)`."""
        place = (self.rows, np.arange(len(self.rows)))
        gather = csr_array((np.ones(len(self.rows)), place), shape=(self.size, len(self.rows)))
        return apply(gather, np.abs(values))

    def dense(self, values: np.ndarray) -> Tensor:
        """The matrices `(n_samples, n_unknowns, n_unknowns)`, not weighted."""
        matrices = np.zeros((len(values), self.size * self.size))
        matrices[:, self.rows * self.size + self.columns] = values
        return torch.from_numpy(matrices.reshape(len(values), self.size, self.size))

    def sparse(self, values: np.ndarray) -> csc_array:
        """The matrix of one sample, from its entries `(n_entries,)`."""
        pointers = np.searchsorted(self.columns, np.arange(self.size + 1))
        return csc_array((np.ascontiguousarray(values), self.rows, pointers), shape=(self.size, self.size))

    def solve(self, values: np.ndarray, right: np.ndarray, transposed: bool = False) -> np.ndarray:
        """Solutions `(n_samples, n_unknowns)` of J x = right, or of Jᵀ x = right; NaN where J is singular."""
        if not self.is_dense:
            return self._solve_sparse(values, right, transposed)
        matrices, column = self.dense(values), torch.from_numpy(right)[..., None]
        if self.weights is None:
            return _solve_general(matrices.mT if transposed else matrices, column)[..., 0].numpy()
        weights = torch.from_numpy(self.weights)[:, None]
        # S = diag(w) J is symmetric: J⁻¹ = S⁻¹ diag(w) and J⁻ᵀ = diag(w) S⁻¹.
        symmetric = weights * matrices
        column = column if transposed else weights * column
        factors, failed = torch.linalg.cholesky_ex(symmetric)
        solution = torch.cholesky_solve(column, factors)
        bad = failed > 0
        if bool(bad.any()):
            solution[bad] = _solve_general(symmetric[bad], column[bad])
        return (weights * solution if transposed else solution)[..., 0].numpy()

    def factorised(self, values: np.ndarray) -> Callable[[np.ndarray, bool], np.ndarray]:
        """Solutions of J x = right, or, where the second argument is set, of Jᵀ x = right, for one sample's entries."""
        if self.is_dense:
            factors, pivots, _ = torch.linalg.lu_factor_ex(self.dense(values[None])[0])
            return lambda right, transposed: torch.linalg.lu_solve(
                factors, pivots, torch.from_numpy(right)[:, None], adjoint=transposed
            )[:, 0].numpy()
        sparse = _factorise(self.sparse(values))
        if sparse is None:
            return lambda right, transposed: np.full_like(right, np.nan)
        return lambda right, transposed: sparse.solve(right, "T" if transposed else "N")

    def definite(self, values: np.ndarray, weights: np.ndarray) -> np.ndarray:
        """Where the symmetric part of diag(weights) J is positive definite, `(n_samples,)`, by sparse factors."""
        n_entries = len(self.rows)
        place = np.concatenate([self.columns * self.size + self.rows, self.rows * self.size + self.columns])
        unique, position = np.unique(place, return_inverse=True)
        columns, rows = np.divmod(unique, self.size)
        both = csr_array((np.ones(2 * n_entries), (position, np.tile(np.arange(n_entries), 2))))
        return elimination_of(rows, columns, self.size).definite(apply(both, weights[self.rows] * values))

    def _solve_sparse(self, values: np.ndarray, right: np.ndarray, transposed: bool) -> np.ndarray:
        if not len(right):
            return right
        if self.weights is None:
            return self._elimination(values[0]).solve(values, right, transposed)
        weighted, right = self.weights[self.rows] * values, right if transposed else self.weights * right
        found = self._elimination(weighted[0]).solve(weighted, right)
        return self.weights * found if transposed else found

    def _elimination(self, typical: np.ndarray) -> Elimination:
        return elimination_of(self.rows, self.columns, self.size, None if self.weights is not None else typical)


def jacobian_of(system: ReducedSystem, elastic: bool = False, symmetric: bool = False) -> Jacobian:
    """`Jacobian` with these arguments, formed once for each system and for what it shares with others."""
    key = elastic, symmetric
    if key not in system.patterns:
        system.patterns[key] = Jacobian(system, elastic, symmetric)
    return system.patterns[key]


class _Coupling(NamedTuple):
    """Products of the law column and the voltage row of each branch, as triples."""

    rows: np.ndarray
    columns: np.ndarray
    branches: np.ndarray
    values: np.ndarray
    n_branches: int


def _coupling(law: csr_array, voltage: csr_array) -> _Coupling:
    # Branch b couples each of its n_l law entries with each of its n_r voltage entries: n_l n_r triples. `left` numbers
    # the law entries, each repeated n_r times; `within` counts 0…n_r − 1 along every repetition: the running number
    # less the one at which the repetition began. The voltage entries of branch b begin at indptr[b].
    by_branch = csc_array(law)
    n_left, n_right = np.diff(by_branch.indptr), np.diff(voltage.indptr)
    branch = np.repeat(np.arange(len(n_left)), n_left)
    repeats = n_right[branch]
    left = np.repeat(np.arange(len(branch)), repeats)
    within = np.arange(len(left)) - np.repeat(np.cumsum(repeats) - repeats, repeats)
    right = voltage.indptr[branch[left]] + within
    value = by_branch.data[left] * voltage.data[right]
    rows, columns = by_branch.indices[left].astype(np.int64), voltage.indices[right].astype(np.int64)
    return _Coupling(rows, columns, branch[left], value, len(n_left))


def _solve_general(matrices: Tensor, columns: Tensor) -> Tensor:
    solution, failed = torch.linalg.solve_ex(matrices, columns)
    solution[failed > 0] = torch.nan
    return solution


def _factorise(matrix: csc_array) -> SuperLU | None:
    try:
        return splu(matrix)
    except RuntimeError:
        return None
