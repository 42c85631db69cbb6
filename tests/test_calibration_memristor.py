"""Memristor fits against traces that scipy integrates from the published equations."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from scipy.integrate import solve_ivp

from analog_ep.calibration import Fit, Table, fit_memristor, memristor, read_table, write_card
from analog_ep.calibration.fit import Estimate
from analog_ep.calibration.memristor import COLUMNS
from analog_ep.calibration.writing import fault_of
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


def followed(
    rate: Callable[[float, float], float],
    current: Callable[[np.ndarray, np.ndarray], np.ndarray],
    x0: float,
    time: np.ndarray,
    voltage: np.ndarray,
) -> np.ndarray:
    """Current along the path of dx/dt = rate(v, x), by scipy."""
    path = solve_ivp(
        lambda t, x: rate(float(np.interp(t, time, voltage)), min(max(float(x[0]), 0.0), 1.0)), (0, time[-1]), [x0],
        t_eval=time, rtol=1e-9, atol=1e-11, max_step=(time[1] - time[0]) / 2, method="LSODA",
    )  # fmt: skip
    return current(voltage, path.y[0].clip(0, 1))


def team_current(q: dict[str, float], time: np.ndarray, voltage: np.ndarray) -> np.ndarray:
    """TEAM: speeds by a power of the current beyond its threshold, d of 3 nm, p of 2."""

    def rate(v: float, x: float) -> float:
        i = v / (q["r_on"] * (1 - x) + q["r_off"] * x)
        off, on = max(i / q["i_off"] - 1, 0.0), max(i / q["i_on"] - 1, 0.0)
        rise = q["k_off"] / 3e-9 * off ** q["alpha_off"] * (1 - x**4)
        return rise + q["k_on"] / 3e-9 * on ** q["alpha_on"] * (1 - (1 - x) ** 4)

    return followed(rate, lambda v, x: v / (q["r_on"] * (1 - x) + q["r_off"] * x), q["x0"], time, voltage)


def yakopcic_current(q: dict[str, float], time: np.ndarray, voltage: np.ndarray) -> np.ndarray:
    """Yakopcic: exponentials beyond the thresholds, damped from 0.3 upwards and from 0.5 downwards."""

    def rate(v: float, x: float) -> float:
        if v > 0:
            damping = np.exp(-(x - 0.3)) * (1 - x) / 0.7 if x > 0.3 else 1.0
            return q["amplitude_p"] * max(np.exp(v) - np.exp(q["v_p"]), 0.0) * damping
        damping = np.exp(-5 * (0.5 - x)) * x / 0.5 if x < 0.5 else 1.0
        return -q["amplitude_n"] * max(np.exp(-v) - np.exp(q["v_n"]), 0.0) * damping

    return followed(rate, lambda v, x: q["a"] * x * np.sinh(q["b"] * v), q["x0"], time, voltage)


WINDOWS = {
    "joglekar": lambda v, x: 1 - (2 * x - 1) ** 4,
    "biolek": lambda v, x: 1 - (x - (1 if v < 0 else 0)) ** 4,
    "prodromakis": lambda v, x: 1 - ((x - 0.5) ** 2 + 0.75) ** 2,
}


def drift_current(model: str, q: dict[str, float], time: np.ndarray, voltage: np.ndarray) -> np.ndarray:
    """Strukov's drift under a published window, d of 10 nm, p of 2."""

    def rate(v: float, x: float) -> float:
        i = v / (q["r_on"] * x + q["r_off"] * (1 - x))
        return q["mu"] * q["r_on"] / 1e-16 * i * WINDOWS[model](v, x)

    return followed(rate, lambda v, x: v / (q["r_on"] * x + q["r_off"] * (1 - x)), q["x0"], time, voltage)


def noisy(current: np.ndarray, seed: int) -> np.ndarray:
    noise = np.random.default_rng(seed)
    return current * (1 + 0.01 * noise.standard_normal(len(current))) + 1e-8 * noise.standard_normal(len(current))


def require_recovered(fit: Fit, truth: dict[str, float], exact: np.ndarray) -> None:
    """Truths within 4 σ in the coordinates of the fit, and a curve that keeps what the parameters take of the noise."""
    assert fit.adequacy.adequate
    for name, true in truth.items():
        estimate = fit.estimates[name]
        error, sigma = estimate.value - true, estimate.uncertainty
        if name != "x0" and not name.startswith("alpha"):
            error, sigma = np.log(estimate.value / true), estimate.uncertainty / abs(estimate.value)
        assert abs(error) < 4 * sigma, name
    # χ² with as many degrees of freedom as parameters, up to 9: above 28 once in a thousand.
    assert np.sum((fit.curves[0].mean - exact) ** 2 / ((0.01 * exact) ** 2 + 1e-16)) < 28


def untold_of(fit: Fit) -> set[str]:
    return {phrase.split()[0].rstrip(",") for phrase in fit.untold}


def test_team_is_recovered_and_what_its_trace_does_not_tell_is_said():
    truth = {
        "r_on": 1e3, "r_off": 4e3, "k_off": 3e-6, "k_on": -2e-6, "i_off": 2e-4, "i_on": -2e-4, "alpha_off": 1.5,
        "alpha_on": 1.5, "x0": 0.3,
    }  # fmt: skip
    time = np.linspace(0, 7.5e-3, 49)
    voltage = np.interp(time, TIME, VOLTAGE)
    exact = team_current(truth, time, voltage)
    fit = fit_memristor(Table("team.csv", {"time": time, "voltage": voltage, "current": noisy(exact, 1)}), model="team")
    require_recovered(fit, truth, exact)
    # Far beyond the threshold only k_on/i_on^alpha_on acts.
    assert "d" in untold_of(fit)
    assert {"r_off", "r_on", "alpha_off", "x0"}.isdisjoint(untold_of(fit))
    for name in ("k_on", "k_off", "i_on", "i_off"):
        estimate = fit.estimates[name]
        assert (name in untold_of(fit)) == (estimate.uncertainty > 0.5 * abs(estimate.value)), name
    assert "k_on" in untold_of(fit)


