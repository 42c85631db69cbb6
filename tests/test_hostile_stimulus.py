"""Inputs, targets, nudges and parameters of every kind and type: the right number, or one line of ours."""

# What is given is of the wrong type on purpose.
# pyright: reportArgumentType=false

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from layered_networks import examples

import analog_ep as aep
from analog_ep.circuit import Circuit
from analog_ep.errors import AnalogEPError, NetworkError, StimulusError
from analog_ep.learning import EnergyImplicitDifferentiation

torch.manual_seed(0)
X = torch.tensor([[0.0, 1.0, 0.5], [1.0, 0.0, 1.0]], dtype=torch.float64)
Y = torch.tensor([[1.0, 0.0], [0.0, 1.0]], dtype=torch.float64)


def resistive(dtype: torch.dtype = torch.float64) -> aep.ResistiveNetwork:
    return aep.ResistiveNetwork([3, 4, 2], diode=aep.ShockleyDiode(1e-9), dtype=dtype)


def hopfield(activation: str = "hard_sigmoid") -> aep.HopfieldNetwork:
    return aep.HopfieldNetwork([3, 4, 2], activation=activation, dtype=torch.float64)


LANGEVIN = aep.Langevin(temperature=1e-9, chains=2, steps=2, every=1, burn_in=1)
METHODS = {
    "ep": lambda: aep.EquilibriumPropagation(resistive(), 1e-6),
    "ep, Newton": lambda: aep.EquilibriumPropagation(resistive(), 1e-6, solver=aep.Newton()),
    "ep, float32": lambda: aep.EquilibriumPropagation(resistive(torch.float32), 1e-6),
    "small signal": lambda: aep.SmallSignal(resistive()),
    "harmonic": lambda: aep.HarmonicEquilibriumPropagation(resistive(), 1e-6),
    "lock-in": lambda: aep.LockInEquilibriumPropagation(resistive(), 1e-6),
    "coupled": lambda: aep.CoupledLearning(resistive()),
    "contrastive Hebbian": lambda: aep.ContrastiveHebbian(hopfield()),
    "Hopfield ep": lambda: aep.EquilibriumPropagation(hopfield(), 0.1, kind="elastic"),
    "holomorphic": lambda: aep.HolomorphicEquilibriumPropagation(hopfield("sigmoid"), 0.1, points=4),
    "recurrent backprop": lambda: aep.RecurrentBackpropagation(hopfield()),
    "contrastive divergence": lambda: aep.ContrastiveDivergence(hopfield()),
    "implicit": lambda: aep.ImplicitDifferentiation(resistive(), aep.SquaredError()),
    "implicit, energy": lambda: EnergyImplicitDifferentiation(hopfield(), aep.SquaredError()),
    "stochastic": lambda: aep.StochasticEquilibriumPropagation(resistive(), LANGEVIN, 1e-6),
}


def one_line(error: Exception) -> None:
    assert "\n" not in str(error)
    assert len(str(error)) < 400


def gradients(method, inputs, targets) -> dict[str, torch.Tensor]:
    found = method.gradients(inputs, targets)
    return found if isinstance(found, dict) else found[1]


KINDS = {
    "float32": lambda t: t.float(),
    "float64": lambda t: t.double(),
    "float16": lambda t: t.half(),
    "bfloat16": lambda t: t.bfloat16(),
    "int64": lambda t: t.round().long(),
    "uint8": lambda t: t.round().to(torch.uint8),
    "bool": lambda t: t > 0.6,
    "NumPy": lambda t: t.numpy(),
    "read-only NumPy": lambda t: np.broadcast_to(t.numpy(), t.shape),
    "reversed NumPy": lambda t: t.flip(0).numpy()[::-1],
    "NumPy of integers": lambda t: t.round().numpy().astype(np.int16),
    "lists": lambda t: t.tolist(),
    "list of tensors": lambda t: list(t),
}
"""Of the same numbers, halves rounded: what a user may have them in."""


_FEW = ("float32", "int64", "bool", "lists")


@pytest.mark.parametrize(
    ("name", "kind"),
    [(name, kind) for name in METHODS for kind in (KINDS if name in ("small signal", "implicit") else _FEW)],
)
def test_every_type_of_number_gives_the_gradient_of_these_numbers(name: str, kind: str):
    given_x, given_y = KINDS[kind](X), KINDS[kind](Y)
    x, y = (
        t.double() if isinstance(t, torch.Tensor) else torch.from_numpy(np.array(t, float)) for t in (given_x, given_y)
    )
    found = gradients(METHODS[name](), given_x, given_y)
    dtype = torch.float32 if "float32" in name else torch.float64
    right = gradients(METHODS[name](), x.to(dtype), y.to(dtype))
    for key, value in right.items():
        assert torch.equal(found[key], value), key


