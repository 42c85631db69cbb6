r"""The exact gradient by implicit differentiation of Kirchhoff's equations: what the other methods are judged by.

The equilibrium solves F(x, g) = 0 (`ReducedSystem`). With the adjoint λ of :math:`J^T λ = ∂C/∂x`,
:math:`dC/dg = -λ^T ∂F/∂g`. A conductance from node p to node n adds :math:`g (v_p - v_n)` to Kirchhoff's law at p
and takes it from that at n, so that with :math:`μ = L^T λ`, a value at every node,

.. math:: \frac{dC}{dg} = -(μ_p - μ_n) (v_p - v_n) .

Of another quantity that learns, such as a gate voltage, ∂i/∂p stands in place of the voltage.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from analog_ep.circuit import Chip, Circuit
from analog_ep.circuit.reading import driven
from analog_ep.equilibrium.equilibrium import Equilibrium, Solver, solve
from analog_ep.equilibrium.nodal.assembly import apply
from analog_ep.equilibrium.nodal.jacobian import jacobian_of
from analog_ep.equilibrium.nodal.newton import Newton
from analog_ep.equilibrium.nodal.reduction import reduced_system
from analog_ep.errors import ConvergenceError, StimulusError
from analog_ep.learning.gradients.method import PhaseMethod
from analog_ep.networks import HardwareNetwork, Network
from analog_ep.networks.needs import ranged_of
from analog_ep.stimulus import Cost, as_inputs, as_targets, require_finite, require_samples

_BRANCH_CHUNK = 2**22


class ImplicitDifferentiation(PhaseMethod):
    """The exact gradient of a network of conductances, by `implicit_gradients`, as a gradient method like the others.

    Parameters
    ----------
    network : ResistiveNetwork or CircuitNetwork
        What to train.
    cost : Cost, optional
        C; by default `SquaredError`.
    solver : Solver, optional
        Of the free state; by default `Newton()`.
    chip : Chip, optional
        Mismatch of the hardware that is trained.

    Raises
    ------
    StimulusError
        If it is another network, or a bare circuit.
    ConvergenceError
        On `gradients`, if a free equilibrium was not reached or its Jacobian is singular.
    """

    def __init__(
        self,
        network: Network,
        cost: Cost | None = None,
        solver: Solver | None = None,
        chip: Chip | None = None,
    ):
        other = "implicit_gradients" if isinstance(network, Circuit) else "EnergyImplicitDifferentiation"
        need = "implicit differentiation needs a ResistiveNetwork, a CircuitNetwork or a GateNetwork"
        ranged_of(network, need, f"use {other}")
        super().__init__(network, cost)
        self.solver = Newton() if solver is None else solver
        self.chip = chip

    def _gradients(
        self, inputs: Tensor, targets: Tensor, free: Equilibrium | None = None
    ) -> tuple[Tensor, dict[str, Tensor]]:
        network = ranged_of(self.network, "implicit differentiation needs a circuit", "give one that learns")
        inputs = driven(inputs, self.chip)
        if free is None:
            free = solve(network, inputs, solver=self.solver, chip=self.chip)
        free.require_converged()
        found = implicit_gradients(network.circuit(self.chip), self.cost, inputs, targets, free)
        parameters = {name: network.get_parameter(name) for name in found}
        gradients = {
            name: (network.parameter_scale * found[name]).reshape(parameter.shape).to(parameter)
            for name, parameter in parameters.items()
        }
        return self.cost.value(free.outputs, targets.to(free.outputs)).mean(), gradients


def implicit_gradients(
    system: HardwareNetwork | Circuit,
    cost: Cost,
    inputs: Tensor,
    targets: Tensor,
    free: Equilibrium | None = None,
    *,
    solver: Solver | None = None,
) -> dict[str, Tensor]:
    """Exact dC/dg at the free equilibrium, by the adjoint of the whole Jacobian in float64.

    No reciprocity is asked for: amplifiers of any gain and feedback, transistors and one-way sources, are allowed. At
    the kink of a piecewise-linear diode the gradient is that of the right-hand side.

    Parameters
    ----------
    system : HardwareNetwork or Circuit
        What to differentiate; with outputs.
    cost : Cost
        C of the differential outputs.
    inputs, targets : Tensor (*batch, n_inputs), (*batch, n_outputs)
        Inputs [V], and targets of the cost.
    free, solver : Equilibrium, Solver, optional
        The free equilibrium, where it is known; else the solver finds it, by default `Newton()`.

    Returns
    -------
    dict of str to Tensor (n_elements,)
        Mean over the batch for every trainable conductance, by the name of its parameter, in float64, at the flat
        indices that the circuit's groups give; elements that share an index add up. [C/S], so [V²/S] for
        `SquaredError`.

    Raises
    ------
    StimulusError
        If the circuit has no outputs, or inputs and targets do not fit it.
    ConvergenceError
        If a free equilibrium was not reached or its Jacobian is singular.
    """
    circuit = system if isinstance(system, Circuit) else system.circuit()
    if circuit.outputs is None:
        raise StimulusError("a cost needs a circuit with outputs, found none; declare them with set_outputs")
    inputs, targets = _stimulus(circuit, inputs, targets)
    if free is None:
        free = solve(system, inputs, solver=Newton() if solver is None else solver)
    free.require_converged()
    voltages = free.voltages.detach().to("cpu", torch.float64).reshape(-1, circuit.n_nodes).numpy()
    goals = targets.detach().cpu().reshape(len(voltages), -1)
    return _parameter_gradients(circuit, voltages, _adjoint(circuit, voltages, cost, goals))


def _stimulus(circuit: Circuit, inputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Both in float64, or `StimulusError`."""
    device = inputs.device if isinstance(inputs, Tensor) else torch.device("cpu")
    inputs = as_inputs(inputs, circuit.n_inputs, torch.float64, device)
    require_samples(inputs)
    targets = as_targets(targets, inputs, circuit.n_outputs)
    require_finite("targets", targets)
    return inputs, targets


