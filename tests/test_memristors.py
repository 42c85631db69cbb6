"""The memristor subcircuits in plain ngspice against scipy's and PyTorch's integration of the same equations."""

import subprocess
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from memristor_decks import BENCHES, MEMRISTOR_DECKS, N_PULSES, Bench, deck
from scipy.integrate import solve_ivp

from analog_ep.devices.memristors import integrate, memristor, pulse_train
from analog_ep.errors import StimulusError
from analog_ep.ngspice.process import find_ngspice


@cache
def transient(path: Path) -> tuple[np.ndarray, ...]:
    """Times, voltage, state and current into the device, from all pages of what a deck prints."""
    done = subprocess.run([find_ngspice(), "-b", path], cwd="/", capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "error" not in (done.stdout + done.stderr).lower()
    rows = [line.split() for line in done.stdout.splitlines()]
    table = np.array([[float(word) for word in row[1:]] for row in rows if len(row) == 5 and row[0].isdigit()])
    times, voltage, state, current = table.T
    return times, voltage, state, -current


def waveform(bench: Bench, kind: str, times: np.ndarray | float) -> np.ndarray:
    """Voltage of the source at some times."""
    if kind == "loop":
        return np.asarray(bench.amplitude * np.sin(2 * np.pi * np.asarray(times) / bench.period))
    slot, edge = 2 * bench.width, bench.width / 10
    begins = bench.width / 2 + slot * np.arange(2 * N_PULSES)
    corners = (begins[:, None] + np.array([0.0, edge, edge + bench.width, 2 * edge + bench.width])).flatten()
    heights = np.repeat([bench.up, bench.down], N_PULSES)[:, None] * np.array([0.0, 1.0, 1.0, 0.0])
    return np.asarray(np.interp(times, corners, heights.flatten()))


def integrated(bench: Bench, kind: str, times: np.ndarray) -> np.ndarray:
    """State at some times."""

    def rate(time: float, state: np.ndarray) -> float:
        return bench.rate(float(waveform(bench, kind, time)), float(np.clip(state[0], *bench.bounds)))

    longest = bench.period / 400 if kind == "loop" else bench.width / 5
    done = solve_ivp(
        rate, (0, times[-1]), [bench.start], "LSODA", t_eval=times, rtol=1e-7, atol=1e-10, max_step=longest
    )
    assert done.success
    return done.y[0]


@pytest.mark.parametrize("path", MEMRISTOR_DECKS, ids=lambda path: path.stem)
def test_decks_are_those_in_the_repository(path: Path):
    assert path.read_text() == deck(*MEMRISTOR_DECKS[path])


@pytest.mark.ngspice
@pytest.mark.parametrize("path", MEMRISTOR_DECKS, ids=lambda path: path.stem)
def test_ngspice_follows_the_equations(path: Path):
    name, kind = MEMRISTOR_DECKS[path]
    bench, (times, voltage, state, current) = BENCHES[name], transient(path)
    np.testing.assert_allclose(voltage, waveform(bench, kind, times), rtol=0, atol=2e-4 * np.abs(voltage).max())
    span = bench.bounds[1] - bench.bounds[0]
    np.testing.assert_allclose(state, integrated(bench, kind, times), rtol=0, atol=2e-3 * span)
    expected = np.array([bench.current(v, x) for v, x in zip(voltage, np.clip(state, *bench.bounds), strict=True)])
    np.testing.assert_allclose(current, expected, rtol=0, atol=1e-5 * np.abs(expected).max())


@pytest.mark.ngspice
@pytest.mark.parametrize("path", MEMRISTOR_DECKS, ids=lambda path: path.stem)
def test_torch_follows_ngspice(path: Path):
    name, kind = MEMRISTOR_DECKS[path]
    bench, model, (times, voltage, state, current) = BENCHES[name], memristor(name), transient(path)
    if kind == "loop":
        corners = torch.linspace(0, 2 * bench.period, 401, dtype=torch.float64)
        drive = bench.amplitude * torch.sin(2 * torch.pi * corners / bench.period)
    else:
        heights = torch.tensor([bench.up] * N_PULSES + [bench.down] * N_PULSES, dtype=torch.float64)
        corners, drive = pulse_train(heights, bench.width)
    found = integrate(model, corners, drive).states.numpy()
    span = bench.bounds[1] - bench.bounds[0]
    np.testing.assert_allclose(found, np.interp(corners.numpy(), times, state), rtol=0, atol=2e-3 * span)
    held = torch.from_numpy(np.clip(state, *bench.bounds))
    expected = model.current(torch.from_numpy(voltage), held).numpy()
    np.testing.assert_allclose(current, expected, rtol=0, atol=1e-5 * np.abs(expected).max())


@pytest.mark.ngspice
@pytest.mark.parametrize("name", BENCHES)
def test_loops_are_pinched_and_open(name: str):
    (path,) = (path for path, of in MEMRISTOR_DECKS.items() if of == (name, "loop"))
    _, voltage, state, current = transient(path)
    crossing = np.flatnonzero(np.diff(np.sign(voltage)) != 0)
    assert np.abs(current[crossing]).max() < 0.02 * np.abs(current).max()
    assert np.ptp(state) > 0.02


@pytest.mark.ngspice
@pytest.mark.parametrize("name", BENCHES)
def test_staircases_are_monotone(name: str):
    (path,) = (path for path, of in MEMRISTOR_DECKS.items() if of == (name, "staircase"))
    times, _, state, _ = transient(path)
    ends = 2 * BENCHES[name].width * np.arange(1, 2 * N_PULSES)
    levels = np.interp(ends, times, state)
    assert np.diff(levels[:N_PULSES]).min() > 0
    assert np.diff(levels[N_PULSES:]).max() < 0
    assert levels[N_PULSES - 1] - levels[0] > 0.02


@pytest.mark.parametrize("name", BENCHES)
def test_arrays_are_followed_as_tensors_are(name: str):
    bench = BENCHES[name]
    times = np.linspace(0.0, 1.5 * bench.period, 40)
    voltages = waveform(bench, "loop", times)[:, None] * np.array([0.5, 1.0, 1.1])
    start = np.array([0.2, 0.5, 0.8]) * (bench.bounds[1] - bench.bounds[0]) + bench.bounds[0]
    model = memristor(name)
    found = integrate(model, times, voltages, start)
    expected = integrate(model, torch.from_numpy(times), torch.from_numpy(voltages), torch.from_numpy(start))
    assert isinstance(found.states, np.ndarray)
    # Two ways to round an exponential: the lengths of the steps follow, so the tolerance of a step is what is left.
    np.testing.assert_allclose(found.states, expected.states.numpy(), rtol=0, atol=1e-6 * start.max())
    np.testing.assert_allclose(found.currents, expected.currents.numpy(), rtol=1e-5)


def test_a_tensor_beside_an_array_is_refused_in_a_line():
    times = np.linspace(0.0, 1.0, 3)
    with pytest.raises(StimulusError, match="two tensors or two arrays"):
        integrate(memristor("vteam"), torch.from_numpy(times), times[:, None])


@pytest.mark.parametrize("arrays", [True, False])
def test_parameters_of_another_kind_than_the_voltages_are_refused_in_a_line(arrays: bool):
    times, voltages, resistance = np.linspace(0.0, 1.0, 3), np.zeros((3, 2)), np.array([1e3, 2e3])
    model = memristor("vteam", r_off=torch.from_numpy(resistance) if arrays else resistance)
    with pytest.raises(StimulusError, match=r"parameters must be numbers or of the voltages' kind.*found r_off"):
        integrate(model, *((times, voltages) if arrays else (torch.from_numpy(times), torch.from_numpy(voltages))))
