"""Enclosures of many states at once: they hold the exact ones, and are not much wider than these lie away."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from random_circuits import Recipe, build, inputs_of

from analog_ep.circuit import Circuit, CircuitBuilder, Conductances, Diodes, VoltageSources
from analog_ep.constants import thermal_voltage
from analog_ep.devices import ShockleyDiode
from analog_ep.equilibrium.nodal import error_bound
from analog_ep.equilibrium.nodal.double_double import Double
from analog_ep.equilibrium.nodal.enclosure import _Batch, enclosed
from analog_ep.equilibrium.nodal.error_bound import error_bounds
from analog_ep.equilibrium.nodal.exact_state import exact_state
from analog_ep.equilibrium.nodal.newton import Newton
from analog_ep.equilibrium.nodal.samples import Stimulus
from analog_ep.equilibrium.nodal.tableau import Tableau
from analog_ep.stimulus import CrossEntropy, Nudge, SquaredError

N_SAMPLES = 5
OFF = (0.0, 1e-13, 1e-9, 1e-6, 1e-3, 0.03)
"""How far a node is moved, relative to the largest voltage."""


def drawn(seed: int) -> tuple[Circuit, Stimulus]:
    recipe = Recipe(
        seed,
        decades=4.0 if seed % 4 == 3 else 1.0,
        drive=10.0 if seed % 4 == 3 else 1.0,
        reciprocal=seed % 5 == 0,
        controlled=seed % 2 == 0,
        floating=seed % 3 == 0,
    )
    circuit = build(recipe)
    inputs, outputs = inputs_of(circuit, N_SAMPLES, seed), circuit.outputs
    if outputs is None or seed % 3 == 1:
        return circuit, Stimulus(inputs)
    random, n_outputs = np.random.default_rng(seed), len(outputs[0])
    if seed % 3 == 2:
        return circuit, Stimulus(inputs, injected=random.normal(scale=1e-5, size=(N_SAMPLES, n_outputs)))
    target = torch.from_numpy(random.uniform(0, 1, (N_SAMPLES, n_outputs)))
    target = target / target.sum(dim=1, keepdim=True)
    cost = CrossEntropy(0.1) if seed % 2 else SquaredError()
    return circuit, Stimulus(inputs, Nudge(1e-5, target, cost, "elastic"))


@pytest.mark.parametrize("seed", range(30))
def test_the_exact_state_lies_within(seed: int):
    circuit, stimulus = drawn(seed)
    branching = error_bounds(circuit).branching
    near = Newton().solve_circuit(circuit, stimulus.inputs, stimulus.nudge).voltages
    exact = np.empty_like(near)
    for sample in range(N_SAMPLES):
        found = exact_state(branching, stimulus.select(np.array([sample])).sample(), near[sample], 60)
        assert found.bound.max() < 1e-12 * np.abs(found.voltages).max()
        exact[sample] = found.voltages
    random, largest = np.random.default_rng([seed, 1]), np.abs(exact).max(axis=1)
    for off in OFF:
        moved = exact + off * largest[:, None] * random.uniform(-1, 1, exact.shape) * (np.arange(len(exact.T)) > 0)
        distance = np.abs(moved - exact).max(axis=1)
        bound = enclosed(branching, stimulus, moved)
        assert (bound >= distance).all()
        if off <= 1e-9:
            # What rounding adds is a small part of what Newton's method allows itself.
            assert (bound <= 1e3 * distance + 1e-11 * largest).all()


@pytest.mark.parametrize("seed", range(30))
def test_the_equations_are_those_of_twice_the_digits_within_their_uncertainty(seed: int):
    circuit, stimulus = drawn(seed)
    branching, first = error_bounds(circuit).branching, stimulus.select(np.array([0]))
    volts = np.random.default_rng(seed).uniform(-0.3, 0.7, (1, circuit.n_nodes))
    volts[:, 0] = 0.0
    tableau = Tableau(branching, first.sample(), volts[0])
    batch = _Batch(branching, branching.structure(branching.system.currents(volts @ branching.controls)[1][0]), first)
    truth = tableau.at(tableau.start(volts[0]))
    residual, uncertainty, jacobian, magnitude = batch._at(tableau.start(volts[0]).high[None, : tableau.n_tree])
    off = np.abs((Double.of(residual[0]) - truth.residual).high)
    assert (off <= uncertainty[0] + truth.uncertainty).all()
    assert off.max() > 0
    assert (uncertainty[0] >= 0.99 * truth.uncertainty).all()
    assert uncertainty.max() <= 1e-11 * np.abs(truth.residual.high).max()
    for found, expected in zip((jacobian, magnitude), tableau.jacobian(truth.slopes), strict=True):
        np.testing.assert_allclose(found[0], expected, rtol=1e-12, atol=1e-12 * np.abs(expected).max())


def test_samples_are_enclosed_as_they_are_alone():
    circuit, stimulus = drawn(9)
    branching = error_bounds(circuit).branching
    voltages = Newton().solve_circuit(circuit, stimulus.inputs, stimulus.nudge).voltages + 1e-7
    voltages[:, 0] = 0.0
    together = enclosed(branching, stimulus, voltages)
    for sample in range(N_SAMPLES):
        one = np.array([sample])
        assert enclosed(branching, stimulus.select(one), voltages[one]) == pytest.approx(together[one], rel=0.5)


def test_a_state_that_is_none_has_no_enclosure():
    circuit, stimulus = drawn(1)
    random = np.random.default_rng(0)
    voltages = 100 * random.normal(size=(N_SAMPLES, circuit.n_nodes))
    voltages[:, 0] = 0.0
    assert np.isinf(enclosed(error_bounds(circuit).branching, stimulus, voltages)).all()


@pytest.mark.parametrize("thermal_voltages", [-2.0, 3.0])
def test_a_state_whose_slopes_are_not_those_of_the_solution_has_no_enclosure(thermal_voltages: float):
    builder = CircuitBuilder("divider")
    top, anode = builder.add_nodes(["top", "anode"])
    builder.add(VoltageSources("v", top, 0, 1.0))
    builder.add(Conductances("g", top, anode, 1e-3))
    builder.add(Diodes("d", anode, 0, ShockleyDiode(1e-12)))
    circuit = builder.build()
    state = Newton().solve_circuit(circuit, np.zeros((1, 0))).voltages
    state[:, anode] += thermal_voltages * thermal_voltage(300.15)
    bound = enclosed(error_bounds(circuit).branching, Stimulus(np.zeros((1, 0))), state)
    assert np.isinf(bound).all()


def test_states_that_are_known_well_enough_are_not_solved_anew(monkeypatch: pytest.MonkeyPatch):
    asked = []

    def counted(*arguments):
        asked.append(arguments)
        return exact_state(*arguments)

    monkeypatch.setattr(error_bound, "exact_state", counted)
    circuit, stimulus = drawn(13)
    state = Newton().solve_circuit(circuit, stimulus.inputs)
    assert state.converged.all()
    assert not asked
    bounds = error_bounds(circuit)
    off, allowed = state.voltages + 1e-9, np.full(N_SAMPLES, 1e-12)
    off[:, 0] = 0.0
    found = bounds.near(replace(stimulus), off, np.full(N_SAMPLES, np.inf), allowed, max_steps=20)
    assert len(asked) == N_SAMPLES
    assert (found.bound <= allowed).all()
