"""Newton's method against closed forms, modified nodal analysis, eigenvalues and ngspice."""

# Scalars for element values are spread over the elements, which the annotations do not say.
# pyright: reportArgumentType=false

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from mna import solve_mna
from random_circuits import Recipe, build, inputs_of, recipes
from scipy.special import lambertw

from analog_ep.circuit import (
    Amplifiers,
    Circuit,
    CircuitBuilder,
    Conductances,
    Diodes,
    VoltageControlledCurrentSources,
    VoltageControlledVoltageSources,
    VoltageSources,
)
from analog_ep.constants import thermal_voltage
from analog_ep.devices import IdealDiode, ShockleyDiode
from analog_ep.equilibrium import Newton, Ngspice, kirchhoff_residual, solve
from analog_ep.equilibrium.circuit_solver import CircuitState
from analog_ep.equilibrium.nodal import jacobian, spectrum
from analog_ep.equilibrium.nodal.line_search import search_residual
from analog_ep.errors import CircuitError, ConvergenceError, StimulusError
from analog_ep.stimulus import CrossEntropy, Nudge, SquaredError

NO_INPUT = np.zeros((1, 0))


def solve_batch(circuit: Circuit, inputs: np.ndarray, **options) -> CircuitState:
    state = Newton().solve_circuit(circuit, inputs, **options)
    assert state.converged.all(), state.message
    return state


def assert_kirchhoff(circuit: Circuit, voltages: np.ndarray, injected: np.ndarray | None = None) -> None:
    """The law holds to the rounding of the node voltages themselves."""
    residual, scale = kirchhoff_residual(circuit, voltages, injected)
    slope = np.zeros_like(voltages)
    for group in circuit.groups:
        if not isinstance(group, (Conductances, Diodes)):
            continue
        first, second = (getattr(group, name) for name in group.terminals)
        across = voltages[:, first] - voltages[:, second]
        siemens = group.siemens if isinstance(group, Conductances) else _slope(group, across)
        for node in (first, second):
            np.add.at(slope, (slice(None), node), siemens)
    feedback = sum(float(np.max(group.feedback * group.gain)) for group in circuit.of_kind(Amplifiers))
    rounding = 1e-15 * (1 + feedback) * slope.max(axis=1, keepdims=True) * np.abs(voltages).max(axis=1, keepdims=True)
    assert np.all(np.abs(residual) <= 1e-11 * scale + 10 * rounding)


def _slope(group: Diodes, across: np.ndarray) -> np.ndarray:
    return group.device.conductance(torch.from_numpy(across)).numpy()


def junctions(drives: np.ndarray, siemens: np.ndarray, saturation: np.ndarray) -> Circuit:
    """Independent nodes, each with a conductance to its source and a diode to ground."""
    builder = CircuitBuilder("junctions")
    tops = builder.add_nodes(f"top{i}" for i in range(len(drives)))
    nodes = builder.add_nodes(f"x{i}" for i in range(len(drives)))
    builder.add(VoltageSources("v", tops, 0, drives))
    builder.add(Conductances("g", tops, nodes, siemens))
    builder.add(Diodes("d", nodes, 0, ShockleyDiode(torch.from_numpy(saturation), gmin=0.0)))
    return builder.build()


def test_a_divider():
    builder = CircuitBuilder("divider")
    top, x = builder.add_nodes(["top", "x"])
    builder.add(VoltageSources("v", top, 0, 0.0, 0, 2.0))
    builder.add(Conductances("g", [top, x], [x, 0], [1e-3, 3e-3]))
    state = solve_batch(builder.build(), np.array([[1.0], [-4.0], [0.0]]))
    np.testing.assert_allclose(state.voltages, [[0, 2, 0.5], [0, -8, -2], [0, 0, 0]], rtol=1e-15)
    assert state.message == "all 3 samples converged in 2 Newton steps"


