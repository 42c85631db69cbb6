"""Networks whose conductances have update circuits of their own, in ngspice and as predicted."""

import re
from dataclasses import replace

import numpy as np
import pytest
import torch
from plain_ngspice import run_measured
from reference_decks import xor_learns_lesson

from analog_ep.checking import CrossCheck
from analog_ep.circuit import Chip
from analog_ep.circuit.learning_circuit import LearningCircuit
from analog_ep.circuit.node_capacitance import with_node_capacitance
from analog_ep.circuit.update_cells import UpdateCells
from analog_ep.devices import ShockleyDiode
from analog_ep.equilibrium import Newton, solve
from analog_ep.errors import CircuitError, NgspiceResultError, SpecError, StimulusError
from analog_ep.learning.gradients.propagation import EquilibriumPropagation
from analog_ep.learning.ngspice_learning import learn_in_ngspice, learning_deck, learnt_of
from analog_ep.learning.self_learning import predict_learning
from analog_ep.netlist.learning_deck import write_learning_deck
from analog_ep.netlist.lesson import Lesson
from analog_ep.netlist.timing import LearningTiming
from analog_ep.networks import ResistiveNetwork
from analog_ep.runs.building import build_conductances
from analog_ep.runs.folder import Run
from analog_ep.runs.learning_export import export_learning
from analog_ep.runs.teaching import whole_lesson
from analog_ep.runs.trained import cross_checked, trained_network
from analog_ep.spec import default_spec, parse_spec, with_values
from analog_ep.spec.reading import load_spec
from analog_ep.stimulus import CrossEntropy, Nudge, NudgeKind, SquaredError
from analog_ep.support.resources import netlists_folder, specs_folder

TIMING = LearningTiming(3e-7, 3e-7, 1e-7)
INPUTS = np.array([[-1.0, -1.0], [-1.0, 1.0], [1.0, -1.0], [1.0, 1.0]]) * 3
SIGNS = torch.tensor([[-1.0], [1.0], [1.0], [-1.0]], dtype=torch.float64)


def network(seed=0, outputs=1):
    return ResistiveNetwork(
        [2, 3, outputs],
        diode=ShockleyDiode(saturation_current=1e-8),
        initial_range=(5e-6, 3.5e-5),
        seed=seed,
        dtype=torch.float64,
    )


def lesson(order=((0, 1, 2, 3),), kind: NudgeKind = "elastic", cells=None, rate=0.2, **changes):
    nudge = Nudge(5e-5, 0.3 * SIGNS, SquaredError(), kind)
    return Lesson(INPUTS, nudge, np.array(order), TIMING, rate, cells or UpdateCells(), **changes)


def worst(found, expected):
    return max(float(np.abs(found.weights[name] - expected.weights[name]).max()) for name in expected.weights)


def changes(learnt, net):
    """Δw of all conductances since the network's own."""
    starts = {name: (g.detach().numpy().ravel() - 1e-7) / 9.99e-5 for name, g in net.conductances.items()}
    return np.concatenate([learnt.weights[name] - starts[name] for name in starts])


@pytest.mark.parametrize("kind", ["frozen", "elastic"])
def test_a_predicted_change_is_the_gradient_of_equilibrium_propagation(kind):
    net = network()
    one = lesson([[1]], kind)
    learnt = predict_learning(net, one)
    method = EquilibriumPropagation(net, 5e-5, SquaredError(), variant="positive", kind=kind)
    _, gradients = method.gradients(torch.from_numpy(INPUTS[1:2]), 0.3 * SIGNS[1:2])
    # θ = g/g_ref, w = (g − g_min)/(g_max − g_min).
    expected = np.concatenate([-0.2 * 0.999 * g.numpy().ravel() for g in gradients.values()])
    np.testing.assert_allclose(changes(learnt, net), expected, rtol=1e-9, atol=1e-15)


