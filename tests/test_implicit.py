"""Implicit differentiation against closed forms and differences of the solved cost."""

# Scalars for element values are spread over the elements, which the annotations do not say.
# pyright: reportArgumentType=false

from dataclasses import replace

import numpy as np
import pytest
import torch
from random_circuits import Recipe, build, inputs_of

from analog_ep.circuit import Circuit, CircuitBuilder, Conductances, Diodes, VoltageSources
from analog_ep.devices import ShockleyDiode
from analog_ep.equilibrium import Newton, solve
from analog_ep.equilibrium.nodal import jacobian
from analog_ep.errors import ConvergenceError, StimulusError
from analog_ep.learning import ImplicitDifferentiation
from analog_ep.learning.gradients import implicit
from analog_ep.learning.gradients.implicit import implicit_gradients
from analog_ep.networks import ResistiveNetwork
from analog_ep.stimulus import Cost, CrossEntropy, SquaredError


def divider(diode: bool = False) -> Circuit:
    """An input over g_1 to the output x, and g_2 from there to ground."""
    builder = CircuitBuilder("divider")
    top, x = builder.add_nodes(["top", "x"])
    builder.add(VoltageSources("v", top, 0, 0.0, 0))
    builder.add(Conductances("g", [top, x], [x, 0], [1e-3, 3e-3], "theta", [1, 0]))
    if diode:
        builder.add(Diodes("d", x, 0, ShockleyDiode()))
    builder.set_outputs(x, 0)
    return builder.build()


def tensor(*rows: list[float]) -> torch.Tensor:
    return torch.tensor(rows, dtype=torch.float64)


def test_a_divider():
    # o = x g_1/(g_1 + g_2): ∂o/∂g_1 = x g_2/(g_1 + g_2)², ∂o/∂g_2 = −x g_1/(g_1 + g_2)².
    inputs, targets = tensor([1.0], [-2.0]), tensor([0.5], [0.1])
    found = implicit_gradients(divider(), SquaredError(), inputs, targets)["theta"]
    error = inputs / 4 - targets
    slope = tensor([-1e-3, 3e-3]) / 16e-6
    torch.testing.assert_close(found, (error * inputs * slope).mean(0), rtol=1e-12, atol=0)


def test_elements_that_share_a_parameter_add_up():
    circuit = divider()
    group = circuit.group("g")
    assert isinstance(group, Conductances)
    cost, inputs, targets = SquaredError(), tensor([1.0]), tensor([0.5])
    apart = implicit_gradients(circuit, cost, inputs, targets)["theta"]
    shared = circuit.with_groups(replace(g, index=np.array([0, 0])) if g is group else g for g in circuit.groups)
    together = implicit_gradients(shared, cost, inputs, targets)["theta"]
    torch.testing.assert_close(together, apart.sum(0, keepdim=True))
    split = Conductances("more", group.positive[1:], group.negative[1:], group.siemens[1:], "theta", [2])
    both = circuit.with_groups([*circuit.groups, split])
    third = implicit_gradients(both, cost, inputs, targets)["theta"]
    assert third.shape == (3,)
    assert third[2] == third[0]


def moved(circuit: Circuit, group: Conductances, element: int, factor: float) -> Circuit:
    siemens = group.siemens.copy()
    siemens[element] *= factor
    return circuit.with_groups(replace(g, siemens=siemens) if g is group else g for g in circuit.groups)


def solved_cost(circuit: Circuit, inputs: torch.Tensor, targets: torch.Tensor, cost: Cost) -> tuple[float, list]:
    """The mean cost at the equilibrium, and the slopes of its piecewise-linear diodes."""
    free = solve(circuit, inputs, solver=Newton())
    voltages = free.voltages.numpy()
    active = [
        group.device.conductance(torch.from_numpy(voltages[:, group.anode] - voltages[:, group.cathode])).tolist()
        for group in circuit.of_kind(Diodes)
        if group.label.startswith("p")
    ]
    return float(cost.value(free.outputs, targets).mean()), active


CASES = [
    pytest.param(Recipe(1, block_sizes=(3, 2)), id="reciprocal"),
    pytest.param(Recipe(2, block_sizes=(2, 2), reciprocal=False), id="mismatched amplifiers"),
    pytest.param(Recipe(3, block_sizes=(2, 2, 2), reciprocal=False, floating=True), id="deep, floating source"),
    pytest.param(Recipe(4, block_sizes=(3, 2), controlled=True), id="one-way sources"),
    pytest.param(Recipe(5, block_sizes=(3,), reciprocal=False, controlled=True, floating=True), id="everything"),
    pytest.param(Recipe(6, block_sizes=(3, 2), reciprocal=False, drive=10.0), id="hard drive"),
]


