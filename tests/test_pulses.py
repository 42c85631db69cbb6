"""Pulse models against traces of another implementation, closed forms, and the stated moments of their noise."""

import dataclasses
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from analog_ep.devices.pulses import (
    MODELS,
    PRESETS,
    ConductanceMap,
    ConstantStep,
    Exponential,
    ExpStep,
    LinearStep,
    Lookup,
    PiecewiseStep,
    PowStep,
    PulsedArray,
    PulseModel,
    SoftBounds,
    SoftBoundsReference,
    pulse_model,
)
from analog_ep.devices.pulses.pcm import drift_exponent, drift_exponent_deviation, programming_deviation, read_deviation
from analog_ep.errors import CheckpointError, DataError, DeviceParameterError

BOUNDS = (1e-7, 1e-4)
MILLION = 1_000_000

QUIET = dict.fromkeys(("step_noise", "write_noise", "step_spread", "up_down_spread"), 0.0)
QUIET |= {"w_min_spread": 0.0, "w_max_spread": 0.0}

TRACED: dict[str, PulseModel] = {
    "ConstantStep": ConstantStep(step=0.005, up_down=0.1),
    "LinearStep": LinearStep(step=0.005, up_down=0.1, gamma_up=0.4, gamma_down=0.7),
    "SoftBounds": SoftBounds(step=0.005, up_down=0.1, w_min=-0.5, w_max=0.8),
    "SoftBoundsRef": SoftBoundsReference(step=0.005, up_down=0.1, w_min=-0.5, w_max=0.8),
    "ExpStep": pulse_model("ReRamES", **QUIET),
    "PowStep": PowStep(step=0.01, up_down=0.1, gamma=1.7, gamma_up_down=0.2),
    "PiecewiseStep": PiecewiseStep(step=0.005, factors_up=(2, 1, 0.5, 0.1), factors_down=(0.1, 0.6, 1, 1.8)),
}


AIHWKIT = json.loads((Path(__file__).parent / "data" / "device_defaults_aihwkit_1.1.0.json").read_text())
NAMES = {
    "step": "dw_min",
    "step_noise": "dw_min_std",
    "step_spread": "dw_min_dtod",
    "log_normal_spread": "dw_min_dtod_log_normal",
    "up_down": "up_down",
    "up_down_spread": "up_down_dtod",
    "write_noise": "write_noise_std",
    "w_min": "w_min",
    "w_max": "w_max",
    "w_min_spread": "w_min_dtod",
    "w_max_spread": "w_max_dtod",
    "corrupt_probability": "corrupt_devices_prob",
    "corrupt_range": "corrupt_devices_range",
    "lifetime": "lifetime",
    "lifetime_spread": "lifetime_dtod",
    "rest_state": "reset",
    "diffusion": "diffusion",
    "diffusion_spread": "diffusion_dtod",
    "nominal_bound": "mean_bound_reference",
    "noise_follows_step": "mult_noise",
    "gamma_up_spread": "gamma_up_dtod",
    "gamma_down_spread": "gamma_down_dtod",
    "reference_mean": "reference_mean",
    "reference_spread": "reference_std",
    "subtract_symmetry_point": "subtract_symmetry_point",
    "a": "a",
    "b": "b",
    "amplitude_up": "A_up",
    "amplitude_down": "A_down",
    "noise_offset": "dw_min_std_add",
    "noise_slope": "dw_min_std_slope",
    "gamma": "pow_gamma",
    "gamma_spread": "pow_gamma_dtod",
    "gamma_up_down": "pow_up_down",
    "gamma_up_down_spread": "pow_up_down_dtod",
}
"""What aihwkit calls the parameters; γ of linear and of exponential steps has one name in both."""


def devices(model: PulseModel, n: int = 1, state: float = 0.0, seed: int = 0) -> PulsedArray:
    """Devices in a window ten times as wide as their nominal bounds, so that no draw is cut off."""
    window = ConductanceMap(10 * model.w_min - 1, 10 * model.w_max + 1, 0.0, 1e-3)
    return PulsedArray(model, window.conductance(torch.full((n,), state, dtype=torch.float64)), window, seed)


def read(array: PulsedArray) -> torch.Tensor:
    return array.map.state(array.conductances)


def ones(array: PulsedArray, count: int = 1) -> torch.Tensor:
    return torch.full(array.shape, count, dtype=torch.int64)


