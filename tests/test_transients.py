"""Transients in PyTorch and ngspice: closed forms, an integration by scipy, and amplifiers with dynamics."""

# Branches take scalars and lists where the fields, once set, are arrays.
# pyright: reportArgumentType=false

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from plain_ngspice import run_plain
from scipy.integrate import solve_ivp

from analog_ep.analyses.settling import settling, settling_in_torch
from analog_ep.circuit import Amplifiers, Capacitors, Circuit, CircuitBuilder, Conductances, VoltageSources
from analog_ep.circuit.node_capacitance import with_node_capacitance
from analog_ep.circuit.output_sources import with_output_currents
from analog_ep.circuit.real_amplifiers import AmplifierModel, with_amplifiers
from analog_ep.devices import ShockleyDiode
from analog_ep.dynamics.transient import transient
from analog_ep.equilibrium.equilibrium import solve
from analog_ep.equilibrium.ngspice import Ngspice
from analog_ep.equilibrium.nodal.newton import Newton
from analog_ep.errors import ConvergenceError, StimulusError
from analog_ep.networks import ResistiveNetwork
from analog_ep.support.resources import netlists_folder

SAMPLE = np.array([0.9, -0.4, 0.3])
MODEL = AmplifierModel(bandwidth=2e7, output_resistance=200.0, rail=0.5)


def ladder(farads: float = 1e-12) -> Circuit:
    """1 V over 10 kΩ, a node, 10 kΩ, a second node, with a capacitor at each."""
    builder = CircuitBuilder("ladder")
    x, a, b = builder.add_nodes(["x", "a", "b"]).tolist()
    builder.add(VoltageSources("x", x, 0, 0.0, 0))
    builder.add(Conductances("r", [x, a], [a, b], 1e-4))
    builder.add(Capacitors("c", [a, b], 0, farads))
    builder.set_layer("a", np.array([a]))
    builder.set_layer("b", np.array([b]))
    builder.set_outputs(np.array([b]), np.array([0]))
    return builder.build()


def amplified(gain: float = 4.0, feedback: float = 0.25, inverted: bool = True, offset: float = 0.0) -> Circuit:
    """A source over 10 kΩ at an amplifier's input, and 1 kΩ at each output."""
    builder = CircuitBuilder("amplified")
    x, u, p, n = builder.add_nodes(["x", "u", "p", "n"]).tolist()
    builder.add(VoltageSources("x", x, 0, 0.0, 0))
    builder.add(Conductances("r", [x, p, n], [u, 0, 0], [1e-4, 1e-3, 1e-3]))
    builder.add(Amplifiers("amplifier1", u, p, gain, feedback, n if inverted else -1, offset))
    builder.set_layer("u", np.array([u]))
    builder.set_layer("p", np.array([p]))
    builder.set_outputs(np.array([p]), np.array([n]))
    return builder.build()


def network(diode: bool = True) -> ResistiveNetwork:
    current = 1e-9 if diode else 1e-25
    return ResistiveNetwork([3, 4, 2], diode=ShockleyDiode(current), dtype=torch.float64, seed=2)


def real_network() -> Circuit:
    return with_node_capacitance(with_amplifiers(network().circuit(), MODEL), 1e-12)


@pytest.mark.parametrize(("rtol", "bound"), [(1e-4, 1e-4), (1e-7, 3e-8)])
def test_a_ladder_follows_its_two_exponentials(rtol, bound):
    found = transient(ladder(), np.ones(1), 1e-7, rtol=rtol, atol=1e-3 * rtol, points=10)
    # C dv/dt = −G v + i: the eigenvectors of G/C give the closed form.
    rates, modes = np.linalg.eigh(1e8 * np.array([[2.0, -1.0], [-1.0, 1.0]]))
    weights = np.linalg.solve(modes, -np.ones(2))
    expected = 1 + (weights * np.exp(-rates * found.times[:, None])) @ modes.T
    assert np.abs(found.voltages[:, 2:] - expected).max() < bound
    assert found.times[-1] == 1e-7
    np.testing.assert_array_equal(found.voltages[0], 0.0)


def test_nodes_without_capacitors_follow_at_once():
    whole = ladder()
    circuit = whole.with_groups([*whole.groups[:2], Capacitors("c", 3, 0, 1e-12)])
    found = transient(circuit, np.ones(1), 1e-7)
    expected = 1 - np.exp(-found.times / 2e-8)
    np.testing.assert_allclose(found.voltages[1:, 3], expected[1:], rtol=0, atol=1e-6)
    np.testing.assert_allclose(found.voltages[1:, 2], 0.5 * (1 + expected[1:]), rtol=0, atol=1e-6)


