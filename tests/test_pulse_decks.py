"""Pulsed devices as subcircuits: ngspice writes what the arrays of a study assume."""

import dataclasses
import re
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.integrate import quad

from analog_ep.devices.memristors.writing import WriteSchedule, WriteVoltages
from analog_ep.devices.pulses import (
    PRESETS,
    ConstantStep,
    Exponential,
    LinearStep,
    Lookup,
    PiecewiseStep,
    PowStep,
    PulsedArray,
    PulseModel,
    SoftBounds,
    SoftBoundsReference,
)
from analog_ep.devices.selection import WriteScheme, exposures, voltage_share
from analog_ep.errors import DeviceParameterError
from analog_ep.learning.updates.pulsed import PulsedUpdate
from analog_ep.netlist.pulse_devices import array_parameters, pulse_library, pulse_subcircuit
from analog_ep.networks import ResistiveNetwork
from analog_ep.ngspice.process import find_ngspice, run_plots
from analog_ep.ngspice.pulse_deck import ngspice_pulse_crossbar, pulse_write_deck
from analog_ep.support.resources import netlists_folder
from tests.memristor_decks import Order

RANGE = (1e-6, 1e-4)
MODELS = {
    "constant": ConstantStep(step=0.004, step_spread=0.2),
    "linear": LinearStep(step=0.01, gamma_up=0.5, gamma_down=0.3, up_down=0.2),
    "soft bounds": SoftBounds(step=0.03, w_min=-1.0, w_max=0.8, pulse_voltage=1.5, depress_voltage=1.1),
    "with a reference": SoftBoundsReference(step=0.02, reference_spread=0.05, subtract_symmetry_point=True),
    "exp": dataclasses.replace(PRESETS["ReRamES"], step=0.0135, step_noise=0.0, write_noise=0.0),
    "pow": PowStep(step=0.02, gamma=2.0, w_min_spread=0.1),
    "roots": PowStep(step=0.02, gamma=0.6),
    "piecewise": PiecewiseStep(step=0.01, factors_up=(1.0, 0.5, 0.2), factors_down=(0.1, 1.0, 2.0, 0.5)),
    "exponential": Exponential(pulses=80.0, curvature_up=30.0, curvature_down=60.0),
}
"""Without noise; up to 50 steps make half the range."""


def array_of(model: PulseModel, shape: tuple[int, int] = (1, 2), seed: int = 0) -> PulsedArray:
    start = torch.linspace(3e-5, 4e-5, shape[0] * shape[1], dtype=torch.float64).reshape(shape)
    return PulsedArray.over(model, start, RANGE, seed)


def voltages_of(model: PulseModel, scheme: WriteScheme = "V/2") -> WriteVoltages:
    return WriteVoltages(*model.voltages, read=0.01, width=model.pulse_width, scheme=scheme)


WIDTH = MODELS["linear"].pulse_width


def one_train(arrays: dict[str, PulsedArray], ups: int, downs: int) -> np.ndarray:
    """States of the first device of each array after every pulse, `(n_pulses, n_arrays)`, all from the same sources.

    The deck is written here, of the library's subcircuits, with a driver for each array's own amplitudes.
    """
    cards = ["* trains of pulses", ".options reltol=1e-5 vntol=1e-8 abstol=1e-14 chgtol=1e-17 gmin=1e-15 trtol=1"]
    for k, array in enumerate(arrays.values()):
        # Pieces of steps are written into their subcircuit, which has a name of its own here.
        cards += [line.replace(array.model.subcircuit, f"sub_{k}") for line in pulse_subcircuit(array.model)]
        own = " ".join(f"{name}={value.flat[0]:.15g}" for name, value in array_parameters(array).items())
        volts, corners = [array.model.voltages[0]] * ups + [array.model.voltages[1]] * downs, ["0 0"]
        for slot, v in enumerate(volts):
            begin = (2 * slot + 0.5) * WIDTH
            points = ((0, 0), (0.1, v), (1.1, v), (1.2, 0))
            corners += [f"{begin + after * WIDTH:.12g} {height:g}" for after, height in points]
        cards.append(f"v_{k} drive_{k} 0 pwl({' '.join(corners)})")
        cards.append(f"x_{k} drive_{k} 0 state_{k} sub_{k} w0={array.hidden[0].item():.15g} {own}")
    names = [f"v(state_{k})" for k in range(len(arrays))]
    stop = 2 * WIDTH * (ups + downs)
    cards += [f".save {' '.join(names)}", f".tran {WIDTH / 5:g} {stop:.12g} uic", ".end"]
    (plot,) = run_plots("\n".join(cards) + "\n", None, 300)
    times = plot.columns(["time"])[:, 0]
    ends = 2 * WIDTH * np.arange(1, ups + downs + 1)
    return np.stack([np.interp(ends, times, state) for state in plot.columns(names).T], axis=1)


