"""The exact gradient of a Hopfield network, by implicit differentiation of its energy: what others are judged by."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor

from analog_ep.equilibrium.equilibrium import Equilibrium, Solver, solve
from analog_ep.equilibrium.layered.hopfield_relaxation import HopfieldRelaxation
from analog_ep.errors import ConvergenceError
from analog_ep.learning.gradients.method import PhaseMethod
from analog_ep.networks import Network
from analog_ep.networks.needs import units_of
from analog_ep.stimulus import Cost


class EnergyImplicitDifferentiation(PhaseMethod):
    r"""Exact dC/dθ at the free equilibrium, by automatic differentiation of the energy alone.

    The free units, those at no bound, obey ∂E/∂u = 0. With the adjoint λ of :math:`H λ = ∂C/∂u`, H the energy's
    Hessian by the free units,

    .. math:: \frac{dC}{dθ} = -\frac{∂}{∂θ} \left( λ^T \frac{∂E}{∂u} \right) .

    The Hessian of every sample is formed and factored densely: for networks of some hundred units.

    Parameters
    ----------
    network : HopfieldNetwork
        In float64, for an exact gradient.
    cost : Cost, optional
        C of the outputs; by default `SquaredError`.
    solver : Solver, optional
        Of the free state; by default `HopfieldRelaxation()`.

    Raises
    ------
    ConvergenceError
        On `gradients`, if a free equilibrium was not reached or is no minimum.
    """

    def __init__(self, network: Network, cost: Cost | None = None, solver: Solver | None = None):
        super().__init__(network, cost)
        need = "implicit differentiation of an energy needs a HopfieldNetwork"
        self._units = units_of(network, need, "use ImplicitDifferentiation")
        self.solver = HopfieldRelaxation() if solver is None else solver

    def _gradients(
        self, inputs: Tensor, targets: Tensor, free: Equilibrium | None = None
    ) -> tuple[Tensor, dict[str, Tensor]]:
        free = solve(self.network, inputs, solver=self.solver) if free is None else free.require_converged()
        state = torch.cat([layer.reshape(-1, layer.shape[-1]) for layer in free.layers], -1)
        parameters = dict(self.network.named_parameters())
        total = {name: torch.zeros_like(parameter) for name, parameter in parameters.items()}
        samples = zip(inputs.reshape(len(state), -1), targets.reshape(len(state), -1), state, strict=True)
        for x, y, u in samples:
            for name, gradient in self._sample(x, y, u).items():
                total[name] += gradient / len(state)
        return self.cost.value(free.outputs, targets.to(free.outputs)).mean(), total

    def _sample(self, inputs: Tensor, targets: Tensor, state: Tensor) -> dict[str, Tensor]:
        names = [name for name, _ in self.network.named_parameters()]
        parameters = [self.network.get_parameter(name) for name in names]
        adjoint = self._adjoint(inputs, targets, state)
        at = state.clone().requires_grad_()
        (force,) = torch.autograd.grad(self._energy(inputs, at), at, create_graph=True)
        gradients = torch.autograd.grad(-(adjoint @ force), parameters)
        return dict(zip(names, gradients, strict=True))

    def _adjoint(self, inputs: Tensor, targets: Tensor, state: Tensor) -> Tensor:
        """λ of every unit, `(n_units,)`; 0 at a bound."""
        bounds = self._units.activation.bounds
        free = torch.ones_like(state, dtype=torch.bool) if bounds is None else (state > bounds[0]) & (state < bounds[1])
        hessian = cast(Tensor, torch.autograd.functional.hessian(lambda u: self._energy(inputs, u), state))
        pull = torch.zeros_like(state)
        pull[-self.network.n_outputs :] = self.cost.gradient(state[-self.network.n_outputs :], targets)
        factor, failed = torch.linalg.cholesky_ex(hessian[free][:, free])
        if int(failed):
            raise ConvergenceError(
                "implicit differentiation needs a minimum of the energy, found a saddle; start elsewhere"
            )
        adjoint = torch.zeros_like(state)
        adjoint[free] = torch.cholesky_solve(pull[free][:, None], factor)[:, 0]
        return adjoint

    def _energy(self, inputs: Tensor, state: Tensor) -> Tensor:
        return self.network.energy(inputs, state.split(self.network.sizes[1:]))