@pytest.mark.parametrize("name", TRACED)
def test_traces_of_aihwkit(name: str):
    reference = np.load(Path(__file__).parent / "data" / "pulse_traces_aihwkit_1.1.0.npz")
    array = devices(TRACED[name])
    found = []
    for sign in reference["seq"]:
        array.pulse(ones(array, int(sign)))
        found.append(read(array).item())
    # The reference is in single precision.
    np.testing.assert_allclose(found, reference[name], rtol=0, atol=5e-6)


def aihwkits(model: PulseModel, kind: str) -> dict[str, tuple[Any, Any, str]]:
    """Our value, theirs and their name of every parameter that both have."""
    theirs = AIHWKIT[kind]
    names = NAMES | {name: name for name in ("gamma_up", "gamma_down")}
    return {
        field.name: (getattr(model, field.name), theirs[names[field.name]], names[field.name])
        for field in dataclasses.fields(model)  # pyright: ignore[reportArgumentType]
        if names.get(field.name) in theirs
    }


@pytest.mark.parametrize("name", sorted(MODELS.keys() - {"Exponential"}))
def test_defaults_that_are_not_aihwkits_are_said_with_theirs(name: str):
    found = aihwkits(pulse_model(name), f"{name}Device")
    assert len(found) >= 17
    documents = [re.sub(r"\s+", " ", each.__doc__ or "") for each in MODELS[name].__mro__[:-1]]
    differ = set()
    for own, theirs, called in found.values():
        if own != theirs:
            differ.add(called)
            value = str(theirs).lower() if isinstance(theirs, bool) else f"{theirs:g}"
            said = rf"\([^()]*\b{called}, (\w+, )?{value} there[;)]"
            assert any(re.search(said, document) for document in documents), f"{called} is {value} there"
    assert {"dw_min_std", "dw_min_dtod", "up_down_dtod", "w_min_dtod", "w_max_dtod"} <= differ


@pytest.mark.parametrize("name", PRESETS)
def test_presets_are_aihwkits(name: str):
    kind = "ReRamArrayHfO2" if name == "HfO2" else name
    found = aihwkits(PRESETS[name], f"{kind}PresetDevice")
    assert len(found) >= 17
    # A preset has no corrupt devices, and a PCM's reset is a programming pulse that is not among these.
    differ = {field for field, (own, theirs, _) in found.items() if own != theirs}
    assert differ <= {"corrupt_range", "rest_state"}


def test_the_map_is_affine_and_its_own_inverse():
    window = ConductanceMap(-1.0, 3.0, 1e-6, 5e-6)
    assert window.conductance(torch.tensor([-1.0, 0.0, 3.0])).tolist() == pytest.approx([1e-6, 2e-6, 5e-6])
    state = torch.linspace(-1, 3, 7, dtype=torch.float64)
    torch.testing.assert_close(window.state(window.conductance(state)), state)
    with pytest.raises(DeviceParameterError, match=r"w_min must be below w_max, both finite, found 1.0 and 1.0"):
        ConductanceMap(1.0, 1.0, 0.0, 1e-6)
    with pytest.raises(DeviceParameterError, match="g_min must not be negative, found -1e-06"):
        ConductanceMap(0.0, 1.0, -1e-6, 1e-6)


@pytest.mark.parametrize("up", [True, False])
def test_cycle_to_cycle_noise_has_its_moments(up: bool):
    array = devices(LinearStep(step=1e-3, gamma_up=0.5, gamma_down=0.25, step_noise=0.3), MILLION, state=0.3)
    array.pulse(ones(array, 1 if up else -1))
    change = (array.hidden - 0.3).abs()
    mean = 1e-3 * (1 - 0.5 * 0.3 / 0.6) if up else 1e-3 * (1 - 0.25 * 0.3 / -0.6)
    assert change.mean().item() == pytest.approx(mean, rel=0.02)
    assert change.std().item() == pytest.approx(0.3 * mean, rel=0.02)


def test_noise_that_does_not_follow_the_step():
    array = devices(SoftBoundsReference(step=1e-3, step_noise=0.4, noise_follows_step=False), MILLION, state=0.3)
    array.pulse(ones(array))
    assert (array.hidden - 0.3).mean().item() == pytest.approx(0.5e-3, rel=0.02)
    assert array.hidden.std().item() == pytest.approx(0.4e-3, rel=0.02)


