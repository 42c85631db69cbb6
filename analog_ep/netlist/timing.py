"""When the phases of a transient deck begin and end."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from analog_ep.errors import StimulusError

# Gear's method damps what trapezoids would let ring: the clamps are many times faster than a step. With so large a
# trtol the steps are those of reltol 1e-4, while the equations of each are solved to the tight tolerances.
SETTLING_TRTOL = 100000

SETTLING_STEPS = 30
"""Steps of a circuit's way to rest at least."""


@dataclass(frozen=True)
class TwoPhaseTiming:
    """When a sample's phases begin and end.

    A sample takes `free` + `nudged` seconds. Its inputs change within an `edge`; the stores hold shortly before the
    free phase ends; the nudge rises within an edge after that, and ΔG is measured an edge before the sample ends.

    Parameters
    ----------
    free, nudged : float
        Durations of the phases; positive. [s]
    """

    free: float
    nudged: float

    def __post_init__(self):
        for name in ("free", "nudged"):
            value = getattr(self, name)
            if not 0 < value < float("inf"):
                raise StimulusError(f"the {name} phase must last a positive and finite time, found {value} s")

    @property
    def edge(self) -> float:
        """Duration of every change of a source. [s]"""
        return min(self.free, self.nudged) / 100

    @property
    def period(self) -> float:
        """Duration of a sample. [s]"""
        return self.free + self.nudged

    def measured(self, sample: int) -> float:
        """When the nudged state of a sample is measured. [s]"""
        return (sample + 1) * self.period - self.edge


@dataclass(frozen=True)
class LearningTiming:
    """When the phases of a sample begin and end in a deck that learns.

    A sample is presented for `period` = `free` + `nudged` + `write` seconds. Its inputs change within an `edge`; the
    stores hold shortly before the free phase ends; the nudge rises within an edge after that; at the end of the nudged
    phase the update circuits write, and the nudge falls with the sample.

    Parameters
    ----------
    free, nudged, write : float
        Durations of the phases; positive. [s]
    """

    free: float
    nudged: float
    write: float

    at_once: ClassVar[bool] = False
    """Whether the nudged state stands beside the free one, in a twin, and does not follow it."""

    def __post_init__(self):
        for name, value in self.phases.items():
            if not 0 < value < float("inf"):
                raise StimulusError(f"the {name} phase must last a positive and finite time, found {value} s")

    @property
    def edge(self) -> float:
        """Duration of every change of a source. [s]"""
        return min(self.phases.values()) / 50

    @property
    def phases(self) -> dict[str, float]:
        """Durations by name. [s]"""
        return {"free": self.free, "nudged": self.nudged, "write": self.write}

    @property
    def period(self) -> float:
        """Duration of a presentation. [s]"""
        return self.free + self.nudged + self.write

    @property
    def written(self) -> float:
        """Time over which a write pulse carries its charge, with half its edges. [s]"""
        return self.write - 3 * self.edge

    def judged(self, presentation: int) -> float:
        """When the free outputs of a presentation are held and judged: in the middle of its write phase. [s]"""
        return presentation * self.period + self.free + self.nudged + self.write / 2


@dataclass(frozen=True)
class TwinTiming(LearningTiming):
    """When the phases of a sample begin and end in a deck of twins, whose free and nudged states stand at once.

    Both settle for `free` seconds; the stores hold shortly before these end, and the update circuits write.

    Parameters
    ----------
    free, write : float
        Durations of the phases; positive. [s]
    """

    nudged: float = field(default=0.0, init=False)

    at_once: ClassVar[bool] = True

    @property
    def phases(self) -> dict[str, float]:
        return {"free": self.free, "write": self.write}
