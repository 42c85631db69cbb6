"""Make the simulated reference curves in `calibration/`: python tools/reference_curves.py"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from analog_ep.devices.pulses import PRESETS, PulsedArray, PulseModel, pulse_model
from analog_ep.ngspice.process import run_ngspice
from analog_ep.support.resources import calibration_folder

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


RANGE = (1e-6, 1e-4)
"""Conductances that stand for the bounds of the pulse models. [S]"""

_ONE_DEVICE = {"step_spread": 0.0, "up_down_spread": 0.0, "w_min_spread": 0.0, "w_max_spread": 0.0}


def pulse_train(model: PulseModel, pulses: np.ndarray, n_devices: int, start: float, seed: int) -> np.ndarray:
    """Conductances before the first and after each pulse, `(n_pulses + 1, n_devices)`. [S]"""
    begin = RANGE[0] + start * (RANGE[1] - RANGE[0])
    array = PulsedArray.over(model, torch.full((n_devices,), begin, dtype=torch.float64), RANGE, seed)
    reads = [array.conductances.numpy().copy()]
    for pulse in pulses:
        array.pulse(torch.full((n_devices,), int(pulse)))
        reads.append(array.conductances.numpy().copy())
    return np.stack(reads)


def write_pulses(folder: Path) -> None:
    """Write the trains of an ECRAM and of a ReRAM."""
    pulses = np.concatenate([np.ones(500), -np.ones(500)])
    reads = pulse_train(PRESETS["EcRam"], pulses, 4, 0.2, seed=1)
    _write_train(
        folder / "ecram_tang2018.csv",
        "the preset EcRam of aihwkit 1.1.0, a fit to Tang et al., IEDM 2018; four devices with their noise and spread",
        pulses,
        reads,
    )
    pulses = np.tile(np.concatenate([np.ones(700), -np.ones(800)]), 2)
    reads = pulse_train(pulse_model("ReRamES", **_ONE_DEVICE), pulses, 100, 0.25, seed=1)
    _write_train(
        folder / "reram_gong2018.csv",
        "the preset ReRamES of aihwkit 1.1.0, a fit to Gong et al., Nat. Commun. 9, 2102, 2018; mean of 100 "
        "repetitions on one device with its noise",
        pulses,
        reads.mean(axis=1, keepdims=True),
    )


def _write_train(path: Path, origin: str, pulses: np.ndarray, reads: np.ndarray) -> None:
    rows = [f"# SIMULATED, not measured: {origin}.", "device,pulse,conductance [uS]"]
    for device, column in enumerate(reads.T):
        signs = [0, *pulses.astype(int).tolist()]
        rows += [f"{device},{pulse},{1e6 * g:.7g}" for pulse, g in zip(signs, column.tolist(), strict=True)]
    path.write_text("\n".join(rows) + "\n", encoding="utf-8")


if __name__ == "__main__":
    write_diodes(calibration_folder())
    write_pulses(calibration_folder())
