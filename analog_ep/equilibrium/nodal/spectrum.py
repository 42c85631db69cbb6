"""Whether a solved Jacobian is that of a stable equilibrium."""

from __future__ import annotations

from contextlib import suppress

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

_AT_ONCE = 1e-3
"""Time constant of a voltage that follows at once, over the shortest one of the circuit."""

_INFINITE = 1e6
"""Eigenvalues this many times the largest entry of J belong to the border's rows, which have no dynamics."""


def stable_samples(
    jacobian: Jacobian, values: np.ndarray, n_voltages: int, inertia: csr_array | None = None
) -> tuple[np.ndarray, bool]:
    r"""Judge the equilibria whose Jacobian has these entries, `(n_samples, n_entries)`.

    The unknowns follow :math:`K \dot x = -F`, so that an equilibrium is stable if the finite eigenvalues λ of
    J x = λ K x have positive real parts. K is the circuit's `inertia`, and at every node a capacitance to ground so
    small that what has no other follows at once. A circuit without capacitors and inductors has equal ones; where some
    nodes have none, of which hardware has some, unstable is what is so with equal ones as well. Where
    diag(w) J is symmetric, J has to be positive definite. Where it is not, a positive definite
    diag(d) J + Jᵀ diag(d), for the d that makes diag(d) J nearest to symmetric, is enough for capacitances to ground
    (Lyapunov), and the eigenvalues are computed only for samples that fail it, or where K is not diagonal.

    Parameters
    ----------
    jacobian : Jacobian
        Of the circuit.
    values : ndarray (n_samples, n_entries)
        Its entries.
    n_voltages : int
        Unknowns that are voltages, before those that are currents.
    inertia : csr_array (n_unknowns, n_unknowns), optional
        See `ReducedSystem`.

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
        if jacobian.weights is not None or _is_diagonal(inertia):
            stable = _definite(jacobian, values, weights)
        else:
            stable[:] = False
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
        stable[sample] = _is_stable(matrix, n_voltages, inertia)
    return stable, True


def nearest_weights(jacobian: Jacobian, values: np.ndarray) -> np.ndarray:
    """Positive d with d_i J_ij ≈ d_j J_ji: the least-squares solution of ln d_j − ln d_i = ln(J_ij / J_ji)."""
    matrix = csr_array(jacobian.sparse(values))
    upper = csr_array(matrix * csr_array(matrix.T))  # J_ij J_ji, elementwise
    places = upper.tocoo()
    pairs = (places.row < places.col) & (places.data > 0)
    first, second = places.row[pairs], places.col[pairs]
    with np.errstate(all="ignore"):
        quotient = np.asarray(matrix[first, second] / matrix[second, first]).ravel()
    # What is beyond the range of numbers asks for nothing: without weights that fit, eigenvalues decide.
    known = (quotient > 0) & np.isfinite(quotient)
    first, second, ratio = first[known], second[known], np.log(quotient[known])
    if not len(first):
        return np.ones(jacobian.size)
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


def _is_diagonal(inertia: csr_array | None) -> bool:
    if inertia is None:
        return True
    places = inertia.tocoo()
    return bool((places.row == places.col)[places.data != 0].all())


def _is_stable(matrix: np.ndarray, n_voltages: int, inertia: csr_array | None) -> bool:
    """Whether the finite λ of J x = λ K x have positive real parts; K as `stable_samples` has it."""
    if not np.isfinite(matrix).all():
        return False
    equal = np.diag((np.arange(len(matrix)) < n_voltages) * np.abs(matrix[:n_voltages, :n_voltages]).max(initial=0.0))
    if inertia is None or not inertia.count_nonzero():
        return _pencil_is_stable(matrix, equal, n_voltages)
    if _pencil_is_stable(*_pencil(matrix, n_voltages, inertia), n_voltages):
        return True
    at_all = bool((np.asarray(abs(inertia).sum(axis=1))[:n_voltages] > 0).all())
    return not at_all and _pencil_is_stable(matrix, equal, n_voltages)


def _pencil_is_stable(matrix: np.ndarray, capacitance: np.ndarray, n_voltages: int) -> bool:
    """Whether the finite λ of J x = λ K x, the fastest of which are about 1, have positive real parts."""
    size = len(matrix)
    if n_voltages == size:
        # Ten times as fast as QZ, and balanced.
        with suppress(np.linalg.LinAlgError):
            rates = np.asarray(eigvals(np.linalg.solve(capacitance, matrix)))
            return bool((np.real(rates) > -1e-14 * size).all())
    # By QZ without its vectors, which would take five times as long.
    numerator, denominator = np.asarray(eigvals(matrix, capacitance, homogeneous_eigvals=True))
    finite = np.abs(denominator) * _INFINITE > np.abs(numerator)
    tolerance = 1e-14 * size * np.abs(denominator) ** 2
    return bool((np.real(numerator * np.conj(denominator)) > -tolerance)[finite].all())


def _pencil(matrix: np.ndarray, n_voltages: int, inertia: csr_array) -> tuple[np.ndarray, np.ndarray]:
    """J and K in units in which the fastest finite eigenvalues are about 1."""
    voltages = np.arange(len(matrix)) < n_voltages
    # Each row in units of its own largest entry, which leaves the eigenvalues as they are.
    norms = np.abs(matrix).max(axis=1)
    norms[norms == 0] = 1.0
    matrix, stored = matrix / norms[:, None], inertia.toarray() / norms[:, None]
    times = np.abs(stored).max(axis=1)
    fastest = times[times > 0].min() * _AT_ONCE
    # To all voltages, since capacitors may join nodes that nothing else holds back.
    stored[np.diag_indices_from(stored)] += fastest * voltages
    return matrix, stored / fastest
