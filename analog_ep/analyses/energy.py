"""Energy of an inference and of a training step: the power of each phase for as long as its outputs take to settle."""

from __future__ import annotations

import json
from dataclasses import dataclass

from rich.table import Table

from analog_ep.analyses.power import Power


@dataclass(frozen=True)
class Energy:
    """Power of a sample's phases, and what they take.

    Attributes
    ----------
    free, nudged : Power
        Each with the settling time of its outputs to 1 %.
    nudged_phases : int
        Nudged phases of a training step: 1, or 2 where the estimate is centered.
    """

    free: Power
    nudged: Power
    nudged_phases: int = 1

    @property
    def per_inference(self) -> float:
        """Total power of the free phase × its settling time. [J]"""
        return self.free.energy or 0.0

    @property
    def per_training_step(self) -> float:
        """The free phase and the nudged ones, of one sample; writing the conductances is not part of it. [J]"""
        return self.per_inference + self.nudged_phases * (self.nudged.energy or 0.0)

    def to_json(self) -> str:
        """The figures as a JSON object: those of the free phase, with the nudged one inside."""
        return json.dumps(
            {
                **json.loads(self.free.to_json()),
                "nudged": json.loads(self.nudged.to_json()),
                "nudged_phases": self.nudged_phases,
                "energy_per_training_step": self.per_training_step,
            }
        )

    def table(self) -> Table:
        """A row a class of branches, for both phases, and the energies."""
        table = Table("branches", "free phase", "nudged phase", title="power")
        phases = (self.free, self.nudged)
        for what in ("dissipated", "delivered"):
            for name in getattr(self.nudged, what):
                cells = [f"{getattr(phase, what).get(name, 0.0):.4g} W" for phase in phases]
                table.add_row(f"{name}, {what}", *cells)
        table.add_row("total", *(f"{phase.total:.4g} W" for phase in phases))
        table.add_row("outputs settled to 1 % after", *(f"{phase.settling_time or 0.0:.4g} s" for phase in phases))
        table.add_row("energy of an inference", f"{self.per_inference:.4g} J", "")
        step = f"energy of a training step with {self.nudged_phases} nudged phase" + "s" * (self.nudged_phases > 1)
        table.add_row(step, "", f"{self.per_training_step:.4g} J")
        return table
