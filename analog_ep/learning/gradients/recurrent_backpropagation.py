"""Recurrent back-propagation: error derivatives by the adjoint dynamics of a side network."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

import torch
from torch import Tensor

from analog_ep.equilibrium.equilibrium import Solver, solve
from analog_ep.equilibrium.layered.hopfield_relaxation import HopfieldRelaxation
from analog_ep.errors import ConvergenceError, StimulusError
from analog_ep.learning.gradients.method import GradientMethod
from analog_ep.networks import Network, UnitNetwork
from analog_ep.networks.needs import units_of
from analog_ep.stimulus import Cost


@dataclass(frozen=True)
class AdjointDynamics:
    r"""The side network of recurrent back-propagation, beside a settled Hopfield network.

    With H the Hessian of the energy at the free state and C the cost, Euler steps of

    .. math:: \frac{dλ}{dt} = -H λ - \frac{∂C}{∂u}, \qquad λ(0) = 0,

    whose fixed point is :math:`λ = -H^{-1} ∂C/∂u`. Units that a bound holds have λ = 0.

    Parameters
    ----------
    step : float
        Time step in units of the leak's time constant; stable below 2 over H's largest eigenvalue.
    rtol : float
        Largest change of λ a unit of time, relative to the largest |λ|, at which a sample has settled.
    max_steps : int
        Most steps.
    strict : bool
        Whether samples that have not settled are an error; otherwise they are left out, with λ = 0. The free state of
        such a sample is hardly a minimum.
    """

    step: float = 0.5
    rtol: float = 1e-6
    max_steps: int = 10_000
    strict: bool = True

    def __post_init__(self):
        if not 0 < self.step < float("inf"):
            raise StimulusError(f"the step of the adjoint dynamics must be positive and finite, found {self.step}")

    def steps(
        self, network: UnitNetwork, inputs: Tensor, layers: tuple[Tensor, ...], error: Tensor
    ) -> Iterator[tuple[tuple[Tensor, ...], tuple[Tensor, ...]]]:
        """λ and dλ/dt of each layer, `(*batch, n_units)`, from λ = 0 on, without end.

        Parameters
        ----------
        network : UnitNetwork
            Whose force is linearised; its transposed Jacobian is formed by autograd.
        inputs, layers
            The free state.
        error : Tensor (*batch, n_outputs)
            ∂C/∂u of the outputs.
        """
        with torch.enable_grad():
            at = tuple(layer.detach().requires_grad_() for layer in layers)
            forces = network.force(inputs, at)
        moves = free_units(network, inputs, layers)
        adjoint = tuple(torch.zeros_like(layer) for layer in layers)
        while True:
            change = list(torch.autograd.grad(forces, at, adjoint, retain_graph=True))
            change[-1] = change[-1] - error
            velocity = tuple(torch.where(free, value, 0.0) for free, value in zip(moves, change, strict=True))
            yield adjoint, velocity
            adjoint = tuple(value + self.step * rate for value, rate in zip(adjoint, velocity, strict=True))

    def settle(
        self, network: UnitNetwork, inputs: Tensor, layers: tuple[Tensor, ...], error: Tensor
    ) -> tuple[Tensor, ...]:
        """λ of each layer, `(*batch, n_units)`.

        Raises
        ------
        ConvergenceError
            If a sample has not settled within `max_steps`, and `strict` is set.
        """
        change, settled, adjoint = torch.zeros(()), torch.zeros(()), ()
        for adjoint, velocity in islice(self.steps(network, inputs, layers, error), self.max_steps + 1):
            change = _largest(velocity) / _largest(adjoint).clamp(min=torch.finfo(error.dtype).tiny)
            settled = (change <= self.rtol) | (_largest(velocity) == 0)
            if bool(settled.all()):
                return adjoint
            if self.strict and not bool(torch.isfinite(_largest(velocity)).all()):
                break
        if not self.strict:
            return tuple(torch.where(settled[..., None], value, 0.0) for value in adjoint)
        raise ConvergenceError(
            f"the adjoint dynamics must settle, found relative changes of {float(change.max()):.1e} a time constant "
            f"after {self.max_steps} steps of {self.step:g}; shorten the step, or allow more of them"
        )


class RecurrentBackpropagation(GradientMethod):
    r"""Recurrent back-propagation (Almeida 1987; Pineda 1987) in a Hopfield network.

    The second phase runs in a side network, `AdjointDynamics`, and gives :math:`dC/dθ = λ^T ∂^2E/∂u ∂θ`: the exact
    gradient, to the tolerances. At every moment λ's velocity equals that of the nudged network over β [3]_.

    Parameters
    ----------
    network : HopfieldNetwork
        What to train.
    cost : Cost, optional
        C; by default `SquaredError`.
    solver : Solver, optional
        Of the free state; by default `HopfieldRelaxation()`.
    dynamics : AdjointDynamics, optional
        Of the second phase.

    Raises
    ------
    StimulusError
        If the network is no Hopfield network.
    ConvergenceError
        On `gradients`, if a phase does not settle.

    References
    ----------
    .. [1] L. B. Almeida, "A learning rule for asynchronous perceptrons with feedback in a combinatorial environment,"
       Proc. IEEE First Int. Conf. Neural Networks, vol. 2, 1987.
    .. [2] F. J. Pineda, "Generalization of back-propagation to recurrent neural networks," Phys. Rev. Lett. 59, 2229,
       1987, doi:10.1103/PhysRevLett.59.2229.
    .. [3] B. Scellier and Y. Bengio, "Equivalence of equilibrium propagation and recurrent backpropagation," Neural
       Comput. 31(2), 2019, doi:10.1162/neco_a_01160.
    """

    def __init__(
        self,
        network: Network,
        cost: Cost | None = None,
        solver: Solver | None = None,
        dynamics: AdjointDynamics | None = None,
    ):
        super().__init__(network, cost)
        need = "recurrent back-propagation needs a HopfieldNetwork"
        self._units = units_of(network, need, "use SmallSignal, the same gradient")
        self.solver = HopfieldRelaxation() if solver is None else solver
        self.dynamics = AdjointDynamics() if dynamics is None else dynamics

    @torch.no_grad()
    def _gradients(self, inputs: Tensor, targets: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        network = self._units
        free = solve(network, inputs, solver=self.solver)
        targets = targets.to(free.outputs)
        error = self.cost.gradient(free.outputs, targets)
        adjoint = self.dynamics.settle(network, inputs, free.layers, error)
        contrast = network.contrast(inputs, free.layers, adjoint, linear=True)
        scale = network.parameter_scale / max(inputs.shape[:-1].numel(), 1)
        gradients = {name: value.mul_(scale).to(network.get_parameter(name)) for name, value in contrast.items()}
        return self.cost.value(free.outputs, targets).mean(), gradients


@torch.no_grad()
def free_units(network: UnitNetwork, inputs: Tensor, layers: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """Whether each unit of a fixed point is free to move, bool `(*batch, n_units)`; one pressed on a bound is not."""
    if network.activation.bounds is None:
        return tuple(torch.ones_like(layer, dtype=torch.bool) for layer in layers)
    low, high = network.activation.bounds
    forces = network.force(inputs, layers)
    return tuple(
        ~(((layer <= low) & (force < 0)) | ((layer >= high) & (force > 0)))
        for layer, force in zip(layers, forces, strict=True)
    )


def _largest(layers: tuple[Tensor, ...]) -> Tensor:
    """Largest magnitude over the units of a sample, `(*batch,)`."""
    return torch.stack([layer.abs().amax(-1) for layer in layers]).amax(0)
