"""The recipes for hardware within a budget: what they claim of their rails and conductances holds in ngspice."""

# pyright: reportAttributeAccessIssue=false, reportOptionalMemberAccess=false

import pytest
import torch
from resistive import resistive_network

from analog_ep.analyses.analyse import analyse
from analog_ep.equilibrium import Newton
from analog_ep.equilibrium.equilibrium import solve
from analog_ep.equilibrium.ngspice import Ngspice
from analog_ep.runs.building import build_nudge
from analog_ep.runs.folder import Run
from analog_ep.runs.trained import test_samples as samples_of
from analog_ep.runs.trained import trained_circuit
from analog_ep.spec import load_spec, with_values
from analog_ep.support.resources import specs_folder

RAILS = {"digits-1v2": 0.6, "digits-1v2-chip": 0.6, "iris-1v2": 0.6, "mnist-1v8": 0.9, "mnist-1v8-chip": 0.9}


def recipe(name):
    return load_spec(specs_folder() / f"{name}.toml")


@pytest.mark.parametrize(("name", "rail"), RAILS.items())
def test_what_a_recipe_sets_is_within_its_rails_and_its_technology(name, rail):
    spec = recipe(name)
    low, high = spec.network.conductance_range
    assert low >= 1e-9
    assert high <= 1e-6
    assert high / low <= 100 * (1 + 1e-12)
    for diode in spec.diode:
        assert max(abs(diode.upper), abs(diode.lower)) <= rail
    assert spec.network.bias_voltage <= rail
    assert spec.converters.dac_range <= rail
    assert all(volts <= rail for volts in spec.converters.adc_range or [])


def test_voltages_stay_when_conductances_junctions_and_nudges_scale_together():
    """What lets a design trade power against speed without another training."""
    spec = recipe("iris-1v2")
    low, high = spec.network.conductance_range
    initial = [10 * siemens for siemens in spec.network.initial_range or []]
    ten = with_values(
        spec,
        network={"conductance_range": [10 * low, 10 * high], "initial_range": initial},
        diode={"saturation_current": 10 * spec.diode[0].saturation_current},
        gradient={"nudging": 10 * spec.gradient.nudging},
    )
    states = []
    for each in (spec, ten):
        network = resistive_network(each, torch.float64)
        inputs, targets = samples_of(each, network, slice(0, 5), None)
        free = solve(network, inputs, solver=Newton())
        nudged = solve(network, inputs, build_nudge(each, targets), solver=Newton(), start=free)
        states.append(torch.cat([free.voltages, nudged.voltages]))
    # SPICE's gmin, 1e-15 S across every junction, does not scale.
    torch.testing.assert_close(states[1], states[0], rtol=0, atol=1e-8)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Run folders of the digits after two epochs, by recipe."""
    folders = {}
    for name in ("digits-1v2", "digits-1v2-chip"):
        path = tmp_path_factory.mktemp("runs") / name
        run = Run.create(path, with_values(recipe(name), training={"epochs": 2}))
        run.train()
        assert run.trainer.history[-1].test_accuracy > 0.75
        folders[name] = path
    return folders


@pytest.mark.ngspice
@pytest.mark.parametrize("name", ["digits-1v2", "digits-1v2-chip"])
def test_every_node_of_the_digits_is_within_the_rails(trained, name):
    """Inputs, biases, clamps, hidden nodes, amplifiers and outputs, of all phases, from ngspice."""
    spec, network, chip = trained_circuit(trained[name])
    inputs, targets = samples_of(spec, network, slice(0, 10), chip)
    circuit, solver, nudge = network.circuit(chip), Ngspice(reduced=True), build_nudge(spec, targets)
    assert {node[0] for node in circuit.node_names} >= {"x", "b", "h", "a", "o"}
    free = solve(circuit, inputs, solver=solver)
    for sign in (0, -1, 1):
        nudged = nudge.scaled(sign * nudge.strength)
        state = free if not sign else solve(circuit, inputs, nudged, solver=solver, start=free)
        assert state.voltages.shape == (10, len(circuit.node_names))
        assert float(state.voltages.abs().max()) <= RAILS[name] * (1 + 1e-9)


@pytest.mark.ngspice
def test_an_inference_of_the_digits_takes_less_than_a_tenth_of_a_milliwatt(trained):
    """The power of all resistors and junctions is what sources and amplifiers deliver."""
    energy = analyse(trained["digits-1v2"], "power")
    assert energy.free.total < 100e-6
    assert sum(energy.free.delivered.values()) == pytest.approx(energy.free.total)
