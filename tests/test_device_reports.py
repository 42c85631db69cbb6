"""What a training says of its pulsed devices: closed forms of ideal ones, counts by hand, the same after a restart."""

import csv
from pathlib import Path
from typing import Any

import pytest
import torch

from analog_ep.devices.pulses import ConstantStep, PulsedArray, PulseModel, SoftBounds
from analog_ep.learning.updates.coincidence import outer_pulses
from analog_ep.learning.updates.pulsed import PulsedUpdate
from analog_ep.learning.updates.report import REPORT_COLUMNS, DeviceFigures
from analog_ep.learning.updates.schemes import FixedStep, ProgramAndVerify, Scheme, StochasticCoincidence, TikiTaka
from analog_ep.networks import ResistiveNetwork
from analog_ep.runs.folder import DEVICE_CURVES, DEVICES, Run
from analog_ep.spec import default_spec, parse_spec

LOW, HIGH = 1e-6, 1e-4
EVEN = ConstantStep(w_min=0.0, w_max=1.0, step=0.01)
STEP = 0.01 * (HIGH - LOW)


def pulsed(scheme: Scheme, device: PulseModel = EVEN) -> PulsedUpdate:
    """On one crossbar, 8 rows and 4 columns, that begins in the middle; SGD of rate 1."""
    net = ResistiveNetwork(
        [3, 2], conductance_range=(LOW, HIGH), initial_range=(5e-5, 5.0001e-5), seed=0, dtype=torch.float64
    )
    return PulsedUpdate(torch.optim.SGD(net.parameters(), lr=1.0), net, device, scheme)


def write(update: PulsedUpdate, steps: torch.Tensor | float) -> None:
    theta = update.network.get_parameter("stage1")
    wanted = STEP * torch.as_tensor(steps, dtype=torch.float64) / update.network.reference_conductance
    theta.grad = -wanted.expand(theta.shape).clone()
    update.step()


def report(update: PulsedUpdate) -> dict[str, Any]:
    (row,) = update.report()
    return row


def test_devices_that_do_as_they_are_told_agree():
    update = pulsed(FixedStep(rounding="nearest"))
    write(update, torch.tensor([3.0, -2.0, 1.0, 0.0]))
    write(update, torch.tensor([1.0, 0.0, -4.0, 0.0]))
    row = report(update)
    assert (row["cosine"], row["slope"]) == (pytest.approx(1.0), pytest.approx(1.0))
    assert (row["mean_pulses"], row["most_pulses"], row["lost_pulses"]) == (11 / 4, 5, 0)
    assert row["energy"] == pytest.approx(update.energy)
    # The next report is of what follows alone; counts go on.
    assert report(update)["cosine"] is None
    write(update, torch.tensor([0.4, 0.0, 1.0, 1.0]))
    row = report(update)
    assert row["cosine"] == pytest.approx(2 / (2 * 2.16) ** 0.5)
    assert row["slope"] == pytest.approx(2 / 2.16)
    assert row["most_pulses"] == 6


def test_devices_at_their_bounds_are_counted_and_do_nothing():
    update = pulsed(FixedStep(rounding="nearest"))
    write(update, torch.tensor([100.0, -100.0, 0.0, 0.0]))
    assert (report(update)["at_low"], report(update)["at_high"]) == (0.25, 0.25)
    write(update, torch.tensor([1.0, -1.0, 0.0, 0.0]))
    assert report(update)["slope"] == pytest.approx(0.0, abs=1e-9)


def test_what_devices_are_like_in_closed_form():
    device = SoftBounds(step=0.01, up_down=0.2, w_min=-0.4, w_max=0.8)
    array = PulsedArray.over(device, torch.full((5,), 5e-5, dtype=torch.float64), (LOW, HIGH), 0)
    figures = DeviceFigures.of(array)
    point = (1 - 0.8) / (1 / 0.8 + 0.8 / 0.4)
    assert figures.symmetry_point == pytest.approx((point + 0.4) / 1.2)
    assert figures.symmetry_spread == pytest.approx(0.0, abs=1e-9)
    up, down = 1 - 0.2 / 0.8, 0.8 * (1 + 0.2 / 0.4)
    assert figures.asymmetry == pytest.approx((up - down) / (up + down))
    assert figures.steps_per_range == pytest.approx(120)