@pytest.mark.parametrize("recipe", CASES)
@pytest.mark.parametrize("cost", [SquaredError(), CrossEntropy(0.5)], ids=["squared error", "cross-entropy"])
def test_every_conductance_against_differences_of_the_solved_cost(recipe, cost):
    circuit = build(recipe)
    inputs = torch.from_numpy(inputs_of(circuit, 2, recipe.seed))
    targets = tensor([1.0, 0.0], [0.0, 1.0])
    gradient = implicit_gradients(circuit, cost, inputs, targets)["theta"].numpy()
    found, expected, step = [], [], 1e-6
    for group in circuit.of_kind(Conductances):
        if group.index is None:
            continue
        for element in range(len(group)):
            above, active_above = solved_cost(moved(circuit, group, element, 1 + step), inputs, targets, cost)
            below, active_below = solved_cost(moved(circuit, group, element, 1 - step), inputs, targets, cost)
            if active_above == active_below:  # otherwise the cost has a kink inside the step
                expected.append((above - below) / (2 * step))
                found.append(group.siemens[element] * gradient[group.index[element]])
    assert len(found) > 0.8 * len(gradient)
    value, _ = solved_cost(circuit, inputs, targets, cost)
    assert np.abs(np.array(found) - expected).max() <= 1e-6 * np.abs(expected).max() + 1e-9 * value


def test_backward_fills_the_gradients_of_a_network():
    network = ResistiveNetwork([3, 4, 2], bias_voltage=0.5, dtype=torch.float64, seed=1)
    generator = torch.Generator().manual_seed(0)
    inputs, targets = (torch.randn(5, n, generator=generator, dtype=torch.float64) for n in (3, 2))
    cost, step = SquaredError(), 1e-5
    mean = ImplicitDifferentiation(network, cost).backward(inputs, targets)
    assert float(mean) == pytest.approx(solved_cost(network.circuit(), inputs, targets, cost)[0], rel=1e-12)
    for parameter in network.parameters():
        assert parameter.grad is not None
        assert parameter.grad.shape == parameter.shape
        for place in [(0, 0), (parameter.shape[0] - 1, 1), (2, parameter.shape[1] - 1)]:
            with torch.no_grad():
                theta = parameter[place].item()
                values = []
                for factor in (1 + step, 1 - step):
                    parameter[place] = theta * factor
                    values.append(solved_cost(network.circuit(), inputs, targets, cost)[0])
                parameter[place] = theta
            slope = (values[0] - values[1]) / (2 * step * theta)
            assert float(parameter.grad[place]) == pytest.approx(slope, rel=1e-6, abs=1e-9)


def test_backward_adds_up_as_autograd_does():
    network = ResistiveNetwork([2, 3, 2], seed=1)
    inputs, targets = torch.ones(1, 2), torch.zeros(1, 2)
    method = ImplicitDifferentiation(network, SquaredError())
    method.backward(inputs, targets)
    once = {name: p.grad.clone() for name, p in network.named_parameters() if p.grad is not None}
    method.backward(inputs, targets)
    assert len(once) == 2
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None
        assert parameter.grad.dtype == torch.float32
        torch.testing.assert_close(parameter.grad, 2 * once[name])


def test_a_given_equilibrium_is_used():
    circuit, inputs, targets = divider(diode=True), tensor([1.0], [3.0]), tensor([0.2], [0.3])
    cost, hurried = SquaredError(), Newton(max_steps=1)
    free = solve(circuit, inputs, solver=Newton())
    expected = implicit_gradients(circuit, SquaredError(), inputs, targets)["theta"]
    found = implicit_gradients(circuit, cost, inputs, targets, free, solver=hurried)["theta"]
    torch.testing.assert_close(found, expected)
    with pytest.raises(ConvergenceError, match=r"[12] of 2 samples did not converge in 1 Newton steps"):
        implicit_gradients(circuit, cost, inputs, targets, solver=hurried)


def test_it_is_the_same_in_chunks(monkeypatch):
    circuit = build(Recipe(3, block_sizes=(3, 3)))
    inputs, targets = torch.from_numpy(inputs_of(circuit, 5)), torch.zeros(5, 2, dtype=torch.float64)
    whole = implicit_gradients(circuit, SquaredError(), inputs, targets)["theta"]
    monkeypatch.setattr(jacobian, "_MATRIX_CHUNK", 1)
    monkeypatch.setattr(implicit, "_BRANCH_CHUNK", 1)
    parts = implicit_gradients(circuit, SquaredError(), inputs, targets)["theta"]
    torch.testing.assert_close(parts, whole, rtol=1e-12, atol=0)


def test_what_cannot_be_differentiated_is_said():
    circuit = replace(divider(), outputs=None)
    with pytest.raises(StimulusError, match="a cost needs a circuit with outputs, found none"):
        implicit_gradients(circuit, SquaredError(), tensor([1.0]), tensor([0.0]))
    with pytest.raises(StimulusError, match="or a GateNetwork, found a Circuit; use implicit_gradients"):
        ImplicitDifferentiation(divider())  # pyright: ignore[reportArgumentType]
