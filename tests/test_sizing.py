"""Designs from a technology: its file, rules against the physics they speak of, impossible budgets, the command."""

# pyright: reportAttributeAccessIssue=false, reportOptionalMemberAccess=false, reportOperatorIssue=false, reportArgumentType=false

import json
import math
from pathlib import Path

import pytest
import torch

from analog_ep import cli
from analog_ep.analyses.settling import settling_in_torch
from analog_ep.circuit.node_capacitance import with_node_capacitance
from analog_ep.constants import thermal_voltage
from analog_ep.devices import ShockleyDiode
from analog_ep.equilibrium import Newton
from analog_ep.equilibrium.equilibrium import solve
from analog_ep.errors import BudgetError, DataError, SpecError
from analog_ep.runs.building import build_network
from analog_ep.runs.trained import test_samples as samples_of
from analog_ep.runs.trained import trained_circuit
from analog_ep.sizing import candidates, rules
from analog_ep.sizing.constraints import Constraint, binding, engineering
from analog_ep.sizing.rules import Design
from analog_ep.sizing.size import DESIGN, size
from analog_ep.sizing.task import Task
from analog_ep.spec import load_spec, parse_spec
from analog_ep.spec.technology import Technology, load_technology
from analog_ep.support.resources import specs_folder

FOLDER = specs_folder() / "technologies"


@pytest.fixture(scope="module")
def technology() -> Technology:
    return load_technology(FOLDER / "1v2.toml")


def changed(technology, **tables):
    values = technology.model_dump(exclude_none=True)
    return Technology.model_validate(
        {name: values.get(name, {}) | tables.get(name, {}) for name in values if name != "segment_resistance"}
    )


@pytest.fixture(scope="module")
def design(technology) -> Design:
    return Design.by_rules(Task.of("digits"), technology)


def test_a_technology_is_read_with_its_units(technology):
    assert technology.supply.voltage == 1.2
    assert technology.rail == 0.6
    assert technology.conductance.range == pytest.approx([1e-9, 1e-6])
    assert technology.junction.saturation_current == pytest.approx(2.75e-15)
    chip = load_technology(FOLDER / "1v2-chip.toml")
    assert chip.conductance.spread == pytest.approx(0.02)
    assert chip.capacitance.sample == pytest.approx(1e-12)


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ('voltage = "1.2 V"', 'volts = "1.2 V"', "supply.volts is not a known key; known are voltage, power, settling"),
        ('voltage = "1.2 V"', 'voltage = "1.2 A"', 'supply.voltage must be in V, such as "1 V", found \'1.2 A\''),
        ('voltage = "1.2 V"', 'voltage = "a V"', "supply.voltage must be in V"),
        ('voltage = "1.2 V"', "voltage = -1", "supply.voltage must be greater than 0, found -1"),
        ('voltage = "1.2 V"', "", "supply.voltage is required, found nothing"),
        ('"1 nS", "1 uS"', '"1 uS", "1 nS"', "conductance must have a range [low, high] with low < high"),
        ("ratio = 100", "ratio = 1", "conductance.ratio must be greater than 1, found 1"),
        ("[junction]", "[junctions]", "junctions is not a known key; known are supply, conductance, junction"),
    ],
)  # fmt: skip
def test_what_is_no_technology(tmp_path, old, new, words):
    text = (FOLDER / "1v2.toml").read_text()
    assert old in text
    path = tmp_path / "t.toml"
    path.write_text(text.replace(old, new))
    with pytest.raises(SpecError) as caught:
        load_technology(path)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_rules_come_near_the_recipe(design):
    """The recipe was found by hand; every number within a factor of three, the ranges the same."""
    recipe = load_spec(specs_folder() / "digits-1v2.toml")
    spec = parse_spec(design.tables(), "test")
    assert spec.network.sizes == recipe.network.sizes
    assert spec.network.conductance_range == pytest.approx(recipe.network.conductance_range)
    assert spec.network.gain == pytest.approx(recipe.network.gain, rel=0.3)
    assert spec.data.input_voltage == recipe.data.input_voltage
    assert 1 / 3 < spec.cost.logit_scale / recipe.cost.logit_scale < 3
    assert 1 / 3 < spec.gradient.nudging / recipe.gradient.nudging < 3
    at_rest = [
        float(ShockleyDiode(each.saturation_current, each.ideality).current(torch.tensor(-each.upper).double()))
        for each in (spec.diode[0], recipe.diode[0])
    ]
    assert 1 / 3 < at_rest[0] / at_rest[1] < 3


