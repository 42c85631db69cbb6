"""The memristor models in PyTorch against scipy's integration of the equations written a second time."""

import dataclasses
import math
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from memristor_decks import BENCHES, Bench
from scipy.integrate import solve_ivp

from analog_ep.devices.memristors import MEMRISTORS, VTEAM, integrate, memristor, pulse_train
from analog_ep.errors import ConvergenceError, DeviceParameterError, StimulusError
from analog_ep.support.resources import netlists_folder


def truth(bench: Bench, times: np.ndarray, voltages: np.ndarray, start: float) -> np.ndarray:
    """States at the corners of a waveform; each segment is an integration of its own, as its ends are kinks."""
    states = [start]
    for (begin, end), (first, last) in zip(pairwise(times), pairwise(voltages), strict=True):

        def rate(time: float, state: np.ndarray, begin=begin, end=end, first=first, last=last) -> float:
            voltage = first + (last - first) * (time - begin) / (end - begin)
            return bench.rate(float(voltage), float(np.clip(state[0], *bench.bounds)))

        done = solve_ivp(rate, (begin, end), [states[-1]], "LSODA", rtol=1e-9, atol=1e-12, max_step=(end - begin) / 20)
        assert done.success
        states.append(float(np.clip(done.y[0, -1], *bench.bounds)))
    return np.array(states)


def waveforms(bench: Bench) -> tuple[torch.Tensor, torch.Tensor]:
    """Three pulses up and three down, then one period of a sine, for devices of three amplitudes."""
    heights = torch.tensor([bench.up] * 3 + [bench.down] * 3, dtype=torch.float64)
    times, pulses = pulse_train(heights, bench.width)
    sine_times = torch.linspace(0, bench.period, 41, dtype=torch.float64)[1:]
    sine = bench.amplitude * torch.sin(2 * math.pi * sine_times / bench.period)
    voltages = torch.cat([pulses, sine])[:, None] * torch.tensor([1.0, 0.8, -0.9], dtype=torch.float64)
    return torch.cat([times, times[-1] + sine_times]), voltages


@pytest.mark.parametrize("name", BENCHES)
def test_states_and_currents_follow_the_equations(name: str):
    bench, (times, voltages) = BENCHES[name], waveforms(BENCHES[name])
    # Joglekar's window all but stops a state at an end, which then hangs on digits that no solver keeps.
    middle = bench.start if name == "joglekar" else sum(bench.bounds) / 2
    start = torch.tensor([bench.start, middle, middle], dtype=torch.float64)
    found = integrate(memristor(name), times, voltages, start, tolerance=1e-9)
    span = bench.bounds[1] - bench.bounds[0]
    for k in range(3):
        expected = truth(bench, times.numpy(), voltages[:, k].numpy(), float(start[k]))
        np.testing.assert_allclose(found.states[:, k].numpy(), expected, rtol=0, atol=1e-5 * span)
        points = zip(voltages[:, k].tolist(), found.states[:, k].tolist(), strict=True)
        currents = np.array([bench.current(v, x) for v, x in points])
        np.testing.assert_allclose(found.currents[:, k].numpy(), currents, rtol=1e-12, atol=0)
    assert float(found.states.max() - found.states.min()) > 0.01 * span


@pytest.mark.parametrize("name", MEMRISTORS)
def test_devices_of_own_parameters_are_those_devices_alone(name: str):
    bench = BENCHES[name]
    times, voltages = pulse_train(torch.tensor([bench.up, bench.up, bench.down], dtype=torch.float64), bench.width)
    field = {"joglekar": "mu", "biolek": "mu", "prodromakis": "mu", "yakopcic": "amplitude_p", "stanford": "velocity"}
    key = field.get(name, "k_off")
    nominal = getattr(memristor(name), key)
    values = torch.tensor([0.5, 1.0, 1.5], dtype=torch.float64) * nominal
    together = integrate(memristor(name, **{key: values}), times, voltages[:, None].expand(-1, 3), tolerance=1e-10)
    for k, value in enumerate(values.tolist()):
        alone = integrate(memristor(name, **{key: value}), times, voltages, tolerance=1e-10)
        torch.testing.assert_close(together.states[:, k], alone.states, rtol=0, atol=1e-7)
    assert len(set(together.states[-1].tolist())) == 3


def test_float32_stays_near_float64():
    times, voltages = waveforms(BENCHES["vteam"])
    double = integrate(VTEAM(), times, voltages).states
    single = integrate(VTEAM(), times.float(), voltages.float()).states
    assert single.dtype == torch.float32
    torch.testing.assert_close(single.double(), double, rtol=0, atol=1e-3)


