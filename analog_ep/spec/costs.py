"""Tables of the costs."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, Field, PositiveFloat

from analog_ep.spec.table import TABLE
from analog_ep.stimulus import CrossEntropy, SquaredError


class CrossEntropySpec(BaseModel):
    """See `analog_ep.stimulus.CrossEntropy`.

    Attributes
    ----------
    function : str
        Which cost.
    """

    model_config = TABLE

    function: Literal["cross_entropy"] = "cross_entropy"
    logit_scale: PositiveFloat = 1.0

    def build(self) -> CrossEntropy:
        """The cost."""
        return CrossEntropy(self.logit_scale)


class SquaredErrorSpec(BaseModel):
    """See `analog_ep.stimulus.SquaredError`.

    Attributes
    ----------
    function : str
        Which cost.
    """

    model_config = TABLE

    function: Literal["squared_error"]
    target_voltage: float = 1.0

    def build(self) -> SquaredError:
        """The cost."""
        return SquaredError(self.target_voltage)


CostSpec = Annotated[CrossEntropySpec | SquaredErrorSpec, Field(discriminator="function")]