@pytest.mark.parametrize("model", [SoftBounds, SoftBoundsReference, LinearStep])
@pytest.mark.parametrize("place", [0.6, 0.7])
def test_noise_at_a_bound_is_that_of_the_pulses_own_sign(model: type[LinearStep], place: float):
    soft: dict[str, Any] = {"gamma_up": 1.0, "gamma_down": 1.0} if model is LinearStep else {}
    uneven = model(step=1e-3, up_down=0.5, step_noise=0.4, noise_follows_step=False, nominal_bound=True, **soft)
    # Steps up are 1e-3 at w = 0, steps down half of it; at the nominal bound they end, and beyond it they turn.
    drawn, generator, n = uneven.draw(1, torch.Generator()), torch.Generator().manual_seed(0), 100_000
    for sign, size in ((1, 1e-3), (-1, 0.5e-3)):
        state = torch.full((n,), sign * place, dtype=torch.float64)
        change = uneven.respond(state, torch.full((n,), sign > 0), drawn, generator)
        assert change.std().item() == pytest.approx(0.4 * size, rel=0.01)
        assert change.mean().item() == pytest.approx(sign * size * (1 - place / 0.6), abs=5 * 0.4 * size / n**0.5)


def test_noise_of_phase_change_memory():
    quiet = pulse_model("PCM", step_spread=0.0, up_down_spread=0.0, w_max_spread=0.0)
    array = devices(quiet, MILLION, state=1.0)
    array.pulse(ones(array))
    # z = 2 · (−1) · 1/2 = −1; up to no bound within reach.
    mean = 0.01 * (1 + 27.235 * np.exp(-2.5))
    assert (array.hidden - 1.0).mean().item() == pytest.approx(mean, rel=0.02)
    assert array.hidden.std().item() == pytest.approx(0.6 * (mean + 0.042 + 0.108), rel=0.02)


def test_write_noise_lies_on_what_is_read_and_not_on_the_state():
    array = devices(ConstantStep(step=1e-3, write_noise=4.0), MILLION)
    array.pulse(ones(array))
    assert torch.equal(array.hidden, torch.full((MILLION,), 1e-3, dtype=torch.float64))
    assert read(array).mean().item() == pytest.approx(1e-3, abs=2e-5)
    assert read(array).std().item() == pytest.approx(4e-3, rel=0.02)


def test_spread_over_devices_has_its_moments():
    model = ConstantStep(step=1e-3, step_spread=0.1, up_down_spread=0.02, w_min_spread=0.05, w_max_spread=0.08)
    drawn = devices(model, MILLION).drawn
    for name, mean, deviation in (
        ("up", 1e-3, 1e-3 * np.hypot(0.1, 0.02)),
        ("down", 1e-3, 1e-3 * np.hypot(0.1, 0.02)),
        ("low", -0.6, 0.03),
        ("high", 0.6, 0.048),
    ):
        assert drawn[name].mean().item() == pytest.approx(mean, rel=0.02)
        assert drawn[name].std().item() == pytest.approx(deviation, rel=0.02)
    assert (drawn["up"] - drawn["down"]).std().item() == pytest.approx(2 * 0.02 * 1e-3, rel=0.02)


def test_log_normal_spread_has_its_moments():
    drawn = devices(ConstantStep(step=1e-3, step_spread=0.5, log_normal_spread=True), MILLION).drawn
    logarithm = (drawn["up"] / 1e-3).log()
    assert logarithm.mean().item() == pytest.approx(0, abs=2e-3)
    assert logarithm.std().item() == pytest.approx(0.5, rel=0.02)


def test_spread_of_the_models_own_parameters_has_its_moments():
    def drawn(model: PulseModel) -> dict[str, torch.Tensor]:
        return model.draw(200_000, torch.Generator().manual_seed(0))

    linear = drawn(LinearStep(gamma_up=0.4, gamma_down=0.7, gamma_up_spread=0.05, gamma_down_spread=0.08))
    reference = drawn(SoftBoundsReference(reference_mean=0.1, reference_spread=0.02))
    power = drawn(PowStep(gamma=1.5, gamma_spread=0.1, gamma_up_down_spread=0.02))
    for value, mean, deviation in (
        (linear["slope_up"] * linear["high"] / linear["up"], 0.4, 0.05),
        (linear["slope_down"] * linear["low"] / linear["down"], 0.7, 0.08),
        (reference["reference"], 0.1, 0.02),
        (power["power_up"], 1.5, 1.5 * np.hypot(0.1, 0.02)),
        (power["power_down"], 1.5, 1.5 * np.hypot(0.1, 0.02)),
        (power["power_up"] - power["power_down"], 0.0, 1.5 * 2 * 0.02),
    ):
        assert value.mean().item() == pytest.approx(mean, abs=0.01 * deviation)
        assert value.std().item() == pytest.approx(deviation, rel=0.01)


