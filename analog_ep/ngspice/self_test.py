"""A circuit whose solution is known in closed form, to try an engine with."""

from __future__ import annotations

import time

import numpy as np

from analog_ep.constants import SIMULATION_GMIN, thermal_voltage
from analog_ep.ngspice.process import run_ngspice

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
    points = ",".join(f"{i},{volts!r}" for i, volts in enumerate(inputs.tolist()))
    deck = f"""* a divider with a diode
.options TEMP=27 TNOM=27 reltol=1e-12 vntol=1e-15 abstol=1e-18 gmin={SIMULATION_GMIN!r} itl1=1000 itl2=500
.model junction D(IS={_SATURATION_CURRENT!r} N={_IDEALITY!r})
b_in in 0 v=pwl(v(idx),{points})
r_upper in out {_UPPER!r}
r_lower out 0 {_LOWER!r}
d_out out 0 junction
v_idx idx 0 0
.save v(out)
.dc v_idx 0 2 1
.end
"""
    began = time.perf_counter()
    found = run_ngspice(deck, len(wanted), engine, timeout=_SECONDS).columns(["v(out)"])[:, 0]
    return float(np.abs(found - wanted).max()), time.perf_counter() - began