def test_junctions_from_millivolts_to_kilovolts_are_lamberts():
    # g (E − v) = I (e^(v/V_t) − 1) has v = E + I/g − V_t W((I/(g V_t)) e^((E + I/g)/V_t)).
    drives, siemens, saturation = (
        grid.ravel() for grid in np.meshgrid([1e-3, 0.3, 1.0, 30.0, 900.0], [1e-9, 1e-6, 1e-2], [1e-16, 1e-12, 1e-8])
    )
    circuit, v_t = junctions(drives, siemens, saturation), thermal_voltage()
    found = solve_batch(circuit, NO_INPUT).voltages[0, 1 + len(drives) :]
    offset = saturation / (siemens * v_t)
    argument = np.log(offset) + drives / v_t + offset
    direct = argument < 600  # beyond, e^argument overflows: there w + ln w = argument is iterated
    w = np.where(direct, lambertw(np.exp(np.minimum(argument, 600))).real, argument)
    for _ in range(50):
        w = np.where(direct, w, argument - np.log(w))
    np.testing.assert_allclose(found, drives + saturation / siemens - v_t * w, rtol=1e-11, atol=1e-13)


@pytest.mark.parametrize("drive", [300.0, -700.0])
def test_hundreds_of_volts_and_small_saturation_currents_converge_from_zero(drive):
    rng = np.random.default_rng(0)
    builder = CircuitBuilder("hard")
    inputs, hidden = builder.add_nodes(f"in{i}" for i in range(4)), builder.add_nodes(f"h{i}" for i in range(30))
    out = builder.add_nodes(f"a{i}" for i in range(30))
    builder.add(VoltageSources("v", inputs, 0, 0.0, np.arange(4), drive))
    builder.add(Conductances("w", np.repeat(inputs, 30), np.tile(hidden, 4), 10 ** rng.uniform(-7, -3, 120)))
    builder.add(Conductances("u", np.repeat(out, 30), np.tile(hidden, 30), 10 ** rng.uniform(-8, -5, 900)))
    builder.add(Amplifiers("amp", hidden, out, 2.0, 0.1))
    builder.add(Diodes("up", hidden, 0, ShockleyDiode(1e-16)))
    builder.add(Diodes("chain", hidden[1:], hidden[:-1], ShockleyDiode(1e-16)))
    circuit = builder.build()
    state = solve_batch(circuit, rng.uniform(-1, 1, (20, 4)))
    assert_kirchhoff(circuit, state.voltages)
    assert state.iterations < 60


@settings(max_examples=60, deadline=None, derandomize=True)
@given(recipes())
def test_random_circuits_obey_kirchhoff(recipe):
    circuit = build(recipe)
    assert_kirchhoff(circuit, solve_batch(circuit, inputs_of(circuit, 3, recipe.seed)).voltages)


@pytest.mark.parametrize("seed", range(8))
def test_random_circuits_agree_with_modified_nodal_analysis(seed):
    circuit = build(Recipe(seed, reciprocal=seed % 2 == 0, controlled=seed % 4 < 2, floating=seed % 3 == 0))
    inputs = inputs_of(circuit, 2, seed)
    expected = np.stack([solve_mna(circuit, sample) for sample in inputs])
    np.testing.assert_allclose(solve_batch(circuit, inputs).voltages, expected, rtol=1e-9, atol=1e-9)


@pytest.mark.ngspice
@settings(max_examples=300, deadline=None, derandomize=True)
@given(recipes())
def test_random_circuits_agree_with_ngspice(recipe):
    circuit = build(recipe)
    inputs = inputs_of(circuit, 2, recipe.seed)
    found, truth = solve_batch(circuit, inputs), Ngspice().solve_circuit(circuit, inputs)
    assert truth.converged.all(), truth.message
    assert np.abs(found.voltages - truth.voltages).max() <= 1e-8 * max(1.0, np.abs(found.voltages).max())


def test_clamps_that_all_stand_on_their_kink_at_zero():
    rng = np.random.default_rng(1)
    builder = CircuitBuilder("clamps")
    inputs, nodes = builder.add_nodes(f"in{i}" for i in range(5)), builder.add_nodes(f"x{i}" for i in range(40))
    builder.add(VoltageSources("v", inputs, 0, 0.0, np.arange(5)))
    builder.add(Conductances("w", np.repeat(inputs, 40), np.tile(nodes, 5), 10 ** rng.uniform(-6, -4, 200)))
    first, second = np.triu_indices(40, 1)
    builder.add(Conductances("u", nodes[first], nodes[second], 10 ** rng.uniform(-8, -5, len(first))))
    clamp = IdealDiode(on_conductance=1.0).stand_in(1.0)
    builder.add(Diodes("up", nodes[::2], 0, clamp))
    builder.add(Diodes("down", 0, nodes[1::2], clamp))
    circuit = builder.build()
    voltages = solve_batch(circuit, rng.uniform(-1, 1, (50, 5))).voltages
    assert_kirchhoff(circuit, voltages)
    assert voltages[:, nodes[::2]].max() < 1e-3
    assert voltages[:, nodes[1::2]].min() > -1e-3


