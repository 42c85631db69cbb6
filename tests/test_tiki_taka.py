"""Tiki-Taka: transfers counted, sums in closed form, the published recursion in plain loops, references by pulses."""

import math
from typing import Any

import pytest
import torch

from analog_ep.devices.pulses import ConstantStep, PulsedArray, PulseModel, SoftBounds, pulse_model
from analog_ep.devices.pulses.symmetry import find_symmetry, pulse_memory, symmetry_slopes
from analog_ep.errors import DeviceParameterError
from analog_ep.learning.updates.pulsed import PulsedUpdate
from analog_ep.learning.updates.schemes import TikiTaka, update_scheme
from analog_ep.networks import ResistiveNetwork

LOW, HIGH = 1e-6, 1e-4
EVEN = ConstantStep(w_min=0.0, w_max=1.0, step=0.01)
STEP = 0.01 * (HIGH - LOW)
PLAIN = {"fast_memory": 0.0, "reference": "symmetry_point", "chopper": 0.0, "units": "batches"}
"""Changes go to the fast array as they come, against its symmetry point."""


def pulsed(scheme: TikiTaka, device: PulseModel = EVEN, vectors: int = 1) -> PulsedUpdate:
    """On one crossbar, 8 rows and 4 columns, that begins in the middle; SGD of rate 1."""
    net = ResistiveNetwork(
        [3, 2], conductance_range=(LOW, HIGH), initial_range=(5e-5, 5.0001e-5), seed=0, dtype=torch.float64
    )
    return PulsedUpdate(torch.optim.SGD(net.parameters(), lr=1.0), net, device, scheme, vectors=vectors)


def write(update: PulsedUpdate, change: torch.Tensor | float) -> torch.Tensor:
    """One update with a wanted ΔG; what the slow array changed by. [S]"""
    net = update.network
    before = net.conductances["stage1"]
    theta = net.get_parameter("stage1")
    wanted = torch.as_tensor(change, dtype=torch.float64) / net.reference_conductance
    theta.grad = -wanted.expand(theta.shape).clone()
    update.step()
    return net.conductances["stage1"] - before


def transfers(update: PulsedUpdate) -> list[int]:
    return update.crossbars["stage1"].memory["transfers"].tolist()


def test_a_column_moves_by_what_the_fast_array_holds():
    update = pulsed(TikiTaka(**PLAIN, transfer_every=2, transfer_rate=0.5, buffered=False))
    for column in range(2):
        assert not write(update, 4 * STEP).any()
        moved = write(update, 4 * STEP)
        expected = torch.zeros_like(moved)
        # Two updates of 4 steps before the first transfer; two more until the second.
        expected[:, column] = 4 * (column + 1) * STEP
        torch.testing.assert_close(moved, expected)


@pytest.mark.parametrize(
    ("options", "vectors", "counts"),
    [
        ({"units": "batches", "transfer_every": 2}, 8, [1, 1, 1, 0]),
        ({"units": "batches", "transfer_every": 0.5}, 8, [3, 3, 3, 3]),
        ({"units": "batches", "transfer_every": 1, "columns": 3}, 8, [5, 5, 4, 4]),
        ({"units": "vectors", "transfer_every": 4}, 6, [3, 2, 2, 2]),
        ({"units": "vectors", "transfer_every": 1, "columns": 2}, 1, [3, 3, 3, 3]),
    ],
)
def test_transfers_are_counted_in_vectors_or_batches(options: dict[str, Any], vectors: int, counts: list[int]):
    update = pulsed(TikiTaka(**PLAIN | options), vectors=vectors)
    for _ in range(6):
        write(update, STEP)
    assert transfers(update) == counts


def test_the_buffer_loses_nothing():
    update = pulsed(TikiTaka(**PLAIN, columns=4, transfer_rate=0.03))
    moved = sum(write(update, change * STEP) for change in (1, 1, 1, 0, -3, 0, 2, 0, 0, 0))
    held = torch.tensor([1, 2, 3, 3, 0, 0, 2, 2, 2, 2], dtype=torch.float64).sum()
    left = update.crossbars["stage1"].memory["buffer"]
    torch.testing.assert_close(moved + left, torch.full_like(left, 0.03 * float(held) * STEP))


