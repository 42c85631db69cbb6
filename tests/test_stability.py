"""The critical nudge against eigenvalues of the dense Hessian of the circuit."""

import re

import numpy as np
import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from layered_networks import cases, dense_hessian, examples

from analog_ep.circuit import (
    Capacitors,
    Circuit,
    CircuitBuilder,
    Conductances,
    VoltageControlledCurrentSources,
    VoltageSources,
)
from analog_ep.devices import DiodeClamp, HardClamp, IdealDiode, ShockleyDiode
from analog_ep.dynamics.transient import transient
from analog_ep.equilibrium.equilibrium import Equilibrium, solve
from analog_ep.equilibrium.layered.relaxation import Relaxation
from analog_ep.equilibrium.layered.resistive_layers import Ladder
from analog_ep.equilibrium.layered.stability import critical_nudging, require_stable_nudge
from analog_ep.equilibrium.nodal.jacobian import Jacobian
from analog_ep.equilibrium.nodal.newton import Newton
from analog_ep.equilibrium.nodal.reduction import reduced_system
from analog_ep.equilibrium.nodal.spectrum import stable_samples
from analog_ep.errors import UnstableNudgeError
from analog_ep.networks import CircuitNetwork, ResistiveNetwork
from analog_ep.stimulus import Cost, CrossEntropy, Nudge, SquaredError


def critical(network: ResistiveNetwork, state: Equilibrium, cost: Cost) -> float:
    """Smallest b over the batch at which the Hessian of E − b w_L C is singular."""
    smallest, circuit = np.inf, network.circuit()
    for voltages, curvature in zip(state.voltages.numpy(), cost.hessian(state.outputs).numpy(), strict=True):
        hessian, across, weight = dense_hessian(circuit, voltages)
        impedance = weight * across @ np.linalg.solve(hessian, across.T)
        largest = np.linalg.eigvals(impedance @ curvature).real.max()
        b = 1 / largest if largest > 0 else np.inf
        lowest = [np.linalg.eigvalsh(hessian - c * b * weight * across.T @ curvature @ across)[0] for c in (0.99, 1.01)]
        assert lowest[0] > 0 > lowest[1]
        smallest = min(smallest, b)
    return smallest


@examples(30)
@given(case=cases(kinds=("shockley", "piecewise"), n_samples=2, max_depth=2), cross_entropy=st.booleans())
def test_the_bound_is_where_the_hessian_turns_singular(case, cross_entropy):
    assume(not cross_entropy or case.network.n_outputs > 1)
    cost = CrossEntropy(0.5) if cross_entropy else SquaredError()
    free = solve(case.network, case.inputs, solver=Newton())
    b = critical(case.network, free, cost)
    nudge = Nudge(-1e-3 * b, case.targets, cost, "elastic")
    for share in (0.5, 0.999):
        require_stable_nudge(case.network, nudge.scaled(-share * b), [free])
    for share in (1.001, 10.0):
        with pytest.raises(UnstableNudgeError) as caught:
            require_stable_nudge(case.network, nudge.scaled(-share * b), [free])
        words = re.search(r"must be weaker than (\S+) here, found (\S+): beyond it", str(caught.value))
        assert words is not None
        assert float(words[1]) == pytest.approx(b, rel=6e-3)
        assert float(words[2]) == pytest.approx(share * b, rel=6e-3)
    require_stable_nudge(case.network, nudge.scaled(10 * b), [free])
    require_stable_nudge(case.network, Nudge(-10 * b, case.targets, cost, "frozen"), [free])


def test_the_worst_of_several_states_decides():
    network = ResistiveNetwork(
        [2, 3, 1], diode=DiodeClamp(ShockleyDiode(1e-9), upper=0.1, lower=-0.1), bias_voltage=None, dtype=torch.float64
    )
    inputs = torch.tensor([[0.0, 0.0], [5.0, -5.0]], dtype=torch.float64)
    quiet, driven = (solve(network, row[None], solver=Newton()) for row in inputs)
    low, high = (critical(network, state, SquaredError()) for state in (quiet, driven))
    assert low < high
    nudge = Nudge(-0.5 * (low + high), torch.zeros(1, 1, dtype=torch.float64), SquaredError(), "elastic")
    require_stable_nudge(network, nudge, [driven])
    for states in ([quiet], [driven, quiet], [solve(network, inputs, solver=Newton())]):
        with pytest.raises(UnstableNudgeError, match="lower the nudging or use a frozen nudge"):
            require_stable_nudge(network, nudge, states)


def linear_network() -> tuple[ResistiveNetwork, torch.Tensor, torch.Tensor]:
    """Inputs so small that no ideal diode conducts."""
    network = ResistiveNetwork([2, 3, 2], diode=HardClamp(IdealDiode(), upper=9.0, lower=-9.0), dtype=torch.float64)
    inputs = torch.tensor([[0.3, -0.4], [0.1, 0.2]], dtype=torch.float64)
    return network, inputs, torch.eye(2, dtype=torch.float64)


