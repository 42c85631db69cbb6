"""Whether a current law agrees with itself: its slopes, and its co-content, against differences of its currents."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from weakref import WeakSet

import numpy as np

from analog_ep.circuit.laws import CurrentLaw
from analog_ep.errors import CircuitError

_SPANS = (0.05, 0.4, 1.5)
"""Voltages about 0 at which a law is tried; those of exponentials up to `_HIGHEST` growth voltages only. [V]"""

_HIGHEST = 15.0
_STEP = 1e-5
_RTOL = 1e-3
_ROUNDING = 1e-13

_AGREED: WeakSet[type] = WeakSet()
"""Kinds that were looked at: a law is its class's, whatever the values of its elements."""


def check_law(group: CurrentLaw) -> None:
    """Raise `CircuitError` where a law contradicts itself; looked at once for each class that has one.

    At some voltages a slope must lie between the difference quotients of the current to the left and to the right, and
    the current between those of the co-content, to 1e-3 of the larger. A kink exactly where it is tried would pass.
    """
    kind = group.law_type
    if kind in _AGREED or not len(group) or not group.controls():
        return
    volts = _trial_voltages(group)
    current = _evaluated(group, "current", group.current(*volts), volts)
    slopes = group.slopes(*volts)
    if len(slopes) != len(volts):
        raise CircuitError(_place(group, f"must give {len(volts)} slopes, one for each control, found {len(slopes)}"))
    for control, slope in enumerate(slopes):
        quotients = [_quotient(group.current, volts, control, side) for side in (-1, 1)]
        noise = _ROUNDING * np.abs(current) / _STEP
        _compare(
            group, f"slope by control {control}", _evaluated(group, "slope", slope, volts), quotients, noise, volts
        )
    if group.is_two_terminal and group.has_cocontent:
        content = np.asarray(group.cocontent(*volts))
        quotients = [_quotient(group.cocontent, volts, 0, side) for side in (-1, 1)]
        noise = _ROUNDING * np.abs(content) / _STEP
        _compare(group, "current", current, quotients, noise, volts, "its co-content")
    _AGREED.add(kind)


def _trial_voltages(group: CurrentLaw) -> list[np.ndarray]:
    """Voltages of each control, `(n_trials, n_elements)`."""
    random = np.random.default_rng(0)
    growth = group.growth_voltages() or (np.full(len(group), np.inf),) * len(group.controls())
    drawn = [np.stack([random.uniform(-span, span, len(group)) for span in _SPANS]) for _ in group.controls()]
    return [np.minimum(volts, _HIGHEST * limit) for volts, limit in zip(drawn, growth, strict=True)]


def _evaluated(group: CurrentLaw, name: str, value: np.ndarray, volts: Sequence[np.ndarray]) -> np.ndarray:
    try:
        return np.broadcast_to(np.asarray(value, dtype=np.float64), volts[0].shape)
    except ValueError:
        found = np.shape(value)
        raise CircuitError(_place(group, f"must give a {name} of shape {volts[0].shape}, found {found}")) from None


def _quotient(function, volts: Sequence[np.ndarray], control: int, side: int) -> np.ndarray:
    """Difference quotient of `function` by one control, to the left or the right."""
    moved = list(volts)
    moved[control] = volts[control] + side * _STEP
    return (np.asarray(function(*moved)) - np.asarray(function(*volts))) / (moved[control] - volts[control])


def _compare(
    group: CurrentLaw,
    name: str,
    value: np.ndarray,
    quotients: Sequence[np.ndarray],
    noise: np.ndarray,
    volts: Sequence[np.ndarray],
    of: str = "its currents",
) -> None:
    low, high = np.minimum(*quotients), np.maximum(*quotients)
    slack = _RTOL * np.maximum(np.abs(value), np.maximum(np.abs(low), np.abs(high))) + noise
    wrong = ~((value >= low - slack) & (value <= high + slack))
    if wrong.any():
        trial, element = np.argwhere(wrong)[0]
        at = ", ".join(f"{volt[trial, element]:.4g} V" for volt in volts)
        raise CircuitError(
            _place(
                group,
                f"must agree with differences of {of}, found a {name} of {value[trial, element]:.6g} at {at} where the "
                f"differences give {low[trial, element]:.6g} to {high[trial, element]:.6g} (element {element})",
            )
        )


def _place(group: CurrentLaw, what: str) -> str:
    """The sentence with the class, and the file and line where it is written, as far as Python knows them."""
    kind = group.law_type
    try:
        where = f" ({inspect.getsourcefile(kind)}:{inspect.getsourcelines(kind)[1]})"
    except (OSError, TypeError):
        where = ""
    return f"{group.label}: the law of {kind.__name__}{where} {what}"
