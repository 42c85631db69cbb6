"""Tables of the methods that are exact without an energy: the adjoint network, and asymmetric EP."""

from __future__ import annotations

from typing import ClassVar, Literal

from analog_ep.learning.gradients.method import SIGNS
from analog_ep.learning.gradients.transposed import AdjointNetwork, AsymmetricEquilibriumPropagation
from analog_ep.spec.gradients.table import SWEEPS, GradientTable, Needs, Parts

_CIRCUITS: Needs = SWEEPS | {"network.kind": ("resistive", "convolutional", "circuit", "transistors")}


class AdjointSpec(GradientTable):
    """See `analog_ep.learning.AdjointNetwork`."""

    needs: ClassVar[Needs] = _CIRCUITS
    on_chips: ClassVar[bool] = True
    needs_energy: ClassVar[bool] = False

    method: Literal["adjoint"] = "adjoint"

    def build(self, parts: Parts) -> AdjointNetwork:
        return AdjointNetwork(parts.network, parts.cost, parts.solver, parts.chip)


class AsymmetricSpec(GradientTable):
    """See `analog_ep.learning.AsymmetricEquilibriumPropagation`.

    Attributes
    ----------
    variant : "centered", "positive", "negative", "random" or "vanishing"
        Signs of the nudges; "vanishing" is the limit of small ones.
    """

    needs: ClassVar[Needs] = _CIRCUITS
    on_chips: ClassVar[bool] = True
    needs_energy: ClassVar[bool] = False

    method: Literal["asymmetric"] = "asymmetric"
    variant: Literal["centered", "positive", "negative", "random", "vanishing"] = "centered"

    @property
    def signs(self) -> tuple[int, ...]:
        return super().signs if self.variant == "vanishing" else SIGNS[self.variant]

    @property
    def nudged_phases(self) -> int:
        return 2 if self.variant == "centered" else 1

    def build(self, parts: Parts) -> AsymmetricEquilibriumPropagation:
        return AsymmetricEquilibriumPropagation(
            parts.network,
            self.nudging,
            parts.cost,
            variant=self.variant,
            kind=self.kind,
            solver=parts.solver,
            chip=parts.chip,
            seed=parts.seed,
        )
