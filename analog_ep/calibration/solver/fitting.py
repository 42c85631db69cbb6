"""The simplest diode of the fast solver that has a swept characteristic."""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch

from analog_ep.calibration.adequacy import Adequacy
from analog_ep.calibration.diode import fit_diode
from analog_ep.calibration.fit import Axes, Curve, Estimate, Fit
from analog_ep.calibration.solver.device import Device
from analog_ep.calibration.solver.reverse import in_reverse
from analog_ep.calibration.solver.sweep import sweep
from analog_ep.calibration.solver.temperatures import with_temperatures
from analog_ep.devices import PiecewiseLinearDiode
from analog_ep.errors import DataError
from analog_ep.measurements import Table

LOAD = 1e-6
"""Conductance beside the diode at which errors of its current are judged as voltages. [S]"""

ALLOWED = 5e-5
"""Largest such error of a model that is accepted. [V]"""

_MOST_SEGMENTS = 400
_TEMPERATURES, _POINTS_ELSEWHERE = 4, 301
_WEIGHT = 1e-5
_SHARE = 0.7
"""Of the allowed error, what the points of the sweep may have: between them lies some more."""


@dataclass(frozen=True)
class WithinTolerance(Adequacy):
    """The verdict on a model of a simulated curve, which has no noise: how far it is off.

    Attributes
    ----------
    error, allowed : float
        Largest error of the voltage that the diode takes under a current, beside a conductance `load`. [V]
    load : float
        [S]
    """

    p_values: Mapping[str, float] = field(default_factory=dict)
    error: float = 0.0
    allowed: float = ALLOWED
    load: float = LOAD

    @property
    def adequate(self) -> bool:
        """Whether the error is within the allowed one."""
        return self.error <= self.allowed

    def sentence(self, model: str) -> str:
        """How far the model is off, in one sentence."""
        verdict = "adequate" if self.adequate else "NOT adequate"
        limits = f"{self.allowed:.0e} V allowed"
        return f"{model} is {verdict}: within {self.error:.1e} V of ngspice beside {self.load:g} S, {limits}"


def calibrate_device(
    device: Device,
    voltages: tuple[float, float] = (-2.0, 1.0),
    *,
    celsius: float = 27.0,
    between: tuple[float, float] = (-40.0, 125.0),
    largest_current: float = 0.01,
    load: float = LOAD,
) -> Fit:
    """Sweep a device in ngspice and fit the fast solver's diode, and how it follows the temperature.

    Parameters
    ----------
    device : Device
        What `read_device` gave.
    voltages : (float, float)
        Ends of the sweep, on either side of 0. [V]
    celsius : float
        Temperature of the card. [°C]
    between : (float, float)
        Temperatures between which it is to hold. [°C]
    largest_current : float
        Where the fit ends. [A]
    load : float
        See `fit_solver`.

    Raises
    ------
    DataError
        See `sweep` and `fit_solver`; or if the temperatures do not rise.
    """
    low, high = between
    if not low < high:
        raise DataError(f"temperatures must rise, found {low:g} to {high:g} °C")
    table = sweep(device, voltages, celsius, largest_current)
    elsewhere = []
    for other in np.linspace(low, high, _TEMPERATURES).tolist():
        # Where ngspice has no such characteristic the card does not hold.
        with contextlib.suppress(DataError):
            elsewhere.append(sweep(device, voltages, other, largest_current, _POINTS_ELSEWHERE))
    fit = fit_solver(table, load=load, elsewhere=elsewhere)
    fit = in_reverse(fit, device, voltages, celsius, lambda t: _per_volt(t, load), ALLOWED)
    if not device.dropped:
        return fit
    return dataclasses.replace(
        fit, notes=(f"left out, of no electrical meaning: {', '.join(device.dropped)}", *fit.notes)
    )


