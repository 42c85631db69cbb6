"""Draw the pictures of `docs/calibration.md`: PYTHONPATH=. python tools/calibration_figures.py"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from analog_ep.calibration import Table, fit_amplifier, fit_diode, fit_figure, fit_memristor, fit_pulses, read_table
from analog_ep.calibration.pulses import COLUMNS
from analog_ep.support.resources import calibration_folder

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))


def amplifier_table() -> Table:
    """A gain of 4 with an offset of 12 mV, rails at ±2.5 V and noise of 20 mV."""
    inputs = np.linspace(-1, 1, 120)
    noise = 0.02 * np.random.default_rng(0).standard_normal(120)
    return Table("amplifier.csv", {"input": inputs, "output": np.clip(4 * (inputs + 0.012), -2.5, 2.5) + noise})


def main() -> None:
    """Write one picture a kind of fit."""
    from benchmarks.calibration_coverage import diode_case, vteam_case

    ecram = read_table(calibration_folder() / "ecram_tang2018.csv", COLUMNS)
    pictures = {
        "diode": (fit_diode(diode_case(1).tables[0]), "simulated diode"),
        "pulses": (fit_pulses(ecram, model="LinearStep", window=(1e-6, 1e-4)), "ecram_tang2018"),
        "memristor": (fit_memristor(vteam_case(1).tables[0]), "simulated VTEAM cell"),
        "amplifier": (fit_amplifier(amplifier_table()), "simulated amplifier"),
    }
    for name, (fit, title) in pictures.items():
        (ROOT / "docs" / "images" / f"calibration-{name}.png").write_bytes(fit_figure(fit, title))


if __name__ == "__main__":
    main()
