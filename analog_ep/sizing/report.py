"""What a design is, why, and what binds."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.table import Table

from analog_ep.sizing.choice import Choice
from analog_ep.sizing.constraints import Constraint, binding, engineering
from analog_ep.sizing.measured import Measured
from analog_ep.sizing.rules import Design
from analog_ep.support.shown import Tabled

ERRORS = "share of the test samples that is wrong"
"""The constraint that the target sets."""


@dataclass(frozen=True)
class SizingReport(Tabled):
    """A design that was trained.

    Attributes
    ----------
    design : Design
        What its spec says.
    choices : tuple of Choice
        What short trainings changed of the rules.
    constraints : tuple of Constraint
        All limits, as measured on the trained network where they can be.
    measured : Measured
        The trained network at work.
    accuracy, target : float
        On the test part, and wanted.
    spec, run : Path
        The spec, and the run that was trained by it.
    """

    design: Design
    choices: tuple[Choice, ...]
    constraints: tuple[Constraint, ...]
    measured: Measured
    accuracy: float
    target: float
    spec: Path
    run: Path

    @property
    def binding(self) -> Constraint:
        """The constraint that binds: see `analog_ep.sizing.constraints.binding`."""
        return binding(self.constraints)

    @property
    def sentence(self) -> str:
        """What binds, in a line; where that is the target alone, what of the hardware is nearest."""
        if self.binding.name != ERRORS:
            return self.binding.sentence
        hardware = binding([each for each in self.constraints if each.name != ERRORS])
        return f"{self.binding.sentence}; of the hardware {hardware.sentence}"

    @property
    def kept(self) -> bool:
        """Whether all limits are."""
        return self.binding.margin >= 1

    def to_json(self) -> str:
        """The figures as a JSON object."""
        limits = [{**asdict(each), "margin": each.margin} for each in self.constraints]
        return json.dumps(
            {
                "accuracy": self.accuracy,
                "target": self.target,
                "binding": self.binding.name,
                "kept": self.kept,
                "constraints": limits,
                "choices": [asdict(each) for each in self.choices],
                "measured": asdict(self.measured),
                "spec": str(self.spec),
                "run": str(self.run),
                "energy_per_inference": sum(self.measured.energy.values()),
            }
        )

    def table(self) -> Table:
        """What is proposed and why, what short trainings chose, and the limits."""
        table = Table("design", "value", "because", title=f"{self.accuracy:.2%} on the test part")
        for row in self._proposed():
            table.add_row(*row)
        table.add_section()
        for choice in self.choices:
            found = ", ".join(f"{name} {accuracy:.2%}" for name, accuracy in choice.accuracies.items())
            table.add_row(choice.axis, choice.name, f"held back: {found}")
        table.add_section()
        whole, parts = sum(self.measured.energy.values()), self.measured.energy
        most = max(parts, key=lambda name: parts[name])
        table.add_row("energy of an inference", engineering(whole, "J"), f"most in {most}: {parts[most] / whole:.0%}")
        table.add_section()
        for limit in sorted(self.constraints, key=lambda each: each.margin):
            figures = f"{engineering(limit.needs, limit.unit)} of {engineering(limit.has, limit.unit)}"
            table.add_row(limit.name, figures, f"× {limit.margin:.3g}")
        table.caption = self.sentence
        return table

    def _proposed(self) -> Iterator[tuple[str, str, str]]:
        design, rail = self.design, self.design.technology.rail
        low, high = (engineering(siemens, "S") for siemens in design.conductance_range)
        saturation, bias = design.clamp
        of_node = engineering(design.matched_current, "A")
        current = engineering(design.clamp_current, "A")
        yield "sizes", "-".join(map(str, design.task.sizes)), "twice the inputs, 10…128"
        yield "conductances", f"{low} to {high}", "the lowest that settle in time: power goes with them, accuracy not"
        yield "input scale", f"{engineering(design.input_voltage, 'V')} a unit", f"clipped at the rails, ± {rail:g} V"
        yield "gain", f"{design.gain:g}", f"amplifiers reach the rails: hidden nodes ± {self.measured.hidden:.3g} V"
        junction = f"IS {engineering(saturation, 'A')} at {engineering(bias, 'V')}"
        yield "clamps", junction, f"{current} at 0 V, where Σg·nkT/q is {of_node}"
        yield "logit scale", engineering(design.logit_scale, "V"), "logits of ± 14 at full swing"
        yield "nudging", engineering(design.nudging, "A·V"), self._nudged()
        yield "learning rate", f"{design.learning_rate:g}", f"Adam, {design.epochs} epochs of {design.batch_size}"
        yield "input noise", f"{design.input_noise:g}", "of a unit"

    def _nudged(self) -> str:
        if self.design.read_ranges is None:
            return "moves an output that is all wrong by a tenth of the rail"
        ranges = " and ".join(engineering(volts, "V") for volts in self.design.read_ranges)
        return f"least bias and noise of reads, ranges ± {ranges}"
