"""Pulsed devices that are the cells of a chip: what changes them, what does not, and what the circuit has of them."""

# pyright: reportOptionalSubscript=false, reportOptionalMemberAccess=false

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from analog_ep.circuit import Cells, Chip
from analog_ep.devices.pulses import ConstantStep, PulsedArray, PulseModel, SoftBounds, pulse_model
from analog_ep.errors import CircuitError
from analog_ep.learning import Update
from analog_ep.learning.updates.cell_update import CellUpdate
from analog_ep.learning.updates.pulsed import PulsedUpdate
from analog_ep.learning.updates.schemes import SCHEMES, FixedStep, Scheme, update_scheme
from analog_ep.netlist.conductance_table import write_conductances
from analog_ep.networks import ResistiveNetwork
from analog_ep.runs.folder import Run
from analog_ep.spec import default_spec, with_values

LOW, HIGH = 1e-6, 1e-4
WIDTH = HIGH - LOW
EVEN = ConstantStep(w_min=0.0, w_max=1.0, step=0.01)
NOISY = SoftBounds(step=0.01, step_noise=0.3, write_noise=0.5, step_spread=0.2, w_max_spread=0.1)
ROUNDINGS: Any = ["nearest", "stochastic", "carried"]


def network(sizes=(3, 4, 2)) -> ResistiveNetwork:
    return ResistiveNetwork(sizes, conductance_range=(LOW, HIGH), seed=0, dtype=torch.float64)


def pulsed(
    net: ResistiveNetwork, chip: Chip | None, device: PulseModel = EVEN, scheme: Scheme | None = None
) -> PulsedUpdate:
    scheme = FixedStep(rounding="nearest") if scheme is None else scheme
    return PulsedUpdate(torch.optim.SGD(net.parameters(), lr=1.0), net, device, scheme, seed=1, chip=chip)


def propose(net: ResistiveNetwork, change: float) -> None:
    """Gradients for which SGD of rate 1 wants ΔG = `change`, alternating in sign over the devices. [S]"""
    for parameter in net.parameters():
        sign = 1.0 - 2.0 * (torch.arange(parameter.numel()) % 2)
        parameter.grad = -(sign * change / net.reference_conductance).reshape(parameter.shape).double()


def faults(net: ResistiveNetwork) -> dict[str, np.ndarray]:
    """Every fifth cell is stuck at g_max, the one after it at g_min, and the next one is open."""
    kinds = np.array([HIGH, LOW, 1e-12, np.nan, np.nan])
    return {f"{name}.siemens": np.resize(kinds, theta.numel()) for name, theta in net.named_parameters()}


def hidden(update: PulsedUpdate) -> dict[str, torch.Tensor]:
    return {label: crossbar.array.hidden.clone() for label, crossbar in update.crossbars.items()}


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("rounding", ROUNDINGS)
def test_without_a_pulse_nothing_moves(scheme: str, rounding: Any, monkeypatch: pytest.MonkeyPatch):
    net = network()
    chip = Chip({}, faults(net), cells=Cells(64, rounding))
    options = {"sign": {"dead_band": 1e-9}}.get(scheme, {})
    # Tiki-Taka's fast array is read with its noise, which is a change to be transferred.
    device = replace(NOISY, write_noise=0.0) if scheme == "tiki_taka" else NOISY
    update = pulsed(net, chip, device, update_scheme(scheme, **options))
    states, thetas = hidden(update), {name: value.clone() for name, value in net.named_parameters()}
    monkeypatch.setattr(PulsedArray, "set_conductances", lambda *_: pytest.fail("a device was set without pulses"))
    for _ in range(5):
        propose(net, 0.0 if scheme in ("stochastic", "tiki_taka") else 1e-18)
        update.step()
    assert update.energy == 0
    for label, state in hidden(update).items():
        assert torch.equal(state, states[label])
        assert torch.equal(net.theta(label), thetas[label])
        assert not update.pulse_counts[label].any()


