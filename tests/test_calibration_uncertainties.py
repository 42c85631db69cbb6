"""Uncertainties and degrees of freedom of every kind of fit, against closed forms and scipy's curve_fit."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
import torch
from rich.console import Console
from scipy import stats
from scipy.optimize import brentq, curve_fit
from scipy.special import expit, lambertw

from analog_ep.calibration import Fit, Noise, Table, fit_amplifier, fit_diode, fit_memristor, fit_pulses, write_card
from analog_ep.calibration.adequacy import judge, lack_of_fit
from analog_ep.calibration.chip import calibrate_chip
from analog_ep.calibration.fit import Unknown, covariance_of, estimates_of
from analog_ep.calibration.population import combine, spread_of
from analog_ep.calibration.pulse_adequacy import adequacy_of
from analog_ep.calibration.pulse_fit import fit_train
from analog_ep.calibration.pulse_likelihood import PulseTrain
from analog_ep.calibration.regression import regress
from analog_ep.calibration.step_families import ConstantFamily
from analog_ep.calibration.writing import fit_table
from analog_ep.cards import load_card
from analog_ep.circuit import Chip, Converter, Converters
from analog_ep.constants import thermal_voltage
from analog_ep.devices import ShockleyDiode
from analog_ep.errors import DataError
from analog_ep.networks import ResistiveNetwork


def stated(fit: Fit) -> np.ndarray:
    return np.array([entry.uncertainty for entry in fit.estimates.values()])


def found(fit: Fit) -> np.ndarray:
    return np.array([entry.value for entry in fit.estimates.values()])


def assert_covariance(fit: Fit, covariance: np.ndarray, rel: float) -> None:
    deviations = np.sqrt(np.diag(covariance))
    np.testing.assert_allclose(stated(fit), deviations, rtol=rel)
    np.testing.assert_allclose(fit.correlation, covariance / np.outer(deviations, deviations), atol=10 * rel)


def fitted(
    model: Callable[..., np.ndarray], data: np.ndarray, start: Sequence[float], sigma: np.ndarray | None, known: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Optimum and covariance by scipy, in parameters relative to the start; `model` takes the parameters alone."""
    scale = np.array(start)
    values, covariance = curve_fit(
        lambda _, *x: model(*(scale * x)), data, data, np.ones(len(scale)), sigma=sigma, absolute_sigma=known,
        xtol=1e-14, ftol=1e-14,
    )  # fmt: skip
    return scale * values, covariance * np.outer(scale, scale)


def band_of(model: Callable[..., np.ndarray], values: np.ndarray, covariance: np.ndarray) -> np.ndarray:
    """1 σ of a model's mean, by differences."""
    steps = 1e-5 * np.diag(values)
    slopes = np.column_stack([(model(*(values + h)) - model(*(values - h))) / (2 * h.sum()) for h in steps])
    return np.sqrt(np.einsum("ni,ij,nj->n", slopes, covariance, slopes))


INPUT = np.linspace(-1, 1, 10)
OUTPUT = 4 * (INPUT + 0.05) + 0.1 * np.random.default_rng(0).standard_normal(10)
"""Ten points: without n/(n − p) an uncertainty would be a ninth too small."""


def test_an_amplifiers_line_is_that_of_the_textbook():
    """s² = RSS/(n − 2), cov(a, b) = s² (XᵀX)⁻¹ of y = a x + b, the offset b/a by its derivatives."""
    fit = fit_amplifier(Table("line.csv", {"input": INPUT, "output": OUTPUT}))
    assert fit.model == "linear"
    design = np.column_stack([INPUT, np.ones(10)])
    (a, b), (rss,), *_ = np.linalg.lstsq(design, OUTPUT, rcond=None)
    slopes = np.array([[1.0, 0.0], [-b / a**2, 1 / a]])
    covariance = slopes @ (rss / 8 * np.linalg.inv(design.T @ design)) @ slopes.T
    assert_covariance(fit, covariance, 1e-3)
    curve = fit.curves[0]
    centre = (curve.grid - INPUT.mean()) ** 2 / ((INPUT - INPUT.mean()) ** 2).sum()
    np.testing.assert_allclose(curve.band, np.sqrt(rss / 8 * (1 / 10 + centre)), rtol=1e-3)
    np.testing.assert_allclose(curve.spread, np.sqrt(rss / 10), rtol=1e-3)