REFUSED_X = {
    "complex": lambda: X.to(torch.complex64),
    "text": lambda: [["a", "b", "c"]] * 2,
    "None": lambda: None,
    "ragged": lambda: [[0.0, 1.0, 2.0], [1.0]],
    "a dictionary": lambda: {"x": 1},
    "sparse": lambda: X.to_sparse(),
    "complex NumPy": lambda: X.numpy() * 1j,
    "objects": lambda: np.array([[object()] * 3] * 2),
    "a scalar": lambda: 1.0,
    "wider": lambda: torch.zeros(2, 4),
    "narrower": lambda: torch.zeros(2, 1),
    "no sample": lambda: torch.zeros(0, 3),
    "no width": lambda: torch.zeros(2, 0),
    "NaN": lambda: torch.full((2, 3), math.nan),
    "infinite": lambda: torch.full((2, 3), math.inf),
    "an integer of 400 digits": lambda: [[10**400, 0, 0]] * 2,
}
REFUSED_Y = {
    "labels": lambda: torch.tensor([0, 1]),
    "labels in a column": lambda: torch.tensor([[0], [1]]),
    "labels in floats": lambda: torch.tensor([0.0, 1.0]),
    "one row for all": lambda: torch.tensor([[1.0, 0.0]]),
    "one target for all": lambda: torch.tensor([1.0, 0.0, 0.0]),
    "a scalar": lambda: torch.tensor(1.0),
    "a number": lambda: 1.0,
    "wider": lambda: torch.zeros(2, 3),
    "one more dimension": lambda: torch.zeros(1, 2, 2),
    "another batch": lambda: torch.zeros(3, 2),
    "no sample": lambda: torch.zeros(0, 2),
    "complex": lambda: Y * 1j,
    "NaN": lambda: Y * math.nan,
    "text": lambda: ["cat", "dog"],
    "None": lambda: None,
}


@pytest.mark.parametrize("bad", [f"x {kind}" for kind in REFUSED_X] + [f"y {kind}" for kind in REFUSED_Y])
@pytest.mark.parametrize("name", METHODS)
def test_what_does_not_fit_is_refused_everywhere(name: str, bad: str):
    side, kind = bad.split(" ", 1)
    x, y = (REFUSED_X[kind](), Y) if side == "x" else (X, REFUSED_Y[kind]())
    with pytest.raises(StimulusError) as found:
        gradients(METHODS[name](), x, y)
    assert "\n" not in str(found.value)


def test_labels_are_told_how_they_become_targets():
    words = r"targets must have shape \(2, 2\), found \(2,\); make classes into targets by cost.encode\(labels, 2,"
    with pytest.raises(StimulusError, match=words):
        aep.EquilibriumPropagation(resistive(), 1e-6).backward(X, torch.tensor([0, 1]))


def circuit_and_networks() -> dict[str, tuple[Circuit | aep.Network, list[aep.Solver]]]:
    return {
        "resistive": (resistive(), [aep.Relaxation(), aep.Newton()]),
        "circuit": (resistive().circuit(), [aep.Newton()]),
        "hopfield": (hopfield(), [aep.HopfieldRelaxation(), aep.EulerRelaxation()]),
    }


@pytest.mark.parametrize("name", ["resistive", "circuit", "hopfield"])
def test_every_solver_takes_numbers_of_any_type_and_targets_of_one_shape(name: str):
    system, solvers = circuit_and_networks()[name]
    for solver in solvers:
        right = aep.solve(system, X.round(), solver=solver)
        for kind in ("int64", "lists", "NumPy of integers", "float16", "bool"):
            found = aep.solve(system, KINDS[kind](X.round()), solver=solver)
            torch.testing.assert_close(found.outputs, right.outputs, rtol=0, atol=1e-12)
        for kind in ("labels", "labels in a column", "one row for all", "another batch", "a scalar", "no sample"):
            nudge = aep.Nudge(1e-6, REFUSED_Y[kind](), aep.SquaredError())
            with pytest.raises(StimulusError, match="targets must have shape"):
                aep.solve(system, X, nudge, solver=solver, start=right)
        with pytest.raises(StimulusError, match="the state to start from must be one of these samples"):
            aep.solve(system, X[:1], solver=solver, start=right)


def test_a_free_state_of_other_samples_is_refused():
    method = aep.SmallSignal(resistive())
    free = aep.solve(method.network, X, solver=method.solver)
    with pytest.raises(StimulusError, match="the free state must be that of these samples"):
        method.gradients(X[:1], Y[:1], free)


@pytest.mark.parametrize("kind", ["int64", "lists", "NumPy of integers", "float16"])
def test_a_netlist_of_any_type_of_number(tmp_path, kind: str):
    network, values = resistive(), X.round()
    right = aep.write_netlist(network, values[1], path=tmp_path / "a.cir").read_text()
    found = aep.write_netlist(network, KINDS[kind](values[1]), path=tmp_path / "b.cir").read_text()
    assert found == right
    with pytest.raises(StimulusError, match="inputs must be"):
        aep.write_netlist(network, "cat", path=tmp_path / "c.cir")


