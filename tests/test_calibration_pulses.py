"""Fits of pulse responses against trains simulated by the pulse models, and the likelihood against a Kalman filter."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from analog_ep.calibration import Table, fit_figure, fit_pulses, read_table, write_card
from analog_ep.calibration.pulse_fit import fit_train
from analog_ep.calibration.pulse_likelihood import PulseLikelihood, PulseTrain
from analog_ep.calibration.pulses import COLUMNS
from analog_ep.calibration.step_families import FAMILIES, SoftBoundsFamily
from analog_ep.cards import load_card
from analog_ep.cards.pulse_tables import read_pulses
from analog_ep.cli import main
from analog_ep.devices.pulses import ConstantStep, PulsedArray, PulseModel, SoftBounds, pulse_model
from analog_ep.errors import DataError
from analog_ep.runs.building import build_network, build_update
from analog_ep.spec import parse_spec

RANGE = (1e-6, 1e-4)
SWEEPS = np.tile(np.concatenate([np.ones(150), -np.ones(150)]), 2)


def simulated(
    model: PulseModel, seed: int, n_devices: int = 1, pulses: np.ndarray = SWEEPS, start: float = 0.3
) -> Table:
    """A table as a laboratory would write it, from the library's own pulsed devices."""
    begin = RANGE[0] + 0.3 * (RANGE[1] - RANGE[0])
    array = PulsedArray.over(model, torch.full((n_devices,), begin, dtype=torch.float64), RANGE, seed)
    reads = [array.conductances.numpy().copy()]
    for pulse in pulses:
        array.pulse(torch.full((n_devices,), int(pulse)))
        reads.append(array.conductances.numpy().copy())
    signs = np.concatenate([[0.0], pulses])
    columns = {
        "pulse": np.tile(signs, n_devices),
        "conductance": np.stack(reads).T.ravel(),
        "device": np.repeat(np.arange(float(n_devices)), len(signs)),
    }
    return Table("train.csv", columns)


def kalman_surprise(train: PulseTrain, rate: float, bound: float, step: float, read: float) -> float:
    """−ln likelihood of soft bounds by a scalar Kalman filter with additive noise of deviation `step`."""
    state, variance, total = train.before[0], read**2, 0.0
    for up, after in zip(train.up, train.after, strict=True):
        state, variance = state + rate * ((bound if up else -bound) - state), (1 - rate) ** 2 * variance + step**2
        innovation, total_variance = after - state, variance + read**2
        total += 0.5 * (np.log(2 * np.pi * total_variance) + innovation**2 / total_variance)
        gain = variance / total_variance
        state, variance = state + gain * innovation, (1 - gain) * variance
    return total


def test_the_banded_likelihood_is_that_of_a_kalman_filter():
    noise = np.random.default_rng(0)
    up = np.arange(200) % 40 < 20
    reads = np.cumsum(np.concatenate([[-0.5], np.where(up, 0.02, -0.02)])) + 0.02 * noise.standard_normal(201)
    train = PulseTrain(reads[:-1], reads[1:], up, np.arange(200) > 0)
    likelihood = PulseLikelihood(train, SoftBoundsFamily())
    # Bounds so far out that the steps, and so their noise, are the same everywhere.
    far, rate, spread, read = 1e5, 2e-7, 0.3, 0.02
    x = np.array([np.log(rate), np.log(rate), far, -far, np.log(spread), np.log(read)])
    theirs = kalman_surprise(train, rate, far, np.hypot(spread * rate * far, 1e-7), read)
    assert likelihood.surprise(x) == pytest.approx(theirs, rel=1e-7)


@pytest.mark.parametrize("write_noise", [0.0, 1.0])
def test_soft_bounds_are_recovered_within_their_intervals(write_noise: float):
    model = SoftBounds(step=0.015, up_down=0.1, w_min=-1.0, w_max=1.0, step_noise=0.3, write_noise=write_noise)
    truth = {"step": 0.015, "up_down": 0.1, "conductance_min": 1e-6, "conductance_max": 1e-4, "step_noise": 0.3}
    inside: dict[str, int] = dict.fromkeys(truth, 0)
    for seed in range(8):
        fit = fit_pulses(simulated(model, seed), model="SoftBounds")
        assert fit.adequacy.adequate
        assert ("write_noise" in fit.estimates) == (write_noise > 0)
        for name, true in truth.items():
            error = abs(fit.estimates[name].value - true) / fit.estimates[name].uncertainty
            assert error < 4, (seed, name)
            inside[name] += error < 1
    assert 20 <= sum(inside.values()) <= 36  # 27 of 40 expected, a deviation of 3


