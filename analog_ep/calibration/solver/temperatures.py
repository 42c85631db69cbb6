"""How the saturation current of a simulated junction follows the temperature: EG and XTI from sweeps at several."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
import torch

from analog_ep.calibration.fit import Estimate, Fit
from analog_ep.constants import ZERO_CELSIUS, thermal_voltage
from analog_ep.devices import ShockleyDiode
from analog_ep.measurements import Table

_CONDUCTING = 3.0
"""Voltage of the junction, in n V_t, from which on its current tells the saturation current."""

_TELLING = 1e-9
"""And its current. [A]"""

PerVolt = Callable[[Table], np.ndarray]


def with_temperatures(fit: Fit, elsewhere: Sequence[Table], per_volt: PerVolt, allowed: float, sigma: float) -> Fit:
    """A fit of Shockley's equation with the energy gap and the exponent that sweeps at other temperatures give.

    Parameters
    ----------
    fit : Fit
        At one temperature.
    elsewhere : sequence of Table
        Sweeps at others.
    per_volt : callable
        Conductance at the diode, by which an error of a table's current becomes one of its voltage. [S]
    allowed : float
        Largest error. [V]
    sigma : float
        What stands for the uncertainty of a voltage. [V]
    """
    swept = sorted(elsewhere, key=lambda table: abs(_kelvin(table) - fit.values["temperature"]))
    error = np.nan
    while len(swept) >= 2:
        law = _Law.through(fit, swept, sigma)
        error = max(law.error(fit, table, per_volt(table)) for table in swept)
        if error <= allowed:
            return _with_law(fit, law, elsewhere, swept)
        swept.pop()
    # Parameters such as TRS, IKF and ISR follow laws of their own.
    why = "no other was swept" if np.isnan(error) else f"with EG and XTI alone others are up to {error:.1e} V off"
    note = f"the card holds at {_celsius(fit.values['temperature'])} alone: {why}"
    return dataclasses.replace(fit, notes=(*fit.notes, note))


def _with_law(fit: Fit, law: _Law, elsewhere: Sequence[Table], swept: Sequence[Table]) -> Fit:
    kelvin = sorted([fit.values["temperature"], *map(_kelvin, swept)])
    n = len(fit.estimates)
    correlation = np.eye(n + 2)
    correlation[:n, :n] = fit.correlation
    correlation[n, n + 1] = correlation[n + 1, n] = law.correlation
    note = f"EG and XTI were read between {_celsius(kelvin[0])} and {_celsius(kelvin[-1])}, where the card holds"
    if len(swept) < len(elsewhere):
        note += "; beyond they alone do not describe the device"
    return dataclasses.replace(
        fit,
        estimates={**fit.estimates, **law.estimates},
        correlation=correlation,
        constants={name: entry for name, entry in fit.constants.items() if name not in law.estimates},
        untold=tuple(phrase for phrase in fit.untold if not phrase.startswith("energy_gap")),
        validity={**fit.validity, "temperature_K": (kelvin[0], kelvin[-1])},
        notes=(*fit.notes, note),
    )


@dataclass(frozen=True)
class _Law:
    """Energy gap [eV] and exponent, with their standard deviations and correlation."""

    gap: float
    exponent: float
    deviations: tuple[float, float]
    correlation: float

    @classmethod
    def through(cls, fit: Fit, tables: Sequence[Table], sigma: float) -> Self:
        """N ln(IS/IS₀) = EG (T/T₀ − 1)/V_t + XTI ln(T/T₀), linear in both, by least squares."""
        kelvin = np.array([_kelvin(table) for table in tables])
        ratio, thermal = kelvin / fit.values["temperature"], np.array([thermal_voltage(t) for t in kelvin.tolist()])
        columns = np.stack([(ratio - 1) / thermal, np.log(ratio)], axis=1)
        rises = [_saturation(fit, table) - np.log(fit.values["saturation_current"]) for table in tables]
        (gap, exponent), *_ = np.linalg.lstsq(columns, fit.values["ideality"] * np.array(rises), rcond=None)
        deviations = sigma / thermal
        covariance = np.linalg.inv((columns / deviations[:, None]).T @ (columns / deviations[:, None]))
        sigmas = np.sqrt(np.diag(covariance))
        correlation = float(covariance[0, 1] / sigmas.prod())
        return cls(float(gap), float(exponent), (float(sigmas[0]), float(sigmas[1])), correlation)

    @property
    def estimates(self) -> dict[str, Estimate]:
        return {
            "energy_gap": Estimate(self.gap, self.deviations[0], "eV"),
            "saturation_exponent": Estimate(self.exponent, self.deviations[1], "1"),
        }

    def error(self, fit: Fit, table: Table, per_volt: np.ndarray) -> float:
        """Largest error at the temperature of a table; infinite where the device conducts nothing there. [V]"""
        if not np.isfinite([self.gap, self.exponent]).all():
            return np.inf
        own = {name: fit.values[name] for name in ("saturation_current", "ideality", "series_resistance")}
        device = ShockleyDiode(
            **own,
            temperature=_kelvin(table),
            nominal_temperature=fit.values["nominal_temperature"],
            energy_gap=self.gap,
            saturation_exponent=self.exponent,
        )
        ours = device.current(torch.from_numpy(table["voltage"])).numpy()
        return float((np.abs(ours - table["current"]) / per_volt).max())


def _saturation(fit: Fit, table: Table) -> float:
    """Logarithm of the saturation current [A] that makes the device's current; NaN where it does not conduct."""
    junction = table["voltage"] - fit.values["series_resistance"] * table["current"]
    exponent = junction / (fit.values["ideality"] * thermal_voltage(_kelvin(table)))
    # Behind a tiny resistance smaller currents are the rounding of a voltage.
    conducts = (exponent > _CONDUCTING) & (table["current"] > _TELLING)
    if not conducts.any():
        return np.nan
    exponent, current = exponent[conducts], table["current"][conducts]
    return float(np.median(np.log(current) - exponent - np.log1p(-np.exp(-exponent))))


def _kelvin(table: Table) -> float:
    return float(table["temperature"][0])


def _celsius(kelvin: float) -> str:
    return f"{kelvin - ZERO_CELSIUS:g} °C"
