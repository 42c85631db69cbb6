"""Tables of equilibrium propagation with large nudges: on a circle of complex ones, and harmonic ones."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field, PositiveInt, model_validator

from analog_ep.learning.gradients.contour import (
    HarmonicEquilibriumPropagation,
    HolomorphicEquilibriumPropagation,
    require_harmonics,
)
from analog_ep.spec.gradients.table import FORGETFUL, HOPFIELD, SWEEPS, TARGETS, GradientTable, Needs, Parts


class HolomorphicSpec(GradientTable):
    """See `analog_ep.learning.HolomorphicEquilibriumPropagation`.

    Attributes
    ----------
    nudging : float
        Radius of the circle. States are solved to some 1e-5 in single precision, so it may not be small.
    points : int
        Nudges on the circle.
    """

    needs: ClassVar[Needs] = HOPFIELD | {"network.activation": ("sigmoid", "tanh")} | TARGETS | SWEEPS | FORGETFUL

    method: Literal["holomorphic"] = "holomorphic"
    nudging: Annotated[float, Field(ge=0.01)] = 0.2
    points: Annotated[int, Field(ge=2)] = 8

    @property
    def nudged_phases(self) -> int:
        return self.points

    def build(self, parts: Parts) -> HolomorphicEquilibriumPropagation:
        return HolomorphicEquilibriumPropagation(
            parts.network, self.nudging, self.points, self.kind, parts.solver, cost=parts.cost
        )


class HarmonicSpec(GradientTable):
    """See `analog_ep.learning.HarmonicEquilibriumPropagation`.

    Attributes
    ----------
    harmonics : int
        The highest one that counts; odd.
    points : int, optional
        Phases in half a period; even, more than `harmonics`, and by default one more.
    """

    needs: ClassVar[Needs] = FORGETFUL

    method: Literal["harmonic"] = "harmonic"
    harmonics: PositiveInt = 7
    points: PositiveInt | None = None

    @model_validator(mode="after")
    def _odd_and_even(self) -> HarmonicSpec:
        require_harmonics(self.harmonics, self.nudged_phases)
        return self

    @property
    def nudged_phases(self) -> int:
        return self.harmonics + 1 if self.points is None else self.points

    def build(self, parts: Parts) -> HarmonicEquilibriumPropagation:
        return HarmonicEquilibriumPropagation(
            parts.network, self.nudging, self.harmonics, self.points, parts.cost, self.kind, parts.solver
        )
