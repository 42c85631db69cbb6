"""Hopfield networks as circuits: their cards, their equations, what ngspice and gnucap make of them, other minima."""

import json
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from gnucap import gnucap_tables
from plain_ngspice import run_plain

from analog_ep import (
    Circuit,
    CrossEntropy,
    Equilibrium,
    EulerRelaxation,
    HopfieldNetwork,
    HopfieldRelaxation,
    ImplicitDifferentiation,
    LeakyIntegrators,
    Newton,
    Ngspice,
    NgspiceSettling,
    Nudge,
    Solver,
    SquaredError,
    cli,
    cross_check,
    solve,
    write_netlist,
    write_settling_netlist,
)
from analog_ep.checking import hopfield_cross_check
from analog_ep.checking.hopfield_check import distance_to_minimum
from analog_ep.circuit import (
    Capacitors,
    CircuitBuilder,
    Conductances,
    NonlinearCurrentSources,
    check_circuit,
    energy_weights,
)
from analog_ep.circuit.copies import copies
from analog_ep.devices import TanhCurve
from analog_ep.dynamics.transient import transient
from analog_ep.equilibrium import kirchhoff_residual
from analog_ep.errors import CircuitError, ConvergenceError, NetworkError, NgspiceResultError, StimulusError
from analog_ep.netlist.netlist import NetlistWriter, constant_drive
from analog_ep.netlist.settling_deck import write_settling_deck
from analog_ep.networks import ClampedLinear
from analog_ep.networks.activation import ACTIVATIONS, Tanh
from analog_ep.ngspice.process import Stop, find_ngspice
from analog_ep.ngspice.settling import SettlingRun
from analog_ep.ngspice.sweep import Batch
from analog_ep.runs.folder import Run
from analog_ep.spec import parse_spec
from tests.hopfield_networks import network, samples

FAST = HopfieldRelaxation()
KINDS = tuple(ACTIVATIONS)
HARDWARE = LeakyIntegrators(leak_conductance=2e-5, capacitance=3e-12, clamp_conductance=0.5)


def in_hardware(
    *sizes: int, activation: str = "hard_sigmoid", hardware: LeakyIntegrators = HARDWARE
) -> HopfieldNetwork:
    """A network as its circuit has it; hard sigmoids are inside and on both of their clamps."""
    net = network(activation, sizes or (6, 8, 7, 4))
    net.hardware = hardware
    return net.as_built()


def bistable() -> HopfieldNetwork:
    """A hidden unit and an output that excite each other: at rest both at 0, or both at 1, and a saddle at 0.2."""
    net = HopfieldNetwork([1, 1, 1], dtype=torch.float64, hardware=HARDWARE)
    with torch.no_grad():
        for parameter, value in zip(net.parameters(), (0.0, -0.2, 2.0, -0.2), strict=True):
            parameter.fill_(value)
    return net


def assert_same(found: Equilibrium, expected: Equilibrium, atol: float) -> None:
    for one, other in zip(found.layers, expected.layers, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=atol)


def test_the_circuit_has_the_cards_that_the_equations_ask_for():
    net = HopfieldNetwork([2, 1, 1], dtype=torch.float64, hardware=LeakyIntegrators(1e-5, 1e-11, 1.0))
    with torch.no_grad():
        for parameter, values in zip(net.parameters(), ([[0.5], [-2.0]], [0.25], [[4.0]], [-1.0]), strict=True):
            parameter.copy_(torch.tensor(values))
    circuit = net.circuit()
    check_circuit(circuit)
    cards = list(NetlistWriter(circuit, constant_drive(np.array([0.5, 1.0]))).element_cards())
    clamp = "(1.0)*(max({0}-(0.0),0)-(0.0))"
    zero = "0.0*{0}+"
    upper, lower = ((zero + clamp).format(across) for across in ("v(h1_0,clamp1_upper_rail0)", "v(0,h1_0)"))
    assert [card.replace("(-0.0)", "(0.0)") for card in cards] == [
        "v_inputs_0 x0 0 0.5",
        "v_inputs_1 x1 0 1.0",
        "r_leak_0 h1_0 0 99999.99999999999",
        "r_leak_1 o0 0 99999.99999999999",
        "c_capacitance_0 h1_0 0 1e-11",
        "c_capacitance_1 o0 0 1e-11",
        "g_weight1_0 0 h1_0 x0 0 5e-06",
        "g_weight1_1 0 h1_0 x1 0 -2e-05",
        "i_bias1_0 0 h1_0 2.5e-06",
        "g_weight2_0 0 o0 h1_0 0 4e-05",
        "g_weight2_back_0 0 h1_0 o0 0 4e-05",
        "i_bias2_0 0 o0 -1e-05",
        "v_clamp1_upper_bias_0 clamp1_upper_rail0 0 1.0",
        f"b_clamp1_upper_0 h1_0 clamp1_upper_rail0 i={upper}",
        f"b_clamp1_lower_0 0 h1_0 i={lower}",
        "v_clamp2_upper_bias_0 clamp2_upper_rail0 0 1.0",
        f"b_clamp2_upper_0 o0 clamp2_upper_rail0 i={upper}".replace("h1_0", "o0").replace("clamp1", "clamp2"),
        f"b_clamp2_lower_0 0 o0 i={lower}".replace("h1_0", "o0"),
    ]


