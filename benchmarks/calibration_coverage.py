"""How often stated intervals hold the truth, how near errors are to their bound, how often true models are rejected.

    python benchmarks/calibration_coverage.py [--draws 100] [--only diode,SoftBounds,ExpStep,VTEAM]

Each draw is a measurement simulated from known parameters by code of its own: Lambert's W for the diode, plain
recursions for pulses, scipy's integrator for the memristor. The bound is Cramér and Rao's: the inverse of the Fisher
information at the truth, from that code again; for pulses it is the mean curvature of an extended Kalman filter's
likelihood. A true model should be called inadequate in 1 % of draws.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
from joblib import Parallel, delayed
from scipy.integrate import solve_ivp
from scipy.special import lambertw

from analog_ep.calibration import Fit, Table, fit_diode, fit_memristor, fit_pulses
from analog_ep.constants import thermal_voltage


@dataclass(frozen=True)
class Case:
    """One kind of measurement: the truth, simulated tables, the fit, and the bound of each parameter."""

    truth: dict[str, float]
    tables: list[Table]
    fit: Callable[[Table], Fit]
    bound: dict[str, float]


def diode_case(draws: int) -> Case:
    """A diode over ten decades of current, relative noise of 1 % and a floor of 0.1 nA."""
    truth = {"saturation_current": 4.352e-9, "ideality": 1.906, "series_resistance": 0.6458}
    voltage = np.linspace(0.05, 0.9, 120)

    def current(p: np.ndarray) -> np.ndarray:
        emission = p[1] * thermal_voltage()
        argument = p[0] * p[2] / emission * np.exp((voltage + p[0] * p[2]) / emission)
        return emission / p[2] * lambertw(argument).real - p[0]

    exact = current(np.array([*truth.values()]))
    deviation = np.hypot(0.01 * exact, 1e-10)
    noise = np.random.default_rng(1).standard_normal((draws, len(voltage)))
    tables = [Table("diode", {"voltage": voltage, "current": exact + deviation * row}) for row in noise]
    return Case(truth, tables, fit_diode, _regression_bound(current, truth, deviation))


def vteam_case(draws: int) -> Case:
    """Two periods of a sine across a VTEAM cell, relative noise of 1 % and a floor of 10 nA."""
    truth = {
        "r_on": 1e3, "r_off": 1e5, "k_off": 2e-6, "k_on": -3e-6, "v_off": 0.4, "v_on": -0.5, "alpha_off": 2.0,
        "alpha_on": 1.5, "x0": 0.3,
    }  # fmt: skip
    instants = np.linspace(0, 10e-3, 161)
    voltage = 1.2 * np.sin(2 * np.pi * instants / 5e-3) * np.where(instants < 5e-3, 1, 0.8)

    def current(p: np.ndarray) -> np.ndarray:
        q = dict(zip(truth, p, strict=True))

        def rate(at: float, x: np.ndarray) -> np.ndarray:
            v = np.interp(at, instants, voltage)
            off, on = max(v / q["v_off"] - 1, 0.0), max(v / q["v_on"] - 1, 0.0)
            rise = q["k_off"] / 3e-9 * off ** q["alpha_off"] * (1 - x**4)
            return rise + q["k_on"] / 3e-9 * on ** q["alpha_on"] * (1 - (1 - x) ** 4)

        path = solve_ivp(
            rate, (0, instants[-1]), [q["x0"]], t_eval=instants, rtol=1e-10, atol=1e-12, method="LSODA",
            max_step=(instants[1] - instants[0]) / 2,
        )  # fmt: skip
        return voltage / (q["r_on"] * (1 - path.y[0]) + q["r_off"] * path.y[0])

    exact = current(np.array([*truth.values()]))
    deviation = np.hypot(0.01 * exact, 1e-8)
    noise = np.random.default_rng(2).standard_normal((draws, len(instants)))
    tables = [
        Table("vteam", {"time": instants, "voltage": voltage, "current": exact + deviation * row}) for row in noise
    ]
    return Case(truth, tables, fit_memristor, _regression_bound(current, truth, deviation))


def _regression_bound(
    model: Callable[[np.ndarray], np.ndarray], truth: dict[str, float], deviation: np.ndarray
) -> dict[str, float]:
    centre, columns = np.array([*truth.values()]), []
    for k, value in enumerate(centre):
        step = np.zeros(len(centre))
        step[k] = 1e-4 * value
        columns.append((model(centre + step) - model(centre - step)) / (2 * step[k]))
    whitened = np.column_stack(columns) / deviation[:, None]
    scale = np.linalg.norm(whitened, axis=0)
    inverse = np.linalg.inv((whitened / scale).T @ (whitened / scale)) / np.outer(scale, scale)
    return dict(zip(truth, np.sqrt(np.diag(inverse)), strict=True))


Step = Callable[[dict[str, np.ndarray], np.ndarray, bool], tuple[np.ndarray, np.ndarray]]
_PULSES = np.tile(np.concatenate([np.ones(250), -np.ones(250)]), 4)
_RANGE = (1e-6, 1e-4)
_BOUND_DRAWS = 400


def _soft(p: dict[str, np.ndarray], w: np.ndarray, up: bool) -> tuple[np.ndarray, np.ndarray]:
    rate = p["step"] * (1 + np.minimum(p["up_down"], 0)) if up else p["step"] * (1 - np.maximum(p["up_down"], 0))
    low, high = (
        2 * (p[name] - _RANGE[0]) / (_RANGE[1] - _RANGE[0]) - 1 for name in ("conductance_min", "conductance_max")
    )
    return (rate * (high - w), -rate) if up else (rate * (w - low), rate)


def _exponential(p: dict[str, np.ndarray], w: np.ndarray, up: bool) -> tuple[np.ndarray, np.ndarray]:
    size = p["step"] * (1 + np.minimum(p["up_down"], 0)) if up else p["step"] * (1 - np.maximum(p["up_down"], 0))
    amplitude, gamma = (p["amplitude_up"], p["gamma_up"]) if up else (p["amplitude_down"], -p["gamma_down"])
    bend = amplitude * np.exp(gamma * w)
    return size * (1 - bend), -size * gamma * bend


def pulse_case(draws: int, model: str) -> Case:
    """2,000 pulses on one device, steps with noise of 0.3 and reads with noise of one step."""
    shared = {"step": 0.012, "up_down": 0.15}
    noise = {"step_noise": 0.3, "write_noise": 1.0}
    if model == "SoftBounds":
        truth, step = {**shared, "conductance_min": _RANGE[0], "conductance_max": _RANGE[1], **noise}, _soft
    else:
        shape = {"amplitude_up": 0.1, "amplitude_down": 0.12, "gamma_up": 2.2, "gamma_down": 2.0}
        truth, step = {**shared, **shape, **noise}, _exponential
    generator = np.random.default_rng(3)
    fixed = {name: np.array(value) for name, value in truth.items()}
    # The bound is a mean over draws, and needs many even where few are fitted.
    n = max(draws, _BOUND_DRAWS)
    state, reads = np.full(n, -0.4), []
    for pulse in [0.0, *_PULSES]:
        if pulse:
            change = step(fixed, state, pulse > 0)[0] * (1 + truth["step_noise"] * generator.standard_normal(n))
            state = state + pulse * change
        reads.append(state + truth["write_noise"] * truth["step"] * generator.standard_normal(n))
    seen = np.stack(reads)
    conductances = _RANGE[0] + (seen + 1) / 2 * (_RANGE[1] - _RANGE[0])
    signs = np.concatenate([[0.0], _PULSES])
    # Soft bounds are fitted within the range of the data, exponential steps are those between given bounds.
    tables = [Table(model, {"pulse": signs, "conductance": column}) for column in conductances.T[:draws]]
    window = None if model == "SoftBounds" else _RANGE
    return Case(truth, tables, lambda t: fit_pulses(t, model=model, window=window), _filter_bound(seen, truth, step))


def _filter_bound(seen: np.ndarray, truth: dict[str, float], step: Step) -> dict[str, float]:
    """From the mean curvature, over the draws, of an extended Kalman filter's −ln likelihood at the truth."""
    centre = np.array([*truth.values()])
    h, n = 1e-3 * centre, len(centre)
    offsets = [np.zeros(n)]
    offsets += [sign * h * np.eye(n)[i] for i in range(n) for sign in (1, -1)]
    pairs = [(i, j) for i in range(n) for j in range(i)]
    offsets += [sign * (h * np.eye(n)[i] + h * np.eye(n)[j]) for i, j in pairs for sign in (1, -1)]
    points = centre + np.array(offsets)
    names = list(truth)
    surprise = _filter({name: points[:, [k]] for k, name in enumerate(names)}, seen, step).mean(1)
    middle, ahead, behind = surprise[0], surprise[1 : 2 * n + 1 : 2], surprise[2 : 2 * n + 1 : 2]
    hessian = np.diag((ahead - 2 * middle + behind) / h**2)
    for k, (i, j) in enumerate(pairs):
        both, back = surprise[2 * n + 1 + 2 * k], surprise[2 * n + 2 + 2 * k]
        mixed = both + back - ahead[i] - behind[i] - ahead[j] - behind[j] + 2 * middle
        hessian[i, j] = hessian[j, i] = mixed / (2 * h[i] * h[j])
    scale = np.sqrt(np.diag(hessian))
    inverse = np.linalg.inv(hessian / np.outer(scale, scale)) / np.outer(scale, scale)
    return dict(zip(names, np.sqrt(np.diag(inverse)), strict=True))