def test_transients_that_cannot_be():
    bare = ladder().with_groups(ladder().groups[:2])
    with pytest.raises(StimulusError, match="a transient needs capacitors, found none in 'ladder'"):
        transient(bare, np.ones(1), 1e-6)
    with pytest.raises(StimulusError, match="needs a positive duration and points, found 0 s and 500"):
        transient(ladder(), np.ones(1), 0)
    with pytest.raises(StimulusError, match="settling needs capacitors, found none in 'ladder'"):
        settling_in_torch(bare, np.ones(1))
    with pytest.raises(StimulusError, match=r"a nudge needs 1 currents, found shape \(2,\)"):
        settling_in_torch(ladder(), np.ones(1), nudge_currents=np.zeros(2))
    with pytest.raises(StimulusError, match="a nudge needs outputs, found none in 'ladder'"):
        with_output_currents(replace(ladder(), outputs=None), np.zeros(1))


def test_a_duration_too_short_to_settle():
    found = settling_in_torch(ladder(), np.ones(1), duration=1e-9)
    with pytest.raises(ConvergenceError, match=r"layer a must settle within .* give a longer duration"):
        found.within_share()


@pytest.mark.parametrize(("volts", "driven"), [(0.5, None), (3.0, 0.5), (-3.0, -0.5)])
def test_the_steady_state_of_an_amplifier(volts, driven):
    circuit = with_amplifiers(amplified(), MODEL)
    state = solve(circuit, torch.tensor([volts], dtype=torch.float64), solver=Newton()).voltages.numpy()
    u, p, n = state[2:5]
    inside = state[circuit.node("amplifier1_p0")]
    assert inside == pytest.approx(4 * u if driven is None else driven, rel=0.02)
    assert p == pytest.approx(inside / (1 + 200 * 1e-3))
    assert n == pytest.approx(-p)
    # What flows into the input is k times what leaves both outputs.
    assert 1e-4 * (volts - u) == pytest.approx(0.25 * 2 * 1e-3 * p)


@pytest.mark.parametrize("offset", [0.0, 0.05])
@pytest.mark.parametrize("inverted", [True, False])
def test_a_fast_and_strong_amplifier_is_the_ideal_one(inverted, offset):
    inputs = torch.tensor([0.7], dtype=torch.float64)
    # 0.1 mΩ into 1 kΩ is 1e-7 of the output.
    ideal = amplified(inverted=inverted, offset=offset)
    real = with_amplifiers(ideal, AmplifierModel(1e9, 1e-4))
    expected = solve(ideal, inputs, solver=Newton()).voltages
    torch.testing.assert_close(solve(real, inputs, solver=Newton()).voltages[:5], expected, rtol=0, atol=2e-7)


def test_the_pole_of_an_amplifier():
    builder = CircuitBuilder("held")
    x, p = builder.add_nodes(["x", "p"]).tolist()
    builder.add(VoltageSources("x", x, 0, 0.0, 0))
    builder.add(Amplifiers("amplifier1", x, p, 3.0, 1 / 3))
    builder.add(Conductances("r", p, 0, 1e-6))
    builder.set_layer("p", np.array([p]))
    circuit = with_amplifiers(builder.build(), AmplifierModel(1e6, 1.0))
    found = settling_in_torch(circuit, np.array([0.1]))
    assert found.within_share()["p"] == pytest.approx(math.log(100) / (2 * math.pi * 1e6), rel=1e-3)
    assert found.final["p"][0] == pytest.approx(0.3, rel=1e-5)


@pytest.mark.parametrize("name", ["bandwidth", "output_resistance", "rail"])
def test_amplifiers_that_cannot_be(name):
    values = {"bandwidth": 1e6, "output_resistance": 1.0, "rail": 1.0, name: 0.0}
    with pytest.raises(StimulusError, match=f"an amplifier's {name} must be positive and finite, found 0.0"):
        AmplifierModel(**values)


def test_node_capacitances_stand_where_nothing_holds_the_node():
    circuit = real_network()
    nodes = circuit.group("node_capacitance")
    assert isinstance(nodes, Capacitors)
    names = {circuit.node_names[node] for node in nodes.positive}
    hidden = {f"h1_{j}" for j in range(4)}
    assert names == hidden | {f"a1_{j}_{s}" for j in range(4) for s in "pn"} | {
        f"o{j}_{s}" for j in range(2) for s in "pn"
    }


