"""Johnson and injected noise against equipartition, closed forms and quadrature; the same in ngspice's transients."""

# Branches take scalars and lists where the fields, once set, are arrays.
# pyright: reportArgumentType=false

import json
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from layered_networks import dense_hessian

from analog_ep.circuit import (
    Capacitors,
    Circuit,
    CircuitBuilder,
    Conductances,
    CurrentControlledCurrentSources,
    VoltageSources,
    injected_currents,
    johnson_currents,
)
from analog_ep.circuit.copies import copies
from analog_ep.circuit.node_capacitance import with_node_capacitance
from analog_ep.constants import BOLTZMANN
from analog_ep.devices import ShockleyDiode
from analog_ep.dynamics.linear_noise import LinearNoise
from analog_ep.equilibrium.equilibrium import solve
from analog_ep.equilibrium.nodal.newton import Newton
from analog_ep.errors import CircuitError, StimulusError
from analog_ep.networks import ResistiveNetwork
from analog_ep.ngspice.transient_noise import transient_noise
from analog_ep.stimulus import Nudge, SquaredError
from analog_ep.theory.thermal import rc_network, thermal_study
from analog_ep.theory.transient_gradient import transient_gradient, transient_study

KELVIN = 300.15
FARADS = 1e-12


def single(siemens: float = 1e-5) -> Circuit:
    builder = CircuitBuilder("single")
    x, a = builder.add_nodes(["x", "a"]).tolist()
    builder.add(VoltageSources("x", x, 0, 0.0, 0))
    builder.add(Conductances("r", x, a, siemens))
    builder.add(Capacitors("c", a, 0, FARADS))
    return builder.build()


def amplified(feedback: float) -> Circuit:
    """A linear network with a hidden layer: no diode conducts, since there is none."""
    network = ResistiveNetwork([2, 2, 1], gain=2.0, feedback=feedback, dtype=torch.float64, seed=1)
    circuit = network.circuit()
    linear = circuit.with_groups(group for group in circuit.groups if not group.label.startswith("clamp"))
    return with_node_capacitance(linear, FARADS)


@pytest.mark.parametrize("number", [0, 1])
def test_johnson_noise_does_not_know_the_conductances(number):
    circuit = rc_network(3, number)
    noise = LinearNoise(circuit, johnson_currents(circuit))
    np.testing.assert_allclose(noise.covariance(), noise.equipartition(KELVIN), rtol=1e-9, atol=1e-22)


@pytest.mark.parametrize("step", [0.05, 1.0, 4.0])
def test_steps_of_any_length_are_exact(step):
    circuit = rc_network(3, 0)
    noise = LinearNoise(circuit, johnson_currents(circuit))
    slowest = float(noise.time_constants()[0])
    *_, state = noise.states(step * slowest, math.ceil(8 / step), chains=40_000, seed=2)
    expected = noise.equipartition()
    scale = np.sqrt(np.outer(np.diag(expected), np.diag(expected)))
    # 0.7 % is one standard deviation of a variance of 40 000 chains.
    assert np.abs((torch.cov(state.mT).numpy() - expected) / scale).max() < 0.02


def test_a_step_leaves_the_stationary_covariance_as_it_is():
    circuit = rc_network(3, 1)
    noise = LinearNoise(circuit, johnson_currents(circuit))
    decay, factor = noise._discretised(0.3 * float(noise.time_constants()[0]))
    stationary = noise.covariance()
    np.testing.assert_allclose(decay @ stationary @ decay.T + factor @ factor.T, stationary, rtol=1e-9, atol=1e-22)


def test_injected_noise_samples_the_energy_where_the_weights_are_one():
    density, circuit = 4e-20, amplified(feedback=2.0)
    found = LinearNoise(circuit, injected_currents(circuit, density)).covariance()
    hessian, _, _ = dense_hessian(circuit, np.zeros(circuit.n_nodes))
    np.testing.assert_allclose(found, density / (2 * FARADS) * np.linalg.inv(hessian), rtol=1e-9, atol=1e-12)


