"""Tables of the methods that hold the outputs: coupled learning and contrastive Hebbian learning."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from analog_ep.learning.gradients.coupled import ContrastiveHebbian, CoupledLearning
from analog_ep.spec.gradients.table import FORGETFUL, SWEEPS, TARGETS, GradientTable, Needs, Parts


class CoupledSpec(GradientTable):
    """See `analog_ep.learning.CoupledLearning`.

    Attributes
    ----------
    amplitude : float
        Part of the way to their targets at which the outputs are held.
    """

    needs: ClassVar[Needs] = TARGETS | SWEEPS | FORGETFUL
    on_chips: ClassVar[bool] = True

    method: Literal["coupled"] = "coupled"
    amplitude: Annotated[float, Field(gt=0, le=1)] = 0.1

    def build(self, parts: Parts) -> CoupledLearning:
        return CoupledLearning(parts.network, self.amplitude, parts.cost, parts.solver, parts.chip)


class ContrastiveHebbianSpec(GradientTable):
    """See `analog_ep.learning.ContrastiveHebbian`."""

    needs: ClassVar[Needs] = TARGETS | SWEEPS | FORGETFUL
    on_chips: ClassVar[bool] = True

    method: Literal["contrastive_hebbian"] = "contrastive_hebbian"

    def build(self, parts: Parts) -> ContrastiveHebbian:
        return ContrastiveHebbian(parts.network, parts.cost, parts.solver, parts.chip)
