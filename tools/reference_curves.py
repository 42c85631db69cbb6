"""Make the simulated reference curves in `calibration/`: python tools/reference_curves.py"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from analog_ep.resources import calibration_folder
from analog_ep.spice.process import run_ngspice

DIODES = {
    "nxp_1n4148": (
        "IS=4.352e-9 N=1.906 RS=0.6458",
        "of NXP's SPICE model of the 1N4148 small-signal silicon diode",
        0.01,
        0.9,
    ),
    "nxp_prll5819": (
        "IS=6.678e-6 N=1.04 RS=0.1936 EG=0.69 XTI=2",
        "of NXP's SPICE model of the PRLL5819 Schottky diode",
        0.01,
        0.5,
    ),
}
"""Model parameters, whose they are, and the voltages of the curve. [V]"""

CELSIUS = (0, 27, 50, 85)


def diode_curve(parameters: str, low: float, high: float, celsius: float, points: int = 60) -> np.ndarray:
    """Voltage and current of a diode model in ngspice, `(points, 2)`."""
    step = (high - low) / (points - 1)
    deck = (
        f"* diode\n.options TEMP={celsius} TNOM=27 reltol=1e-12 vntol=1e-15 abstol=1e-20 gmin=1e-15\n"
        f".model m D({parameters})\nvs a 0 0\nd1 a 0 m\n"
        f".dc vs {low!r} {high + step / 2!r} {step!r}\n.save v(a) i(vs)\n.end\n"
    )
    voltage, current = run_ngspice(deck, points).columns(["v(a)", "i(vs)"]).T
    return np.column_stack([voltage, -current])


def write_diodes(folder: Path) -> None:
    """Write one CSV a diode."""
    for name, (parameters, origin, low, high) in DIODES.items():
        rows = [
            f"# SIMULATED in ngspice 39 without noise, not measured: .model D({parameters}), parameters {origin}.",
            "voltage [V],current [A],temperature [°C]",
        ]
        for celsius in CELSIUS:
            curve = diode_curve(parameters, low, high, celsius)
            rows += [f"{v!r},{i!r},{celsius}" for v, i in curve.tolist()]
        (folder / f"{name}.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")


if __name__ == "__main__":
    write_diodes(calibration_folder())
