"""What float64 may have changed of the currents of diodes and nudges."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from analog_ep.equilibrium.nodal.reduction import NonlinearGroup
from analog_ep.stimulus import Nudge

EPSILON = float(np.finfo(np.float64).eps)
"""Distance of 1 from the next number."""

_LIKELY = 8.0
"""Standard deviations of a sum of roundings that are allowed for: Higham and Mary, "A new approach to probabilistic
rounding error analysis," SIAM J. Sci. Comput. 41, A2815–A2835, 2019, doi:10.1137/18M1226312."""

_OPERATIONS = 4
"""Roundings of a characteristic, each of half an `EPSILON`, with as much to spare for the exponential itself."""


def sum_uncertainty(terms: np.ndarray | int) -> np.ndarray:
    """Most that a sum of so many products is off, relative to the sum of their magnitudes, as good as surely."""
    return _LIKELY * EPSILON * np.sqrt(np.asarray(terms) + 8.0)


def current_uncertainty(
    groups: Sequence[NonlinearGroup], volts: np.ndarray, current: np.ndarray, slopes: np.ndarray, size: np.ndarray
) -> np.ndarray:
    """Most that the computed currents of nonlinear branches `(*batch, n_nonlinear)` are off. [A]

    Parameters
    ----------
    groups : sequence of NonlinearGroup
        The branches.
    volts, slopes : ndarray (*batch, n_controls)
        Voltages that control them, and the slopes by these. [V], [S]
    current : ndarray (*batch, n_nonlinear)
        Their currents. [A]
    size : ndarray (*batch, n_controls)
        Magnitude of the voltages that `volts` are the differences of. [V]
    """
    doubt, argument = np.abs(current), np.abs(slopes) * (np.abs(volts) + size)
    for group in groups:
        doubt[..., group.branches] *= group.law.condition()
        for place in group.controls:
            doubt[..., group.branches] += argument[..., place]
    return _OPERATIONS * EPSILON * doubt


def nudge_uncertainty(nudge: Nudge, current: np.ndarray, size: np.ndarray) -> np.ndarray:
    """Most that the nudge's computed currents `(n_samples, n_outputs)` are off. [A]

    Parameters
    ----------
    nudge : Nudge
        With targets `(n_samples, n_outputs)`.
    current : ndarray (n_samples, n_outputs)
        Its currents. [A]
    size : ndarray (n_samples, n_outputs)
        Magnitude of the voltages whose differences the outputs are. [V]
    """
    bound = nudge.cost.curvature_bound
    # A gradient is the difference of the target and of something of its size and its own.
    terms = bound * size + 2 * np.sqrt(2 * bound) * torch.as_tensor(nudge.target).abs().numpy()
    return _OPERATIONS * EPSILON * (2 * np.abs(current) + abs(nudge.strength) * terms)
