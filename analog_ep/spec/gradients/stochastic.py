"""Table of equilibrium propagation on stationary distributions."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field, NonNegativeInt, PositiveFloat, PositiveInt, model_validator

from analog_ep.dynamics.langevin import Langevin
from analog_ep.learning.gradients.stochastic import StochasticEquilibriumPropagation
from analog_ep.spec.gradients.table import FORGETFUL, SWEEPS, GradientTable, Needs, Parts


class StochasticSpec(GradientTable):
    """See `analog_ep.learning.StochasticEquilibriumPropagation`; what is not named here is of its
    `analog_ep.dynamics.Langevin`.

    `kind` is that of the cross-check and of netlists; the nudges of the distributions are elastic.

    Attributes
    ----------
    nudging : float
        Of the contrast: two phases at ±β, whose difference must stand out of the chains' noise and of rounding.
    temperature : float
        T; of a resistive network [W], of a Hopfield network dimensionless.
    estimator : "contrast" or "covariance"
        Two nudged phases, or the free one alone.
    """

    needs: ClassVar[Needs] = (
        SWEEPS
        | FORGETFUL
        | {
            "gradient.solver": ("torch",),
            "network.kind": ("resistive", "convolutional", "hopfield"),
            "network.activation": ("sigmoid", "tanh"),
            "diode.model": ("shockley", "piecewise", "card"),
        }
    )

    method: Literal["stochastic"] = "stochastic"
    nudging: PositiveFloat  # pyright: ignore[reportGeneralTypeIssues]
    temperature: PositiveFloat
    estimator: Literal["contrast", "covariance"] = "contrast"
    chains: Annotated[int, Field(ge=2)] = 2048
    burn_in: NonNegativeInt = 500
    steps: PositiveInt = 500
    every: PositiveInt = 5
    step: PositiveFloat | None = None
    adjusted: bool = True

    @model_validator(mode="after")
    def _walks(self) -> StochasticSpec:
        self._langevin(0)
        return self

    @property
    def nudged_phases(self) -> int:
        return 2 if self.estimator == "contrast" else 0

    def build(self, parts: Parts) -> StochasticEquilibriumPropagation:
        return StochasticEquilibriumPropagation(
            parts.network, self._langevin(parts.seed), self.nudging, parts.cost, self.estimator, parts.solver
        )

    def _langevin(self, seed: int) -> Langevin:
        return Langevin(
            self.temperature, self.chains, self.burn_in, self.steps, self.every, self.step, self.adjusted, seed
        )
