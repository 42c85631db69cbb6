"""How a network's equilibria are found, as a table of a spec."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Literal

from pydantic import BaseModel, Field, PositiveFloat, PositiveInt, model_validator

from analog_ep.spec.table import TABLE


class RelaxationSpec(BaseModel):
    """How a network's equilibria are found in PyTorch.

    A resistive network has `max_steps`, `rtol` and `response_rtol`, a Hopfield network all but `rtol`.

    Attributes
    ----------
    method : "sweeps" or "euler"
        `analog_ep.equilibrium.HopfieldRelaxation`, or the paper's dynamics, `EulerRelaxation`.
    max_steps : int
        Most sweeps or steps of a phase.
    atol : float, optional
        Tolerance of the free phase, of every phase with euler; without it sweeps go to the precision of the dtype, and
        euler has `max_steps` steps in every phase.
    rtol : float, optional
        Of resistive networks: tolerance of the free phase, relative to the largest current of each layer; without it
        sweeps go to the precision of the dtype.
    response_rtol : float, optional
        Of sweeps: tolerance of the nudged phase, relative to the response.
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
    rtol: PositiveFloat | None = None
    response_rtol: PositiveFloat | None = None
    strict: bool = True
    over_relaxation: Annotated[float, Field(ge=1, lt=2)] = 1.0
    step_size: PositiveFloat = 0.5
    persistent_states: bool = False

    @model_validator(mode="after")
    def _of_the_method(self) -> RelaxationSpec:
        others = {"sweeps": ("step_size",), "euler": ("response_rtol", "strict", "over_relaxation")}[self.method]
        self.refuse(others, f'method = "{self.method}"')
        return self

    def refuse(self, names: Iterable[str], because: str) -> None:
        """Raise `ValueError` if one of these keys has a value other than its default."""
        for name in names:
            if getattr(self, name) != type(self).model_fields[name].default:
                raise ValueError(f"{name} has no meaning with {because}, found {getattr(self, name)}")