@pytest.mark.parametrize("share", [0.5, 0.9])
def test_a_nudged_state_below_the_bound_is_a_minimum(share):
    network, inputs, targets = linear_network()
    free = solve(network, inputs, solver=Relaxation())
    b = critical(network, free, SquaredError())
    nudge = Nudge(-share * b, targets, SquaredError(), "elastic")
    nudged = solve(network, inputs, nudge, solver=Relaxation(), start=free)
    truth = solve(network, inputs, nudge, solver=Newton())
    torch.testing.assert_close(nudged.voltages, truth.voltages, rtol=1e-9, atol=1e-9)

    def total_energy(layers: tuple[torch.Tensor, ...]) -> torch.Tensor:
        return network.energy(inputs, layers) + weight * nudge.strength * nudge.cost.value(
            network.outputs_of(layers), targets
        )

    weight = network.feedback / network.gain
    lowest, random = total_energy(nudged.layers), torch.Generator().manual_seed(0)
    for _ in range(20):
        moved = tuple(v + 1e-3 * torch.randn(v.shape, dtype=v.dtype, generator=random) for v in nudged.layers)
        assert (total_energy(moved) > lowest).all()


def test_the_response_grows_as_the_bound_is_approached():
    # Along the softest direction of the outputs the response to a negative elastic nudge is 1/(1 − b/b_c) times that
    # to a frozen one.
    network, inputs, _ = linear_network()
    free = solve(network, inputs, solver=Relaxation())
    hessian, across, weight = dense_hessian(network.circuit(), free.voltages[0].numpy())
    values, vectors = np.linalg.eigh(weight * across @ np.linalg.solve(hessian, across.T))
    b, soft = 1 / values[-1], torch.from_numpy(vectors[:, -1].copy())
    for share in (0.1, 0.5, 0.9):
        change = {}
        for kind in ("frozen", "elastic"):
            nudge = Nudge(-share * b, free.outputs + soft, SquaredError(), kind)
            nudged = solve(network, inputs, nudge, solver=Relaxation(), start=free)
            change[kind] = network.outputs_of(nudged.response(about=free)) @ soft
        torch.testing.assert_close(change["elastic"], change["frozen"] / (1 - share), rtol=1e-9, atol=0)


def test_any_circuit_is_judged_alike():
    network, inputs, targets = linear_network()
    free = solve(network, inputs, solver=Relaxation())
    critical = float(critical_nudging(Ladder.of(network, inputs), free, Nudge(-1.0, targets, SquaredError())).min())
    circuit = CircuitNetwork(network.circuit(), network.conductance_range)
    state = solve(circuit, inputs, solver=Newton())
    require_stable_nudge(circuit, Nudge(-(1 - 1e-9) * critical, targets, SquaredError(), "elastic"), [state])
    with pytest.raises(UnstableNudgeError, match="weaker than"):
        require_stable_nudge(circuit, Nudge(-(1 + 1e-9) * critical, targets, SquaredError(), "elastic"), [state])


def test_what_overflowed_is_no_stable_state():
    circuit = ResistiveNetwork([2, 2, 1], dtype=torch.float64).circuit()
    system = reduced_system(circuit)
    jacobian = Jacobian(system, symmetric=True)
    values = jacobian.values(np.zeros((2, len(system.controlled))))
    values[1] = np.inf
    stable, judged = stable_samples(jacobian, values, system.n_voltages)
    assert (stable.tolist(), judged) == ([True, False], True)
    one_way = Jacobian(system)
    stable, _ = stable_samples(one_way, values, system.n_voltages)
    assert stable.tolist() == [True, False]


def test_a_circuit_whose_nodes_are_all_held_is_judged():
    builder = CircuitBuilder("held")
    x, y = builder.add_nodes(["x", "y"])
    builder.add(VoltageSources("v", [x, y], 0, [2.0, -1.0]))
    builder.add(Conductances("g", x, y, 1e-3))
    builder.add(VoltageControlledCurrentSources("i", y, 0, x, 0, -4e-3))
    builder.set_outputs(y, 0)
    circuit = builder.build()
    system = reduced_system(circuit)
    assert system.n_unknowns == 0
    jacobian = Jacobian(system, False)
    stable, judged = stable_samples(jacobian, np.zeros((3, 0)), 0)
    assert stable.tolist() == [True] * 3
    assert judged
    state = Newton().solve_circuit(circuit, np.zeros((1, 0)))
    assert state.voltages.tolist() == [[0.0, 2.0, -1.0]]
    assert state.message.startswith("all 1 samples converged")
    assert "judge" not in state.message