def grid(size: int, mismatched: bool) -> Circuit:
    """A square of resistors with a diode to ground at every node, and amplifiers to a second row of loads."""
    rng = np.random.default_rng(0)
    builder = CircuitBuilder("grid")
    top = builder.add_nodes(["top"])
    nodes = builder.add_nodes(f"x{i}" for i in range(size * size)).reshape(size, size)
    out = builder.add_nodes(f"a{i}" for i in range(size))
    builder.add(VoltageSources("v", top, 0, 0.0, 0, 5.0))
    first = np.concatenate([nodes[1:].ravel(), nodes[:, 1:].ravel(), nodes[0]])
    second = np.concatenate([nodes[:-1].ravel(), nodes[:, :-1].ravel(), np.repeat(top, size)])
    builder.add(Conductances("g", first, second, rng.uniform(1e-5, 1e-4, len(first))))
    builder.add(Diodes("d", nodes.ravel(), 0, ShockleyDiode(1e-14)))
    gain = 2.0 * np.exp(0.2 * mismatched * rng.standard_normal(size))
    builder.add(Amplifiers("amp", nodes[-1], out, gain, 0.5))
    loads = builder.add_nodes(f"y{i}" for i in range(size))
    builder.add(Conductances("load", np.repeat(out, size), np.tile(loads, size), rng.uniform(1e-6, 1e-5, size * size)))
    builder.add(Conductances("end", loads, 0, 1e-5))
    return builder.build()


@pytest.mark.parametrize("mismatched", [False, True])
def test_sparse_and_dense_factorisations_agree(monkeypatch, mismatched):
    circuit, inputs = grid(12, mismatched), np.array([[1.0], [-1.0], [0.2]])
    dense = solve_batch(circuit, inputs)
    monkeypatch.setattr(jacobian, "_SMALL", 0)
    monkeypatch.setattr(jacobian, "_DENSE_LIMIT", 0)
    sparse = solve_batch(circuit, inputs)
    np.testing.assert_allclose(sparse.voltages, dense.voltages, rtol=1e-12, atol=1e-15)
    assert "judge" not in sparse.message


def test_a_large_graph_is_solved_sparsely():
    circuit = grid(80, False)
    state = solve_batch(circuit, np.array([[1.0]]))
    assert_kirchhoff(circuit, state.voltages)


def test_what_was_not_judged_is_said(monkeypatch):
    monkeypatch.setattr(spectrum, "_EIGENVALUE_LIMIT", 1)
    assert solve_batch(feedback_loop(0.5), NO_INPUT).message.endswith("; too many unknowns to judge the stability")


def test_a_batch_is_the_same_in_chunks(monkeypatch):
    circuit = build(Recipe(4, controlled=True))
    inputs = inputs_of(circuit, 7)
    whole = solve_batch(circuit, inputs)
    monkeypatch.setattr(jacobian, "_MATRIX_CHUNK", 150)
    np.testing.assert_allclose(solve_batch(circuit, inputs).voltages, whole.voltages, rtol=1e-12)


def feedback_loop(gain: float) -> Circuit:
    """A node fed with 1 mS from 1 V and with 1 mS from gain times its own voltage: v = 1/(2 − gain)."""
    builder = CircuitBuilder("feedback loop")
    top, x, e = builder.add_nodes(["top", "x", "e"])
    builder.add(VoltageSources("v", top, 0, 1.0))
    builder.add(Conductances("g", [top, e], [x, x], 1e-3))
    builder.add(VoltageControlledVoltageSources("loop", e, 0, x, 0, gain))
    return builder.build()