def transfer(x: np.ndarray, gain: float, offset: float, low: float, high: float) -> np.ndarray:
    return np.clip(gain * (x + offset), low, high)


@pytest.mark.parametrize("known", [False, True])
def test_a_railed_amplifiers_uncertainties_are_curve_fits(known: bool):
    x = np.linspace(-1, 1, 16)
    deviation = 0.02 + 0.03 * (x + 1)
    truth = (4.0, 0.012, -2.5, 2.4)
    output = transfer(x, *truth) + deviation * np.random.default_rng(1).standard_normal(16)
    table = Table("rails.csv", {"input": x, "output": output} | ({"output_std": deviation} if known else {}))
    fit = fit_amplifier(table)
    assert fit.model == "rails"
    sigma = deviation if known else None
    values, covariance = fitted(lambda *at: transfer(x, *at), output, truth, sigma, known)
    np.testing.assert_allclose(found(fit), values, rtol=1e-4)
    assert_covariance(fit, covariance, 1e-3)
    if known:
        rss = float((((output - transfer(x, *values)) / deviation) ** 2).sum())
        assert fit.adequacy.p_values["chi-squared"] == pytest.approx(stats.chi2.sf(rss, 12), rel=1e-4)


VOLTAGE = np.linspace(0.2, 0.8, 12)


def diode_current(voltage: np.ndarray, saturation: float, ideality: float, resistance: float) -> np.ndarray:
    emission = ideality * thermal_voltage()
    argument = saturation * resistance / emission * np.exp((voltage + saturation * resistance) / emission)
    return emission / resistance * lambertw(argument).real - saturation


@pytest.mark.parametrize("known", [False, True])
def test_a_diodes_uncertainties_are_curve_fits(known: bool):
    truth = (4e-9, 1.9, 0.65)
    exact = diode_current(VOLTAGE, *truth)
    current = exact * (1 + 0.02 * np.random.default_rng(2).standard_normal(12))
    if known:
        fit = fit_diode(Table("diode.csv", {"voltage": VOLTAGE, "current": current, "current_std": 0.02 * exact}))
    else:
        fit = fit_diode(Table("diode.csv", {"voltage": VOLTAGE, "current": current}), noise=Noise(floor=0.0))
    # With relative noise the weights are those of the fit's own curve.
    deviation = 0.02 * exact if known else diode_current(VOLTAGE, *found(fit))
    values, covariance = fitted(lambda *at: diode_current(VOLTAGE, *at), current, truth, deviation, known)
    np.testing.assert_allclose(found(fit), values, rtol=1e-4)
    assert_covariance(fit, covariance, 2e-3)
    curve = fit.curves[0]
    expected = band_of(lambda *at: diode_current(curve.grid, *at), values, covariance)
    np.testing.assert_allclose(curve.band, expected, rtol=1e-2, atol=1e-3 * expected.max())
    np.testing.assert_allclose(curve.residuals * np.interp(VOLTAGE, curve.grid, curve.spread),
                               current - diode_current(VOLTAGE, *values), rtol=2e-2, atol=1e-9)  # fmt: skip
    if known:
        rss = float((((current - diode_current(VOLTAGE, *values)) / deviation) ** 2).sum())
        assert fit.adequacy.p_values["chi-squared"] == pytest.approx(stats.chi2.sf(rss, 9), rel=1e-4)