def test_a_smooth_unit_has_an_amplifier_and_a_multiplier():
    net = HopfieldNetwork([1, 1], activation="sigmoid", dtype=torch.float64)
    with torch.no_grad():
        for parameter, value in zip(net.parameters(), (0.5, 0.25), strict=True):
            parameter.fill_(value)
    circuit = net.circuit()
    check_circuit(circuit)
    cards = list(NetlistWriter(circuit, constant_drive(np.array([0.5]))).element_cards())
    tanh = "tanh(2.0*(v(o0)-(0.5)))"
    assert cards == [
        "v_inputs_0 x0 0 0.5",
        "r_leak_0 o0 0 99999.99999999999",
        "c_capacitance_0 o0 0 1e-11",
        "r_load_0 o0_rate 0 99999.99999999999",
        "r_load_1 o0_drive 0 99999.99999999999",
        f"b_rate_0 0 o0_rate i=(1e-05)*(0.5+0.5*{tanh})",
        f"b_gate_0 0 o0 i=(1e-05)*1.0*(1-{tanh}*{tanh})*v(o0_drive)",
        "g_weight1_0 0 o0_drive x0 0 5e-06",
        "i_bias1_0 0 o0_drive 2.5e-06",
    ]


@pytest.mark.parametrize("activation", ["sigmoid", "tanh"])
def test_the_amplifiers_curve_is_the_activation(activation):
    rho = ACTIVATIONS[activation]
    assert rho.curve is not None
    states = torch.linspace(-5, 5, 101, dtype=torch.float64)
    for name in ("value", "slope", "curvature"):
        expected = getattr(rho, name)(states)
        torch.testing.assert_close(getattr(rho.curve, name)(states), expected, rtol=1e-13, atol=1e-15)


def test_force_is_the_slope_of_the_energy_with_clamps():
    net = in_hardware(hardware=LeakyIntegrators(1e-5, 1e-11, 2e-4))
    inputs, _ = samples(net, 5)
    generator = torch.Generator().manual_seed(1)
    # Beyond both clamps and between them.
    layers = tuple(
        (3 * torch.rand(5, n, generator=generator, dtype=torch.float64) - 1).requires_grad_() for n in net.sizes[1:]
    )
    slopes = torch.autograd.grad(net.energy(inputs, layers).sum(), layers)
    for force, slope in zip(net.force(inputs, layers), slopes, strict=True):
        torch.testing.assert_close(force, -slope)


@pytest.mark.parametrize("kind", ["frozen", "elastic"])
@pytest.mark.parametrize("strength", [None, 0.5, -0.2])
def test_sweeps_reach_the_fixed_point_of_the_dynamics_with_clamps(kind, strength):
    net = in_hardware(hardware=LeakyIntegrators(1e-5, 1e-11, 2e-4))
    inputs, targets = samples(net, 6)
    nudge = None if strength is None else Nudge(strength, targets, SquaredError(), kind)
    euler = EulerRelaxation(step_size=0.04, max_steps=20_000, atol=1e-12)
    free = solve(net, inputs, solver=FAST)
    found = solve(net, inputs, nudge, solver=FAST, start=free)
    assert_same(found, solve(net, inputs, nudge, solver=euler, start=free), 1e-10)
    beyond = torch.cat(found.layers, -1)
    assert bool((beyond > 1).any() and (beyond < 0).any() and ((beyond > 0) & (beyond < 1)).any())


