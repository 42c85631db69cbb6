"""What limits a design, and by how much."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from analog_ep.errors import BudgetError
from analog_ep.sizing.rules import Design

_MOST_LOST = 0.1
"""Share of a cell's voltage that wires may take."""

_TOO_LARGE = 10.0
"""Rest current of a junction, in Σg n kT/q, that leaves its node no knee."""


@dataclass(frozen=True)
class Constraint:
    """One limit.

    Attributes
    ----------
    name : str
        What is limited.
    needs, has : float
        What the design needs, and what there is of it, in `unit`.
    unit : str
        Such as "W".
    advice : str
        What would relieve it.
    sought : bool
        Whether a design goes to this limit on purpose, so that it binds only where it is not kept.
    """

    name: str
    needs: float
    has: float
    unit: str
    advice: str
    sought: bool = False

    @property
    def margin(self) -> float:
        """How many times there is what is needed; below 1 the limit is not kept."""
        return self.has / self.needs if self.needs else float("inf")

    @property
    def sentence(self) -> str:
        """The limit in a line."""
        figures = f"{self.name}: needs {self._said(self.needs)}, has {self._said(self.has)}"
        if self.margin >= 1:
            return f"what binds is {figures}, {self.margin:.3g} times that"
        return f"{figures}, {1 / self.margin:.3g} times too little; {self.advice}"

    def _said(self, value: float) -> str:
        return engineering(value, self.unit)


def engineering(value: float, unit: str) -> str:
    """A value with the prefix of its unit; a share as a percentage."""
    if unit == "%":
        return f"{100 * value:.2f} %"
    if not value or unit == "":
        return f"{value:.3g} {unit}".strip()
    fitting = (each for each in _PREFIXES if abs(value) >= 0.9995 * 10.0 ** each[0])
    exponent, prefix = next(fitting, _PREFIXES[-1])
    return f"{value / 10.0**exponent:.3g} {prefix}{unit}"


_PREFIXES = [(6, "M"), (3, "k"), (0, ""), (-3, "m"), (-6, "µ"), (-9, "n"), (-12, "p"), (-15, "f"), (-18, "a")]


def binding(constraints: Sequence[Constraint]) -> Constraint:
    """The one with the smallest margin; one that is sought only where it is not kept."""
    return min(constraints, key=lambda each: each.margin if each.margin < 1 or not each.sought else float("inf"))


def require_possible(constraints: Sequence[Constraint]) -> None:
    """Refuse what cannot be.

    Raises
    ------
    BudgetError
        Naming the constraint that is least kept, and by how much.
    """
    worst = binding(constraints)
    if worst.margin < 1:
        raise BudgetError(f"no design keeps this budget: {worst.sentence}")


def before_training(design: Design, watts: float) -> Iterator[Constraint]:
    """Limits that the rules tell.

    Parameters
    ----------
    design : Design
        What is asked.
    watts : float
        Static power of an inference before any training, which raises it. [W]
    """
    technology = design.technology
    knee, supply = design.matched_current, technology.supply
    yield Constraint(
        "current of the junctions at 0 V, Σg·nkT/q of a node",
        knee,
        design.clamp_reach,
        "A",
        "raise the supply, or take junctions with a larger saturation current or area, or smaller conductances",
    )
    yield Constraint(
        "room for the rest current of the smallest junction",
        technology.junction.saturation_current,
        _TOO_LARGE * knee,
        "A",
        "take junctions with a smaller saturation current, or larger conductances",
    )
    if supply.settling_time is not None:
        yield Constraint(
            "settling time of the outputs",
            design.settling_time,
            supply.settling_time,
            "s",
            "allow more time, larger conductances, or smaller node capacitances",
        )
    if supply.power is not None:
        yield Constraint(
            "static power of an inference",
            watts,
            supply.power,
            "W",
            "allow more power or a longer settling time, or lower the conductances or the supply",
        )
    if technology.segment_resistance:
        lines = [(2 * (n + 1), 2 * m) for n, m in zip(design.task.sizes, design.task.sizes[1:], strict=False)]
        mean = 0.2 * design.conductance_range[1]
        lost = max(technology.segment_resistance * mean * (rows**2 + columns**2) / 2 for rows, columns in lines)
        yield Constraint(
            "share of the cells' voltage that wires take",
            lost,
            _MOST_LOST,
            "%",
            "lower the conductances or the segments' resistance, or use tiles",
        )
