"""Numbers and expressions as every netlist can carry them."""

from __future__ import annotations

import math
import re

from analog_ep.constants import ZERO_CELSIUS
from analog_ep.errors import CircuitError, NodeNameError

_SHARED_FUNCTIONS = frozenset(["v", "exp", "sqrt", "abs", "min", "max", "sin", "cos", "tanh", "ln"])
_EXPRESSION_CHARACTERS = b"abcdefghijklmnopqrstuvwxyz0123456789_+-*/(),. "


def number(value: float) -> str:
    """Text of a finite number: digits, point and exponent only, since SPICE reads ``1M`` as milli.

    Raises
    ------
    CircuitError
        If it is NaN or infinite.
    """
    value = float(value)
    if not math.isfinite(value):
        raise CircuitError(f"a netlist carries finite numbers only, found {value}; check the element values")
    return repr(value)


def in_celsius(kelvin: float) -> str:
    """Text of a temperature given in kelvin. [°C]"""
    # Beyond 12 digits lies the rounding of the subtraction, and 300.15 K must read 27.
    return number(round(kelvin - ZERO_CELSIUS, 12))


def shared_expression(label: str, text: str) -> str:
    """An expression that means the same to every simulator, or `CircuitError`; `label` begins the message."""
    strange = sorted(set(re.findall(r"([a-z_][a-z0-9_]*)\(", text)) - _SHARED_FUNCTIONS)
    if strange or "**" in text:
        raise CircuitError(
            f"{label}: an expression must use {', '.join(sorted(_SHARED_FUNCTIONS))} and + - * / alone, since "
            f"simulators differ in others, found {', '.join(strange) or '**'} in {text[:60]!r}"
        )
    return expression(text)


def expression(text: str) -> str:
    """An expression of plain characters alone, or `NodeNameError`."""
    unknown = text.encode().translate(None, _EXPRESSION_CHARACTERS).decode()
    if unknown:
        raise NodeNameError(f"an expression may not contain {sorted(set(unknown))}; found it in {text[:60]!r}")
    return text
