"""A network whose conductances learn by circuits of their own, as a table of a spec."""

from __future__ import annotations

import math

from pydantic import BaseModel, NonNegativeFloat, PositiveFloat

from analog_ep.circuit.update_cells import UpdateCells
from analog_ep.netlist.timing import LearningTiming
from analog_ep.spec.table import TABLE


class SelfLearningSpec(BaseModel):
    """See `analog_ep.netlist.lesson.Lesson` and `analog_ep.circuit.update_cells.UpdateCells`.

    Attributes
    ----------
    free, nudged, write : float
        Durations of the phases of a presentation. [s]
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

    free: PositiveFloat = 3e-7
    nudged: PositiveFloat = 3e-7
    write: PositiveFloat = 1e-7
    node_capacitance: PositiveFloat = 1e-12
    charge_capacitance: PositiveFloat = 1e-12
    leak_time: PositiveFloat | None = None
    offset_spread: NonNegativeFloat = 0.0
    gain_spread: NonNegativeFloat = 0.0

    @property
    def timing(self) -> LearningTiming:
        """Of a presentation."""
        return LearningTiming(self.free, self.nudged, self.write)

    def cells(self, seed: int) -> UpdateCells:
        """At every conductance, drawn from a seed."""
        leak = math.inf if self.leak_time is None else self.leak_time
        return UpdateCells(self.charge_capacitance, leak, self.offset_spread, self.gain_spread, seed)
