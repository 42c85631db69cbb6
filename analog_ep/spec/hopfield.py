"""Tables of a spec that trains a Hopfield network."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, Field, PositiveFloat, PositiveInt, model_validator

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
        stages = len(self.sizes) - 1
        if len(self.initial_scale) not in (1, stages):
            raise ValueError(f"initial_scale must be one or {stages}, one per weight, found {self.initial_scale}")
        return self


class RelaxationSpec(BaseModel):
    """How a Hopfield network's equilibria are found.

    Attributes
    ----------
    method : "sweeps" or "euler"
        `analog_ep.equilibrium.HopfieldRelaxation`, or the paper's dynamics, `EulerRelaxation`.
    max_steps : int
        Most sweeps or steps of a phase.
    atol : float, optional
        Tolerance of the free phase, of every phase with euler; without it sweeps go to the precision of the dtype, and
        euler has `max_steps` steps in every phase.
    response_rtol : float, optional
        Of sweeps: tolerance of the nudged phase.
    strict : bool
        Of sweeps: whether a sample that `max_steps` leave short of the tolerance ends the training.
    over_relaxation : float
        Of sweeps: factor on the steps of hidden layers, in [1, 2); above 1 for fewer sweeps where feedback is strong.
    step_size : float
        Of euler: ε.
    persistent_states : bool
        Whether the free phase of a training sample begins where its last one ended, as in the paper. All states are
        kept in memory and in the checkpoint.
    """

    model_config = TABLE

    method: Literal["sweeps", "euler"] = "sweeps"
    max_steps: PositiveInt = 500
    atol: PositiveFloat | None = None
    response_rtol: PositiveFloat | None = None
    strict: bool = True
    over_relaxation: Annotated[float, Field(ge=1, lt=2)] = 1.0
    step_size: PositiveFloat = 0.5
    persistent_states: bool = False

    @model_validator(mode="after")
    def _of_the_method(self) -> RelaxationSpec:
        others = {"sweeps": ("step_size",), "euler": ("response_rtol", "strict", "over_relaxation")}[self.method]
        for name in others:
            if getattr(self, name) != type(self).model_fields[name].default:
                raise ValueError(f'{name} has no meaning with method = "{self.method}", found {getattr(self, name)}')
        return self