def test_a_small_nudge_has_the_small_signal_response_with_clamps():
    net = in_hardware(hardware=LeakyIntegrators(1e-5, 1e-11, 2e-4))
    inputs, targets = samples(net, 6)
    free = solve(net, inputs, solver=FAST)
    response, _ = FAST.small_signal(free, targets - free.outputs)
    nudged = solve(net, inputs, Nudge(1e-9, targets, SquaredError()), solver=FAST, start=free)
    for exact, small in zip(response, nudged.response(about=free), strict=True):
        torch.testing.assert_close(small / 1e-9, exact, rtol=1e-7, atol=1e-9)


def test_stiff_clamps_are_nearly_the_bounds_of_training():
    net = network()
    inputs, _ = samples(net, 6)
    assert_same(solve(net.as_built(), inputs, solver=FAST), solve(net, inputs, solver=FAST), 5e-5)


@pytest.mark.parametrize("activation", KINDS)
def test_pytorchs_states_satisfy_kirchhoffs_law_in_the_circuit(activation):
    net = in_hardware(activation=activation)
    inputs, targets = samples(net, 6)
    free = solve(net, inputs, solver=FAST)
    nudged = solve(net, inputs, Nudge(0.5, targets, SquaredError()), solver=FAST, start=free)
    circuit = net.circuit()
    currents = HARDWARE.leak_conductance * 0.5 * (targets - free.outputs).numpy()
    injected = np.zeros((6, circuit.n_nodes))
    injected[:, circuit.layers["o"]] = currents
    for state, into in ((free, None), (nudged, injected)):
        residual, scale = kirchhoff_residual(circuit, state.voltages.numpy(), into)
        assert np.abs(residual).max() < 1e-10 * scale.max()


@pytest.mark.parametrize("activation", KINDS)
@pytest.mark.parametrize("kind", ["frozen", "elastic"])
def test_newton_on_the_circuit_finds_pytorchs_states(kind, activation):
    net = in_hardware(activation=activation)
    inputs, targets = samples(net, 6)
    nudge = Nudge(0.5, targets, SquaredError(), kind)
    free, again = (solve(net, inputs, solver=solver) for solver in (FAST, Newton()))
    assert_same(again, free, 1e-11)
    nudged = solve(net, inputs, nudge, solver=FAST, start=free)
    assert_same(solve(net, inputs, nudge, solver=Newton(), start=again), nudged, 1e-11)


def test_a_nudge_competes_with_the_leak_whatever_it_is():
    nets = [in_hardware(hardware=LeakyIntegrators(leak, 1e-11, 1e5 * leak)) for leak in (1e-6, 1e-4)]
    inputs, targets = samples(nets[0], 3)
    nudge = Nudge(0.5, targets, CrossEntropy(0.5))
    first, second = (solve(net, inputs, nudge, solver=Newton()) for net in nets)
    assert_same(first, second, 1e-11)


@pytest.mark.ngspice
@pytest.mark.parametrize("activation", KINDS)
@pytest.mark.parametrize("kind", ["frozen", "elastic"])
def test_ngspice_settles_where_the_dynamics_of_the_paper_do(kind, activation):
    net = network(activation)
    twin = net.as_built()
    inputs, targets = samples(net, 2, 2)
    nudge = Nudge(0.5, targets, SquaredError(), kind)
    free = solve(twin, inputs, solver=NgspiceSettling(processes=2))
    nudged = solve(twin, inputs, nudge, solver=NgspiceSettling(processes=2), start=free)
    assert_same(free, solve(twin, inputs, solver=FAST), 1e-9)
    assert_same(nudged, solve(twin, inputs, nudge, solver=FAST), 1e-9)
    # Of ideal bounds they are the clamps' distance away.
    away = 5e-5 if activation == "hard_sigmoid" else 1e-9
    euler = EulerRelaxation(step_size=0.4, max_steps=2000, atol=1e-12)
    assert_same(free, solve(net, inputs, solver=euler), away)
    assert_same(nudged, solve(net, inputs, nudge, solver=euler), away)