def test_real_amplifiers_against_scipy():
    """Every equation is written out here anew: a pole and two loaded outputs, without diodes."""
    circuit = with_node_capacitance(with_amplifiers(amplified(), replace(MODEL, rail=None)), 1e-12)
    tau, volts = MODEL.time_constant, 0.4

    def slope(_, state):
        u, p, first, second = state
        plus, minus = (p - first) / 200, (-p - second) / 200
        return [
            (1e-4 * (volts - u) - 0.25 * (plus - minus)) / 1e-12,
            (4 * u - p) / tau,
            (plus - 1e-3 * first) / 1e-12,
            (minus - 1e-3 * second) / 1e-12,
        ]

    found = transient(circuit, np.array([volts]), 1e-7)
    nodes = [circuit.node(name) for name in ("u", "amplifier1_p0", "p", "n")]
    solved = solve_ivp(slope, (0, 1e-7), np.zeros(4), "Radau", found.times, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(found.voltages[:, nodes], solved.y.T, rtol=0, atol=2e-6)


@pytest.mark.ngspice
@pytest.mark.parametrize("phase", ["free", "nudged"])
@pytest.mark.parametrize("real", [False, True])
def test_settling_in_ngspice_and_in_torch(real, phase):
    circuit = real_network() if real else with_node_capacitance(network().circuit(), 1e-12)
    free = solve(circuit, torch.from_numpy(SAMPLE), solver=Newton()).voltages.numpy()
    nudge = {} if phase == "free" else {"nudge_currents": np.array([1e-6, -2e-6]), "start": free}
    ours, theirs = settling_in_torch(circuit, SAMPLE, **nudge), settling(circuit, SAMPLE, reduced=True, **nudge)
    for times, expected in ((ours.within_share(), theirs.within_share()), (ours.within(1e-3), theirs.within(1e-3))):
        assert times == {name: pytest.approx(seconds, rel=0.01, abs=1e-12) for name, seconds in expected.items()}
    assert ours.within_share()["o"] > 0


@pytest.mark.ngspice
def test_real_amplifiers_in_ngspice_reach_their_equilibrium():
    circuit, inputs = real_network(), torch.from_numpy(SAMPLE)
    expected = solve(circuit, inputs, solver=Newton()).voltages
    torch.testing.assert_close(solve(circuit, inputs, solver=Ngspice()).voltages, expected, rtol=0, atol=1e-10)


@pytest.mark.ngspice
@pytest.mark.parametrize("volts", [0.4, 3.0])
def test_the_subcircuits_are_the_circuit_form(tmp_path, volts):
    deck = tmp_path / "bench.cir"
    parameters = "a=4 k=0.25 bandwidth=2e7 r_out=200 rail=0.5"
    deck.write_text(
        f"* amplifiers\n.include {netlists_folder()}/amplifier_dynamics.lib\n*#set numdgt=9\n"
        ".options reltol=1e-7 vntol=1e-10 abstol=1e-13 gmin=1e-15\n"
        f"v_x x 0 {volts}\nr_in x u 1e4\nc_u u 0 1e-12\nx_a u p n amplifier_dynamic_pair {parameters}\n"
        "r_p p 0 1e3\nc_p p 0 1e-12\nr_n n 0 1e3\nc_n n 0 1e-12\n"
        f"r_in2 x u2 1e4\nc_u2 u2 0 1e-12\nx_b u2 p2 amplifier_dynamic {parameters}\nr_p2 p2 0 1e3\nc_p2 p2 0 1e-12\n"
        ".ic v(u)=0 v(p)=0 v(n)=0 v(u2)=0 v(p2)=0\n.tran 2e-10 1e-7 0 2e-10 uic\n"
        ".print tran v(u) v(p) v(n) v(p2)\n.end\n"
    )
    printed = run_plain(deck, tmp_path)
    circuit = with_node_capacitance(with_amplifiers(amplified(), MODEL), 1e-12)
    found = transient(circuit, np.array([volts]), 1e-7, points=2000)
    scale = float(np.abs(found.voltages[-1]).max())
    for name in ("u", "p", "n"):
        ours = np.interp(printed["time"], found.times, found.voltages[:, circuit.node(name)])
        assert np.abs(ours - printed[f"v({name})"]).max() < 1e-3 * scale, name
    single = with_amplifiers(amplified(inverted=False), MODEL)
    state = solve(single, torch.tensor([volts], dtype=torch.float64), solver=Newton()).voltages
    assert printed["v(p2)"][-1] == pytest.approx(float(state[3]), rel=1e-3)