def test_corrupt_devices_do_not_answer():
    array = devices(ConstantStep(step=0.01, corrupt_probability=0.2, corrupt_range=0.1), MILLION)
    before = array.hidden.clone()
    array.pulse(ones(array, 3))
    stuck = array.hidden == before
    assert stuck.double().mean().item() == pytest.approx(0.2, rel=0.02)
    assert array.hidden[stuck].abs().max().item() <= 0.1
    assert array.hidden[stuck].std().item() == pytest.approx(0.1 / np.sqrt(3), rel=0.02)


def test_decay_goes_to_the_rest_state():
    array = devices(ConstantStep(lifetime=50.0, rest_state=0.1), 3, state=0.5)
    for _ in range(20):
        array.rest()
    torch.testing.assert_close(array.hidden, torch.full((3,), 0.1 + 0.4 * (1 - 1 / 50) ** 20, dtype=torch.float64))


def test_lifetimes_spread_over_devices():
    array = devices(ConstantStep(lifetime=50.0, lifetime_spread=0.1), 200_000, state=0.5)
    for _ in range(3):
        array.rest()
    lifetime = 1 / (1 - (array.hidden / 0.5) ** (1 / 3))
    assert lifetime.mean().item() == pytest.approx(50.0, rel=0.002)
    assert lifetime.std().item() == pytest.approx(5.0, rel=0.02)


def test_diffusion_spreads_over_devices():
    array = devices(ConstantStep(diffusion=1e-3, diffusion_spread=0.2), 20_000)
    steps = []
    for _ in range(100):
        before = array.hidden
        array.rest()
        steps.append(array.hidden - before)
    rate = torch.stack(steps).square().mean(0).sqrt()
    # An estimate from 100 steps deviates by 1/√200 of what it estimates.
    assert rate.square().mean().sqrt().item() == pytest.approx(1e-3 * 1.04**0.5, rel=0.01)
    assert rate.std().item() == pytest.approx(1e-3 * (0.2**2 + 1.04 / 200) ** 0.5, rel=0.03)


def test_diffusion_is_a_random_walk():
    array = devices(ConstantStep(diffusion=0.01), 200_000)
    for _ in range(9):
        array.rest()
    assert array.hidden.std().item() == pytest.approx(0.03, rel=0.02)


def test_drift_is_a_power_of_time():
    model = ConstantStep(w_min=0.0, w_max=1.0, drift_exponent=0.06, drift_exponent_spread=0.01)
    array = PulsedArray.over(model, torch.full((MILLION,), 8e-5, dtype=torch.float64), (0.0, 1e-4), seed=1)
    array.drift(1.0, 10.0)
    array.drift(10.0, 1e4)
    exponent = -(array.conductances / 8e-5).log() / np.log(1e4)
    assert exponent.mean().item() == pytest.approx(0.06, rel=0.02)
    assert exponent.std().item() == pytest.approx(0.01, rel=0.02)
    with pytest.raises(DeviceParameterError, match=r"drift needs times 0 < since <= until, found 2.0 and 1.0 s"):
        array.drift(2.0, 1.0)


def test_a_rest_without_decay_changes_nothing():
    array = devices(ConstantStep(write_noise=3.0), 5)
    before = array.conductances
    array.rest()
    assert torch.equal(array.conductances, before)


def test_exponential_pulses_lie_on_the_closed_form():
    model = Exponential(w_min=0.0, w_max=2.0, pulses=40, curvature_up=10.0, curvature_down=25.0)
    array = devices(model, state=0.0)
    count = np.arange(1, 41)
    found = []
    for sign in (1, -1):
        for _ in count:
            array.pulse(ones(array, sign))
            found.append(array.hidden.item())
    rise = 2 * (1 - np.exp(-count / 10)) / (1 - np.exp(-40 / 10))
    fall = 2 - 2 * (1 - np.exp(-count / 25)) / (1 - np.exp(-40 / 25))
    np.testing.assert_allclose(found, [*rise, *fall], atol=1e-12)


def test_the_symmetry_point_is_read_as_zero():
    model = SoftBoundsReference(step=0.01, up_down=0.2, w_min=-0.4, w_max=0.9, subtract_symmetry_point=True)
    array = devices(model, 4)
    for _ in range(3000):
        array.pulse(ones(array, 1))
        array.pulse(ones(array, -1))
    # Alternating pulses settle half a step from the point where both steps are equal.
    assert read(array).abs().max().item() < 0.01
    assert array.hidden[0].item() == pytest.approx((1 - 0.8) / (1 / 0.9 + 0.8 / 0.4), abs=0.01)


