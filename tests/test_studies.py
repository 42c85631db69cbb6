"""Noise, settling, power and corners against closed forms, linear calculations and an integration by scipy."""

# Branches take scalars and lists where the fields, once set, are arrays.
# pyright: reportArgumentType=false

import json
import math

import numpy as np
import pytest
import torch
from scipy.integrate import solve_ivp

from analog_ep.analyses.corners import corners
from analog_ep.analyses.noise import output_noise
from analog_ep.analyses.power import AMPLIFIERS, branch_power
from analog_ep.analyses.settling import settling
from analog_ep.circuit import (
    Amplifiers,
    Capacitors,
    Circuit,
    CircuitBuilder,
    Conductances,
    CurrentSources,
    Diodes,
    VoltageSources,
)
from analog_ep.circuit.node_capacitance import with_node_capacitance
from analog_ep.constants import BOLTZMANN, ELEMENTARY_CHARGE
from analog_ep.devices import ShockleyDiode
from analog_ep.equilibrium.equilibrium import solve
from analog_ep.equilibrium.ngspice import Ngspice
from analog_ep.equilibrium.nodal.newton import Newton
from analog_ep.equilibrium.nodal.residual import kirchhoff_residual
from analog_ep.errors import StimulusError
from analog_ep.networks import ResistiveNetwork

KELVIN = 300.15


def single(farads: float | None) -> Circuit:
    """50 kΩ and 100 kΩ at one node, which is the output."""
    builder = CircuitBuilder("single")
    x, a = builder.add_nodes(["x", "a"]).tolist()
    builder.add(VoltageSources("x", x, 0, 0.0, 0))
    builder.add(Conductances("r", [x, a], [a, 0], [2e-5, 1e-5]))
    if farads:
        builder.add(Capacitors("c", a, 0, farads))
    builder.set_outputs(np.array([a]), np.array([0]))
    builder.set_layer("a", np.array([a]))
    return builder.build()


def network(gain: float = 4.0) -> ResistiveNetwork:
    return ResistiveNetwork([3, 4, 2], diode=ShockleyDiode(1e-9), gain=gain, dtype=torch.float64, seed=2)


SAMPLE = torch.tensor([0.9, -0.4, 0.3], dtype=torch.float64)


def linear_noise(circuit: Circuit, voltages: np.ndarray, frequency: float) -> np.ndarray:
    """Output density [V/√Hz] of Johnson and shot noise, by one dense complex solve of all nodes and ammeters."""
    amplifier = circuit.of_kind(Amplifiers)[0]
    element, driven, sign = amplifier.outputs()
    sources = [node for group in circuit.of_kind(VoltageSources) for node in group.positive]
    n, extra = circuit.n_nodes, len(sources) + len(driven)
    matrix = np.zeros((n + extra, n + extra), complex)
    noises = []
    for group in circuit.groups:
        if isinstance(group, (Conductances, Diodes, Capacitors)):
            first, second = (getattr(group, name) for name in group.terminals)
            across = voltages[first] - voltages[second]
            if isinstance(group, Conductances):
                admittance, density = group.siemens, 4 * BOLTZMANN * KELVIN * group.siemens
            elif isinstance(group, Diodes):
                current = torch.from_numpy(across)
                admittance = group.device.conductance(current).numpy()
                # 2q(i + 2 IS) of an exponential, from which ngspice's reverse tail hardly differs here.
                density = 2 * ELEMENTARY_CHARGE * (group.device.current(current).numpy() + 2e-9)
            else:
                admittance, density = 2j * math.pi * frequency * group.farads, np.zeros(len(group))
            for a, b, y, s in zip(first, second, admittance, density, strict=True):
                matrix[[a, a, b, b], [a, b, a, b]] += [y, -y, -y, y]
                noises.append((a, b, s))
    for i, node in enumerate(sources):
        matrix[node, n + i] += 1
        matrix[n + i, node] += 1
    for i, (which, node, s) in enumerate(zip(element, driven, sign, strict=True), start=len(sources)):
        u = amplifier.input[which]
        matrix[node, n + i] -= 1
        matrix[u, n + i] += s * amplifier.feedback[which]
        matrix[n + i, [node, u]] += [1, -s * amplifier.gain[which]]
    assert circuit.outputs is not None
    pick = np.zeros((n + extra, len(circuit.outputs[0])))
    for i, (p, m) in enumerate(zip(*circuit.outputs, strict=True)):
        pick[p, i], pick[m, i] = 1, -1
    adjoint = np.zeros((n + extra, pick.shape[1]), complex)
    adjoint[1:] = np.linalg.solve(matrix[1:, 1:].T, pick[1:])
    return np.sqrt(sum(s * np.abs(adjoint[a] - adjoint[b]) ** 2 for a, b, s in noises))


