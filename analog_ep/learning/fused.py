"""Equilibrium propagation and the SGD update in one pass over the conductances."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from analog_ep.equilibrium.ladder import Ladder, LadderState, stamp_of
from analog_ep.errors import ConvergenceError, NetworkError, StimulusError
from analog_ep.learning.propagation import EquilibriumPropagation, SmallSignal
from analog_ep.networks import ResistiveNetwork, Stage
from analog_ep.networks.layout import StageLayout
from analog_ep.stimulus import Nudge

_BLOCK = 131072
"""Elements of a block of rows: small enough that the passes over it stay in a core's cache."""

Phase = tuple[float, tuple[Tensor, ...]]
"""Weight of a phase in the gradient, and its response."""


class FusedStep:
    """One step of stochastic gradient descent, equal to `backward` and `Update(SGD)` to rounding.

    The gradient is never stored: it is formed block by block of a crossbar's rows, applied, projected on the
    conductance range, and the crossbar's equations for the next step are formed while the block is at hand.

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
        If the method has a chip or an elastic nudge.
    """

    def __init__(self, method: SmallSignal | EquilibriumPropagation, learning_rate: float | Sequence[float]):
        network = method.network
        if not isinstance(network, ResistiveNetwork):
            raise NetworkError(f"a fused step needs a ResistiveNetwork, found a {type(network).__name__}")
        if method.chip is not None or (isinstance(method, EquilibriumPropagation) and method.kind != "frozen"):
            raise StimulusError("a fused step needs a frozen nudge and no chip; use backward and Update for others")
        rates = [learning_rate] * network.n_stages if isinstance(learning_rate, (int, float)) else list(learning_rate)
        if len(rates) != network.n_stages:
            raise NetworkError(f"one learning rate per crossbar is needed, {network.n_stages}, found {len(rates)}")
        self.method, self.network, self.learning_rates = method, network, rates
        self._stages: list[Stage] = []
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
        solver, cost = self.method.solver, self.method.cost
        state, status = solver.free_state(ladder, inputs)  # pyright: ignore[reportAttributeAccessIssue]
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
            response, status = method.solver.linear_response(state, -method.cost.gradient(outputs, targets))
            return [(1.0, response)], [status]
        strengths = method.strengths()
        nudges = [Nudge(strength, targets, method.cost, "frozen") for strength in strengths]
        found = [method.solver.response(state, outputs, nudge) for nudge in nudges]  # pyright: ignore
        weights = [1 / (strength * len(strengths)) for strength in strengths]
        return [(w, response) for w, (response, _) in zip(weights, found, strict=True)], [s for _, s in found]

    def _ladder(self, like: Tensor) -> Ladder:
        if stamp_of(self.network, None) != self._stamp:
            self._stages = [replace(stage, weight=stage.weight.clone()) for stage in self.network.stages()]
        return Ladder.from_stages(self.network, tuple(self._stages), like)

    def _update(self, inputs: Tensor, state: LadderState, phases: list[Phase]) -> None:
        linear = isinstance(self.method, SmallSignal)
        before, changes = inputs, None
        for s, layout in enumerate(self.network.layouts):
            layer, responses = state.layers[s], [(weight, response[s]) for weight, response in phases]
            scale = self.learning_rates[s] * self.network.reference_conductance * self.network.weight_ratios[s]
            rows = _Factors.of(before, changes, layer, responses, scale / len(inputs), linear)
            self._stages[s] = self._apply(layout, self._stages[s], rows)
            before, changes = self.network.gain * layer, [self.network.gain * d for _, d in responses]
        self._stamp = stamp_of(self.network, None)

    def _apply(self, layout: StageLayout, stage: Stage, rows: _Factors) -> Stage:
        network = self.network
        reference = network.reference_conductance
        low, high = (bound / reference for bound in network.conductance_range)
        theta = network.theta(layout.label)
        positive, negative, bias = layout.split(theta)
        total, load = torch.zeros_like(stage.total), torch.empty_like(stage.load)
        height = max(1, _BLOCK // layout.n_out)
        for top in range(0, layout.n_in, height):
            block = slice(top, top + height)
            cross = rows.left[:, block].T @ rows.right
            common = rows.own if rows.row is None else rows.own + rows.row[block, None]
            plus = positive[block].add_(cross).sub_(common).clamp_(low, high)
            if negative is None:
                torch.mul(plus, reference, out=stage.weight[block])
                total += plus.sum(0)
                load[block] = plus.sum(1)
                continue
            minus = negative[block].sub_(cross).sub_(common).clamp_(low, high)
            torch.sub(plus, minus, out=stage.weight[block]).mul_(reference)
            both = plus + minus
            total += both.sum(0)
            load[block] = both.sum(1)
        current = stage.bias
        if bias is not None:
            drift = (network.bias_voltage or 0.0) * rows.drift
            bias[0].sub_(rows.own - drift).clamp_(low, high)
            bias[1].sub_(rows.own + drift).clamp_(low, high)
            total += bias.sum(0)
            current = (bias[0] - bias[1]) * (reference * (network.bias_voltage or 0.0))
        return replace(stage, total=total.mul_(reference), load=load.mul_(reference), bias=current)


@dataclass(frozen=True, eq=False)
class _Factors:
    """The wanted change of a crossbar as −own_j − row_i ± (leftᵀ right)_ij, + for the +u rows."""

    left: Tensor
    right: Tensor
    own: Tensor
    row: Tensor | None
    drift: Tensor

    @classmethod
    def of(
        cls,
        before: Tensor,
        changes: list[Tensor] | None,
        layer: Tensor,
        responses: list[tuple[float, Tensor]],
        scale: float,
        linear: bool,
    ) -> _Factors:
        middles = [layer if linear else layer + 0.5 * d for _, d in responses]
        scaled = [(scale * weight) * d for weight, d in responses]
        own = sum((d * v).sum(0) for d, v in zip(scaled, middles, strict=True))
        drift = sum(d.sum(0) for d in scaled)
        assert isinstance(own, Tensor)
        assert isinstance(drift, Tensor)
        if changes is None:
            total = scaled[0] if len(scaled) == 1 else torch.stack(scaled).sum(0)
            return cls(before, total, own, None, drift)
        befores = [before if linear else before + 0.5 * change for change in changes]
        weighted = [(scale * weight) * v for (weight, _), v in zip(responses, middles, strict=True)]
        pairs = zip(befores, changes, responses, strict=True)
        row = sum((scale * weight) * (b * c).sum(0) for b, c, (weight, _) in pairs)
        assert isinstance(row, Tensor)
        return cls(torch.cat([*befores, *changes]), torch.cat([*scaled, *weighted]), own, row, drift)
