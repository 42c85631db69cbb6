"""Layers of transistors in Newton's method: elimination of wide layers, what steps share, voltages and gradients."""

from __future__ import annotations

import copy
from dataclasses import replace
from functools import cache

import mpmath
import numpy as np
import pytest
import torch

import analog_ep as aep
from analog_ep.circuit import Circuit, Conductances, FloatingGateMosfets
from analog_ep.devices import Clamp, Level1Mosfet, ShockleyDiode
from analog_ep.equilibrium.nodal import jacobian as jacobians
from analog_ep.equilibrium.nodal.assembly import incidence
from analog_ep.equilibrium.nodal.ends import Ends
from analog_ep.equilibrium.nodal.equations import Equations
from analog_ep.equilibrium.nodal.error_bound import error_bounds
from analog_ep.equilibrium.nodal.jacobian import Jacobian, jacobian_of
from analog_ep.equilibrium.nodal.reduction import differs_in_laws, reduced_system
from analog_ep.equilibrium.nodal.trials import Trials
from analog_ep.networks.resistive_circuit import Gates, transistor_circuit
from analog_ep.support.compiled import compiled
from analog_ep.support.exponential import expm1_of

DEVICE = Level1Mosfet(width=1e-6, length=1e-6, threshold_voltage=0.6, transconductance=1e-4)
WIDE = (4, 110, 2)
"""With so many hidden nodes that those are eliminated one by one."""


@cache
def network_of(sizes: tuple[int, ...], gates: Gates = "floating") -> aep.GateNetwork:
    clamps = [Clamp.alternating(ShockleyDiode(saturation_current=1e-5), n) for n in sizes[1:-1]]
    circuit = transistor_circuit(
        sizes, DEVICE, clamps, initial_gates=(0.8, 1.6), gates=gates, leak=1e-6, substrate=-2.0
    )
    return aep.GateNetwork(circuit, (0.61, 3.0))


def inputs_of(network: aep.GateNetwork, count: int = 3) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(1).uniform(-0.3, 0.3, (count, network.n_inputs)))


@pytest.mark.parametrize("gates", ["floating", "grounded"])
def test_a_wide_layer_is_eliminated_node_by_node(gates):
    network = network_of(WIDE, gates)
    inputs = inputs_of(network, 2)
    system = reduced_system(network.circuit())
    jacobian = jacobian_of(system, symmetric=system.weights is not None)
    assert not jacobian.is_dense
    assert jacobian.size == 110 + 4
    voltages = aep.solve(network, inputs, solver=aep.Newton()).voltages.numpy()
    values = jacobian.values(system.currents(system.control_voltages(voltages))[1])
    right = np.random.default_rng(2).standard_normal((2, jacobian.size))
    dense = jacobian.dense(values).numpy()
    for transposed in (False, True):
        found = jacobian.solve(values, right, transposed)
        expected = np.linalg.solve(np.swapaxes(dense, 1, 2) if transposed else dense, right[..., None])[..., 0]
        np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-12 * np.abs(expected).max())


def test_layers_that_are_all_wide_are_factorised_as_dense_matrices(monkeypatch: pytest.MonkeyPatch):
    # With two of them the second is full when the first has been eliminated, and takes as long as all. To find that
    # out by an order of elimination would take longer than many solutions.
    monkeypatch.delattr(jacobians, "elimination_of")
    assert Jacobian(reduced_system(network_of((4, 60, 60, 2)).circuit()), symmetric=True).is_dense
    with pytest.raises(NameError, match="elimination_of"):
        Jacobian(reduced_system(network_of(WIDE).circuit()), symmetric=True)


