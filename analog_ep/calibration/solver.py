"""Diodes of the fast solver that stand for a designer's own in ngspice: a model card or a two-terminal subcircuit."""

from __future__ import annotations

import dataclasses
import itertools
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch

from analog_ep.calibration.adequacy import Adequacy
from analog_ep.calibration.diode import fit_diode
from analog_ep.calibration.fit import Axes, Curve, Estimate, Fit
from analog_ep.constants import SIMULATION_GMIN, ZERO_CELSIUS
from analog_ep.devices import PiecewiseLinearDiode
from analog_ep.errors import CircuitError, DataError
from analog_ep.measurements import Table
from analog_ep.spice.process import run_ngspice

LOAD = 1e-6
"""Conductance beside the diode at which errors of its current are judged as voltages. [S]"""

ALLOWED = 5e-5
"""Largest such error of a model that is accepted. [V]"""

_POINTS = 1501
_MOST_SEGMENTS = 400
_WEIGHT = 1e-5
_SHARE = 0.7
"""Of the allowed error, what the points of the sweep may have: between them lies some more."""
_CARD = re.compile(r"\s*\.(\w+)\s+(\S+)\s*(.*)", re.IGNORECASE)
_HARMLESS = ("model", "subckt", "ends", "param", "func")


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


@dataclass(frozen=True)
class Device:
    """What a file defines.

    Attributes
    ----------
    text : str
        Cards that define it.
    name : str
        Of the model or subcircuit.
    is_model : bool
        Whether it is a ``.model`` of a diode.
    """

    text: str
    name: str
    is_model: bool

    def instance(self, name: str, anode: str, cathode: str) -> str:
        """Card of one such device."""
        return f"{'d' if self.is_model else 'x'}{name} {anode} {cathode} {self.name}"


def read_device(path: Path, name: str | None = None) -> Device:
    """Read a file with a ``.model`` of a diode or a ``.subckt`` with two pins, anode and cathode.

    Only these cards, ``.param`` and ``.func`` may stand in it, and elements inside of subcircuits alone: nothing in the
    file can run a command or read another file.

    Parameters
    ----------
    path : Path
        The netlist.
    name : str, optional
        Which model or subcircuit is meant, where there are several; by default the last subcircuit with two pins, or
        the last diode model where there is none.

    Raises
    ------
    DataError
        If the file cannot be read or defines no such device.
    CircuitError
        If it holds anything else.
    """
    try:
        text = path.read_text(encoding="ascii")
    except OSError as error:
        raise DataError(f"{path} must be a readable netlist, found: {error.strerror}") from None
    except UnicodeDecodeError:
        raise DataError(f"{path} must be a netlist in plain ASCII, found other bytes") from None
    text = text.replace("\r\n", "\n").replace("\t", " ")
    models, subcircuits = _definitions(path, text)
    found = [*models, *subcircuits]
    if not found:
        raise DataError(f"{path} must define a .model NAME D(…) or a .subckt NAME ANODE CATHODE, found neither")
    chosen = found[-1] if name is None else name.lower()
    if chosen not in found:
        raise DataError(f"{path} defines {', '.join(found)}, found {name!r} asked for")
    return Device(text.rstrip("\n"), chosen, chosen not in subcircuits)


def _definitions(path: Path, text: str) -> tuple[list[str], list[str]]:
    """Names of the diode models outside of subcircuits, and of the subcircuits with two pins."""
    models, subcircuits, depth = [], [], 0
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip() or line.lstrip()[0] in "*+":
            continue
        match = _CARD.match(line)
        kind = match[1].lower() if match else "ends" if line.strip().lower() == ".ends" else None
        if kind is None and depth and not line.lstrip().startswith("."):
            continue
        if kind not in _HARMLESS:
            raise CircuitError(
                f"{path}, line {number}: a device file may hold .{', .'.join(_HARMLESS)} and elements within a "
                f".subckt, found {line.strip()[:40]!r}; take it out"
            )
        if kind == "ends":
            depth -= 1
        elif kind == "subckt" and match:
            depth += 1
            pins = re.split(r"\bparams:|\S+=", match[3], maxsplit=1, flags=re.IGNORECASE)[0].split()
            if depth == 1 and len(pins) == 2:
                subcircuits.append(match[2].lower())
        elif kind == "model" and match and not depth and re.match(r"d\b", match[3], re.IGNORECASE):
            models.append(match[2].lower())
    if depth:
        raise DataError(f"{path}: every .subckt must have its .ends, found {abs(depth)} without")
    return models, subcircuits


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
        If the voltages do not span 0, or the current is not 0 there or falls anywhere: no passive, monotone resistor.
    NgspiceError
        If ngspice fails on the file.
    """
    low, high = voltages
    if not low < 0 < high:
        raise DataError(f"the swept voltages must span 0, found {low:g} to {high:g} V")
    step = (high - low) / (points - 1)
    deck = "\n".join(
        [
            "* one device",
            f".options TEMP={celsius!r} TNOM=27.0 gmin={SIMULATION_GMIN!r} itl1=1000",
            ".options reltol=1e-10 vntol=1e-13 abstol=1e-16",
            device.text,
            "vsweep sweep_a 0 0.0",
            device.instance("sweep", "sweep_a", "0"),
            f".dc vsweep {low!r} {high + step / 2!r} {step!r}",
            ".save v(sweep_a) i(vsweep)",
            ".end\n",
        ]
    )
    voltage, current = run_ngspice(deck, points).columns(["v(sweep_a)", "i(vsweep)"]).T
    current = -current
    at_zero = float(np.interp(0.0, voltage, current))
    if abs(at_zero) > 1e-9 * np.abs(current).max() + 1e-12:
        raise DataError(f"{device.name} must carry no current at 0 V, found {at_zero:.3g} A; it holds a source")
    if (np.diff(current) < -1e-12 * np.abs(current).max()).any():
        fall = voltage[int(np.diff(current).argmin())]
        raise DataError(
            f"the current of {device.name} must not fall with the voltage, found that it does near {fall:.3g} V; no "
            "diode of the solver can stand for it"
        )
    inside = np.abs(current) <= largest_current
    columns = {"voltage": voltage[inside], "current": current[inside]}
    return Table(device.name, {**columns, "temperature": np.full(inside.sum(), celsius + ZERO_CELSIUS)})


def fit_solver(table: Table, *, load: float = LOAD, allowed: float = ALLOWED) -> Fit:
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
    """
    voltage, current = table["voltage"], table["current"]
    slope = np.gradient(current, voltage)
    per_volt = slope.clip(min=0) + load
    kelvin = float(table["temperature"][0])
    forward = Table(table.name, {**table.columns, "current_std": _WEIGHT * per_volt})
    try:
        shockley = fit_diode(forward)
    except DataError:
        shockley = None
    if shockley is not None:
        error = _WEIGHT * float(np.abs(shockley.curves[0].residuals).max())
        if error <= allowed:
            constants = {**shockley.constants, "temperature": Estimate(kelvin, 0.0, "K")}
            return dataclasses.replace(
                shockley,
                constants=constants,
                adequacy=WithinTolerance(error=error, allowed=allowed, load=load),
                noise=f"none: the curve is simulated; 1 σ stands for {_WEIGHT:g} V at the diode beside {load:g} S",
            )
    return _piecewise(table, per_volt, load, allowed)


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
