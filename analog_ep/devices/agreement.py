"""Whether a law of currents agrees with itself, tried at some voltages when it is first used.

A law, of a diode or of a kind of branches, gives its current, slopes and co-content by functions of their own. Nothing
downstream could see that they are of different laws: Newton's method would converge to the current's solution or not at
all, gradients would follow the slopes, and energies the co-content.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np

from analog_ep.errors import AnalogEPError, DeviceParameterError

_SPANS = (0.05, 0.4, 1.5, 1.0)
"""Voltages about 0 at which a law is tried, those of exponentials up to `HIGHEST` growth voltages only; a law with a
threshold also beyond it, see `_beyond_thresholds`. [V]
"""

_NEAR = len(_SPANS) - 1
"""Trials about 0 at least, which come first; what is compared with all others would drown beside those far away."""

_PART = 1.0
"""Most of a value far away that is taken for a part of those about 0. [A or W]"""

HIGHEST = 15.0
"""Growth voltages up to which an exponential is tried: beyond, it dwarfs all that it may be compared with."""

_DOUBLINGS = 14
"""From the widest of these voltages on, after which a law is taken to have no threshold: 25 kV."""

_MOST_WAYS = 16
"""Combinations of signs of the controls in which thresholds are looked for."""

_FAR = (4.0, 12.0, 40.0)
"""Further voltages about 0 at which a law of one voltage is tried. [V]"""

_MOST = 1e12
"""Current beyond which a law is not tried far away. [A]"""

_BENT = 10.0
"""Current over that of the slope at 0 V from which a law is beyond its threshold."""

_STEP = 1e-5
_RTOL = 1e-3
_ROUNDING = 1e-13
_RAISED = (ArithmeticError, ValueError, TypeError, IndexError, AttributeError, RuntimeError)
"""What a method raises that was given arrays, or gave them, which do not fit."""

_SWEEP = (20_001, 41, 401)
"""Points at which the direction of a current is tried: of all elements, at least and at most of each."""


@dataclass(frozen=True, eq=False)
class Law:
    """What is tried.

    Attributes
    ----------
    kind : type
        Whose law it is.
    n_elements : int
        Number of elements.
    growth : sequence of ndarray (n_elements,)
        Growth voltage by control, infinite where slopes are bounded. [V]
    current, slopes, cocontent : callable
        Of voltages of the controls, each `(*batch, n_elements)`; no co-content where the law has none.
    names : tuple of str
        The methods that give current, slopes and growth voltages, by their names.
    condition, steepness : callable
        See `Diode.condition` and `Diode.steepness`.
    does_not_decrease : bool
        Whether it is said of the current that it does not fall while the voltage rises, but by `fall`. [A]
    linear : bool
        Whether it is said of the current that it is a sum of constant slopes times the controls, and a constant.
    """

    kind: type
    n_elements: int
    growth: Sequence[np.ndarray]
    current: Callable[..., Any]
    slopes: Callable[..., Any]
    cocontent: Callable[..., Any] | None
    names: tuple[str, str, str]
    condition: Callable[[], Any]
    steepness: Callable[[], Any]
    does_not_decrease: bool
    linear: bool = False
    fall: Any = 0.0

    def refuse(self, what: str) -> DeviceParameterError:
        """The error that says what is wrong."""
        return refusal(self.kind, what)

    def evaluated(self, name: str, function: Callable[[], Any], shape: tuple[int, ...], volts: Volts) -> np.ndarray:
        """What a method gives: float64, finite, of the shape that is asked for.

        Raises
        ------
        DeviceParameterError
            If it gives something else, or raises.
        """
        found = array(self.kind, name, function, shape)
        if not np.isfinite(found).all():
            at = tuple(np.argwhere(~np.isfinite(found))[0])
            where = ", ".join(f"{volt[at]:.4g} V" for volt in volts) or "any voltage"
            raise self.refuse(
                f"must be finite where it is tried, found {name} to give {found[at]} at {where} (element {at[-1]}); "
                f"check its parameters, and where it grows exponentially say by {self.names[2]} how fast"
            )
        return found

    def at(self, volts: Volts) -> np.ndarray:
        """Its currents. [A]"""
        return self.evaluated(self.names[0], lambda: self.current(*volts), volts[0].shape, volts)


Volts = Sequence[np.ndarray]
"""Voltages of each control, `(*batch, n_elements)`. [V]"""


def array(kind: type, name: str, function: Callable[[], Any], shape: tuple[int, ...], *others: tuple[int, ...]) -> Any:
    """What a method of a law gives, as a float64 array of a shape that is allowed.

    Raises
    ------
    DeviceParameterError
        If it gives another shape or no numbers, or raises.
    """
    try:
        # What overflows becomes infinite, and is told by its own sentence.
        with np.errstate(all="ignore"):
            found = np.asarray(function())
    except AnalogEPError:
        raise
    except _RAISED as error:
        raise refusal(kind, f"must give numbers, found {name} to raise {_told(error)}") from error
    if found.dtype.kind not in "fiub" or (found.dtype.kind == "f" and found.dtype.itemsize < 8):
        raise refusal(kind, f"must give numbers of float64, found {name} to give {found.dtype}")
    if found.shape not in (shape, *others):
        wanted = " or ".join(map(str, dict.fromkeys((shape, *others))))
        raise refusal(kind, f"must give an array of shape {wanted}, found {name} to give {found.shape}")
    return found.astype(np.float64, copy=False)


def _told(error: Exception) -> str:
    text = str(error).strip().splitlines()
    return f"{type(error).__name__}: {text[0]}" if text else type(error).__name__


def refusal(kind: type, what: str) -> DeviceParameterError:
    """The error that begins with whose law it is, and the file and line where it is written where they are known."""
    try:
        where = f" ({inspect.getsourcefile(kind)}:{inspect.getsourcelines(kind)[1]})"
    except (OSError, TypeError):
        where = ""
    return DeviceParameterError(f"the law of {kind.__name__}{where} {what}")


def growth_voltage(kind: type, name: str, value: Any, n_elements: int) -> np.ndarray:
    """A growth voltage, `(n_elements,)`. [V]

    Raises
    ------
    DeviceParameterError
        If it is no number, or not positive.
    """
    if callable(value):
        raise refusal(kind, f"must give {name} as a number, found a method; put @property before its definition")
    found = array(kind, name, lambda: np.asarray(value, dtype=np.float64), (n_elements,), (1,), ())
    found = np.broadcast_to(found, (n_elements,))
    if not (found > 0).all():
        at = int(np.flatnonzero(~(found > 0))[0])
        raise refusal(kind, f"must have a positive {name}, found {found[at]} V at element {at}")
    return found


def require_agreement(law: Law) -> None:
    """Raise `DeviceParameterError` where a law contradicts itself.

    At some voltages a slope must lie between the difference quotients of the current to the left and to the right, and
    the current between those of the co-content, to 1e-3 of the larger. A kink exactly where it is tried would pass. One
    state alone must have the currents that it has in a batch, a current that is said not to decrease must not on a fine
    grid, and one that is said to be linear be so.
    """
    volts = trial_voltages(law)
    with np.errstate(all="ignore"):
        current = law.at(volts)
        _require_alike(law, volts, current)
        slopes = _slopes(law, volts)
        steps = [np.minimum(_STEP, 0.01 * growth) for growth in law.growth]
        for control, slope in enumerate(slopes):
            quotients = [_quotient(law.at, volts, control, side * steps[control]) for side in (-1, 1)]
            noise = rounding(current) / steps[control]
            _compare(law, f"slope by control {control}", slope, quotients, noise, volts)
        if law.linear:
            _require_linear(law, volts, current, slopes)
        if law.does_not_decrease:
            _require_rise(law)
        if law.cocontent is not None:
            _compare_content(law, volts, current, steps[0])
        _require_bounds(law, volts, current, slopes)


def trial_voltages(law: Law) -> list[np.ndarray]:
    """Voltages of each control, `(n_trials, n_elements)`: as many trials as there are no elements."""
    random = np.random.default_rng(0)
    spans = _SPANS if law.n_elements != len(_SPANS) else _SPANS[:-1]
    drawn = [np.stack([random.uniform(-span, span, law.n_elements) for span in spans]) for _ in law.growth]
    volts = [np.minimum(each, HIGHEST * growth) for each, growth in zip(drawn, law.growth, strict=True)]
    with np.errstate(all="ignore"):
        steep = ~np.isfinite(array(law.kind, law.names[0], lambda: law.current(*volts), volts[0].shape))
    # What grows both ways, as sinh does, is tried as far down as up.
    tried = [
        np.where(steep, np.clip(each, -HIGHEST * growth, None), each)
        for each, growth in zip(volts, law.growth, strict=True)
    ]
    far = [np.concatenate(rows) for rows in zip(_beyond_thresholds(law, random), _far_away(law, random), strict=True)]
    # As many rows as there are elements would hide a law that takes one for the other.
    more = int(len(tried[0]) + len(far[0]) == law.n_elements)
    return [np.concatenate([near, rows, rows[:more]]) for near, rows in zip(tried, far, strict=True)]


def _beyond_thresholds(law: Law, random: np.random.Generator) -> list[np.ndarray]:
    """Voltages of each control at which a current has outgrown its slopes at 0 V, `(n_ways, n_elements)`.

    As a varistor's has, or that of a transistor far beyond its threshold. The ways there are all combinations of signs,
    `_MOST_WAYS` at most. An element without such voltages, one whose currents are exponentials or that says nothing
    there, is tried near 0.
    """
    ways = _ways(len(law.growth), random)
    towards = [way[:, None] * random.uniform(0.6, 1.0, (len(ways), law.n_elements)) for way in ways.T]
    bounded = np.logical_and.reduce([np.isinf(growth) for growth in law.growth])
    rest = [np.zeros(law.n_elements)] * len(towards)
    try:
        with np.errstate(all="ignore"):
            offset, slopes = np.asarray(law.current(*rest)), law.slopes(*rest)
            straight = sum(np.abs(slope * each) for slope, each in zip(slopes, towards, strict=True))

            def outgrown(reach: np.ndarray) -> np.ndarray:
                """By how much the current exceeds what its slopes give."""
                return np.abs(law.current(*(reach * each for each in towards)) - offset) - _BENT * straight * reach

            reach = np.full_like(towards[0], max(_SPANS))
            for _ in range(_DOUBLINGS):
                reach = np.where(outgrown(reach) <= 0, 2 * reach, reach)
            excess = outgrown(reach)
    except (AnalogEPError, *_RAISED):
        return [np.zeros((0, law.n_elements))] * len(towards)
    reach = np.where(np.isfinite(excess) & (excess > 0) & bounded, reach, _SPANS[0])
    rows = [[reach * each] for each in towards]
    # Far beyond it with one control small, as the voltage from drain to source of a transistor that is wholly on.
    for small in range(len(towards)) if len(towards) > 1 else ():
        further = reach * random.uniform(2, 4, reach.shape)
        for control, each in enumerate(towards):
            share = random.uniform(0.02, 0.3, reach.shape) if control == small else 1.0
            rows[control].append(further * each * share)
    found = [np.concatenate(each) for each in rows]
    return _where_finite(law, found)


def _far_away(law: Law, random: np.random.Generator) -> list[np.ndarray]:
    """Voltages of a law of one control up to `_FAR`, where a bend may be too slight to be looked for."""
    if len(law.growth) > 1:
        return [np.zeros((0, law.n_elements))] * len(law.growth)
    spans = np.array([side * span for span in _FAR for side in (1.0, -1.0)])
    volts = spans[:, None] * random.uniform(0.6, 1.0, (len(spans), law.n_elements))
    return _where_finite(law, [np.where(np.isinf(law.growth[0]), volts, _SPANS[0] * np.sign(volts))])


def _where_finite(law: Law, volts: list[np.ndarray]) -> list[np.ndarray]:
    """The same voltages, and small ones in place of those at which a law says nothing, or too much."""
    try:
        with np.errstate(all="ignore"):
            current = np.asarray(law.current(*volts))
    except (AnalogEPError, *_RAISED):
        return [np.zeros((0, law.n_elements))] * len(volts)
    there = np.isfinite(current) & (np.abs(current) < _MOST)
    return [np.where(there, each, _SPANS[0] * np.sign(each)) for each in volts]


def _ways(n_controls: int, random: np.random.Generator) -> np.ndarray:
    """Signs of each control, `(n_ways, n_controls)`."""
    if 2**n_controls <= _MOST_WAYS:
        return np.array(list(product((1.0, -1.0), repeat=n_controls)))
    return random.choice((1.0, -1.0), (_MOST_WAYS, n_controls))


def _slopes(law: Law, volts: Volts) -> list[np.ndarray]:
    shape, name = volts[0].shape, law.names[1]
    try:
        with np.errstate(all="ignore"):
            slopes = law.slopes(*volts)
    except AnalogEPError:
        raise
    except _RAISED as error:
        raise law.refuse(f"must give numbers, found {name} to raise {_told(error)}") from error
    count = len(volts)
    if not isinstance(slopes, Sequence) or len(slopes) != count:
        found = len(slopes) if isinstance(slopes, Sequence) else f"a {type(slopes).__name__}"
        raise law.refuse(f"must give {count} slopes, one for each control, found {found}")
    found = []
    for slope in slopes:
        each = array(law.kind, name, lambda slope=slope: slope, shape, shape[-1:])
        whole = np.broadcast_to(each, shape)
        found.append(law.evaluated(name, lambda whole=whole: whole, shape, volts))
    return found


def _require_alike(law: Law, volts: Volts, current: np.ndarray) -> None:
    """One state alone, and states in two rows, have the currents of the batch."""
    alone = law.at([each[0] for each in volts])
    rows = law.at([np.stack([each, each]) for each in volts])
    slack = 1e-12 * np.abs(current)
    wrong = (np.abs(alone - current[0]) > slack[0]).any() or (np.abs(rows - current) > slack).any()
    if wrong:
        raise law.refuse(f"must be one of each element alone, found {law.names[0]} to mix states of a batch")


def _quotient(function: Callable[[Volts], np.ndarray], volts: Volts, control: int, step: np.ndarray) -> np.ndarray:
    """Difference quotient of `function` by one control, along a step to the left or the right."""
    moved = list(volts)
    moved[control] = volts[control] + step
    return (function(moved) - function(volts)) / (moved[control] - volts[control])


def rounding(values: np.ndarray) -> np.ndarray:
    """What values may be off by; one near 0 may be a difference of others of its element, as between two knees."""
    magnitude = np.abs(values)
    largest = np.maximum(magnitude[:_NEAR].max(axis=0), np.minimum(magnitude.max(axis=0), _PART))
    return _ROUNDING * magnitude + 4 * np.finfo(np.float64).eps * largest


def _compare(
    law: Law,
    name: str,
    value: np.ndarray,
    quotients: Sequence[np.ndarray],
    noise: np.ndarray,
    volts: Volts,
    of: str = "its currents",
) -> None:
    low, high = np.minimum(*quotients), np.maximum(*quotients)
    slack = _RTOL * np.maximum(np.abs(value), np.maximum(np.abs(low), np.abs(high))) + noise
    wrong = ~((value >= low - slack) & (value <= high + slack))
    if wrong.any():
        trial, element = np.argwhere(wrong)[0]
        raise law.refuse(
            f"must agree with differences of {of}, found a {name} of {value[trial, element]:.6g} at "
            f"{_told_volts(volts, trial, element)} where the differences give {low[trial, element]:.6g} to "
            f"{high[trial, element]:.6g} (element {element})"
        )


def _told_volts(volts: Volts, trial: int, element: int) -> str:
    return ", ".join(f"{volt[trial, element]:.4g} V" for volt in volts)


def _compare_content(law: Law, volts: Volts, current: np.ndarray, step: np.ndarray) -> None:
    assert law.cocontent is not None  # the caller's condition
    function = law.cocontent

    def content(at: Volts) -> np.ndarray:
        return law.evaluated("cocontent", lambda: function(*at), at[0].shape, at)

    found = content(volts)
    quotients = [_quotient(content, volts, 0, side * step) for side in (-1, 1)]
    noise = rounding(found) / step
    _compare(law, "current", current, quotients, noise, volts, "its co-content")
    rest = content([np.zeros_like(each) for each in volts])
    if (np.abs(rest) > _RTOL * np.abs(found[:_NEAR]).max()).any():
        raise law.refuse(f"must have a co-content of 0 at 0 V, from where it is integrated, found {rest.flat[0]:.6g} W")


def _require_linear(law: Law, volts: Volts, current: np.ndarray, slopes: Sequence[np.ndarray]) -> None:
    rest = law.at([np.zeros_like(each) for each in volts])
    parts = [slope * each for slope, each in zip(slopes, volts, strict=True)]
    size = np.abs(rest) + sum((np.abs(part) for part in parts), np.zeros_like(current))
    wrong = np.abs(current - rest - sum(parts, np.zeros_like(current))) > 1e-9 * size
    if wrong.any():
        trial, element = np.argwhere(wrong)[0]
        raise law.refuse(
            f"is said to be linear, found a current of {current[trial, element]:.6g} A at "
            f"{_told_volts(volts, trial, element)} that is not one (element {element}); leave `linear` out"
        )


def _require_rise(law: Law) -> None:
    """The current of the one control must not fall on a fine grid."""
    total, least, most = _SWEEP
    count = int(np.clip(total // law.n_elements, least, most))
    span, (growth,) = max(_SPANS), law.growth
    top, bottom = np.minimum(span, HIGHEST * growth), np.full(law.n_elements, -span)
    with np.errstate(all="ignore"):
        steep = ~np.isfinite(np.asarray(law.current(bottom)))
    volts = np.linspace(np.where(steep, -top, bottom), top, count)
    current = law.at([volts])
    fall = np.diff(current, axis=0)
    slack = 1e-12 * np.maximum(np.abs(current[1:]), np.abs(current[:-1])) + law.fall
    if (fall < -slack).any():
        row, element = np.argwhere(fall < -slack)[0]
        first, last = (f"{current[r, element]:.6g} A at {volts[r, element]:.4g} V" for r in (row, row + 1))
        raise law.refuse(
            f"must not let the current fall while the voltage rises, found {first} and {last} (element {element})"
        )


def _require_bounds(law: Law, volts: Volts, current: np.ndarray, slopes: Sequence[np.ndarray]) -> None:
    """What bounds on errors are made of: the current's own, and its steepness."""
    shape = (law.n_elements,)
    condition = array(law.kind, "condition", law.condition, shape, ())
    if not (condition >= 1).all():
        raise law.refuse(f"must have a condition of 1 or more, found {np.min(condition):.6g}")
    try:
        found = law.steepness()
    except AnalogEPError:
        raise
    except _RAISED as error:
        raise law.refuse(f"must give numbers, found steepness to raise {_told(error)}") from error
    if found is None:
        return
    if not isinstance(found, Sequence) or len(found) != 2:
        raise law.refuse("must give a voltage and a slope, or None, found steepness to give something else")
    scale, least = (array(law.kind, "steepness", lambda each=each: each, shape, ()) for each in found)
    allowed = (np.abs(current) / scale + least) * (1 + 1e-9)
    if not ((scale > 0) & (least >= 0)).all() or (slopes[0] > allowed).any():
        raise law.refuse(
            "must not be steeper than its steepness says, di/dv ≤ |i|/V + g, found that it is at "
            f"{_told_volts(volts, *np.argwhere(~(slopes[0] <= allowed))[0])}"
            if (slopes[0] > allowed).any()
            else "must give a positive voltage and a slope that is not negative, found others of steepness"
        )
