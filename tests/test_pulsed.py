"""Pulsed updates: what every scheme does to ideal devices in closed form, on average, and after a restart."""

import csv
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from analog_ep.devices.pulses import ConstantStep, PulsedArray, PulseModel, SoftBounds
from analog_ep.devices.pulses.kernels import follow_lines, pulse_rounds
from analog_ep.errors import CheckpointError, DeviceParameterError
from analog_ep.learning.updates.coincidence import outer_pulses, row_pulses
from analog_ep.learning.updates.pulsed import PULSE_COLUMNS, PulsedUpdate
from analog_ep.learning.updates.schemes import (
    SCHEMES,
    FixedStep,
    MixedPrecision,
    OneOfPair,
    ProgramAndVerify,
    Scheme,
    SignStep,
    StochasticCoincidence,
    TikiTaka,
    update_scheme,
)
from analog_ep.learning.updates.update import Update
from analog_ep.netlist.conductance_table import write_conductances
from analog_ep.networks import ResistiveNetwork

LOW, HIGH = 1e-6, 1e-4
EVEN = ConstantStep(w_min=0.0, w_max=1.0, step=0.01)
STEP = 0.01 * (HIGH - LOW)


def network(drive: Any = "differential", seed: int = 0) -> ResistiveNetwork:
    return ResistiveNetwork([3, 4, 2], drive=drive, conductance_range=(LOW, HIGH), seed=seed, dtype=torch.float64)


def pulsed(net: ResistiveNetwork, scheme: Scheme, device: PulseModel = EVEN, seed: int = 0) -> PulsedUpdate:
    """SGD of rate 1, so that what it proposes is the negative gradient."""
    return PulsedUpdate(torch.optim.SGD(net.parameters(), lr=1.0), net, device=device, scheme=scheme, seed=seed)


def propose(net: ResistiveNetwork, change: float | torch.Tensor) -> None:
    """Gradients for which SGD of rate 1 wants ΔG = `change`. [S]"""
    for parameter in net.parameters():
        wanted = torch.as_tensor(change, dtype=torch.float64) / net.reference_conductance
        parameter.grad = -wanted.expand(parameter.shape).clone()


def changes(net: ResistiveNetwork, update: PulsedUpdate) -> dict[str, torch.Tensor]:
    before = net.conductances
    update.step()
    return {name: (after - before[name]) / STEP for name, after in net.conductances.items()}


def test_nearest_rounding_gives_whole_steps():
    net = network()
    update = pulsed(net, FixedStep(rounding="nearest"))
    for wanted, steps in ((2.4, 2), (-0.6, -1), (0.4, 0)):
        propose(net, wanted * STEP)
        for change in changes(net, update).values():
            torch.testing.assert_close(change, torch.full_like(change, steps))


def test_stochastic_rounding_is_right_on_average():
    net = ResistiveNetwork([60, 200, 2], conductance_range=(LOW, HIGH), initial_range=(3e-5, 6e-5), dtype=torch.float64)
    update = pulsed(net, FixedStep())
    propose(net, 1.3 * STEP)
    change = changes(net, update)["stage1"]
    assert set(change.round().unique().tolist()) == {1.0, 2.0}
    assert change.mean().item() == pytest.approx(1.3, abs=0.02)


def test_the_largest_number_of_pulses_holds():
    net = network()
    update = pulsed(net, FixedStep(max_pulses=3))
    propose(net, 40 * STEP)
    for change in changes(net, update).values():
        torch.testing.assert_close(change, torch.full_like(change, 3.0))


def test_sign_gives_one_pulse_beyond_the_dead_band():
    net = network()
    update = pulsed(net, SignStep(dead_band=1e-9))
    for wanted, steps in ((1e-5, 1), (-2e-9, -1), (0.5e-9, 0)):
        propose(net, wanted)
        for change in changes(net, update).values():
            torch.testing.assert_close(change, torch.full_like(change, steps))


def test_comparators_have_offsets_of_their_own():
    net = ResistiveNetwork([60, 200, 2], conductance_range=(LOW, HIGH), initial_range=(3e-5, 6e-5), dtype=torch.float64)
    update = pulsed(net, SignStep(offset_spread=1e-8))
    propose(net, 1e-8)
    first, second = (changes(net, update)["stage1"] for _ in range(2))
    assert (first > 0).double().mean().item() == pytest.approx(0.8413, abs=0.01)
    torch.testing.assert_close(first, second)


