"""Training on a chip: what its cells hold, what a spec says of it, and that a run keeps it."""

# pyright: reportAttributeAccessIssue=false, reportOptionalMemberAccess=false

import math
from dataclasses import replace
from typing import Any, cast

import numpy as np
import pytest
import torch
from resistive import resistive, resistive_network

from analog_ep.circuit import Cells, Chip, Converter, Converters, draw_faults, read_faults
from analog_ep.errors import AnalogEPError, CheckpointError, CircuitError, DataError, SpecError
from analog_ep.learning import Update
from analog_ep.learning.training import accuracy, predictions
from analog_ep.learning.updates.cell_update import CellUpdate
from analog_ep.networks import ResistiveNetwork
from analog_ep.runs.chips import build_chip
from analog_ep.runs.folder import CHIP, Run
from analog_ep.runs.trained import cross_checked, export_deck, trained_circuit
from analog_ep.spec import default_spec, load_spec, with_values
from analog_ep.spec.study import load_study
from analog_ep.support.resources import specs_folder

LOW, HIGH = 1e-7, 1e-4
NOISY = {
    "conductance_spread": 0.1,
    "saturation_current_spread": 0.3,
    "ideality_spread": 0.02,
    "amplifier_offset": 5e-3,
    "temperature": 320.0,
    "temperature_coefficient": 1e-3,
    "stuck": 0.1,
    "open": 0.05,
    "levels": 64,
    "rounding": "stochastic",
}


def iris(**tables):
    spec = default_spec("iris")
    return with_values(spec, training={"epochs": 2, **tables.pop("training", {})}, **tables)


def network(sizes=(20, 30, 3), dtype=torch.float64):
    return ResistiveNetwork(sizes, conductance_range=(LOW, HIGH), dtype=dtype, seed=2)


def sgd(net, chip, rate=1.0, seed=0):
    return CellUpdate(Update(torch.optim.SGD(net.parameters(), lr=rate), net), net, chip, seed)


def pushed(net, by):
    """A gradient that asks every θ to change by `by` at a rate of 1."""
    for parameter in net.parameters():
        parameter.grad = torch.full_like(parameter, -by)


def test_faults_have_their_fractions_and_stay_where_they_are():
    net = network((100, 100, 10))
    values = draw_faults(net.circuit(), 1, (LOW, HIGH), low=0.05, high=0.1, open_=0.2)
    drawn = np.concatenate(list(values.values()))
    for value, fraction in ((LOW, 0.05), (HIGH, 0.1), (1e-12, 0.2)):
        assert np.mean(drawn == value) == pytest.approx(fraction, abs=4 * math.sqrt(fraction / len(drawn)))
    chip = Chip({"stage1.siemens": np.full(len(values["stage1.siemens"]), 1.1)}, values)
    update = sgd(net, chip)
    stuck = {name: torch.from_numpy(values[f"{name}.siemens"]).reshape(p.shape) for name, p in net.named_parameters()}
    for _ in range(3):
        before = {name: value.clone() for name, value in net.conductances.items()}
        pushed(net, 0.01)
        update.step()
        for name, after in net.conductances.items():
            sound = torch.isnan(stuck[name])
            assert torch.equal(after[~sound], before[name][~sound])
            torch.testing.assert_close(after[~sound], stuck[name][~sound].clamp(LOW, HIGH))
            free = sound & (before[name] < HIGH - 2e-6)
            torch.testing.assert_close(after[free], before[name][free] + 0.01 * HIGH)
    nominal, fault = net.circuit().group("stage1"), values["stage1.siemens"][net.circuit().group("stage1").index]
    expected = np.where(np.isnan(fault), 1.1 * nominal.siemens, fault)
    np.testing.assert_allclose(net.circuit(chip).group("stage1").siemens, expected, rtol=1e-14)


def test_a_cell_that_one_of_twin_arrays_can_move_moves():
    net = network((4, 3, 2))
    key, n = "stage1.siemens", net.theta("stage1").numel()
    both, first = np.arange(n) == 3, np.arange(n) < 6
    chip = Chip({}, {key: np.where(first, LOW, np.nan)}, twin=Chip({}, {key: np.where(both, HIGH, np.nan)}))
    update, before = sgd(net, chip), net.theta("stage1").detach().clone()
    pushed(net, 1e-3)
    update.step()
    moved = (net.theta("stage1") != before).flatten().detach().numpy()
    assert np.array_equal(moved, ~both)