def test_injected_noise_does_not_where_they_differ():
    density, circuit = 4e-20, amplified(feedback=0.5)
    found = LinearNoise(circuit, injected_currents(circuit, density)).covariance()
    hessian, _, _ = dense_hessian(circuit, np.zeros(circuit.n_nodes))
    expected = density / (2 * FARADS) * np.linalg.inv(hessian)
    assert np.abs(found / expected - 1).max() > 0.5


def test_amplifiers_are_no_part_of_equipartition():
    circuit = amplified(feedback=0.5)
    noise = LinearNoise(circuit, johnson_currents(circuit))
    assert np.abs(np.diag(noise.covariance()) / (BOLTZMANN * KELVIN / FARADS) - 1).max() > 0.1


def test_noise_that_has_no_linear_theory():
    diodes = ResistiveNetwork([2, 2, 1], dtype=torch.float64).circuit()
    with pytest.raises(CircuitError, match="needs a linear circuit, found clamp1_upper"):
        LinearNoise(with_node_capacitance(diodes, FARADS), johnson_currents(diodes))
    bare = single().with_groups(single().groups[:2])
    with pytest.raises(CircuitError, match="a capacitor at every free node, found none at a"):
        LinearNoise(bare, johnson_currents(bare))
    with pytest.raises(CircuitError, match=r"positive and finite, found -1 K"):
        johnson_currents(bare, -1)
    with pytest.raises(CircuitError, match=r"positive and finite, found 0 A²/Hz"):
        injected_currents(single(), 0)
    with pytest.raises(CircuitError, match="nodes with a capacitor to ground, found none in 'single'"):
        injected_currents(bare, 1e-20)


def test_copies_are_independent_of_each_other():
    network = ResistiveNetwork(
        [2, 2, 1], diode=ShockleyDiode(1e-9, series_resistance=100.0), dtype=torch.float64, seed=1
    )
    inputs = torch.tensor([0.3, -0.2], dtype=torch.float64)
    one = solve(network.circuit(), inputs, solver=Newton())
    three = solve(copies(network.circuit(), 3), inputs, solver=Newton())
    torch.testing.assert_close(three.outputs, one.outputs.expand(3), rtol=0, atol=1e-12)
    torch.testing.assert_close(three.voltages[1:].reshape(3, -1), one.voltages[1:].expand(3, -1), rtol=0, atol=1e-12)


def test_a_copys_source_follows_the_ammeter_of_its_own_copy():
    # 1 V drives g through the first ammeter and 2 g through the second; half of the latter flows into 1 mS at z.
    builder = CircuitBuilder("mirror")
    top, x, y, z = builder.add_nodes(["top", "x", "y", "z"])
    builder.add(VoltageSources("v", top, 0, 1.0))
    builder.add(VoltageSources("ammeters", [top, top], [x, y], 0.0))
    builder.add(Conductances("load", [x, y], [0, 0], [1e-4, 2e-4]))
    builder.add(Conductances("out", z, 0, 1e-3))
    builder.add(CurrentControlledCurrentSources("f", 0, z, "ammeters", 1, 0.5))
    builder.set_outputs(z, 0)
    several = copies(builder.build(), 3)
    siemens = np.array([1e-4, 2e-4, 3e-4, 6e-4, 5e-4, 1e-3])
    several = several.with_groups(
        replace(group, siemens=siemens) if group.label == "load" else group for group in several.groups
    )
    found = solve(several, torch.zeros(1, 0, dtype=torch.float64), solver=Newton()).outputs
    expected = torch.tensor([[0.1, 0.3, 0.5]], dtype=torch.float64)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=0)