def test_a_clamp_carries_what_it_should(design, technology):
    saturation, bias = design.clamp
    assert bias <= 0.9 * technology.rail
    device = ShockleyDiode(saturation, technology.junction.ideality)
    assert float(device.current(torch.tensor(bias).double())) == pytest.approx(design.clamp_current, rel=1e-2)
    # A junction that is large enough anyway is biased less.
    small = Design.by_rules(design.task, changed(technology, junction={"saturation_current": 1e-9}))
    saturation, bias = small.clamp
    assert saturation == pytest.approx(1e-9)
    assert saturation * math.exp(bias / small.knee) == pytest.approx(small.clamp_current)
    assert small.knee == pytest.approx(1.2928 * thermal_voltage())


def test_other_amplifiers_leave_the_nodes(technology):
    design = Design.by_rules(Task.of("iris"), technology)
    outputs, hidden, logits = [], [], []
    for each in (design, design.at_gain(design.gain / 2)):
        spec = parse_spec(each.tables(), "test")
        network = build_network(spec, torch.float64)
        inputs, _ = samples_of(spec, network, slice(0, 5), None)
        state = solve(network, inputs, solver=Newton())
        outputs.append(state.outputs)
        hidden.append(state.layers[0])
        logits.append(state.outputs / spec.cost.logit_scale)
    # The logit scale is rounded to three digits; biases of the second crossbar are not amplified.
    torch.testing.assert_close(hidden[0], hidden[1], rtol=0, atol=2e-3)
    assert float(hidden[0].abs().max()) > 0.02
    spread = [float(each.std(0).mean()) for each in (outputs[0], outputs[1], logits[0], logits[1])]
    assert spread[0] / spread[1] == pytest.approx(2, rel=0.05)
    assert spread[2] / spread[3] == pytest.approx(1, rel=0.05)


def test_faster_ones_leave_the_nodes_too(technology):
    design = Design.by_rules(Task.of("iris"), technology)
    fast = design.at_speed(3.0)
    assert fast.conductance_range[1] / design.conductance_range[1] == pytest.approx(3, rel=0.05)
    assert fast.settling_time == pytest.approx(design.settling_time / 3, rel=0.05)
    states = []
    for each in (design, fast):
        spec = parse_spec(each.tables(), "test")
        network = build_network(spec, torch.float64)
        inputs, _ = samples_of(spec, network, slice(0, 5), None)
        states.append(solve(network, inputs, solver=Newton()).layers[0])
    # Clamp currents and ranges are rounded.
    torch.testing.assert_close(states[0], states[1], rtol=0, atol=2e-3)
    assert design.at_speed(1e9).conductance_range[1] == pytest.approx(technology.conductance.range[1])
    assert design.at_speed(0.5) == design


def test_the_settling_that_the_rules_tell(technology):
    design = Design.by_rules(Task.of("iris"), technology)
    spec = parse_spec(design.tables(), "test")
    network = build_network(spec, torch.float64)
    inputs, _ = samples_of(spec, network, slice(0, 1), None)
    circuit = with_node_capacitance(network.circuit(), technology.capacitance.node)
    found = settling_in_torch(circuit, inputs[0].numpy()).within_share()["o"]
    # Before any training conductances are half of what the rules take.
    assert 0.5 < found / design.settling_time < 3
    assert design.settling_time < technology.supply.settling_time


@pytest.mark.parametrize(
    ("tables", "words"),
    [
        ({"supply": {"voltage": 0.5}}, "current of the junctions at 0 V, Σg·nkT/q of a node: needs 114 nA, has"),
        ({"supply": {"power": 1e-6}}, "static power of an inference: needs"),
        ({"supply": {"settling_time": 1e-9}}, "settling time of the outputs: needs"),
        ({"junction": {"saturation_current": 1e-3}}, "room for the rest current of the smallest junction: needs 1 mA"),
    ],
)
def test_budgets_that_cannot_be(technology, tmp_path, tables, words):
    wanted = changed(technology, **tables)
    with pytest.raises(BudgetError) as caught:
        size(Task.of("digits"), wanted, 0.9, tmp_path / "out")
    said = str(caught.value)
    assert said.startswith(f"no design keeps this budget: {words}")
    assert "times too little; " in said
    assert not (tmp_path / "out").exists()