@pytest.mark.parametrize(
    ("model", "name"),
    [
        (pulse_model("ConstantStep", step=0.005, step_noise=0.3), "ConstantStep"),
        (pulse_model("LinearStep", step=0.004, gamma_up=0.4, gamma_down=0.4, step_noise=0.2), "LinearStep"),
        (pulse_model("SoftBounds", step=0.012, step_noise=0.3), "SoftBounds"),
        (pulse_model("PowStep", step=0.02, gamma=2.5, step_noise=0.2), "PowStep"),
        (pulse_model("ReRamES", step=0.006, step_noise=0.3, write_noise=0.0, step_spread=0.0, up_down_spread=0.0,
                     w_min_spread=0.0, w_max_spread=0.0), "ExpStep"),
    ],
)  # fmt: skip
def test_the_model_that_made_the_data_is_chosen(model: PulseModel, name: str):
    fit = fit_pulses(simulated(model, 3))
    assert fit.model == name
    assert fit.adequacy.adequate
    assert fit.notes[0].startswith("BIC above the smallest: ")


def test_no_model_is_adequate_where_steps_remember_the_pulses_before():
    """Steps that shrink with each pulse of a run and recover at a reversal: a state that no model of the family has."""
    rng, state, run, states = np.random.default_rng(0), -0.3, 0, [-0.3]
    pulses = np.concatenate([np.full(rng.integers(4, 40), (-1.0) ** k) for k in range(40)])
    for k, pulse in enumerate(pulses):
        run = 0 if k and pulses[k - 1] != pulse else run + 1
        size = 0.02 * (0.2 + np.exp(-run / 6)) * (1 + 0.2 * rng.standard_normal())
        state += pulse * size
        states.append(state)
    conductance = 5e-5 + 4e-5 * np.array(states)
    table = Table("odd.csv", {"pulse": np.concatenate([[0.0], pulses]), "conductance": conductance})
    fit = fit_pulses(table)
    assert not fit.adequacy.adequate
    assert "NOT adequate" in fit.sentence()
    assert "no model is adequate: the residual tests reject every one of them" in fit.notes


def test_devices_give_the_spread():
    model = SoftBounds(step=0.02, w_min=-1.0, w_max=1.0, step_noise=0.2, step_spread=0.2)
    pulses = np.tile(np.concatenate([np.ones(60), -np.ones(60)]), 2)
    fit = fit_pulses(simulated(model, 5, 30, pulses), model="SoftBounds")
    spread = fit.estimates["step_spread"]
    assert abs(spread.value - 0.2) < 3 * spread.uncertainty
    assert spread.uncertainty < 0.06
    assert fit.estimates["step"].value == pytest.approx(0.02, rel=0.1)


def test_every_family_is_a_model_of_its_name():
    """The steps of a family at some coordinates are those of the pulse model with the fields it gives."""
    rng = np.random.default_rng(1)
    w = np.linspace(-0.9, 0.9, 50)
    for name, family in FAMILIES.items():
        truth = simulated(pulse_model("SoftBounds", step=0.02, step_noise=0.2), 1)
        states = 2 * (truth["conductance"][:-1] - 1e-6) / 9.9e-5 - 1
        size, up = 0.01 + 0.003 * rng.random(len(states)) - 0.004 * states * SWEEPS, SWEEPS > 0
        x = family.start(states, size, up)
        fields: dict[str, Any] = dict(family.fields(x))
        low, high = fields.pop("low"), fields.pop("high")
        for factors in ("factors_up", "factors_down"):
            numbered = sorted(key for key in fields if key.startswith(f"{factors}_"))
            if numbered:
                fields[factors] = tuple(fields.pop(key) for key in numbered)
        if family.fault(x):
            continue
        model = pulse_model(name, w_min=-1.0, w_max=1.0, **fields)
        drawn = model.draw(1, torch.Generator().manual_seed(0))
        state = torch.from_numpy(2 * (w - low) / (high - low) - 1)
        for sign, theirs in ((True, model.potentiation), (False, model.depression)):
            ours = family.step(x, w, np.full(len(w), sign))[0] * 2 / (high - low)
            np.testing.assert_allclose(ours, theirs(state, drawn).expand(len(w)).numpy(), rtol=1e-9, atol=1e-12)