def _adjoint(circuit: Circuit, voltages: np.ndarray, cost: Cost, targets: Tensor) -> np.ndarray:
    """μ = Lᵀ λ, `(n_samples, n_nodes)`."""
    system = reduced_system(circuit)
    jacobian = jacobian_of(system)
    outputs = torch.from_numpy(apply(system.outputs.incidence.T, voltages))
    pull = apply(system.outputs.voltage.T, cost.gradient(outputs, targets).numpy())
    adjoint = np.empty_like(pull)
    step = jacobian.chunk
    for begin in range(0, len(pull), step):
        part = slice(begin, begin + step)
        _, slopes = system.currents(system.control_voltages(voltages[part]))
        adjoint[part] = jacobian.solve(jacobian.values(slopes), pull[part], transposed=True)
    if not np.isfinite(adjoint).all():
        raise ConvergenceError("implicit differentiation needs a regular Jacobian, found a singular one")
    return apply(system.law.T, adjoint)


def _parameter_gradients(circuit: Circuit, voltages: np.ndarray, adjoint: np.ndarray) -> dict[str, Tensor]:
    gradients: dict[str, np.ndarray] = {}
    for group in circuit.learning_groups():
        assert group.parameter is not None
        name, (first, second) = group.parameter, group.ends()
        total = np.zeros(len(group))
        step = max(1, _BRANCH_CHUNK // max(1, len(group)))
        for begin in range(0, len(voltages), step):
            v, mu = voltages[begin : begin + step], adjoint[begin : begin + step]
            rise = group.sensitivity(*(v[:, p] - v[:, n] for p, n in group.controls()))
            total -= ((mu[:, first] - mu[:, second]) * rise).sum(0)
        mean = np.bincount(np.asarray(group.index), total / max(len(voltages), 1))
        so_far = gradients.get(name, np.zeros(0))
        longest = max(len(so_far), len(mean))
        gradients[name] = np.pad(so_far, (0, longest - len(so_far))) + np.pad(mean, (0, longest - len(mean)))
    return {name: torch.from_numpy(gradient) for name, gradient in gradients.items()}