def test_levels_are_equally_spaced_and_rounding_is_right_on_average():
    for rounding in ("nearest", "stochastic", "carried"):
        net = network((100, 100, 10))
        update = sgd(net, Chip({}, cells=Cells(16, rounding)))
        spacing = (HIGH - LOW) / 15
        start = net.conductances["stage1"]
        for _ in range(10):
            pushed(net, 0.1 * spacing / HIGH)
            update.step()
        codes = (net.conductances["stage1"] - LOW) / spacing
        torch.testing.assert_close(codes, codes.round(), rtol=0, atol=1e-9)
        inside = start < HIGH - 2 * spacing
        gained = float((net.conductances["stage1"] - start)[inside].mean() / spacing)
        expected = {"nearest": 0.0, "stochastic": 1.0, "carried": 1.0}[rounding]
        assert gained == pytest.approx(expected, abs=1e-9 if rounding == "nearest" else 0.02)


def test_cells_decay_towards_their_lowest_conductance_and_diffuse():
    net = network((100, 100, 10))
    update, start = sgd(net, Chip({}, cells=Cells(retention=5.0))), net.conductances["stage1"]
    for _ in range(10):
        pushed(net, 0.0)
        update.step()
    torch.testing.assert_close(net.conductances["stage1"] - LOW, (start - LOW) * math.exp(-2), rtol=1e-9, atol=0)
    net = network((100, 100, 10))
    middle = {name: torch.full_like(value, 0.5 * HIGH) for name, value in net.conductances.items()}
    net.set_conductances(middle)
    update = sgd(net, Chip({}, cells=Cells(diffusion=0.01)))
    for _ in range(9):
        pushed(net, 0.0)
        update.step()
    walked = torch.cat([value.flatten() for value in net.conductances.values()]) - 0.5 * HIGH
    assert float(walked.std()) == pytest.approx(0.03 * (HIGH - LOW), rel=0.03)


def test_diffusion_is_a_share_of_the_range_above_the_lowest_conductance():
    net = ResistiveNetwork((100, 100, 10), conductance_range=(0.8 * HIGH, HIGH), dtype=torch.float64, seed=2)
    net.set_conductances({name: torch.full_like(g, 0.9 * HIGH) for name, g in net.conductances.items()})
    update = sgd(net, Chip({}, cells=Cells(diffusion=0.01)))
    pushed(net, 0.0)
    update.step()
    walked = torch.cat([value.flatten() for value in net.conductances.values()]) - 0.9 * HIGH
    assert float(walked.std()) == pytest.approx(0.01 * 0.2 * HIGH, rel=0.03)


@pytest.mark.parametrize("rounding", ["stochastic", "carried"])
def test_the_state_of_the_cells_goes_on_where_it_was_saved(rounding):
    chip = Chip({}, cells=Cells(16, rounding, diffusion=1e-3))
    nets = [network(), network()]
    updates = [sgd(net, chip) for net in nets]
    for _ in range(3):
        pushed(nets[0], 0.01)
        updates[0].step()
    nets[1].load_state_dict(nets[0].state_dict())
    updates[1].load_hardware_state({name: value.clone() for name, value in updates[0].hardware_state().items()})
    for net, update in zip(nets, updates, strict=True):
        pushed(net, 0.01)
        update.step()
    assert all(torch.equal(a, b) for a, b in zip(nets[0].parameters(), nets[1].parameters(), strict=True))
    with pytest.raises(CheckpointError, match="the state must be of these cells, found another cells"):
        updates[1].load_hardware_state({})


def test_a_map_names_the_faulty_cells(tmp_path):
    circuit, path = network((4, 3, 2)).circuit(), tmp_path / "faults.csv"
    path.write_text("parameter,index,fault\nstage1,0,low\nstage1,5,high\nstage2,1,open\n")
    values = read_faults(circuit, path, (LOW, HIGH))
    for name, wanted in (("stage1", {0: LOW, 5: HIGH}), ("stage2", {1: 1e-12})):
        found = {index: v for index, v in enumerate(values[f"{name}.siemens"]) if not np.isnan(v)}
        assert found == wanted


