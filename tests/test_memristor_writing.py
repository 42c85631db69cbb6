"""Writing a crossbar of memristors: PyTorch, scipy and ngspice under the same lines."""

import re
import subprocess
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from memristor_decks import BENCHES, PULSES, START, VOLTAGES, WRITE_DECK, Order, write_deck
from scipy.integrate import solve_ivp

from analog_ep import PulsedUpdate, ResistiveNetwork
from analog_ep.devices.memristors import VTEAM, memristor
from analog_ep.devices.memristors.writing import WriteSchedule, WriteVoltages, write_crossbar
from analog_ep.errors import DeviceParameterError, NgspiceResultError, StimulusError
from analog_ep.learning.updates.schemes import SignStep
from analog_ep.ngspice import write_deck as write_deck_module
from analog_ep.ngspice.memristor_deck import memristor_write_deck, ngspice_write_crossbar
from analog_ep.ngspice.process import find_ngspice


def truth(schedule: WriteSchedule, start: np.ndarray) -> np.ndarray:
    """Final states by scipy, device by device, from the equations written a second time."""
    bench, voltages, final = BENCHES["vteam"], schedule.device_voltages, np.zeros_like(start)
    for place in np.ndindex(*start.shape):
        state = start[place]
        for k, (begin, end) in enumerate(pairwise(schedule.times)):
            first, last = voltages[k][place], voltages[k + 1][place]
            if first == last == 0:
                continue

            def rate(time: float, x: np.ndarray, begin=begin, end=end, first=first, last=last) -> float:
                return bench.rate(float(first + (last - first) * (time - begin) / (end - begin)), float(x[0]))

            limit = (end - begin) / 20
            state = float(solve_ivp(rate, (begin, end), [state], rtol=1e-9, atol=1e-12, max_step=limit).y[0, -1])
        final[place] = state
    return final


def test_the_lines_give_full_half_and_no_voltage():
    schedule = WriteSchedule.of([Order(4, -1, 1)], (2, 3), VOLTAGES)
    pulse = schedule.device_voltages[2]
    np.testing.assert_allclose(pulse, [[0, 0.03, 0], [0.03, 0.06, 0.03]], rtol=0, atol=1e-15)
    assert schedule.times[2] - schedule.times[1] == pytest.approx(2e-9)
    assert schedule.times[4] - schedule.times[2] == pytest.approx(2e-8)
    for row, corner in enumerate(schedule.read_corners):
        np.testing.assert_array_equal(schedule.rows[corner], [0.01 * (row == k) for k in range(2)])
        assert not schedule.columns[corner].any()
    assert schedule.times[-1] == pytest.approx(3 * 4e-8)


@pytest.mark.ngspice
def test_a_heated_filament_follows_the_temperature():
    voltages = WriteVoltages(potentiate=1.0, depress=-1.0, read=0.01, width=1e-7)
    schedule = WriteSchedule.of([Order(2, 1, 1), Order(0, 1, 2)], (1, 3), voltages)
    start = torch.full((1, 3), 1.0, dtype=torch.float64)
    kelvin = torch.tensor([[298.0, 298.0, 340.0]], dtype=torch.float64)
    warm, cold, even = (memristor("stanford", ambient=a) for a in (kelvin, 298.0, 340.0))
    found = ngspice_write_crossbar(warm, start, schedule)
    expected = write_crossbar(warm, start, schedule, tolerance=1e-9)
    assert (expected.states - write_crossbar(cold, start, schedule, tolerance=1e-9).states).abs().max() > 1e-3
    np.testing.assert_allclose(found.states.numpy(), expected.states.numpy(), rtol=0, atol=2e-4)
    # A deck at 298 K that its reader makes hot is the one described at 340 K.
    decks = [memristor_write_deck(device, start, schedule) for device in (cold, even)]
    assert decks[0].replace("TEMP=24.85 ", "TEMP=66.85 ") == decks[1]
    assert "warmer=42.0" in memristor_write_deck(warm, start, schedule)


def test_states_and_reads_against_scipy():
    schedule = WriteSchedule.of(PULSES, (2, 3), VOLTAGES)
    written = write_crossbar(VTEAM(), START, schedule, tolerance=1e-9)
    expected = truth(schedule, START.numpy())
    np.testing.assert_allclose(written.states.numpy(), expected, rtol=0, atol=1e-6)
    # Reads of 0.01 V leave the states alone, so that what is read is what is there.
    np.testing.assert_allclose(written.conductances.numpy(), 1 / (50 * (1 - expected) + 1000 * expected), rtol=1e-5)


def test_half_selected_devices_are_disturbed():
    pulses = [Order(0, -1, 5)]
    changes = (write_crossbar(VTEAM(), START, WriteSchedule.of(pulses, (2, 3), VOLTAGES)).states - START).numpy()
    assert changes[0, 0] > 4 * changes[0, 1] > 0
    assert min(changes[0, 1], changes[0, 2], changes[1, 0]) > 1e-3
    assert not changes[1, 1:].any()
    potentiated = write_crossbar(VTEAM(), START, WriteSchedule.of([Order(0, 1, 5)], (2, 3), VOLTAGES)).states - START
    assert potentiated[0, 0] < -0.01
    assert not potentiated.flatten()[1:].any()