@pytest.mark.ngspice
def test_what_still_moves_goes_on_until_it_is_at_rest():
    net = in_hardware(3, 4, 2)
    inputs, _ = samples(net, 2)
    short = 2 * HARDWARE.time_constant
    with pytest.raises(
        ConvergenceError, match="must satisfy Kirchhoff's current law, found 2 of 2 samples that do not"
    ):
        solve(net, inputs, solver=NgspiceSettling(duration=short, max_runs=1))
    found = solve(net, inputs, solver=NgspiceSettling(duration=short))
    assert found.iterations > 2
    assert_same(found, solve(net, inputs, solver=FAST), 1e-9)
    at_rest = solve(net, inputs, solver=NgspiceSettling(duration=short, max_runs=1), start=found)
    assert_same(at_rest, found, 1e-9)


@pytest.mark.ngspice
def test_a_sample_that_fails_on_its_way_leaves_the_others(monkeypatch):
    net = in_hardware(3, 4, 2)
    inputs, _ = samples(net, 2)
    short, run = 2 * HARDWARE.time_constant, SettlingRun.run

    def failing(self: SettlingRun, batch: Batch, stop: Stop | None = None) -> np.ndarray:
        if (batch.inputs[0] == inputs[1].numpy()).all() and batch.start is not None and batch.start.any():
            raise NgspiceResultError("ngspice must run without complaint, found: timestep too small")
        return run(self, batch, stop)

    monkeypatch.setattr(SettlingRun, "run", failing)
    found = solve(net, inputs, solver=NgspiceSettling(duration=short), throw=False)
    assert found.converged.tolist() == [True, False]
    assert bool(found.outputs[1].isnan().all())
    assert "found 1 of 2 that it did not (1)" in found.message
    assert "timestep too small" in found.message


@pytest.mark.ngspice
def test_an_operating_point_begins_at_the_nodeset():
    net = bistable().as_built()
    inputs = torch.zeros(3, 1, dtype=torch.float64)
    layers = tuple(torch.tensor([[1.1], [-0.1], [1.1]], dtype=torch.float64) for _ in range(2))
    start = _state(net, inputs, layers)
    found = solve(net, inputs, solver=Ngspice(nodeset=True), start=start)
    expected = torch.tensor([1.0, 0.0, 1.0], dtype=torch.float64)
    torch.testing.assert_close(found.outputs[:, 0], expected, rtol=0, atol=1e-4)
    with pytest.raises(StimulusError, match="nodeset needs a state to begin from, found none"):
        solve(net, inputs, solver=Ngspice(nodeset=True))


def _state(net: HopfieldNetwork, inputs: torch.Tensor, layers: tuple[torch.Tensor, ...]) -> Equilibrium:
    """A given state as a solver would hand it over."""
    good = torch.ones(len(inputs), dtype=torch.bool)
    return Equilibrium(
        net,
        inputs,
        layers,
        layers[-1],
        good,
        torch.zeros(len(inputs)),
        0,
        "given",
        node_voltages=lambda: net.node_voltages(inputs, layers),
    )


@dataclass(frozen=True)
class From(Solver):
    """Settles from a level of its own in place of rest, and may then misread what it finds."""

    level: float
    wrong: float = 0.0

    def solve(self, system, inputs, nudge=None, free=None, chip=None) -> Equilibrium:
        assert isinstance(system, HopfieldNetwork)
        if free is None:
            free = _state(system, inputs, tuple(torch.full_like(u, self.level) for u in system.rest(inputs)))
        found = solve(system, inputs, nudge, solver=NgspiceSettling(), start=free)
        layers = tuple(layer + self.wrong for layer in found.layers)
        read = _state(system, inputs, layers)
        object.__setattr__(read, "nudge", nudge)
        return read


def bistable_check(solver: Solver | None = None):
    inputs, targets = torch.zeros(2, 1, dtype=torch.float64), torch.zeros(2, 1, dtype=torch.float64)
    return hopfield_cross_check(bistable(), inputs, targets, strengths=[0.1], cost=SquaredError(), settling=solver)