def test_verify_reaches_its_target_with_noisy_devices():
    net = network()
    noisy = SoftBounds(step=0.01, step_noise=1.0, step_spread=0.3)
    update = pulsed(net, ProgramAndVerify(tolerance=1.0, max_rounds=200), noisy)
    net.set_conductances({name: torch.full_like(value, 4e-5) for name, value in net.conductances.items()})
    propose(net, 7.7e-6)
    update.step()
    step = 0.01 / 1.2 * (HIGH - LOW)
    for name, siemens in net.conductances.items():
        assert (siemens - 4.77e-5).abs().max().item() <= step
        assert update.pulse_counts[name].max().item() <= 200


def test_mixed_precision_loses_nothing():
    net = network()
    update = pulsed(net, MixedPrecision())
    before = net.conductances
    for _ in range(25):
        propose(net, 0.3 * STEP)
        update.step()
    for name, siemens in net.conductances.items():
        steps = (siemens - before[name]) / STEP
        assert (steps - 7.5).abs().max().item() <= 1.0
        torch.testing.assert_close(steps, steps.round())


def test_tiki_takas_fast_array_begins_at_the_symmetry_point():
    net = network()
    update = pulsed(net, TikiTaka(), SoftBounds(step=0.01, up_down=0.2, w_min=-0.4, w_max=0.9))
    fast = update.crossbars["stage1"].hidden_array
    assert fast is not None
    point = (1 - 0.8) / (1 / 0.9 + 0.8 / 0.4)
    assert fast.hidden.tolist() == pytest.approx([point] * len(fast.hidden))


@pytest.mark.parametrize("held", ["negative", "positive"])
def test_one_of_a_pair_takes_the_change_of_the_difference(held: Any):
    net = network()
    update = pulsed(net, OneOfPair(FixedStep(rounding="nearest"), held))
    wanted = torch.zeros(8, 4, dtype=torch.float64)
    wanted[0], wanted[3], wanted[6], wanted[7] = 2 * STEP, -3 * STEP, STEP, STEP
    net.get_parameter("stage1").grad = -wanted / net.reference_conductance
    change = changes(net, update)["stage1"]
    expected = torch.zeros_like(wanted)
    expected[0 if held == "negative" else 3] = 5 if held == "negative" else -5
    torch.testing.assert_close(change, expected)


def test_one_of_a_pair_needs_pairs():
    with pytest.raises(DeviceParameterError, match="only where rows come in pairs ±u, found single rows in stage2"):
        pulsed(network(drive="single"), OneOfPair(FixedStep()))


@pytest.mark.parametrize("manage_length", [True, False])
def test_coincidences_are_right_on_average(manage_length: bool):
    rows = torch.tensor([1.0, -0.5, 0.0, 0.2], dtype=torch.float64)
    columns = torch.tensor([3.0, -1.0, 0.5], dtype=torch.float64) * STEP
    total = torch.zeros(4, 3, dtype=torch.float64)
    for seed in range(600):
        array = PulsedArray.over(EVEN, torch.full((4, 3), 5e-5, dtype=torch.float64), (LOW, HIGH), seed)
        outer_pulses(array, rows, columns, 31, manage_length)
        total += array.conductances - 5e-5
    # At most 3 pulses of variance 1 each.
    assert ((total / 600 - torch.outer(rows, columns)).abs() / STEP).max().item() < 4 * (3 / 600) ** 0.5


def test_coincidences_have_the_moments_of_trains():
    # Rows pulse with probabilities 1, 0.4 and 0, columns with 1 and 0.3, in each of 3 slots.
    rows = torch.tensor([1.0, -0.4, 0.0], dtype=torch.float64)
    columns = torch.tensor([3.0, 0.9], dtype=torch.float64) * STEP
    array = PulsedArray.over(EVEN, torch.full((3, 2), 5e-5, dtype=torch.float64), (LOW, HIGH), 0)
    counts = torch.empty(5000, 3, 2, dtype=torch.float64)
    for own in counts:
        before = array.potentiations - array.depressions
        outer_pulses(array, rows, columns, 31, True)
        own.copy_(array.potentiations - array.depressions - before)
    chance = torch.outer(rows, columns / columns[0])
    assert (counts.mean(0) - 3 * chance).abs().max().item() < 4 * (0.75 / 5000) ** 0.5
    found = torch.cov(counts.flatten(1).T)
    # In a slot, two devices both have a pulse if their rows, or the one row of both, and their columns do.
    row, column = rows.abs(), columns / columns[0]
    both_rows = torch.where(torch.eye(3, dtype=torch.bool), row, torch.outer(row, row))
    both_columns = torch.where(torch.eye(2, dtype=torch.bool), column, torch.outer(column, column))
    size = chance.abs().flatten()
    sign = chance.sign().flatten()
    wanted = 3 * (torch.kron(both_rows, both_columns) - torch.outer(size, size)) * torch.outer(sign, sign)
    assert (found - wanted).abs().max().item() < 0.06


