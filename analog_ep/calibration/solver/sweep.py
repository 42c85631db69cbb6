"""Characteristics of a device in ngspice."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from analog_ep.calibration.solver.device import Device
from analog_ep.constants import SIMULATION_GMIN, ZERO_CELSIUS
from analog_ep.errors import DataError, NgspiceError, NgspiceNotFoundError
from analog_ep.measurements import Table
from analog_ep.ngspice.process import run_ngspice

_POINTS = 1501
_SECONDS = 30.0
_BYTES = 2 << 30
"""Limits of a run, that of reading the file included."""

_SHIFT = 0.7
"""Voltage of the cathode against ground at which the device must carry the same current. [V]"""

_SHIFTED_POINTS = 41

_LEAST = 1e-10
"""A device that carries less at the ends of the sweep has nothing between its pins. [A]"""

_LARGE = 1e-6
"""A difference of this size at one point is no rounding. [A]"""

_FALL = 1e-12
"""Fall of a current that counts as none: the generation current of a diode's space charge has some. [A]"""

_HEAD = 3
"""Lines of a deck before those of the device."""

_LINE_NUMBER = re.compile(r"\bline (?:no\. |number )?(\d{1,6})\b", re.IGNORECASE)
_UNKNOWN_KEY = re.compile(r"unrecognized parameter \((\w{1,40})\)", re.IGNORECASE)


def sweep(
    device: Device,
    voltages: tuple[float, float],
    celsius: float = 27.0,
    largest_current: float = 0.01,
    points: int = _POINTS,
) -> Table:
    """Current of a device in ngspice, columns `voltage` [V], `current` [A] and `temperature` [K].

    Parameters
    ----------
    device : Device
        What `read_device` gave.
    voltages : (float, float)
        Ends of the sweep, on either side of 0. [V]
    celsius : float
        Temperature. [°C]
    largest_current : float
        The table ends where the current is larger. [A]
    points : int
        Of the sweep.

    Raises
    ------
    DataError
        If the voltages do not span 0, the temperature is not above 0 K, ngspice fails on the file, or what it defines
        is no passive, monotone resistor between two pins: it carries a current at 0 V, none at all, one to ground, or
        one that falls with the voltage.
    NgspiceNotFoundError
        If there is no ngspice.
    """
    low, high = voltages
    if not -np.inf < low < 0 < high < np.inf:
        raise DataError(f"the swept voltages must span 0, found {low:g} to {high:g} V")
    if not -ZERO_CELSIUS < celsius < np.inf:
        raise DataError(f"the temperature must be above {-ZERO_CELSIUS} °C, found {celsius:g} °C")
    if not largest_current > 0:
        raise DataError(f"the largest current must be positive, found {largest_current:g} A")
    voltage, current = _simulated(device, low, high, celsius, points)
    inside = np.abs(current) <= largest_current
    _require_conduction(device, voltage, current)
    # At larger currents ngspice may find no state of a device away from ground.
    if voltage[inside][0] < 0 < voltage[inside][-1]:
        _require_two_pins(device, float(voltage[inside][0]), float(voltage[inside][-1]), celsius)
    _require_passive(device, voltage, current)
    columns = {"voltage": voltage[inside], "current": current[inside]}
    return Table(device.name, {**columns, "temperature": np.full(inside.sum(), celsius + ZERO_CELSIUS)})


def _require_passive(device: Device, voltage: np.ndarray, current: np.ndarray) -> None:
    """Raise `DataError` for a current at 0 V, and for one that falls with the voltage."""
    at_zero = float(np.interp(0.0, voltage, current))
    if abs(at_zero) > 1e-9 * np.abs(current).max() + 1e-12:
        raise DataError(f"{device.name} must carry no current at 0 V, found {at_zero:.3g} A; it holds a source")
    fallen = np.maximum.accumulate(current) - current
    if fallen.max() > 1e-12 * np.abs(current).max() + _FALL:
        fall = voltage[int(np.diff(current).argmin())]
        raise DataError(
            f"the current of {device.name} must not fall with the voltage, found that it does near {fall:.3g} V; no "
            "diode of the solver can stand for it"
        )


