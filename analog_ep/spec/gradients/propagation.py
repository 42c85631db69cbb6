"""Tables of equilibrium propagation, with finite nudges and in the limit of vanishing ones."""

from __future__ import annotations

from typing import ClassVar, Literal

from analog_ep.learning.gradients.method import SIGNS
from analog_ep.learning.gradients.propagation import EquilibriumPropagation, SmallSignal
from analog_ep.spec.gradients.table import SWEEPS, GradientTable, Needs, Parts


class EquilibriumPropagationSpec(GradientTable):
    """See `analog_ep.learning.EquilibriumPropagation`.

    Attributes
    ----------
    variant : "centered", "positive", "negative" or "random"
        Signs of the nudges.
    """

    needs: ClassVar[Needs] = {}
    on_chips: ClassVar[bool] = True
    measures: ClassVar[bool] = True

    method: Literal["ep"] = "ep"
    variant: Literal["centered", "positive", "negative", "random"] = "centered"

    @property
    def signs(self) -> tuple[int, ...]:
        return SIGNS[self.variant]

    @property
    def nudged_phases(self) -> int:
        return 2 if self.variant == "centered" else 1

    def build(self, parts: Parts) -> EquilibriumPropagation:
        return EquilibriumPropagation(
            parts.network,
            self.nudging,
            parts.cost,
            variant=self.variant,
            kind=self.kind,
            solver=parts.solver,
            chip=parts.chip,
            known=parts.known,
            seed=parts.seed,
        )


class SmallSignalSpec(GradientTable):
    """See `analog_ep.learning.SmallSignal`."""

    needs: ClassVar[Needs] = SWEEPS
    on_chips: ClassVar[bool] = True

    method: Literal["small_signal"] = "small_signal"

    def build(self, parts: Parts) -> SmallSignal:
        return SmallSignal(parts.network, parts.cost, parts.solver, parts.chip)