@pytest.mark.parametrize(("gates", "sizes"), [("floating", (3, 4, 2)), ("grounded", (3, 5, 4, 2))])
def test_voltages_are_those_of_ngspice_and_gradients_differences_of_its_costs(gates, sizes):
    network = network_of(sizes, gates)
    inputs, cost = inputs_of(network), aep.CrossEntropy(0.02)
    newton, ngspice = (aep.solve(network, inputs, solver=s).voltages for s in (aep.Newton(), aep.Ngspice()))
    assert (newton - ngspice).abs().max() < 1e-9
    targets = torch.eye(2, dtype=torch.float64)[[0, 1, 0]]
    method = aep.SmallSignal if gates == "floating" else aep.AdjointNetwork
    _, found = method(network, cost, aep.Newton()).gradients(inputs, targets)
    scale = max(float(value.abs().max()) for value in found.values())
    for name, at in (("stage1", 7), ("stage2", 11)):
        costs = []
        for side in (1, -1):
            volts = network.gate_voltages
            volts[name][at] += side * 1e-3
            other = copy.deepcopy(network)
            other.set_gate_voltages(volts)
            costs.append(float(cost.value(aep.solve(other, inputs, solver=aep.Ngspice()).outputs, targets).mean()))
        assert float(found[name][at]) == pytest.approx((costs[0] - costs[1]) / 2e-3, rel=1e-4, abs=1e-5 * scale)


def alone(circuit: Circuit) -> Circuit:
    """The same circuit, of which nothing is known beforehand."""
    return replace(circuit, origin=None)


@pytest.mark.parametrize("gates", ["floating", "grounded"])
def test_what_steps_share_changes_nothing(gates):
    network = network_of((3, 6, 2), gates)
    inputs = inputs_of(network).numpy()
    before = network.circuit()
    first = aep.Newton().solve_circuit(before, inputs)
    moved = {name: value + 0.1 * torch.rand_like(value) for name, value in network.gate_voltages.items()}
    circuit = before.with_groups(group.tuned({k: v.numpy() for k, v in moved.items()}) for group in before.groups)
    assert differs_in_laws(circuit)
    shared, own = aep.Newton().solve_circuit(circuit, inputs), aep.Newton().solve_circuit(alone(circuit), inputs)
    assert np.abs(shared.voltages - first.voltages).max() > 1e-3
    np.testing.assert_array_equal(shared.voltages, own.voltages)
    np.testing.assert_array_equal(shared.error_bound, own.error_bound)
    np.testing.assert_array_equal(shared.residual, own.residual)
    systems = [reduced_system(each) for each in (before, circuit)]
    assert jacobian_of(systems[0]) is jacobian_of(systems[1])
    assert error_bounds(circuit).law is not error_bounds(before).law
    current = np.random.default_rng(3).standard_normal((len(inputs), 2))
    volts = shared.voltages
    for solve in ("solve_small_signal", "solve_adjoint"):
        given = (volts, current) if solve == "solve_adjoint" else (inputs, volts, current)
        found, expected = (getattr(aep.Newton(), solve)(each, *given) for each in (circuit, alone(circuit)))
        np.testing.assert_array_equal(found, expected)


def test_circuits_that_differ_in_more_share_nothing():
    network = network_of((3, 6, 2))
    circuit = network.circuit()

    def other(label: str, change) -> Circuit:
        return circuit.with_groups(change(group) if group.label == label else group for group in circuit.groups)

    def reversed_(group: FloatingGateMosfets) -> FloatingGateMosfets:
        return replace(group, source=np.asarray(group.source)[::-1].copy())

    assert differs_in_laws(other("stage1", lambda group: replace(group, gate_volts=group.gate_volts + 0.1)))
    assert not differs_in_laws(other("stage1", reversed_))
    leak = other("leak", lambda group: Conductances("leak", group.positive, group.negative, 2e-6))
    assert not differs_in_laws(leak)
    assert not differs_in_laws(replace(circuit, outputs=circuit.outputs and circuit.outputs[::-1]))
    assert not differs_in_laws(alone(circuit))
    inputs = inputs_of(network).numpy()
    for changed in (leak, other("stage1", reversed_)):
        found, expected = (aep.Newton().solve_circuit(each, inputs).voltages for each in (changed, alone(changed)))
        np.testing.assert_array_equal(found, expected)


