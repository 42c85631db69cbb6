"""The reduced equations against circuits worked out by hand, and the Jacobian against differences."""

# Scalars for element values are spread over the elements, which the annotations do not say.
# pyright: reportArgumentType=false

from dataclasses import replace

import numpy as np
import pytest
import torch
from random_circuits import Recipe, build, inputs_of

from analog_ep.circuit import (
    Amplifiers,
    CircuitBuilder,
    Conductances,
    CurrentSources,
    Diodes,
    VoltageSources,
    energy_weights,
)
from analog_ep.equilibrium.nodal.equations import Equations
from analog_ep.equilibrium.nodal.jacobian import Jacobian
from analog_ep.equilibrium.nodal.reduction import ReducedSystem, reduced_system
from analog_ep.equilibrium.nodal.residual import kirchhoff_residual
from analog_ep.stimulus import CrossEntropy, Nudge


def amplified():
    """1 mS from a source to x, an amplifier pair ±3·x with k = 2, and 5 mS and 7 mS from it to z; 1 mS from z."""
    builder = CircuitBuilder("amplified")
    top, x, p, q, z = builder.add_nodes(["top", "x", "p", "q", "z"])
    builder.add(VoltageSources("v", 0, top, 0.0, 0, 10.0))
    builder.add(Conductances("g", [top, p, q, z], [x, z, z, 0], [1e-3, 5e-3, 7e-3, 1e-3]))
    builder.add(Amplifiers("amp", x, p, 3.0, 2.0, q))
    builder.add(CurrentSources("i", 0, z, 4e-3))
    builder.set_outputs(z, x)
    return builder.build()


def test_known_voltages_are_eliminated_exactly():
    system = ReducedSystem(amplified())
    # In mS: the law at x is (x − top) + 2 [5 (3x − z) − 7 (−3x − z)], that at z is z + 5 (z − 3x) + 7 (z + 3x) − 4.
    expected = [[1 + 2 * (15 + 21), 2 * (-5 + 7)], [-15 + 21, 13]]
    np.testing.assert_allclose(system.matrix.toarray(), 1e-3 * np.array(expected), rtol=1e-14)
    drive = system.drive(np.array([[0.2]]))
    np.testing.assert_allclose(drive.residual, [[2e-3, -4e-3]], rtol=1e-14)  # top is at −2 V
    np.testing.assert_allclose(system.node_voltages(np.array([[0.5, 0.7]]), drive), [[0, -2, 0.5, 1.5, -1.5, 0.7]])


def test_a_chain_of_amplifiers_multiplies():
    builder = CircuitBuilder("chain")
    x, *chain = builder.add_nodes(["x", "a", "b", "c"])
    builder.add(Amplifiers("amp", [x, *chain[:-1]], chain, [2.0, 3.0, 5.0], [0.1, 0.2, 0.3]))
    builder.add(Conductances("g", [x, chain[-1]], [0, 0], [1.0, 1.0]))
    system = ReducedSystem(builder.build())
    np.testing.assert_allclose(system.matrix.toarray(), [[1 + 0.1 * 0.2 * 0.3 * 30]])
    np.testing.assert_allclose(system.expansion.toarray().ravel(), [0, 1, 2, 6, 30])


def test_offsets_shift_what_the_amplifiers_drive():
    plain = amplified()
    (amplifier,) = plain.of_kind(Amplifiers)
    circuit = plain.with_groups(replace(g, offset=np.array([0.1])) if g is amplifier else g for g in plain.groups)
    system = ReducedSystem(circuit)
    drive = system.drive(np.array([[0.2]]))
    # p = 3 (x + 0.1), q = −p. In mS: 2 [5 · 0.3 + 7 · 0.3] more leave x, 5 · 0.3 − 7 · 0.3 more enter z.
    np.testing.assert_allclose(drive.residual, [[2e-3 + 7.2e-3, -4e-3 + 0.6e-3]], rtol=1e-14)
    np.testing.assert_allclose(system.node_voltages(np.array([[0.5, 0.7]]), drive), [[0, -2, 0.5, 1.8, -1.8, 0.7]])
    np.testing.assert_allclose(system.matrix.toarray(), ReducedSystem(plain).matrix.toarray(), rtol=1e-14)