def reads_of(array: PulsedArray, states: np.ndarray, signs: list[int]) -> tuple[np.ndarray, np.ndarray, float]:
    """Conductances after each pulse of the first device, from ngspice's states and from its own; steps travelled."""
    expected = []
    for sign in signs:
        array.pulse(torch.tensor([[sign, 0]]))
        expected.append(array.hidden[0].item())
    offset, window = array.read_offset.flatten()[0], array.map
    theirs, ours = (
        window.conductance((torch.as_tensor(w) - offset).clamp(window.w_min, window.w_max)).numpy()
        for w in (states, np.array(expected))
    )
    return theirs, ours, float(np.ptp(expected)) / array.model.mean_step


@pytest.mark.ngspice
def test_fifty_pulses_up_and_fifty_down():
    arrays = {name: array_of(model) for name, model in MODELS.items()}
    found = one_train(arrays, 50, 50)
    for (name, array), states in zip(arrays.items(), found.T, strict=True):
        theirs, ours, travelled = reads_of(array, states, [1] * 50 + [-1] * 50)
        assert travelled > 10, name
        np.testing.assert_allclose(theirs, ours, rtol=0.01, err_msg=name)


@pytest.mark.ngspice
@pytest.mark.parametrize("scheme", ["V/2", "V/3"])
def test_a_crossbar_with_half_selected_devices(scheme: WriteScheme):
    """4 × 3 devices, drawn one by one; what is disturbed is a tenth of what is written, and agrees by itself."""
    model = SoftBounds(step=0.02, step_spread=0.2, w_max_spread=0.1, pulse_voltage=1.2, disturb_voltage=0.3)
    array = array_of(model, (4, 3), seed=3)
    draw = np.random.default_rng(1)
    counts = torch.from_numpy(draw.integers(-4, 5, (4, 3)) * (draw.random((4, 3)) < 0.6))
    start = array.hidden.clone()
    orders = [Order(k, int(np.sign(n)), abs(n)) for k, n in enumerate(counts.flatten().tolist()) if n]
    schedule = WriteSchedule.of(orders, (4, 3), voltages_of(model, scheme))
    found = ngspice_pulse_crossbar(array, start, schedule)
    array.pulse(counts)
    alone = array.conductances
    array.disturb(exposures(counts.clamp(min=0), -counts.clamp(max=0), scheme))
    torch.testing.assert_close(found.conductances, array.conductances, rtol=0.02, atol=0)
    disturbed = array.conductances - alone
    assert (disturbed.abs() / alone).max() > 0.01
    error = (found.conductances - array.conductances).norm() / disturbed.norm()
    assert error < 0.1


@pytest.mark.parametrize("scale", [0.02, 0.08, 1.0])
def test_the_share_of_another_voltage_is_the_integral_over_the_pulse(scale: float):
    def moved(v: float) -> float:
        edge, _ = quad(lambda share: np.sinh(share * v / scale), 0, 1, epsabs=0)
        return np.sinh(v / scale) + 2 * 0.1 * edge

    for v in (0.3, 0.45, 0.9):
        assert voltage_share(v, 0.9, scale) == pytest.approx(moved(v) / moved(0.9), rel=1e-9)
    assert voltage_share(0.0, 0.9, scale) == 0.0
    assert voltage_share(0.5, 1.0, 1e-4) == 0.0