def test_a_lookup_table_gives_back_the_pulses_it_was_made_from():
    random = np.random.default_rng(0)
    before = random.uniform(1e-6, 2e-5, 200_000)
    up = random.random(len(before)) < 0.5
    mean = np.where(up, 1e-7 * (1 - before / 4e-5), -5e-8 * (1 + before / 2e-5))
    change = mean * (1 + 0.2 * random.standard_normal(len(before)))
    model = Lookup.from_pulses(before, before + change, up, n_conductances=41, n_probabilities=201)
    for sign, siemens in ((1, 5e-6), (-1, 1.5e-5)):
        array = PulsedArray.over(
            model, torch.full((200_000,), siemens, dtype=torch.float64), (model.w_min, model.w_max), 3
        )
        array.pulse(ones(array, sign))
        expected = 1e-7 * (1 - siemens / 4e-5) if sign > 0 else -5e-8 * (1 + siemens / 2e-5)
        step = array.conductances - siemens
        assert step.mean().item() == pytest.approx(expected, rel=0.02)
        assert step.std().item() == pytest.approx(0.2 * abs(expected), rel=0.05)


def test_a_lookup_table_without_noise_gives_the_mean():
    table = np.tile(np.linspace(0.0, 2e-7, 5) ** 2 / 2e-7, (3, 1))
    model = Lookup(w_min=1e-6, w_max=1e-5, table_up=table, table_down=-table[:, ::-1], step_noise=0.0)
    array = PulsedArray.over(model, torch.full((9,), 3e-6, dtype=torch.float64), (1e-6, 1e-5), 0)
    array.pulse(ones(array))
    mean = np.trapezoid(table[0], dx=1 / 4)
    torch.testing.assert_close(array.conductances - 3e-6, torch.full((9,), mean, dtype=torch.float64))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"before": np.zeros(3)}, r"three lists of one length, found \(3,\), \(40,\) and \(40,\)"),
        ({"after": np.full(40, np.nan)}, "must be finite, found NaN or infinity"),
        ({"up": np.arange(40) < 3}, "10 pulses of each sign are needed, found 3 up and 37 down"),
        ({"up": np.arange(40) < 9}, "10 pulses of each sign are needed, found 9 up and 31 down"),
    ],
)
def test_pulses_that_make_no_table(change: dict[str, Any], words: str):
    good = {"before": np.linspace(1, 2, 40), "after": np.linspace(1, 2, 40), "up": np.arange(40) % 2 == 0}
    with pytest.raises(DataError, match=words):
        Lookup.from_pulses(**{**good, **change})


def test_ten_pulses_of_a_sign_make_a_table():
    up = np.arange(40) < 10
    before = np.linspace(1, 2, 40)
    found = Lookup.from_pulses(before, before + np.where(up, 0.1, -0.1), up, n_conductances=2, n_probabilities=2)
    np.testing.assert_allclose(found.table_up, 0.1)
    np.testing.assert_allclose(found.table_down, -0.1)


def test_tables_must_be_quantiles():
    good = np.tile(np.linspace(0, 1e-7, 3), (2, 1))
    for table, words in (
        (good[:1], r"table_up must be at least 2 × 2, found \(1, 3\)"),
        (good[:, ::-1], "table_up must not decrease with probability"),
        (-good[:, ::-1], "pulses must raise and lower the conductance on average"),
        (good * np.nan, "table_up must be finite"),
    ):
        with pytest.raises(DeviceParameterError, match=words):
            Lookup(w_min=0.0, w_max=1.0, table_up=table, table_down=-good[:, ::-1])


def test_many_pulses_are_as_many_single_ones():
    counts = torch.tensor([[3, -2, 0], [1, 0, -5]])
    start = torch.full((2, 3), 4e-5, dtype=torch.float64)
    at_once = PulsedArray.over(SoftBounds(step=0.02), start, BOUNDS, 0)
    singly = PulsedArray.over(SoftBounds(step=0.02), start, BOUNDS, 0)
    at_once.pulse(counts)
    for _ in range(5):
        step = counts.sign()
        singly.pulse(step)
        counts = counts - step
    assert torch.equal(at_once.conductances, singly.conductances)
    assert torch.equal(at_once.potentiations, singly.potentiations)
    assert at_once.depressions.tolist() == [[0, 2, 0], [0, 0, 5]]
    assert at_once.energy.item() == pytest.approx(singly.energy.item(), rel=1e-12)