@pytest.mark.parametrize(
    ("scheme", "lost"),
    [(FixedStep(max_pulses=3), 32 * 2), (StochasticCoincidence(train_length=2), 32 * 3)],
)
def test_pulses_beyond_the_most_of_an_update_are_counted(scheme: Scheme, lost: float):
    update = pulsed(scheme)
    write(update, 5)
    assert report(update)["lost_pulses"] == pytest.approx(lost, abs=1e-6)


def test_coincidences_beyond_the_longest_train_are_those_of_its_chances():
    rows, columns = torch.tensor([1.0, -0.5]).double(), torch.tensor([8.0, 1.0, 0.0]).double() * STEP
    array = PulsedArray.over(EVEN, torch.full((2, 3), 5e-5, dtype=torch.float64), (LOW, HIGH), 0)
    # Four slots for 8 pulses: the largest row and column have a chance of √2, others in proportion.
    row, column = [min(2**0.5 * x, 1.0) for x in (1.0, 0.5)], [min(2**0.5 * x, 1.0) for x in (1.0, 1 / 8)]
    lost = 1.5 * 9 - 4 * sum(row) * sum(column)
    assert outer_pulses(array, rows, columns, 4, True) == pytest.approx(lost)
    assert outer_pulses(array, rows, columns, 31, True) == 0


def test_reads_to_verify_are_counted():
    update = pulsed(ProgramAndVerify())
    write(update, torch.tensor([2.0, 0.0, 1.0, 0.0]))
    # All devices, then the 16 that were pulsed, then the 8 that were pulsed again.
    assert report(update)["reads"] == 32 + 16 + 8


def test_transfers_and_fast_pulses_are_counted():
    options = {"fast_memory": 0.0, "reference": "symmetry_point", "chopper": 0.0, "units": "batches"}
    update = pulsed(TikiTaka(**options))
    for _ in range(6):
        write(update, 2)
    row = report(update)
    assert (row["least_transfers"], row["hidden_pulses"], row["reads"]) == (1, 12, 6 * 8)
    assert row["energy"] == pytest.approx(update.energy)
    assert update.total_pulses == 32 * (12 + row["mean_pulses"])


@pytest.mark.pictures
@pytest.mark.parametrize("hardware", [{}, {"chip": {"stuck": 0.1}}, {"converters": {"adc_bits": 10, "adc_range": 1.0}}])
def test_a_run_tells_of_its_devices_after_every_epoch(hardware: dict[str, Any], tmp_path: Path):
    tables = default_spec("xor").to_dict() | {"diode": {"model": "ideal", "upper": 0.3, "lower": -0.3}}
    tables["training"] |= {"epochs": 3, "batch_size": 2}
    spec = parse_spec(tables | {"update": {"device": "EcRam", "scheme": "tiki_taka"}} | hardware, "test")
    straight = Run.create(tmp_path / "straight", spec)
    straight.train()
    found = list(csv.DictReader((tmp_path / "straight" / DEVICES).read_text().splitlines()))
    assert tuple(found[0]) == REPORT_COLUMNS
    assert [(row["epoch"], row["parameter"]) for row in found[:3]] == [
        ("1", "stage1"),
        ("1", "stage2"),
        ("2", "stage1"),
    ]
    update = straight.trainer.update
    assert isinstance(update, PulsedUpdate)
    assert sum(float(row["energy"]) for row in found[-2:]) == pytest.approx(update.energy)
    assert (tmp_path / "straight" / DEVICE_CURVES).read_bytes().startswith(b"\x89PNG")

    class Stopping:
        def batch_done(self, epoch: int, batch: int, n_batches: int) -> None:
            if epoch == 3:
                raise KeyboardInterrupt

        def epoch_done(self, record: object) -> None:
            pass

    broken = Run.create(tmp_path / "broken", spec)
    with pytest.raises(KeyboardInterrupt):
        broken.train([Stopping()])
    resumed = Run.resume(tmp_path / "broken")
    resumed.train()
    again = list(csv.DictReader((tmp_path / "broken" / DEVICES).read_text().splitlines()))
    for row, other in zip(found, again, strict=True):
        assert {**row, "update_seconds": ""} == {**other, "update_seconds": ""}
