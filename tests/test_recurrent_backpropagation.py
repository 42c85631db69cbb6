"""Recurrent back-propagation against finite differences, dense linear algebra and the exact small-signal response."""

import pytest
import torch
from torch import Tensor

from analog_ep.equilibrium import Equilibrium, HopfieldRelaxation, solve
from analog_ep.errors import ConvergenceError, StimulusError
from analog_ep.learning import AdjointDynamics, RecurrentBackpropagation, SmallSignal
from analog_ep.learning.gradients.recurrent_backpropagation import free_units
from analog_ep.networks import HopfieldNetwork, ResistiveNetwork
from analog_ep.stimulus import CrossEntropy, SquaredError

SOLVER = HopfieldRelaxation()
EXACT = AdjointDynamics(rtol=1e-11)


def drawn(sizes: list[int], activation: str, scale: float = 0.5) -> tuple[HopfieldNetwork, Tensor, Tensor]:
    """A network with biases, inputs and targets."""
    network = HopfieldNetwork(sizes, activation=activation, initial_scale=scale, seed=3, dtype=torch.float64)
    generator = torch.Generator().manual_seed(4)
    with torch.no_grad():
        for bias in network.biases:
            bias.uniform_(-0.1, 0.5, generator=generator)
    inputs = torch.rand((4, sizes[0]), generator=generator, dtype=torch.float64)
    targets = torch.rand((4, sizes[-1]), generator=generator, dtype=torch.float64)
    return network, inputs, targets / targets.sum(-1, keepdim=True)


@pytest.mark.parametrize(
    ("activation", "sizes", "cost"),
    [
        ("hard_sigmoid", [3, 2], SquaredError()),
        ("hard_sigmoid", [3, 6, 5, 2], CrossEntropy(0.5)),
        ("sigmoid", [3, 6, 5, 2], SquaredError()),
        ("tanh", [3, 6, 2], CrossEntropy(0.5)),
    ],
)
def test_gradient_by_finite_differences(activation: str, sizes: list[int], cost):
    network, inputs, targets = drawn(sizes, activation)
    value, found = RecurrentBackpropagation(network, cost, SOLVER, EXACT).gradients(inputs, targets)

    def settled_cost() -> float:
        outputs = solve(network, inputs, solver=SOLVER).outputs
        return float(cost.value(outputs, targets).mean())

    assert float(value) == pytest.approx(settled_cost(), rel=1e-12)
    generator, step = torch.Generator().manual_seed(5), 1e-5
    for name, gradient in found.items():
        parameter = network.get_parameter(name)
        before = parameter.detach().clone()
        direction = torch.randn(before.shape, generator=generator, dtype=before.dtype)
        costs = []
        for sign in (1, -1):
            with torch.no_grad():
                parameter.copy_(before + sign * step * direction)
            costs.append(settled_cost())
        with torch.no_grad():
            parameter.copy_(before)
        slope = (costs[0] - costs[1]) / (2 * step)
        scale = float(gradient.norm() * direction.norm())
        assert abs(float((gradient * direction).sum()) - slope) < 1e-6 * scale + 1e-10, name


@pytest.mark.parametrize("activation", ["hard_sigmoid", "sigmoid"])
def test_the_same_as_the_small_signal_response(activation: str):
    network, inputs, targets = drawn([5, 20, 10, 3], activation)
    _, found = RecurrentBackpropagation(network, dynamics=EXACT).gradients(inputs, targets)
    _, wanted = SmallSignal(network).gradients(inputs, targets)
    for name, gradient in wanted.items():
        assert float((found[name] - gradient).norm()) < 1e-9 * float(gradient.norm()), name


def test_units_on_a_bound_carry_no_error():
    network, inputs, targets = drawn([3, 12, 2], "hard_sigmoid", scale=3.0)
    free = solve(network, inputs, solver=SOLVER)
    error = free.outputs - targets
    adjoint = EXACT.settle(network, inputs, free.layers, error)
    moves = free_units(network, inputs, free.layers)
    held = [~units for units in moves]
    assert sum(int(units.sum()) for units in held) > 5
    for layer, value, units in zip(free.layers, adjoint, held, strict=True):
        assert not value[units].any()
        assert bool(((layer[units] == 0) | (layer[units] == 1)).all())
    # One that no force presses against its bound may leave it.
    inner = tuple(torch.full_like(layer, 0.5) for layer in free.layers)
    assert all(bool(units.all()) for units in free_units(network, inputs, inner))


