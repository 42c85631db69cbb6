"""Diode characteristics: saturation current, ideality, series resistance, and their temperature dependence."""

from __future__ import annotations

import dataclasses

import numpy as np
import torch

from analog_ep.calibration.adequacy import judge, waves
from analog_ep.calibration.fit import Axes, Curve, Estimate, Fit, Unknown, deviations_of_mean, estimates_of, is_told
from analog_ep.calibration.plausible import require_no_plateau, require_signs_agree
from analog_ep.calibration.regression import Noise, Regression, central_differences, regress
from analog_ep.constants import DEFAULT_TEMPERATURE, thermal_voltage
from analog_ep.devices import ShockleyDiode
from analog_ep.errors import DataError
from analog_ep.measurements import CURRENT, VOLTAGE, Column, Table

COLUMNS = (
    VOLTAGE,
    CURRENT,
    Column("temperature", "K", required=False, others=("temp",)),
    Column("current_std", "A", required=False),
)
"""Columns of a table of diode characteristics."""

_FEWEST = 8
_AWAY = 0.05
"""Voltage from which on the current of a diode must have its sign. [V]"""
_SATURATION = Unknown("saturation_current", "A")
_IDEALITY = Unknown("ideality", "1")
_RESISTANCE = Unknown("series_resistance", "ohm", logarithmic=False, lower=0.0)
_GAP = Unknown("energy_gap", "eV")
_SILICON_GAP = 1.11


def fit_diode(
    table: Table,
    *,
    temperature: float = DEFAULT_TEMPERATURE,
    noise: Noise | None = None,
    saturation_exponent: float = 3.0,
    energy_gap: float | None = None,
) -> Fit:
    """Fit `analog_ep.devices.ShockleyDiode` to current against voltage.

    With several temperatures the energy gap is fitted too, and the saturation current refers to the one nearest to
    27 °C. With one, and no gap given, the card has none, and holds there alone. The exponent XTI is given: within a
    hundred kelvin no data tell it from the gap. A series resistance that the data cannot tell from 0 is 0.

    Parameters
    ----------
    table : Table
        Columns `voltage` [V], `current` [A]; optionally `temperature` [K] and `current_std` [A].
    temperature : float
        Of the measurement, where the table has no such column. [K]
    noise : Noise, optional
        By default relative noise and a floor, both estimated; a column `current_std` goes first.
    saturation_exponent : float
        XTI; 3 for silicon, 2 for Schottky diodes.
    energy_gap : float, optional
        EG, where it is known: 1.11 for silicon, 0.69 for many Schottky diodes. [eV]

    Raises
    ------
    DataError
        If points are too few, all of one sign of the voltage below conduction, fall with the voltage, have the wrong
        sign, or stand still as in the compliance of an instrument.
    """
    voltage, current, temperatures = _characteristics(table, temperature)
    deviation = table.get("current_std")
    noise = Noise(deviation=deviation) if deviation is not None else noise or Noise()
    model = _model(np.unique(temperatures), saturation_exponent, energy_gap)
    result = _regression(model, voltage, current, temperatures, noise)
    return _described(table, model, result, noise, voltage, current, temperatures)


def _model(levels: np.ndarray, saturation_exponent: float, energy_gap: float | None) -> _Characteristic:
    """What is fitted to data at these temperatures, each once."""
    nominal = float(levels[np.abs(levels - DEFAULT_TEMPERATURE).argmin()])
    if energy_gap is not None and not 0 < energy_gap < np.inf:
        raise DataError(f"the energy gap must be positive, found {energy_gap} eV")
    fits_gap = len(levels) > 1 and energy_gap is None
    unknowns = (_SATURATION, _IDEALITY, _RESISTANCE) + ((_GAP,) if fits_gap else ())
    return _Characteristic(unknowns, nominal, saturation_exponent, energy_gap)


def _described(
    table: Table,
    model: _Characteristic,
    result: Regression,
    noise: Noise,
    voltage: np.ndarray,
    current: np.ndarray,
    temperatures: np.ndarray,
) -> Fit:
    estimates, correlation, untold = estimates_of(model.unknowns, result.coordinates, result.covariance)
    levels = np.unique(temperatures)
    if len(levels) == 1 and model.energy_gap is None:
        untold += ("energy_gap, from one temperature",)
    alternatives = {
        "trend with voltage": waves(voltage, temperatures),
        "trend with order": waves(np.arange(len(table), dtype=float)),
    }
    return Fit(
        kind="diode",
        model="shockley",
        estimates=estimates,
        correlation=correlation,
        constants=_constants(model, levels),
        adequacy=judge(result.residuals, result.whitened, alternatives, noise.known),
        untold=untold,
        noise=_noise_words(noise, result),
        n_points=len(table),
        validity={
            "voltage_V": _range(voltage),
            "current_A": _range(np.abs(result.prediction)),
            "temperature_K": _range(levels),
        },
        axes=Axes("voltage [V]", "current [A]", logarithmic=True),
        curves=_curves(model, result, voltage, current, temperatures),
    )


