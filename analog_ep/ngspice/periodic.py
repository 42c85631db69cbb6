"""Periodic steady states by ngspice's `.tran`: sinusoidal inputs, and waveforms of currents and conductances."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np

from analog_ep.circuit import Circuit, VoltageLaw
from analog_ep.errors import StimulusError
from analog_ep.netlist.dialects import NGSPICE, analyses_of
from analog_ep.netlist.netlist import NetlistWriter, SpiceOptions
from analog_ep.netlist.texts import number
from analog_ep.ngspice.batch import run_twice
from analog_ep.ngspice.process import run_plots

_OPTIONS = SpiceOptions(reltol=1e-6, vntol=1e-9, abstol=1e-14)


class Tone(NamedTuple):
    """A sinusoid at one input, a cos 2πft − b sin 2πft of the phasor a + jb. [V], [Hz]"""

    input: int
    frequency: float
    phasor: complex


class Waveform(NamedTuple):
    """Something between two nodes that goes through values `(n_points,)` at equidistant times of a period, in lines."""

    first: int
    second: int
    values: np.ndarray


@dataclass(frozen=True)
class Period:
    """What is followed, and how finely.

    Attributes
    ----------
    seconds : float
        The period. [s]
    points : int
        Times of a period at which voltages are given, equidistant from 0; at least as many steps are made.
    settle : int
        Periods before the one that is read.
    rtol : float
        Most that the period before may differ, relative to the largest voltage.

    Raises
    ------
    StimulusError
        If one is not positive.
    """

    seconds: float
    points: int = 1024
    settle: int = 3
    rtol: float = 1e-4

    def __post_init__(self):
        if not 0 < self.seconds < math.inf or self.points < 8 or self.settle < 1 or not self.rtol > 0:
            raise StimulusError(
                f"a period needs a positive time, 8 points and a period to settle, found {self.seconds} s, "
                f"{self.points} and {self.settle}"
            )

    @property
    def times(self) -> np.ndarray:
        """Of the points, `(points,)`. [s]"""
        return self.seconds * np.arange(self.points) / self.points


@dataclass(frozen=True, eq=False)
class Driven:
    """A circuit and what drives it over a period, beside its constant sources.

    Attributes
    ----------
    circuit : Circuit
        With its sources.
    tones : sequence of Tone
        At its inputs; frequencies are multiples of 1/period.
    currents, conductances : sequence of Waveform
        Currents from the first to the second node [A], and conductances between them [S].
    at_rest : bool
        Whether its constant sources are off.
    """

    circuit: Circuit
    tones: Sequence[Tone] = ()
    currents: Sequence[Waveform] = field(default=())
    conductances: Sequence[Waveform] = field(default=())
    at_rest: bool = False


def periodic_steady_state(
    driven: Driven, period: Period, *, executable: str | Path | None = None, timeout: float | None = 600.0
) -> np.ndarray:
    """Voltages of all nodes over one period, `(points, n_nodes)`. [V]

    Parameters
    ----------
    driven : Driven
        What is followed.
    period : Period
        For how long.
    executable, timeout
        See `run_ngspice`.

    Raises
    ------
    StimulusError
        If a tone does not fit the period or an input, or the state is not periodic after it has settled.
    NgspiceError
        If ngspice fails.
    """
    _require_tones(driven, period)
    deck = _deck(driven, period)
    # Loaded where it is used: every command would wait for scipy.interpolate.
    from scipy.interpolate import CubicSpline

    (plot,) = run_twice(lambda: run_plots(deck, executable, timeout))
    names = [f"v({name})" for name in driven.circuit.node_names[1:]]
    times, index = np.unique(plot.columns(["time"])[:, 0], return_index=True)
    course = CubicSpline(times, plot.columns(names)[index])
    last, before = (course(period.times + n * period.seconds) for n in (period.settle, period.settle - 1))
    off, largest = float(np.abs(last - before).max(initial=0.0)), float(np.abs(last).max(initial=0.0))
    if off > period.rtol * largest:
        raise StimulusError(
            f"{driven.circuit.title!r} must have a periodic steady state, found two periods after each other that "
            f"differ by {off / largest:.1e} of the largest voltage after {period.settle}; give it more to settle"
        )
    return np.concatenate([np.zeros((period.points, 1)), last], axis=1)


def _require_tones(driven: Driven, period: Period) -> None:
    for tone in driven.tones:
        cycles = tone.frequency * period.seconds
        if not 0 <= tone.input < driven.circuit.n_inputs or abs(cycles - round(cycles)) > 1e-9 or round(cycles) < 1:
            raise StimulusError(
                f"tones must be at one of {driven.circuit.n_inputs} inputs and have whole cycles in {period.seconds:g} "
                f"s, found {tone.frequency:g} Hz at input {tone.input}"
            )


def _deck(driven: Driven, period: Period) -> str:
    circuit, analyses = driven.circuit, analyses_of(NGSPICE)
    sources = [group for group in circuit.of_kind(VoltageLaw) if group.rows().is_source]
    others = [group for group in circuit.groups if group not in sources]
    writer = NetlistWriter(circuit.with_groups(others), options=_OPTIONS)
    step, end = period.seconds / period.points, (period.settle + 1) * period.seconds
    return "\n".join(
        [
            writer.title_card(),
            writer.options_card(),
            *writer.model_cards(),
            *writer.element_cards(),
            *_source_cards(driven, sources),
            *_waveform_cards(driven, period),
            analyses.transient(step, end),
            analyses.save([f"v({name})" for name in circuit.node_names[1:]]),
            f"{NGSPICE.end()}\n",
        ]
    )


def _source_cards(driven: Driven, sources: Sequence[VoltageLaw]) -> Iterator[str]:
    """Sources as expressions of the time, which have no corners at which ngspice would begin anew."""
    names = driven.circuit.node_names
    for group in sources:
        rows = group.rows()
        for i, (p, n) in enumerate(zip(rows.positive, rows.negative, strict=True)):
            terms = ["0" if driven.at_rest else number(float(rows.volts[i]))]
            for tone in driven.tones:
                if tone.input == rows.input[i]:
                    angle, phasor = f"{number(2 * math.pi * tone.frequency)}*time", rows.scale[i] * tone.phasor
                    terms.append(f"({number(phasor.real)})*cos({angle})-({number(phasor.imag)})*sin({angle})")
            yield NGSPICE.behavioural(f"b_{group.label}_{i}", (names[p], names[n]), "v", "+".join(terms))


def _waveform_cards(driven: Driven, period: Period) -> Iterator[str]:
    names, analyses = driven.circuit.node_names, analyses_of(NGSPICE)
    times = period.seconds / period.points * np.arange((period.settle + 1) * period.points + 1)

    def wave(values: np.ndarray) -> str:
        return analyses.waveform(zip(times.tolist(), np.resize(values, len(times)).tolist(), strict=True))

    for i, (first, second, values) in enumerate(driven.currents):
        yield NGSPICE.element(f"i_wave_{i}", (names[first], names[second]), wave(values))
    for i, (first, second, values) in enumerate(driven.conductances):
        ends = names[first], names[second]
        yield NGSPICE.element(f"v_slope_{i}", (f"_slope_{i}", "0"), wave(values))
        yield NGSPICE.behavioural(f"b_slope_{i}", ends, "i", f"v(_slope_{i})*(v({ends[0]})-v({ends[1]}))")
