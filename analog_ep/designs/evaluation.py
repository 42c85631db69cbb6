"""Values of expressions of parameters, by the rules of ngspice's parameters, which differ from those of its sources."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from analog_ep.designs.expressions import Term
from analog_ep.errors import NetlistError

Value = Callable[[str], float]
"""Gives the value of a parameter; raises `NetlistError` where there is none."""

FUNCTIONS: Mapping[str, tuple[int, Callable[..., Any]]] = {
    **{
        name: (1, getattr(math, name))
        for name in [
            "sin",
            "cos",
            "tan",
            "atan",
            "sinh",
            "cosh",
            "tanh",
            "asin",
            "acos",
            "asinh",
            "acosh",
            "atanh",
            "exp",
            "sqrt",
            "floor",
            "ceil",
            "log10",
        ]
    },
    "arctan": (1, math.atan),
    "abs": (1, abs),
    "ln": (1, math.log),
    "log": (1, math.log),
    "sgn": (1, lambda x: float((x > 0) - (x < 0))),
    "sqr": (1, lambda x: x * x),
    "int": (1, lambda x: float(math.trunc(x))),
    "nint": (1, lambda x: float(round(x))),
    "min": (2, min),
    "max": (2, max),
    "pow": (2, math.pow),
    "pwr": (2, lambda x, y: math.pow(abs(x), y)),
    "ternary_fcn": (3, lambda condition, yes, no: yes if condition else no),
}
"""Number of arguments, and the function: ``pwr`` takes the magnitude here, and ``pow`` in sources."""

RANDOM = ("gauss", "agauss", "unif", "aunif", "limit")
"""What ngspice draws anew in each run; ``limit`` is one of them."""

_OPERATORS: Mapping[str, Callable[..., float]] = {
    "neg": lambda x: -x,
    "!": lambda x: float(not x),
    "+": lambda x, y: x + y,
    "-": lambda x, y: x - y,
    "*": lambda x, y: x * y,
    "/": lambda x, y: x / y,
    "^": lambda x, y: math.pow(abs(x), y),
    "==": lambda x, y: float(x == y),
    "!=": lambda x, y: float(x != y),
    "<": lambda x, y: float(x < y),
    ">": lambda x, y: float(x > y),
    "<=": lambda x, y: float(x <= y),
    ">=": lambda x, y: float(x >= y),
    "&&": lambda x, y: float(bool(x) and bool(y)),
    "||": lambda x, y: float(bool(x) or bool(y)),
    "?": lambda condition, yes, no: yes if condition else no,
}


def evaluate(term: Term, value: Value) -> float:
    """The value of an expression of numbers and parameters.

    Parameters
    ----------
    term : Term
        Without voltages and currents.
    value : callable
        Gives the value of a parameter by its name.

    Raises
    ------
    NetlistError
        Without a place: if a function is not known or random, or the value is none that is finite.
    """
    if term.kind == "number":
        return float(term.value)  # pyright: ignore[reportArgumentType]
    if term.kind == "name":
        return value(str(term.value))
    if term.kind in ("voltage", "current"):
        raise NetlistError("a parameter must not depend on voltages and currents, found one that does")
    numbers = [evaluate(part, value) for part in term.parts]
    function = _function(term, len(numbers)) if term.kind == "call" else _OPERATORS[term.kind]
    try:
        result = float(function(*numbers))
    except (ValueError, OverflowError, ZeroDivisionError):
        result = math.nan
    if not math.isfinite(result):
        what = f"{term.value}(…)" if term.kind == "call" else {"neg": "-"}.get(term.kind, term.kind)
        shown = " and ".join(f"{number:g}" for number in numbers)
        raise NetlistError(f"an expression must have a finite value, found {what} of {shown}")
    return result


def _function(term: Term, n_arguments: int) -> Callable[..., float]:
    name = str(term.value)
    if name in RANDOM:
        raise NetlistError(
            f"a netlist must read the same each time, found {name}(), which ngspice draws anew; give the value itself"
        )
    if name not in FUNCTIONS:
        raise NetlistError(f"a function of parameters must be one of {', '.join(sorted(FUNCTIONS))}, found {name!r}")
    wanted, function = FUNCTIONS[name]
    if n_arguments != wanted:
        raise NetlistError(f"{name}() must have {wanted} arguments, found {n_arguments}")
    return function
