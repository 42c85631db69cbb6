"""Large nudges, complex and sinusoidal, against finite differences, implicit differentiation and polynomials."""

import numpy as np
import pytest
import torch

from analog_ep.devices import ShockleyDiode
from analog_ep.equilibrium.equilibrium import solve
from analog_ep.equilibrium.layered.complex_hopfield import ComplexRelaxation
from analog_ep.equilibrium.layered.hopfield_relaxation import HopfieldRelaxation
from analog_ep.errors import ConvergenceError, StimulusError
from analog_ep.learning import EquilibriumPropagation
from analog_ep.learning.gradients.contour import (
    HarmonicEquilibriumPropagation,
    HolomorphicEquilibriumPropagation,
    harmonic_weights,
)
from analog_ep.learning.gradients.implicit import implicit_gradients
from analog_ep.networks import HopfieldNetwork, ResistiveNetwork
from analog_ep.stimulus import SquaredError


def hopfield(activation: str = "sigmoid", scale: float = 0.2, seed: int = 3) -> HopfieldNetwork:
    return HopfieldNetwork([4, 6, 3], activation=activation, initial_scale=scale, dtype=torch.float64, seed=seed)


def samples(n: int = 4, seed: int = 3) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    inputs = torch.randn(n, 4, generator=generator, dtype=torch.float64)
    return inputs, torch.randn(n, 3, generator=generator, dtype=torch.float64)


def flat(gradients: dict[str, torch.Tensor]) -> torch.Tensor:
    return torch.cat([value.flatten() for value in gradients.values()])