def test_what_devices_see_moves_them_pulse_by_pulse():
    model = SoftBounds(step=0.3, pulse_voltage=1.0, depress_voltage=0.8, disturb_voltage=0.5)
    array, counts = array_of(model, (2, 3)), torch.tensor([[7, 0, 0], [0, -4, 0]])
    expected = array.hidden.clone().reshape(2, 3)
    share = {v: voltage_share(v / 2, v, 0.5) for v in (1.0, 0.8)}
    for row, column in np.ndindex(2, 3):
        for up, n in ((True, 7 * ((row == 0) ^ (column == 0))), (False, 4 * ((row == 1) ^ (column == 1)))):
            for _ in range(n):
                w = expected[row, column]
                expected[row, column] += share[1.0] * 0.3 * (1 - w / 0.6) if up else -share[0.8] * 0.3 * (1 + w / 0.6)
    before = array.energy.item(), array.potentiations.sum().item()
    array.disturb(exposures(counts.clamp(min=0), -counts.clamp(max=0), "V/2"))
    torch.testing.assert_close(array.hidden.reshape(2, 3), expected, rtol=0, atol=0.003)
    assert (array.energy.item(), array.potentiations.sum().item()) == before
    worn = array_of(dataclasses.replace(model, endurance=1), (2, 3))
    worn.pulse(torch.ones(2, 3, dtype=torch.int64))
    kept = worn.hidden.clone()
    worn.disturb(exposures(counts.clamp(min=0), -counts.clamp(max=0), "V/2"))
    assert torch.equal(worn.hidden, kept)


def test_an_update_disturbs_what_is_not_selected():
    """The same pulses with and without: devices that get none move by the disturbance alone."""
    found = {}
    device = ConstantStep(w_min=0.0, w_max=1.0, step=0.01, disturb_voltage=0.5)
    for scheme in (None, "V/2", "V/3"):
        net = ResistiveNetwork(
            [3, 2], conductance_range=RANGE, initial_range=(5e-5, 5.0001e-5), seed=0, dtype=torch.float64
        )
        theta = net.get_parameter("stage1")
        update = PulsedUpdate(torch.optim.SGD(net.parameters(), lr=1.0), net, device, "sign", write_scheme=scheme)
        before = net.conductances["stage1"].clone()
        theta.grad = torch.zeros_like(theta)
        theta.grad[1, 2] = -1.0
        update.step()
        found[scheme] = (net.conductances["stage1"] - before) / update.crossbars["stage1"].array.step
    plain, half, third = found.values()
    single = torch.zeros_like(plain)
    single[1, 2] = 1.0
    torch.testing.assert_close(plain, single, rtol=0, atol=1e-9)
    cross = torch.zeros_like(plain)
    cross[1], cross[:, 2], cross[1, 2] = 1.0, 1.0, 0.0
    torch.testing.assert_close(half, single + voltage_share(0.5, 1.0, 0.5) * cross, rtol=0, atol=1e-9)
    rest = 1 - cross - single
    torch.testing.assert_close(third, single + voltage_share(1 / 3, 1.0, 0.5) * (cross - rest), rtol=0, atol=1e-9)


@pytest.mark.ngspice
def test_the_deck_runs_in_plain_ngspice_and_prints_the_conductances(tmp_path: Path):
    model = MODELS["exp"]
    array, start = array_of(model), array_of(model).hidden
    schedule = WriteSchedule.of([Order(1, 1, 3), Order(0, -1, 2)], (1, 2), voltages_of(model, "V/3"))
    path = tmp_path / "write.cir"
    path.write_text(pulse_write_deck(array, start, schedule))
    done = subprocess.run([find_ngspice(), "-b", path], cwd="/", capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    found = dict(re.findall(r"^g_0_(\d)\s*=\s*(\S+)$", done.stdout, re.MULTILINE))
    array.pulse(torch.tensor([[-2, 3]]))
    for column, expected in enumerate(array.conductances[0].tolist()):
        assert float(found[str(column)]) == pytest.approx(expected, rel=1e-3)


def test_the_library_is_that_in_the_repository():
    assert (netlists_folder() / "pulse_devices.lib").read_text() == pulse_library()


def test_steps_without_a_closed_form_have_no_subcircuit():
    table = np.array([[0.1e-6, 0.2e-6], [0.1e-6, 0.2e-6]])
    with pytest.raises(DeviceParameterError, match="a netlist needs steps in closed form, found the model Lookup"):
        pulse_subcircuit(Lookup(table_up=table, table_down=-table[:, ::-1], w_min=1e-6, w_max=1e-4))