@pytest.mark.parametrize("row", ["stage3,0,low", "stage1,30,low", "stage1,-1,low", "stage1,0,broken", "stage1", ""])
def test_a_map_of_another_network_is_refused(row, tmp_path):
    path = tmp_path / "faults.csv"
    path.write_text(f"parameter,index,fault\n{row or 'x,y,z'}\n")
    with pytest.raises(DataError, match="must name a parameter"):
        read_faults(network((4, 3, 2)).circuit(), path, (LOW, HIGH))
    with pytest.raises(DataError, match="must be a readable file, found: No such file"):
        read_faults(network((4, 3, 2)).circuit(), tmp_path / "none.csv", (LOW, HIGH))


@pytest.mark.ngspice
def test_a_run_on_a_noisy_chip_agrees_with_ngspice(tmp_path):
    spec = iris(
        chip={**NOISY, "gain_spread": 0.01, "feedback_spread": 0.01},
        converters={"dac_bits": 8, "dac_range": 20.0, "dac_offset": 1e-3, "adc_bits": 10, "adc_range": [5.0]},
        gradient={"nudging": 1e-4},
    )
    run = Run.create(tmp_path / "run", spec)
    run.train()
    result = cross_checked(run.path, 20)
    assert result.passed
    assert result.max_voltage_error <= 1e-8
    assert not result.reciprocal
    chip = Chip.load(run.path / CHIP)
    assert len(np.unique(np.round(resistive(run.trainer.network).conductances["stage1"].numpy() / 1e-9))) <= 64
    plain = predictions(run.trainer.network, run.trainer._test[0])
    assert not torch.equal(plain, predictions(run.trainer.network, run.trainer._test[0], chip=chip))
    assert run.trainer.history[-1].test_accuracy == accuracy(run.trainer.network, *run.trainer._test, chip=chip)
    export_deck(run.path, 0, "both", tmp_path / "deck.cir")
    assert "v_amplifier1_0_offset" in (tmp_path / "deck.cir").read_text()


@pytest.mark.ngspice
def test_each_of_twin_arrays_agrees_with_ngspice(tmp_path):
    run = Run.create(tmp_path / "run", iris(chip={**NOISY, "twin": True}, gradient={"nudging": 1e-4}))
    run.train()
    for array in ("first", "twin"):
        assert cross_checked(run.path, 10, array=array).passed
        export_deck(run.path, 0, "free", tmp_path / f"{array}.cir", array=array)
    assert (tmp_path / "first.cir").read_text() != (tmp_path / "twin.cir").read_text()
    one = Run.create(tmp_path / "one", iris(chip=NOISY))
    with pytest.raises(CheckpointError, match="the run's chip must have twin arrays, found one array"):
        cross_checked(one.path, 1, array="twin")


@pytest.mark.ngspice
def test_an_energy_stays_where_only_conductances_diodes_and_offsets_differ(tmp_path):
    run = Run.create(tmp_path / "run", iris(chip=NOISY, training={"epochs": 1}))
    run.train()
    result = cross_checked(run.path, 10)
    assert result.reciprocal
    assert result.passed
    assert result.min_gradient_cosine >= 0.9999


def test_a_resumed_run_has_its_chip_and_goes_on_to_the_same_bits(tmp_path):
    chip = {**NOISY, "learning_bias": 1e-7, "diffusion": 1e-4}
    converters = {"adc_bits": 8, "adc_range": 5.0, "adc_noise": 1e-3}
    spec = iris(chip=chip, converters=converters, gradient={"nudging": 1e-4}, training={"schedule": "constant"})
    whole, part = (
        Run.create(tmp_path / "whole", spec),
        Run.create(tmp_path / "part", with_values(spec, training={"epochs": 1})),
    )
    whole.train()
    part.train()
    resumed = Run.resume(part.path, spec)
    resumed.train()
    for one, other in zip(whole.trainer.network.parameters(), resumed.trainer.network.parameters(), strict=True):
        assert torch.equal(one, other)
    assert [r.test_accuracy for r in whole.trainer.history] == [r.test_accuracy for r in resumed.trainer.history]
    other = resistive_network(iris(network={"sizes": [4, 7, 3]}))
    build_chip(iris(chip=NOISY, network={"sizes": [4, 7, 3]}), other).save(part.path / CHIP)
    with pytest.raises(CircuitError, match="this chip has 70 elements in stage1, the circuit"):
        Run.resume(part.path)
    (part.path / CHIP).unlink()
    with pytest.raises(CheckpointError, match="must be a whole chip, found none"):
        Run.resume(part.path)


