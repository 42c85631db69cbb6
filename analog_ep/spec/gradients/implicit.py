"""Table of implicit differentiation, the exact gradient."""

from __future__ import annotations

from typing import ClassVar, Literal

from analog_ep.learning.gradients.implicit import ImplicitDifferentiation
from analog_ep.learning.gradients.implicit_energy import EnergyImplicitDifferentiation
from analog_ep.networks import HopfieldNetwork
from analog_ep.spec.gradients.table import SWEEPS, GradientTable, Needs, Parts


class ImplicitSpec(GradientTable):
    """See `analog_ep.learning.ImplicitDifferentiation`, and `EnergyImplicitDifferentiation` of a Hopfield network."""

    needs: ClassVar[Needs] = SWEEPS
    on_chips: ClassVar[bool] = True

    method: Literal["implicit"] = "implicit"

    def build(self, parts: Parts) -> ImplicitDifferentiation | EnergyImplicitDifferentiation:
        if isinstance(parts.network, HopfieldNetwork):
            return EnergyImplicitDifferentiation(parts.network, parts.cost, parts.solver)
        return ImplicitDifferentiation(parts.network, parts.cost, parts.solver, parts.chip)
