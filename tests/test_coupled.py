"""Coupled learning against a hand-solved divider, differences of energies, and its small-amplitude limit."""

from dataclasses import dataclass

import numpy as np
import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from layered_networks import Case, cases, dense_hessian, examples

from analog_ep.circuit import Circuit, CircuitBuilder, Conductances, VoltageSources, with_output_clamps
from analog_ep.devices import IdealDiode
from analog_ep.equilibrium import Newton, Ngspice, Relaxation, solve
from analog_ep.equilibrium.equilibrium import clamped_response
from analog_ep.errors import CircuitError, ConvergenceError, StimulusError
from analog_ep.learning import CoupledLearning, Update
from analog_ep.learning.gradients.implicit import implicit_gradients
from analog_ep.networks import ResistiveNetwork
from analog_ep.stimulus import CrossEntropy, SquaredError

SOLVER = Relaxation(max_steps=300)
amplitudes = st.sampled_from([1e-3, 0.1, 1.0])


def relative(found: torch.Tensor, wanted: torch.Tensor) -> float:
    return float(torch.linalg.norm(found - wanted) / torch.linalg.norm(wanted))


def divider() -> Circuit:
    """An input over g_1 to the output x, and g_2 from there to ground."""
    builder = CircuitBuilder("divider")
    top, x = builder.add_nodes(["top", "x"])
    builder.add(VoltageSources("v", top, 0, 0.0, 0))
    builder.add(Conductances("g", [top, x], [x, 0], [1e-3, 3e-3], "theta", [1, 0]))
    builder.set_outputs(x, np.zeros(1, int))
    return builder.build()


@pytest.mark.parametrize("solver", [Newton(), pytest.param(Ngspice(), marks=pytest.mark.ngspice)])
def test_clamped_divider(solver):
    held = solve(with_output_clamps(divider()), torch.tensor([[2.0, 0.7], [-1.0, 0.0]]).double(), solver=solver)
    wanted = torch.tensor([[0.0, 2.0, 0.7], [0.0, -1.0, 0.0]]).double()
    torch.testing.assert_close(held.voltages, wanted, rtol=0, atol=1e-9)


