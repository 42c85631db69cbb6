"""Two networks side by side on the same charges, one free and one nudged: in ngspice and as predicted."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from test_self_learning import TIMING, changes, lesson, network, worst

from analog_ep.circuit import (
    Chip,
    CircuitBuilder,
    Conductances,
    CurrentControlledCurrentSources,
    VoltageSources,
    check_circuit,
)
from analog_ep.circuit.twins import Twins
from analog_ep.circuit.update_cells import UpdateCells
from analog_ep.equilibrium import Newton, solve
from analog_ep.errors import CircuitError, SpecError, StimulusError
from analog_ep.learning.gradients.propagation import EquilibriumPropagation
from analog_ep.learning.ngspice_learning import learn_in_ngspice, learning_deck
from analog_ep.learning.self_learning import predict_learning
from analog_ep.netlist.timing import TwinTiming
from analog_ep.runs.folder import Run
from analog_ep.runs.learning_export import export_learning
from analog_ep.runs.trained import trained_network
from analog_ep.spec import with_values
from analog_ep.spec.reading import load_spec
from analog_ep.stimulus import NudgeKind, SquaredError
from analog_ep.support.resources import specs_folder

AT_ONCE = TwinTiming(3e-7, 1e-7)


def twin_lesson(order=((0, 1, 2, 3),), kind: NudgeKind = "elastic", **options):
    return replace(lesson(order, kind, **options), timing=AT_ONCE)


def twin_spec(**training):
    return with_values(load_spec(specs_folder() / "xor-learns.toml"), self_learning={"form": "twin"}, training=training)


def mismatched(net, spread):
    first, second = (Chip.draw(net.circuit(), seed=seed, siemens=spread) for seed in (1, 2))
    return replace(first, twin=second)


@pytest.mark.ngspice
@pytest.mark.parametrize("kind", ["frozen", "elastic"])
def test_every_update_circuit_makes_the_step_of_equilibrium_propagation(kind):
    net, one = network(), twin_lesson([[1]], kind)
    method = EquilibriumPropagation(net, 5e-5, SquaredError(), variant="positive", kind=kind)
    _, gradients = method.gradients(torch.from_numpy(one.inputs[1:2]), one.nudge.target[1:2])
    step = np.concatenate([-0.2 * 0.999 * g.numpy().ravel() for g in gradients.values()])
    assert np.abs(step).max() > 0.01
    np.testing.assert_allclose(changes(predict_learning(net, one), net), step, rtol=1e-9, atol=1e-15)
    np.testing.assert_allclose(changes(learn_in_ngspice(net, one), net), step, rtol=2e-3, atol=2e-5)


@pytest.mark.ngspice
def test_ngspice_learns_what_is_predicted():
    net, two = network(1), twin_lesson([[0, 1, 2, 3], [3, 1, 0, 2]])
    found, expected = learn_in_ngspice(net, two), predict_learning(net, two)
    assert np.abs(changes(expected, net)).max() > 0.05
    assert worst(found, expected) < 2e-4
    np.testing.assert_allclose(found.costs, expected.costs, rtol=1e-3)
    np.testing.assert_allclose(found.right, expected.right, atol=5e-3)
    np.testing.assert_allclose(found.outputs, expected.outputs, atol=1e-3)
    # Without flaws it is the step of one network in two phases.
    assert worst(predict_learning(net, replace(two, timing=TIMING)), expected) < 1e-9


@pytest.mark.ngspice
@pytest.mark.parametrize("kind", ["frozen", "elastic"])
def test_a_twin_that_differs_biases_every_step(kind):
    # So far apart, and several steps long, that what the nudged twin begins its search from must not count.
    net, one = network(2), twin_lesson([[0, 1, 2, 3]], kind)
    chip = mismatched(net, 0.02)
    found, expected = learn_in_ngspice(net, one, chip), predict_learning(net, one, chip)
    assert worst(found, expected) < 5e-4
    assert worst(predict_learning(net, one, replace(chip, twin=None)), expected) > 0.01


@pytest.mark.ngspice
def test_flaws_of_the_cells():
    net, cells = network(2), UpdateCells(offset_spread=5e-4, gain_spread=0.2, leak_time=1e-4, seed=3)
    flawed = twin_lesson([[0, 1, 2]], cells=cells)
    found, expected = learn_in_ngspice(net, flawed), predict_learning(net, flawed)
    assert worst(found, expected) < 5e-4
    for without in ({"offset_spread": 0.0}, {"gain_spread": 0.0}, {"leak_time": np.inf}):
        assert worst(predict_learning(net, replace(flawed, cells=replace(cells, **without))), expected) > 3e-3


@pytest.mark.ngspice
def test_stuck_cells_of_either_twin():
    net, values = network(3), np.full(18, np.nan)
    values[[0, 4, 9]] = [1e-4, 1e-7, 5e-5]
    chip = Chip({}, {"stage1.siemens": values}, twin=Chip({}, {"stage1.siemens": values}))
    one = twin_lesson([[0, 1, 2, 3]], rate=0.5)
    found, expected = learn_in_ngspice(net, one, chip), predict_learning(net, one, chip)
    assert worst(found, expected) < 2e-3
    assert worst(predict_learning(net, one), expected) > 0.01


@pytest.mark.ngspice
def test_twins_share_their_sources_and_nothing_else():
    net = network()
    circuit = net.circuit()
    twins = Twins.of(circuit, circuit)
    check_circuit(twins.circuit)
    inputs = torch.tensor([[1.0, -2.0]], dtype=torch.float64)
    alone, both = (solve(each, inputs, solver=Newton()).voltages[0].numpy() for each in (circuit, twins.circuit))
    np.testing.assert_allclose(both[: circuit.n_nodes], alone, rtol=0, atol=1e-12)
    np.testing.assert_allclose(both[twins.twin_of], alone, rtol=0, atol=1e-12)
    deck, _ = learning_deck(net, twin_lesson(), None, 1e-12)
    n = sum(g.numel() for g in net.conductances.values())
    assert deck.count("learning_cell low=") == deck.count("learning_twin low=") == n
    assert "v(phase)" not in deck.split("* clocks")[1]
    assert "Twins on the same charges" in deck


def test_what_cannot_have_a_twin():
    builder = CircuitBuilder("follower")
    builder.add_nodes(["s", "a"])
    builder.add(VoltageSources("v", "s", "0", 0.0, 0))
    builder.add(Conductances("r", ["s", "a"], ["a", "0"], 1e-5, "r", [0, 1]))  # pyright: ignore[reportArgumentType]
    builder.add(CurrentControlledCurrentSources("f", "a", "0", "v", [0], 0.1))  # pyright: ignore[reportArgumentType]
    builder.set_outputs("a", "0")
    circuit = builder.build()
    with pytest.raises(CircuitError, match="f: twins share their sources, whose currents must not be followed"):
        Twins.of(circuit, circuit)
    with pytest.raises(CircuitError, match="twins must have the same nodes and groups, found others than 'follower'"):
        Twins.of(circuit, network().circuit())
    with pytest.raises(StimulusError, match="the write phase must last a positive and finite time, found 0"):
        TwinTiming(1e-7, 0.0)
    with pytest.raises(StimulusError, match="the free phase must last 7 of the network's slowest time constants"):
        learn_in_ngspice(network(), replace(twin_lesson(), timing=TwinTiming(1e-8, 1e-7)))


def test_specs_of_twins():
    spec = twin_spec()
    assert spec.self_learning is not None
    assert spec.self_learning.timing == TwinTiming(3e-7, 1e-7)
    with pytest.raises(SpecError, match=r'self_learning.nudged has no meaning with form = "twin", .* found 2e-07'):
        with_values(spec, self_learning={"nudged": 2e-7})
    assert with_values(spec, chip={"twin": True, "conductance_spread": 0.001}).chip is not None
    with pytest.raises(SpecError, match=r"chip\.twin has no meaning with self_learning"):
        with_values(spec, chip={"twin": True, "conductance_spread": 0.001}, self_learning={"form": "phases"})


@pytest.mark.ngspice
def test_a_run_of_twins_learns_in_ngspice_and_is_exported(tmp_path):
    spec = with_values(twin_spec(epochs=1, seed=0), network={"sizes": [2, 3, 2]})
    Run.create(tmp_path / "predicted", spec).train()
    Run.create(tmp_path / "run", with_values(spec, gradient={"solver": "ngspice-learning"})).train()
    networks = [trained_network(tmp_path / name)[1] for name in ("run", "predicted")]
    first, second = (torch.cat([g.ravel() for g in net.conductances.values()]) for net in networks)
    assert float((first - second).abs().max()) < 1e-3 * 1e-4
    assert export_learning(tmp_path / "run", tmp_path / "twins.cir", epochs=3) > 0
    assert (tmp_path / "twins.cir").read_text().count("* x_stage1_twin") == 0
    assert "x_stage1_twin_0 " in (tmp_path / "twins.cir").read_text()