def test_yakopcic_is_recovered():
    truth = {
        "a": 1e-3, "b": 1.5, "v_p": 0.5, "v_n": 0.6, "amplitude_p": 400.0, "amplitude_n": 600.0, "x0": 0.11,
    }  # fmt: skip
    exact = yakopcic_current(truth, TIME, VOLTAGE)
    table = Table("yakopcic.csv", {"time": TIME, "voltage": VOLTAGE, "current": noisy(exact, 1)})
    fit = fit_memristor(table, model="yakopcic")
    require_recovered(fit, truth, exact)
    assert untold_of(fit) == {"x_p"}


@pytest.mark.parametrize(("model", "mu"), [("joglekar", 2.5e-13), ("biolek", 2.5e-13), ("prodromakis", 6e-13)])
def test_linear_drift_is_recovered(model: str, mu: float):
    truth = {"r_on": 1e3, "r_off": 16e3, "mu": mu, "x0": 0.3}
    exact = drift_current(model, truth, TIME, VOLTAGE)
    fit = fit_memristor(Table("drift.csv", {"time": TIME, "voltage": VOLTAGE, "current": noisy(exact, 1)}), model=model)
    require_recovered(fit, truth, exact)
    assert untold_of(fit) == {"d"}


def test_what_a_short_trace_does_not_tell_of_linear_drift_is_said():
    """A state that stays in the middle shows neither end: only mu r_on is told."""
    truth = {"r_on": 1e3, "r_off": 16e3, "mu": 2e-13, "x0": 0.3}
    exact = drift_current("prodromakis", truth, TIME, VOLTAGE)
    table = Table("short.csv", {"time": TIME, "voltage": VOLTAGE, "current": noisy(exact, 0)})
    assert {"r_on", "mu"} <= untold_of(fit_memristor(table, model="prodromakis"))


def test_a_state_that_sticks_at_a_bound_leaves_its_parameters_untold():
    """Joglekar's window is zero at the bounds: how far from one a state is when it turns decides all that follows."""
    truth = {"r_on": 1e3, "r_off": 16e3, "mu": 4e-13, "x0": 0.3}
    exact = drift_current("joglekar", truth, TIME, VOLTAGE)
    fit = fit_memristor(
        Table("stuck.csv", {"time": TIME, "voltage": VOLTAGE, "current": noisy(exact, 2)}), model="joglekar"
    )
    assert "mu" in untold_of(fit)
    assert np.isinf(fit.estimates["mu"].uncertainty)
    assert "as where a state sticks at a bound; smaller voltages would tell" in fit.notes[0]


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


def test_a_search_ends_after_so_many_steps(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(memristor, "_FEWEST_STEPS", 300)
    monkeypatch.setattr(memristor, "_STEPS", 1)
    table = Table("trace.csv", {"time": TIME, "voltage": VOLTAGE, "current": noisy(vteam_current(), 0)})
    with pytest.raises(DataError, match=r"trace\.csv: vteam must be found near the trace within 300 steps"):
        fit_memristor(table)


def test_what_the_data_do_not_tell_is_not_exact_in_a_card(tmp_path: Path):
    table = Table("trace.csv", {"time": TIME, "voltage": VOLTAGE, "current": noisy(vteam_current(), 0)})
    fit = fit_memristor(table)
    lost = {name: Estimate(e.value, np.inf, e.unit) for name, e in fit.estimates.items()}
    untold = dataclasses.replace(fit, estimates=lost)
    told = dataclasses.replace(fit, estimates={**fit.estimates, "r_on": lost["r_on"]})
    assert fault_of(told, tmp_path / "cell.toml") is None
    write_card(told, tmp_path / "cell.toml", Path("trace.csv"))
    quantities = load_card(tmp_path / "cell.toml").parameters
    assert quantities["r_on"].uncertainty == np.inf
    assert 0 < quantities["r_off"].uncertainty < np.inf
    assert quantities["d"].uncertainty == 0
    # A card of which nothing is known is none.
    assert "the data tell none of the parameters of vteam" in str(fault_of(untold, tmp_path / "cell.toml"))


@pytest.mark.parametrize(("name", "low", "high"), [("r_on", 1e-3, 2e9), ("v_on", -0.9e6, -0.4e-6)])
def test_no_parameter_leaves_the_range_that_a_trace_suggests(name: str, low: float, high: float):
    """Cells that VTEAM does not come near were given an r_on of 1e-199 ohm, or of 0."""
    guesses = [{"r_on": 1e3, "v_on": -0.4}, {"r_on": 2e3, "v_on": -0.9}]
    unknown = memristor._unknown(VTEAM, name, [guess[name] for guess in guesses])
    reached = sorted(unknown.outside(end) for end in unknown.ends)
    np.testing.assert_allclose(reached, [low, high], rtol=1e-9)
    assert unknown.inside(guesses[0][name]) == pytest.approx(np.log(abs(guesses[0][name])))
    assert unknown.inside(1e30 * guesses[0][name]) == max(unknown.ends)