@pytest.mark.ngspice
def test_another_minimum_is_counted_and_is_no_error():
    found = bistable_check(From(0.9))
    assert found.other_basins == {"free": (0, 1), "nudged by 0.1": (0, 1)}
    assert found.n_other_basins == 2
    assert found.max_state_error == 0.0
    assert found.max_operating_point_error < 1e-9
    same = bistable_check()
    assert same.other_basins == {"free": (), "nudged by 0.1": ()}
    assert 0 < same.max_state_error < 1e-9


@pytest.mark.ngspice
@pytest.mark.parametrize("level", [0.0, 0.9])
def test_what_is_no_minimum_is_an_error_and_no_other_basin(level):
    found = bistable_check(From(level, wrong=1e-3))
    assert found.other_basins["free"] == ()
    assert found.max_state_error > 0.9e-3
    assert not found.passed


def test_a_saddle_is_no_other_basin():
    net = bistable().as_built()
    inputs = torch.zeros(1, 1, dtype=torch.float64)
    rest = 1 + 0.8 / (HARDWARE.stiffness - 1)
    for level, expected in ((0.2, np.inf), (rest, 0.0), (1.1, 1.1 - rest)):
        layers = tuple(torch.full((1, 1), level, dtype=torch.float64) for _ in range(2))
        state = _state(net, inputs, layers)
        distance = distance_to_minimum(net, state, 0, state.outputs[0])
        assert distance == pytest.approx(expected, abs=1e-12)


@pytest.mark.ngspice
@pytest.mark.parametrize("activation", ["sigmoid", "tanh"])
def test_a_cross_check_of_smooth_units(activation):
    net = network(activation, (4, 5, 3))
    inputs, targets = samples(net, 2)
    found = cross_check(net, inputs, targets, nudging=0.3, kind="elastic")
    assert found.passed
    assert max(found.max_state_error, found.max_operating_point_error, found.max_contrast_error) < 1e-9
    assert found.clamp_distance == 0
    assert found.clamped == (0.0, 0.0)


@pytest.mark.ngspice
def test_a_cross_check_tells_errors_clamps_and_gradients():
    net = network(sizes=(4, 5, 3))
    net.hardware = HARDWARE
    inputs, targets = samples(net, 3)
    found = cross_check(net, inputs, targets, nudging=0.3, kind="frozen")
    assert found.passed
    assert set(found.other_basins) == {"free", "nudged by -0.3", "nudged by 0.3"}
    assert found.max_state_error < 1e-9
    assert found.max_contrast_error < 1e-9
    assert (found.samples, found.units) == (3, 8)
    beyond = []
    free = solve(net, inputs, solver=FAST)
    for strength in (0.0, -0.3, 0.3):
        nudge = Nudge(strength, targets, SquaredError())
        drives = net.drives([inputs, *solve(net, inputs, nudge, solver=FAST, start=free).layers])
        drives[-1] = drives[-1] + nudge.current(free.outputs)
        beyond += [float(torch.maximum(p - 1, -p).detach().max()) / (1 + HARDWARE.stiffness) for p in drives]
    assert found.clamp_distance == pytest.approx(max(beyond), rel=1e-3)
    with pytest.raises(StimulusError, match="knows no chip's mismatch"):
        cross_check(net, inputs, targets, nudging=0.3, chip=object())  # pyright: ignore


@pytest.mark.ngspice
@pytest.mark.parametrize("activation", KINDS)
@pytest.mark.parametrize("kind", ["frozen", "elastic"])
def test_decks_run_in_plain_ngspice(kind, activation, tmp_path):
    net = in_hardware(activation=activation)
    inputs, targets = (values[0] for values in samples(net, 1))
    nudge = Nudge(0.5, targets, SquaredError(), kind)
    free = solve(net, inputs, solver=FAST)
    phases = (free, solve(net, inputs, nudge, solver=FAST, start=free))
    for phase, rows in (("free", [0]), ("nudged", [1]), ("both", [0, 1])):
        table = run_plain(write_netlist(net, inputs, nudge, path=tmp_path / "deck.cir", phase=phase))  # pyright: ignore
        for layer, name in enumerate(("h1_0", "h2_3", "o2")):
            unit = int(name.rpartition("_")[2]) if "_" in name else 2
            expected = [float(phases[row].layers[layer][unit]) for row in rows]
            np.testing.assert_allclose(table[f"v({name})"], expected, rtol=0, atol=1e-8)


