"""Equilibrium propagation with periodic inputs: gradients by R, L and C from the free and the nudged phasors."""

from __future__ import annotations

import torch
from torch import Tensor

from analog_ep.dynamics.phasor_costs import PhasorCost
from analog_ep.dynamics.phasors import (
    PhasorEquilibrium,
    PhasorSolver,
    phasor_equilibrium,
    require_linear,
    require_reciprocal,
)
from analog_ep.errors import StimulusError
from analog_ep.networks.rlc_network import RLCNetwork


class PhasorPropagation:
    r"""Exact gradients of a linear reciprocal circuit from two steady states: the free one and the response to a nudge.

    With y(ω) the admittance of an element, v the phasor of its voltage, and δ the response to the currents
    −β (∂C/∂Re o − j ∂C/∂Im o) into the outputs, complex conjugates of the cost's slopes and so their waves backwards in
    time,

    .. math:: \frac{dC}{dp} = \frac{1}{β} \sum_ω \mathrm{Re}\, \frac{∂y(ω)}{∂p} v\, δ ,

    the change of ½ Σ y v², a co-content of phasors without conjugates [1]_ [2]_ [3]_: the nodal matrix Y is symmetric,
    so that δ = −β Y⁻¹ c̄ is the adjoint's solution, and the response to any β is linear. ∂y/∂p is 1 of a conductance, jω
    of a capacitance and −1/(jωL²) of an inductance.

    Parameters
    ----------
    network : RLCNetwork
        What learns.
    cost : PhasorCost
        C.
    frequencies : Tensor (n_frequencies,)
        Of the inputs; positive. [Hz]
    solver : PhasorSolver, optional
        By default `NodalPhasors()`; `NgspicePhasors()` is ngspice's ``.ac``.

    Raises
    ------
    CircuitError
        If the circuit has nonlinear elements, controlled sources or amplifiers, or no outputs.

    References
    ----------
    .. [1] M. Berneman and D. Hexner, "Equilibrium Propagation for Dissipative Dynamics," 2025, arXiv:2506.20402, for
       RLC circuits under periodic inputs.
    .. [2] S. Massar, "Equilibrium Propagation for Learning in Lagrangian Dynamical Systems," 2025, arXiv:2505.07363.
    .. [3] S. W. Director and R. A. Rohrer, "The generalized adjoint network and network sensitivities," IEEE Trans.
       Circuit Theory 16:318, 1969, doi:10.1109/TCT.1969.1082965, for sensitivities at a frequency.
    """

    def __init__(self, network: RLCNetwork, cost: PhasorCost, frequencies: Tensor, solver: PhasorSolver | None = None):
        self.network, self.cost, self.solver = network, cost, solver
        self.frequencies = torch.as_tensor(frequencies, dtype=torch.float64)
        circuit = network.circuit()
        require_linear(circuit)
        require_reciprocal(circuit)

    def free(self, inputs: Tensor) -> PhasorEquilibrium:
        """The free steady state; see `phasor_equilibrium`, whose errors it has."""
        return phasor_equilibrium(self.network.circuit(), self.frequencies, inputs, solver=self.solver)

    def gradients(self, inputs: Tensor, targets: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Mean cost over the batch, and the gradient of it by every parameter θ = p/p_ref, by name.

        Parameters
        ----------
        inputs : Tensor (*batch, n_frequencies, n_inputs)
            Phasors. [V]
        targets : Tensor (*batch, …)
            As the cost takes them.

        Raises
        ------
        StimulusError
            If inputs do not fit, or targets have another batch.
        ConvergenceError
            If there is no steady state, or the cost is not finite.
        """
        free = self.free(inputs)
        batch = free.outputs.shape[:-2]
        targets = torch.as_tensor(targets)
        if targets.shape[: len(batch)] != batch:
            raise StimulusError(f"targets must have the batch {tuple(batch)}, found shape {tuple(targets.shape)}")
        value, slope = self.cost.gradient(free.outputs, targets)
        n_samples = max(batch.numel(), 1)
        response = free.response(-slope.conj() / n_samples)
        return value.mean(), self._contrast(free.voltages, response)

    def backward(self, inputs: Tensor, targets: Tensor) -> Tensor:
        """Add the gradient to each parameter's `.grad` and return the mean cost, a scalar."""
        cost, gradients = self.gradients(inputs, targets)
        for name, gradient in gradients.items():
            parameter = self.network.get_parameter(name)
            parameter.grad = gradient if parameter.grad is None else parameter.grad + gradient
        return cost

    def _contrast(self, voltages: Tensor, response: Tensor) -> dict[str, Tensor]:
        omega = 2 * torch.pi * self.frequencies[:, None]
        gradients = {name: torch.zeros_like(theta) for name, theta in self.network.named_parameters()}
        for tuned, present in self.network.tuned():
            first, second = (torch.from_numpy(nodes.copy()) for nodes in present.ends())
            v, d = (each[..., first] - each[..., second] for each in (voltages, response))
            slope = torch.from_numpy(present.admittance_slope(omega.numpy()))
            each = (slope * v * d).real.reshape(-1, len(first)).sum(0)
            scale = self.network.references[tuned.parameter][tuned.index]
            gradients[tuned.parameter].index_add_(0, tuned.index, each * scale)
        return gradients