@pytest.mark.parametrize("gain", [-3.0, 0.5, 1.9])
def test_a_loop_that_holds_is_stable(gain):
    np.testing.assert_allclose(solve_batch(feedback_loop(gain), NO_INPUT).voltages[0, 2], 1 / (2 - gain), rtol=1e-12)


@pytest.mark.parametrize("gain", [2.1, 5.0])
def test_a_loop_that_runs_away_is_unstable(gain):
    state = Newton().solve_circuit(feedback_loop(gain), NO_INPUT)
    np.testing.assert_allclose(state.voltages[0, 2], 1 / (2 - gain), rtol=1e-12)
    assert not state.converged.any()
    assert "the equilibrium of 1 of 1 samples is unstable (sample 0 first)" in state.message
    with pytest.raises(ConvergenceError, match=r"is unstable .* look for a loop gain above 1"):
        solve(feedback_loop(gain), torch.zeros(0), solver=Newton())


def test_a_loop_at_the_brink_has_no_equilibrium():
    state = Newton().solve_circuit(feedback_loop(2.0), NO_INPUT)
    assert not state.converged.any()
    assert "1 of 1 samples did not converge" in state.message


@pytest.mark.parametrize("seed", range(12))
def test_stability_is_that_of_equal_capacitors(seed):
    rng = np.random.default_rng(seed)
    builder = CircuitBuilder("active")
    nodes = builder.add_nodes(f"x{i}" for i in range(5))
    builder.add(Conductances("g", nodes, 0, 1e-3 * rng.uniform(0.5, 1.5, 5)))
    builder.add(Conductances("h", nodes[1:], nodes[:-1], 1e-3 * rng.uniform(0.1, 1, 4)))
    p, n, cp, cn = rng.integers(0, 6, (4, 8))
    builder.add(VoltageControlledCurrentSources("gm", p, n, cp, cn, 1.2e-3 * rng.standard_normal(8)))
    circuit = builder.build()
    unit = np.zeros((5, 6))
    unit[:, 1:] = np.eye(5)
    matrix = kirchhoff_residual(circuit, unit)[0][:, 1:].T
    stable = np.linalg.eigvals(matrix).real.min() > 0
    assert Newton().solve_circuit(circuit, NO_INPUT).converged.all() == stable


def outputs(*, diode: bool) -> Circuit:
    """Two outputs behind 1 mS from ±1 V, o = v₊ − v₋, perhaps with a diode between them."""
    builder = CircuitBuilder("outputs")
    top, bottom, plus, minus = builder.add_nodes(["top", "bottom", "plus", "minus"])
    builder.add(VoltageSources("v", [top, bottom], 0, [0.0, 0.0], [0, 0], [1.0, -1.0]))
    builder.add(Conductances("g", [top, bottom], [plus, minus], 1e-3))
    if diode:
        builder.add(Diodes("d", plus, minus, ShockleyDiode(1e-14)))
    builder.set_outputs(plus, minus)
    return builder.build()


def squared(strength: float, kind: str, target: float = 0.5) -> Nudge:
    return Nudge(strength, torch.tensor([[target]], dtype=torch.float64), SquaredError(), kind)


def test_a_frozen_nudge_is_a_current():
    # o = 2 V behind 1 kΩ + 1 kΩ; a current I into v₊ and out of v₋ adds 2 kΩ · I, I = β (y − o).
    circuit, inputs = outputs(diode=False), np.array([[1.0]])
    state = solve_batch(circuit, inputs, nudge=squared(1e-4, "frozen"), free_outputs=np.array([[2.0]]))
    assert state.voltages[0, 3] - state.voltages[0, 4] == pytest.approx(2 - 2000 * 1e-4 * 1.5, rel=1e-12)


@pytest.mark.parametrize("strength", [1e-4, 1e-2, -4e-4])
def test_an_elastic_nudge_is_a_conductance_and_a_source(strength):
    state = solve_batch(outputs(diode=False), np.array([[1.0]]), nudge=squared(strength, "elastic"))
    found = state.voltages[0, 3] - state.voltages[0, 4]
    assert found == pytest.approx((2 / 2000 + 0.5 * strength) / (1 / 2000 + strength), rel=1e-12)