@pytest.mark.parametrize(("largest", "manage_length", "n_slots"), [
    (0.3, True, 1), (1.0, True, 1), (1.2, True, 2), (3.0, True, 3), (50.0, True, 31), (0.3, False, 31)
])  # fmt: skip
def test_managed_trains_have_one_slot_a_pulse(
    largest: float, manage_length: bool, n_slots: int, monkeypatch: pytest.MonkeyPatch
):
    """As many as the largest product has mean pulses, rounded up, and no more than the longest train."""
    found = []

    def draws(trains: object, slots: int, like: torch.Tensor, n_lines: int) -> torch.Tensor:
        found.append(slots)
        return like.new_full((slots, n_lines), 0.5)

    monkeypatch.setattr("analog_ep.learning.updates.coincidence._Trains.draws", draws)
    array = PulsedArray.over(EVEN, torch.full((2, 1), 5e-5, dtype=torch.float64), (LOW, HIGH), 0)
    columns = torch.tensor([largest], dtype=torch.float64) * STEP * (1 - 1e-9)
    outer_pulses(array, torch.tensor([1.0, -0.5], dtype=torch.float64), columns, 31, manage_length)
    assert found == [n_slots]


@pytest.mark.parametrize("manage_length", [True, False])
@pytest.mark.parametrize("one_pass", [True, False])
def test_coincidences_have_the_very_chance_of_their_product(
    manage_length: bool, one_pass: bool, monkeypatch: pytest.MonkeyPatch
):
    n_slots, n_rows, n_columns = 1000, 41, 7
    rows = torch.linspace(-1, 1, n_rows, dtype=torch.float64)
    columns = torch.tensor([1.0, -0.9, 0.7, 0.5, 0.25, 0.1, 0.0], dtype=torch.float64) * n_slots * 0.64 * STEP

    def grid(trains: object, slots: int, like: torch.Tensor, n_lines: int) -> torch.Tensor:
        """Every number once in each line, the lines shuffled, so that a line pulses as often as its chance says."""
        assert slots == n_slots
        order = torch.argsort(torch.rand(slots, n_lines, generator=torch.Generator().manual_seed(0)), 0)
        return ((order + 0.5) / slots).to(like)

    monkeypatch.setattr("analog_ep.learning.updates.coincidence._Trains.draws", grid)
    monkeypatch.setattr("analog_ep.learning.updates.coincidence.runs_compiled", lambda _: one_pass)
    window = (LOW, HIGH)
    array = PulsedArray.over(EVEN, torch.full((n_rows, n_columns), 5e-5, dtype=torch.float64), window, 0)
    # Managed trains are as long as the largest product needs, which is then met in every slot.
    largest = 1.0 if manage_length else 0.64
    outer_pulses(array, rows, columns / 0.64 if manage_length else columns, n_slots, manage_length)
    found = (array.potentiations - array.depressions).double() / n_slots
    wanted = largest * torch.outer(rows, columns / columns[0])
    # Two lines that pulse exactly k and l times in n slots meet k l/n times, with a hypergeometric deviation.
    assert (found - wanted).abs().max().item() < 5 * (0.25 / n_slots) ** 0.5
    assert float((found * wanted).sum() / (wanted * wanted).sum()) == pytest.approx(1.0, abs=0.004)