def test_one_sample_without_a_batch_has_the_bound_that_it_has_in_one():
    inner, inputs, targets = linear_network()
    network = CircuitNetwork(inner.circuit(), inner.conductance_range)
    found = []
    for shape in ((), (1,), (1, 1)):
        free = solve(network, inputs[0].expand(*shape, -1), solver=Newton())
        nudge = Nudge(-1e6, targets[0].expand(*shape, -1), SquaredError(), "elastic")
        with pytest.raises(UnstableNudgeError) as caught:
            require_stable_nudge(network, nudge, [free])
        found.append(re.search(r"weaker than (\S+) here", str(caught.value)))
    bounds = [float(words[1]) for words in found if words is not None]
    assert (
        bounds
        == [pytest.approx(critical(inner, solve(inner, inputs[:1], solver=Newton()), SquaredError()), rel=6e-3)] * 3
    )


def loop_of_three(gain: float, farads: list[float]) -> Circuit:
    """Three stages in a ring, each −gain^(1/3) and one pole at its node of 1 µS."""
    builder = CircuitBuilder("ring of three")
    nodes = builder.add_nodes(["a", "b", "c"])
    builder.add(Conductances("g", nodes, 0, 1e-6))
    builder.add(VoltageControlledCurrentSources("i", nodes, 0, np.roll(nodes, 1), 0, 1e-6 * np.cbrt(gain)))
    if farads:
        builder.add(Capacitors("k", nodes, 0, farads))
    return builder.build()


@pytest.mark.parametrize("farads", [[], [1e-12, 1e-12, 1e-12], [1e-12, 1e-11, 1e-10], [3e-9, 2e-12, 1e-12]])
def test_capacitors_decide_where_a_loop_oscillates(farads: list[float]):
    # Routh: (1 + s t1)(1 + s t2)(1 + s t3) + A has its roots on the left for 1 + A < (sum t)(sum t t')/(t1 t2 t3).
    t = np.array(farads or [1.0, 1.0, 1.0])
    most = t.sum() * (t[0] * t[1] + t[1] * t[2] + t[2] * t[0]) / t.prod() - 1
    for factor, stable in ((0.999, True), (1.001, False)):
        state = solve(loop_of_three(factor * most, farads), torch.zeros(0), solver=Newton(), throw=False)
        assert bool(state.converged) is stable
        assert ("unstable" in state.message) is not stable


def test_a_latch_is_unstable_whatever_is_slow_elsewhere():
    builder = CircuitBuilder("latch")
    a, b, c = builder.add_nodes(["a", "b", "c"])
    builder.add(Conductances("g", [a, b, c, a], [0, 0, 0, c], 1e-6))
    builder.add(VoltageControlledCurrentSources("i", [a, b], 0, [b, a], 0, 3e-6))
    builder.add(Capacitors("k", c, 0, 1e-9))
    state = solve(builder.build(), torch.zeros(0), solver=Newton(), throw=False)
    assert "unstable" in state.message


@pytest.mark.parametrize(("farads", "stable"), [(1e-13, False), (1e-10, True)])
def test_a_capacitor_across_a_stage_compensates_a_loop(farads: float, stable: bool):
    # Miller: across the stage of gain 100 in a loop of gain 1000 it splits the poles.
    builder = CircuitBuilder("compensated")
    a, b, c = builder.add_nodes(["a", "b", "c"])
    builder.add(Conductances("g", [a, b, c], 0, 1e-6))
    builder.add(
        VoltageControlledCurrentSources("i", [a, b, c], 0, [c, a, b], 0, 1e-6 * np.array([10**0.5, 100.0, 10**0.5]))
    )
    builder.add(Capacitors("k", [a, b, c], 0, 1e-12))
    builder.add(Capacitors("miller", a, b, farads))
    circuit = builder.build()
    state = solve(circuit, torch.zeros(0), solver=Newton(), throw=False)
    assert bool(state.converged) is stable
    start = np.array([0.0, 1e-6, 0.0, 0.0])
    end = transient(circuit, np.zeros(0), 2e-5, start=start, rtol=1e-3, points=1).voltages[-1]
    assert (float(np.abs(end).max()) < 1e-5) is stable


def test_a_current_source_that_sees_its_own_node_is_a_path_to_ground():
    builder = CircuitBuilder("loaded by a source")
    a, b = builder.add_nodes(["a", "b"])
    builder.add(VoltageSources("v", a, 0, 1.0))
    builder.add(VoltageControlledCurrentSources("i", [0, b], [b, 0], [a, b], 0, [2e-6, 1e-6]))
    found = solve(builder.build(), torch.zeros(0, dtype=torch.float64), solver=Newton())
    assert float(found.node_voltages()[b]) == pytest.approx(2.0, abs=1e-12)