CONVERTED = {"dac_bits": 8, "dac_range": 20.0, "dac_offset": 1e-3, "adc_bits": 8, "adc_range": 5.0, "adc_offset": 1e-3}
STRIPPED: dict[str, Any] = {
    "null converters": lambda chip: replace(chip, converters=None),
    "other converters": lambda chip: replace(chip, converters=replace(chip.converters, adc=(Converter(4, 5.0),))),
    "no offsets": lambda chip: replace(chip, converters=replace(chip.converters, adc_offset={})),
    "no offset of the inputs": lambda chip: replace(chip, converters=replace(chip.converters, dac_offset=np.zeros(0))),
    "no learning circuits": lambda chip: replace(chip, learning=None),
    "comparators": lambda chip: replace(chip, learning=replace(chip.learning, comparator=True)),
    "no biases": lambda chip: replace(chip, learning=replace(chip.learning, bias={})),
    "no twin": lambda chip: replace(chip, twin=None),
    "a sound twin": lambda chip: replace(chip, twin=Chip(chip.twin.factors)),
    "no cells": lambda chip: replace(chip, cells=None),
    "other cells": lambda chip: replace(chip, cells=Cells(32)),
    "no mismatch": lambda chip: replace(chip, factors={}),
    "no faults": lambda chip: replace(chip, values={}),
}


@pytest.mark.parametrize("change", STRIPPED.values(), ids=STRIPPED.keys())
def test_a_chip_without_what_the_spec_asks_for_is_refused(change, tmp_path):
    (tmp_path / "map.csv").write_text("parameter,index,fault\nstage1,0,low\n")
    kinds = {"conductance_spread": 0.1, "twin": True, "levels": 64, "learning_bias": 1e-7}
    spec = iris(chip={**kinds, "fault_map": str(tmp_path / "map.csv")}, converters=CONVERTED)
    run = Run.create(tmp_path / "run", spec)
    (tmp_path / "map.csv").unlink()
    Run.resume(run.path)
    change(run.trainer.chip).save(run.path / CHIP)
    for use in (Run.resume, trained_circuit):
        with pytest.raises(CheckpointError, match=r"^the chip must have .*, as its spec says, found .*; put back"):
            use(run.path)


def test_a_chip_with_what_no_spec_asks_for_is_refused(tmp_path):
    run = Run.create(tmp_path / "run", iris(chip={"conductance_spread": 0.1}))
    chip = Chip.load(run.path / CHIP)
    replace(chip, converters=Converters()).save(run.path / CHIP)
    with pytest.raises(CheckpointError, match="must have no converters, as its spec says, found converters"):
        Run.resume(run.path)
    replace(chip, factors={"stage1.siemens": np.full(100, 2.0), "stage2.siemens": np.ones(132)}).save(run.path / CHIP)
    resumed = Run.resume(run.path)  # measured values in place of the drawn ones are another chip of the same kind
    assert resumed.trainer.chip.factors["stage1.siemens"][0] == 2.0


def test_the_shipped_chips_can_be_built():
    spec = load_spec(specs_folder() / "digits-chip.toml")
    chip = build_chip(spec, resistive_network(spec))
    assert chip.cells == Cells(256, "carried")
    assert np.mean(np.isfinite(chip.values["stage1.siemens"])) == pytest.approx(0.06, abs=0.01)
    cells = load_study(specs_folder() / "studies" / "defects.toml").cells
    twins = {(cell.labels["array"], cell.spec.chip.twin, cell.spec.chip.stuck) for cell in cells}
    assert twins == {
        (name, name == "twin arrays", stuck) for name in ("one array", "twin arrays") for stuck in (0, 0.05, 0.1, 0.2)
    }


