"""Equilibrium propagation and the SGD update in one pass over the conductances."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from analog_ep.devices import DiodeClamp
from analog_ep.equilibrium.ladder import Ladder, LadderState, stamp_of
from analog_ep.equilibrium.relaxation import Relaxation
from analog_ep.equilibrium.sweeps import Status
from analog_ep.errors import ConvergenceError, NetworkError, StimulusError
from analog_ep.learning.propagation import EquilibriumPropagation, SmallSignal
from analog_ep.networks import ResistiveNetwork, Stage
from analog_ep.stimulus import Nudge

Response = tuple[Tensor, ...]
"""Change of each layer in one phase. [V]"""


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
        self._crossbars: list[_Crossbar] = []
        self._clamps: tuple[DiodeClamp | None, ...] = ()
        self._stamp: object = None

    def refresh(self) -> None:
        """Form the crossbars' equations anew; needed only after θ was changed past autograd, through `.data`."""
        self._stamp = None

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
        self._refresh(inputs)
        # Nothing made here goes through autograd, and without its books every call is a tenth faster.
        with torch.inference_mode():
            ladder = Ladder.from_stages(tuple(crossbar.stage for crossbar in self._crossbars), self._clamps)
            state, free = self._solver.free_state(ladder, inputs)
            outputs = self.network.outputs_of(state.layers)
            value, error = self.method.cost.value_and_gradient(outputs, targets)
            phases, statuses = self._phases(state, outputs, error, targets)
            for status in (free, *statuses):
                if not status.complete:
                    raise ConvergenceError(status.message)
            self._update(inputs, state.layers, phases)
        return value.mean()

    def _refresh(self, like: Tensor) -> None:
        """Form the equations anew if θ was changed: with conductances in units of g_ref, currents in g_ref · 1 V."""
        network = self.network
        if stamp_of(network.parameters(), None) == self._stamp:
            return
        # Written anew at every crossbar: fresh memory for a product would cost as much as the product.
        scratch = like.new_empty(max(layout.n_in * layout.n_out for layout in network.layouts))
        self._crossbars = [_Crossbar(network, s, scratch) for s in range(network.n_stages)]
        clamps = network.layer_clamps(like)
        self._clamps = tuple(clamp and clamp.in_parallel(1 / network.reference_conductance) for clamp in clamps)

    def _phases(
        self, state: LadderState, outputs: Tensor, error: Tensor, targets: Tensor
    ) -> tuple[list[tuple[float, Response]], list[Status]]:
        """Weight of each phase in the gradient by θ, with its response, and how they ended."""
        method, reference = self.method, self.network.reference_conductance
        if isinstance(method, SmallSignal):
            # Linear in the error: its unit and its sign may as well stand in the weight.
            response, status = self._solver.linear_response(state, error)
            return [(-1.0, response)], [status]
        strengths = method.strengths()
        nudges = [Nudge(strength / reference, targets, method.cost, "frozen") for strength in strengths]
        found = [self._solver.response(state, outputs, nudge) for nudge in nudges]
        weights = [reference / (strength * len(strengths)) for strength in strengths]
        return [(w, response) for w, (response, _) in zip(weights, found, strict=True)], [s for _, s in found]

    def _update(self, inputs: Tensor, layers: tuple[Tensor, ...], phases: list[tuple[float, Response]]) -> None:
        network, linear = self.network, isinstance(self.method, SmallSignal)
        # All phases are measured in the first one's weight, so that a single one need not be scaled.
        ratios = [weight / phases[0][0] for weight, _ in phases]
        before, changes = inputs, None
        for s, (crossbar, rate) in enumerate(zip(self._crossbars, self.learning_rates, strict=True)):
            responses = [response[s] for _, response in phases]
            wanted = crossbar.wanted(before, changes, layers[s], responses, ratios, linear)
            factor = rate * network.weight_ratios[s] * phases[0][0] / len(inputs)
            crossbar.apply(wanted, factor)
            before, changes = layers[s], responses
        self._stamp = stamp_of((crossbar.theta for crossbar in self._crossbars), None)