@pytest.mark.parametrize("memory", [5.0, 20.0])
@pytest.mark.parametrize(
    "options", [{"reference": "symmetry_point", "chopper": 0.0, "columns": 4}, {"columns": 4}, {"transfer_every": 0.5}]
)
def test_a_steady_change_arrives_in_full(memory: float, options: dict[str, Any]):
    """Whatever the size of the change and the period of the choppers, in whole pairs of periods."""
    update = pulsed(TikiTaka(fast_memory=memory, **options), SoftBounds(step=0.005, w_min=-1.0, w_max=1.0))
    change, buffer = 1e-6 * (HIGH - LOW), update.crossbars["stage1"].memory["buffer"]
    for _ in range(160):
        write(update, change)
    before = buffer.clone()
    moved = sum(write(update, change) for _ in range(80)) + buffer - before
    assert (moved / (80 * change)).mean().item() == pytest.approx(1.0, abs=0.02)


def by_hand(changes: list[list[int]], device: SoftBounds, start: list[float], rate: float, period: int) -> tuple:
    """The recursion of the chopped transfer with a dynamic reference, one row, device by device (Rasch et al. 2024)."""
    n = len(changes[0])
    up, down = device.step, device.step
    fast, slow, zero, mean = [0.0] * n, list(start), [0.0] * n, [0.0] * n
    buffer, sign, reads = [0.0] * n, [1] * n, [0] * n

    def pulse(w: float, count: int) -> float:
        for _ in range(abs(count)):
            w += up * (1 - w / device.w_max) if count > 0 else -down * (1 - w / device.w_min)
        return w

    for update, wanted in enumerate(changes):
        fast = [pulse(fast[k], sign[k] * wanted[k]) for k in range(n)]
        k = update % n
        buffer[k] += rate * sign[k] * (fast[k] - zero[k])
        mean[k] += min(5 / period, 1) * (fast[k] - mean[k])
        steps = math.trunc(buffer[k] / device.step + 1e-12)
        buffer[k] -= steps * device.step
        slow[k] = pulse(slow[k], steps)
        reads[k] += 1
        if reads[k] % period == 0:
            sign[k], zero[k] = -sign[k], mean[k]
    return fast, slow


def test_the_recursion_with_a_dynamic_reference_is_the_published_one():
    device = SoftBounds(step=0.02, w_min=-1.0, w_max=1.0)
    scheme = TikiTaka(fast_memory=0.0, transfer_rate=0.2, chopper=0.25, units="batches")
    update = pulsed(scheme, device)
    array = update.crossbars["stage1"].array
    random = torch.Generator().manual_seed(3)
    drift = torch.tensor([1, -1, 2, 0])
    changes = torch.randint(-2, 3, (120, 4), generator=random) + drift
    start = array.hidden[:4].tolist()
    for each in changes:
        write(update, array.step * each.double().expand(8, 4))
    hidden = update.crossbars["stage1"].hidden_array
    assert hidden is not None
    fast, slow = by_hand(changes.tolist(), device, start, 0.2, 4)
    assert hidden.hidden[:4].tolist() == pytest.approx(fast, abs=1e-9)
    assert array.hidden[:4].tolist() == pytest.approx(slow, abs=1e-9)
    assert max(abs(w) for w in slow) > 0.1


@pytest.mark.parametrize(("reference", "drifts"), [("middle", True), ("symmetry_point", False), ("dynamic", False)])
def test_what_fast_devices_rest_at_is_no_change(reference: Any, drifts: bool):
    """Without changes to write, a reference that is not the symmetry point writes itself into the slow array."""
    device = SoftBounds(step=0.01, up_down=0.3, w_min=-1.0, w_max=1.0)
    chopper = 0.1 if reference == "dynamic" else 0.0
    update = pulsed(TikiTaka(reference=reference, chopper=chopper, units="batches", columns=4), device)
    random = torch.Generator().manual_seed(0)
    noise = 4 * update.crossbars["stage1"].array.step * torch.randn(200, 8, 4, generator=random, dtype=torch.float64)
    for each in noise - noise.mean(0):
        write(update, each)
    slow = update.crossbars["stage1"].memory["buffer"].mean() + (update.network.conductances["stage1"] - 5e-5).mean()
    assert (abs(float(slow)) > 0.1 * (HIGH - LOW)) == drifts


