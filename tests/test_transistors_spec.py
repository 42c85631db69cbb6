"""Layers of transistors from a spec: circuits, gradients on chips, trainings."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

import analog_ep as aep
from analog_ep.circuit import Chip, Converter, Converters
from analog_ep.cli import app
from analog_ep.datasets import targets_of
from analog_ep.errors import SpecError
from analog_ep.learning.gradients.branch_gradient import likeness
from analog_ep.runs.building import build_cost, build_dataset, build_gradient, build_network
from analog_ep.runs.chips import build_chip
from analog_ep.spec import load_spec
from analog_ep.spec.reading import parse_spec

SPECS = Path(__file__).parent.parent / "specs"


def spec_of(**changes):
    """The recipe of XOR with other keys, ``table__key``."""
    tables = tomllib.loads((SPECS / "xor-nmos.toml").read_text())
    for key, value in changes.items():
        table, _, name = key.partition("__")
        tables.setdefault(table, {})[name] = value
    return parse_spec(tables, "xor")


def samples(spec, network):
    data = build_dataset(spec, network)
    inputs = data.train_inputs.double()
    return inputs, targets_of(data.train_labels, build_cost(spec), 2, inputs)


def test_voltages_are_those_of_ngspice():
    spec = spec_of()
    network = build_network(spec)
    inputs, _ = samples(spec, network)
    assert network.sizes == (2, 2)
    assert [len(theta) for theta in network.parameters()] == [6 * 8, 18 * 4]
    newton, ngspice = (aep.solve(network, inputs, solver=s).voltages for s in (aep.Newton(), aep.Ngspice()))
    assert (newton - ngspice).abs().max() < 1e-9


def test_a_chip_that_is_known_has_the_exact_gradient_by_its_phases():
    spec = spec_of(chip__gate_threshold_spread=0.03, chip__transconductance_spread=0.1, chip__gain_spread=0.0)
    network = build_network(spec)
    inputs, targets = samples(spec, network)
    chip = build_chip(spec, network)
    assert chip is not None
    cost, solver = build_cost(spec), aep.Newton()
    _, exact = aep.ImplicitDifferentiation(network, cost, chip=chip).gradients(inputs, targets)
    _, found = aep.EquilibriumPropagation(network, 1e-8, cost, solver=solver, chip=chip, known=chip).gradients(
        inputs, targets
    )
    assert 1 - likeness(found, exact).cosine < 1e-6
    _, nominal = aep.EquilibriumPropagation(network, 1e-8, cost, solver=solver, chip=chip).gradients(inputs, targets)
    assert 1e-6 < 1 - likeness(nominal, exact).cosine < 0.05
    thresholds = chip.values["stage1.threshold_voltage"]
    assert 0.01 < thresholds.std() < 0.06
    assert abs(thresholds.mean() - 0.6) < 0.03


def test_reads_have_the_noise_of_the_converters():
    spec = spec_of()
    network = build_network(spec)
    inputs, _ = samples(spec, network)
    state = aep.solve(network, inputs, solver=aep.Newton())
    chip = Chip({}, converters=Converters(adc=(Converter(noise=1e-3),)))
    (read,) = network.read(state.layers, chip, torch.Generator().manual_seed(0))
    off = read - state.layers[0]
    nodes = network.circuit().layers
    seen = torch.zeros(off.shape[-1], dtype=torch.bool)
    for each in nodes.values():
        seen[torch.from_numpy(each.copy())] = True
    assert not off[:, ~seen].any()
    assert 5e-4 < off[:, seen].std() < 2e-3


def test_grounded_gates_have_no_energy_and_learn_by_the_adjoint_network():
    spec = spec_of(network__gates="grounded")
    network = build_network(spec)
    with pytest.raises(SpecError, match='"small_signal" needs a circuit with an energy, found gates = "grounded"; use'):
        build_gradient(spec, network)
    spec = spec_of(network__gates="grounded", gradient__method="adjoint")
    network = build_network(spec)
    inputs, targets = samples(spec, network)
    _, found = build_gradient(spec, network).gradients(inputs, targets)
    _, exact = aep.ImplicitDifferentiation(network, build_cost(spec)).gradients(inputs, targets)
    assert 1 - likeness(found, exact).cosine < 1e-10


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"network__gate_range": [2.0, 1.0]}, r"gate_range must be \[low, high\] with low < high"),
        ({"network__initial_range": [0.1, 1.0]}, "initial_range must lie in gate_range"),
        (
            {"network__device": {"model": "level1", "width": -1e-6}},
            "width must be positive, found -1e-06",
        ),
        (
            {"network__device": {"model": "table", "table": "absent.npz"}},
            "table absent.npz must be a readable file",
        ),
        ({"chip__corner": "ff"}, None),
    ],
)
def test_what_cannot_be_is_refused(changes, words):
    if words:
        with pytest.raises(SpecError, match=words):
            spec_of(**changes)
        return
    spec = spec_of(**changes)
    with pytest.raises(SpecError, match=r"chip\.corner must act on transistors by tables, found a network without any"):
        build_chip(spec, build_network(spec))


def test_the_recipe_learns_exclusive_or(tmp_path):
    text = (SPECS / "xor-nmos.toml").read_text().replace("epochs = 60", "epochs = 30")
    (tmp_path / "xor.toml").write_text(text)
    out = tmp_path / "run"
    found = CliRunner().invoke(app, ["train", str(tmp_path / "xor.toml"), "--seed", "1", "--out", str(out)])
    assert found.exit_code == 0, found.output
    assert "test accuracy 100.00% after 30 epochs, seed 1" in found.output
    assert load_spec(out / "spec.toml").network.kind == "transistors"