@pytest.mark.ngspice
@pytest.mark.parametrize("kind", ["frozen", "elastic"])
def test_every_update_circuit_makes_the_step_of_equilibrium_propagation(kind):
    net, one = network(), lesson([[1]], kind)
    found, expected = (changes(learn(net, one), net) for learn in (learn_in_ngspice, predict_learning))
    assert np.abs(expected).max() > 0.01
    np.testing.assert_allclose(found, expected, rtol=2e-3, atol=2e-6)


@pytest.mark.ngspice
def test_ngspice_learns_what_is_predicted():
    net, two = network(1), lesson([[0, 1, 2, 3], [3, 1, 0, 2]])
    found, expected = learn_in_ngspice(net, two), predict_learning(net, two)
    assert np.abs(changes(expected, net)).max() > 0.05
    assert worst(found, expected) < 1e-3
    np.testing.assert_allclose(found.costs, expected.costs, rtol=5e-3)
    np.testing.assert_allclose(found.right, expected.right, atol=5e-3)
    np.testing.assert_allclose(found.outputs, expected.outputs, atol=1e-3)


@pytest.mark.ngspice
def test_flaws_of_the_cells_and_of_the_chip_are_those_of_the_deck():
    net = network(2, outputs=2)
    nudge = Nudge(2e-6, torch.eye(2, dtype=torch.float64)[[0, 1, 1, 0]], CrossEntropy(0.1), "elastic")
    cells = UpdateCells(offset_spread=5e-4, gain_spread=0.2, leak_time=2e-5, seed=3)
    flawed = Lesson(INPUTS, nudge, np.array([[0, 1, 2]]), TIMING, 0.004, cells)
    chip = Chip.draw(net.circuit(), seed=1, siemens=0.2, gain=0.05)
    found, expected = learn_in_ngspice(net, flawed, chip), predict_learning(net, flawed, chip)
    assert worst(found, expected) < 5e-4
    # Each of them shows.
    for without in ({"offset_spread": 0.0}, {"gain_spread": 0.0}, {"leak_time": np.inf}):
        assert worst(predict_learning(net, replace(flawed, cells=replace(cells, **without)), chip), expected) > 3e-3
    assert worst(predict_learning(net, flawed), expected) > 3e-3


@pytest.mark.ngspice
def test_stuck_and_open_cells_stay_as_they_are():
    net = network(3)
    values = np.full(18, np.nan)
    values[[0, 4, 9, 13]] = [1e-4, 1e-7, 1e-12, 5e-5]
    chip = Chip(factors={}, values={"stage1.siemens": values})
    two = lesson([[0, 1, 2, 3], [2, 0, 3, 1]], rate=1.0)
    found, expected = learn_in_ngspice(net, two, chip), predict_learning(net, two, chip)
    assert worst(found, expected) < 2e-3
    assert worst(predict_learning(net, two), expected) > 0.01


@pytest.mark.parametrize("solver", ["torch", "ngspice-learning"])
def test_phases_too_short_to_settle_are_refused(solver, tmp_path):
    spec = with_values(
        load_spec(specs_folder() / "xor-learns.toml"), self_learning={"free": 1e-8}, gradient={"solver": solver}
    )
    with pytest.raises(StimulusError, match="the free phase must last 7 of the network's slowest time constants"):
        Run.create(tmp_path / "run", spec).train()


@pytest.mark.ngspice
def test_a_check_tells_the_bias_of_the_large_nudge_and_does_not_judge_it(tmp_path):
    Run.create(
        tmp_path / "run", with_values(load_spec(specs_folder() / "xor-learns.toml"), training={"epochs": 1})
    ).train()
    result = cross_checked(tmp_path / "run", 2)
    assert result.passed
    assert isinstance(result, CrossCheck)
    assert 0.01 < abs(result.exact.ratio - 1) < 0.5


@pytest.mark.ngspice
def test_charges_stay_within_their_bounds():
    found = learn_in_ngspice(network(), lesson([[0, 1], [2, 3]], rate=20.0))
    weights = np.concatenate(list(found.weights.values()))
    assert weights.min() > -0.02 and weights.max() < 1.02  # noqa: PT018
    assert (weights < 0.02).any() and (weights > 0.98).any()  # noqa: PT018


