"""Characteristics of a device in ngspice."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from analog_ep.calibration.solver.device import Device
from analog_ep.constants import DEFAULT_TEMPERATURE, SIMULATION_GMIN, ZERO_CELSIUS
from analog_ep.errors import DataError, NgspiceError, NgspiceNotFoundError
from analog_ep.measurements import Table
from analog_ep.netlist.dialects import NGSPICE, Settings, analyses_of
from analog_ep.netlist.texts import in_celsius, number
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

_SOURCE, _ANODE = "vsweep", "sweep_a"
"""What is swept, and its node."""

_ITERATIONS = (1000, 50)
"""Newton iterations of the first point of a sweep, and of each further one: ngspice's own number."""

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
    voltage, current = _run(
        device,
        {"reltol": 1e-10, "vntol": 1e-13, "abstol": 1e-16},
        [device.instance("sweep", _ANODE, "0")],
        (low, high, points),
        celsius,
        [NGSPICE.voltage(_ANODE), NGSPICE.current(_SOURCE)],
    )
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
    element = NGSPICE.element
    cards = [
        element("vshift", ("sweep_k", "0"), number(_SHIFT)),
        element("esweep", ("sweep_h", "sweep_k", _ANODE, "0"), number(1.0)),
        element("vhigh", ("sweep_h", "sweep_b"), number(0.0)),
        element("vlow", ("sweep_c", "sweep_k"), number(0.0)),
        device.instance("shifted", "sweep_b", "sweep_c"),
        device.instance("sweep", "sweep_d", "0"),
        element("edirect", ("sweep_e", "0", _ANODE, "0"), number(1.0)),
        element("vdirect", ("sweep_e", "sweep_d"), number(0.0)),
    ]
    # So close to each other's rounding the tight tolerances of the sweep would not be reached.
    tolerances = {"reltol": 1e-6, "vntol": 1e-9, "abstol": 1e-13}
    names = [NGSPICE.voltage(_ANODE), *(NGSPICE.current(name) for name in ("vdirect", "vhigh", "vlow"))]
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
    tolerances: dict[str, float],
    cards: list[str],
    sweep: tuple[float, float, int],
    celsius: float,
    names: list[str],
) -> np.ndarray:
    """Vectors of a sweep of the source through (low, high, points), `(n_names, points)`."""
    low, high, points = sweep
    step = (high - low) / (points - 1)
    head = [NGSPICE.comment("one device"), *NGSPICE.settings(_settings(celsius, tolerances))]
    deck = "\n".join(
        [
            *head,
            device.text,
            NGSPICE.element(_SOURCE, (_ANODE, "0"), number(0.0)),
            *cards,
            *NGSPICE.sweep(_SOURCE, " ".join(map(number, (low, high + step / 2, step))), []),
            analyses_of(NGSPICE).save(names),
            NGSPICE.end(),
            "",
        ]
    )
    try:
        return run_ngspice(deck, points, timeout=_SECONDS, memory_limit=_BYTES).columns(names).T
    except NgspiceNotFoundError:
        raise
    except NgspiceError as error:
        raise DataError(_in_the_file(device, str(error), len(head))) from None


def _settings(celsius: float, tolerances: dict[str, float]) -> Settings:
    first, further = _ITERATIONS
    reltol, vntol, abstol = (number(tolerances[name]) for name in ("reltol", "vntol", "abstol"))
    nominal = in_celsius(DEFAULT_TEMPERATURE)
    return Settings(number(celsius), nominal, reltol, vntol, abstol, number(SIMULATION_GMIN), first, further)


def _in_the_file(device: Device, words: str, head: int) -> str:
    """What ngspice says of a deck with `head` lines first, in the lines of the file that the device is from."""

    def line(found: re.Match[str]) -> str:
        at = int(found[1]) - 1 - head
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