def test_adjoint_against_dense_linear_algebra():
    network, inputs, targets = drawn([3, 4, 2], "tanh")
    free = solve(network, inputs, solver=SOLVER)
    adjoint = torch.cat(EXACT.settle(network, inputs, free.layers, free.outputs - targets), -1)
    for sample in range(len(inputs)):
        u = torch.cat([layer[sample] for layer in free.layers])
        w1, w2 = (weight.detach() for weight in network.weights)
        rate, slope = torch.tanh(u), 1 - torch.tanh(u) ** 2
        coupling = torch.zeros(6, 6, dtype=torch.float64)
        coupling[:4, 4:], coupling[4:, :4] = w2, w2.T
        drive = torch.cat([inputs[sample] @ w1, torch.zeros(2).double()]) + coupling @ rate
        drive = drive + torch.cat([bias.detach() for bias in network.biases])
        hessian = torch.diag(1 + 2 * rate * slope * drive) - slope[:, None] * coupling * slope
        error = torch.cat([torch.zeros(4).double(), u[4:] - targets[sample]])
        torch.testing.assert_close(adjoint[sample], -torch.linalg.solve(hessian, error), rtol=1e-9, atol=1e-12)


def test_right_outputs_have_no_error():
    network, inputs, _ = drawn([3, 6, 2], "sigmoid")
    targets = solve(network, inputs, solver=SOLVER).outputs
    cost, found = RecurrentBackpropagation(network).gradients(inputs, targets)
    assert float(cost) == 0
    assert not any(value.any() for value in found.values())


def test_samples_that_do_not_settle_can_be_left_out():
    network, inputs, targets = drawn([3, 6, 2], "sigmoid")
    free = solve(network, inputs, solver=SOLVER)
    # One sample is at rest from the beginning, the others have no time.
    targets = torch.cat([free.outputs[:1], targets[1:]])
    error = free.outputs - targets
    adjoint = AdjointDynamics(max_steps=2, strict=False).settle(network, inputs, free.layers, error)
    assert not any(value.any() for value in adjoint)
    wanted = EXACT.settle(network, inputs, free.layers, error)
    # With bounds between the times that the samples take, the settled ones keep their λ.
    steps = [n for n in range(5, 200) if 0 < _left(network, inputs, free, error, n) < 3]
    assert steps
    found = AdjointDynamics(rtol=1e-9, max_steps=steps[0], strict=False).settle(network, inputs, free.layers, error)
    kept = found[0].any(-1)
    torch.testing.assert_close(found[0][kept], wanted[0][kept], rtol=1e-6, atol=1e-12)
    # A step that is far too long blows up, and leaves nothing behind.
    blown = AdjointDynamics(50.0, max_steps=400, strict=False).settle(network, inputs, free.layers, error)
    assert not any(value.any() for value in blown)


def _left(network: HopfieldNetwork, inputs: Tensor, free: Equilibrium, error: Tensor, steps: int) -> int:
    """Samples with an error that are left out after so many steps."""
    found = AdjointDynamics(rtol=1e-9, max_steps=steps, strict=False).settle(network, inputs, free.layers, error)
    return int((error.any(-1) & ~found[-1].any(-1)).sum())


def test_errors():
    network, inputs, targets = drawn([3, 6, 2], "sigmoid")
    with pytest.raises(StimulusError, match="step of the adjoint dynamics must be positive and finite, found 0"):
        AdjointDynamics(0)
    with pytest.raises(StimulusError, match="needs a HopfieldNetwork, found a ResistiveNetwork; use SmallSignal"):
        RecurrentBackpropagation(ResistiveNetwork([2, 2]))  # pyright: ignore[reportArgumentType]
    for dynamics in (AdjointDynamics(0.1, max_steps=3), AdjointDynamics(50.0)):
        method = RecurrentBackpropagation(network, dynamics=dynamics)
        with pytest.raises(ConvergenceError, match="the adjoint dynamics must settle, found relative changes of"):
            method.gradients(inputs, targets)