def run_measured(path: Path) -> dict[str, float]:
    """What the measurements of a deck print in plain ngspice."""
    done = subprocess.run([find_ngspice(), "-b", path], capture_output=True, text=True, timeout=60, check=True)
    return {words[0]: float(words[2]) for line in done.stdout.splitlines() if (words := line.split())[1:2] == ["="]}


@pytest.mark.ngspice
@pytest.mark.parametrize("activation", KINDS)
def test_a_deck_that_settles_from_rest_measures_both_phases(activation, tmp_path):
    net = in_hardware(activation=activation)
    inputs, targets = (values[0] for values in samples(net, 1))
    nudge = Nudge(0.5, targets, SquaredError(), "elastic")
    path = write_settling_netlist(net, inputs, nudge, path=tmp_path / "settling.cir")
    printed = run_measured(path)
    free = solve(net, inputs, solver=FAST)
    nudged = solve(net, inputs, nudge, solver=FAST, start=free)
    for name, state in (("free", free), ("nudged", nudged)):
        found = [printed[f"{name}_o{j}"] for j in range(4)]
        np.testing.assert_allclose(found, state.outputs.numpy(), rtol=0, atol=2e-6)
    text = write_settling_deck(net.circuit(), inputs, duration=1e-5)
    assert "v_phase" not in text
    assert ".meas tran free_o0" in text
    assert "nudged_o0" not in text


@pytest.mark.ngspice
@pytest.mark.parametrize("dialect", ["xyce", "ltspice", "hspice", "spectre"])
def test_every_dialect_with_expressions_carries_smooth_units(dialect, tmp_path):
    net = in_hardware(2, 1, activation="tanh")
    inputs = samples(net, 1)[0][0]
    text = write_netlist(net, inputs, path=tmp_path / "deck.cir", dialect=dialect).read_text()
    expression = "(2e-05)*1.0*(1-tanh(1.0*(v(o0)-(0.0)))*tanh(1.0*(v(o0)-(0.0))))*v(o0_drive)"
    assert {
        "xyce": f"b_gate_0 0 o0 i={{{expression}}}",
        "ltspice": f"b_gate_0 0 o0 i={expression}",
        "hspice": f"g_gate_0 0 o0 cur='{expression}'",
        "spectre": f"b_gate_0 (0 o0) bsource i={expression}",
    }[dialect] in text.splitlines()
    with pytest.raises(CircuitError, match="a gnucap netlist has no expressions, found one needed for b_rate_0"):
        write_netlist(net, inputs, path=tmp_path / "no.cir", dialect="gnucap")


def ring(*capacitors: int) -> Circuit:
    """Three inverting amplifiers of gain 3 in a ring, with capacitors at some of the nodes."""
    builder = CircuitBuilder("ring")
    nodes = builder.add_nodes(["a", "b", "c"])
    builder.add(Conductances("r", nodes, 0, 1e-3))
    builder.add(NonlinearCurrentSources("s", nodes, 0, np.roll(nodes, 1), TanhCurve(gain=3.0), 1e-3))
    if capacitors:
        builder.add(Capacitors("c", nodes[list(capacitors)], 0, 1e-12))
    return builder.build()


def test_an_unstable_ring_of_nonlinear_sources_is_told():
    with pytest.raises(ConvergenceError, match="is unstable"):
        solve(ring(), torch.zeros(1, 0, dtype=torch.float64), solver=Newton())


def test_a_saddle_of_smooth_units_is_told():
    net = HopfieldNetwork([1, 1, 1], activation="tanh", dtype=torch.float64)
    with torch.no_grad():
        for parameter, value in zip(net.parameters(), (0.0, 0.0, 2.0, 0.0), strict=True):
            parameter.fill_(value)
    nothing = torch.zeros(1, 1, dtype=torch.float64)
    # By symmetry at 0, where the loop gain of 2 makes it a saddle.
    with pytest.raises(ConvergenceError, match="is unstable"):
        solve(net, nothing, solver=Newton())


def test_a_transient_follows_nonlinear_sources():
    net = in_hardware(2, 2, 2, activation="sigmoid")
    inputs, _ = samples(net, 1)
    circuit = net.circuit()
    settled = transient(circuit, inputs[0].numpy(), 1e-4).voltages[-1]
    equilibrium = solve(circuit, inputs, solver=Newton(), start=None).voltages[0].numpy()
    np.testing.assert_allclose(settled, equilibrium, rtol=0, atol=1e-6)