@dataclass(frozen=True)
class WeighedError(SquaredError):
    """½ eᵀ Y e with a Y that is held while it is differentiated."""

    metric: torch.Tensor | None = None

    def gradient(self, outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        assert self.metric is not None
        return (outputs - targets) @ self.metric


def output_conductance(network: ResistiveNetwork, voltages: torch.Tensor) -> torch.Tensor:
    """Inverse of w_L D H⁻¹ Dᵀ at a state, from the branches of the circuit. [S]"""
    hessian, outputs, weight = dense_hessian(network.circuit(), voltages.numpy())
    return torch.from_numpy(np.linalg.inv(weight * outputs @ np.linalg.solve(hessian, outputs.T)))


@examples(10)
@given(case=cases(kinds=("shockley", "piecewise"), usual=True, n_samples=1, scales=(0.3, 1.0)))
def test_small_amplitudes_give_the_gradient_weighed_by_the_output_conductance(case: Case):
    network, inputs = case.network, case.inputs
    free = solve(network, inputs, solver=Newton(), throw=False)
    assume(free.converged.all())
    metric = output_conductance(network, free.voltages[0])
    reference = implicit_gradients(network, WeighedError(metric=metric), inputs, case.targets, free)
    _, found = CoupledLearning(network, 1e-9, solver=SOLVER).gradients(inputs, case.targets)
    for name, gradient in found.items():
        assert relative(gradient.flatten(), reference[name]) < 1e-5, name


def clamped_energy(case: Case, outputs: torch.Tensor) -> torch.Tensor:
    """Σ over the samples of the energy of a network whose outputs are held."""
    circuit = with_output_clamps(case.network.circuit())
    held = solve(circuit, torch.cat([case.inputs, outputs], -1), solver=Newton())
    return case.network.energy(case.inputs, case.network.layers_of(held.voltages)).sum()


@examples(5)
@given(
    case=cases(kinds=("shockley",), usual=True, n_samples=2, scales=(0.3, 1.0)), amplitude=st.sampled_from([0.1, 1.0])
)
def test_gradient_is_the_slope_of_the_energy_difference(case: Case, amplitude: float):
    network = case.network
    free = solve(network, case.inputs, solver=Newton(), throw=False)
    assume(free.converged.all())
    held = free.outputs + amplitude * (case.targets - free.outputs)
    _, found = CoupledLearning(network, amplitude, solver=SOLVER).gradients(case.inputs, case.targets)
    ratio, step = network.weight_ratios[0], 1e-4
    generator = torch.Generator().manual_seed(0)
    for name, gradient in found.items():
        theta = network.get_parameter(name)
        before = theta.detach().clone()
        direction = before * torch.rand(before.shape, generator=generator, dtype=before.dtype)
        energies, differences = 0.0, []
        for sign in (1, -1):
            with torch.no_grad():
                theta.copy_(before + sign * step * direction)
            ended = solve(network, case.inputs, solver=Newton())
            lowest = network.energy(case.inputs, ended.layers).sum()
            differences.append(clamped_energy(case, held) - lowest)
            energies += float(lowest.abs())
        with torch.no_grad():
            theta.copy_(before)
        # The energy has w = 1 at the first stage; the contrast is by that of the output stage.
        factor = ratio / (2 * step * amplitude * len(held) * network.reference_conductance)
        wanted = factor * float(differences[0] - differences[1])
        rounding = factor * 4 * torch.finfo(torch.float64).eps * energies
        scale = float((gradient.abs() * direction).sum())
        assert abs(float((gradient * direction).sum()) - wanted) < 1e-5 * scale + rounding, name


@pytest.mark.ngspice
@examples(6)
@given(case=cases(usual=True, n_samples=2, scales=(0.3, 1.0)), amplitude=amplitudes)
def test_solvers_agree(case: Case, amplitude: float):
    case = case.for_spice
    free = solve(case.network, case.inputs, solver=SOLVER)
    change = amplitude * (case.targets - free.outputs)
    found = clamped_response(free, change, solver=SOLVER)
    outputs = case.network.outputs_of(found)
    torch.testing.assert_close(outputs, change, rtol=1e-9, atol=1e-15)
    for solver in (Newton(), Ngspice()):
        state = solve(case.network, case.inputs, solver=solver)
        other = clamped_response(state, change, solver=solver)
        for a, b in zip(found, other, strict=True):
            assert float((a - b).abs().max()) < 1e-8


def test_single_precision_keeps_the_gradient_at_any_amplitude():
    network = ResistiveNetwork([6, 8, 8, 4], dtype=torch.float64)
    generator = torch.Generator().manual_seed(1)
    inputs, targets = (torch.rand((5, n), generator=generator, dtype=torch.float64) for n in (6, 4))
    _, double = CoupledLearning(network, 1e-6).gradients(inputs, targets)
    _, single = CoupledLearning(network.float(), 1e-6).gradients(inputs.float(), targets.float())
    for name, gradient in double.items():
        assert relative(single[name].double(), gradient) < 1e-4, name


def test_right_outputs_ask_for_no_change():
    network = ResistiveNetwork([3, 5, 2], dtype=torch.float64)
    inputs = torch.ones(2, 3, dtype=torch.float64)
    targets = solve(network, inputs, solver=SOLVER).outputs
    cost, gradients = CoupledLearning(network, 0.5).gradients(inputs, targets)
    assert float(cost) < 1e-25
    assert all(float(gradient.abs().max()) < 1e-13 for gradient in gradients.values())


def test_errors():
    network = ResistiveNetwork([3, 5, 2], dtype=torch.float64)
    inputs = torch.ones(2, 3, dtype=torch.float64)
    for amplitude in (0.0, 1.5, float("nan")):
        with pytest.raises(StimulusError, match=r"amplitude of held outputs must be in \(0, 1\]"):
            CoupledLearning(network, amplitude)
    with pytest.raises(StimulusError, match="targets of their own kind, found the cost CrossEntropy"):
        CoupledLearning(network, cost=CrossEntropy())  # pyright: ignore[reportArgumentType]
    free = solve(network, inputs, solver=SOLVER)
    with pytest.raises(StimulusError, match=r"finite and of shape \(2, 2\), found shape \(2, 3\)"):
        clamped_response(free, torch.ones(2, 3).double(), solver=SOLVER)
    with pytest.raises(StimulusError, match="with NaN or infinity"):
        clamped_response(free, torch.full((2, 2), torch.nan).double(), solver=SOLVER)
    deep = ResistiveNetwork([3, 5, 5, 2], dtype=torch.float64)
    state = solve(deep, inputs, solver=SOLVER)
    with pytest.raises(ConvergenceError, match=r"clamped outputs: 2 samples did not reach rtol"):
        clamped_response(state, torch.ones(2, 2).double(), solver=Relaxation(max_steps=1))
    open_ended = CircuitBuilder("open").build()
    with pytest.raises(CircuitError, match="output clamps need outputs, found none in 'open'"):
        with_output_clamps(open_ended)
    with pytest.raises(CircuitError, match="the outputs must be free, found clamps in 'divider'"):
        with_output_clamps(with_output_clamps(divider()))


def drawn(seed: int) -> ResistiveNetwork:
    return ResistiveNetwork(
        [4, 6, 2], diode=IdealDiode(), conductance_range=(1e-6, 1e-4), seed=seed, dtype=torch.float64
    )


@pytest.mark.parametrize(("optimizer", "rate"), [(torch.optim.Adam, 0.01), (torch.optim.SGD, 10.0)])
def test_any_optimiser_learns_from_it(optimizer: type[torch.optim.Adam | torch.optim.SGD], rate: float):
    teacher, student = drawn(1), drawn(2)
    inputs = torch.rand((40, 4), generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    targets = solve(teacher, inputs, solver=SOLVER).outputs
    method = CoupledLearning(student, 0.2)
    update = Update(optimizer(student.parameters(), rate), student)
    costs = []
    for _ in range(60):
        update.zero_grad()
        costs.append(float(method.backward(inputs, targets)))
        update.step()
    assert costs[-1] < 0.1 * costs[0]