@pytest.mark.parametrize("train_length", [1, 31, 64, 200])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_compiled_coincidences_are_those_of_the_tensors(
    train_length: int, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
):
    random = torch.Generator().manual_seed(train_length)
    rows, columns = torch.randn(30, generator=random, dtype=dtype), torch.randn(20, generator=random, dtype=dtype)
    rows[::3], columns[4] = 0, 0
    counts = []
    for compiled in (True, False):
        monkeypatch.setattr("analog_ep.learning.updates.coincidence.runs_compiled", lambda _, use=compiled: use)
        array = PulsedArray.over(EVEN, torch.full((30, 20), 5e-5, dtype=dtype), (LOW, HIGH), 0)
        outer_pulses(array, rows, 0.3 * train_length * STEP * columns, train_length, True)
        counts.append(array.potentiations - array.depressions)
    assert torch.equal(*counts)
    assert int(counts[0].abs().max()) > train_length // 2
    assert int(counts[0].min()) < 0 < int(counts[0].max())


def test_factors_may_come_out_of_a_graph():
    array = PulsedArray.over(EVEN, torch.full((3, 2), 5e-5, dtype=torch.float64), (LOW, HIGH), 0)
    rows = torch.ones(3, dtype=torch.float64, requires_grad=True)
    outer_pulses(array, rows, torch.full((2,), 40 * STEP, dtype=torch.float64), 31, True)
    assert bool((array.potentiations == 31).all())


def test_coincidences_of_one_sign_never_pulse_against_it():
    random = torch.Generator().manual_seed(0)
    array = PulsedArray.over(EVEN, torch.full((50, 40), 5e-5), (LOW, HIGH), 0)
    rows, columns = torch.randn(50, generator=random), 5 * STEP * torch.randn(40, generator=random)
    outer_pulses(array, rows, columns, 31, True)
    sign = torch.outer(rows, columns).sign()
    assert bool((array.potentiations[sign < 0] == 0).all())
    assert bool((array.depressions[sign > 0] == 0).all())
    assert int(array.potentiations.sum()) > 0


def test_a_matrix_is_written_row_by_row_with_binomial_pulses():
    """Mean and variance of each device are those of its own slots; a row's slots are what its largest change needs."""
    change = torch.tensor([[2.5, -1.0, 0.0], [0.3, 0.15, -0.3], [0.0, 0.0, 0.0], [40.0, 4.0, -100.0]]).double()
    slots = torch.tensor([[3.0], [1.0], [1.0], [31.0]]).double()
    chance = (change.abs() / slots).clamp(max=1)
    array = PulsedArray.over(EVEN, torch.full((4, 3), 5e-5, dtype=torch.float64), (LOW, HIGH), 0)
    counts = torch.empty(3000, 4, 3, dtype=torch.float64)
    for own in counts:
        before = array.potentiations - array.depressions
        row_pulses(array, change * STEP, 31, True)
        own.copy_(array.potentiations - array.depressions - before)
    variance = slots * chance * (1 - chance)
    assert ((counts.mean(0) - slots * chance * change.sign()).abs() <= 4.5 * (variance / 3000).sqrt()).all()
    assert ((counts.var(0) - variance).abs() <= 0.15 * variance + 1e-9).all()


def test_a_whole_matrix_arrives_without_singular_pairs():
    net = ResistiveNetwork([40, 30, 2], conductance_range=(LOW, HIGH), initial_range=(4e-5, 6e-5), dtype=torch.float64)
    wanted = 3 * torch.randn(82, 30, generator=torch.Generator().manual_seed(1)).double().sign()
    update = pulsed(net, StochasticCoincidence())
    net.get_parameter("stage1").grad = -STEP * wanted / net.reference_conductance
    torch.testing.assert_close(changes(net, update)["stage1"], wanted, rtol=0, atol=1e-6)


def test_a_matrix_is_written_as_outer_products():
    net = ResistiveNetwork([40, 30, 2], conductance_range=(LOW, HIGH), initial_range=(4e-5, 6e-5), dtype=torch.float64)
    update = pulsed(net, StochasticCoincidence(rank=2))
    random = torch.Generator().manual_seed(1)
    wanted = torch.randn(82, 2, generator=random) @ torch.randn(2, 30, generator=random)
    net.get_parameter("stage1").grad = -STEP * wanted.double() / net.reference_conductance
    found = changes(net, update)["stage1"]
    cosine = torch.nn.functional.cosine_similarity(found.flatten(), wanted.double().flatten(), 0)
    assert cosine.item() > 0.75
    assert found.sum().item() == pytest.approx(wanted.sum().item(), abs=4 * wanted.abs().sum().sqrt().item())


