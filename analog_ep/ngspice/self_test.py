"""A circuit whose solution is known in closed form, to try an engine with."""

from __future__ import annotations

import time

import numpy as np

from analog_ep.circuit import GROUND, Circuit, CircuitBuilder, Conductances, Diodes, VoltageSources
from analog_ep.constants import SIMULATION_GMIN, thermal_voltage
from analog_ep.devices import ShockleyDiode
from analog_ep.netlist.netlist import SpiceOptions
from analog_ep.ngspice.sweep import Batch, Sweep

ALLOWED = 1e-9
"""Largest error of an engine that works. [V]"""

_SATURATION_CURRENT, _IDEALITY = 1e-12, 1.5
_UPPER, _LOWER = 1e3, 4e3
_SECONDS = 60.0


def self_test(engine: str) -> tuple[float, float]:
    """Error of an engine on a divider with a diode across its lower resistor, and how long it took.

    The diode's voltages are chosen, and the divider's input voltage at which it has them follows.

    Parameters
    ----------
    engine : str
        See `find_engine`.

    Returns
    -------
    error, seconds : float
        The largest over three points. [V], [s]

    Raises
    ------
    NgspiceError
        If the engine is missing, or fails.
    """
    wanted = np.array([-0.5, 0.3, 0.7])
    junction = _SATURATION_CURRENT * np.expm1(wanted / (_IDEALITY * thermal_voltage()))
    # Far below 0 V ngspice has another tail in place of the exponential.
    tail = 3 * _IDEALITY * thermal_voltage()
    below = wanted < -tail
    junction[below] = -_SATURATION_CURRENT * (1 + (tail / (np.e * wanted[below])) ** 3)
    inputs = wanted + _UPPER * (wanted / _LOWER + junction + SIMULATION_GMIN * wanted)
    sweep = Sweep(_divider(), SpiceOptions(reltol=1e-12, vntol=1e-15, abstol=1e-18), None, engine, _SECONDS)
    began = time.perf_counter()
    found = sweep.run(Batch(inputs[:, None]))[:, sweep.circuit.node("out")]
    return float(np.abs(found - wanted).max()), time.perf_counter() - began


def _divider() -> Circuit:
    builder = CircuitBuilder("a divider with a diode")
    source, out = builder.add_nodes(["in", "out"])
    builder.add(VoltageSources("input", source, GROUND, 0.0, 0))
    builder.add(Conductances("r", [source, out], [out, GROUND], [1 / _UPPER, 1 / _LOWER]))
    builder.add(Diodes("d", out, GROUND, ShockleyDiode(_SATURATION_CURRENT, _IDEALITY)))
    return builder.build()
