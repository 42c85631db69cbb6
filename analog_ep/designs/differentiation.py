"""Values and exact slopes of expressions of voltages, by the rules of ngspice's B sources."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from analog_ep.designs.expressions import Term
from analog_ep.errors import NetlistError

Slopes = dict[int, Any]
"""Derivatives by the number of the control, of those that count."""

Rule = Callable[..., tuple[Any, Sequence[Any]]]
"""Gives a function's value and its derivative by each argument."""

_SMALLEST = 1e-99


def _smooth(function: Callable, slope: Callable) -> Rule:
    return lambda x: (function(x), (slope(x),))


def _steps(function: Callable) -> Rule:
    return lambda x: (function(x), (np.zeros_like(x),))


def _magnitude_power(x: Any, y: Any) -> tuple[Any, Sequence[Any]]:
    """|x|^y: of ``^``, ``**`` and ``pow``."""
    size = np.abs(x)
    value = size**y
    return value, (y * size ** (y - 1) * np.sign(x), value * np.log(np.maximum(size, _SMALLEST)))


def _signed_power(x: Any, y: Any) -> tuple[Any, Sequence[Any]]:
    """sgn(x) |x|^y: of ``pwr``."""
    size, sign = np.abs(x), np.sign(x)
    value = sign * size**y
    return value, (y * size ** (y - 1), value * np.log(np.maximum(size, _SMALLEST)))


def _choice(condition: Any, yes: Any, no: Any) -> tuple[Any, Sequence[Any]]:
    chosen = condition != 0
    value = np.where(chosen, yes, no)
    return value, (np.zeros_like(value), chosen * 1.0, ~chosen * 1.0)


def _compared(function: Callable) -> Rule:
    return lambda x, y: (function(x, y) * 1.0, (np.zeros_like(x + y), np.zeros_like(x + y)))


FUNCTIONS: Mapping[str, tuple[int, Rule]] = {
    "exp": (1, _smooth(np.exp, np.exp)),
    "ln": (1, _smooth(lambda x: np.log(np.maximum(x, _SMALLEST)), lambda x: (x > 0) / np.maximum(x, _SMALLEST))),
    "log": (1, _smooth(lambda x: np.log(np.maximum(x, _SMALLEST)), lambda x: (x > 0) / np.maximum(x, _SMALLEST))),
    "log10": (
        1,
        _smooth(
            lambda x: np.log10(np.maximum(x, _SMALLEST)), lambda x: (x > 0) / (np.log(10) * np.maximum(x, _SMALLEST))
        ),
    ),
    "sqrt": (
        1,
        _smooth(lambda x: np.sqrt(np.maximum(x, 0.0)), lambda x: (x > 0) * 0.5 / np.sqrt(np.maximum(x, _SMALLEST))),
    ),
    "abs": (1, _smooth(np.abs, lambda x: np.where(x >= 0, 1.0, -1.0))),
    "sin": (1, _smooth(np.sin, np.cos)),
    "cos": (1, _smooth(np.cos, lambda x: -np.sin(x))),
    "tan": (1, _smooth(np.tan, lambda x: 1 / np.cos(x) ** 2)),
    "atan": (1, _smooth(np.arctan, lambda x: 1 / (1 + x * x))),
    "sinh": (1, _smooth(np.sinh, np.cosh)),
    "cosh": (1, _smooth(np.cosh, np.sinh)),
    "tanh": (1, _smooth(np.tanh, lambda x: 1 - np.tanh(x) ** 2)),
    "asinh": (1, _smooth(np.arcsinh, lambda x: 1 / np.sqrt(x * x + 1))),
    "sgn": (1, _steps(np.sign)),
    "u": (1, _steps(lambda x: 0.5 * (np.sign(x) + 1))),
    "uramp": (1, _smooth(lambda x: np.maximum(x, 0.0), lambda x: (x >= 0) * 1.0)),
    "floor": (1, _steps(np.floor)),
    "ceil": (1, _steps(np.ceil)),
    "nint": (1, _steps(np.rint)),
    "min": (2, lambda x, y: (np.minimum(x, y), ((x < y) * 1.0, (x >= y) * 1.0))),
    "max": (2, lambda x, y: (np.maximum(x, y), ((x >= y) * 1.0, (x < y) * 1.0))),
    "pow": (2, _magnitude_power),
    "pwr": (2, _signed_power),
    "ternary_fcn": (3, _choice),
}
"""Functions of voltages: number of arguments, and the rule. Outside of their range logarithms and roots go on at its
end, since a search for an equilibrium passes there."""