def test_factors_are_written_past_the_optimizer():
    net = network()
    update = pulsed(net, StochasticCoincidence())
    before = net.conductances
    update.coincide("stage1", torch.ones(8, dtype=torch.float64), torch.full((4,), 100 * STEP, dtype=torch.float64))
    # The product needs more than the longest train, so that every slot pulses every device.
    torch.testing.assert_close(net.conductances["stage1"], (before["stage1"] + 31 * STEP).clamp(max=HIGH))
    assert torch.equal(net.conductances["stage2"], before["stage2"])
    for label, n_rows, words in (
        ("stage9", 8, "must be one of stage1, stage2, found 'stage9'"),
        ("stage1", 3, "needs"),
    ):
        with pytest.raises(DeviceParameterError, match=words):
            update.coincide(label, torch.ones(n_rows), torch.ones(4))
    with pytest.raises(DeviceParameterError, match="need the scheme stochastic, found FixedStep"):
        pulsed(net, FixedStep()).coincide("stage1", torch.ones(8), torch.ones(4))


def test_pulses_of_a_step_are_exported(tmp_path: Path):
    net = network()
    update = pulsed(net, FixedStep(rounding="nearest"))
    propose(net, STEP)
    update.step()
    wanted = torch.zeros(8, 4, dtype=torch.float64)
    wanted[1, 2], wanted[5, 3] = 3 * STEP, -2 * STEP
    propose(net, 0.0)
    net.get_parameter("stage1").grad = -wanted / net.reference_conductance
    update.step()
    assert update.write_pulses(tmp_path / "pulses.csv") == 2
    with (tmp_path / "pulses.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == list(PULSE_COLUMNS)
    assert Counter((r["parameter"], r["index"], r["sign"], r["count"]) for r in rows) == Counter(
        [("stage1", "6", "1", "3"), ("stage1", "23", "-1", "2")]
    )
    write_conductances(net, tmp_path / "g.csv")
    with (tmp_path / "g.csv").open() as file:
        names = {(row["parameter"], row["index"]): row["branch"] for row in csv.DictReader(file)}
    assert all(row["branch"] == names[row["parameter"], row["index"]] for row in rows)


def test_energy_and_counts_add_up():
    net = network()
    net.set_conductances({name: torch.full_like(value, 5e-5) for name, value in net.conductances.items()})
    update = pulsed(net, FixedStep(rounding="nearest"))
    propose(net, 2 * STEP)
    update.step()
    n = sum(value.numel() for value in net.parameters())
    assert sum(int(counts.sum()) for counts in update.pulse_counts.values()) == 2 * n
    assert update.energy == pytest.approx(n * 1.0**2 * 1e-7 * (2 * 5e-5 + STEP))


def test_worn_out_devices_stay_where_they_are():
    net = network()
    update = pulsed(net, FixedStep(rounding="nearest"), ConstantStep(w_min=0.0, w_max=1.0, step=0.01, endurance=2))
    propose(net, 5 * STEP)
    for expected in (2.0, 0.0):
        for change in changes(net, update).values():
            torch.testing.assert_close(change, torch.full_like(change, expected))
    assert all(bool(worn.all()) for worn in update.worn_out.values())


def test_devices_follow_conductances_set_from_elsewhere():
    net = network()
    update = pulsed(net, FixedStep(rounding="nearest"))
    net.set_conductances({name: torch.full_like(value, 2e-5) for name, value in net.conductances.items()})
    propose(net, STEP)
    update.step()
    for siemens in net.conductances.values():
        torch.testing.assert_close(siemens, torch.full_like(siemens, 2e-5 + STEP))


@pytest.mark.parametrize("scheme", [*SCHEMES, "held"])
def test_a_restored_update_goes_on_to_the_same_bits(scheme: str):
    chosen = OneOfPair(MixedPrecision()) if scheme == "held" else update_scheme(scheme)
    noisy = SoftBounds(step=0.01, step_noise=0.5, write_noise=2.0, step_spread=0.2, lifetime=100.0, diffusion=1e-3)
    net, twin = network(), network(seed=5)
    update, restored = pulsed(net, chosen, noisy), pulsed(twin, chosen, noisy)
    random = torch.Generator().manual_seed(0)
    wanted = [5 * STEP * torch.randn(8, 4, generator=random) for _ in range(6)]

    def run(net: ResistiveNetwork, update: PulsedUpdate, steps: list[torch.Tensor]) -> None:
        for each in steps:
            propose(net, STEP)
            net.get_parameter("stage1").grad = -each.double() / net.reference_conductance
            update.step()

    run(net, update, wanted[:3])
    twin.load_state_dict(net.state_dict())
    restored.load_state_dict(update.state_dict())
    restored.load_hardware_state(update.hardware_state())
    for each in ((net, update), (twin, restored)):
        run(*each, wanted[3:])
    for ours, theirs in zip(net.parameters(), twin.parameters(), strict=True):
        assert torch.equal(ours, theirs)
    assert update.pulses() == restored.pulses()
    assert update.energy == restored.energy


def test_a_state_of_other_hardware_is_refused():
    net = network()
    update = pulsed(net, MixedPrecision())
    other = pulsed(network(), FixedStep())
    with pytest.raises(CheckpointError, match=r"must be of these devices and this scheme, found another stage1.memory"):
        other.load_hardware_state(update.hardware_state())
    with pytest.raises(CheckpointError, match=r"without pulsed devices have no state, found stage1.array"):
        Update(torch.optim.SGD(net.parameters(), lr=1.0), net).load_hardware_state(update.hardware_state())


@pytest.mark.parametrize(
    ("name", "parameters", "words"),
    [
        ("telepathy", {}, "scheme must be one of fixed, sign, stochastic, verify, .*, found 'telepathy'"),
        ("fixed", {"speed": 1}, "scheme fixed has no parameter 'speed'; it has rounding, max_pulses"),
        ("fixed", {"rounding": "up"}, "FixedStep: rounding must be stochastic or nearest, found 'up'"),
        ("fixed", {"max_pulses": 0}, "FixedStep: max_pulses must be a whole number of at least 1, found 0"),
        ("sign", {"dead_band": -1.0}, "SignStep: dead_band must be finite and not negative, found -1.0"),
        ("stochastic", {"train_length": 2.5}, "train_length must be a whole number of at least 1, found 2.5"),
        ("stochastic", {"manage_length": 1}, "manage_length must be true or false, found 1"),
        ("verify", {"tolerance": 0}, "ProgramAndVerify: tolerance must be positive and finite, found 0"),
        ("stochastic", {"rank": -1}, "rank must be a whole number of at least 1, found -1"),
        ("stochastic", {"rank": False}, "rank must be a whole number of at least 1, found False"),
        ("tiki_taka", {"transfer_rate": 0.0}, "TikiTaka: transfer_rate must be positive and finite, found 0.0"),
    ],
)
def test_bad_schemes_are_refused(name: str, parameters: dict[str, Any], words: str):
    with pytest.raises(DeviceParameterError, match=words):
        update_scheme(name, **parameters)


def test_only_one_row_of_a_pair_can_be_held():
    with pytest.raises(DeviceParameterError, match="OneOfPair: held must be negative or positive, found 'left'"):
        OneOfPair(FixedStep(), "left")  # pyright: ignore[reportArgumentType]


def test_names_stand_for_devices_and_schemes():
    net = network()
    update = PulsedUpdate(torch.optim.SGD(net.parameters(), lr=1.0), net, device="EcRam", scheme="verify")
    assert isinstance(update.scheme, ProgramAndVerify)
    assert update.device.step_noise == 0.3


def test_the_energy_of_pulses_does_not_depend_on_where_arrays_lie_in_memory():
    draw = np.random.default_rng(0)
    counts = draw.integers(1, 9, 256)
    rounds, places = pulse_rounds(counts)
    drawn = [draw.normal(1, 0.5, rounds[-1]), 0.5 * draw.normal(size=256), draw.random((2, 512)) * [[0.01], [-0.01]]]
    bounds, index = np.array([[-1.0], [1.0]]).repeat(256, 1), np.arange(256)
    found = set()
    for _ in range(1500):
        room = [np.empty(draw.integers(100, 2000)) for _ in range(draw.integers(0, 4))]
        factors, state, lines = (each.copy() for each in drawn)
        weights, history, passed = np.ones(2), np.zeros((2, 256), np.int64), np.zeros(())
        follow_lines(index, counts, rounds, places.copy(), factors, state, bounds, lines, weights, history, passed)
        found.add(float(passed))
        del room
    assert len(found) == 1
