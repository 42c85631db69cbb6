"""Quantities as people read them: three digits and an SI prefix."""

from __future__ import annotations

import math

_PREFIXES = "qryzafpnµm kMGTPEZYRQ"
_NONE = _PREFIXES.index(" ")


def si(value: float, unit: str, digits: int = 3) -> str:
    """A quantity with a prefix, such as "1.5 µS".

    Parameters
    ----------
    value : float
        In the unit.
    unit : str
        Such as "S".
    digits : int
        Significant ones.
    """
    if value == 0 or not math.isfinite(value):
        return f"{value:g} {unit}"
    # As it will be rounded: 999.96 mV are 1 V.
    rounded = float(f"{value:.{digits}g}")
    step = max(min(math.floor(math.log10(abs(rounded)) / 3), len(_PREFIXES) - 1 - _NONE), -_NONE)
    prefix = _PREFIXES[step + _NONE].strip()
    return f"{rounded / 1000.0**step:.{digits}g} {prefix}{unit}"