def test_a_gaps_uncertainty_is_curve_fits():
    temperatures = np.repeat([273.15, 300.15, 343.15], 5)
    voltage = np.tile(np.linspace(0.3, 0.7, 5), 3)

    def current(saturation: float, ideality: float, resistance: float, gap: float) -> np.ndarray:
        # IS(T) = IS (T/T0)^(3/n) exp(q EG/(n k) (1/T0 − 1/T)), as in SPICE.
        thermal = np.array([thermal_voltage(t) for t in temperatures])
        nominal = thermal_voltage(300.15)
        warm = (temperatures / 300.15) ** (3 / ideality) * np.exp(gap / ideality * (1 / nominal - 1 / thermal))
        emission, own = ideality * thermal, saturation * warm
        argument = own * resistance / emission * np.exp((voltage + own * resistance) / emission)
        return emission / resistance * lambertw(argument).real - own

    truth = (4e-9, 1.9, 0.65, 1.05)
    exact = current(*truth)
    measured = exact * (1 + 0.02 * np.random.default_rng(3).standard_normal(15))
    columns = {"voltage": voltage, "current": measured, "temperature": temperatures, "current_std": 0.02 * exact}
    fit = fit_diode(Table("warm.csv", columns))
    values, covariance = fitted(current, measured, truth, 0.02 * exact, True)
    np.testing.assert_allclose(found(fit), values, rtol=1e-4)
    assert_covariance(fit, covariance, 2e-3)


def test_a_memristors_uncertainties_are_curve_fits():
    """Joglekar's film of p = 1 in closed form: r_off ln x − r_on ln(1 − x) grows by 4 µ r_on/d² times the flux."""
    time = np.linspace(0, 1.0, 40)
    voltage = np.sin(2 * np.pi * time)
    flux = np.concatenate([[0.0], np.cumsum(np.diff(time) * (voltage[1:] + voltage[:-1]) / 2)])

    def current(r_on: float, r_off: float, mu: float, x0: float) -> np.ndarray:
        def grown(z: float) -> float:
            return r_on * np.logaddexp(0, z) - r_off * np.logaddexp(0, -z)

        targets = grown(np.log(x0 / (1 - x0))) + 4 * mu * r_on / 1e-16 * flux
        x = expit([brentq(lambda z, t=t: grown(z) - t, -2000, 2000, xtol=1e-13) for t in targets])
        return voltage / (r_on * x + r_off * (1 - x))

    truth = (1e3, 1e4, 1.2e-15, 0.2)
    exact = current(*truth)
    deviation = 0.02 * np.abs(exact) + 1e-6
    measured = exact + deviation * np.random.default_rng(4).standard_normal(40)
    columns = {"time": time, "voltage": voltage, "current": measured, "current_std": deviation}
    fit = fit_memristor(Table("film.csv", columns), model="joglekar", start={"p": 1.0})
    values, covariance = fitted(current, measured, truth, deviation, True)
    np.testing.assert_allclose(found(fit), values, rtol=1e-2)
    assert_covariance(fit, covariance, 2e-2)
    expected = band_of(current, values, covariance)
    np.testing.assert_allclose(fit.curves[0].band, expected, atol=2e-2 * expected.max())
    np.testing.assert_allclose(fit.curves[0].spread, deviation)


def constant_train(n: int, cycle: float, seed: int) -> PulseTrain:
    noise = np.random.default_rng(seed)
    up = np.arange(n) % 4 < 2
    steps = np.where(up, 0.021, -0.02) * (1 + cycle * noise.standard_normal(n))
    reads = np.concatenate([[0.0], np.cumsum(steps)])
    return PulseTrain(reads[:-1], reads[1:], up, np.arange(n) > 0)


