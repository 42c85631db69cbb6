"""The `[gradient]` table of a spec: one model for each method, told apart by `method`."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BeforeValidator, Field

from analog_ep.spec.gradients.contour import HarmonicSpec, HolomorphicSpec
from analog_ep.spec.gradients.contrastive_divergence import ContrastiveDivergenceSpec
from analog_ep.spec.gradients.coupled import ContrastiveHebbianSpec, CoupledSpec
from analog_ep.spec.gradients.implicit import ImplicitSpec
from analog_ep.spec.gradients.lock_in import LockInSpec
from analog_ep.spec.gradients.propagation import EquilibriumPropagationSpec, SmallSignalSpec
from analog_ep.spec.gradients.recurrent_backpropagation import RecurrentBackpropagationSpec
from analog_ep.spec.gradients.stochastic import StochasticSpec
from analog_ep.spec.gradients.table import GradientTable, Parts
from analog_ep.spec.gradients.transposed import AdjointSpec, AsymmetricSpec

__all__ = ["GRADIENTS", "EquilibriumPropagationSpec", "GradientSpec", "GradientTable", "Parts"]


def _with_method(value: Any) -> Any:
    """A gradient is that of equilibrium propagation where its table does not say how it is found."""
    return {"method": "ep", **value} if isinstance(value, dict) else value


_AnyMethod = (
    EquilibriumPropagationSpec
    | SmallSignalSpec
    | ImplicitSpec
    | AdjointSpec
    | AsymmetricSpec
    | CoupledSpec
    | ContrastiveHebbianSpec
    | RecurrentBackpropagationSpec
    | ContrastiveDivergenceSpec
    | HolomorphicSpec
    | HarmonicSpec
    | LockInSpec
    | StochasticSpec
)

GradientSpec = Annotated[Annotated[_AnyMethod, Field(discriminator="method")], BeforeValidator(_with_method)]

GRADIENTS: dict[str, type[GradientTable]] = {
    table.model_fields["method"].default: table for table in _AnyMethod.__args__
}
"""Tables of all methods by name."""