def test_nonlinear_sources_have_no_energy():
    assert energy_weights(ring(0)).reason == "s is a one-way controlled source"


def test_copies_of_nonlinear_sources_see_their_own_nodes():
    net = in_hardware(2, 2, 2, activation="sigmoid")
    inputs, _ = samples(net, 3)
    one = solve(net.circuit(), inputs, solver=Newton())
    both = solve(copies(net.circuit(), 2), inputs, solver=Newton())
    torch.testing.assert_close(both.outputs, torch.cat([one.outputs, one.outputs], -1), rtol=0, atol=1e-12)


@pytest.mark.gnucap
def test_gnucap_solves_the_deck(tmp_path):
    net = in_hardware()
    inputs, targets = (values[0] for values in samples(net, 1))
    nudge = Nudge(0.5, targets, SquaredError())
    path = write_netlist(net, inputs, nudge, path=tmp_path / "gnucap.cir", dialect="gnucap")
    printed = gnucap_tables(path.read_text(), tmp_path)
    free = solve(net, inputs, solver=FAST)
    nudged = solve(net, inputs, nudge, solver=FAST, start=free)
    for j in range(4):
        expected = [float(state.outputs[j]) for state in (free, nudged)]
        np.testing.assert_allclose(printed[f"v(o{j})"], expected, rtol=0, atol=1e-6)
    elastic = Nudge(0.5, targets, SquaredError(), "elastic")
    with pytest.raises(CircuitError, match="use a frozen nudge, or another dialect: ngspice, xyce"):
        write_netlist(net, inputs, elastic, path=tmp_path / "no.cir", dialect="gnucap")
    assert not (tmp_path / "no.cir").exists()


@pytest.mark.parametrize(
    ("dialect", "line"),
    [("ngspice", ".nodeset v(h1_0)="), ("hspice", ".nodeset v(h1_0)="), ("spectre", "nodeset h1_0="), ("gnucap", None)],
)
def test_the_search_of_every_dialect_begins_at_the_free_state(dialect, line, tmp_path):
    net = in_hardware(3, 2, 2)
    inputs = samples(net, 1)[0][0]
    text = write_netlist(net, inputs, path=tmp_path / "deck.cir", dialect=dialect).read_text()
    volts = repr(float(solve(net, inputs, solver=FAST).layers[0][0]))
    assert (f"{line}{volts}" in text) if line else ("gnucap has no nodeset" in text)


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Path:
    """A run of one epoch."""
    tables = {
        "data": {"source": "digits"},
        "network": {"kind": "hopfield", "sizes": [64, 6, 10], "initial_scale": 0.5, "clamp_conductance": 0.5},
        "cost": {"function": "squared_error"},
        "gradient": {"nudging": 0.5, "variant": "positive", "kind": "elastic"},
        "training": {"epochs": 1, "learning_rate": 0.01},
    }
    run = Run.create(tmp_path_factory.mktemp("hopfield") / "run", parse_spec(tables, "test"))
    run.train([])
    return run.path


@pytest.fixture
def command(capsys) -> Callable[..., tuple[int, str]]:
    """Runs the command and gives its exit status, and what it prints."""

    def run(*words: object) -> tuple[int, str]:
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            cli.main([str(word) for word in words])
        printed, code = capsys.readouterr().out, ended.value.code
        return (1, f"{code}\n") if isinstance(code, str) else (int(code or 0), printed)

    return run


@pytest.mark.ngspice
def test_the_command_checks_a_run(trained, command):
    status, printed = command("check", trained, "--samples", 2, "--json")
    found = json.loads(printed)
    assert status == 0
    assert found["passed"]
    assert found["samples"] == 2
    assert found["units"] == 16
    assert found["other_basins"] == {"free": [], "nudged by 0.5": []}
    assert found["max_state_error"] < 1e-9
    status, printed = command("check", trained, "--samples", 1, "--processes", 2)
    assert status == 0
    for row in ("largest error of a settled state", "in another basin, nudged by 0.5", "distance beyond a clamp"):
        assert row in printed