def test_pulses_come_in_any_integer_dtype():
    array = devices(ConstantStep(step=0.01), 3)
    array.pulse(torch.tensor([1, 0, -2], dtype=torch.int32))
    assert array.hidden.tolist() == pytest.approx([0.01, 0.0, -0.02])


@pytest.mark.parametrize("name", ["SoftBounds", "PowStep"])
def test_pulses_are_the_same_when_they_are_given_in_parts(name: str, monkeypatch: pytest.MonkeyPatch):
    counts = torch.tensor([3, -2, 0, 9, 1, 0, -5])
    arrays = [devices(pulse_model(name, step=0.02, endurance=8.0), 7) for _ in range(2)]
    for array, at_once in zip(arrays, (100, 4), strict=True):
        monkeypatch.setattr("analog_ep.devices.pulses.array._AT_ONCE", at_once)
        array.pulse(counts)
    whole, parts = arrays
    assert torch.equal(whole.conductances, parts.conductances)
    assert whole.potentiations.tolist() == parts.potentiations.tolist() == [3, 0, 0, 8, 1, 0, 0]
    assert whole.depressions.tolist() == parts.depressions.tolist() == [0, 2, 0, 0, 0, 0, 5]
    assert whole.energy.item() == pytest.approx(parts.energy.item(), rel=1e-12)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("ConstantStep", {"step_noise": 0.3, "w_max_spread": 0.3}),
        ("ConstantStep", {"step_noise": 0.3, "endurance": 20.0}),
        ("LinearStep", {"gamma_up": 0.5, "gamma_down": 0.7}),
        ("SoftBounds", {"step_noise": 0.3, "step_spread": 0.3, "write_noise": 0.5}),
    ],
)
def test_compiled_pulses_are_those_of_the_tensors(
    name: str, parameters: dict[str, Any], dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
):
    counts = (4 * torch.randn((10, 7, 8), generator=torch.Generator().manual_seed(0))).round().long()
    arrays = []
    for compiled in (True, False):
        monkeypatch.setattr("analog_ep.devices.pulses.array.runs_compiled", lambda _, use=compiled: use)
        start = torch.full((7, 8), 4e-5, dtype=dtype)
        arrays.append(PulsedArray.over(pulse_model(name, step=0.02, **parameters), start, BOUNDS, 0))
        for count in counts:
            arrays[-1].pulse(count)
    one, other = arrays
    digits = 10 * torch.finfo(dtype).eps
    torch.testing.assert_close(one.hidden, other.hidden, rtol=digits, atol=digits)
    torch.testing.assert_close(one.conductances, other.conductances, rtol=digits, atol=0)
    assert torch.equal(one.potentiations, other.potentiations)
    assert torch.equal(one.depressions, other.depressions)
    assert one.energy.item() == pytest.approx(other.energy.item(), rel=1e-6 if dtype == torch.float32 else 1e-14)


@pytest.mark.parametrize("name", MODELS)
def test_straight_steps_are_those_of_the_model(name: str):
    model = pulse_model(name, step_noise=0.3, w_max_spread=0.2)
    drawn = devices(model, 50).drawn
    lines = model.straight_steps(drawn)
    assert (lines is not None) == (name in ("ConstantStep", "LinearStep", "SoftBounds", "SoftBoundsReference"))
    if lines is None:
        return
    state = torch.linspace(-0.5, 0.5, 50, dtype=torch.float64)
    for (step, slope), change in zip(
        lines, (-model.depression(state, drawn), model.potentiation(state, drawn)), strict=True
    ):
        torch.testing.assert_close((step + slope * state).expand(50), change.expand(50))
        torch.testing.assert_close(model.deviation(state, change > 0, change, drawn), 0.3 * change)


def test_noise_that_does_not_follow_the_step_has_no_straight_form():
    model = LinearStep(step_noise=0.3, noise_follows_step=False)
    assert model.straight_steps(devices(model).drawn) is None


