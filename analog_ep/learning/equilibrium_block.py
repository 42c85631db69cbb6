"""An analog network as a block among digital ones: PyTorch's autograd asks it, equilibrium propagation answers."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from analog_ep.equilibrium.equilibrium import Equilibrium, Solver, linear_response, solve
from analog_ep.equilibrium.solver_of import solver_of
from analog_ep.errors import NetworkError, StimulusError
from analog_ep.learning.gradients.method import accumulate, positive_nudging
from analog_ep.networks import CrossbarNetwork, Network
from analog_ep.networks.needs import crossbars_of
from analog_ep.stimulus import Nudge, SquaredError, require_finite

Parts = list[tuple[float, tuple[Tensor, ...], bool]]
"""Weights, responses of the layers, and whether these are linear."""


class EquilibriumBlock(torch.nn.Module):
    r"""The outputs of a network's free equilibrium, in a model of any other modules.

    Backward, what comes from behind, :math:`e = ∂C/∂o`, is the block's cost: its outputs are nudged by the currents
    −β e, and the response δ of every branch gives, with its free voltage, the gradient by the conductances, and with
    the conductances of the first stage that by the inputs [1]_,

    .. math:: \frac{dC}{dg} = \frac{w}{w_L} \frac{v\, δ}{β}, \qquad
              \frac{dC}{dx} = \frac{1}{β} \left[ \frac{∂E}{∂x}\Big|_{u + δ} - \frac{∂E}{∂x}\Big|_{u} \right] ,

    E in units of the output stage's weight. So gradients are exact up to the bias of a finite β, and no state but the
    equilibrium is kept.

    Parameters
    ----------
    network : CrossbarNetwork
        Such as a `ResistiveNetwork`, dense or convolutional; its parameters are the block's. Wrap the optimiser in
        `Update(optimizer, block.network)` to keep the conductances in their range.
    nudging : float, optional
        β [S] of centered nudges ±β, the largest error of a batch counting as 1 V; by default the limit of vanishing
        nudges, by one linear solve. With ideal diodes the bias is that of those that switch between the phases, 0 where
        none does: so the smaller the better, 1e-9 S in float32 too, as responses are solved for by themselves.
    solver : Solver, optional
        By default that of the kind of network; `Newton` and `Ngspice` too.

    Raises
    ------
    StimulusError
        If the network has no stages with inputs of their own, or the nudging is not positive.
    NetworkError
        If its crossbars have wires.

    References
    ----------
    .. [1] T. Nest & M. Ernoult, "Towards training digitally-tied analog blocks via hybrid gradient computation,"
       NeurIPS 2024, arXiv:2409.03306.
    """

    def __init__(self, network: Network, nudging: float | None = None, solver: Solver | None = None):
        super().__init__()
        crossbars = crossbars_of(
            network, "a block needs a ResistiveNetwork", "train other networks by a gradient method"
        )
        if not crossbars.lines.ideal:
            raise NetworkError("a block needs crossbars without wires, found wires; train them by a gradient method")
        self.network: CrossbarNetwork = crossbars
        self.nudging = None if nudging is None else positive_nudging(network, nudging)
        self.solver = solver_of(network) if solver is None else solver

    def forward(self, inputs: Tensor) -> Tensor:
        """Outputs of the free state. [V]

        Parameters
        ----------
        inputs : Tensor (*batch, n_inputs)
            Inputs, or images where the network has some. [V]

        Returns
        -------
        Tensor (*batch, n_outputs)
            Or images, where its outputs are some.

        Raises
        ------
        StimulusError
            If the inputs do not fit, are on another device than the network, or are not finite.
        ConvergenceError
            If the equilibrium was not reached; backward, if the response was not.
        """
        like = self.network.precision()
        if inputs.device != like.device:
            raise StimulusError(f"inputs must be on the network's device, {like.device}, found {inputs.device}")
        before, behind = self.network.image_shapes
        flat = inputs.flatten(-len(before)) if before and inputs.shape[-len(before) :] == before else inputs
        outputs: Any = _FreeState.apply(self, flat.to(like.dtype), *self.network.parameters())
        return outputs.unflatten(-1, behind) if behind else outputs

    def extra_repr(self) -> str:
        return f"nudging={self.nudging}, solver={type(self.solver).__name__}"

    def _responses(self, free: Equilibrium, error: Tensor) -> Parts:
        """Responses to the currents −e into the outputs."""
        if self.nudging is None:
            return [(1.0, linear_response(free, -error, solver=self.solver), True)]
        scale = max(float(error.abs().max()), float(torch.finfo(error.dtype).tiny))
        parts: Parts = []
        for strength in (-self.nudging, self.nudging):
            nudge = Nudge(strength, free.outputs - error / scale, SquaredError(), "frozen")
            nudged = solve(self.network, free.inputs, nudge, solver=self.solver, start=free)
            parts.append((scale / (2 * strength), nudged.response(about=free), False))
        return parts


class _FreeState(torch.autograd.Function):
    """Inputs and parameters to outputs."""

    @staticmethod
    def forward(ctx: Any, block: EquilibriumBlock, inputs: Tensor, *parameters: Tensor) -> Tensor:
        ctx.block, ctx.free = block, solve(block.network, inputs, solver=block.solver)
        ctx.versions = [parameter._version for parameter in parameters]
        return ctx.free.outputs.clone()

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, error: Tensor) -> tuple[Tensor | None, ...]:  # pyright: ignore[reportIncompatibleMethodOverride]
        block, free = ctx.block, ctx.free
        network: CrossbarNetwork = block.network
        names = [name for name, _ in network.named_parameters()]
        if [parameter._version for parameter in network.parameters()] != ctx.versions:
            raise StimulusError(
                "backward needs the conductances of the forward pass, found changed ones; call it before"
            )
        require_finite("the error from behind the block", error)
        parts = block._responses(free, error)
        found: dict[str, Tensor] = {}
        for weight, response, linear in parts:
            accumulate(found, weight, network.contrast(free.inputs, free.layers, response, linear=linear))
        by_name = {name: value * network.parameter_scale for name, value in found.items()}
        inputs = _by_inputs(network, free, parts) if ctx.needs_input_grad[1] else None
        like = dict(network.named_parameters())
        return None, inputs, *(by_name[name].to(like[name]) if name in by_name else None for name in names)


def _by_inputs(network: CrossbarNetwork, free: Equilibrium, parts: Parts) -> Tensor:
    """dC/dx: ∂E/∂x is linear in the layers, so that its change is what it is at x = 0 for the response alone."""
    total = [sum(weight * response[k] for weight, response, _ in parts) for k in range(len(free.layers))]
    with torch.enable_grad():
        rest = torch.zeros_like(free.inputs, requires_grad=True)
        stage = network.crossbar(0).energy(rest, total[0])  # pyright: ignore[reportArgumentType]
        (gradient,) = torch.autograd.grad(stage.sum(), rest)
    return network.weight_ratios[0] * gradient
