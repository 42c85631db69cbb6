"""What float64 may have changed of the currents of diodes and nudges."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from analog_ep.circuit import CurrentLaw, Diodes
from analog_ep.devices import PiecewiseLinearDiode, ShockleyDiode
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
        doubt[..., group.branches] *= _condition(group.law)
        for place in group.controls:
            doubt[..., group.branches] += argument[..., place]
    return _OPERATIONS * EPSILON * doubt


def steepness(group: Diodes) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Emission voltages [V] and slopes [S] with which no diode is steeper than |current|/emission + slope; conditions.

    The last are those of `current_uncertainty`.
    """
    device = group.device
    if isinstance(device, ShockleyDiode):
        emission = np.broadcast_to(np.asarray(device.emission_voltage), len(group))
        saturation = np.broadcast_to(np.asarray(device.effective_saturation_current), len(group))
        return emission, saturation / emission + np.asarray(device.gmin), _condition(group)
    assert isinstance(device, PiecewiseLinearDiode)
    steepest = np.asarray(device.leakage) + sum(max(increment, 0.0) for increment in device.increments)
    return np.full(len(group), np.inf), np.broadcast_to(steepest, len(group)), np.ones(len(group))


def _condition(group: CurrentLaw) -> np.ndarray:
    """Error of the saturation current, which follows the temperature by an exponential, over that of four roundings.

    The exponent (T/T_ref − 1) EG/(n V_t) has some three roundings of its own and carries that of T/T_ref; so does the
    power of T/T_ref. None are made at the reference temperature.
    """
    device = group.device if isinstance(group, Diodes) else None
    if not isinstance(device, ShockleyDiode):
        return np.ones(len(group))
    names = ("temperature", "ideality", "nominal_temperature", "energy_gap", "saturation_exponent", "emission_voltage")
    temperature, ideality, nominal, gap, exponent, emission = (np.asarray(getattr(device, name)) for name in names)
    ratio, power = temperature / nominal, np.abs(exponent / ideality)
    exponential = 0.5 * np.abs((ratio - 1) * gap / emission) + 0.15 * np.abs(ratio * gap / emission)
    condition = exponential + 0.25 * power * (1 + np.abs(np.log(ratio)))
    return 1 + np.broadcast_to(np.where(temperature == nominal, 0.0, condition), len(group))


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
