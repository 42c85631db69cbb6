"""Cards of transients that a netlist measures itself: waveforms, time steps, and what is measured when."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Mapping

from analog_ep.netlist.texts import number

_WIDTH = 100


class Transients:
    """The forms of one simulator. This class is ngspice's; another dialect overrides what differs.

    Values are numbers, vectors texts such as ``v(out)``.
    """

    def options(self, values: Mapping[str, str]) -> str:
        """Settings by the simulator's words."""
        return f".options {' '.join(f'{key}={value}' for key, value in values.items())}"

    def integration(self, trtol: int) -> str:
        """Gear's method, with steps that are longer for a larger `trtol`; what is solved in each step is as it was."""
        return self.options({"method": "gear", "trtol": str(trtol)})

    def transient(self, step: float, end: float, from_start: bool = False) -> str:
        """With steps up to `step` [s]; without a search for an operating point where it is `from_start`."""
        return f".tran {number(step)} {number(end)} 0 {number(step)}{' uic' if from_start else ''}"

    def measured(self, name: str, vector: str, at: float) -> str:
        """A vector at a time [s] of a transient, printed."""
        return f".meas tran {name} find {vector} at={number(at)}"

    def computed(self, name: str, expression: str) -> str:
        """An expression of measured values, printed."""
        return f".meas tran {name} param='{expression}'"

    def parameter(self, name: str, value: float) -> str:
        """A number with a name."""
        return f".param {name}={number(value)}"

    def corners(self, points: Iterable[tuple[float, float]], gap: str = " ") -> str:
        """A waveform of straight lines through (time [s], value)."""
        return f"pwl({gap.join(f'{number(time)} {number(value)}' for time, value in points)})"

    def waveform(self, points: Iterable[tuple[float, float]]) -> str:
        """The same in lines that stay short."""
        return "\n+ ".join(textwrap.wrap(self.corners(points, gap="  "), _WIDTH, break_long_words=False))