@pytest.mark.ngspice
def test_the_deck_in_the_repository_begins_to_learn_as_predicted(tmp_path):
    net, whole = xor_learns_lesson()
    epochs = 3
    end = epochs * whole.order.shape[1] * whole.timing.period
    text = (netlists_folder() / "xor_learns.cir").read_text()
    shorter = re.sub(r"(?m)^(\.tran \S+) \S+", rf"\1 {end!r}", text)
    path = tmp_path / "begins.cir"
    path.write_text(shorter)
    printed = run_measured(path)
    expected = predict_learning(net, replace(whole, order=whole.order[:epochs]))
    found = [printed[f"cost_{epoch}"] for epoch in range(1, epochs + 1)]
    np.testing.assert_allclose(found, expected.costs, rtol=1e-2)


def test_xor_is_learnt():
    spec = with_values(load_spec(specs_folder() / "xor-learns.toml"), training={"seed": 5})
    net = build_conductances(spec, torch.float64)
    learnt = predict_learning(net, whole_lesson(spec, net, spec.training.epochs))
    lead = np.abs(learnt.outputs[:4, 0] - learnt.outputs[:4, 1])
    assert learnt.right[-1] == 1.0
    assert lead.min() > 0.2
    assert learnt.costs[-1] < 1e-3 * learnt.costs[0]


@pytest.mark.ngspice
def test_a_run_learns_in_ngspice_and_goes_on(tmp_path):
    short = {"epochs": 1, "seed": 0}
    spec = with_values(load_spec(specs_folder() / "xor-learns.toml"), training=short, network={"sizes": [2, 3, 2]})
    in_ngspice = with_values(spec, gradient={"solver": "ngspice-learning"})
    Run.create(tmp_path / "run", in_ngspice).train()
    longer = with_values(in_ngspice, training=short | {"epochs": 2})
    Run.resume(tmp_path / "run", longer).train()
    Run.create(tmp_path / "predicted", with_values(spec, training=short | {"epochs": 2})).train()
    networks = [trained_network(tmp_path / name)[1] for name in ("run", "predicted")]
    first, second = (torch.cat([g.ravel() for g in net.conductances.values()]) for net in networks)
    assert float((first - second).abs().max()) < 1e-3 * 1e-4
    assert len((tmp_path / "run" / "metrics.csv").read_text().splitlines()) == 3


def test_a_run_is_exported_as_a_deck_that_learns(tmp_path):
    spec = with_values(load_spec(specs_folder() / "xor-learns.toml"), training={"epochs": 1})
    Run.create(tmp_path / "run", spec).train()
    seconds = export_learning(tmp_path / "run", tmp_path / "learns.cir", epochs=7)
    deck = (tmp_path / "learns.cir").read_text()
    assert 1 < seconds < 60
    assert "Epochs: 7 of 4 presentations" in deck
    assert "cost_7" in deck and "cost_8" not in deck  # noqa: PT018
    Run.create(tmp_path / "other", default_spec("xor"))
    with pytest.raises(SpecError, match=r"\[self_learning\] table, found none"):
        export_learning(tmp_path / "other", tmp_path / "none.cir")


@pytest.mark.ngspice
def test_charges_are_measured_where_a_deck_ends_with_learning():
    """After 16 presentations ngspice's last point lies before the time that it is told, by rounding."""
    net = ResistiveNetwork([2, 1], bias_voltage=None, initial_range=(5e-6, 3.5e-5), dtype=torch.float64)
    whole = lesson(order=[[0, 1, 2, 3] * 4], examined=np.zeros(0, dtype=np.int64))
    found, expected = learn_in_ngspice(net, whole), predict_learning(net, whole)
    assert worst(found, expected) < 2e-3


