"""Table of implicit differentiation, the exact gradient."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from analog_ep.learning.gradients.implicit import ImplicitDifferentiation
from analog_ep.learning.gradients.implicit_energy import EnergyImplicitDifferentiation
from analog_ep.networks import Network, Question, UnitNetwork
from analog_ep.spec.gradients.table import SWEEPS, GradientTable, Needs, Parts


class ImplicitSpec(GradientTable):
    """See `analog_ep.learning.ImplicitDifferentiation`, and `EnergyImplicitDifferentiation` of a Hopfield network."""

    needs: ClassVar[Needs] = SWEEPS
    on_chips: ClassVar[bool] = True
    needs_energy: ClassVar[bool] = False

    method: Literal["implicit"] = "implicit"

    def build(self, parts: Parts) -> ImplicitDifferentiation | EnergyImplicitDifferentiation:
        return parts.network.answer(_Exact(parts))


@dataclass(frozen=True)
class _Exact(Question[ImplicitDifferentiation | EnergyImplicitDifferentiation]):
    parts: Parts

    def network(self, network: Network) -> ImplicitDifferentiation:
        return ImplicitDifferentiation(network, self.parts.cost, self.parts.solver, self.parts.chip)

    def units(self, network: UnitNetwork) -> EnergyImplicitDifferentiation:
        return EnergyImplicitDifferentiation(network, self.parts.cost, self.parts.solver)
