"""Whether a solved Jacobian is that of a stable equilibrium."""

from __future__ import annotations

import numpy as np
import torch
from scipy.linalg import eigvals
from scipy.sparse import csr_array
from scipy.sparse.linalg import lsqr
from torch import Tensor

from analog_ep.equilibrium.nodal.jacobian import Jacobian

_EIGENVALUE_LIMIT = 3000
"""Unknowns up to which eigenvalues are computed."""

_SMALL = 256
"""Unknowns up to which a matrix that is not definite is looked at more closely: it may be so by rounding."""

_INFINITE = 1e6
"""Eigenvalues this many times the largest entry of J belong to the border's rows, which have no dynamics."""


def stable_samples(jacobian: Jacobian, values: np.ndarray, n_voltages: int) -> tuple[np.ndarray, bool]:
    r"""Judge the equilibria whose Jacobian has these entries, `(n_samples, n_entries)`.

    With equal capacitances at the free nodes the voltages follow :math:`c\,\dot z = -F`, so that an equilibrium is
    stable if the eigenvalues λ of J have positive real parts; with border rows those of J x = λ diag(1, 0) x. Where
    diag(w) J is symmetric this says that it is positive definite. Where it is not, a positive definite
    diag(d) J + Jᵀ diag(d), for the d that makes diag(d) J nearest to symmetric, is enough (Lyapunov), and the
    eigenvalues are computed only for samples that fail it.

    Returns
    -------
    stable : ndarray (n_samples,)
        Bool; True for samples that were not judged.
    judged : bool
        False where a sample would need the eigenvalues of more than 3000 unknowns.
    """
    stable = np.ones(len(values), dtype=bool)
    if not jacobian.size or not len(values):
        return stable, True
    bordered = n_voltages < jacobian.size
    if not bordered:
        weights = nearest_weights(jacobian, values[0]) if jacobian.weights is None else jacobian.weights
        stable = _definite(jacobian, values, weights)
        if jacobian.weights is not None and _as_dense(jacobian):
            doubtful = np.flatnonzero(~stable)
            stable[doubtful] = _semidefinite(torch.from_numpy(weights)[:, None] * jacobian.dense(values[doubtful]))
        if jacobian.weights is not None:
            return stable, True
    else:
        stable[:] = False
    if jacobian.size > _EIGENVALUE_LIMIT:
        return np.ones(len(values), dtype=bool), bool(stable.all())
    for sample in np.flatnonzero(~stable):
        matrix = jacobian.dense(values[sample : sample + 1])[0].numpy()
        stable[sample] = _pencil_is_stable(matrix, n_voltages)
    return stable, True


def nearest_weights(jacobian: Jacobian, values: np.ndarray) -> np.ndarray:
    """Positive d with d_i J_ij ≈ d_j J_ji: the least-squares solution of ln d_j − ln d_i = ln(J_ij / J_ji)."""
    matrix = csr_array(jacobian.sparse(values))
    upper = csr_array(matrix * csr_array(matrix.T))  # J_ij J_ji, elementwise
    places = upper.tocoo()
    pairs = (places.row < places.col) & (places.data > 0)
    first, second = places.row[pairs], places.col[pairs]
    if not len(first):
        return np.ones(jacobian.size)
    ratio = np.log(np.asarray(matrix[first, second] / matrix[second, first]).ravel())
    row = np.arange(len(first))
    entries = (
        np.concatenate([-np.ones(len(row)), np.ones(len(row))]),
        (np.tile(row, 2), np.concatenate([first, second])),
    )
    return np.exp(lsqr(csr_array(entries, shape=(len(row), jacobian.size)), ratio, atol=1e-9, btol=1e-9)[0])


def _definite(jacobian: Jacobian, values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Whether the symmetric part of diag(weights) J is positive definite, sample by sample."""
    if _as_dense(jacobian):
        weighted = torch.from_numpy(weights)[:, None] * jacobian.dense(values)
        return (torch.linalg.cholesky_ex(weighted + weighted.mT)[1] == 0).numpy()
    return jacobian.definite(values, weights)


def _as_dense(jacobian: Jacobian) -> bool:
    return jacobian.is_dense or jacobian.size <= _SMALL


def _semidefinite(matrices: Tensor) -> np.ndarray:
    """Positive definite but for rounding, after scaling to a unit diagonal; not where an exponential overflowed."""
    diagonal = matrices.diagonal(dim1=-2, dim2=-1)
    scale = diagonal.clamp(min=torch.finfo(torch.float64).tiny).rsqrt()
    scaled = scale[..., :, None] * matrices * scale[..., None, :]
    known = torch.isfinite(scaled).all(-1).all(-1)
    lowest = torch.full(known.shape, -torch.inf, dtype=matrices.dtype)
    lowest[known] = torch.linalg.eigvalsh(scaled[known])[..., 0]
    return ((diagonal > 0).all(-1) & (lowest > -1e-14 * matrices.shape[-1])).numpy()


def _pencil_is_stable(matrix: np.ndarray, n_voltages: int) -> bool:
    """Whether the finite λ of J x = λ diag(1, 0) x have positive real parts."""
    size = len(matrix)
    if not np.isfinite(matrix).all():
        return False
    magnitude = np.abs(matrix[:n_voltages, :n_voltages]).max(initial=0.0)
    capacitance = np.diag((np.arange(size) < n_voltages) * magnitude)
    # By QZ without its vectors, which would take five times as long.
    numerator, denominator = np.asarray(eigvals(matrix, capacitance, homogeneous_eigvals=True))
    finite = np.abs(denominator) * _INFINITE > np.abs(numerator)
    tolerance = 1e-14 * size * np.abs(denominator) ** 2
    return bool((np.real(numerator * np.conj(denominator)) > -tolerance)[finite].all())