def fit_solver(table: Table, *, load: float = LOAD, allowed: float = ALLOWED, elsewhere: Sequence[Table] = ()) -> Fit:
    """The simplest diode of the fast solver that is within `allowed` of a swept characteristic.

    Shockley's with a series resistance where it is near enough, otherwise a piecewise-linear one. The error of a
    current counts as that of the voltage it makes at the diode beside a conductance `load`.

    Parameters
    ----------
    table : Table
        What `sweep` gave.
    load : float
        Smallest conductance beside a diode in the networks that it is for. [S]
    allowed : float
        Largest error. [V]
    elsewhere : sequence of Table
        Sweeps of the device at other temperatures, from which EG and XTI are read. Those nearest to the first that
        their law describes within `allowed` are the range of the card; where it describes not even two, or none are
        given, the card holds at its own temperature alone.

    Raises
    ------
    DataError
        If the load is not positive.
    """
    if not 0 < load < np.inf:
        raise DataError(f"the load must be positive, found {load:g} S")
    kelvin = float(table["temperature"][0])
    per_volt = _per_volt(table, load)
    forward = Table(table.name, {**table.columns, "current_std": _WEIGHT * per_volt})
    try:
        shockley = fit_diode(forward)
    except DataError:
        shockley = None
    if shockley is not None:
        error = _WEIGHT * float(np.abs(shockley.curves[0].residuals).max())
        if error <= allowed:
            at = {"temperature": Estimate(kelvin, 0.0, "K")}
            found = dataclasses.replace(
                shockley,
                constants={**shockley.constants, **at},
                adequacy=WithinTolerance(error=error, allowed=allowed, load=load),
                noise=f"none: the curve is simulated; 1 σ stands for {_WEIGHT:g} V at the diode beside {load:g} S",
            )
            return with_temperatures(found, elsewhere, lambda t: _per_volt(t, load), allowed, _WEIGHT)
    return _piecewise(table, per_volt, load, allowed)


def _per_volt(table: Table, load: float) -> np.ndarray:
    """Conductance at the diode, by which an error of its current becomes one of its voltage. [S]"""
    return np.gradient(table["current"], table["voltage"]).clip(min=0) + load


def _piecewise(table: Table, per_volt: np.ndarray, load: float, allowed: float) -> Fit:
    voltage, current = table["voltage"], table["current"]
    knots = [0, len(voltage) - 1, int(np.abs(voltage).argmin())]
    worst = np.inf
    while worst > _SHARE * allowed and len(knots) < _MOST_SEGMENTS:
        knots = sorted(set(knots))
        errors = np.abs(np.interp(voltage, voltage[knots], current[knots]) - current) / per_volt
        worst = float(errors.max())
        # The worst point of every segment that is too far off becomes a knot.
        for first, last in itertools.pairwise(knots[:]):
            if errors[first : last + 1].max() > _SHARE * allowed:
                knots.append(first + int(errors[first : last + 1].argmax()))
    knots = sorted(set(knots))
    device = PiecewiseLinearDiode.from_points(voltage[knots].tolist(), np.maximum.accumulate(current[knots]).tolist())
    ours = device.current(torch.from_numpy(voltage)).numpy()
    residuals = (current - ours) / (_WEIGHT * per_volt)
    error = _WEIGHT * float(np.abs(residuals).max())
    kelvin = float(table["temperature"][0])
    return Fit(
        kind="diode",
        model="piecewise",
        estimates={},
        correlation=np.zeros((0, 0)),
        constants={
            "thresholds": Estimate(list(device.thresholds), 0.0, "V"),
            "increments": Estimate(list(device.increments), 0.0, "S"),
            "leakage": Estimate(float(device.leakage), 0.0, "S"),
        },
        adequacy=WithinTolerance(error=error, allowed=allowed, load=load),
        untold=(),
        noise="none: the curve is simulated",
        n_points=len(voltage),
        validity={"voltage_V": (float(voltage[0]), float(voltage[-1])), "temperature_K": (kelvin, kelvin)},
        axes=Axes("voltage [V]", "current [A]", logarithmic=True),
        curves=(
            Curve(
                label=f"{kelvin:g} K",
                x=voltage,
                y=current,
                residuals=residuals,
                grid=voltage,
                mean=ours,
                band=np.zeros(len(voltage)),
                spread=_WEIGHT * per_volt,
            ),
        ),
        notes=(f"Shockley's equation is not near enough; {len(knots) - 1} straight pieces are",),
    )