def test_the_memory_is_that_of_the_steps_equation():
    """Soft bounds forget the share (α₊/b_max + α₋/|b_min|)/2 a pulse, wherever they are."""
    device = SoftBounds(step=0.01, up_down=0.2, w_min=-0.4, w_max=0.9)
    array = PulsedArray.over(device, torch.full((3,), 5e-5, dtype=torch.float64), (LOW, HIGH), 0)
    share = (0.01 / 0.9 + 0.008 / 0.4) / 2
    torch.testing.assert_close(symmetry_slopes(array), torch.full((3,), share, dtype=torch.float64))
    assert pulse_memory(array) == pytest.approx(1 / share)
    even = PulsedArray.over(EVEN, torch.full((3,), 5e-5, dtype=torch.float64), (LOW, HIGH), 0)
    assert pulse_memory(even) == pytest.approx(100)


def test_alternating_pulses_rest_where_a_step_up_is_undone():
    """Of w → w + U(w) → w + U(w) − D(w + U(w)), U = α (1 − w) and D = α (1 + 2 w), w is fixed in closed form."""
    device = SoftBounds(step=0.05, w_min=-0.5, w_max=1.0)
    array = PulsedArray.over(device, torch.full((2,), 9e-5, dtype=torch.float64), (LOW, HIGH), 0)
    found = array.map.state(find_symmetry(array, 400))
    # 1 − w = 1 + 2 (w + α (1 − w)).
    after_down = 2 * 0.05 / (2 * 0.05 - 3)
    after_up = after_down + 0.05 * (1 - after_down)
    assert found.tolist() == pytest.approx([(after_down + after_up) / 2] * 2, abs=1e-6)


@pytest.mark.parametrize("name", ["EcRam", "ReRamES"])
def test_pulses_up_and_down_find_the_symmetry_point(name: str):
    """Without noise to a part of a step: pulses in turn rest where steps from below and from above are equal."""
    device = pulse_model(name, step_noise=0.0, write_noise=0.0, step=0.05)
    array = PulsedArray.over(device, torch.linspace(LOW, HIGH, 40, dtype=torch.float64), (LOW, HIGH), 1)
    point = array.symmetry_conductances
    found = find_symmetry(array, 600)
    assert (found - point).abs().max().item() < 0.6 * array.step
    assert (point.max() - point.min()).item() > 2 * array.step
    assert array.potentiations.tolist() == array.depressions.tolist() == [600] * 40
    with pytest.raises(DeviceParameterError, match="needs at least 2 pairs of pulses, found 1"):
        find_symmetry(array, 1)


def test_a_measured_reference_is_what_the_pulses_found():
    device = SoftBounds(step=0.02, up_down=0.2, step_spread=0.1)
    options = {"reference": "measured", "chopper": 0.0, "calibration_pulses": 300}
    update = pulsed(TikiTaka(**options), device)
    crossbar = update.crossbars["stage1"]
    assert crossbar.hidden_array is not None
    error = (crossbar.memory["zero"] - crossbar.hidden_array.symmetry_conductances).abs().max().item()
    assert 0 < error < crossbar.array.step
    assert int(crossbar.hidden_array.potentiations.sum()) == 300 * crossbar.array.shape.numel()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"transfer_every": 0}, "transfer_every must be positive and finite, found 0"),
        ({"columns": 0}, "columns must be a whole number of at least 1, found 0"),
        ({"units": "samples"}, "units must be vectors or batches, found 'samples'"),
        ({"fast_memory": -1.0}, "fast_memory must be positive and finite, found -1.0"),
        ({"fast_rate": True}, "fast_rate must be positive and finite, found True"),
        ({"buffered": 1}, "buffered must be true or false, found 1"),
        ({"reference": "exact"}, "reference must be one of dynamic, symmetry_point, measured, middle, found 'exact'"),
        ({"chopper": 0.0}, "a dynamic reference needs a chopper above 0, found 0.0"),
        ({"chopper": 0.7}, "chopper must lie in 0…0.5, found 0.7"),
    ],
)
def test_bad_options_are_refused(options: dict[str, Any], words: str):
    with pytest.raises(DeviceParameterError, match=f"^TikiTaka: {words}$"):
        update_scheme("tiki_taka", **options)
