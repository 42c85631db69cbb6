"""Kinds of elements that the toolkit does not know, written as a user would write them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from analog_ep.circuit import GROUND, NONE, CurrentLaw, NodePair, VoltageLaw, VoltageRows
from analog_ep.devices import Diode


@dataclass(frozen=True, eq=False)
class SquareLawTransistors(CurrentLaw):
    """NMOS transistors by the square law, symmetric in drain and source.

    i = k/2 [max(v_gs − v_t, 0)² − max(v_gd − v_t, 0)²], from drain to source. [A]
    """

    drain: Any
    source: Any
    gate: Any
    factor: Any
    threshold: Any

    terminals: ClassVar[tuple[str, ...]] = ("drain", "source", "gate")
    values: ClassVar[tuple[str, ...]] = ("factor", "threshold")

    def controls(self) -> Sequence[NodePair]:
        return ((self.gate, self.source), (self.gate, self.drain))

    def current(self, *volts: np.ndarray) -> np.ndarray:
        forward, reverse = (self._overdrive(v) for v in volts)
        return self.factor / 2 * (forward**2 - reverse**2)

    def slopes(self, *volts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        forward, reverse = (self._overdrive(v) for v in volts)
        return self.factor * forward, -self.factor * reverse

    def expressions(self, *volts: Sequence[str]) -> Sequence[str]:
        rows = zip(self.factor.tolist(), self.threshold.tolist(), *volts, strict=True)
        return [f"({k / 2!r})*({_square(s, t)}-{_square(d, t)})" for k, t, s, d in rows]

    def _overdrive(self, volts: np.ndarray) -> np.ndarray:
        return np.maximum(volts - self.threshold, 0.0)


def _square(volts: str, threshold: float) -> str:
    return f"max({volts}-({threshold!r}),0)*max({volts}-({threshold!r}),0)"


@dataclass(frozen=True)
class CubicDiode(Diode):
    """A varistor, i = a v + b v³. [A]"""

    linear: float | Tensor = 1e-5
    cubic: float | Tensor = 1e-3

    def current(self, voltage: Tensor) -> Tensor:
        return self.linear * voltage + self.cubic * voltage**3

    def conductance(self, voltage: Tensor) -> Tensor:
        return self.linear + 3 * self.cubic * voltage**2

    def cocontent(self, voltage: Tensor) -> Tensor:
        return 0.5 * self.linear * voltage**2 + 0.25 * self.cubic * voltage**4

    def current_difference(self, voltage: Tensor, change: Tensor) -> Tensor:
        return change * (self.linear + self.cubic * (3 * voltage * (voltage + change) + change**2))

    def voltage_estimate(self, current: Tensor) -> Tensor:
        return torch.minimum(current / self.linear, (current / self.cubic) ** (1 / 3))

    def in_parallel(self, count: float) -> "CubicDiode":
        return CubicDiode(self.linear * count, self.cubic * count)

    def expressions(self, voltages: Sequence[str]) -> Sequence[str]:
        rows = zip(torch.as_tensor(self.linear).tolist(), torch.as_tensor(self.cubic).tolist(), voltages, strict=True)
        return [f"({a!r})*{v}+({b!r})*{v}*{v}*{v}" for a, b, v in rows]


@dataclass(frozen=True)
class CubicDiodeBehindResistance(CubicDiode):
    """The varistor with a wire of its own in series. [Ω]"""

    wire: float | Tensor = 0.0

    def behind_resistance(self) -> tuple[float | Tensor, CubicDiode]:
        return self.wire, CubicDiode(self.linear, self.cubic)


@dataclass(frozen=True)
class SteepnessOfCubicDiode(CubicDiode):
    """The varistor that tells its steepness: a + 3 b v² ≤ |i|/V + a + 4 b V² at every v, with V = 1 V."""

    def steepness(self) -> tuple[float, float | Tensor]:
        # 3 b v² − b |v|³/V is largest, 4 b V², at v = 2 V.
        return 1.0, self.linear + 4 * self.cubic


@dataclass(frozen=True, eq=False)
class Batteries(VoltageLaw):
    """Constant voltages. [V]"""

    positive: Any
    negative: Any
    volts: Any

    values: ClassVar[tuple[str, ...]] = ("volts",)

    def rows(self) -> VoltageRows:
        return VoltageRows.between(self.positive, self.negative, volts=self.volts)


@dataclass(frozen=True, eq=False)
class Followers(VoltageLaw):
    """Single-ended bidirectional amplifiers, with gain and feedback alone."""

    input: Any
    output: Any
    gain: Any
    feedback: Any

    terminals: ClassVar[tuple[str, ...]] = ("input", "output")
    values: ClassVar[tuple[str, ...]] = ("gain", "feedback")
    driven: ClassVar[bool] = False

    def rows(self) -> VoltageRows:
        ground = np.full(len(self), GROUND)
        return VoltageRows.between(
            self.output,
            ground,
            input=np.full(len(self), 0 if self.driven else NONE),
            control=(self.input, ground),
            gain=self.gain,
            drawn_from=self.input,
            feedback=self.feedback,
            chained=True,
        )