@pytest.mark.parametrize("device", [EVEN, NOISY, pulse_model("ReRamES"), pulse_model("HfO2")])
def test_stuck_cells_stay_and_the_others_go_as_without_them(device: PulseModel):
    nets = [network(), network()]
    chip = Chip({}, faults(nets[0]))
    faulty, sound = pulsed(nets[0], chip, device), pulsed(nets[1], None, device)
    for _ in range(4):
        for net, update in zip(nets, (faulty, sound), strict=True):
            propose(net, 0.05 * WIDTH)
            update.step()
    for label, state in hidden(faulty).items():
        stuck = torch.from_numpy(chip.values[f"{label}.siemens"])
        fine = torch.isnan(stuck)
        assert torch.equal(state[fine], hidden(sound)[label][fine])
        array = faulty.crossbars[label].array
        found = array.map.conductance(state - array._offset)[~fine]
        torch.testing.assert_close(found, stuck[~fine], rtol=1e-9, atol=1e-18)
        read = nets[0].conductances[label].flatten()[~fine]
        torch.testing.assert_close(read, stuck[~fine].clamp(LOW, HIGH), rtol=1e-12, atol=0)
        assert torch.equal(faulty.pulse_counts[label], sound.pulse_counts[label])


def test_pulses_on_stuck_cells_take_the_energy_of_what_is_there():
    net = network()
    chip = Chip({}, faults(net))
    update, before = pulsed(net, chip), net.conductances
    propose(net, 2.5 * WIDTH * 0.01)
    update.step()
    expected = 0.0
    for label, counts in update.pulse_counts.items():
        assert bool((counts == 2).all())
        stuck = torch.from_numpy(chip.values[f"{label}.siemens"])
        sign = 1.0 - 2.0 * (torch.arange(len(stuck)) % 2)
        moved = (before[label].flatten() + sign * 0.01 * WIDTH).clamp(LOW, HIGH)
        expected += float(torch.where(torch.isnan(stuck), before[label].flatten() + moved, 2 * stuck).sum())
    assert update.energy == pytest.approx(expected * 1.0**2 * 1e-7, rel=1e-12)


def test_the_circuit_has_the_level_nearest_to_a_device_that_keeps_its_state():
    nets = [network((20, 30, 3)), network((20, 30, 3))]
    chip = Chip({}, cells=Cells(16))
    levelled, plain = pulsed(nets[0], chip, NOISY), pulsed(nets[1], None, NOISY)
    for _ in range(6):
        for net, update in zip(nets, (levelled, plain), strict=True):
            propose(net, 0.02 * WIDTH)
            update.step()
    for label, state in hidden(levelled).items():
        assert torch.equal(state, hidden(plain)[label])
        codes = (nets[1].conductances[label] - LOW) / (WIDTH / 15)
        torch.testing.assert_close((nets[0].conductances[label] - LOW) / (WIDTH / 15), codes.round(), rtol=0, atol=1e-9)


def test_stochastic_levels_are_right_on_average_and_stay_until_a_pulse():
    net = network((100, 100, 10))
    net.set_conductances({name: torch.full_like(value, LOW + 0.33 * WIDTH) for name, value in net.conductances.items()})
    update = pulsed(net, Chip({}, cells=Cells(5, "stochastic")))
    theta = net.theta("stage1")
    assert float(net.conductances["stage1"].mean()) == pytest.approx(LOW + 0.33 * WIDTH, rel=0.01)
    first = theta.detach().clone()
    for parameter in net.parameters():
        parameter.grad = torch.zeros_like(parameter)
    theta.grad[:10] = -0.01 * WIDTH / net.reference_conductance
    update.step()
    assert torch.equal(theta[10:], first[10:])
    # The shares above level 1 of 0…4 are 0.32, and 0.36 after the step, drawn anew.
    changed = float((theta[:10] != first[:10]).double().mean())
    assert changed == pytest.approx(0.32 * 0.64 + 0.36 * 0.68, abs=0.06)
    assert float(net.conductances["stage1"][:10].mean()) == pytest.approx(LOW + 0.34 * WIDTH, rel=0.05)


