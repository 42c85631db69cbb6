"""Equilibrium propagation and the SGD update in one pass over the conductances."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from analog_ep.equilibrium.ladder import Ladder, LadderState, stamp_of
from analog_ep.equilibrium.relaxation import Relaxation
from analog_ep.errors import ConvergenceError, NetworkError, StimulusError
from analog_ep.learning.propagation import EquilibriumPropagation, SmallSignal
from analog_ep.networks import ResistiveNetwork, Stage
from analog_ep.networks.layout import StageLayout
from analog_ep.stimulus import Nudge

Phase = tuple[float, tuple[Tensor, ...]]
"""Weight of a phase in the gradient, and its response."""


class FusedStep:
    """One step of stochastic gradient descent, equal to `backward` and `Update(SGD)` to rounding.

    The gradient of a crossbar is one product, which the +u and the −u rows share, and sums over the batch: these are
    applied in place, projected on the conductance range, and the crossbar's equations for the next step follow.

    Parameters
    ----------
    method : SmallSignal or EquilibriumPropagation
        With the solver `Relaxation`, a frozen nudge or none, and without a chip.
    learning_rate : float or sequence of float
        One for all crossbars, or one each; of θ = g/g_ref.

    Raises
    ------
    NetworkError
        If the method's network is no `ResistiveNetwork`, or the number of learning rates is not that of its crossbars.
    StimulusError
        If the method has a chip, an elastic nudge or another solver.
    """

    def __init__(self, method: SmallSignal | EquilibriumPropagation, learning_rate: float | Sequence[float]):
        network = method.network
        if not isinstance(network, ResistiveNetwork):
            raise NetworkError(f"a fused step needs a ResistiveNetwork, found a {type(network).__name__}")
        if method.chip is not None or (isinstance(method, EquilibriumPropagation) and method.kind != "frozen"):
            raise StimulusError("a fused step needs a frozen nudge and no chip; use backward and Update for others")
        if not isinstance(method.solver, Relaxation):
            raise StimulusError(f"a fused step needs the solver Relaxation, found {type(method.solver).__name__}")
        rates = [learning_rate] * network.n_stages if isinstance(learning_rate, (int, float)) else list(learning_rate)
        if len(rates) != network.n_stages:
            raise NetworkError(f"one learning rate per crossbar is needed, {network.n_stages}, found {len(rates)}")
        self.method, self.network, self.learning_rates = method, network, rates
        self._solver = method.solver
        self._stages: list[Stage] = []
        self._products: list[Tensor] = []
        self._stamp: object = None

    def refresh(self) -> None:
        """Form the crossbars' equations anew; needed only after θ was changed past autograd, through `.data`."""
        self._stamp = None

    @torch.no_grad()
    def step(self, inputs: Tensor, targets: Tensor) -> Tensor:
        """Learn one batch in place and return its mean cost before the step.

        Parameters
        ----------
        inputs : Tensor (n_samples, n_inputs)
            Inputs. [V]
        targets : Tensor (n_samples, n_outputs)
            Targets of the cost.

        Raises
        ------
        ConvergenceError
            If an equilibrium was not reached; nothing is changed then.
        """
        ladder = self._ladder(inputs)
        cost = self.method.cost
        state, status = self._solver.free_state(ladder, inputs)
        outputs = self.network.outputs_of(state.layers)
        phases, statuses = self._phases(state, outputs, targets)
        for found in (status, *statuses):
            if not bool(found.converged.all()):
                raise ConvergenceError(found.message)
        value = cost.value(outputs, targets).mean()
        self._update(inputs, state, phases)
        return value

    def _phases(self, state: LadderState, outputs: Tensor, targets: Tensor) -> tuple[list[Phase], list]:
        method = self.method
        if isinstance(method, SmallSignal):
            response, status = self._solver.linear_response(state, -method.cost.gradient(outputs, targets))
            return [(1.0, response)], [status]
        strengths = method.strengths()
        nudges = [Nudge(strength, targets, method.cost, "frozen") for strength in strengths]
        found = [self._solver.response(state, outputs, nudge) for nudge in nudges]
        weights = [1 / (strength * len(strengths)) for strength in strengths]
        return [(w, response) for w, (response, _) in zip(weights, found, strict=True)], [s for _, s in found]

    def _ladder(self, like: Tensor) -> Ladder:
        if stamp_of(self.network, None) != self._stamp:
            self._stages = [replace(stage, weight=stage.weight.clone()) for stage in self.network.stages()]
            # Fresh memory for a crossbar's product would cost about as much as the product.
            self._products = [torch.empty_like(stage.weight) for stage in self._stages]
        return Ladder.from_stages(self.network, tuple(self._stages), like)

    def _update(self, inputs: Tensor, state: LadderState, phases: list[Phase]) -> None:
        linear = isinstance(self.method, SmallSignal)
        network, before, changes = self.network, inputs, None
        for s, layout in enumerate(network.layouts):
            layer, responses = state.layers[s], [response[s] for _, response in phases]
            scale = self.learning_rates[s] * network.reference_conductance * network.weight_ratios[s] / len(inputs)
            scales = [scale * weight for weight, _ in phases]
            change = _Change.of(before, changes, layer, responses, scales, linear, self._products[s])
            self._stages[s] = self._apply(layout, self._stages[s], change)
            before, changes = network.gain * layer, [network.gain * d for d in responses]
        self._stamp = stamp_of(network, None)

    def _apply(self, layout: StageLayout, stage: Stage, change: _Change) -> Stage:
        network, reference = self.network, self.network.reference_conductance
        low, high = (bound / reference for bound in network.conductance_range)
        theta = network.theta(layout.label).detach()
        positive, negative, bias = layout.split(theta)
        positive.add_(change.signed)
        if negative is not None:
            negative.sub_(change.signed)
        rows = theta[: 2 * layout.n_in if layout.differential else layout.n_in].unflatten(0, (-1, layout.n_in))
        if change.row is not None:
            rows.sub_(change.row[:, None])
        if bias is not None:
            drift = (network.bias_voltage or 0.0) * change.drift
            bias[0].add_(drift)
            bias[1].sub_(drift)
        theta.sub_(change.own).clamp_(low, high)
        if negative is None:
            torch.mul(positive, reference, out=stage.weight)
        else:
            torch.sub(positive, negative, out=stage.weight).mul_(reference)
        current = stage.bias
        if bias is not None:
            current = (bias[0] - bias[1]).mul_(reference * (network.bias_voltage or 0.0))
        # Sources hold the rows of the first crossbar: nothing asks for their load.
        load = stage.load if change.row is None else rows.sum((0, 2)).mul_(reference)
        return replace(stage, total=theta.sum(0).mul_(reference), load=load, bias=current)