def differences(network: HopfieldNetwork, inputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Central differences of the mean cost of the free equilibrium."""
    slopes = []
    for parameter in network.parameters():
        entries = parameter.data.view(-1)
        for i in range(len(entries)):
            kept, costs = float(entries[i]), []
            for step in (1e-5, -1e-5):
                entries[i] = kept + step
                outputs = solve(network, inputs, solver=HopfieldRelaxation()).outputs
                costs.append(float(SquaredError().value(outputs, targets).mean()))
            entries[i] = kept
            slopes.append((costs[0] - costs[1]) / 2e-5)
    return torch.tensor(slopes, dtype=torch.float64)


def cosine(first: torch.Tensor, second: torch.Tensor) -> float:
    return float(torch.cosine_similarity(first, second, dim=0))


def test_eight_points_at_an_amplitude_where_two_fail():
    network, (inputs, targets) = hopfield(), samples()
    exact = differences(network, inputs, targets)
    for nudging in (0.2, 0.3):
        two, eight = (
            flat(HolomorphicEquilibriumPropagation(network, nudging, n).gradients(inputs, targets)[1]) for n in (2, 8)
        )
        assert cosine(two, exact) < 0.98
        assert cosine(eight, exact) >= 0.999


@pytest.mark.parametrize("kind", ["elastic", "frozen"])
def test_the_bias_falls_exponentially_with_the_points(kind):
    network, (inputs, targets) = hopfield(), samples()
    exact = differences(network, inputs, targets)
    errors = []
    for points in (4, 8, 16):
        rule = HolomorphicEquilibriumPropagation(network, 0.2, points, kind)
        errors.append(float((flat(rule.gradients(inputs, targets)[1]) - exact).norm() / exact.norm()))
    # Twice the points square the error, to the accuracy of the differences.
    assert errors[1] < 2 * errors[0] ** 2
    assert errors[2] < 2 * errors[1] ** 2 + 1e-7


def test_two_points_are_the_centered_estimate():
    network, (inputs, targets) = hopfield(), samples()
    _, two = HolomorphicEquilibriumPropagation(network, 0.1, 2).gradients(inputs, targets)
    _, centered = EquilibriumPropagation(network, 0.1, kind="elastic").gradients(inputs, targets)
    torch.testing.assert_close(flat(two), flat(centered), rtol=1e-8, atol=1e-12)


@pytest.mark.parametrize("activation", ["sigmoid", "tanh"])
def test_complex_states_are_fixed_points(activation):
    network, (inputs, targets) = hopfield(activation), samples()
    free = solve(network, inputs, solver=HopfieldRelaxation())
    for kind in ("elastic", "frozen"):
        path = ComplexRelaxation().path(free, [0.1, 0.1j, -0.1], targets, kind)
        for strength, layers in zip((0.1, 0.1j, -0.1), path, strict=True):
            forces = list(network.force(inputs.to(layers[0]), layers))
            error = (layers[-1] if kind == "elastic" else free.outputs) - targets
            forces[-1] = forces[-1] - strength * error
            assert max(float(force.detach().abs().max()) for force in forces) < 1e-10


def test_a_circle_around_a_branch_point_is_refused():
    network = hopfield(scale=0.3, seed=1)
    inputs, targets = samples(8, seed=0)
    with pytest.raises(ConvergenceError, match=r"must be real, found an imaginary part of \S+: a branch point lies"):
        HolomorphicEquilibriumPropagation(network, 0.5, 8).gradients(inputs, targets)
    relaxation = ComplexRelaxation(max_steps=1)
    with pytest.raises(ConvergenceError, match="found it moving after 1 sweeps; lower the nudging or raise max_steps"):
        HolomorphicEquilibriumPropagation(network, 0.1, 8, relaxation=relaxation).gradients(inputs, targets)


def test_what_complex_nudges_refuse():
    inputs, targets = samples()
    with pytest.raises(StimulusError, match="an analytic activation, found HardSigmoid; use sigmoid or tanh"):
        HolomorphicEquilibriumPropagation(hopfield("hard_sigmoid"), 0.1).gradients(inputs, targets)
    with pytest.raises(StimulusError, match="a HopfieldNetwork, found a ResistiveNetwork; a circuit can do Harmonic"):
        HolomorphicEquilibriumPropagation(ResistiveNetwork([2, 1]), 0.1)  # pyright: ignore[reportArgumentType]
    with pytest.raises(StimulusError, match=r"positive and points at least 2, found 0\.1 and 1"):
        HolomorphicEquilibriumPropagation(hopfield(), 0.1, 1)


def resistive() -> tuple[ResistiveNetwork, torch.Tensor, torch.Tensor]:
    diode, siemens = ShockleyDiode(1e-8), (1e-6, 1e-5)
    network = ResistiveNetwork([4, 6, 3], diode=diode, conductance_range=siemens, dtype=torch.float64, seed=2)
    return network, *samples()


def test_harmonics_on_a_circuit_against_implicit_differentiation():
    network, inputs, targets = resistive()
    exact = implicit_gradients(network, SquaredError(), inputs, targets)
    reference = network.parameter_scale * flat(exact)
    errors = []
    for harmonics in (1, 3, 7, 15):
        rule = HarmonicEquilibriumPropagation(network, 3e-4, harmonics)
        found = torch.cat([rule.gradients(inputs, targets)[1][name].flatten() for name in exact])
        errors.append(float((found - reference).norm() / reference.norm()))
    assert errors[0] > 0.02
    assert errors[1] < 0.3 * errors[0]
    assert errors[2] < 0.1 * errors[1]
    assert errors[3] < 1e-4


def test_one_harmonic_keeps_a_bias_of_second_order():
    network, inputs, targets = resistive()
    exact = implicit_gradients(network, SquaredError(), inputs, targets)
    reference = network.parameter_scale * flat(exact)

    def bias(nudging: float) -> float:
        _, found = HarmonicEquilibriumPropagation(network, nudging, 1, points=16).gradients(inputs, targets)
        return float((flat({name: found[name] for name in exact}) - reference).norm())

    assert bias(2e-5) / bias(1e-5) == pytest.approx(4, rel=0.1)


def test_harmonics_on_a_hopfield_network():
    network, (inputs, targets) = hopfield(), samples()
    exact = differences(network, inputs, targets)
    _, found = HarmonicEquilibriumPropagation(network, 0.15, 15, kind="elastic").gradients(inputs, targets)
    assert float((flat(found) - exact).norm() / exact.norm()) < 1e-4


@pytest.mark.parametrize("harmonics", [1, 3, 7])
def test_harmonics_give_the_derivative_of_polynomials(harmonics):
    rule = HarmonicEquilibriumPropagation(hopfield(), 1.0, harmonics)
    shares, weights = rule.quadrature()
    for power in range(harmonics + 1):
        assert weights @ shares**power == pytest.approx(float(power == 1), abs=1e-12)
    assert harmonic_weights(5).tolist() == [0, 1, 0, -3, 0, 5]
    # One harmonic of a cubic x³ = ¾ cos θ + ¼ cos 3θ.
    shares, weights = HarmonicEquilibriumPropagation(hopfield(), 1.0, 1, points=8).quadrature()
    assert weights @ shares**3 == pytest.approx(0.75)
    assert np.sum(weights) == pytest.approx(0, abs=1e-12)


def test_what_harmonics_refuse():
    with pytest.raises(StimulusError, match="harmonics must be odd, and points even and more, found 2 and 3"):
        HarmonicEquilibriumPropagation(hopfield(), 1.0, 2)
    with pytest.raises(StimulusError, match="harmonics must be odd, and points even and more, found 7 and 6"):
        HarmonicEquilibriumPropagation(hopfield(), 1.0, 7, points=6)
    with pytest.raises(StimulusError, match="nudging must be positive and finite, found -1"):
        HarmonicEquilibriumPropagation(hopfield(), -1.0)


def test_backward_fills_the_gradients():
    inputs, targets = samples()
    for rule in (HolomorphicEquilibriumPropagation, HarmonicEquilibriumPropagation):
        network = hopfield()
        cost = rule(network, 0.1, 7).backward(inputs, targets)
        assert cost.ndim == 0
        exact = differences(network, inputs, targets)
        found = torch.cat([p.grad.flatten() for p in network.parameters() if p.grad is not None])
        assert cosine(found, exact) > 0.9999
