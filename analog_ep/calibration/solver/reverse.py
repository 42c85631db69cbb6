"""How far in reverse a card follows the device that it was swept from: a breakdown is no part of a junction's law."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from analog_ep.calibration.fit import Fit
from analog_ep.calibration.solver.device import Device
from analog_ep.calibration.solver.sweep import sweep
from analog_ep.devices import PiecewiseLinearDiode, ShockleyDiode
from analog_ep.errors import DataError
from analog_ep.measurements import Table

_FARTHEST = (-100.0, -30.0, -10.0, -5.0)
"""Voltages to which the two are compared, the first from which ngspice finds its way. [V]"""

_POINTS = 1011


def in_reverse(
    fit: Fit,
    device: Device,
    voltages: tuple[float, float],
    celsius: float,
    per_volt: Callable[[Table], np.ndarray],
    allowed: float,
) -> Fit:
    """A fit whose range of voltages ends where the device in ngspice leaves it, or far below the sweep.

    Parameters
    ----------
    fit : Fit
        Of a sweep.
    device : Device
        What was swept.
    voltages : (float, float)
        Ends of that sweep. [V]
    celsius : float
        Its temperature. [°C]
    per_volt : callable
        Conductance at the diode, by which an error of a table's current becomes one of its voltage. [S]
    allowed : float
        Largest error. [V]
    """
    table = _swept(device, voltages, celsius)
    if table is None:
        return fit
    # From the end of the sweep outward.
    beyond = np.flatnonzero(table["voltage"] < voltages[0])[::-1]
    voltage = table["voltage"][beyond]
    kind = ShockleyDiode if fit.model == "shockley" else PiecewiseLinearDiode
    values: dict[str, Any] = dict(fit.values)
    current = kind(**values).current(torch.from_numpy(voltage)).numpy()
    off = np.abs(current - table["current"][beyond]) > allowed * per_volt(table)[beyond]
    followed = voltage[: int(off.argmax())] if off.any() else voltage
    lowest = float(followed[-1]) if len(followed) else fit.validity["voltage_V"][0]
    notes = fit.notes
    if off.any():
        notes += (f"below {lowest:.3g} V the device leaves the card, as in a breakdown; keep the network above",)
    elif voltage[-1] > _FARTHEST[0]:
        notes += (f"below {lowest:.3g} V the device was not compared with the card: ngspice finds no state there",)
    validity = {**fit.validity, "voltage_V": (lowest, fit.validity["voltage_V"][1])}
    return dataclasses.replace(fit, notes=notes, validity=validity)


def _swept(device: Device, voltages: tuple[float, float], celsius: float) -> Table | None:
    """As far in reverse as ngspice goes; None where that is not beyond the sweep."""
    for farthest in _FARTHEST:
        if farthest < voltages[0]:
            with contextlib.suppress(DataError):
                return sweep(device, (farthest, voltages[1]), celsius, points=_POINTS)
    return None
