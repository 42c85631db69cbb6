"""The adjoint network and the circuit of asymmetric EP: transposed equations, element by element."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from analog_ep import Newton, ResistiveNetwork, ShockleyDiode, SquaredError, implicit_gradients, solve
from analog_ep.circuit import (
    Amplifiers,
    Chip,
    Circuit,
    CircuitBuilder,
    Conductances,
    CurrentControlledCurrentSources,
    CurrentControlledVoltageSources,
    GatedMosfets,
    VoltageControlledCurrentSources,
    VoltageControlledVoltageSources,
    VoltageSources,
)
from analog_ep.circuit.adjoint import adjoint_network, asymmetric_circuit, asymmetric_shares, asymmetric_weights
from analog_ep.devices import EkvMosfet
from tests.any_circuits import any_circuit
from tests.own_kinds import Followers, SquareLawTransistors

NEWTON = Newton()


def mismatched(circuit: Circuit, seed: int, spread: float = 0.2) -> Circuit:
    """With gains and feedbacks of its amplifiers drawn apart."""
    rng, groups = np.random.default_rng(seed), []
    for group in circuit.groups:
        if isinstance(group, Amplifiers):
            gain, feedback = (v * np.exp(spread * rng.normal(size=len(group))) for v in (group.gain, group.feedback))
            group = replace(group, gain=gain, feedback=feedback, offset=0.01 * rng.normal(size=len(group)))
        groups.append(group)
    return circuit.with_groups(groups)


def own_transistors() -> Circuit:
    """Two own transistors, of which one's gate is a node of the network, with a load each."""
    builder = CircuitBuilder("own transistors")
    builder.add_nodes(["x", "supply", "a", "b"])
    builder.add(VoltageSources("v", ["x", "supply"], "0", [0.0, 1.5], [0, -1]))
    builder.add(Conductances("g", ["supply", "supply", "a", "b"], ["a", "b", "b", "0"], 1e-4, "g", range(4)))
    builder.add(SquareLawTransistors("m", ["a", "b"], "0", ["x", "a"], [3e-4, 2e-4], 0.4))
    builder.set_outputs(["b"], ["a"])
    return builder.build()


def gated() -> Circuit:
    """A mesh of EKV transistors whose gates learn, two of them joined by a conductance."""
    builder = CircuitBuilder("gated")
    builder.add_nodes(["x", "a", "b", "c"])
    builder.add(VoltageSources("v", "x", "0", 0.0, 0))
    first, second = ["x", "a", "b", "x", "c"], ["a", "b", "0", "c", "0"]
    volts = [1.2, 1.0, 1.4, 0.9, 1.1]
    builder.add(GatedMosfets("m", first, second, volts, EkvMosfet(), parameter="vg", index=range(5)))
    builder.add(Conductances("r", "b", "c", 2e-5))
    builder.set_outputs(["b"], ["c"])
    return builder.build()


def own_amplifiers() -> Circuit:
    """Amplifiers of one's own, between two blocks, and one-way sources of every kind; two follow one ammeter."""
    builder = CircuitBuilder("own amplifiers")
    builder.add_nodes(["x", "a", "b", "p", "q", "c", "e", "h", "meter"])
    builder.add(VoltageSources("v", "x", "0", 0.0, 0))
    builder.add(Followers("amp", ["a", "b"], ["p", "q"], [3.0, 2.0], [0.5, 0.8]))
    first, second = ["x", "x", "a", "p", "q", "c", "e", "h"], ["a", "b", "b", "c", "c", "0", "c", "b"]
    builder.add(Conductances("g", first, second, np.linspace(1, 2, 8) * 1e-4, "g", range(8)))
    builder.add(VoltageSources("ammeter", "meter", "0", 0.1))
    builder.add(Conductances("sensed", "a", "meter", 5e-5, "s", 0))
    builder.add(CurrentControlledCurrentSources("f", ["b", "0"], ["0", "c"], "ammeter", [0, 0], [0.3, -0.2]))
    builder.add(CurrentControlledVoltageSources("h_source", "h", "0", "ammeter", 0, 2e3))
    builder.add(VoltageControlledVoltageSources("e_source", "e", "0", "b", "a", 0.6))
    builder.add(VoltageControlledCurrentSources("g_source", "a", "0", "c", "b", 2e-5))
    builder.set_outputs(["c"], ["0"])
    return builder.build()


def blocks() -> Circuit:
    """Two blocks of different weights, joined by amplifiers of one's own, and one-way sources from one to the other."""
    builder = CircuitBuilder("blocks")
    builder.add_nodes(["x", "a", "b", "p", "q", "c", "e"])
    builder.add(VoltageSources("v", "x", "0", 0.0, 0))
    builder.add(Followers("amp", ["a", "b"], ["p", "q"], [3.0, 3.2], [0.5, 0.6]))
    first, second = ["x", "x", "a", "p", "q", "c", "e"], ["a", "b", "b", "c", "c", "0", "c"]
    builder.add(Conductances("g", first, second, np.linspace(1, 2, 7) * 1e-4, "g", range(7)))
    builder.add(VoltageControlledVoltageSources("e_source", "e", "0", "b", "a", 0.6))
    builder.add(VoltageControlledCurrentSources("g_source", "c", "0", "a", "0", 2e-5))
    builder.set_outputs(["c"], ["0"])
    return builder.build()


def test_weights_differ_between_blocks_that_sources_join():
    circuit = blocks()
    weights = asymmetric_weights(circuit)
    assert weights[circuit.node("c")] < 0.3 * weights[circuit.node("a")]


def layered() -> Circuit:
    net = ResistiveNetwork([2, 4, 3, 2], diode=ShockleyDiode(1e-9), gain=4.0, seed=1, dtype=torch.float64)
    return mismatched(net.circuit(), 3)


