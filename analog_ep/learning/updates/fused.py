"""Equilibrium propagation and the SGD update in one pass over the conductances."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from analog_ep.devices import Clamp
from analog_ep.equilibrium.layered.relaxation import Relaxation
from analog_ep.equilibrium.layered.resistive_layers import Ladder, LadderState, stamp_of
from analog_ep.equilibrium.layered.sweeps import Status
from analog_ep.errors import ConvergenceError, NetworkError, StimulusError
from analog_ep.learning.gradients.propagation import EquilibriumPropagation, SmallSignal
from analog_ep.learning.updates.fused_crossbar import FusedCrossbar
from analog_ep.learning.updates.fused_operator import FusedOperator
from analog_ep.networks.needs import crossbars_of
from analog_ep.stimulus import Nudge, require_finite, require_strength

Response = tuple[Tensor, ...]
"""Change of each layer in one phase. [V]"""


class FusedStep:
    """One step of stochastic gradient descent, equal to `backward` and `Update(SGD)` to rounding.

    The gradient of a crossbar is one product, which the +u and the −u rows share, and sums over the batch: these are
    applied in place, projected on the conductance range, and the crossbar's equations for the next step follow. On a
    CPU with one or two threads that is one compiled pass.

    Parameters
    ----------
    method : SmallSignal or EquilibriumPropagation
        With the solver `Relaxation`, a frozen nudge or none, and without a chip.
    learning_rate : float or sequence of float
        One for all crossbars, or one each; of θ = g/g_ref.

    Raises
    ------
    NetworkError
        If the number of learning rates is not that of the crossbars.
    StimulusError
        If the method's network is no `ResistiveNetwork`, or it has a chip, an elastic nudge or another solver.
    """

    def __init__(self, method: SmallSignal | EquilibriumPropagation, learning_rate: float | Sequence[float]):
        network = crossbars_of(method.network, "a fused step needs a ResistiveNetwork", "use backward and Update")
        if method.chip is not None or method.kind != "frozen":
            raise StimulusError("a fused step needs a frozen nudge and no chip; use backward and Update for others")
        if not network.lines.ideal:
            raise StimulusError("a fused step needs crossbars without wires, found wires; use backward and Update")
        if not isinstance(method.solver, Relaxation):
            raise StimulusError(f"a fused step needs the solver Relaxation, found {type(method.solver).__name__}")
        rates = [learning_rate] * network.n_stages if isinstance(learning_rate, (int, float)) else list(learning_rate)
        if len(rates) != network.n_stages:
            raise NetworkError(f"one learning rate per crossbar is needed, {network.n_stages}, found {len(rates)}")
        self.method, self.network, self.learning_rates = method, network, rates
        self._solver = method.solver
        self._crossbars: list[Any] = []
        self._clamps: tuple[Clamp | None, ...] = ()
        self._stamp: object = None
        self._form: object = None

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
        StimulusError
            If inputs or targets do not fit the network or each other, or are not finite.
        ConvergenceError
            If an equilibrium was not reached; nothing is changed then.
        """
        # All parameters are the network's own: a walk through modules takes as long as a product with a small crossbar.
        parameters = self.network._parameters.values()
        is_current = stamp_of(parameters, None) == self._stamp  # pyright: ignore[reportArgumentType]
        inputs, targets = self._shaped(inputs, targets, is_current)
        if not is_current:
            self._form_equations(inputs)
        # Nothing made here goes through autograd, and without its books every call is a tenth faster.
        with torch.inference_mode():
            ladder = Ladder.from_stages(tuple(crossbar.stage for crossbar in self._crossbars), self._clamps)
            state, free = self._solver.free_state(ladder, inputs)
            outputs = self.network.outputs_of(state.layers)
            value, error = self.method.cost.value_and_gradient(outputs, targets)
            strengths = self.method.strengths()
            phases, statuses = self._phases(state, outputs, error, targets, strengths)
            for status in (free, *statuses):
                if not status.complete:
                    # What is not finite ends no phase: there is no need to look for it where all have ended.
                    require_finite("inputs", inputs)
                    require_finite("targets", targets)
                    raise ConvergenceError(status.message)
            self._update(inputs, state.layers, phases, linear=not strengths)
        return value.mean()

    def _shaped(self, inputs: Tensor, targets: Tensor, is_current: bool) -> tuple[Tensor, Tensor]:
        """Inputs and targets as the network takes them.

        Those that are like the last ones are not looked at again while the network is the same: it may have been
        moved to another precision or device.
        """
        if not (isinstance(inputs, Tensor) and isinstance(targets, Tensor)):
            return self.network.shaped_stimulus(inputs, targets)
        form = [(t.shape, t.dtype, t.device, t.layout) for t in (inputs, targets)]
        if is_current and form == self._form:
            return inputs, targets
        found = self.network.shaped_stimulus(inputs, targets)
        self._form = form if found[0] is inputs and found[1] is targets else None
        return found

    def _form_equations(self, like: Tensor) -> None:
        """Form the equations for the θ of now: with conductances in units of g_ref, currents in g_ref · 1 V."""
        network = self.network
        network.require_conductances()
        # Written anew at every crossbar: fresh memory for a product would cost as much as the product.
        dense = [layout.is_crossbar for layout in network.layouts]
        sizes = [layout.n_in * layout.n_out for layout in network.layouts if layout.is_crossbar]
        scratch = like.new_empty(max(sizes, default=0))
        self._crossbars = [
            FusedCrossbar(network, s, scratch) if whole else FusedOperator(network, s) for s, whole in enumerate(dense)
        ]
        clamps = network.layer_clamps(like)
        self._clamps = tuple(clamp and clamp.in_parallel(1 / network.reference_conductance) for clamp in clamps)

    def _phases(
        self, state: LadderState, outputs: Tensor, error: Tensor, targets: Tensor, strengths: tuple[float, ...]
    ) -> tuple[list[tuple[float, Response]], list[Status]]:
        """Weight of each phase in the gradient by θ, with its response, and how they ended."""
        method, reference = self.method, self.network.reference_conductance
        if not strengths:
            # Linear in the error: its unit and its sign may as well stand in the weight.
            response, status = self._solver.linear_response(state, error)
            return [(-1.0, response)], [status]
        require_strength(strengths[0] / reference, outputs.dtype)
        nudges = [Nudge(strength / reference, targets, method.cost, "frozen") for strength in strengths]
        found = [self._solver.response(state, outputs, nudge) for nudge in nudges]
        weights = [reference / (strength * len(strengths)) for strength in strengths]
        return [(w, response) for w, (response, _) in zip(weights, found, strict=True)], [s for _, s in found]

    def _update(
        self, inputs: Tensor, layers: tuple[Tensor, ...], phases: list[tuple[float, Response]], *, linear: bool
    ) -> None:
        # All phases are measured in the first one's weight, so that a single one need not be scaled.
        ratios = [weight / phases[0][0] for weight, _ in phases]
        before, changes = inputs, None
        rates = zip(self.learning_rates, self.network.weight_ratios, strict=True)
        for s, (crossbar, (rate, ratio)) in enumerate(zip(self._crossbars, rates, strict=True)):
            responses = [response[s] for _, response in phases]
            wanted = crossbar.wanted(before, changes, layers[s], responses, ratios, linear)
            crossbar.apply(wanted, rate * ratio * phases[0][0] / len(inputs))
            before, changes = layers[s], responses
        self._stamp = stamp_of((each.theta for each in self._crossbars if each.learns), None)
