"""How far to go along Newton's direction, sample by sample."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

Evaluate = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""Residual `(n_chosen, n_unknowns)` of the chosen samples after steps of the given lengths: f(samples, lengths)."""

_OVERSHOOT = 0.1
"""Slope, relative to the first one, at which a convex energy still counts as descended."""

_MAX_TRIALS = 30
_DECREASE = 1e-4


def search_convex(evaluate: Evaluate, gradient: np.ndarray, direction: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Step lengths `(n_samples,)` in (0, 1] to near the lowest energy along `direction`.

    The slope of the energy along the direction is Σ w F d. It grows along a line, since the energy is convex: a step at
    whose end it is not positive lowers the energy, and a longer one is cut to where the slope changes its sign. No
    energies are subtracted, so that the search is exact down to rounding.

    Parameters
    ----------
    evaluate : callable
        Residual F after steps.
    gradient : ndarray (n_samples, n_unknowns)
        F where the step begins. [A]
    direction : ndarray (n_samples, n_unknowns)
        Newton's step. [V]
    weights : ndarray (n_unknowns,)
        Energy weights of the rows.
    """
    # With E′(t) = Σ w F(x + t d) d, E′(0) < 0 and E′ rising, [low, high] always holds the zero of E′: a trial with
    # E′ ≤ 0 becomes low, one with E′ > 0 high. The next one is the zero of the secant, which divides the interval as
    # E′_low/(E′_low − E′_high), kept off the ends by a tenth, since an exponential bends it towards one of them.
    weighted = weights * direction
    first = (weighted * gradient).sum(1)
    length, low, high = np.ones(len(first)), np.zeros(len(first)), np.ones(len(first))
    slope_low, slope_high = first.copy(), np.full(len(first), np.inf)
    open_ = np.arange(len(first))
    for _ in range(_MAX_TRIALS):
        slope = (weighted[open_] * evaluate(open_, length[open_])).sum(1)
        beyond = slope > 0
        high[open_[beyond]], slope_high[open_[beyond]] = length[open_[beyond]], slope[beyond]
        low[open_[~beyond]], slope_low[open_[~beyond]] = length[open_[~beyond]], slope[~beyond]
        # A full step that still descends is Newton's own; a cut one should get somewhere near the bottom.
        settled = (slope <= _OVERSHOOT * np.abs(first[open_])) & ((length[open_] == 1) | (slope >= 0.5 * first[open_]))
        open_ = open_[~settled]
        if not len(open_):
            break
        secant = slope_low[open_] / (slope_low[open_] - slope_high[open_])
        length[open_] = low[open_] + (high[open_] - low[open_]) * np.clip(secant, 0.1, 0.9)
    return length


def search_residual(evaluate: Evaluate, residual: np.ndarray, norms: np.ndarray) -> np.ndarray:
    """Step lengths `(n_samples,)` in (0, 1] that lower the residual, by halving; the best one tried where none does.

    Parameters
    ----------
    evaluate : callable
        Residual F after steps.
    residual : ndarray (n_samples, n_unknowns)
        F where the step begins.
    norms : ndarray (n_samples, n_unknowns)
        Size of each row of the Jacobian there, to compare the rows by.
    """
    # Armijo's rule for |F|: for small t it falls as (1 − t)|F| along Newton's direction, of which 1e-4 t is asked. Rows
    # of F differ by decades as their conductances do; over the sums of the Jacobian's rows all are voltages.
    first = np.linalg.norm(residual / norms, axis=1)
    length, best, best_norm = np.ones(len(first)), np.ones(len(first)), np.full(len(first), np.inf)
    open_ = np.arange(len(first))
    for _ in range(_MAX_TRIALS):
        norm = np.linalg.norm(evaluate(open_, length[open_]) / norms[open_], axis=1)
        better = norm < best_norm[open_]
        best[open_[better]], best_norm[open_[better]] = length[open_[better]], norm[better]
        open_ = open_[~(norm <= (1 - _DECREASE * length[open_]) * first[open_])]
        length[open_] *= 0.5
        if not len(open_):
            break
    return best