def _filter(p: dict[str, np.ndarray], seen: np.ndarray, step: Step) -> np.ndarray:
    """−ln likelihood `(n_points, n_draws)` of reads `(n_pulses + 1, n_draws)`, all at once."""
    width = 2.0
    if "conductance_min" in p:
        width = 2 * (p["conductance_max"] - p["conductance_min"]) / (_RANGE[1] - _RANGE[0])
    read = (p["write_noise"] * p["step"] * width / 2) ** 2
    state = np.broadcast_to(seen[0], (len(read), seen.shape[1])).copy()
    variance, total = np.broadcast_to(read, state.shape).copy(), np.zeros(state.shape)
    for pulse, row in zip(_PULSES, seen[1:], strict=True):
        size, slope = step(p, state, pulse > 0)
        state = state + pulse * size
        variance = (1 + pulse * slope) ** 2 * variance + (p["step_noise"] * size) ** 2
        innovation, spread = row - state, variance + read
        total += 0.5 * (np.log(2 * np.pi * spread) + innovation**2 / spread)
        state = state + variance / spread * innovation
        variance = variance * read / spread
    return total


CASES: dict[str, Callable[[int], Case]] = {
    "diode": diode_case,
    "SoftBounds": lambda draws: pulse_case(draws, "SoftBounds"),
    "ExpStep": lambda draws: pulse_case(draws, "ExpStep"),
    "VTEAM": vteam_case,
}