@dataclass(frozen=True, eq=False)
class _Wanted:
    """Sums over the batch that make up a crossbar's change of θ, behind amplifiers of gain a.

    It is ±a signed_ij − a² row_i − own_j, and ±V_bias drift_j − own_j in the bias rows.
    """

    signed: Tensor
    own: Tensor
    row: Tensor | None
    drift: Tensor


class _Crossbar:
    """One crossbar of a network: its θ, which is changed in place, and its equations, which follow."""

    def __init__(self, network: ResistiveNetwork, s: int, scratch: Tensor):
        layout = network.layouts[s]
        self.gain = network.gain if s else 1.0
        bias_voltage = network.bias_voltage or 0.0
        self.theta = network.theta(layout.label).detach()
        self.positive, self.negative, self.bias = layout.split(self.theta)
        self.columns = self.theta.mT
        self.bias_columns = None if self.bias is None else self.bias.mT
        n_signed = layout.n_rows - (2 if layout.biased else 0)
        self.rows = self.theta[:n_signed].unflatten(0, (-1, layout.n_in))
        self.bounds = tuple(bound / network.reference_conductance for bound in network.conductance_range)
        self.weight = torch.empty_like(self.positive)
        self.product = scratch[: self.weight.numel()].view_as(self.weight)
        self.bias_voltages = self.theta.new_tensor([bias_voltage, -bias_voltage])
        self.feedback = network.feedback if s else 0.0
        # For wide crossbars a product with ones is twice as fast as a sum.
        self.ones = self.theta.new_ones(layout.n_rows)
        self.stage = self._stage(self.rows.sum(2).sum(0))

    def wanted(
        self,
        before: Tensor,
        changes: list[Tensor] | None,
        layer: Tensor,
        responses: list[Tensor],
        ratios: list[float],
        linear: bool,
    ) -> _Wanted:
        """Of one step: voltages before and behind the crossbar, and in each phase their responses and its weight.

        `changes` None stands for rows that sources hold.
        """
        total = _weighted(responses, ratios)
        middles = [layer if linear else layer + 0.5 * d for d in responses]
        own = _weighted([d * v for d, v in zip(responses, middles, strict=True)], ratios).sum(0)
        signed = torch.mm(before.mT, total, out=self.product)
        row = None
        if changes is not None:
            # ½ [(b + c − v − d)² − (b − v)²] with b + c/2 and v + d/2 in the middle of the changes c and d.
            for ratio, change, response, middle in zip(ratios, changes, responses, middles, strict=True):
                if not linear:
                    signed.addmm_(change.mT, response, alpha=0.5 * ratio)
                signed.addmm_(change.mT, middle, alpha=ratio)
            row = _weighted([c * (before if linear else before + 0.5 * c) for c in changes], ratios).sum(0)
        return _Wanted(signed, own, row, total.sum(0))

    def apply(self, wanted: _Wanted, factor: float) -> None:
        """Change θ by `factor` [1/V²] times what is wanted, within the range."""
        signed = factor * self.gain
        self.positive.add_(wanted.signed, alpha=signed)
        if self.negative is not None:
            self.negative.sub_(wanted.signed, alpha=signed)
        if wanted.row is not None:
            self.rows.sub_(wanted.row[:, None], alpha=factor * self.gain**2)
        if self.bias is not None:
            self.bias.addr_(self.bias_voltages, wanted.drift, alpha=factor)
        self.theta.sub_(wanted.own, alpha=factor).clamp_(*self.bounds)
        # Sources hold the rows of the first crossbar: nothing asks for their load.
        self.stage = self._stage(self.stage.load if wanted.row is None else self.rows.sum(2).sum(0))

    def _stage(self, load: Tensor) -> Stage:
        weight = self.positive if self.negative is None else torch.sub(self.positive, self.negative, out=self.weight)
        total, columns = torch.mv(self.columns, self.ones), self.bias_columns
        bias = torch.zeros_like(total) if columns is None else torch.mv(columns, self.bias_voltages)
        return Stage(weight, total, bias, load, self.gain, self.feedback)


def _weighted(tensors: list[Tensor], ratios: list[float]) -> Tensor:
    """Sum of the tensors in their ratios; the first one's is 1."""
    total = tensors[0]
    for tensor, ratio in zip(tensors[1:], ratios[1:], strict=True):
        total = torch.add(total, tensor, alpha=ratio)
    return total
