"""Held outputs of Hopfield networks against bounded minimisation, autograd on the energy, and their limits."""

import numpy as np
import pytest
import scipy.optimize
import torch
from hopfield_networks import ACTIVATIONS, network, samples
from torch import Tensor

from analog_ep.equilibrium import EulerRelaxation, HopfieldRelaxation, Newton, solve
from analog_ep.equilibrium.equilibrium import clamped_response
from analog_ep.errors import StimulusError
from analog_ep.learning import ContrastiveHebbian, CoupledLearning, EquilibriumPropagation
from analog_ep.networks import HopfieldNetwork, ResistiveNetwork
from analog_ep.stimulus import CrossEntropy

SOLVER = HopfieldRelaxation()


def lowest(net: HopfieldNetwork, inputs: Tensor, start: Tensor, held: Tensor | None) -> Tensor:
    """Units `(n_units,)` that minimise the energy of one sample, with the outputs held where some are given."""
    sizes, n = list(net.sizes[1:]), net.n_outputs
    moving = len(start) - (0 if held is None else n)

    def energy(values: np.ndarray) -> tuple[float, np.ndarray]:
        at = torch.tensor(values, requires_grad=True)
        whole = at if held is None else torch.cat([at, held])
        value = net.energy(inputs, whole.split(sizes))
        (slope,) = torch.autograd.grad(value, at)
        return float(value.detach()), slope.numpy()

    bounds = None if net.activation.bounds is None else [net.activation.bounds] * moving
    options = {"maxiter": 5000, "ftol": 1e-16, "gtol": 1e-12}
    found = scipy.optimize.minimize(
        energy, start[:moving].numpy(), jac=True, method="L-BFGS-B", bounds=bounds, options=options
    )
    solved = torch.from_numpy(found.x)
    return solved if held is None else torch.cat([solved, held])


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("amplitude", [0.1, 1.0])
def test_held_state_is_the_minimum_with_those_outputs(activation: str, amplitude: float):
    net = network(activation)
    inputs, targets = samples(net, 3)
    free = solve(net, inputs, solver=SOLVER)
    change = amplitude * (targets - free.outputs)
    response = clamped_response(free, change, solver=SOLVER)
    torch.testing.assert_close(response[-1], change, rtol=0, atol=0)
    for sample in range(3):
        start = torch.cat([layer[sample] for layer in free.layers])
        wanted = lowest(net, inputs[sample], start, free.outputs[sample] + change[sample])
        found = start + torch.cat([layer[sample] for layer in response])
        torch.testing.assert_close(found, wanted, rtol=0, atol=2e-6)


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_gradient_is_the_slope_of_the_energy_difference(activation: str):
    net = network(activation)
    inputs, targets = samples(net, 3)
    free = solve(net, inputs, solver=SOLVER)
    response = clamped_response(free, targets - free.outputs, solver=SOLVER)
    held = tuple(layer + step for layer, step in zip(free.layers, response, strict=True))
    (net.energy(inputs, held) - net.energy(inputs, free.layers)).mean().backward()
    cost, found = ContrastiveHebbian(net).gradients(inputs, targets)
    assert float(cost) == pytest.approx(float(0.5 * (free.outputs - targets).square().sum(-1).mean()))
    for name, parameter in net.named_parameters():
        torch.testing.assert_close(found[name], parameter.grad, rtol=1e-10, atol=1e-14)


@pytest.mark.parametrize("activation", ["sigmoid", "tanh"])
def test_small_amplitudes_weigh_the_errors_by_the_stiffness_of_the_outputs(activation: str):
    net = network(activation, sizes=(4, 5, 3))
    inputs, targets = samples(net, 1)
    free = solve(net, inputs, solver=SOLVER)
    _, found = CoupledLearning(net, 1e-8).gradients(inputs, targets)
    at = torch.cat([layer[0] for layer in free.layers])
    hessian = torch.autograd.functional.hessian(lambda u: net.energy(inputs[0], u.split([5, 3])), at)
    stiffness = torch.linalg.inv(torch.linalg.inv(hessian)[-3:, -3:])
    force = torch.zeros_like(at)
    force[-3:] = stiffness @ (targets - free.outputs)[0]
    moved = at.detach().requires_grad_()
    slope = torch.autograd.grad(net.energy(inputs[0], moved.split([5, 3])), moved, create_graph=True)[0]
    names, parameters = zip(*net.named_parameters(), strict=True)
    wanted = torch.autograd.grad(slope @ torch.linalg.solve(hessian, force), parameters)
    for name, value in zip(names, wanted, strict=True):
        torch.testing.assert_close(found[name], value, rtol=1e-6, atol=1e-12)


def test_an_ever_stronger_nudge_holds_the_outputs():
    net = network("sigmoid")
    inputs, targets = samples(net, 3)
    _, wanted = ContrastiveHebbian(net).gradients(inputs, targets)
    errors = []
    for nudging in (1e2, 1e3, 1e4):
        _, found = EquilibriumPropagation(net, nudging, variant="positive", kind="elastic").gradients(inputs, targets)
        difference = nudging * found["weight2"] - wanted["weight2"]
        errors.append(float(difference.norm() / wanted["weight2"].norm()))
    assert errors[0] > 5 * errors[1] > 25 * errors[2]
    assert errors[2] < 1e-3


def test_right_outputs_ask_for_no_change():
    net = network()
    inputs, _ = samples(net, 3)
    cost, found = ContrastiveHebbian(net).gradients(inputs, solve(net, inputs, solver=SOLVER).outputs)
    assert float(cost) == 0
    assert not any(value.any() for value in found.values())


def test_any_optimiser_learns_from_it():
    teacher, student = network(seed=1), network(seed=2)
    inputs, _ = samples(teacher, 50)
    targets = solve(teacher, inputs, solver=SOLVER).outputs
    method, optimizer = ContrastiveHebbian(student), torch.optim.Adam(student.parameters(), 0.01)
    costs = []
    for _ in range(80):
        optimizer.zero_grad()
        costs.append(float(method.backward(inputs, targets)))
        optimizer.step()
    assert costs[-1] < 0.1 * costs[0]


def test_resistive_networks_are_coupled_learning_at_full_amplitude():
    net = ResistiveNetwork([3, 5, 2], dtype=torch.float64)
    inputs, targets = torch.rand(4, 3).double(), torch.rand(4, 2).double()
    for solver in (None, Newton()):
        _, found = ContrastiveHebbian(net, solver=solver).gradients(inputs, targets)
        _, wanted = CoupledLearning(net, 1.0, solver=solver).gradients(inputs, targets)
        assert all(torch.equal(found[name], value) for name, value in wanted.items())


def test_errors():
    net = network()
    inputs, targets = samples(net, 2)
    with pytest.raises(StimulusError, match="held outputs need targets of their own kind, found the cost CrossEntropy"):
        ContrastiveHebbian(net, CrossEntropy())  # pyright: ignore[reportArgumentType]
    with pytest.raises(StimulusError, match="outputs of a HopfieldNetwork cannot be held by EulerRelaxation"):
        ContrastiveHebbian(net, solver=EulerRelaxation()).gradients(inputs, targets)