def test_a_negative_elastic_nudge_beyond_the_bound_is_unstable():
    # Z = 2 kΩ, so that b_c = 0.5 mS.
    state = Newton().solve_circuit(outputs(diode=False), np.array([[1.0]]), squared(-6e-4, "elastic"))
    assert not state.converged.any()
    assert "unstable" in state.message
    assert "negative nudge" in state.message


@pytest.mark.parametrize("seed", range(6))
def test_an_elastic_nudge_of_cross_entropy(seed):
    circuit = build(Recipe(seed, block_sizes=(3, 2), reciprocal=seed % 2 == 0, controlled=seed % 3 == 0))
    inputs, strength = inputs_of(circuit, 1, seed), 1e-6
    target = torch.tensor([[1.0, 0.0]], dtype=torch.float64)
    nudge = Nudge(strength, target, CrossEntropy(0.2), "elastic")

    def current(out):
        o = torch.from_numpy(np.asarray(out)[None])
        slope = -strength * nudge.cost.hessian(o)[0].numpy()
        return nudge.current(o)[0].numpy(), slope

    expected = solve_mna(circuit, inputs[0], current)
    np.testing.assert_allclose(solve_batch(circuit, inputs, nudge=nudge).voltages[0], expected, rtol=1e-9, atol=1e-9)


def test_a_nudge_asks_for_what_it_needs():
    circuit, inputs = outputs(diode=True), np.array([[1.0]])
    with pytest.raises(StimulusError, match="a frozen nudge needs the outputs of the free state, found none"):
        Newton().solve_circuit(circuit, inputs, squared(1e-4, "frozen"))
    with pytest.raises(StimulusError, match="a nudge needs a circuit with outputs, found none"):
        Newton().solve_circuit(feedback_loop(0.5), NO_INPUT, squared(1e-4, "elastic"))


def test_too_few_steps_are_a_status():
    circuit = junctions(np.array([5.0]), np.array([1e-3]), np.array([1e-14]))
    state = Newton(max_steps=1).solve_circuit(circuit, NO_INPUT)
    assert not state.converged.any()
    assert "1 of 1 samples did not converge in 1 Newton steps; the Kirchhoff residual of sample 0 is" in state.message
    assert state.residual[0] > 1e-6


def test_a_start_saves_steps():
    circuit = outputs(diode=True)
    cold = solve_batch(circuit, np.array([[1.0]]))
    warm = solve_batch(circuit, np.array([[1.0]]), start=cold.voltages)
    assert warm.iterations < cold.iterations
    np.testing.assert_allclose(warm.voltages, cold.voltages, rtol=1e-14)


def test_a_wild_start_does_no_harm():
    circuit = outputs(diode=True)
    state = solve_batch(circuit, np.array([[1.0]]), start=np.array([[0, 0, 0, 1e5, -1e5]]))
    np.testing.assert_allclose(state.voltages, solve_batch(circuit, np.array([[1.0]])).voltages, rtol=1e-12)


def test_a_broken_circuit_is_refused():
    builder = CircuitBuilder("broken")
    builder.add_nodes(["alone"])
    builder.add(Conductances("g", 0, 0, 1.0))
    with pytest.raises(CircuitError, match="needs a resistive path"):
        Newton().solve_circuit(builder.build(), NO_INPUT)


def test_a_circuit_without_unknowns_is_solved():
    builder = CircuitBuilder("held")
    top = builder.add_nodes(["top"])
    builder.add(VoltageSources("v", top, 0, 3.0))
    builder.add(Conductances("g", top, 0, 1.0))
    assert solve_batch(builder.build(), NO_INPUT).voltages.tolist() == [[0.0, 3.0]]


def test_residuals_are_compared_row_by_row_as_large_as_their_jacobians():
    """A full step that solves the row of a small conductance is taken though the row of a large one grows a little."""
    start, after = np.array([[1.0, 1e-6]]), np.array([[1.3, 0.0]])
    sizes = np.array([[1.0, 1e-6]])

    def evaluate(open_: np.ndarray, lengths: np.ndarray) -> np.ndarray:
        return start[open_] + lengths[:, None] * (after - start)[open_]

    assert search_residual(evaluate, start, sizes).tolist() == [1.0]
    # The same where rows count alike: no step lowers it, and the shortest tried is the best.
    assert search_residual(evaluate, start, np.ones((1, 2)))[0] < 1e-3
