"""Cards of analyses, waveforms and start values, for the simulators that the package runs."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Sequence

from analog_ep.netlist.dialects.sweeps import Sweeps
from analog_ep.netlist.dialects.transients import Transients
from analog_ep.netlist.texts import number


class Analyses(Transients, Sweeps):
    """The forms of one simulator beyond a deck's own. This class is ngspice's; another engine overrides what differs.

    Values are numbers, vectors texts such as ``v(out)``.
    """

    def small_signal(self, frequency: float = 1.0) -> str:
        """The linearised response [Hz]: without reactances every frequency gives the same."""
        return f".ac lin 1 {number(frequency)} {number(frequency)}"

    def noise(self, output: Sequence[str], source: str, points_per_decade: int, low: float, high: float) -> str:
        """Spectrum of the voltage between two nodes, referred to a source. [Hz]"""
        return f".noise v({','.join(output)}) {source} dec {points_per_decade} {number(low)} {number(high)}"

    def initial(self, node: str, volts: float) -> str:
        """Where a transient from its start begins. [V]"""
        return f".ic v({node})={number(volts)}"

    def pulses(self, delay: float, edge: float, width: float, period: float) -> str:
        """A waveform from 0 to 1 and back, again and again; `width` is that of the top. [s]"""
        return f"pulse(0 1 {' '.join(map(number, (delay, edge, edge, width, period)))})"

    def integrated(self, name: str, vector: str, begin: float, end: float) -> str:
        """The integral of a vector over time [s] in a transient, printed."""
        return f".meas tran {name} integ {vector} from={number(begin)} to={number(end)}"

    def cosine(self, amplitude: float, frequency: float) -> str:
        """A waveform without an offset. [Hz]"""
        return f"sin(0 {number(amplitude)} {number(frequency)} 0 0 90)"

    def stimulus(self, amplitude: float) -> str:
        """What a small-signal analysis or one of noise takes for its source: nothing at rest."""
        return f"dc 0 ac {number(amplitude)}"

    def random(self, interval: float, rms: float) -> str:
        """Gaussian values that last for an interval [s] each, by the stream of `seed`."""
        # ngspice 39 fills the pool behind TRNOISE from its process number; TRRANDOM follows the seed.
        return f"dc 0 trrandom(2 {number(interval)} 0 {number(rms)} 0)"

    def seed(self, seed: int) -> str:
        """Of `random`."""
        return self.options({"seed": str(int(seed))})


def folded(card: str, width: int) -> Iterable[str]:
    """Lines of a long card."""
    return textwrap.wrap(card, width, subsequent_indent="+ ", break_long_words=False)