CIRCUITS = {
    "own transistors": own_transistors,
    "gated": gated,
    "own amplifiers": own_amplifiers,
    "blocks": blocks,
    "layered": layered,
    **{f"any {seed}": (lambda seed=seed: mismatched(any_circuit(seed), seed)) for seed in (2, 3, 4, 14, 18, 24)},
}


def gradients(circuit: Circuit, free: np.ndarray, response: np.ndarray, shares: dict | None = None) -> dict:
    found: dict[str, np.ndarray] = {}
    for group in circuit.learning_groups():
        pairs = group.controls()
        volts, changes = ([state[p] - state[n] for p, n in pairs] for state in (free, response))
        each = group.contrast(volts, changes, True) * (1.0 if shares is None else shares[group.label])
        assert group.parameter is not None
        found[group.parameter] = found.get(group.parameter, 0) + np.bincount(np.asarray(group.index), each, 60)
    return found


@pytest.mark.parametrize("name", CIRCUITS)
def test_both_circuits_give_the_exact_gradient(name):
    circuit = CIRCUITS[name]()
    generator = torch.Generator().manual_seed(1)
    inputs = 0.6 + 0.3 * torch.rand(1, circuit.n_inputs, generator=generator, dtype=torch.float64)
    targets = torch.rand(1, circuit.n_outputs, generator=generator, dtype=torch.float64) - 0.5
    free = solve(circuit, inputs, solver=NEWTON)
    volts, cost = free.voltages[0].numpy(), SquaredError()
    exact = implicit_gradients(circuit, cost, inputs, targets, free)
    current = -cost.gradient(free.outputs, targets).numpy()

    adjoint = adjoint_network(circuit, volts)
    assert adjoint.n_inputs == 0
    assert all(group.resistors() is not None or group.slopes() for group in adjoint.of_kind(Conductances))
    mu = NEWTON.solve_small_signal(adjoint, np.zeros((1, 0)), np.zeros((1, adjoint.n_nodes)), current)[0]

    weights = asymmetric_weights(circuit)
    corrected = asymmetric_circuit(circuit, volts, weights)
    start = np.concatenate([volts, np.zeros(corrected.n_nodes - len(volts))])[None]
    unused = np.zeros((1, corrected.n_inputs))
    rest = NEWTON.solve_circuit(corrected, unused, start=start)
    assert rest.converged.all()
    np.testing.assert_allclose(rest.voltages[0, : len(volts)], volts, rtol=0, atol=1e-11)
    delta = NEWTON.solve_small_signal(corrected, unused, start, current)[0]

    shares = asymmetric_shares(circuit, weights)
    for found in (gradients(circuit, volts, mu), gradients(circuit, volts, delta, shares)):
        for key, wanted in exact.items():
            scale = float(wanted.abs().max())
            np.testing.assert_allclose(found[key][: len(wanted)], wanted.numpy(), rtol=0, atol=1e-9 * scale)


def test_by_central_differences_of_every_conductance():
    circuit = own_amplifiers()
    inputs, targets = torch.tensor([[0.7]], dtype=torch.float64), torch.tensor([[0.2]], dtype=torch.float64)
    free = solve(circuit, inputs, solver=NEWTON)
    adjoint = adjoint_network(circuit, free.voltages[0].numpy())
    current = (targets - free.outputs).numpy()
    mu = NEWTON.solve_small_signal(adjoint, np.zeros((1, 0)), np.zeros((1, adjoint.n_nodes)), current)[0]
    found = gradients(circuit, free.voltages[0].numpy(), mu)

    def cost(label: str, place: int, step: float) -> float:
        groups = []
        for group in circuit.groups:
            if group.label == label:
                assert isinstance(group, Conductances)
                siemens = np.array(group.siemens)
                siemens[place] *= 1 + step
                group = replace(group, siemens=siemens)
            groups.append(group)
        outputs = solve(circuit.with_groups(groups), inputs, solver=NEWTON).outputs
        return float(SquaredError().value(outputs, targets).mean())

    for group in circuit.learning_groups():
        for i in range(len(group)):
            sides = cost(group.label, i, 1e-4), cost(group.label, i, -1e-4)
            difference = (sides[0] - sides[1]) / (2e-4 * group.learnt[i])
            assert found[str(group.parameter)][i] == pytest.approx(difference, rel=1e-6, abs=1e-9)


def test_reciprocal_elements_need_no_correction():
    circuit = ResistiveNetwork([2, 3, 2], diode=ShockleyDiode(), seed=1, dtype=torch.float64).circuit()
    free = solve(circuit, torch.ones(1, 2, dtype=torch.float64), solver=NEWTON).voltages[0].numpy()
    corrected = asymmetric_circuit(circuit, free, asymmetric_weights(circuit))
    ours, theirs = (c.group("amplifier1") for c in (circuit, corrected))
    np.testing.assert_allclose(theirs.parameters()["gain"], ours.parameters()["gain"], rtol=1e-12)
    np.testing.assert_allclose(theirs.parameters()["feedback"], ours.parameters()["feedback"], rtol=1e-12)
    chip = Chip.draw(circuit, 0, gain=0.1, feedback=0.1)
    own = chip.apply(circuit)
    free = solve(own, torch.ones(1, 2, dtype=torch.float64), solver=NEWTON).voltages[0].numpy()
    group = asymmetric_circuit(own, free, asymmetric_weights(circuit)).group("amplifier1").parameters()
    was = own.group("amplifier1").parameters()
    np.testing.assert_allclose(group["gain"], 16 * was["feedback"], rtol=1e-12)
    np.testing.assert_allclose(group["feedback"], was["gain"] / 16, rtol=1e-12)
