"""Numbers as ngspice reads them: 10k, 1meg, 4.7kOhm, 2u; what it would misread is refused."""

from __future__ import annotations

import math
import re

from analog_ep.errors import NetlistError

_NUMBER = re.compile(r"(?P<sign>[+-]?)(?P<digits>\d+\.?\d*|\.\d+)(?:[eE](?P<power>[+-]?\d+))?(?P<letters>[a-zA-Z]*)")
_EXPONENT = re.compile(r"\d[dD][+-]?\d")

_SUFFIXES = {
    "meg": 1e6,
    "t": 1e12,
    "g": 1e9,
    "k": 1e3,
    "m": 1e-3,
    "u": 1e-6,
    "n": 1e-9,
    "p": 1e-12,
    "f": 1e-15,
}
"""The longest stands first; letters behind a suffix, or that are none, are a unit and count for nothing."""

NUMBER_START = re.compile(r"[+-]?(\d|\.\d)")


def is_number(text: str) -> bool:
    """Whether a word begins as a number does."""
    return NUMBER_START.match(text) is not None


def read_number(text: str) -> float:
    """Value of a number with an optional suffix and unit, in any case.

    Raises
    ------
    NetlistError
        Without a place: if it is no number, or one that ngspice reads as something else than it says.
    """
    match = _NUMBER.fullmatch(text)
    if match is None:
        raise NetlistError(_why_not(text))
    letters = match["letters"].lower()
    if letters.startswith("mil"):
        raise NetlistError(
            f"a number must have a suffix that all simulators read alike, found {text!r}, 25.4e-6 to some and 1e-3 to "
            f"others; write it as a power of ten"
        )
    if letters.startswith("e"):
        raise NetlistError(f"a number's exponent must have digits, found {text!r}; write 1e3, say")
    factor = next((value for suffix, value in _SUFFIXES.items() if letters.startswith(suffix)), 1.0)
    # The digits and the power of ten as one literal: 4.7k is 4700, to the last bit.
    power = int(match["power"] or 0)
    if abs(power) > 400:
        raise NetlistError(f"a number must be finite, found {text!r}")
    value = float(f"{match['sign']}{match['digits']}e{power + round(math.log10(factor))}")
    if not math.isfinite(value):
        raise NetlistError(f"a number must be finite, found {text!r}")
    return value


def _why_not(text: str) -> str:
    if not is_number(text):
        return f"a value must be a number or an {{expression}}, found {text[:40]!r}"
    if _EXPONENT.search(text):
        return f"a number's exponent must begin with e, found {text[:40]!r}"
    return (
        f"a number must be digits, a power of ten, a suffix and a unit, as 4.7k or 2.2e3ohm are, found {text[:40]!r}; "
        f"ngspice would pass over its end without a word"
    )
