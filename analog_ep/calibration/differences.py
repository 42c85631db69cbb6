"""Newton's method and derivatives of functions of few numbers, by finite differences."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

_NEWTON_STEPS = 25


def minimum(function: Callable[[np.ndarray], float], x: np.ndarray) -> np.ndarray:
    """Minimum by Newton on finite differences, with eigenvalues made positive and steps that go down only."""
    value = function(x)
    for _ in range(_NEWTON_STEPS):
        gradient, hessian = curvature(function, x, 1e-4)
        if not np.isfinite(hessian).all():
            return x
        eigenvalues, vectors = np.linalg.eigh(hessian)
        eigenvalues = np.maximum(np.abs(eigenvalues), 1e-6 * np.abs(eigenvalues).max() + 1e-9)
        step = -vectors @ ((vectors.T @ gradient) / eigenvalues)
        step *= min(1.0, 2.0 / max(np.abs(step).max(), 1e-300))
        # What is left to win, in units of ln likelihood.
        if -gradient @ step < 1e-5:
            return x
        for _ in range(30):
            better = function(x + step)
            if better < value:
                break
            step = step / 3
        else:
            return x
        x, value = x + step, better
    return x


def derivatives(
    function: Callable[[np.ndarray], float] | Callable[[np.ndarray], np.ndarray], x: np.ndarray, step: float = 1e-5
) -> np.ndarray:
    """By central differences: `(n_coordinates,)` of a number, `(n, n_coordinates)` of a function `(n,)`."""
    points = step * np.diag(np.maximum(np.abs(x), 0.1))
    return np.stack([(function(x + p) - function(x - p)) / (2 * p.max()) for p in points], axis=-1)


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
    """Covariance; directions without positive curvature leave their parameters untold."""
    scale = np.sqrt(np.maximum(np.abs(np.diag(hessian)), 1e-300))
    eigenvalues, vectors = np.linalg.eigh(hessian / np.outer(scale, scale))
    seen = eigenvalues > 1e-8 * max(eigenvalues.max(), 1e-300)
    covariance = (vectors[:, seen] / eigenvalues[seen]) @ vectors[:, seen].T / np.outer(scale, scale)
    lost = (vectors[:, ~seen] ** 2).sum(1) > 1e-3
    covariance[lost, :], covariance[:, lost] = 0.0, 0.0
    covariance[lost, lost] = np.inf
    return covariance
