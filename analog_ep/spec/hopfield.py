"""Tables of a spec that trains a Hopfield network."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, Field, PositiveFloat, PositiveInt, model_validator

from analog_ep.networks.network import checked_sizes
from analog_ep.spec.table import TABLE, listed


class HopfieldSpec(BaseModel):
    """See `analog_ep.networks.HopfieldNetwork`; `initial_scale` is one number for all weights, or one each.

    `leak_conductance` [S], `capacitance` [F] and `clamp_conductance` [S] are those of its circuit, see
    `analog_ep.networks.LeakyIntegrators`; a training does not depend on them.
    """

    model_config = TABLE

    kind: Literal["hopfield"]
    sizes: Annotated[list[PositiveInt], Field(min_length=2)]
    activation: Literal["hard_sigmoid", "sigmoid", "tanh"] = "hard_sigmoid"
    initial_scale: Annotated[list[PositiveFloat], BeforeValidator(listed), Field(min_length=1)] = [1.0]
    leak_conductance: PositiveFloat = 1e-5
    capacitance: PositiveFloat = 1e-11
    clamp_conductance: PositiveFloat = 1.0

    @model_validator(mode="after")
    def _counts(self) -> HopfieldSpec:
        stages = len(checked_sizes(self.sizes)) - 1
        if len(self.initial_scale) not in (1, stages):
            raise ValueError(f"initial_scale must be one or {stages}, one per weight, found {self.initial_scale}")
        return self