@pytest.mark.pictures
def test_a_pulse_card_trains_a_network(tmp_path: Path):
    model = SoftBounds(step=0.02, step_noise=0.2)
    fit = fit_pulses(simulated(model, 2), model="SoftBounds")
    write_card(fit, tmp_path / "mine.toml", Path("train.csv"))
    card = load_card(tmp_path / "mine.toml")
    assert card.pulse_model().mean_step == fit.values["step"]
    spec = parse_spec({"network": {"sizes": [4, 3, 2]}, "update": {"device": str(tmp_path / "mine.toml")}}, "here")
    assert build_update(spec, build_network(spec)) is not None
    assert (tmp_path / "mine.png").read_bytes() == fit_figure(fit, "mine")


def test_pulses_against_a_hard_bound_are_left_out():
    model = pulse_model("ConstantStep", step=0.02, step_noise=0.1)
    table = simulated(model, 4)
    assert (table["conductance"] == table["conductance"].max()).sum() > 20
    fit = fit_pulses(table, model="ConstantStep")
    assert fit.adequacy.adequate
    assert fit.n_points < len(SWEEPS) - 20


def test_fitting_one_train_finds_the_optimum_of_the_likelihood():
    table = simulated(pulse_model("SoftBounds", step=0.012, step_noise=0.3, write_noise=1.0), 7)
    w = 2 * (table["conductance"] - RANGE[0]) / (RANGE[1] - RANGE[0]) - 1
    train = PulseTrain(w[:-1], w[1:], SWEEPS > 0, np.arange(len(SWEEPS)) > 0)
    fit = fit_train(train, SoftBoundsFamily())
    for direction in np.eye(len(fit.coordinates)):
        for sign in (-1, 1):
            assert fit.likelihood.surprise(fit.coordinates + sign * 0.02 * direction) > fit.surprise


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("pulse,conductance [V]\n0,1\n", "column conductance must be in S, .*found 'V'"),
        ("pulse,conductance [uS]\n" + "1,5\n" * 40, r"conductance must change within 0 <= low < high, found 5e-06 to"),
        ("pulse,conductance [uS]\n0,5\n1,6\n", "30 pulses, 10 of each sign, are needed .*found 1 up and 0 down"),
        ("pulse,conductance [uS]\n0,5\n2,6\n", "pulse must be 1, -1, or 0 where a train begins, found 2"),
        ("pulse,conductance [uS]\n0,-5\n1,6\n", "conductances must not be negative, found -5e-06 S"),
        ("conductance [uS]\n5\n", "found no pulse in: conductance"),
    ],
)
def test_bad_tables_are_refused_in_one_line(tmp_path: Path, text: str, words: str):
    data = tmp_path / "bad.csv"
    data.write_text(text)
    with pytest.raises(DataError, match=words):
        fit_pulses(read_table(data, COLUMNS))
    with pytest.raises(SystemExit, match=words):
        main(["calibrate", "pulses", str(data), "-o", str(tmp_path / "card.toml")])
    assert [path.name for path in tmp_path.iterdir()] == ["bad.csv"]


def test_unknown_models_are_refused():
    with pytest.raises(DataError, match=r"model must be one of ConstantStep, .*, found 'Memristor'"):
        fit_pulses(simulated(pulse_model("ConstantStep"), 0), model="Memristor")


def test_trains_that_go_against_their_sign_are_refused():
    table = simulated(SoftBounds(step=0.015, step_noise=0.3), 3)
    backwards = Table("train.csv", {**table.columns, "pulse": -table["pulse"]})
    with pytest.raises(DataError, match=r"pulses up must not on the whole .* found that it was lowered by"):
        fit_pulses(backwards, model="ConstantStep")
    noisy = simulated(ConstantStep(step=0.002, step_noise=5.0), 3)
    fit_pulses(noisy, model="ConstantStep")


def test_the_mean_step_of_a_train_without_a_header_that_drowns_in_noise(tmp_path: Path):
    """As RRAM is published: conductances up and down in two columns, and no word of what they are."""
    random = np.random.default_rng(5)
    steps = 3e-8 * (np.repeat([1, -1], 500) + 15 * random.normal(size=1000))
    reads = 5e-5 + np.concatenate([[0], np.cumsum(steps)]) + 1e-6 * random.normal(size=1001)
    trains = np.column_stack([reads[:501], reads[500:]]) * 1e6
    np.savetxt(tmp_path / "train.csv", trains, delimiter=";", fmt="%.4f")
    table = read_pulses(tmp_path / "train.csv", "up [uS],down [uS]")
    fit = fit_pulses(table, model="ExpStep")
    for curve, train in zip(fit.curves, trains.T, strict=True):
        steps = np.interp(curve.x, curve.grid, curve.mean)
        assert steps.mean() * 1e6 == pytest.approx((train[-1] - train[0]) / 500, rel=0.2)