def _one(name: str, draws: int, k: int) -> tuple[dict[str, tuple[float, float]], bool]:
    """Estimates with uncertainties of draw `k`, and whether the model was called adequate."""
    case = CASES[name](draws)
    fit = case.fit(case.tables[k])
    return {
        key: (fit.estimates[key].value, fit.estimates[key].uncertainty) for key in case.truth
    }, fit.adequacy.adequate


def coverage(name: str, draws: int, jobs: int = 1) -> tuple[list[tuple[str, float, float, float, float]], float]:
    """Rows of parameter, truth, share covered, root-mean-square error and bound; and the share called inadequate."""
    case = CASES[name](draws)
    if jobs > 1:
        results = cast(list[Any], Parallel(n_jobs=jobs)(delayed(_one)(name, draws, k) for k in range(draws)))
    else:
        fits = [case.fit(table) for table in case.tables]
        results = [
            ({key: (f.estimates[key].value, f.estimates[key].uncertainty) for key in case.truth}, f.adequacy.adequate)
            for f in fits
        ]
    rows = []
    for key, true in case.truth.items():
        values, deviations = np.array([found[key] for found, _ in results]).T
        errors = values - true
        covered = float((np.abs(errors) < deviations).mean())
        rows.append((key, true, covered, float(np.sqrt((errors**2).mean())), case.bound[key]))
    return rows, float(np.mean([not adequate for _, adequate in results]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--draws", type=int, default=100)
    parser.add_argument("--only", default=",".join(CASES))
    parser.add_argument("--jobs", type=int, default=1)
    options = parser.parse_args()
    for name in options.only.split(","):
        begin = time.perf_counter()
        rows, rejected = coverage(name, options.draws, options.jobs)
        seconds = time.perf_counter() - begin
        print(f"{name}: {options.draws} draws, {seconds / options.draws:.2f} s a draw")
        heads = f"{'covered':>8} {'rms error':>11} {'bound':>11} {'ratio':>6} {'called inadequate':>18}"
        print(f"  {'parameter':20} {'truth':>11} {heads}")
        for k, (key, true, covered, error, bound) in enumerate(rows):
            verdict = f" {rejected:18.1%}" if k == 0 else ""
            print(f"  {key:20} {true:11.4g} {covered:8.1%} {error:11.3g} {bound:11.3g} {error / bound:6.2f}{verdict}")


if __name__ == "__main__":
    main()
