"""Fisher's scoring, and derivatives of functions of few numbers by finite differences."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

_SCORINGS, _DAMPINGS = 60, 12
_FARTHEST = 2.0
"""Change of a coordinate in a step."""

_LITTLE, _IDLE = 3e-4, 2
"""Of ln likelihood: steps that win less are idle, and so many in a row end a search."""


def most_likely(
    surprise: Callable[[np.ndarray], float], innovations: Callable[[np.ndarray], np.ndarray], x: np.ndarray
) -> np.ndarray:
    """Where independent normal variables are most likely, by Fisher's scoring with Levenberg's damping.

    The information of variables of deviation s and values z in units of it is Σ dν dν + 2 d(ln s) d(ln s), where
    dν = dz + z d(ln s): the derivatives of a step cost two values a coordinate.

    Parameters
    ----------
    surprise : callable
        −ln likelihood, up to a constant Σ ln s + ½ Σ z²; infinite where there is none.
    innovations : callable
        ln s and z, `(2, n)`.
    x : ndarray (n_coordinates,)
        Where to begin.

    Returns
    -------
    ndarray (n_coordinates,)
    """
    value, damping, idle = surprise(x), 1e-3, 0
    for _ in range(_SCORINGS):
        try:
            _, z = innovations(x)
            logs, changes = derivatives(innovations, x)
        except np.linalg.LinAlgError:
            return x
        changes = changes + z[:, None] * logs
        # d(Σ ln s + ½ Σ z²) with dz = dν − z d(ln s)
        gradient = (1 - z**2) @ logs + z @ changes
        information = changes.T @ changes + 2 * logs.T @ logs
        scale = np.diag(information).max() * 1e-14 + np.diag(information)
        if not (np.isfinite(gradient).all() and np.isfinite(information).all() and scale.all()):
            return x
        for _ in range(_DAMPINGS):
            step = _limited(information + damping * np.diag(scale), gradient)
            better = surprise(x + step)
            if better < value:
                break
            damping *= 8
        else:
            return x
        # Towards an optimum at infinity the likelihood rises on and on, by less and less.
        idle = idle + 1 if value - better < _LITTLE else 0
        x, value, damping = x + step, better, max(damping / 8, 1e-9)
        if idle == _IDLE:
            return x
    return x


def _limited(information: np.ndarray, gradient: np.ndarray) -> np.ndarray:
    """Step towards the optimum, no coordinate farther than it may change."""
    step = -np.linalg.solve(information, gradient)
    far = np.abs(step) > _FARTHEST
    step = step.clip(-_FARTHEST, _FARTHEST)
    # What the data hardly see would go far, and must not hold up the others: they go where they are best beside it.
    if far.any() and not far.all():
        left = gradient[~far] + information[np.ix_(~far, far)] @ step[far]
        step[~far] = np.linalg.solve(information[np.ix_(~far, ~far)], -left).clip(-_FARTHEST, _FARTHEST)
    return step


# Beyond an edge the function may be infinite: what that leaves is not a number, and the caller's to judge.
@np.errstate(invalid="ignore")
def derivatives(
    function: Callable[[np.ndarray], float] | Callable[[np.ndarray], np.ndarray], x: np.ndarray, step: float = 1e-5
) -> np.ndarray:
    """By central differences: `(n_coordinates,)` of a number, `(n, n_coordinates)` of a function `(n,)`."""
    points = step * np.diag(np.maximum(np.abs(x), 0.1))
    return np.stack([(function(x + p) - function(x - p)) / (2 * p.max()) for p in points], axis=-1)


@np.errstate(invalid="ignore")
def curvature(function: Callable[[np.ndarray], float], x: np.ndarray, step: float) -> tuple[np.ndarray, np.ndarray]:
    """Gradient by central differences, and the matrix of second differences."""
    n, h = len(x), step * np.maximum(np.abs(x), 0.1)
    points, middle = h * np.eye(n), function(x)
    ahead, behind = (np.array([function(x + sign * p) for p in points]) for sign in (1, -1))
    hessian = np.diag((ahead - 2 * middle + behind) / h**2)
    for i in range(n):
        for j in range(i):
            both = function(x + points[i] + points[j])
            back = function(x - points[i] - points[j])
            mixed = (both + back - ahead[i] - behind[i] - ahead[j] - behind[j] + 2 * middle) / (2 * h[i] * h[j])
            hessian[i, j] = hessian[j, i] = mixed
    return (ahead - behind) / (2 * h), hessian


def inverse(hessian: np.ndarray) -> np.ndarray:
    """Covariance; directions without positive curvature leave their parameters untold.

    So do parameters at an edge beyond which there is no likelihood, whose second differences are not finite, and those
    that change nothing: their own is 0, and mixed ones are roundings.
    """
    inner = _finite(hessian) & (np.diag(hessian) != 0)
    if not inner.all():
        covariance = np.diag(np.full(len(hessian), np.inf))
        if inner.any():
            covariance[np.ix_(inner, inner)] = inverse(hessian[np.ix_(inner, inner)])
        return covariance
    scale = np.sqrt(np.abs(np.diag(hessian)))
    eigenvalues, vectors = np.linalg.eigh(hessian / np.outer(scale, scale))
    seen = eigenvalues > 1e-8 * max(eigenvalues.max(), 1e-300)
    covariance = (vectors[:, seen] / eigenvalues[seen]) @ vectors[:, seen].T / np.outer(scale, scale)
    lost = (vectors[:, ~seen] ** 2).sum(1) > 1e-3
    covariance[lost, :], covariance[:, lost] = 0.0, 0.0
    covariance[lost, lost] = np.inf
    return covariance


def _finite(hessian: np.ndarray) -> np.ndarray:
    """Parameters that are left when those with the most numbers that are not finite go, one after the other."""
    left = np.ones(len(hessian), dtype=bool)
    while left.any():
        wrong = np.where(left, (~np.isfinite(hessian[:, left])).sum(axis=1), 0)
        if not wrong.any():
            break
        left[wrong.argmax()] = False
    return left
