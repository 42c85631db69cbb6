"""Units of the parameters that cards hold."""

from __future__ import annotations

from collections.abc import Mapping

_DIODE = {
    "saturation_current": "A", "temperature": "K", "series_resistance": "ohm", "gmin": "S", "nominal_temperature": "K",
    "energy_gap": "eV", "thresholds": "V", "increments": "S", "leakage": "S", "offset": "V",
}  # fmt: skip
_PULSES = {
    "conductance_min": "S", "conductance_max": "S", "pulse_voltage": "V", "depress_voltage": "V", "pulse_width": "s",
    "disturb_voltage": "V",
}  # fmt: skip
_TABLES = {"w_min": "S", "w_max": "S", "table_up": "S", "table_down": "S"}
_MEMRISTOR = {
    "r_on": "ohm", "r_off": "ohm", "d": "m", "k_off": "m/s", "k_on": "m/s", "v_off": "V", "v_on": "V", "i_off": "A",
    "i_on": "A", "mu": "m^2/(V s)", "a": "A", "b": "1/V", "v_p": "V", "v_n": "V", "amplitude_p": "1/s",
    "amplitude_n": "1/s",
}  # fmt: skip
_STANFORD = {
    "x0": "nm", "i0": "A", "g0": "nm", "v0": "V", "velocity": "m/s", "e_a": "eV", "beta": "1/nm^3", "a0": "nm",
    "t_ox": "nm", "r_th": "K/W", "ambient": "K", "g_min": "nm", "g_max": "nm",
}  # fmt: skip
_AMPLIFIER = {"offset": "V", "low": "V", "high": "V"}

_OF_KIND: Mapping[str, Mapping[str, str]] = {
    "diode": _DIODE,
    "pulses": _PULSES,
    "memristor": _MEMRISTOR,
    "amplifier": _AMPLIFIER,
}
_OF_MODEL: Mapping[str, Mapping[str, str]] = {"Lookup": _PULSES | _TABLES, "stanford": _STANFORD}
_DEPTHS = {"thresholds": 1, "increments": 1, "table_up": 2, "table_down": 2, "factors_up": 1, "factors_down": 1}


def unit_of(kind: str, model: str, parameter: str) -> str:
    """Unit of a parameter of a model; "1" where it has none."""
    return _OF_MODEL.get(model, _OF_KIND[kind]).get(parameter, "1")


def depth_of(parameter: str) -> int:
    """How many lists lie in one another in its value: 0 for a number."""
    return _DEPTHS.get(parameter, 0)