def test_retention_and_diffusion_go_on_in_the_devices():
    net = network((100, 100, 10))
    start = net.conductances["stage1"]
    update = pulsed(net, Chip({}, cells=Cells(retention=5.0)))
    for _ in range(10):
        propose(net, 0.0)
        update.step()
    torch.testing.assert_close(net.conductances["stage1"] - LOW, (start - LOW) * math.exp(-2), rtol=1e-9, atol=0)
    net = network((100, 100, 10))
    net.set_conductances({name: torch.full_like(value, 5e-5) for name, value in net.conductances.items()})
    update = pulsed(net, Chip({}, cells=Cells(diffusion=0.01)))
    for _ in range(9):
        propose(net, 0.0)
        update.step()
    assert float((net.conductances["stage1"] - 5e-5).std()) == pytest.approx(0.03 * WIDTH, rel=0.03)
    assert update.energy == 0


def test_a_conductance_set_from_elsewhere_moves_its_own_device_alone():
    net = network()
    update = pulsed(net, Chip({}, cells=Cells(64)), NOISY)
    states = hidden(update)
    with torch.no_grad():
        net.theta("stage1")[2, 1] = 0.5
    update.follow()
    moved = hidden(update)["stage1"] != states["stage1"]
    assert moved.nonzero().flatten().tolist() == [2 * 4 + 1]
    assert torch.equal(hidden(update)["stage2"], states["stage2"])


@pytest.mark.parametrize("rounding", ROUNDINGS)
def test_cells_written_at_once_follow_what_is_set_from_elsewhere(rounding: Any):
    net = network()
    chip = Chip({}, faults(net), cells=Cells(16, rounding))
    update = CellUpdate(Update(torch.optim.SGD(net.parameters(), lr=1.0), net), net, chip)
    held = net.theta("stage1").detach().clone()
    with torch.no_grad():
        net.theta("stage1").fill_(0.5)
        net.theta("stage1")[1] = held[1]
    update.follow()
    stuck = torch.from_numpy(chip.values["stage1.siemens"]).reshape(held.shape)
    found, spacing = net.conductances["stage1"], WIDTH / 15
    assert torch.equal(net.theta("stage1")[1], held[1])
    torch.testing.assert_close(found[~torch.isnan(stuck)], stuck[~torch.isnan(stuck)].clamp(LOW, HIGH))
    codes = (found[torch.isnan(stuck)] - LOW) / spacing
    torch.testing.assert_close(codes, codes.round(), rtol=0, atol=1e-9)
    for parameter in net.parameters():
        parameter.grad = torch.zeros_like(parameter)
    before = net.theta("stage1").detach().clone()
    update.step()
    if rounding != "stochastic":
        assert torch.equal(net.theta("stage1"), before)


@pytest.mark.parametrize("update", [{}, {"update": {"device": "SoftBounds"}}])
def test_a_run_that_begins_from_a_table_is_saved_with_it(update: dict[str, Any], tmp_path: Path):
    chip = {"stuck": 0.2, "levels": 32, "rounding": "carried"}
    spec = with_values(default_spec("iris"), training={"epochs": 1, "batch_size": 120}, chip=chip, **update)
    other = ResistiveNetwork([4, 10, 3], seed=9)
    write_conductances(other, tmp_path / "table.csv")
    whole = Run.create(tmp_path / "run", spec, start=tmp_path / "table.csv")
    table = other.conductances["stage1"]
    stuck = torch.from_numpy(whole.trainer.chip.values["stage1.siemens"]).reshape(table.shape)
    assert isinstance(whole.trainer.network, ResistiveNetwork)
    begun = whole.trainer.network.conductances["stage1"]
    assert float((begun - table)[torch.isnan(stuck)].abs().max()) <= 0.51 * (1e-4 - 1e-7) / 31
    resumed = Run.resume(tmp_path / "run")
    for one, two in zip(whole.trainer.network.parameters(), resumed.trainer.network.parameters(), strict=True):
        assert torch.equal(one, two)
    for run in (whole, resumed):
        run.train()
    for one, two in zip(whole.trainer.network.parameters(), resumed.trainer.network.parameters(), strict=True):
        assert torch.equal(one, two)


def test_cells_that_are_written_at_once_are_not_devices():
    net = network()
    with pytest.raises(CircuitError, match=r"found devices with states of their own; use PulsedUpdate\(…, chip=chip\)"):
        CellUpdate(pulsed(net, None), net, Chip({}))