def test_the_weighted_matrix_is_symmetric_where_there_is_an_energy():
    system = ReducedSystem(amplified())
    assert system.weights is not None
    weighted = system.weights[:, None] * system.matrix.toarray()
    np.testing.assert_allclose(weighted, weighted.T, rtol=1e-14)


def test_the_system_is_formed_once_a_circuit():
    circuit = amplified()
    assert reduced_system(circuit) is reduced_system(circuit)


def random_equations(seed, n_samples=2):
    recipe = Recipe(
        seed, block_sizes=(3, 2, 2), reciprocal=seed % 2 == 0, controlled=seed % 3 == 0, floating=seed % 2 == 1
    )
    circuit = build(recipe)
    rng = np.random.default_rng(seed)
    target = torch.tensor([[1.0, 0.0]], dtype=torch.float64).expand(n_samples, 2)
    nudge = Nudge(1e-5, target, CrossEntropy(0.3), "elastic")
    equations = Equations.of(reduced_system(circuit), inputs_of(circuit, n_samples, seed), nudge, None)
    return circuit, equations, 0.3 * rng.standard_normal((n_samples, equations.system.n_unknowns))


@pytest.mark.parametrize("seed", [2, 4, 8, 10])
def test_the_reduced_residual_is_kirchhoffs(seed):
    circuit, equations, x = random_equations(seed)
    assert equations.system.n_unknowns == equations.system.n_voltages
    voltages = equations.system.node_voltages(x, equations.drive)
    residual, scale = kirchhoff_residual(circuit, voltages, equations.injected_into_nodes(x))
    reduced = equations.at(x).residual
    free = [i for i, name in enumerate(circuit.node_names) if name.startswith("n")]
    assert np.abs(reduced - residual[:, free]).max() <= 1e-13 * scale.max()


@pytest.mark.parametrize("seed", range(6))
def test_the_jacobian_is_the_derivative(seed):
    _, equations, x = random_equations(seed, n_samples=1)
    caps = equations.first_caps(None) + 0.2
    jacobian = Jacobian(equations.system, elastic=True)
    matrix = jacobian.dense(jacobian.values(equations.at(x, caps).slopes))[0].numpy()
    step = 1e-7
    for column in range(matrix.shape[1]):
        ahead, behind = x.copy(), x.copy()
        ahead[0, column] += step
        behind[0, column] -= step
        slope = (equations.at(ahead, caps).residual - equations.at(behind, caps).residual)[0] / (2 * step)
        assert np.abs(slope - matrix[:, column]).max() <= 1e-6 * np.abs(matrix).max()


@pytest.mark.parametrize("symmetric", [True, False])
@pytest.mark.parametrize("transposed", [True, False])
def test_dense_and_sparse_solves_agree_with_numpy(symmetric, transposed):
    circuit = build(Recipe(3, block_sizes=(4, 3, 3)))
    system = reduced_system(circuit)
    jacobian = Jacobian(system, symmetric=symmetric)
    slopes = np.random.default_rng(0).uniform(1e-9, 1e-5, (3, sum(map(len, circuit.of_kind(Diodes)))))
    values, right = jacobian.values(slopes), np.random.default_rng(1).normal(size=(3, system.n_unknowns))
    matrices = jacobian.dense(values).numpy()
    expected = np.linalg.solve(matrices.transpose(0, 2, 1) if transposed else matrices, right[..., None])[..., 0]
    for jacobian.is_dense in (True, False):
        solution = jacobian.solve(values, right, transposed)
        np.testing.assert_allclose(solution, expected, rtol=1e-9, atol=1e-12 * np.abs(expected).max())


def test_a_singular_matrix_gives_no_number():
    jacobian = Jacobian(reduced_system(amplified()), symmetric=False)
    for jacobian.is_dense in (True, False):
        assert np.isnan(jacobian.solve(np.zeros((1, len(jacobian.rows))), np.ones((1, 2)))).all()


def test_random_circuits_have_the_energy_they_were_drawn_with():
    assert energy_weights(build(Recipe(5, reciprocal=True))).nodes is not None
    assert energy_weights(build(Recipe(5, block_sizes=(5, 5), reciprocal=True, controlled=True))).nodes is None