@pytest.mark.parametrize("gamma", [0.0, 1.0])
def test_many_noisy_pulses_have_the_moments_of_their_recursion(gamma: float):
    model = LinearStep(step=0.01, step_noise=0.5, gamma_up=gamma, gamma_down=gamma)
    # Five kinds of devices side by side, among them some without a pulse.
    kinds = torch.tensor([4, 0, -2, 1, -7])
    array = devices(model, 5 * 40_000, state=0.1)
    array.pulse(kinds.repeat(40_000))
    pulsed_states = 0.0
    for column, count in enumerate(kinds.tolist()):
        mean, square, sign = 0.1, 0.01, 1 if count > 0 else -1
        step, slope = sign * 0.01, -0.01 * gamma / 0.6
        for _ in range(abs(count)):
            pulsed_states += mean * 40_000
            change, change_square = step + slope * mean, step**2 + 2 * step * slope * mean + slope**2 * square
            square += 2 * (step * mean + slope * square) + 1.25 * change_square
            mean += change
        found = array.hidden[column::5]
        deviation = max(square - mean**2, 0.0) ** 0.5
        assert found.mean().item() == pytest.approx(mean, abs=4 * deviation / 200 + 1e-12)
        assert found.std().item() == pytest.approx(deviation, rel=0.02, abs=1e-12)
    energy = array.map.conductance(torch.tensor(pulsed_states / (14 * 40_000))) * 14 * 40_000 * 1e-7
    assert array.energy.item() == pytest.approx(energy.item(), rel=1e-4)


def test_a_pulse_takes_its_energy():
    model = ConstantStep(w_min=0.0, w_max=1.0, step=0.1, pulse_voltage=2.0, pulse_width=5e-8)
    array = PulsedArray.over(model, torch.tensor([1e-5, 3e-5], dtype=torch.float64), (0.0, 1e-4), 0)
    array.pulse(torch.tensor([2, -1]))
    assert array.energy.item() == pytest.approx(4.0 * 5e-8 * (1e-5 + 2e-5 + 3e-5))


@pytest.mark.parametrize("model", [SoftBounds, PowStep])
def test_depressing_pulses_take_the_energy_of_their_own_voltage(model: type[SoftBounds | PowStep], monkeypatch):
    """Device by device and pulse by pulse, of straight steps compiled and not, and of curved ones."""
    device = model(w_min=-1.0, w_max=1.0, step=0.05, pulse_voltage=2.0, depress_voltage=1.5, pulse_width=5e-8)
    start = torch.tensor([1e-5, 3e-5, 9e-5, 5e-5], dtype=torch.float64)
    counts = torch.tensor([2, -1, -3, 1])
    expected = 0.0
    for g, count in zip(start, counts.tolist(), strict=True):
        single = PulsedArray.over(device, g[None], (0.0, 1e-4), 0)
        for _ in range(abs(count)):
            expected += (2.0 if count > 0 else 1.5) ** 2 * 5e-8 * float(single.conductances)
            single.pulse(torch.tensor([1 if count > 0 else -1]))
    for compiled in (True, False):
        if not compiled:
            monkeypatch.setattr("analog_ep.devices.pulses.array.runs_compiled", lambda _: False)
        array = PulsedArray.over(device, start, (0.0, 1e-4), 0)
        array.pulse(counts)
        assert array.energy.item() == pytest.approx(expected, rel=1e-12)


def test_worn_out_devices_do_not_answer():
    array = devices(ConstantStep(step=0.01, endurance=5), 2)
    array.pulse(torch.tensor([7, 2]))
    assert array.hidden.tolist() == pytest.approx([0.05, 0.02])
    assert array.worn_out.tolist() == [True, False]
    assert array.potentiations.tolist() == [5, 2]


def test_seeds_set_devices_and_noise():
    first, again, other = (devices(PRESETS["ReRamES"], 50, seed=seed) for seed in (1, 1, 2))
    for array in (first, again, other):
        array.pulse(ones(array, 2))
    assert torch.equal(first.conductances, again.conductances)
    assert not torch.equal(first.conductances, other.conductances)


def test_a_restored_array_goes_on_to_the_same_bits():
    array = devices(PRESETS["ReRamES"], 50)
    array.pulse(ones(array, 3))
    twin = devices(PRESETS["ReRamES"], 50, state=0.2)
    twin.load_state_dict(array.state_dict())
    for each in (array, twin):
        each.pulse(ones(each, -4))
    assert torch.equal(array.conductances, twin.conductances)
    assert torch.equal(array.depressions, twin.depressions)
    assert array.energy == twin.energy
    with pytest.raises(CheckpointError, match="the pulsed devices must have states of shapes"):
        devices(PRESETS["ReRamES"], 49).load_state_dict(array.state_dict())