def test_a_fused_step_refuses_alike():
    fused = aep.FusedStep(aep.SmallSignal(resistive()), 0.1)
    before = [p.clone() for p in fused.network.parameters()]
    for x, y in [(X, torch.tensor([0, 1])), (X[:0], Y[:0]), (X, Y[:1]), (X, Y * math.nan)]:
        with pytest.raises(StimulusError):
            fused.step(x, y)
    assert all(torch.equal(p, b) for p, b in zip(fused.network.parameters(), before, strict=True))


_STRENGTHS = [0, -0.0, -1e-6, math.nan, math.inf, -math.inf, 5e-324, 1e-300, 1e-45, 1e-40, 1e-38, 1e-30, 1e-24, 1e-20]
_STRENGTHS += [1e-12, 1e-9, 1e-6, 1.0, 1e6, 1e20, 1e30, 1e38, 1e39, 1e300, 10**400]
NUDGINGS = st.sampled_from([*_STRENGTHS, "1e-6", "soft", None, 1j, torch.tensor(1e-6), torch.zeros(2), [1e-6]])


@given(nudging=NUDGINGS, dtype=st.sampled_from([torch.float32, torch.float64]), way=st.sampled_from(["ep", "one", "h"]))
@examples(60)
def test_a_nudging_gives_finite_gradients_near_those_without_or_is_refused(nudging, dtype, way: str):
    network = resistive(dtype)
    try:
        if way == "h":
            method = aep.HarmonicEquilibriumPropagation(network, nudging, harmonics=1)
        else:
            method = aep.EquilibriumPropagation(network, nudging, variant="centered" if way == "ep" else "positive")
        found = method.gradients(X, Y)[1]
    except AnalogEPError as error:
        one_line(error)
        return
    right = aep.SmallSignal(network).gradients(X, Y)[1]
    for name, value in found.items():
        assert bool(torch.isfinite(value).all())
        if float(nudging) <= 1e-9:
            torch.testing.assert_close(value, right[name], rtol=1e-3, atol=1e-4 * float(right[name].abs().max()))


NUMBERS = st.sampled_from(
    [
        0.0,
        -1.0,
        1e-300,
        1e-40,
        1e-20,
        1e-12,
        1e-6,
        0.1,
        1.0,
        100.0,
        1e6,
        1e20,
        1e39,
        1e300,
        math.nan,
        math.inf,
        "1",
        None,
    ]
)


@given(
    sizes=st.lists(
        st.sampled_from([0, 1, 2, 3, -1, 2.5, 6.5, "2", None, 10**6, 10**18, True, np.int64(2)]), max_size=4
    ),
    gain=NUMBERS,
    bounds=st.tuples(NUMBERS, NUMBERS) | st.sampled_from([(1e-6, 1e-6), (1e-7,), None, 1e-6, (1e-7, 1e-4)]),
    bias=NUMBERS,
    dtype=st.sampled_from([torch.float32, torch.float64, torch.float16, torch.bfloat16, torch.int64, torch.complex64]),
    one=st.integers(0, 4),
)
@examples(250)
def test_parameters_of_a_network_are_usable_or_refused(sizes, gain, bounds, bias, dtype, one):
    usual = [[3, 2, 2], 4.0, (1e-7, 1e-4), 1.0, torch.float32]
    chosen = [
        v if i == one else u for i, (v, u) in enumerate(zip((sizes, gain, bounds, bias, dtype), usual, strict=True))
    ]
    try:
        network = aep.ResistiveNetwork(
            chosen[0], gain=chosen[1], conductance_range=chosen[2], bias_voltage=chosen[3], dtype=chosen[4]
        )
    except AnalogEPError as error:
        one_line(error)
        return
    assert all(type(size) is int for size in network.sizes)
    assert all(bool((p > 0).all()) and bool(torch.isfinite(p).all()) for p in network.parameters())
    assert all(0 < ratio < math.inf for ratio in network.weight_ratios)


@pytest.mark.parametrize(
    ("build", "words"),
    [
        (lambda: aep.ResistiveNetwork([4, 6.5, 3]), "sizes must be whole numbers, found"),
        (lambda: aep.HopfieldNetwork([4, 6.5, 3]), "sizes must be whole numbers, found"),
        (lambda: aep.ResistiveNetwork([4, 3], conductance_range=(1e-6, 1e-6)), "must be 0 < low < high, found"),
        (lambda: aep.ResistiveNetwork([4, 3], dtype=torch.float16), "must be torch.float32 or torch.float64, found"),
        (lambda: aep.HopfieldNetwork([4, 3], dtype=torch.bfloat16), "must be torch.float32 or torch.float64, found"),
        (lambda: aep.ResistiveNetwork([2, 10**10, 2]), "sizes must make at most 2.30 pairs of units, found"),
        (lambda: aep.SmallSignal(resistive().half()).gradients(X, Y), "must be torch.float32 or torch.float64, found"),
    ],
)
def test_networks_that_cannot_be(build, words: str):
    with pytest.raises(NetworkError, match=words):
        build()


def test_a_cost_beyond_the_numbers_is_no_result():
    network = aep.ResistiveNetwork([3, 2], dtype=torch.float32)
    with pytest.raises(AnalogEPError):
        aep.SmallSignal(network).gradients(X * 1e30, Y * 1e30)