def _simulated(device: Device, low: float, high: float, celsius: float, points: int) -> np.ndarray:
    """Voltage, and current into the anode, `(2, points)`."""
    cards = ["vsweep sweep_a 0 0.0", device.instance("sweep", "sweep_a", "0")]
    tolerances = ".options reltol=1e-10 vntol=1e-13 abstol=1e-16"
    voltage, current = _run(device, tolerances, cards, (low, high, points), celsius, ["v(sweep_a)", "i(vsweep)"])
    return np.stack([voltage, -current])


def _require_conduction(device: Device, voltage: np.ndarray, current: np.ndarray) -> None:
    size = float(np.abs(current).max())
    if size < _LEAST:
        raise DataError(
            f"{device.name} must carry a current, found {size:.1g} A at most between {voltage[0]:g} and "
            f"{voltage[-1]:g} V; nothing conducts between its pins, or only at larger voltages"
        )


def _require_two_pins(device: Device, low: float, high: float, celsius: float) -> None:
    """Raise `DataError` where current finds another way than from pin to pin."""
    cards = [
        "vsweep sweep_a 0 0.0",
        f"vshift sweep_k 0 {_SHIFT!r}",
        "esweep sweep_h sweep_k sweep_a 0 1.0",
        "vhigh sweep_h sweep_b 0.0",
        "vlow sweep_c sweep_k 0.0",
        device.instance("shifted", "sweep_b", "sweep_c"),
        device.instance("sweep", "sweep_d", "0"),
        "edirect sweep_e 0 sweep_a 0 1.0",
        "vdirect sweep_e sweep_d 0.0",
    ]
    # So close to each other's rounding the tight tolerances of the sweep would not be reached.
    tolerances = ".options reltol=1e-6 vntol=1e-9 abstol=1e-13"
    names = ["v(sweep_a)", "i(vdirect)", "i(vhigh)", "i(vlow)"]
    voltage, direct, *others = _run(device, tolerances, cards, (low, high, _SHIFTED_POINTS), celsius, names)
    for other, what in zip(others, ("differs", "does not come out of the cathode"), strict=True):
        off = np.abs(other - direct) - 1e-3 * np.abs(direct)
        worst = int(off.argmax())
        # Through a micro-ohm the rounding of a voltage is a nanoampere, at some points.
        if abs(np.median(other - direct)) > _LEAST + 1e-3 * np.abs(np.median(direct)) or off[worst] > _LARGE:
            raise DataError(
                f"{device.name} must have its current from pin to pin, found one that {what} at {voltage[worst]:.3g} V "
                f"where its cathode is {_SHIFT:g} V above ground; it has a path to ground"
            )


def _run(
    device: Device,
    tolerances: str,
    cards: list[str],
    sweep: tuple[float, float, int],
    celsius: float,
    names: list[str],
) -> np.ndarray:
    """Vectors of a sweep of `vsweep` through (low, high, points), `(n_names, points)`."""
    low, high, points = sweep
    step = (high - low) / (points - 1)
    deck = "\n".join(
        [
            "* one device",
            f".options TEMP={celsius!r} TNOM=27.0 gmin={SIMULATION_GMIN!r} itl1=1000",
            tolerances,
            device.text,
            *cards,
            f".dc vsweep {low!r} {high + step / 2!r} {step!r}",
            f".save {' '.join(names)}",
            ".end\n",
        ]
    )
    try:
        return run_ngspice(deck, points, timeout=_SECONDS, memory_limit=_BYTES).columns(names).T
    except NgspiceNotFoundError:
        raise
    except NgspiceError as error:
        raise DataError(_in_the_file(device, str(error))) from None


def _in_the_file(device: Device, words: str) -> str:
    """What ngspice says of a deck, with the lines of the file that the device is from."""

    def line(found: re.Match[str]) -> str:
        at = int(found[1]) - 1 - _HEAD
        return f"line {device.lines[at].number}" if 0 <= at < len(device.lines) else "a line"

    file: Path | str = device.lines[0].file if device.lines else device.name
    key = _UNKNOWN_KEY.search(words)
    if key:
        for card in device.lines:
            if card.kind == "model" and re.search(rf"\b{key[1]} ?=", card.text, re.IGNORECASE):
                return (
                    f"{card.place_of(key[1])}: parameters must be ones that ngspice knows, found {key[1]!r}; "
                    "take it out, or give a model that does without"
                )
    return f"{file}: ngspice must be able to use {device.name}, found: {_LINE_NUMBER.sub(line, words)}"
