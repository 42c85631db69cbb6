"""Memristors as devices that are pulsed: steps by scipy, and crossbars in ngspice by their own subcircuits."""

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.integrate import solve_ivp

from analog_ep.cards import pulsed_device
from analog_ep.devices.memristors.writing import WriteSchedule, WriteVoltages
from analog_ep.devices.pulses import PulsedArray
from analog_ep.devices.selection import WriteScheme, exposures
from analog_ep.errors import CardError, DeviceParameterError, SpecError
from analog_ep.ngspice.pulse_deck import ngspice_pulse_crossbar, pulse_write_deck
from analog_ep.runs.folder import Run
from analog_ep.runs.step_pulses import step_pulses
from analog_ep.spec import default_spec, parse_spec
from tests.memristor_decks import BENCHES, Order

PULSES = {"potentiate": -0.3, "depress": 0.06, "pulse_width": 2e-8}
"""Of VTEAM with thresholds −0.2 V and 0.02 V: half of −0.3 V does nothing, half of 0.06 V still depresses."""


def siemens(x):
    return 1 / (50 * (1 - x) + 1000 * x)


def change_by_scipy(start: float, voltage: float, width: float = 2e-8) -> float:
    """Of the conductance, by one trapezoid, from the equations written a second time. [S]"""
    state, corners = (1 / start - 50) / 950, [(0.0, 0.0), (0.1, voltage), (1.1, voltage), (1.2, 0.0)]
    for (begin, first), (end, last) in pairwise(corners):

        def rate(time: float, x: np.ndarray, begin=begin, end=end, first=first, last=last) -> float:
            v = first + (last - first) * (time / width - begin) / (end - begin)
            return BENCHES["vteam"].rate(v, float(x[0]))

        span = (begin * width, end * width)
        state = float(solve_ivp(rate, span, [state], rtol=1e-9, atol=1e-13, max_step=(span[1] - span[0]) / 50).y[0, -1])
    return siemens(state) - start


def array_of(shape: tuple[int, int], **parameters: float) -> PulsedArray:
    model = pulsed_device("vteam", **(PULSES | parameters))
    start = torch.linspace(2e-3, 9e-3, shape[0] * shape[1], dtype=torch.float64).reshape(shape)
    return PulsedArray.over(model, start, (1e-3, 2e-2), 0)


@pytest.mark.parametrize("sign", [1, -1])
def test_steps_are_those_of_the_equations(sign: int):
    array = array_of((1, 5))
    before = array.conductances.flatten()
    array.pulse(torch.full((1, 5), sign))
    for found, start in zip((array.conductances.flatten() - before).tolist(), before.tolist(), strict=True):
        assert found == pytest.approx(change_by_scipy(start, -0.3 if sign > 0 else 0.06), rel=1e-3)
        assert found * sign > 0


def test_half_selected_memristors_see_their_thresholds():
    array = array_of((1, 5))
    before = array.hidden.clone()
    half_up = array.model.disturbance(before, -0.15, array.drawn)
    assert half_up.abs().max() < 1e-12
    for found, start in zip(array.model.disturbance(before, 0.03, array.drawn).tolist(), before.tolist(), strict=True):
        assert found == pytest.approx(change_by_scipy(start, 0.03), rel=1e-3)


@pytest.mark.ngspice
@pytest.mark.parametrize(("scheme", "pulses"), [("V/2", [[2, 0, -1], [0, 3, 0]]), ("V/3", [[1, 0, 0], [0, 0, 0]])])
def test_a_crossbar_in_ngspice(scheme: WriteScheme, pulses: list[list[int]]):
    """With V/3 a third of −0.3 V is +0.1 V to the rest, more than what depresses: the order of pulses would matter."""
    array = array_of((2, 3))
    start, counts = array.hidden.clone(), torch.tensor(pulses)
    orders = [Order(k, int(np.sign(n)), abs(n)) for k, n in enumerate(counts.flatten().tolist()) if n]
    schedule = WriteSchedule.of(orders, (2, 3), WriteVoltages(-0.3, 0.06, -0.003, 2e-8, scheme))
    found = ngspice_pulse_crossbar(array, start, schedule)
    array.pulse(counts)
    array.disturb(exposures(counts.clamp(min=0), -counts.clamp(max=0), scheme))
    torch.testing.assert_close(found.conductances, array.conductances, rtol=0.02, atol=0)
    assert (array.hidden - start).abs().max() > 1e-4


def test_a_run_with_a_memristor_of_a_card(tmp_path: Path):
    card = tmp_path / "mine.toml"
    card.write_text(
        'name = "mine"\nkind = "memristor"\nmodel = "vteam"\n[parameters]\n'
        'r_on = {value = 10, unit = "kohm"}\nr_off = {value = 1, unit = "Mohm"}\n'
    )
    tables = default_spec("iris").model_dump(exclude_none=True)
    tables["training"] |= {"epochs": 1, "batch_size": 40}
    tables["network"] |= {"sizes": [4, 3, 3], "conductance_range": [1e-6, 1e-4]}
    tables["update"] = {"device": str(card), "parameters": PULSES | {"pulse_width": 1e-9}, "write_scheme": "V/3"}
    run = Run.create(tmp_path / "run", parse_spec(tables, "a test"))
    run.train()
    found = step_pulses(tmp_path / "run", 1)
    assert found.defaults == ()
    assert found.told()[0] == "pulses of -0.3 V up and +0.06 V down, 1e-09 s"
    deck = found.deck("stage1")
    assert deck.count("\nx_") == 30
    assert "memristor_vteam x0=" in deck.replace("\n+ ", " ")
    # What the deck begins from is what the run had.
    x0 = [float(text.split()[0]) for text in deck.replace("\n+ ", " ").split("memristor_vteam x0=")[1:]]
    states = 1 / (1e4 * (1 - np.array(x0)) + 1e6 * np.array(x0))
    np.testing.assert_allclose(states, found.arrays[0].before.numpy(), rtol=1e-3)


def test_memristors_that_cannot_be_are_refused():
    with pytest.raises(DeviceParameterError, match="need their voltages, potentiate and depress, found no depress"):
        pulsed_device("vteam", potentiate=-0.3)
    with pytest.raises(DeviceParameterError, match="must have opposite signs, found"):
        pulsed_device("vteam", potentiate=-0.3, depress=-0.1)
    with pytest.raises(DeviceParameterError, match="a pulse of potentiate must raise the conductance"):
        pulsed_device("vteam", potentiate=0.3, depress=-0.3)
    with pytest.raises(CardError, match="memristor vteam has no parameter 'pulse_voltage'"):
        pulsed_device("vteam", **PULSES, pulse_voltage=1.0)
    array = PulsedArray.over(pulsed_device("vteam", **PULSES), torch.full((1, 2), 5e-5), (1e-6, 1e-4), 0)
    schedule = WriteSchedule.of([], (1, 2), WriteVoltages(-0.3, 0.06, 0.01, 2e-8))
    with pytest.raises(
        DeviceParameterError, match=r"network.conductance_range = \[0.001, 0.02\], found 1e-06 and 0.0001"
    ):
        pulse_write_deck(array, array.hidden, schedule)
    tables = default_spec("iris").model_dump(exclude_none=True)
    with pytest.raises(SpecError, match="parameters: pulses of a memristor need their voltages"):
        parse_spec(tables | {"update": {"device": "vteam"}}, "a test")