@pytest.mark.ngspice
def test_kt_over_c_on_a_single_node():
    found = output_noise(single(1e-12), np.array([1.0]))
    assert found.rms[0] == pytest.approx(math.sqrt(BOLTZMANN * KELVIN / 1e-12), rel=2e-3)
    assert found.density[0, 0] == pytest.approx(math.sqrt(4 * BOLTZMANN * KELVIN / 3e-5), rel=1e-6)
    assert found.outputs[0] == pytest.approx(2 / 3)
    assert json.loads(found.to_json())["rms"] == found.rms.tolist()
    assert found.table().row_count == 1


@pytest.mark.ngspice
@pytest.mark.parametrize("reduced", [False, True])
def test_noise_of_a_network_against_a_linear_calculation(reduced):
    circuit = with_node_capacitance(network().circuit(), 1e-12)
    voltages = solve(network(), SAMPLE, solver=Newton()).voltages.numpy()
    found = output_noise(circuit, SAMPLE.numpy(), band=(1e3, 1e10), points_per_decade=3, reduced=reduced, processes=2)
    for i in range(0, len(found.frequencies), 5):
        expected = linear_noise(circuit, voltages, found.frequencies[i])
        np.testing.assert_allclose(found.density[:, i], expected, rtol=1e-4)


def test_noise_that_cannot_be_told():
    with pytest.raises(StimulusError, match=r"0 < low < high with points in it, found \(1\.0, 1\.0\) Hz"):
        output_noise(single(None), np.ones(1), band=(1.0, 1.0))
    bare = CircuitBuilder("bare").build()
    with pytest.raises(StimulusError, match="noise needs outputs, found none in 'bare'"):
        output_noise(bare, np.zeros(0))
    with pytest.raises(StimulusError, match="must be positive and finite, found 0 F"):
        with_node_capacitance(bare, 0)


@pytest.mark.ngspice
def test_a_single_time_constant():
    tau = 1e-9 / 3e-5
    found = settling(single(1e-9), np.array([1.0]))
    assert found.within_share()["a"] == pytest.approx(tau * math.log(100), rel=1e-3)
    assert found.within(2 / 3 / 256)["a"] == pytest.approx(tau * math.log(256), rel=1e-3)
    assert found.times[0] == 0
    assert found.within(1.0)["a"] == 0


def integrated(circuit: Circuit, inputs: np.ndarray, start: np.ndarray, end: float, current: np.ndarray):
    """Hidden and output voltages by scipy; amplifier outputs follow theirs at once."""
    (amplifier,) = circuit.of_kind(Amplifiers)
    element, driven, sign = amplifier.outputs()
    (capacitors,) = circuit.of_kind(Capacitors)
    resistive = circuit.with_groups(group for group in circuit.groups if not isinstance(group, Capacitors))
    nodes, farads = capacitors.positive, capacitors.farads
    assert circuit.outputs is not None
    into = np.zeros((1, circuit.n_nodes))
    into[0, circuit.outputs[0]], into[0, circuit.outputs[1]] = current, -current
    held = start.copy()
    for group in circuit.of_kind(VoltageSources):
        held[group.positive] = group.source_values(inputs)

    def slope(_: float, state: np.ndarray) -> np.ndarray:
        voltages = held.copy()
        voltages[nodes] = state
        voltages[driven] = sign * amplifier.gain[element] * voltages[amplifier.input[element]]
        return -kirchhoff_residual(resistive, voltages[None], into)[0][0, nodes] / farads

    times = np.linspace(0, end, 4000)
    solved = solve_ivp(slope, (0, end), start[nodes], "LSODA", times, rtol=1e-9, atol=1e-12)
    return times, nodes, solved.y.T


@pytest.mark.ngspice
@pytest.mark.parametrize("phase", ["free", "nudged"])
def test_settling_of_a_network_against_an_integration(phase):
    circuit = with_node_capacitance(network().circuit(), 1e-12)
    free = solve(network(), SAMPLE, solver=Newton()).voltages.numpy()
    start = free if phase == "nudged" else np.zeros(circuit.n_nodes)
    current = np.array([1e-7, -2e-7]) * (phase == "nudged")
    found = settling(circuit, SAMPLE.numpy(), nudge_currents=current, start=start, reduced=phase == "free")
    times, nodes, states = integrated(circuit, SAMPLE.numpy(), start, float(found.times[-1]), current)
    shares = found.within_share()
    for name, layer in circuit.layers.items():
        columns = [int(np.flatnonzero(nodes == node)[0]) for node in layer]
        distance = np.abs(states[:, columns] - states[-1, columns]).max(axis=1)
        last = np.flatnonzero(distance > 0.01 * distance[0])[-1]
        assert shares[name] == pytest.approx(np.mean(times[last : last + 2]), rel=0.01)
    assert set(found.figures(1e-3)["o"]) == {"to_1_percent", "to_1_lsb"}