def test_noise_that_another_kind_of_device_drew_is_refused():
    array = devices(PRESETS["ReRamES"], 50)
    state = array.state_dict() | {"generator": torch.zeros(16, dtype=torch.uint8)}
    with pytest.raises(CheckpointError, match=r"noise must go on where it was drawn, .* than cpu; resume on the one"):
        array.load_state_dict(state)


@pytest.mark.parametrize("name", PRESETS)
def test_presets_stay_in_their_window(name: str):
    array = PulsedArray.over(PRESETS[name], torch.full((200,), 3e-5), BOUNDS, 0)
    for count in (20, -30, 10):
        array.pulse(ones(array, count))
        assert bool(torch.isfinite(array.conductances).all())
        assert BOUNDS[0] * 0.999 <= array.conductances.min().item()
        assert array.conductances.max().item() <= BOUNDS[1] * 1.001


def test_pulses_are_whole_and_of_the_arrays_shape():
    array = devices(ConstantStep(), 3)
    for counts in (torch.ones(3), torch.ones(4, dtype=torch.int64)):
        with pytest.raises(DeviceParameterError, match=r"pulses must be whole numbers of shape \(3,\), found"):
            array.pulse(counts)


@pytest.mark.parametrize(
    ("name", "parameters", "words"),
    [
        ("Memristor", {}, "device must be one of ConstantStep, .*PCM, found 'Memristor'"),
        ("SoftBounds", {"gamma_up": 2.0}, "SoftBounds has no parameter 'gamma_up'; it has w_min"),
        ("ReRamES", {"step": -1.0}, "ExpStep: step must not be negative, found -1.0"),
        ("ConstantStep", {"step": 0.0}, "ConstantStep: step must be positive, found 0.0"),
        ("ConstantStep", {"step": "big"}, "ConstantStep: step must be a number, found 'big'"),
        ("ConstantStep", {"step": float("nan")}, "ConstantStep: step must be finite, found nan"),
        ("ConstantStep", {"log_normal_spread": 1}, "log_normal_spread must be true or false, found 1"),
        ("ConstantStep", {"w_min": 1.0}, "w_min must be below w_max, found 1.0 and 0.6"),
        ("LinearStep", {"w_min": 0.0}, "w_min < 0 < w_max must hold, found 0.0 and 0.6"),
        ("ConstantStep", {"up_down": 1.5}, "up_down must lie between -1 and 1, found 1.5"),
        ("ConstantStep", {"corrupt_probability": 1.5}, r"corrupt_probability must lie in 0…1, found 1.5"),
        ("ConstantStep", {"lifetime": 0.5}, "lifetime must be 0 for none, or more than 1 rest, found 0.5"),
        ("ConstantStep", {"endurance": 0}, "endurance must be at least one pulse, found 0"),
        ("PiecewiseStep", {"factors_up": [1.0]}, r"factors_up must be two or more factors, none negative, found \(1.0"),
        ("Exponential", {"pulses": 0.0}, "pulses must be positive, found 0.0"),
    ],
)
def test_bad_parameters_are_refused(name: str, parameters: dict[str, Any], words: str):
    with pytest.raises(DeviceParameterError, match=words):
        pulse_model(name, **parameters)


def test_models_and_presets_are_named():
    assert isinstance(pulse_model("PowStep", gamma=2.0), MODELS["PowStep"])
    assert pulse_model("HfO2", corrupt_probability=0.1).corrupt_probability == 0.1
    preset = pulse_model("ReRamES")
    assert isinstance(preset, ExpStep)
    assert (preset.step, preset.step_noise, preset.write_noise) == (0.00135, 5.0, 75.0)


def test_phase_change_reading_follows_the_published_fits():
    siemens = torch.tensor([0.0, 5e-6, 25e-6], dtype=torch.float64)
    expected = [0.263e-6, (0.263 + 1.965 * 0.2 - 1.173 * 0.04) * 1e-6, 1.055e-6]
    assert programming_deviation(siemens).tolist() == pytest.approx(expected)
    assert drift_exponent(siemens).tolist() == pytest.approx([0.1, 0.0244 + 0.0155 * np.log(5), 0.049])
    spread = [0.045, 0.0125 * np.log(5) - 0.0059, 0.008]
    assert drift_exponent_deviation(siemens).tolist() == pytest.approx(spread)
    ratio = read_deviation(siemens[1:], siemens[1:], 1.0) / siemens[1:]
    root = np.sqrt(np.log((1 + 250e-9) / 500e-9))
    assert ratio.tolist() == pytest.approx([0.0088 / 0.2**0.65 * root, 0.0088 * root])
