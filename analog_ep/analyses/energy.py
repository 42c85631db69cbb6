"""Energy of an inference and of a training step: the power of each phase for as long as its outputs take to settle."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass

from rich.table import Table

from analog_ep.analyses.periphery import DIGITAL, Periphery
from analog_ep.analyses.power import Power
from analog_ep.support.shown import Tabled


@dataclass(frozen=True)
class Energy(Tabled):
    """Power of a sample's phases, and what they take.

    Attributes
    ----------
    free, nudged : Power
        Of resistors and junctions, each with the settling time of its outputs to 1 %.
    nudged_phases : int
        Nudged phases of a training step: 1, or 2 where the estimate is centered.
    inference, training_step : dict of str to float
        Energy of one sample by where it goes, see `analog_ep.analyses.periphery`. [J]
    operations : int
        Multiplications and additions of an inference.
    periphery : Periphery
        What was taken for what the description of the network leaves open.
    """

    free: Power
    nudged: Power
    nudged_phases: int
    inference: dict[str, float]
    training_step: dict[str, float]
    operations: int
    periphery: Periphery

    @property
    def per_inference(self) -> float:
        """Total power of the free phase × its settling time, in resistors and junctions alone. [J]"""
        return self.free.energy or 0.0

    @property
    def per_training_step(self) -> float:
        """The free phase and the nudged ones, of one sample, in resistors and junctions alone. [J]"""
        return self.per_inference + self.nudged_phases * (self.nudged.energy or 0.0)

    @property
    def tops_per_watt(self) -> float:
        """Operations of an inference over all its energy. [1e12/J]"""
        return self.operations / sum(self.inference.values()) / 1e12

    def to_json(self) -> str:
        """The figures as a JSON object: those of the free phase, with the nudged one inside."""
        return json.dumps(
            {
                **json.loads(self.free.to_json()),
                "nudged": json.loads(self.nudged.to_json()),
                "nudged_phases": self.nudged_phases,
                "energy_per_training_step": self.per_training_step,
                "inference": self.inference,
                "training_step": self.training_step,
                "whole_inference": sum(self.inference.values()),
                "whole_training_step": sum(self.training_step.values()),
                "operations": self.operations,
                "tops_per_watt": self.tops_per_watt,
                "digital_tops_per_watt": DIGITAL,
                "periphery": asdict(self.periphery),
            }
        )

    def table(self) -> Table:
        """A row a class of branches, for both phases; then where the energy goes."""
        table = Table("branches", "free phase", "nudged phase", title="power")
        phases = (self.free, self.nudged)
        for what in ("dissipated", "delivered"):
            for name in getattr(self.nudged, what):
                cells = [f"{getattr(phase, what).get(name, 0.0):.4g} W" for phase in phases]
                table.add_row(f"{name}, {what}", *cells)
        table.add_row("total", *(f"{phase.total:.4g} W" for phase in phases))
        table.add_row("outputs settled to 1 % after", *(f"{phase.settling_time or 0.0:.4g} s" for phase in phases))
        table.add_section()
        phases = f"{self.nudged_phases} nudged phase" + "s" * (self.nudged_phases > 1)
        table.add_row("energy of one sample", "inference", f"training step, {phases}")
        for name in self.training_step:
            table.add_row(name, _joules(self.inference.get(name)), _joules(self.training_step[name]))
        whole = (sum(each.values()) for each in (self.inference, self.training_step))
        table.add_row("energy of an inference, of a training step", *map(_joules, whole))
        table.add_section()
        table.add_row(f"{self.operations} operations an inference", f"{self.tops_per_watt:.3g} TOPS/W", "")
        for name, figure in DIGITAL.items():
            table.add_row(name, f"{figure:.3g} TOPS/W", "")
        p = self.periphery
        amplifiers = (
            "amplifiers in class A" if p.amplifier_current is None else f"{p.amplifier_current:g} A an amplifier"
        )
        bits = f"{p.dac_bits} and {p.adc_bits} bits at {p.energy_per_step:g} J a step"
        table.caption = f"with a supply of {p.supply:g} V, {amplifiers}, converters of {bits}"
        return table


def _joules(value: float | None) -> str:
    return "" if value is None else f"{value:.4g} J"