def test_what_cannot_settle():
    with pytest.raises(StimulusError, match="settling needs capacitors, found none in 'single'"):
        settling(single(None), np.ones(1))


def test_power_of_a_divider_with_a_pump():
    builder = CircuitBuilder("t")
    x, a = builder.add_nodes(["x", "a"]).tolist()
    builder.add(VoltageSources("x", x, 0, 0.0, 0))
    builder.add(Conductances("r", [x, a], [a, 0], 1e-3))
    builder.add(CurrentSources("pump", 0, a, 1e-3))
    power = branch_power(builder.build(), np.array([[0.0, 2.0, 1.5]]), settling_time=1e-6)
    assert power.dissipated == {"r": pytest.approx(1e-3 * (0.5**2 + 1.5**2))}
    assert power.delivered == {"pump": pytest.approx(1.5e-3), "x": pytest.approx(1e-3), AMPLIFIERS: pytest.approx(0)}
    assert power.energy == pytest.approx(2.5e-9)
    assert json.loads(power.to_json())["total"] == pytest.approx(2.5e-3)
    assert power.table().row_count == 6


def test_amplifiers_deliver_what_is_left():
    net = network()
    circuit, state = net.circuit(), solve(net, SAMPLE, solver=Newton())
    voltages = state.voltages.numpy()
    power = branch_power(circuit, voltages[None])
    (amplifier,) = circuit.of_kind(Amplifiers)
    stage2 = circuit.trainable()["stage2"]
    current = stage2.siemens * (voltages[stage2.positive] - voltages[stage2.negative])
    _, driven, sign = amplifier.outputs()
    leaving = np.bincount(stage2.positive, current, minlength=circuit.n_nodes)[driven]
    drawn = sum(
        amplifier.feedback[0] * s * i * voltages[amplifier.input[e % 4]]
        for e, (s, i) in enumerate(zip(sign, leaving, strict=True))
    )
    assert power.delivered[AMPLIFIERS] == pytest.approx(float(leaving @ voltages[driven] - drawn), abs=1e-15)
    # k = 1/a: an amplifier delivers at its outputs what a² times its draw would be.
    assert power.total == pytest.approx(sum(power.delivered.values()))


def test_power_of_what_is_no_state():
    with pytest.raises(StimulusError, match=r"voltages must be finite, \(n_samples, 3\), found shape \(2,\)"):
        branch_power(single(None), np.zeros(2))


def test_corners_of_a_diode():
    builder = CircuitBuilder("t")
    x, a = builder.add_nodes(["x", "a"]).tolist()
    builder.add(VoltageSources("x", x, 0, 0.0, 0))
    builder.add(Conductances("r", x, a, 1e-5))
    builder.add_diodes("d", a, 0, ShockleyDiode(1e-12))
    builder.set_outputs(np.array([a]), np.array([0]))
    found = corners(
        builder.build(),
        torch.tensor([[5.0]], dtype=torch.float64),
        solver=Newton(),
        celsius=(27.0,),
        conductance_scales=(1.0,),
        saturation_scales=(1.0, 2.0),
    ).corners
    # Nearly all current flows on through the diode, so that twice the saturation current costs V_t ln 2.
    assert found[0].largest_change == pytest.approx(0, abs=1e-9)
    assert found[1].largest_change == pytest.approx(BOLTZMANN * KELVIN / ELEMENTARY_CHARGE * math.log(2), rel=0.02)


@pytest.mark.ngspice
def test_all_corners_of_a_network():
    found = corners(network().circuit(), SAMPLE[None], solver=Ngspice(reduced=True), conductance_scales=(0.8, 1.0))
    assert len(found.corners) == 18
    assert found.table().row_count == 18
    assert max(corner.largest_change for corner in found.corners) > 1e-3
    with pytest.raises(StimulusError, match="scales must be positive"):
        corners(network().circuit(), SAMPLE[None], solver=Newton(), conductance_scales=(0.0,))


@pytest.mark.ngspice
def test_rms_is_the_integral_of_the_density_of_a_driven_network():
    network = ResistiveNetwork([8, 6, 2], diode=ShockleyDiode(1e-12), dtype=torch.float64)
    circuit = with_node_capacitance(network.circuit(), 1e-12)
    inputs = np.linspace(-15, 15, 8)
    noise = output_noise(circuit, inputs, points_per_decade=40)
    assert np.isfinite(noise.rms).all()
    fine = np.geomspace(noise.frequencies[0], noise.frequencies[-1], 200_001)
    for density, rms in zip(noise.density, noise.rms, strict=True):
        power = np.exp(np.interp(np.log(fine), np.log(noise.frequencies), np.log(density**2)))
        assert np.trapezoid(power, fine) == pytest.approx(rms**2, rel=1e-3)