def test_gradients_with_respect_to_parameters_are_finite_differences():
    times, voltages = pulse_train(torch.tensor([0.1, 0.1, -0.22], dtype=torch.float64), 2e-8)

    def final(k_off: torch.Tensor) -> torch.Tensor:
        return integrate(VTEAM(k_off=k_off), times, voltages, tolerance=1e-10).states[-1]

    k_off = torch.tensor(5e-4, dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(final(k_off), k_off)
    with torch.no_grad():
        difference = (final(k_off * 1.001) - final(k_off * 0.999)) / (0.002 * k_off)
    torch.testing.assert_close(slope, difference, rtol=1e-4, atol=0)


def test_a_device_between_its_thresholds_stands_still_and_is_read():
    times, voltages = pulse_train(torch.full((50,), 0.015, dtype=torch.float64), 1e-6)
    found = integrate(VTEAM(x0=0.3), times, voltages)
    assert set(found.states.tolist()) == {0.3}
    conductance = VTEAM().conductance(torch.tensor([0.0, 0.3, 1.0], dtype=torch.float64), 0.01)
    expected = torch.tensor([1 / 50, 1 / 335, 1 / 1000], dtype=torch.float64)
    torch.testing.assert_close(conductance, expected, rtol=1e-12, atol=0)


def test_states_stay_within_their_bounds():
    for name, bench in BENCHES.items():
        for height in (5 * bench.up, 5 * bench.down):
            times, voltages = pulse_train(torch.full((4,), height, dtype=torch.float64), 10 * bench.width)
            if name == "stanford":
                voltages = voltages.clamp(-1.5, 1.5)
            states = integrate(memristor(name), times, voltages).states
            assert bench.bounds[0] <= float(states.min()) <= float(states.max()) <= bench.bounds[1]


@pytest.mark.parametrize(
    ("name", "parameters", "message"),
    [
        ("vteem", {}, "memristor must be one of joglekar, biolek, prodromakis, team, vteam, yakopcic, stanford, found"),
        ("vteam", {"i_off": 1.0}, "memristor vteam has no parameter 'i_off'; it has x0, r_on"),
        ("vteam", {"v_on": 0.2}, "VTEAM: v_on must be negative, found 0.2"),
        ("vteam", {"alpha_on": 0.5}, "VTEAM: alpha_on must be at least 1, found 0.5"),
        ("team", {"r_off": torch.tensor([1.0, -3.0])}, "TEAM: r_off must be positive, found -3"),
        ("joglekar", {"x0": 1.1}, r"Joglekar: x0 must lie in 0.0…1.0, found 1.1"),
        ("stanford", {"x0": 0.1}, r"Stanford: x0 must lie in 0.2…1.7, found 0.1"),
        ("yakopcic", {"x_p": 1.0}, "Yakopcic: x_p must lie in 0…1, 1 excluded, found 1"),
        ("biolek", {"mu": math.nan}, "Biolek: mu must be finite, found nan"),
    ],
)
def test_parameters_outside_their_range_are_refused(name: str, parameters: dict[str, Any], message: str):
    with pytest.raises(DeviceParameterError, match=message):
        memristor(name, **parameters)


def test_waveforms_that_cannot_be_are_refused():
    flat, model = torch.zeros(3, dtype=torch.float64), VTEAM()
    with pytest.raises(StimulusError, match="must have a row for each of at least two times, found"):
        integrate(model, torch.tensor([0.0, 1.0]), flat)
    with pytest.raises(StimulusError, match="times must increase and voltages be finite"):
        integrate(model, torch.tensor([0.0, 1.0, 1.0]), flat)
    with pytest.raises(StimulusError, match="edges must be longer than 0 and below a quarter of the width 1 s, found"):
        pulse_train(flat, 1.0, 0.3)
    with pytest.raises(ConvergenceError, match="VTEAM must follow its voltage, found steps below"):
        integrate(model, torch.tensor([0.0, 1.0]), torch.full((2,), -1e200, dtype=torch.float64))


def test_every_model_has_the_parameters_of_its_subcircuit():
    library = (netlists_folder() / "memristors.lib").read_text().replace("\n+", "")
    for name, model in MEMRISTORS.items():
        assert model.subcircuit == f"memristor_{name}"
        (line,) = (line for line in library.splitlines() if line.startswith(f".subckt {model.subcircuit} "))
        parameters = dict(word.split("=") for word in line.partition("params:")[2].split())
        scaled = {key: float(text.replace("k", "e3").replace("n", "e-9")) for key, text in parameters.items()}
        expected = dataclasses.asdict(model())  # pyright: ignore[reportCallIssue]
        if "ambient" in expected:
            # A subcircuit is as warm as its simulation unless told; the model states the published curves' 298 K.
            assert expected.pop("ambient") == 298
            assert scaled.pop("warmer") == 0
        assert scaled == pytest.approx(expected)