def test_wires_that_take_the_voltage(technology):
    wired = technology.model_copy(update={"segment_resistance": 1e8})
    with pytest.raises(BudgetError, match="share of the cells' voltage that wires take: needs"):
        size(Task.of("iris"), wired, 0.9, specs_folder() / "nowhere")
    tables = Design.by_rules(Task.of("iris"), wired).tables()
    assert parse_spec(tables, "test").wires.row_resistance == 1e8


def test_tasks_that_cannot_be(technology, tmp_path):
    with pytest.raises(
        DataError, match="a design needs 20 training samples at least, to hold some back, found 4 in xor"
    ):
        Task.of("xor")
    with pytest.raises(SpecError, match="a design needs 1 hidden unit at least, found 0"):
        Task.of("iris", hidden=0)
    for target in (0.0, 1.0, 97.0):
        with pytest.raises(SpecError, match="the target accuracy must lie between 0 and 1"):
            size(Task.of("iris"), technology, target, tmp_path)


def test_what_binds():
    tight, loose = Constraint("power", 1e-5, 2e-5, "W", "x"), Constraint("time", 1e-6, 1e-5, "s", "y")
    sought = Constraint("rails", 0.6, 0.6, "V", "z", sought=True)
    assert binding([loose, sought, tight]) is tight
    assert tight.sentence == "what binds is power: needs 10 µW, has 20 µW, 2 times that"
    beyond = Constraint("rails", 0.9, 0.6, "V", "lower the gain", sought=True)
    assert binding([tight, beyond]) is beyond
    assert beyond.sentence == "rails: needs 900 mV, has 600 mV, 1.5 times too little; lower the gain"
    assert [engineering(v, "A") for v in (2.75e-15, 0.9999e-6, 1.5e6, 0.0)] == ["2.75 fA", "1 µA", "1.5 MA", "0 A"]
    assert engineering(0.025, "%") == "2.50 %"


@pytest.fixture
def quick(monkeypatch):
    """Trainings of a few epochs."""
    monkeypatch.setattr(rules, "_STEPS", 35)
    monkeypatch.setattr(candidates, "_SEEDS", 1)
    logits = candidates.axes()["logit scale"]
    few = {"logit scale": {name: logits[name] for name in ("rule", "twice")}}
    monkeypatch.setattr(candidates, "axes", lambda: few)


def called(*arguments):
    with pytest.raises(SystemExit) as ended:
        cli.main(["size", *map(str, arguments)])
    return ended.value.code


def test_the_command(quick, tmp_path, capsys):
    out = tmp_path / "design"
    arguments = (FOLDER / "1v2-chip.toml", "--data", "iris", "--out", out, "--jobs", 1)
    assert not called(*arguments, "--target", 0.5, "--json")
    found = json.loads(capsys.readouterr().out)
    assert found["kept"]
    assert found["energy_per_inference"] > found["measured"]["power"] * found["measured"]["settling_time"]
    assert {limit["name"] for limit in found["constraints"]} >= {"voltage of the nodes", "static power of an inference"}
    spec = load_spec(out / DESIGN)
    assert spec.chip.conductance_spread == pytest.approx(0.02)
    assert spec.converters.adc_bits == 8
    assert len(spec.converters.adc_range) == 2
    # The trained run is that of the spec, and keeps within the rails as Newton's method sees it.
    stored, network, chip = trained_circuit(Path(found["run"]))
    assert not stored.differences(spec)
    inputs, _ = samples_of(stored, network, slice(0, None), chip)
    voltages = solve(network.circuit(chip), inputs, solver=Newton()).voltages
    assert float(voltages.abs().max()) <= 0.6 * (1 + 1e-6)
    assert found["measured"]["largest"] <= 0.6 * (1 + 1e-6)
    report = (out / "sizing.txt").read_text()
    assert "clamps" in report
    assert "what binds is" in " ".join(report.split())
    # The same command has nothing to train, another task is refused, and a target may be missed.
    before = {path: path.stat().st_mtime_ns for path in out.rglob("checkpoint.safetensors")}
    missed = called(*arguments, "--target", 0.999)
    assert missed.startswith("analog-ep: the design does not keep every limit: share of the test samples that is wrong")
    assert "of the hardware what binds is" in missed
    assert {path: path.stat().st_mtime_ns for path in out.rglob("checkpoint.safetensors")} == before
    refused = called(FOLDER / "1v2.toml", "--data", "iris", "--out", out)
    assert "must be new or of the same task and technology, found another's" in refused