@pytest.mark.ngspice
def test_the_command_exports_a_run(trained, command, tmp_path):
    path = tmp_path / "deck.cir"
    assert command("export", trained, "--sample", 1, "-o", path) == (0, f"wrote {path}\n")
    both = run_plain(path)
    assert len(both["v(h1_5)"]) == 2
    assert "g_on_upper=0.5" in path.read_text()
    status, _ = command("export", trained, "--sample", 1, "--phase", "transient", "-o", path)
    assert status == 0
    measured = run_measured(path)
    for row, name in enumerate(("free", "nudged")):
        for node in ("h1_5", "o3"):
            assert measured[f"{name}_{node}"] == pytest.approx(both[f"v({node})"][row], abs=2e-6)


def test_what_a_hopfield_run_has_not_is_told(trained, command, tmp_path):
    path = tmp_path / "deck.cir"
    for words, said in (
        (["export", trained, "--phase", "transient", "--samples", 2, "-o", path], "shows one sample"),
        (["export", trained, "--phase", "transient", "--capacitance", 1e-12, "-o", path], "spec's network.capacitance"),
        (
            ["export", trained, "--conductances", path],
            'network.kind must be "resistive", "convolutional" or "circuit"',
        ),
        (["check", trained, "--array", "twin"], "the run's chip must have twin arrays"),
    ):
        status, printed = command(*words)
        assert status == 1
        assert printed.count("\n") == 1
        assert said in printed
        assert not path.exists()


class Bare(Tanh):
    """An activation that says nothing of its circuit."""

    curve = None


def test_what_cannot_be_is_refused():
    with pytest.raises(NetworkError, match="LeakyIntegrators: capacitance must be positive and finite, found 0"):
        LeakyIntegrators(capacitance=0)
    with pytest.raises(NetworkError, match="stiffness of a clamp must be positive and finite, found -1"):
        ClampedLinear(-1)
    with pytest.raises(NetworkError, match="needs an activation with a clamp or a curve, found Bare"):
        HopfieldNetwork([3, 2], activation=Bare()).circuit()
    net = in_hardware(3, 2, 2)
    with pytest.raises(StimulusError, match="or a GateNetwork, found a HopfieldNetwork; use Energy"):
        ImplicitDifferentiation(net, SquaredError())  # pyright: ignore[reportArgumentType]
    circuit = net.circuit()
    bare: Circuit = circuit.with_groups(group for group in circuit.groups if group.label != "capacitance")
    inputs = samples(net, 1)[0]
    for attempt in (
        lambda: solve(bare, inputs, solver=NgspiceSettling()),
        lambda: write_settling_deck(bare, inputs[0], duration=1e-5),
    ):
        with pytest.raises(StimulusError, match="settling needs capacitors, found none in 'Hopfield network 3-2-2'"):
            attempt()
    with pytest.raises(StimulusError, match="a phase needs a positive duration, found 0 s"):
        write_settling_deck(circuit, inputs[0], duration=0)
    with pytest.raises(StimulusError, match="NgspiceSettling: max_runs must be at least 1, found 0"):
        NgspiceSettling(max_runs=0)
    with pytest.raises(StimulusError, match="duration must be positive and finite, found -1"):
        NgspiceSettling(duration=-1)


@pytest.mark.ngspice
def test_ngspice_follows_the_dynamics_into_another_minimum_than_the_sweeps():
    net = HopfieldNetwork([10, 12, 6], initial_scale=2.0, dtype=torch.float64)
    inputs = torch.rand(4, 10, generator=torch.Generator().manual_seed(0), dtype=torch.float64)[3:]
    twin = net.as_built()
    sweeps, settled = (solve(twin, inputs, solver=solver) for solver in (FAST, NgspiceSettling()))
    followed = solve(net, inputs, solver=EulerRelaxation(step_size=0.05, max_steps=5000, atol=1e-8))
    assert_same(settled, followed, 2e-4)
    assert float((settled.layers[0] - sweeps.layers[0]).abs().max()) > 0.1
    assert np.abs(kirchhoff_residual(twin.circuit(), sweeps.voltages.numpy())[0]).max() < 1e-14
    found = hopfield_cross_check(
        net, inputs, torch.zeros(1, 6, dtype=torch.float64), strengths=[0.1], cost=SquaredError()
    )
    assert found.other_basins["free"] == (0,)
