"""The exact gradient by implicit differentiation of Kirchhoff's equations: what the other methods are judged by."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from analog_ep.circuit import Circuit, Conductances
from analog_ep.equilibrium.assembly import apply
from analog_ep.equilibrium.equilibrium import Equilibrium, solve
from analog_ep.equilibrium.jacobian import Jacobian
from analog_ep.equilibrium.newton import Newton, reduced_system
from analog_ep.errors import ConvergenceError, StimulusError
from analog_ep.networks import ResistiveNetwork
from analog_ep.stimulus import Cost, as_inputs, as_targets, require_finite, require_samples

_MATRIX_CHUNK = 2**23
_BRANCH_CHUNK = 2**22


class ImplicitDifferentiation:
    r"""Exact dC/dg at the free equilibrium, by the adjoint of the whole Jacobian in float64.

    The equilibrium solves F(x, g) = 0 (`ReducedSystem`). With the adjoint λ of :math:`J^T λ = ∂C/∂x`,
    :math:`dC/dg = -λ^T ∂F/∂g`. A conductance from node p to node n adds :math:`g (v_p - v_n)` to Kirchhoff's law at p
    and takes it from that at n, so that with :math:`μ = L^T λ`, a value at every node,

    .. math:: \frac{dC}{dg} = -(μ_p - μ_n) (v_p - v_n) .

    No reciprocity is asked for: amplifiers of any gain and feedback, and one-way sources, are allowed. At the kink of a
    piecewise-linear diode the gradient is that of the right-hand side.

    Parameters
    ----------
    system : ResistiveNetwork or Circuit
        What to differentiate. A `Circuit` needs declared outputs.
    cost : Cost
        C of the differential outputs.
    solver : Newton, optional
        Finds free equilibria that are not given.

    Raises
    ------
    StimulusError
        If the system is another network; on `gradients`, if the circuit has no outputs.
    ConvergenceError
        On `gradients`, if a free equilibrium was not reached or its Jacobian is singular.
    """

    def __init__(self, system: ResistiveNetwork | Circuit, cost: Cost, solver: Newton | None = None):
        if not isinstance(system, (ResistiveNetwork, Circuit)):
            raise StimulusError(
                f"implicit differentiation by conductances needs a ResistiveNetwork or a Circuit, found a "
                f"{type(system).__name__}; use EnergyImplicitDifferentiation"
            )
        self.system, self.cost = system, cost
        self.solver = Newton() if solver is None else solver

    def gradients(self, inputs: Tensor, targets: Tensor, free: Equilibrium | None = None) -> dict[str, Tensor]:
        """Mean of dC/dg over the batch for every trainable conductance, by the name of its parameter.

        Parameters
        ----------
        inputs : Tensor (*batch, n_inputs)
            Inputs. [V]
        targets : Tensor (*batch, n_outputs)
            Targets of the cost.
        free : Equilibrium, optional
            The free equilibrium, where it is known.

        Returns
        -------
        dict of str to Tensor (n_elements,)
            In float64, at the flat indices that the circuit's groups give; elements that share an index add up.
            [C/S], so [V²/S] for `SquaredError`.
        """
        circuit = self.system if isinstance(self.system, Circuit) else self.system.circuit()
        if circuit.outputs is None:
            raise StimulusError("a cost needs a circuit with outputs, found none; declare them with set_outputs")
        inputs, targets = self._stimulus(inputs, targets)
        free = self._free(inputs, free)
        voltages = free.voltages.detach().to("cpu", torch.float64).reshape(-1, circuit.n_nodes).numpy()
        goals = targets.detach().cpu().reshape(len(voltages), -1)
        return _conductance_gradients(circuit, voltages, _adjoint(circuit, voltages, self.cost, goals))

    def backward(self, inputs: Tensor, targets: Tensor, free: Equilibrium | None = None) -> Tensor:
        """Add dC/dθ = g_ref dC/dg to the `.grad` of each parameter of a network; return the mean cost, a scalar."""
        if isinstance(self.system, Circuit):
            raise StimulusError("backward needs a Network, found a Circuit; use gradients")
        inputs, targets = self._stimulus(inputs, targets)
        free = self._free(inputs, free)
        for name, gradient in self.gradients(inputs, targets, free).items():
            parameter = self.system.get_parameter(name)
            scaled = (self.system.reference_conductance * gradient).reshape(parameter.shape).to(parameter)
            parameter.grad = scaled if parameter.grad is None else parameter.grad + scaled
        return self.cost.value(free.outputs, targets.to(free.outputs)).mean()

    def _stimulus(self, inputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """Both in float64, or `StimulusError`."""
        device = inputs.device if isinstance(inputs, Tensor) else torch.device("cpu")
        inputs = as_inputs(inputs, self.system.n_inputs, torch.float64, device)
        require_samples(inputs)
        targets = as_targets(targets, inputs, self.system.n_outputs)
        require_finite("targets", targets)
        return inputs, targets

    def _free(self, inputs: Tensor, free: Equilibrium | None) -> Equilibrium:
        return solve(self.system, inputs, solver=self.solver) if free is None else free.require_converged()


def _adjoint(circuit: Circuit, voltages: np.ndarray, cost: Cost, targets: Tensor) -> np.ndarray:
    """μ = Lᵀ λ, `(n_samples, n_nodes)`."""
    system = reduced_system(circuit)
    jacobian = Jacobian(system)
    outputs = torch.from_numpy(apply(system.outputs.incidence.T, voltages))
    pull = apply(system.outputs.voltage.T, cost.gradient(outputs, targets).numpy())
    adjoint = np.empty_like(pull)
    step = max(1, _MATRIX_CHUNK // max(1, len(jacobian.rows), jacobian.size**2 if jacobian.is_dense else 0))
    for begin in range(0, len(pull), step):
        part = slice(begin, begin + step)
        _, slopes = system.currents(system.control_voltages(voltages[part]))
        adjoint[part] = jacobian.solve(jacobian.values(slopes), pull[part], transposed=True)
    if not np.isfinite(adjoint).all():
        raise ConvergenceError("implicit differentiation needs a regular Jacobian, found a singular one")
    return apply(system.law.T, adjoint)


def _conductance_gradients(circuit: Circuit, voltages: np.ndarray, adjoint: np.ndarray) -> dict[str, Tensor]:
    gradients: dict[str, np.ndarray] = {}
    for group in circuit.of_kind(Conductances):
        if group.parameter is None or group.index is None:
            continue
        first, second = group.ends()
        total = np.zeros(len(group))
        step = max(1, _BRANCH_CHUNK // max(1, len(group)))
        for begin in range(0, len(voltages), step):
            v, mu = voltages[begin : begin + step], adjoint[begin : begin + step]
            total -= ((mu[:, first] - mu[:, second]) * (v[:, first] - v[:, second])).sum(0)
        mean = np.bincount(group.index, total / max(len(voltages), 1))
        so_far = gradients.get(group.parameter, np.zeros(0))
        longest = max(len(so_far), len(mean))
        gradients[group.parameter] = np.pad(so_far, (0, longest - len(so_far))) + np.pad(mean, (0, longest - len(mean)))
    return {name: torch.from_numpy(gradient) for name, gradient in gradients.items()}
