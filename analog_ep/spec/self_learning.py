"""A network whose conductances learn by circuits of their own, as a table of a spec."""

from __future__ import annotations

import math
from typing import Literal

from pydantic import BaseModel, NonNegativeFloat, PositiveFloat, model_validator

from analog_ep.circuit.update_cells import UpdateCells
from analog_ep.netlist.timing import LearningTiming, TwinTiming
from analog_ep.spec.table import TABLE


class SelfLearningSpec(BaseModel):
    """See `analog_ep.netlist.lesson.Lesson` and `analog_ep.circuit.update_cells.UpdateCells`.

    Attributes
    ----------
    form : "phases" or "twin"
        Whether one network runs both phases in turn, or two networks stand side by side on the same charges.
    free, nudged, write : float
        Durations of the phases of a presentation; twins have no nudged one. [s]
    node_capacitance : float
        Of every node that neither a source nor an amplifier holds. [F]
    charge_capacitance : float
        That of the charge behind a conductance. [F]
    leak_time : float, optional
        Time constant with which a charge leaks; without it none does. [s]
    offset_spread, gain_spread : float
        Standard deviations of the update circuits' offsets [V] and relative gains; drawn from `training.seed`.
    """

    model_config = TABLE

    form: Literal["phases", "twin"] = "phases"
    free: PositiveFloat = 3e-7
    nudged: PositiveFloat = 3e-7
    write: PositiveFloat = 1e-7
    node_capacitance: PositiveFloat = 1e-12
    charge_capacitance: PositiveFloat = 1e-12
    leak_time: PositiveFloat | None = None
    offset_spread: NonNegativeFloat = 0.0
    gain_spread: NonNegativeFloat = 0.0

    @model_validator(mode="after")
    def _nudged_at_once(self) -> SelfLearningSpec:
        if self.form == "twin" and self.nudged != type(self).model_fields["nudged"].default:
            raise ValueError(
                f'self_learning.nudged has no meaning with form = "twin", whose states settle at once in free, found '
                f"{self.nudged:g}; leave it out"
            )
        return self

    @property
    def timing(self) -> LearningTiming:
        """Of a presentation."""
        if self.form == "twin":
            return TwinTiming(self.free, self.write)
        return LearningTiming(self.free, self.nudged, self.write)

    def cells(self, seed: int) -> UpdateCells:
        """At every conductance, drawn from a seed."""
        leak = math.inf if self.leak_time is None else self.leak_time
        return UpdateCells(self.charge_capacitance, leak, self.offset_spread, self.gain_spread, seed)