def test_the_seed_of_the_chip_is_the_training_s_or_its_own():
    spec = iris(chip={"conductance_spread": 0.1})
    net = resistive_network(spec)

    def factors(**tables):
        return build_chip(with_values(spec, **tables), net).factors["stage1.siemens"]

    assert np.array_equal(factors(), factors())
    assert not np.array_equal(factors(), factors(training={"seed": 1}))
    assert np.array_equal(factors(chip={"seed": 0}), factors(chip={"seed": 0}, training={"seed": 1}))
    twin = build_chip(with_values(spec, chip={"twin": True}), net)
    assert np.array_equal(twin.factors["stage1.siemens"], factors())
    assert not np.array_equal(twin.twin.factors["stage1.siemens"], factors())
    assert build_chip(default_spec("iris"), net) is None


@pytest.mark.parametrize(
    ("tables", "error", "message"),
    [
        ({"chip": {"stuck": 1.5}}, SpecError, r"chip\.stuck must be less than or equal to 1, found 1\.5"),
        ({"chip": {"stuck": 0.5, "stuck_low": 0.1}}, SpecError, "stuck stands for stuck_low and stuck_high"),
        ({"chip": {"stuck": 0.6, "open": 0.6}}, SpecError, r"must be 1 at most in sum, found 1\.2"),
        ({"chip": {"rounding": "stochastic"}}, SpecError, "rounding has a meaning only with levels"),
        ({"chip": {"gain_spread": -1.0}}, SpecError, "chip.gain_spread must be greater than or equal to 0"),
        ({"chip": {"colour": 1}}, SpecError, "chip.colour is not a known key; known are seed, conductance_spread"),
        ({"converters": {"adc_bits": 8}}, SpecError, "adc_bits needs adc_range, found none"),
        ({"converters": {"adc_range": [1.0] * 3}}, SpecError, "must be one range or 2, one per layer, found"),
        (
            {"chip": {"comparator": True}, "gradient": {"method": "small_signal"}},
            SpecError,
            'chip has what only phases that are run can show: gradient.method must be "ep", found "small_signal"',
        ),
        ({"chip": {"threshold_spread": 0.1}}, CircuitError, "no branch has a parameter 'threshold'"),
        ({"chip": {"fault_map": "/nowhere/map.csv"}}, DataError, "the fault map /nowhere/map.csv must be a readable"),
        (
            {"chip": {"temperature": 400.0, "temperature_coefficient": -0.1}},
            SpecError,
            "must leave conductances positive, found a factor of -8.985",
        ),
    ],
)
def test_bad_chips_are_refused_in_one_line_and_nothing_is_written(tables, error, message, tmp_path):
    with pytest.raises(AnalogEPError, match=message) as caught:
        Run.create(tmp_path / "run", with_values(default_spec("iris"), **tables))
    assert type(caught.value) is error
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: Cells(1), "a cell must have at least 2 levels, found 1"),
        (lambda: Cells(8, cast(Any, "up")), "rounding must be one of nearest, stochastic, carried, found 'up'"),
        (lambda: Cells(retention=0.0), r"the retention of a cell must be positive, found 0\.0"),
        (lambda: Cells(diffusion=-1.0), r"the diffusion of a cell must be finite and not negative, found -1\.0"),
        (lambda: draw_faults(network().circuit(), 0, (LOW, HIGH), low=0.6, high=0.6), "must be 0 or more and 1 in sum"),
        (
            lambda: draw_faults(network().circuit(), 0, (LOW, HIGH), open_conductance=0.0),
            "an open cell must be positive",
        ),
    ],
)
def test_cells_outside_their_range(build, message):
    with pytest.raises(CircuitError, match=message):
        build()


def test_cells_are_saved_with_the_chip(tmp_path):
    chip = replace(Chip({}), cells=Cells(32, "carried", 100.0, 1e-3))
    chip.save(tmp_path / "chip")
    assert Chip.load(tmp_path / "chip").cells == chip.cells
