"""Corners of supply and of resistors' temperature against closed forms and networks that are described there."""

# Branches take scalars and lists where the fields, once set, are arrays.
# pyright: reportArgumentType=false, reportAttributeAccessIssue=false

import json

import numpy as np
import pytest
import torch

from analog_ep.analyses.analyse import analyse
from analog_ep.analyses.conditions import Conditions
from analog_ep.analyses.corners import ResistorsOverTemperature, corners
from analog_ep.circuit import Circuit, CircuitBuilder, Conductances, CurrentSources, VoltageSources
from analog_ep.constants import ZERO_CELSIUS
from analog_ep.equilibrium.equilibrium import solve
from analog_ep.equilibrium.nodal.newton import Newton
from analog_ep.errors import StimulusError
from analog_ep.runs.building import build_network
from analog_ep.runs.chips import build_chip
from analog_ep.runs.folder import Run
from analog_ep.runs.trained import test_samples as samples_of
from analog_ep.runs.trained import trained_conductances
from analog_ep.spec import load_spec, parse_spec, with_values
from analog_ep.support.resources import specs_folder

NONE = {"conductance_scales": (1.0,), "saturation_scales": (1.0,)}


def iris(**tables):
    return with_values(load_spec(specs_folder() / "iris-1v2.toml"), training={"epochs": 1}, **tables)


def states(spec, inputs=None, chip=None):
    """Outputs of the untrained network of a spec, by Newton's method on its circuit."""
    network = build_network(spec, torch.float64)
    if inputs is None:
        inputs = samples_of(spec, network, slice(0, 8), None)[0]
    circuit = network.circuit(chip)
    return circuit, inputs, solve(circuit, inputs, solver=Newton()).outputs


def test_a_supply_is_that_of_a_network_described_with_it():
    spec = iris()
    circuit, inputs, nominal = states(spec)
    bias, clamp = spec.network.bias_voltage, spec.diode[0]
    low = iris(network={"bias_voltage": 0.9 * bias}, diode={"upper": 0.9 * clamp.upper, "lower": 0.9 * clamp.lower})
    _, _, expected = states(low, 0.9 * inputs)
    found = corners(circuit, inputs, solver=Newton(), celsius=(27.0,), supply_scales=(0.9, 1.0), **NONE)
    at_low, as_is = found.corners
    assert at_low.supply_scale == 0.9
    assert at_low.largest_change == pytest.approx(float((expected - nominal).abs().max()), rel=1e-6)
    assert at_low.largest_change > 1e-4
    assert as_is.largest_change < 1e-12
    assert found.samples == 8


def pumped(siemens=1e-6, wire=False) -> Circuit:
    """A current into a resistor: v = I R."""
    builder = CircuitBuilder("pumped")
    x, a = builder.add_nodes(["x", "a"]).tolist()
    builder.add(VoltageSources("x", x, 0, 0.0, 0))
    builder.add(Conductances("far", x, 0, 1e-9))
    builder.add(CurrentSources("pump", 0, a, 1e-7))
    builder.add(Conductances("r", a, 0, siemens, wire=wire))
    builder.set_outputs(np.array([a]), np.array([0]))
    return builder.build()


@pytest.mark.parametrize(
    ("law", "wire", "factor"),
    [
        (ResistorsOverTemperature(tc1=2e-3, tc2=-4e-6), False, 1 + 2e-3 * 58 - 4e-6 * 58**2),
        (ResistorsOverTemperature(per_kelvin=-3e-3), False, 1 / (1 - 3e-3 * 58)),
        (ResistorsOverTemperature(tc1=2e-3), True, 1.0),
        (ResistorsOverTemperature(wires=4e-3), True, 1 + 4e-3 * 58),
    ],
)
def test_a_resistor_at_85_degrees(law, wire, factor):
    found = corners(
        pumped(wire=wire),
        torch.zeros(1, 1, dtype=torch.float64),
        solver=Newton(),
        celsius=(27.0, 85.0),
        resistors=law,
        **NONE,
    ).corners
    assert found[0].largest_change == pytest.approx(0, abs=1e-12)
    assert found[1].largest_change == pytest.approx(0.1 * abs(factor - 1), rel=1e-9, abs=1e-12)


def test_a_temperature_is_that_of_a_chip_at_it():
    """The corner of a chip at 27 °C, and of one at −20 °C, is the chip that is drawn at 60 °C."""
    there = 60.0 + ZERO_CELSIUS
    chip = {"temperature_coefficient": 2e-3, "conductance_spread": 0.05, "seed": 3}

    def spec(kelvin):
        return parse_spec(iris().to_dict() | {"chip": chip | {"temperature": kelvin}}, "test")

    def state(kelvin):
        wanted = spec(kelvin)
        return states(wanted, chip=build_chip(wanted, build_network(wanted, torch.float64)))

    _, inputs, hot = state(there)
    for celsius in (27.0, -20.0):
        kelvin = celsius + ZERO_CELSIUS
        circuit, _, here = state(kelvin)
        law = ResistorsOverTemperature.of(spec(kelvin), kelvin)
        (found,) = corners(circuit, inputs, solver=Newton(), celsius=(60.0,), resistors=law, **NONE).corners
        assert found.largest_change == pytest.approx(float((hot - here).abs().max()), rel=1e-6)
        # With coefficients of resistors in their place the chip's own go.
        law = ResistorsOverTemperature.of(spec(kelvin), kelvin, (1e-3, 0.0))
        assert law.cells_at(there) * (1 + 2e-3 * (celsius - 27)) == pytest.approx(1 / (1 + 1e-3 * 33))


def test_corners_that_cannot_be():
    still = torch.zeros(1, 1, dtype=torch.float64)
    with pytest.raises(StimulusError, match=r"leave resistances positive, found a factor of -0\.16 at 85 °C"):
        corners(pumped(), still, solver=Newton(), resistors=ResistorsOverTemperature(tc1=-0.02))
    with pytest.raises(StimulusError, match=r"must be above absolute zero and 1700 °C at most, found \[-300\.0\]"):
        corners(pumped(), still, solver=Newton(), celsius=(-300.0,))
    with pytest.raises(StimulusError, match=r"scales must be positive, found \[0\.0\] and"):
        corners(pumped(), still, solver=Newton(), supply_scales=(0.0,))


@pytest.mark.ngspice
def test_all_samples_of_a_run_and_their_accuracy(tmp_path):
    run = Run.create(tmp_path / "run", iris())
    run.train()
    wanted = Conditions(temperature=(27.0,), supply=(1.0, 1.1), temperature_coefficients=(1e-3, 0.0))
    found = json.loads(analyse(run.path, "corners", conditions=wanted).to_json())
    assert found["samples"] == 30
    assert len(found["corners"]) == 2 * 9
    nominal = [c for c in found["corners"] if c["conductance_scale"] == c["saturation_scale"] == c["supply_scale"] == 1]
    spec, network = trained_conductances(run.path)
    inputs, targets = samples_of(spec, network, slice(0, None), None)
    right = solve(network, inputs, solver=Newton()).outputs.argmax(-1) == targets.argmax(-1)
    assert [c["accuracy"] for c in nominal] == [pytest.approx(float(right.double().mean()))]
    assert nominal[0]["same_class"] == 1