_OPERATORS: Mapping[str, Rule] = {
    "neg": lambda x: (-x, (-np.ones_like(x),)),
    "!": lambda x: ((x == 0) * 1.0, (np.zeros_like(x),)),
    "+": lambda x, y: (x + y, (1.0, 1.0)),
    "-": lambda x, y: (x - y, (1.0, -1.0)),
    "*": lambda x, y: (x * y, (y, x)),
    "/": lambda x, y: (x / y, (1 / y, -x / (y * y))),
    "^": _magnitude_power,
    "==": _compared(np.equal),
    "!=": _compared(np.not_equal),
    "<": _compared(np.less),
    ">": _compared(np.greater),
    "<=": _compared(np.less_equal),
    ">=": _compared(np.greater_equal),
    "&&": _compared(lambda x, y: (x != 0) & (y != 0)),
    "||": _compared(lambda x, y: (x != 0) | (y != 0)),
    "?": _choice,
}


def rule_of(term: Term) -> Rule:
    """The rule of an operator or function.

    Raises
    ------
    NetlistError
        Without a place: if there is none of the name, or it takes another number of arguments.
    """
    if term.kind != "call":
        return _OPERATORS[term.kind]
    name = str(term.value)
    if name not in FUNCTIONS:
        raise NetlistError(
            f"a function of voltages must be one of {', '.join(sorted(FUNCTIONS))}, found {name!r}"
            + (", which ngspice draws anew each time" if name == "limit" else "")
        )
    wanted, rule = FUNCTIONS[name]
    if len(term.parts) != wanted:
        raise NetlistError(f"{name}() must have {wanted} arguments, found {len(term.parts)}")
    return rule


def value_and_slopes(term: Term, controls: Sequence[Any], constants: Sequence[Any]) -> tuple[Any, Slopes]:
    """Value of an expression and its derivatives by the controls.

    Parameters
    ----------
    term : Term
        In which "control" and "constant" are leaves whose values are their numbers.
    controls : sequence of ndarray (*batch, n_elements)
        Voltages. [V]
    constants : sequence of ndarray (n_elements,)
        Numbers of the expression.
    """
    if term.kind == "constant":
        return constants[int(term.value)], {}  # pyright: ignore[reportArgumentType]
    if term.kind == "control":
        place = int(term.value)  # pyright: ignore[reportArgumentType]
        return controls[place], {place: np.ones_like(controls[place])}
    parts = [value_and_slopes(part, controls, constants) for part in term.parts]
    value, rises = rule_of(term)(*(part[0] for part in parts))
    slopes: Slopes = {}
    for (_, inner), rise in zip(parts, rises, strict=True):
        for place, slope in inner.items():
            # An infinite slope of a branch that is not taken must not count.
            term_slope = np.where(slope == 0, 0.0, rise * slope)
            slopes[place] = slopes[place] + term_slope if place in slopes else term_slope
    return value, slopes


def affine(term: Term) -> tuple[dict[tuple[str, str], float], float] | None:
    """Weights of the voltages and the constant of an expression that is a weighted sum; None where it is none."""
    if term.kind == "number":
        return {}, float(term.value)  # pyright: ignore[reportArgumentType]
    if term.kind == "voltage":
        return {(str(term.value[0]), str(term.value[1])): 1.0}, 0.0  # pyright: ignore[reportIndexIssue]
    if term.kind not in ("neg", "+", "-", "*", "/"):
        return None
    parts = [affine(part) for part in term.parts]
    if any(part is None for part in parts):
        return None
    (weights, constant), *others = (part for part in parts if part is not None)
    if term.kind == "neg":
        return _scaled((weights, constant), -1.0)
    second = others[0]
    if term.kind in "+-":
        sign = 1.0 if term.kind == "+" else -1.0
        total = dict(weights)
        for pair, weight in second[0].items():
            total[pair] = total.get(pair, 0.0) + sign * weight
        return total, constant + sign * second[1]
    if term.kind == "*" and not weights:
        return _scaled(second, constant)
    if second[0] or (term.kind == "/" and second[1] == 0):
        return None
    return _scaled((weights, constant), second[1] if term.kind == "*" else 1 / second[1])


def _scaled(
    found: tuple[dict[tuple[str, str], float], float], factor: float
) -> tuple[dict[tuple[str, str], float], float]:
    return {pair: factor * weight for pair, weight in found[0].items()}, factor * found[1]
