"""Memristor fits against traces that scipy integrates from the published equations."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy.integrate import solve_ivp

from analog_ep.calibration import Table, fit_memristor, read_table, write_card
from analog_ep.calibration.memristor import COLUMNS
from analog_ep.cards import load_card
from analog_ep.devices.memristors import VTEAM
from analog_ep.errors import DataError

TIME = np.linspace(0, 10e-3, 81)
VOLTAGE = 1.2 * np.sin(2 * np.pi * TIME / 5e-3) * np.where(TIME < 5e-3, 1, 0.8)
TRUTH = {
    "r_on": 1e3, "r_off": 1e5, "k_off": 2e-6, "k_on": -3e-6, "v_off": 0.4, "v_on": -0.5, "alpha_off": 2.0,
    "alpha_on": 1.5, "x0": 0.3,
}  # fmt: skip


def vteam_current(d: float = 3e-9, p: int = 2) -> np.ndarray:
    """Kvatinsky's equations with scipy's integrator."""
    q = TRUTH

    def rate(time: float, x: np.ndarray) -> np.ndarray:
        v = np.interp(time, TIME, VOLTAGE)
        off, on = max(v / q["v_off"] - 1, 0.0), max(v / q["v_on"] - 1, 0.0)
        rise = q["k_off"] / d * off ** q["alpha_off"] * (1 - x ** (2 * p))
        return rise + q["k_on"] / d * on ** q["alpha_on"] * (1 - (1 - x) ** (2 * p))

    step = (TIME[1] - TIME[0]) / 2
    path = solve_ivp(rate, (0, TIME[-1]), [q["x0"]], t_eval=TIME, rtol=1e-9, atol=1e-11, max_step=step, method="LSODA")
    x = path.y[0].clip(0, 1)
    return VOLTAGE / (q["r_on"] * (1 - x) + q["r_off"] * x)


def test_vteam_is_recovered_from_a_noisy_trace_and_survives_its_card(tmp_path: Path):
    noise = np.random.default_rng(0)
    exact = vteam_current()
    current = exact * (1 + 0.01 * noise.standard_normal(81)) + 1e-8 * noise.standard_normal(81)
    fit = fit_memristor(Table("trace.csv", {"time": TIME, "voltage": VOLTAGE, "current": current}))
    assert fit.adequacy.adequate
    assert "the data cannot tell d, of which only k_off/d and k_on/d act" in fit.sentence()
    for name, true in TRUTH.items():
        assert abs(fit.estimates[name].value - true) < 4 * fit.estimates[name].uncertainty, name
    # What the fit's curve keeps of the noise is χ² with 9 degrees of freedom: above 28 once in a thousand.
    assert np.sum((fit.curves[0].mean - exact) ** 2 / ((0.01 * exact) ** 2 + 1e-16)) < 28
    write_card(fit, tmp_path / "cell.toml", Path("trace.csv"))
    device = load_card(tmp_path / "cell.toml").memristor()
    assert isinstance(device, VTEAM)
    assert device.v_on == fit.values["v_on"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("time [s],voltage [V],current [A]\n0,1,1\n", "a memristor needs at least 30 points, found 1; measure more"),
        (
            "time [s],voltage [V],current [A]\n" + "".join(f"{-k},1,1\n" for k in range(40)),
            "times must increase, found -1 s late",
        ),
        (
            "time [s],voltage [V],current [A]\n" + "".join(f"{k},{np.sin(k)},{np.sin(k) / 50}\n" for k in range(40)),
            "the trace must show a resistance that changes, found none; apply larger voltages",
        ),
        ("time [s],voltage [V]\n0,1\n", "found no current in: "),
    ],
)
def test_bad_tables_are_refused_in_one_line(tmp_path: Path, text: str, words: str):
    data = tmp_path / "bad.csv"
    data.write_text(text)
    with pytest.raises(DataError, match=words):
        fit_memristor(read_table(data, COLUMNS))


def test_unknown_models_and_parameters_are_refused():
    table = Table("trace.csv", {"time": TIME, "voltage": VOLTAGE, "current": vteam_current()})
    with pytest.raises(DataError, match=r"model must be one of vteam, .*, found 'diode'"):
        fit_memristor(table, model="diode")
    with pytest.raises(DataError, match=r"vteam has no parameter 'mu'; it has .*v_off"):
        fit_memristor(table, start={"mu": 1.0})