@pytest.mark.ngspice
def test_held_noise_on_a_single_node():
    siemens, interval = 1e-5, 4e-8
    found = transient_noise(
        single(siemens), np.zeros(1), johnson_currents, interval=interval, samples=1000, burn_in=30, n_copies=64
    )
    assert found.voltages.shape == (1000, 1, 64, 3)
    share = 0.5 * interval * siemens / FARADS
    expected = BOLTZMANN * KELVIN / FARADS * math.tanh(share) / share
    # 64 000 values with correlation exp(−0.4) between neighbours: 1.3 % is one standard deviation of the variance.
    assert found.voltages[..., 2].var() == pytest.approx(expected, rel=0.03)


@pytest.mark.ngspice
def test_noise_follows_the_seed_and_is_shared_by_phases():
    network = ResistiveNetwork([2, 1], dtype=torch.float64, seed=1)
    circuit = with_node_capacitance(network.circuit(), FARADS)
    nudge = Nudge(1e-8, torch.zeros(1), SquaredError(), "elastic")

    def voltages(seed: int) -> np.ndarray:
        return transient_noise(
            circuit,
            np.zeros(2),
            lambda of: injected_currents(of, 4e-20),
            interval=2e-9,
            samples=50,
            n_copies=2,
            nudges=(None, nudge),
            seed=seed,
        ).voltages

    first = voltages(1)
    assert np.array_equal(first, voltages(1))
    assert not np.array_equal(first, voltages(2))
    free, nudged = (first[:, phase, :, -2:] for phase in (0, 1))
    assert np.abs(nudged - free).max() < 1e-2 * np.abs(free).max()
    assert np.abs(free[:, 1] - free[:, 0]).max() > 0.2 * np.abs(free).max()


@pytest.mark.pictures
@pytest.mark.ngspice
def test_covariance_of_johnson_noise_in_torch_and_ngspice():
    study = thermal_study(1, samples=2500)
    assert study.cases[0].distance("torch") < 0.02
    assert study.cases[0].distance("ngspice") < 0.03
    assert json.loads(study.to_json())["cases"][0]["distance_torch"] == study.cases[0].distance("torch")
    assert study.table().row_count == 1
    assert study.plot().startswith(b"\x89PNG")


@pytest.mark.ngspice
def test_the_stochastic_rule_in_ngspice():
    study = transient_study(1, samples=300)
    assert study.cases[0].relative_error < 0.03
    assert study.cases[0].cosine > 0.999
    assert study.probability > 0.01


@pytest.mark.ngspice
def test_what_transient_noise_refuses():
    bare = single().with_groups(single().groups[:2])
    with pytest.raises(StimulusError, match="needs capacitors, found none in 'single'"):
        transient_noise(bare, np.zeros(1), johnson_currents, interval=1e-9, samples=1)
    with pytest.raises(StimulusError, match="must be positive, found 0, 32, 1"):
        transient_noise(single(), np.zeros(1), johnson_currents, interval=1e-9, samples=0)
    with pytest.raises(StimulusError, match=r"positive interval and seed, found 0 s and 1"):
        transient_noise(single(), np.zeros(1), johnson_currents, interval=0, samples=1)
    network = ResistiveNetwork([2, 1], dtype=torch.float64)
    circuit = with_node_capacitance(network.circuit(), FARADS)
    frozen = Nudge(1e-8, torch.zeros(1), SquaredError())
    with pytest.raises(StimulusError, match="must be elastic, to follow the fluctuating outputs; found frozen"):
        transient_noise(circuit, np.zeros(2), johnson_currents, interval=1e-9, samples=1, nudges=(frozen,))
    unequal = ResistiveNetwork([2, 1, 1], diode=ShockleyDiode(1e-9), gain=4.0, dtype=torch.float64)
    options = {"temperature": 1e-8, "nudging": 1e-7, "interval": 1e-9, "samples": 1, "burn_in": 0}
    with pytest.raises(StimulusError, match=r"all weights of the energy are 1, found 0\.0625 to 1; set feedback"):
        transient_gradient(unequal, torch.zeros(2), torch.zeros(1), **options)
