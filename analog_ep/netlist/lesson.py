"""What a netlist that learns by itself is taught, and when."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from analog_ep.circuit import Circuit
from analog_ep.circuit.update_cells import UpdateCells
from analog_ep.errors import StimulusError
from analog_ep.netlist.contrast import contrast_factors
from analog_ep.netlist.timing import LearningTiming
from analog_ep.stimulus import Nudge

_KEPT = 10
"""Presentations that a charge must outlast."""


@dataclass(frozen=True, eq=False)
class Lesson:
    """What a deck that learns presents, and in which order.

    Attributes
    ----------
    inputs : ndarray (n_samples, n_inputs)
        [V]
    nudge : Nudge
        With targets `(n_samples, n_outputs)`.
    order : ndarray (n_epochs, n_learned)
        Samples by index as they are learnt from, epoch by epoch.
    timing : LearningTiming
        Of each presentation.
    rate : float
        η, the factor from −∂C/∂w to Δw, where w, from 0 to 1, is a conductance within its range. [1/cost]
    cells : UpdateCells
        At every conductance.
    examined : ndarray (n_examined,)
        Samples by index that are presented once after learning; all by default.
    """

    inputs: np.ndarray
    nudge: Nudge
    order: np.ndarray
    timing: LearningTiming
    rate: float
    cells: UpdateCells = field(default_factory=UpdateCells)
    examined: np.ndarray = field(default=None)  # pyright: ignore[reportAssignmentType]

    def __post_init__(self):
        if self.examined is None:
            object.__setattr__(self, "examined", np.arange(len(self.inputs)))
        if self.inputs.ndim != 2 or not len(self.inputs) or not np.isfinite(self.inputs).all():
            raise StimulusError(
                f"inputs must be finite, of shape (n_samples, n_inputs) with a sample at least, found "
                f"{self.inputs.shape}"
            )
        if len(self.nudge.target) != len(self.inputs):
            raise StimulusError(
                f"every sample needs a target, found {len(self.inputs)} samples and {len(self.nudge.target)} targets"
            )
        if self.order.ndim != 2 or not self.order.size:
            raise StimulusError(
                f"order must have shape (n_epochs, n_learned) with one of each at least, found {self.order.shape}"
            )
        if self.presented.min() < 0 or self.presented.max() >= len(self.inputs):
            raise StimulusError(
                f"order and examined must name samples 0 to {len(self.inputs) - 1}, found {self.presented.min()} to "
                f"{self.presented.max()}"
            )
        if not 0 < self.rate < float("inf"):
            raise StimulusError(f"the rate from -dC/dw to a change must be positive and finite, found {self.rate}")
        if self.cells.leak_time < _KEPT * self.timing.period:
            raise StimulusError(
                f"charges must keep for {_KEPT} presentations at least, {_KEPT * self.timing.period:.2g} s, found a "
                f"time constant of {self.cells.leak_time:.2g} s; what leaks within a phase is no learning"
            )
        if not self.nudge.strength > 0:
            raise StimulusError(f"the nudging of a deck that learns must be positive, found {self.nudge.strength}")

    @property
    def presented(self) -> np.ndarray:
        """Sample of every presentation, those without learning last, `(n_presentations,)`."""
        return np.concatenate([self.order.ravel(), self.examined])

    @property
    def duration(self) -> float:
        """Of the whole. [s]"""
        return len(self.presented) * self.timing.period

    @property
    def learning_time(self) -> float:
        """When learning ends. [s]"""
        return self.order.size * self.timing.period

    def gains(self, circuit: Circuit, ranges: Mapping[str, tuple[float, float]]) -> dict[str, np.ndarray]:
        """Change of w in a write by (v^β − v⁰)(v^β + v⁰), without errors of the cells, by group. [1/V²]"""
        factors = contrast_factors(circuit, self.nudge)
        spans = {group.label: ranges[name][1] - ranges[name][0] for group, name, _ in circuit.trained_groups()}
        return {label: 0.5 * self.rate * spans[label] * factor for label, factor in factors.items()}