def test_ends_are_products_with_the_incidence_matrix():
    random = np.random.default_rng(0)
    first, second = random.integers(0, 7, (2, 30))
    volts, currents = random.standard_normal((4, 7)), random.standard_normal((4, 30))
    ends, matrix = Ends.of([(first[:11], second[:11]), (first[11:], second[11:])], 7), incidence([(first, second)], 7)
    np.testing.assert_array_equal(ends.across(volts), volts @ matrix)
    np.testing.assert_allclose(ends.outflow(currents), currents @ matrix.T, atol=1e-14)
    both = np.abs(volts)[:, first] + np.abs(volts)[:, second]
    np.testing.assert_array_equal(ends.sizes(volts), both)
    sums = np.stack(
        [np.abs(currents)[:, first == n].sum(1) + np.abs(currents)[:, second == n].sum(1) for n in range(7)]
    )
    np.testing.assert_allclose(ends.magnitudes(currents), sums.T, rtol=1e-14)


def test_trials_keep_the_states_of_the_last_lengths():
    network = network_of((3, 6, 2))
    system = reduced_system(network.circuit())
    equations = Equations.of(system, inputs_of(network).numpy(), None, None)
    random = np.random.default_rng(0)
    x, ahead = 0.1 * random.standard_normal((2, 3, system.n_unknowns))
    caps = equations.first_caps(None)
    trials = Trials(equations, x, caps, ahead)
    trials(np.arange(3), np.ones(3))
    trials(np.array([0, 2]), np.array([0.5, 0.25]))
    lengths = np.array([0.5, 1.0, 0.125])
    state, lost = trials.after(np.arange(3), lengths)
    assert lost.tolist() == [False, False, True]
    expected = equations.at(x + np.array([0.5, 1.0, 0.25])[:, None] * ahead, caps)
    for found, own in zip(vars(state).values(), vars(expected).values(), strict=True):
        assert found is own is None or np.array_equal(found, own)


@pytest.mark.parametrize("conductance", [1e-8, 1e-4, 1e-1])
def test_exponentials_are_followed_up_to_the_slopes_beside_them(conductance):
    builder = aep.CircuitBuilder("diode and resistor")
    (node,) = builder.add_nodes(["a"])
    builder.add(Conductances("g", node, 0, conductance))
    diode = ShockleyDiode(saturation_current=1e-14)
    builder.add_diodes("d", node, 0, diode)
    system = reduced_system(builder.build())
    (cap,), (growth,) = system.first_caps, system.growth
    below, above = (diode.conductance(torch.tensor(v, dtype=torch.float64)) for v in (cap, cap + 1.01 * growth))
    assert below <= conductance * 1.01 < above


@compiled
def filled(x: np.ndarray, found: np.ndarray, room: np.ndarray) -> None:
    expm1_of(x, found, room)


def test_the_exponential_is_right_to_rounding():
    random = np.random.default_rng(0)
    x = np.concatenate([random.uniform(-3, 40, 200), random.uniform(-1e-3, 1e-3, 50), random.uniform(-700, 700, 50)])
    x = np.concatenate([x, [0.0, 1e-300, 0.5 * np.log(2), -0.5 * np.log(2)]])
    found = np.empty_like(x)
    filled(x, found, np.empty_like(x))
    expected = np.array([float(mpmath.expm1(mpmath.mpf(value))) for value in x.tolist()])
    np.testing.assert_allclose(found, expected, rtol=5e-16)


def test_a_jacobian_is_formed_once():
    system = reduced_system(network_of((3, 6, 2)).circuit())
    assert jacobian_of(system, symmetric=True) is jacobian_of(system, symmetric=True)
    assert jacobian_of(system, symmetric=True) is not jacobian_of(system)
    fresh = Jacobian(system, symmetric=True)
    np.testing.assert_array_equal(fresh.rows, jacobian_of(system, symmetric=True).rows)