def constant_step_optimum(sides: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Optimum and inverse information of ln up, ln down, ln σ, of clean steps with noise relative to their mean.

    With u = step/mean, −ln L is Σ ln(σ s) + (u − 1)²/2σ²; the restricted likelihood divides by n − 2.
    """
    n, means = sum(map(len, sides)), np.array([side.mean() for side in sides])
    for _ in range(60):
        ratios = [side / mean for side, mean in zip(sides, means, strict=True)]
        squares = sum(((u - 1) ** 2).sum() for u in ratios)
        variance = squares / (n - 2)
        own = np.array([(2 * u**2 - u).sum() for u in ratios]) / variance
        mixed = np.array([2 * (u * (u - 1)).sum() for u in ratios]) / variance
        means = means * (1 + (mixed / 2 - [len(u) for u in ratios]) / own)
    information = np.diag([*own, 2 * squares / variance])
    information[:2, 2] = information[2, :2] = mixed
    return np.array([*np.log(means), 0.5 * np.log(variance)]), np.linalg.inv(information)


def test_a_clean_trains_uncertainties_are_those_of_its_information():
    train = constant_train(12, 0.05, 5)
    fit = fit_train(train, ConstantFamily())
    optimum, covariance = constant_step_optimum([train.size[train.up], train.size[~train.up]])
    np.testing.assert_allclose(fit.coordinates, optimum, atol=1e-3)
    np.testing.assert_allclose(np.sqrt(np.diag(fit.covariance)), np.sqrt(np.diag(covariance)), rtol=5e-3)


def test_constant_steps_are_stated_with_the_uncertainties_of_their_coordinates():
    """Step, tilt and noise of the mean of four trains: up, 1 − down/up and 2 σ, by their derivatives."""
    train = constant_train(40, 0.05, 6)
    reads = np.append(train.before, train.after[-1])
    window = (1e-6, 9e-6)
    table = Table("train.csv", {
        "pulse": np.append(0.0, train.sign), "conductance": window[0] + (reads + 1) / 2 * (window[1] - window[0])
    })  # fmt: skip
    fit = fit_pulses(table, model="ConstantStep", window=window, averages=4)
    (up, down, noise), covariance = constant_step_optimum([train.size[train.up], train.size[~train.up]])
    assert up > down
    quotient = np.exp(down - up)
    slopes = np.array([[np.exp(up), 0, 0], [quotient, -quotient, 0], [0, 0, 2 * np.exp(noise)]])
    assert list(fit.estimates) == ["step", "up_down", "step_noise"]
    np.testing.assert_allclose(found(fit), [np.exp(up), 1 - quotient, 2 * np.exp(noise)], rtol=2e-3)
    assert_covariance(fit, slopes @ covariance @ slopes.T, 5e-3)
    for curve, mean, k in ((fit.curves[0], np.exp(up), 0), (fit.curves[1], -np.exp(down), 1)):
        np.testing.assert_allclose(curve.mean, 4e-6 * mean, rtol=2e-3)
        np.testing.assert_allclose(curve.band, 4e-6 * abs(mean) * np.sqrt(covariance[k, k]), rtol=5e-3)
        np.testing.assert_allclose(curve.spread, 4e-6 * abs(mean) * np.exp(noise), rtol=5e-3)


def test_soft_bounds_are_stated_with_curve_fits_uncertainties():
    """In conductances: G rises by r (G_max − G) and falls by (1 − tilt) r (G − G_min)."""
    rng, pulses = np.random.default_rng(7), np.tile([*[1.0] * 12, *[-1.0] * 12], 3)
    conductance = [3e-6]

    def change(at: np.ndarray, up: np.ndarray, rate: float, tilt: float, low: float, high: float) -> np.ndarray:
        return np.where(up, rate * (high - at), (1 - tilt) * rate * (low - at))

    truth = (0.1, 0.2, 1e-6, 9e-6)
    for pulse in pulses:
        mean = float(change(np.array(conductance[-1]), pulse > 0, *truth))
        conductance.append(conductance[-1] + mean * (1 + 0.05 * rng.standard_normal()))
    reads = np.array(conductance)
    fit = fit_pulses(Table("soft.csv", {"pulse": np.append(0.0, pulses), "conductance": reads}), model="SoftBounds")
    names = ["step", "up_down", "conductance_min", "conductance_max"]

    def steps(*parameters: float) -> np.ndarray:
        return change(reads[:-1], pulses > 0, *parameters)

    values = [fit.values[name] for name in names]
    deviation = fit.values["step_noise"] * np.abs(steps(*values))
    _, covariance = fitted(steps, np.diff(reads), truth, deviation, True)
    # The noise is relative to the step, so that its size tells a little of the steps too: 2 σ² of the information.
    ours = [fit.estimates[name].uncertainty for name in names]
    np.testing.assert_allclose(ours, np.sqrt(np.diag(covariance)), rtol=3e-2)
    relative = np.diff(reads) / steps(*values) - 1
    assert fit.values["step_noise"] == pytest.approx(np.sqrt((relative**2).sum() / (72 - 4)), rel=1e-2)
    assert fit.estimates["step_noise"].uncertainty == pytest.approx(
        fit.values["step_noise"] / np.sqrt(2 * 68), rel=2e-2
    )


def written_train(n: int, seed: int) -> PulseTrain:
    rng, up = np.random.default_rng(seed), np.arange(n) % 20 < 10
    states = np.concatenate([[0.0], np.cumsum(np.where(up, 0.02, -0.02) * (1 + 0.4 * rng.standard_normal(n)))])
    reads = states + 0.006 * rng.standard_normal(n + 1)
    return PulseTrain(reads[:-1], reads[1:], up, np.arange(n) > 0)


def dense_covariance(train: PulseTrain, at: np.ndarray) -> np.ndarray:
    """Inverse of the second differences of −ln L and of what the steps take, in ln up, ln down, ln σ, ln e.

    Noise counts in steps, so that the covariance is one of the steps in both; their derivatives are those at `at`.
    """
    n, up, reads = len(train), train.up, np.append(train.before, train.after[-1])
    sums = np.eye(n, n + 1, 1) - np.eye(n, n + 1)
    best = np.where(up, np.exp(at[0]), -np.exp(at[1]))
    columns = np.column_stack([up * best, ~up * best])

    def criterion(x: np.ndarray) -> float:
        mean = np.where(up, np.exp(x[0]), -np.exp(x[1]))
        noise = np.exp(2 * x[3]) * sums @ sums.T
        whole = np.diag(np.exp(2 * x[2]) * mean**2 + 1e-14) + noise
        residuals = np.diff(reads) - mean
        taken = np.linalg.slogdet(columns.T @ np.linalg.solve(whole, columns))[1]
        return 0.5 * float(np.linalg.slogdet(whole)[1] + residuals @ np.linalg.solve(whole, residuals) + taken)

    def second(a: np.ndarray, b: np.ndarray) -> float:
        return criterion(at + a + b) - criterion(at + a - b) - criterion(at - a + b) + criterion(at - a - b)

    steps = 1e-3 * np.eye(4)
    return np.linalg.inv([[second(a, b) / 4e-6 for a in steps] for b in steps])


def test_a_written_trains_uncertainties_are_those_of_the_dense_likelihood():
    train = written_train(60, 2)
    fit = fit_train(train, ConstantFamily())
    assert len(fit.coordinates) == 4
    covariance = dense_covariance(train, fit.coordinates)
    np.testing.assert_allclose(np.sqrt(np.diag(fit.covariance)), np.sqrt(np.diag(covariance)), rtol=2e-4)
    np.testing.assert_allclose(fit.covariance, covariance, atol=2e-4 * covariance.max())


def test_write_noise_counts_in_steps_and_spreads_twice_over_a_change():
    train = written_train(60, 2)
    window = (1e-6, 9e-6)
    reads = np.append(train.before, train.after[-1])
    table = Table("train.csv", {
        "pulse": np.append(0.0, train.sign), "conductance": window[0] + (reads + 1) / 2 * (window[1] - window[0])
    })  # fmt: skip
    fit = fit_pulses(table, model="ConstantStep", window=window, averages=9)
    at = fit_train(train, ConstantFamily()).coordinates
    k = int(np.argmax(at[:2]))
    step, cycle, write = np.exp([at[k], at[2], at[3]])
    assert fit.values["write_noise"] == pytest.approx(3 * write / step, rel=1e-4)
    covariance = dense_covariance(train, at)
    relative = covariance[3, 3] + covariance[k, k] - 2 * covariance[3, k]
    assert fit.estimates["write_noise"].uncertainty == pytest.approx(3 * write / step * np.sqrt(relative), rel=5e-3)
    np.testing.assert_allclose(fit.curves[k].spread, 4e-6 * np.hypot(cycle * step, np.sqrt(2) * write), rtol=1e-3)


def test_spreads_of_devices_are_those_of_their_gains_and_tilts():
    """Gain and tilt are half the sum and half the difference of the relative steps up and down."""
    trains = [scaled(constant_train(40, 0.3, k), up, down) for k, (up, down) in
              enumerate([(1.0, 1.2), (1.4, 1.1), (0.8, 1.0), (1.1, 0.8)])]  # fmt: skip
    window = (1e-6, 9e-6)
    columns = {"pulse": [], "conductance": [], "device": []}
    for k, train in enumerate(trains):
        reads = np.append(train.before, train.after[-1])
        columns["pulse"].append(np.append(0.0, train.sign))
        columns["conductance"].append(window[0] + (reads + 1) / 2 * (window[1] - window[0]))
        columns["device"].append(np.full(len(reads), float(k)))
    table = Table("devices.csv", {name: np.concatenate(parts) for name, parts in columns.items()})
    fit = fit_pulses(table, model="ConstantStep", window=window)
    optima = [constant_step_optimum([t.size[t.up], t.size[~t.up]]) for t in trains]
    steps = np.exp([at[:2] for at, _ in optima])
    own = np.array([np.sqrt(np.diag(covariance)[:2]) for _, covariance in optima]) * steps
    for name, sign in (("step_spread", 1), ("up_down_spread", -1)):
        values = (steps[:, 0] + sign * steps[:, 1]) / 2 / fit.values["step"]
        variances = (own**2).sum(1) / 4 / fit.values["step"] ** 2
        spread, uncertainty = spread_of(values, variances)
        assert fit.estimates[name].value == pytest.approx(spread, rel=1e-2)
        assert fit.estimates[name].uncertainty == pytest.approx(uncertainty, rel=1e-2)


def scaled(train: PulseTrain, up: float, down: float) -> PulseTrain:
    reads = np.concatenate([[-0.3], -0.3 + np.cumsum((train.after - train.before) * np.where(train.up, up, down))])
    return PulseTrain(reads[:-1], reads[1:], train.up, train.follows)


def test_a_card_and_its_table_carry_the_uncertainties_of_the_fit(tmp_path: Path):
    fit = fit_amplifier(Table("line.csv", {"input": INPUT, "output": OUTPUT}))
    write_card(fit, tmp_path / "line.toml", Path("line.csv"))
    parameters = load_card(tmp_path / "line.toml").parameters
    console = Console(width=200, file=io.StringIO())
    console.print(fit_table(fit))
    printed = console.file.getvalue()  # pyright: ignore[reportAttributeAccessIssue]
    for name, entry in fit.estimates.items():
        assert parameters[name].uncertainty == pytest.approx(entry.uncertainty, rel=1e-9)
        assert re.search(rf"{name} .* {entry.uncertainty:.2g} ", printed)


def fits_of(coordinates: np.ndarray, covariances: np.ndarray) -> list[Any]:
    likelihood = SimpleNamespace(cycle=False, write=False)
    return [
        cast(Any, SimpleNamespace(likelihood=likelihood, coordinates=x, covariance=c))
        for x, c in zip(coordinates, covariances, strict=True)
    ]


def test_devices_that_scatter_as_their_fits_say_have_the_mean_of_generalised_least_squares():
    covariances = np.array([np.diag([0.04, 0.09]) + 0.01 * k for k in range(3)])
    values = np.array([[1.0, 2.0], [1.01, 2.02], [0.99, 1.99]])
    population = combine(fits_of(values, covariances))
    weights = np.linalg.inv(covariances)
    covariance = np.linalg.inv(weights.sum(0))
    np.testing.assert_allclose(population.covariance, covariance, rtol=1e-9)
    np.testing.assert_allclose(population.mean, covariance @ np.einsum("nij,nj->i", weights, values), rtol=1e-9)


def test_devices_that_differ_have_the_mean_and_its_error_of_the_textbook():
    values = np.array([[1.0], [1.5], [0.8], [1.9]])
    population = combine(fits_of(values, np.full((4, 1, 1), 0.01)))
    assert population.mean[0] == pytest.approx(values.mean(), rel=1e-9)
    assert population.covariance[0, 0] == pytest.approx(values.var(ddof=1) / 4, rel=1e-4)


def test_a_spread_of_equal_variances_is_that_of_the_textbook():
    """The variance of the values is that behind them and their own; N − 1 degrees of freedom tell it."""
    values, own = np.array([1.0, 1.5, 0.8, 1.9]), 0.04
    spread, uncertainty = spread_of(values, np.full(4, own))
    total = values.var(ddof=1)
    assert spread == pytest.approx(np.sqrt(total - own), rel=1e-4)
    # δ(s²) = total √(2/(N − 1)), and δs = δ(s²)/2s.
    assert uncertainty == pytest.approx(total * np.sqrt(2 / 3) / (2 * spread), rel=1e-4)


def test_a_spreads_uncertainty_is_the_information_of_the_restricted_likelihood():
    """½ tr PP for the spread's square, P what the mean leaves of the inverse covariance (Searle, 1992, chapter 6)."""
    values, own = np.array([1.0, 1.5, 0.8, 1.9, 0.4]), np.array([0.01, 0.09, 0.04, 0.2, 0.01])
    spread, uncertainty = spread_of(values, own)
    inverse = np.diag(1 / (own + spread**2))
    ones = np.ones((5, 1))
    p = inverse - inverse @ ones @ np.linalg.inv(ones.T @ inverse @ ones) @ ones.T @ inverse
    assert uncertainty == pytest.approx((0.5 * np.trace(p @ p)) ** -0.5 / (2 * spread), rel=1e-6)


def test_values_no_further_apart_than_their_errors_have_no_spread():
    spread, uncertainty = spread_of(np.array([1.0, 1.1, 0.9]), np.full(3, 0.04))
    assert spread == 0.0
    assert 0 < uncertainty < 0.2


@pytest.mark.parametrize("noise", [Noise(relative=0.0), Noise(floor=0.0), Noise(), Noise(0.1, 0.2),
                                   Noise(deviation=np.linspace(0.1, 0.5, 9))])  # fmt: skip
def test_the_covariance_is_that_of_linear_least_squares(noise: Noise):
    x = np.linspace(1, 3, 9)
    design = np.column_stack([x, x**2])
    data = design @ [1.0, 0.5] + np.array([0.3, -0.2, 0.1, -0.4, 0.2, 0.3, -0.1, -0.3, 0.2])
    unknowns = [Unknown(name, "1", logarithmic=False) for name in "ab"]
    result = regress(unknowns, lambda at: design @ at, [1.0, 0.5], data, noise)
    mean = design @ result.coordinates
    deviation = noise.deviation if noise.deviation is not None else np.hypot(result.relative * mean, result.floor)
    weighted = design / deviation[:, None]
    scale = 1.0 if noise.known else 9 / 7
    np.testing.assert_allclose(result.covariance, scale * np.linalg.inv(weighted.T @ weighted), rtol=1e-6)
    np.testing.assert_allclose(weighted.T @ ((data - mean) / deviation), 0, atol=1e-2)
    if noise.floor == 0.0:
        assert result.relative == pytest.approx(np.sqrt((((data - mean) / mean) ** 2).mean()), rel=1e-3)
    elif noise.relative == 0.0:
        assert result.floor == pytest.approx(np.sqrt(((data - mean) ** 2).mean()), rel=1e-3)


def test_a_regression_needs_two_points_more_than_parameters():
    unknowns = [Unknown(name, "1", logarithmic=False) for name in "ab"]
    x = np.arange(4.0)
    data = np.array([0.0, 1.1, 1.9, 3.0])

    def fit(n: int) -> np.ndarray:
        design = np.column_stack([np.ones(n), x[:n]])
        return regress(unknowns, lambda at: design @ at, [0.0, 1.0], data[:n], Noise(relative=0.0)).coordinates

    np.testing.assert_allclose(fit(4), np.polyfit(x, data, 1)[::-1], atol=1e-9)
    with pytest.raises(DataError, match="2 parameters need at least 4 points, found 3"):
        fit(3)


def test_serial_correlation_is_tested_as_ljung_and_box_do():
    """N (n + 2) Σ r_k²/(n − k) of five lags against χ² with five degrees of freedom [Ljung and Box, 1978]."""
    train = constant_train(40, 0.05, 6)
    fit = fit_train(train, ConstantFamily())
    (up, down, _), _ = constant_step_optimum([train.size[train.up], train.size[~train.up]])
    z = train.sign * (train.size / np.where(train.up, np.exp(up), np.exp(down)) - 1)
    z = z - z.mean()
    correlations = np.correlate(z, z, "full")[40:45] / (z @ z)
    statistic = 40 * 42 * (correlations**2 / (40 - np.arange(1, 6))).sum()
    p = adequacy_of(fit).p_values["serial correlation"]
    assert p == pytest.approx(stats.chi2.sf(statistic, 5), rel=1e-3)


def test_what_is_given_has_no_uncertainty():
    fit = fit_diode(Table("diode.csv", {"voltage": VOLTAGE, "current": diode_current(VOLTAGE, 4e-9, 1.9, 0.65)}))
    assert set(fit.constants) == {"nominal_temperature", "saturation_exponent"}
    assert {entry.uncertainty for entry in fit.constants.values()} == {0.0}


def test_estimates_carry_the_uncertainty_of_their_coordinates():
    jacobian = np.array([[1.0, 2.0, 0.0], [0.5, -1.0, 0.0], [2.0, 0.3, 0.0]])
    covariance = covariance_of(jacobian, 1.5)
    expected = 1.5 * np.linalg.inv(jacobian[:, :2].T @ jacobian[:, :2])
    np.testing.assert_allclose(covariance[:2, :2], expected, rtol=1e-12)
    assert np.isinf(covariance[2, 2])
    unknowns = [Unknown("a", "A", sign=-1.0), Unknown("b", "V", logarithmic=False), Unknown("c", "S")]
    estimates, correlation, untold = estimates_of(unknowns, np.array([np.log(3.0), 0.5, 0.0]), covariance)
    assert [entry.value for entry in estimates.values()] == pytest.approx([-3.0, 0.5, 1.0])
    assert estimates["a"].uncertainty == pytest.approx(3 * np.sqrt(expected[0, 0]))
    assert estimates["b"].uncertainty == pytest.approx(np.sqrt(expected[1, 1]))
    assert np.isinf(estimates["c"].uncertainty)
    assert correlation[0, 1] == pytest.approx(expected[0, 1] / np.sqrt(expected[0, 0] * expected[1, 1]))
    assert any(phrase.startswith("c to better than any factor") for phrase in untold)


def test_the_test_of_fit_is_that_of_nested_models():
    """F of two least-squares fits, one inside the other, by their sums of squares; χ² where the noise is known."""
    rng, x = np.random.default_rng(9), np.linspace(-1, 1, 14)
    small, large = np.column_stack([np.ones(14), x]), np.column_stack([np.ones(14), x, x**2, x**3])
    data = rng.standard_normal(14)
    sums = [float(np.linalg.lstsq(columns, data, rcond=None)[1][0]) for columns in (small, large)]
    residuals = data - small @ np.linalg.lstsq(small, data, rcond=None)[0]
    quotient = (sums[0] - sums[1]) / 2 / (sums[1] / (14 - 4))
    assert lack_of_fit(residuals, small, large[:, 2:], False) == pytest.approx(stats.f.sf(quotient, 2, 10), rel=1e-9)
    # A fit that has not quite ended leaves residuals along the model, which say nothing of the alternatives.
    assert lack_of_fit(data, small, large[:, 2:], False) == pytest.approx(stats.f.sf(quotient, 2, 10), rel=1e-9)
    known = lack_of_fit(residuals, small, large[:, 2:], True)
    assert known == pytest.approx(stats.chi2.sf(sums[0] - sums[1], 2), rel=1e-9)
    total = judge(residuals, small, {}, True).p_values["chi-squared"]
    assert total == pytest.approx(stats.chi2.sf(sums[0], 12), rel=1e-9)


def test_offsets_of_a_chip_carry_the_error_of_the_mean_of_their_reads():
    """Of two reads a and b it is |a − b|/2, and one read from the same seed is a."""
    network = ResistiveNetwork((6, 12, 3), diode=ShockleyDiode(), gain=4.0, seed=2, dtype=torch.float64)
    circuit = network.circuit()
    chip = Chip({}, converters=Converters.draw(circuit, 3, Converter(), [Converter(noise=1e-4)]))
    both, first = (calibrate_chip(network, chip, reads=reads) for reads in (2, 1))
    key = "amplifier1.offset"
    assert first.offset_deviation[key] == 0.0
    half = np.abs(first.known.values[key] - both.known.values[key])
    assert both.offset_deviation[key] == pytest.approx(half.mean(), rel=1e-9)
