"""Table of contrastive divergence."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import PositiveFloat, PositiveInt

from analog_ep.learning.gradients.contrastive_divergence import ContrastiveDivergence
from analog_ep.spec.gradients.table import FORGETFUL, HOPFIELD, SWEEPS, GradientTable, Needs, Parts


class ContrastiveDivergenceSpec(GradientTable):
    """See `analog_ep.learning.ContrastiveDivergence`.

    Attributes
    ----------
    gibbs_steps : int
        Steps k of the chain from the data.
    temperature : float
        T, dimensionless.
    burn_in : int
        Gibbs sweeps of the hidden layers with the outputs held.
    """

    needs: ClassVar[Needs] = HOPFIELD | {"network.activation": ("hard_sigmoid",)} | SWEEPS | FORGETFUL

    method: Literal["contrastive_divergence"] = "contrastive_divergence"
    gibbs_steps: PositiveInt = 1
    temperature: PositiveFloat = 1.0
    burn_in: PositiveInt = 1

    def build(self, parts: Parts) -> ContrastiveDivergence:
        return ContrastiveDivergence(
            parts.network, self.gibbs_steps, parts.cost, self.temperature, self.burn_in, seed=parts.seed
        )