@dataclass(frozen=True, eq=False)
class _Change:
    """The wanted change of a crossbar's θ: −own_j − row_i, + signed_ij in the +u rows and − in the −u rows."""

    signed: Tensor
    own: Tensor
    row: Tensor | None
    drift: Tensor

    @classmethod
    def of(
        cls,
        before: Tensor,
        changes: list[Tensor] | None,
        layer: Tensor,
        responses: list[Tensor],
        scales: list[float],
        linear: bool,
        product: Tensor,
    ) -> _Change:
        """Of one step: voltages before and behind the crossbar, and in each phase their responses and its scale.

        `changes` None stands for rows that sources hold; `product` is where `signed` is put.
        """
        scaled = [scale * d for scale, d in zip(scales, responses, strict=True)]
        total = _sum(scaled)
        middles = [layer if linear else layer + 0.5 * d for d in responses]
        own = _sum([(d * v).sum(0) for d, v in zip(scaled, middles, strict=True)])
        signed = torch.mm(before.T, total, out=product)
        if changes is None:
            return cls(signed, own, None, total.sum(0))
        row = torch.zeros_like(before[0])
        for scale, change, weighted, middle in zip(scales, changes, scaled, middles, strict=True):
            # ½ [(b + c − v − d)² − (b − v)²] with b + c/2 and v + d/2 in the middle of the changes c and d.
            if not linear:
                signed.addmm_(change.T, weighted, alpha=0.5)
            signed.addmm_(change.T, middle, alpha=scale)
            row += (change * (before if linear else before + 0.5 * change)).sum(0).mul_(scale)
        return cls(signed, own, row, total.sum(0))


def _sum(tensors: list[Tensor]) -> Tensor:
    return tensors[0] if len(tensors) == 1 else torch.stack(tensors).sum(0)