@pytest.mark.ngspice
@pytest.mark.parametrize(
    ("name", "voltages", "start"),
    [
        ("vteam", VOLTAGES, START),
        ("yakopcic", WriteVoltages(potentiate=0.4, depress=-0.4, read=0.05, width=5e-6), START),
        ("stanford", WriteVoltages(potentiate=1.2, depress=-1.2, read=0.1, width=1e-7), 0.5 + START),
    ],
)
def test_ngspice_writes_the_same(name: str, voltages: WriteVoltages, start: torch.Tensor):
    schedule, model = WriteSchedule.of(PULSES, (2, 3), voltages), memristor(name)
    torch_says, ngspice_says = (f(model, start, schedule) for f in (write_crossbar, ngspice_write_crossbar))
    span = float(model.bounds[1]) - float(model.bounds[0])
    torch.testing.assert_close(torch_says.states, ngspice_says.states, rtol=0, atol=2e-4 * span)
    torch.testing.assert_close(torch_says.conductances, ngspice_says.conductances, rtol=2e-3, atol=0)
    assert float((torch_says.states - start).abs().max()) > 0.01


def test_the_deck_is_that_in_the_repository():
    assert WRITE_DECK.read_text() == write_deck()


@pytest.mark.ngspice
@pytest.mark.parametrize("r_off", [1000.0, torch.tensor([[900.0, 1000.0, 1100.0]], dtype=torch.float64)])
def test_the_deck_runs_in_plain_ngspice_and_prints_the_conductances(r_off: Any, tmp_path: Path):
    model, schedule = VTEAM(r_off=r_off), WriteSchedule.of(PULSES, (2, 3), VOLTAGES)
    path = tmp_path / "write.cir"
    path.write_text(memristor_write_deck(model, START, schedule))
    done = subprocess.run([find_ngspice(), "-b", path], cwd="/", capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    found = re.findall(r"^g_(\d)_(\d)\s*=\s*(\S+)$", done.stdout, re.MULTILINE)
    expected = write_crossbar(model, START, schedule).conductances
    assert len(found) == 6
    for row, column, text in found:
        assert float(text) == pytest.approx(float(expected[int(row), int(column)]), rel=2e-3)


def test_the_pulse_list_of_an_update_is_what_a_schedule_takes():
    network = ResistiveNetwork([2, 2], seed=0)
    optimizer = torch.optim.SGD(network.parameters(), lr=1.0)
    update = PulsedUpdate(optimizer, network, device="ConstantStep", scheme=SignStep())
    for parameter in network.parameters():
        parameter.grad = torch.ones_like(parameter)
    update.step()
    layout = network.layouts[0]
    schedule = WriteSchedule.of(update.pulses(), layout.shape, VOLTAGES)
    states = write_crossbar(VTEAM(), torch.full(layout.shape, 0.5, dtype=torch.float64), schedule).states
    assert len(update.pulses()) == layout.shape[0] * layout.shape[1]
    assert bool((states > 0.5).all())


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"depress": -0.1}, "WriteVoltages: potentiate and depress must have opposite signs, found"),
        ({"read": 0.0}, "WriteVoltages: read must be finite and not 0, found"),
        ({"width": 0.0}, "WriteVoltages: width must be positive and finite, found"),
        ({"depress": float("inf")}, "WriteVoltages: voltages must be finite, found"),
    ],
)
def test_voltages_that_cannot_be_are_refused(values: dict[str, Any], message: str):
    given: dict[str, Any] = {"potentiate": -0.3, "depress": 0.06, "read": 0.01, "width": 1e-8}
    with pytest.raises(DeviceParameterError, match=message):
        WriteVoltages(**given | values)


def test_pulses_and_states_of_another_crossbar_are_refused(monkeypatch: pytest.MonkeyPatch):
    for order in (Order(6, 1, 1), Order(0, 0, 1), Order(0, 1, -1)):
        with pytest.raises(DeviceParameterError, match=r"pulses must be of devices 0…5, of sign 1 or -1 and of count"):
            WriteSchedule.of([order], (2, 3), VOLTAGES)
    schedule = WriteSchedule.of([], (2, 3), VOLTAGES)
    with pytest.raises(StimulusError, match=r"states must have the schedule's shape \(2, 3\), found \(3, 2\)"):
        memristor_write_deck(VTEAM(), START.T, schedule)

    class Plot:
        def columns(self, names: list[str]) -> np.ndarray:
            return np.zeros((2, len(names)))

    monkeypatch.setattr(write_deck_module, "run_plots", lambda *_: [Plot()])
    with pytest.raises(NgspiceResultError, match="ngspice must reach 8e-08 s, found its end at 0 s"):
        ngspice_write_crossbar(VTEAM(), START, schedule)