@pytest.mark.parametrize(
    ("table", "values", "message"),
    [
        ("training", {"optimizer": "adam"}, 'training.optimizer must be "sgd", found "adam"'),
        ("training", {"batch_size": 4}, "training.batch_size must be 1, found 4"),
        ("training", {"schedule": "cosine"}, "training.schedule must be"),
        ("gradient", {"variant": "centered"}, "gradient.variant must be"),
        ("chip", {"levels": 16}, "chip.levels has no meaning with self_learning"),
        ("chip", {"twin": True}, "chip.twin has no meaning with self_learning"),
        ("chip", {"comparator": True}, "chip.comparator has no meaning with self_learning"),
        ("self_learning", {"write": 0.0}, "self_learning.write"),
        ("self_learning", {"offset_spread": -1.0}, "self_learning.offset_spread"),
    ],
)
def test_specs_that_circuits_cannot_follow(table, values, message):
    with pytest.raises(SpecError, match=message):
        with_values(load_spec(specs_folder() / "xor-learns.toml"), **{table: values})


def test_ngspice_learning_needs_its_table():
    with pytest.raises(SpecError, match=r"needs a \[self_learning\] table"):
        with_values(default_spec("xor"), gradient={"solver": "ngspice-learning"})
    tables = {"data": {"source": "digits"}, "network": {"kind": "hopfield", "sizes": [64, 10]}, "self_learning": {}}
    with pytest.raises(SpecError, match="self_learning has no meaning"):
        parse_spec(tables, "here")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"inputs": INPUTS[:0]}, "a sample at least"),
        ({"inputs": INPUTS[:3]}, "found 3 samples and 4 targets"),
        ({"order": np.array([[4]])}, "must name samples 0 to 3, found 0 to 4"),
        ({"order": np.zeros((0, 4), dtype=int)}, "n_epochs, n_learned"),
        ({"cells": UpdateCells(leak_time=1e-6)}, "must keep for 10 presentations"),
        ({"rate": -1.0}, "must be positive and finite, found -1.0"),
        ({"nudge": Nudge(-1e-6, SIGNS, SquaredError())}, "must be positive, found -1e-06"),
    ],
)
def test_lessons_that_cannot_be_held(change, message):
    with pytest.raises(StimulusError, match=message):
        replace(lesson(), **change)


def test_what_makes_no_deck():
    net = network()
    ranges = {name: net.range_of(name) for name in net.conductances}
    with pytest.raises(StimulusError, match="needs node capacitances"):
        write_learning_deck(net.circuit(), lesson(), ranges)
    loaded = with_node_capacitance(net.circuit(), 1e-12)
    with pytest.raises(StimulusError, match="must have 2 inputs, found 1"):
        write_learning_deck(loaded, replace(lesson(), inputs=INPUTS[:, :1]), ranges)
    with pytest.raises(StimulusError, match="must have 1 values, found 2"):
        write_learning_deck(loaded, replace(lesson(), nudge=Nudge(1e-5, SIGNS.repeat(1, 2), SquaredError())), ranges)
    with pytest.raises(CircuitError, match="offsets must be finite and not negative"):
        UpdateCells(offset_spread=-1.0)
    with pytest.raises(CircuitError, match="leak must be positive"):
        UpdateCells(leak_time=0.0)
    for chip in (Chip({}, learning=LearningCircuit(comparator=True)), Chip({}, twin=Chip({}))):
        with pytest.raises(CircuitError, match="learn by circuits of their own has no"):
            predict_learning(net, lesson(), chip)
    with pytest.raises(StimulusError, match="the write phase must last"):
        LearningTiming(1e-6, 1e-6, 0.0)


def test_a_simulation_that_ended_early_is_no_result():
    net, short = network(), lesson()
    with pytest.raises(NgspiceResultError, match="must print cost_1 at the end"):
        learnt_of({}, short, net.circuit())


def test_the_free_outputs_judge_an_epoch():
    net, one = network(), lesson([[2]])
    learnt = predict_learning(net, one)
    free = solve(net, torch.from_numpy(INPUTS[2]), solver=Newton()).outputs
    assert learnt.costs[0] == pytest.approx(float(SquaredError().value(free, 0.3 * SIGNS[2])), rel=1e-9)
    deck, _ = learning_deck(net, one, None, 1e-12)
    assert deck.count("learning_cell low=") == sum(g.numel() for g in net.conductances.values())