def _characteristics(table: Table, temperature: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Voltages [V], currents [A] and temperatures [K] that may be those of a diode."""
    table.require_rows(_FEWEST, "a diode")
    voltage, current = table["voltage"], table["current"]
    temperatures = table.get("temperature")
    temperatures = np.full(len(table), temperature) if temperatures is None else temperatures
    if not (temperatures > 0).all():
        raise DataError(f"{table.name}: temperatures must be above 0 K, found {temperatures.min():g} K")
    require_signs_agree(table, np.abs(voltage) > _AWAY)
    _require_diode(table, voltage, current, temperatures)
    require_no_plateau(table)
    return voltage, current, temperatures


def _regression(
    model: _Characteristic, voltage: np.ndarray, current: np.ndarray, temperatures: np.ndarray, noise: Noise
) -> Regression:
    start = _start(voltage, current, temperatures, model.nominal)
    result = regress(
        model.unknowns,
        lambda at: model.current(at, voltage, temperatures),
        [*start, _SILICON_GAP][: len(model.unknowns)],
        current,
        noise,
        lambda at: model.derivatives(at, voltage, temperatures),
    )
    return _without_resistance(model, result, voltage, current, temperatures, noise)


def _constants(model: _Characteristic, levels: np.ndarray) -> dict[str, Estimate]:
    """Parameters that are given: the temperature of the card is that of the fit where 27 °C was not measured."""
    constants = {
        "nominal_temperature": Estimate(model.nominal, 0.0, "K"),
        "saturation_exponent": Estimate(model.saturation_exponent, 0.0, "1"),
    }
    if not levels[0] <= DEFAULT_TEMPERATURE <= levels[-1]:
        constants["temperature"] = Estimate(model.nominal, 0.0, "K")
    if model.energy_gap is not None:
        constants["energy_gap"] = Estimate(model.energy_gap, 0.0, "eV")
    return constants


def _range(values: np.ndarray) -> tuple[float, float]:
    return float(values.min()), float(values.max())


class _Characteristic:
    """The diode's current and its derivatives by the fit's coordinates: ln IS, ln n, R_s and, where fitted, ln EG."""

    def __init__(
        self, unknowns: tuple[Unknown, ...], nominal: float, saturation_exponent: float, energy_gap: float | None
    ):
        self.unknowns, self.nominal, self.saturation_exponent = unknowns, nominal, saturation_exponent
        self.energy_gap = energy_gap
        self._given = {} if energy_gap is None else {_GAP.name: energy_gap}

    def device(self, coordinates: np.ndarray, temperatures: np.ndarray) -> ShockleyDiode:
        values = {u.name: u.outside(x) for u, x in zip(self.unknowns, coordinates, strict=True)}
        one = bool((temperatures == temperatures[0]).all())
        return ShockleyDiode(
            **values,
            **self._given,
            temperature=float(temperatures[0]) if one else torch.from_numpy(temperatures),
            nominal_temperature=self.nominal,
            saturation_exponent=self.saturation_exponent,
        )

    def current(self, coordinates: np.ndarray, voltage: np.ndarray, temperatures: np.ndarray) -> np.ndarray:
        return self.device(coordinates, temperatures).current(torch.from_numpy(voltage)).numpy()

    def derivatives(self, coordinates: np.ndarray, voltage: np.ndarray, temperatures: np.ndarray) -> np.ndarray:
        # With j the junction's voltage, v = j + R i: what changes i at fixed j changes it by 1/(1 + R g) as much.
        device = self.device(coordinates, temperatures)
        junction = device.junction_voltage(torch.from_numpy(voltage))
        bare = dataclasses.replace(device, series_resistance=0.0)
        slope = bare.conductance(junction).numpy()

        resistance = [u.name for u in self.unknowns].index(_RESISTANCE.name)

        def at_fixed_junction(x: np.ndarray) -> np.ndarray:
            x = x.copy()
            x[resistance] = 0.0
            return self.device(x, temperatures).current(junction).numpy()

        columns = central_differences(at_fixed_junction, coordinates)
        columns[:, resistance] = -slope * bare.current(junction).numpy()
        return columns / (1 + coordinates[resistance] * slope)[:, None]


def _without_resistance(
    model: _Characteristic,
    result: Regression,
    voltage: np.ndarray,
    current: np.ndarray,
    temperatures: np.ndarray,
    noise: Noise,
) -> Regression:
    """The fit with a series resistance of 0 where the data cannot tell it from that; uncertainties stay its own."""
    at = [unknown.name for unknown in model.unknowns].index(_RESISTANCE.name)
    if is_told(result.coordinates[at], np.sqrt(result.covariance[at, at])):
        return result
    others = [k for k in range(len(model.unknowns)) if k != at]

    def full(reduced: np.ndarray) -> np.ndarray:
        return np.insert(reduced, at, 0.0)

    unknowns = [model.unknowns[k] for k in others]
    again = regress(
        unknowns,
        lambda x: model.current(full(x), voltage, temperatures),
        [u.outside(x) for u, x in zip(unknowns, result.coordinates[others], strict=True)],
        current,
        noise,
        lambda x: model.derivatives(full(x), voltage, temperatures)[:, others],
    )
    return dataclasses.replace(
        again, coordinates=full(again.coordinates), covariance=result.covariance, jacobian=result.jacobian
    )


def _require_diode(table: Table, voltage: np.ndarray, current: np.ndarray, temperatures: np.ndarray) -> None:
    for level in np.unique(temperatures):
        here = temperatures == level
        order = np.argsort(voltage[here], kind="stable")
        v, i = voltage[here][order], current[here][order]
        # A third of the range against the next: noise may make neighbours fall, a diode never as a whole.
        thirds = [part.mean() for part in np.array_split(i, 3)] if len(i) >= 6 else [i[0], i[-1]]
        if not (np.all(np.diff(thirds) >= 0) and thirds[-1] > thirds[0]):
            raise DataError(
                f"{table.name}: the current of a diode must rise with the voltage, found mean currents "
                f"{', '.join(f'{x:.3g}' for x in thirds)} A over thirds of {v[0]:g}…{v[-1]:g} V; check the polarity"
            )
    if not ((voltage > 0) & (current > 0)).sum() >= 4:
        raise DataError(
            f"{table.name}: at least 4 points must be in forward conduction, found fewer; check the polarity"
        )


def _start(
    voltage: np.ndarray, current: np.ndarray, temperatures: np.ndarray, nominal: float
) -> tuple[float, float, float]:
    """IS, n and R_s from the straight line of ln i over v in the lower part of the conduction at one temperature."""
    here = (temperatures == nominal) & (voltage > 0) & (current > 0)
    v, i = voltage[here], current[here]
    emission = thermal_voltage(nominal)
    if len(v) < 3:
        return 1e-14, 1.0, 0.0
    low = np.argsort(v)[: max(3, len(v) // 2)]
    slope, intercept = np.polyfit(v[low], np.log(i[low]), 1)
    ideality = float(np.clip(1 / max(slope * emission, 1e-3), 0.5, 20))
    saturation = float(np.exp(np.clip(intercept, -80, -3)))
    top = int(i.argmax())
    excess = v[top] - ideality * emission * np.log1p(i[top] / saturation)
    return saturation, ideality, float(max(excess / i[top], 0.0))


def _curves(
    model: _Characteristic, result: Regression, voltage: np.ndarray, current: np.ndarray, temperatures: np.ndarray
) -> tuple[Curve, ...]:
    curves = []
    for level in np.unique(temperatures):
        here = np.flatnonzero(temperatures == level)
        here = here[np.argsort(voltage[here], kind="stable")]
        grid = np.linspace(voltage[here[0]], voltage[here[-1]], 200)
        at = np.full(len(grid), level)
        slopes = model.derivatives(result.coordinates, grid, at)
        curves.append(
            Curve(
                label=f"{level:g} K",
                x=voltage[here],
                y=current[here],
                residuals=result.residuals[here],
                grid=grid,
                mean=model.current(result.coordinates, grid, at),
                band=deviations_of_mean(slopes, result.covariance),
                spread=np.interp(grid, voltage[here], result.deviation[here]),
            )
        )
    return tuple(curves)


def _noise_words(noise: Noise, result: Regression) -> str:
    if noise.deviation is not None:
        return "independent Gaussian noise of the standard deviations in the column current_std"
    origin = "as given" if noise.known else "estimated from the residuals"
    floor = f"a floor of {result.floor:.2g} A"
    return f"independent Gaussian noise, {result.relative:.2g} of the current and {floor}, {origin}"
