"""Table of recurrent back-propagation."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import PositiveFloat, PositiveInt

from analog_ep.learning.gradients.recurrent_backpropagation import AdjointDynamics, RecurrentBackpropagation
from analog_ep.spec.gradients.table import FORGETFUL, HOPFIELD, SWEEPS, GradientTable, Needs, Parts


class RecurrentBackpropagationSpec(GradientTable):
    """See `analog_ep.learning.RecurrentBackpropagation`; all options are those of
    `analog_ep.learning.AdjointDynamics`.
    """

    needs: ClassVar[Needs] = HOPFIELD | SWEEPS | FORGETFUL

    method: Literal["recurrent_backprop"] = "recurrent_backprop"
    step: PositiveFloat = 0.5
    rtol: PositiveFloat = 1e-6
    max_steps: PositiveInt = 10_000
    strict: bool = True

    def build(self, parts: Parts) -> RecurrentBackpropagation:
        dynamics = AdjointDynamics(self.step, self.rtol, self.max_steps, self.strict)
        return RecurrentBackpropagation(parts.network, parts.cost, parts.solver, dynamics)
