"""Outputs nudged by slow sinusoidal currents, so that the free and the nudged state are read at once."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from analog_ep.errors import StimulusError


@dataclass(frozen=True)
class Oscillation:
    """A nudge whose currents go as cos 2πft at all outputs, in phase.

    Attributes
    ----------
    frequency : float
        f; slow against the circuit's time constants. [Hz]
    capacitance : float
        Of every node that no source or amplifier holds and that has none of its own: what makes the circuit slow. [F]
    points : int
        Phases of half a period at which a solver of equilibria looks, at θ = π (j + ½)/N; even.

    Raises
    ------
    StimulusError
        If frequency or capacitance is not positive and finite, or the points are not even.
    """

    frequency: float = 1e3
    capacitance: float = 1e-12
    points: int = 4

    def __post_init__(self):
        for name, value, unit in (("frequency", self.frequency, "Hz"), ("capacitance", self.capacitance, "F")):
            if not 0 < value < math.inf:
                raise StimulusError(f"a sinusoidal nudge needs a positive {name}, found {value} {unit}")
        if self.points < 2 or self.points % 2:
            raise StimulusError(f"a sinusoidal nudge is looked at in an even number of points, found {self.points}")

    def cosines(self) -> np.ndarray:
        """Cos θ of the phases, `(points,)`."""
        return np.cos(np.pi * (np.arange(self.points) + 0.5) / self.points)


@dataclass(frozen=True, eq=False)
class Swing:
    """What is read of the layers while the outputs are nudged by a sinusoid.

    Attributes
    ----------
    mean : tuple of Tensor (*batch, n_units)
        Averages over whole periods: the free state, but for O(β²). [V]
    in_phase : tuple of Tensor (*batch, n_units)
        Amplitudes of what goes as cos 2πft: the response to a nudge of full strength, but for O(β³). [V]
    """

    mean: tuple[Tensor, ...]
    in_phase: tuple[Tensor, ...]
