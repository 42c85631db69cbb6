"""Units as cards and tables carry them: an SI unit, perhaps behind a prefix."""

from __future__ import annotations

from analog_ep.constants import ZERO_CELSIUS

_PREFIXES = {
    "T": 1e12, "G": 1e9, "M": 1e6, "k": 1e3, "": 1.0, "m": 1e-3, "u": 1e-6, "µ": 1e-6, "μ": 1e-6, "n": 1e-9, "p": 1e-12,
    "f": 1e-15, "a": 1e-18,
}  # fmt: skip
_OTHER_SPELLINGS = {
    "ohm": ("Ω", "Ω", "Ohm", "ohms", "Ohms"),
    "V": ("Volt", "volt", "Volts", "volts"),
    "A": ("Amp", "amp", "Amps", "amps", "Ampere", "ampere"),
    "s": ("sec", "seconds"),
    "S": ("1/ohm", "1/Ω"),
    "K": ("Kelvin", "kelvin"),
}
_CELSIUS = ("°C", "℃", "ºC", "C", "degC", "deg C", "Celsius", "celsius")


def si_scale(unit: str, base: str) -> tuple[float, float] | None:
    """How a value in `unit` becomes one in the SI unit `base`: a factor, and what is added after it.

    Parameters
    ----------
    unit : str
        `base`, or another spelling of it, with an SI prefix where wanted; ``°C`` for a temperature; ``%`` for a number.
    base : str
        SI unit; "1" for none.

    Returns
    -------
    (float, float) or None
        None where it is another unit.
    """
    unit = unit.strip()
    if base == "1":
        return {"1": (1.0, 0.0), "V/V": (1.0, 0.0), "%": (0.01, 0.0)}.get(unit)
    if base == "K" and unit in _CELSIUS:
        return 1.0, ZERO_CELSIUS
    for spelling in (base, *_OTHER_SPELLINGS.get(base, ())):
        prefix = unit.removesuffix(spelling)
        if unit.endswith(spelling) and (prefix in _PREFIXES if spelling[0].isalpha() else not prefix):
            return _PREFIXES[prefix], 0.0
    return None
