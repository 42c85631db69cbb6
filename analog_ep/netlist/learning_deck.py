"""A netlist that learns by itself: plain ngspice presents samples, and every conductance has its own update circuit."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import ClassVar

import numpy as np
import torch

from analog_ep.circuit import ChargeLaw, Circuit, ConductanceLaw, check_circuit
from analog_ep.circuit.energy import held_nodes
from analog_ep.circuit.twins import SUFFIX, Twins
from analog_ep.errors import StimulusError
from analog_ep.netlist.deck_header import learning_header
from analog_ep.netlist.deck_sections import DeckSections, nodes_to_store
from analog_ep.netlist.dialects import NGSPICE, analyses_of
from analog_ep.netlist.lesson import Lesson
from analog_ep.netlist.netlist import SpiceOptions
from analog_ep.netlist.nudge_cards import current_cards, current_expressions, switched
from analog_ep.netlist.texts import number
from analog_ep.stimulus import NudgeKind

_ANALYSES = analyses_of(NGSPICE)

_OPTIONS = SpiceOptions(reltol=1e-6, vntol=1e-9, abstol=1e-13)
"""Learning forgives what a comparison would not: another digit costs a third of the time more."""

_TRTOL = 200

_STORE_FARADS = 1e-12
_TRACKED = 25.0
"""Time constants of a store in a free phase."""

_STEPS = 4
"""Steps of a phase at least."""


def write_learning_deck(
    circuit: Circuit,
    lesson: Lesson,
    ranges: Mapping[str, tuple[float, float]],
    *,
    nominal: Circuit | None = None,
    fixed: Mapping[str, np.ndarray] | None = None,
    second: Circuit | None = None,
    options: SpiceOptions | None = None,
) -> str:
    r"""Write a deck in which the network learns while ngspice runs: ``ngspice -b FILE``, and nothing else.

    Samples and targets are presented in turn. In each presentation the network settles, sample-and-holds keep the free
    voltages, the nudge is switched on, and at its end every trainable branch's own circuit changes the charge that sets
    its conductance, by the difference of the squares of its two voltages: see `UpdateCells`. At the end samples are
    presented once more without learning. It prints ``cost_<epoch>`` and ``right_<epoch>``, mean cost and share of right
    answers of the free phases of each epoch; ``cost_end`` and ``right_end`` over all samples after learning;
    ``out_<output>_<sample>`` [V]; and ``weight_<branch>``, the charges when learning ends [V], and
    ``conductance_<branch>`` [S].

    Parameters
    ----------
    circuit : Circuit
        With node capacitances: nodes without one follow at once. Its conductances are where learning begins.
    lesson : Lesson
        What is presented, when, and how it is learnt from. The phases must be long enough for the network to settle:
        the deck cannot know.
    ranges : mapping of str to (float, float)
        Lowest and highest conductance by parameter. [S]
    nominal : Circuit, optional
        What the hardware was meant to be, where `circuit` is a chip of it: its cells lack or exceed their conductances
        by the same factor whatever the charge, and the gains of the updates are those of the nominal circuit.
    fixed : mapping of str to ndarray, optional
        By group, conductances that keep their value whatever their charge, as a chip's stuck and open cells do.
    second : Circuit, optional
        Of a lesson for twins (`TwinTiming`): the circuit that is nudged, beside `circuit`, which stays free; by default
        the same again. Its groups are called in `fixed` as in the deck, with `_twin` at the end.
    options : SpiceOptions, optional
        Tolerances.

    Raises
    ------
    CircuitError
        If the circuit has no equilibrium, see `check_circuit`, or no netlist can carry it; of twins, see `Twins.of`.
    EnergyUnavailableError
        If it has no energy, without which there are no weights.
    StimulusError
        If shapes do not fit, nothing is trainable, a conductance lies outside its range, no node has a capacitance, or
        no expression stands for the cost.
    """
    check_circuit(circuit)
    _require_fit(circuit, lesson)
    form = _TwinCycle if lesson.timing.at_once else _Cycle
    parts = form.circuits(circuit, circuit if second is None else second)
    deck = DeckSections(parts.circuit, lesson.inputs[0], options or _OPTIONS, NGSPICE)
    cycle = form(deck, parts, lesson, ranges, circuit if nominal is None else nominal, fixed or {})
    libraries = {"sample_hold.lib": {"sample_hold"}, "learning.lib": {"learning_charge", *form.cell_kinds}}
    lines = [
        deck.writer.title_card(),
        *learning_header(circuit, lesson),
        *deck.settings(),
        _ANALYSES.integration(_TRTOL),
        *deck.libraries(None, libraries),
        *deck.elements(cycle.driven_sources() | cycle.cells()),
        *cycle.charges(),
        *cycle.clocks(),
        *cycle.stores(),
        *cycle.nudge_cards(),
        *cycle.meters(),
        *cycle.analysis(),
        deck.dialect.end(),
    ]
    return "\n".join(lines) + "\n"


class _Cycle:
    """The parts of the deck that know about time, samples and phases: one network runs both of these in turn."""

    cell_kinds: ClassVar[tuple[str, ...]] = ("learning_cell",)
    clock: ClassVar[dict[str, str]] = {"free": "_free", "nudged": "_nudged"}
    """When the stores of each phase follow."""

    def __init__(
        self,
        deck: DeckSections,
        parts: Twins,
        lesson: Lesson,
        ranges: Mapping[str, tuple[float, float]],
        nominal: Circuit,
        fixed: Mapping[str, np.ndarray],
    ):
        self.deck, self.lesson, self.timing, self.ranges = deck, lesson, lesson.timing, ranges
        self.nominal, self.fixed = nominal, fixed
        self.circuit, self.names = parts.free, deck.circuit.node_names
        self.nudged_of = parts.twin_of
        self.held = held_nodes(self.circuit)
        assert self.circuit.outputs is not None
        self.pairs = [(int(p), int(n)) for p, n in zip(*self.circuit.outputs, strict=True)]
        self.stored = nodes_to_store(self.circuit, self.held)

    @classmethod
    def circuits(cls, circuit: Circuit, second: Circuit) -> Twins:
        """What the deck holds."""
        return Twins(circuit, np.arange(circuit.n_nodes), circuit)

    def driven_sources(self) -> dict[str, list[str]]:
        """Cards of the sources whose values are not the same for all samples."""
        return self.deck.driven_sources(self.lesson.inputs, self._source)

    def cells(self) -> dict[str, list[str]]:
        """In place of every trainable conductance one with its update circuit."""
        cards, gains = {}, self.lesson.gains(self.nominal, self.ranges)
        amperes_per_volt = self.lesson.cells.capacitance / self.timing.written
        for group, name, index in self.circuit.trained_groups():
            k = gains[group.label] * self.lesson.cells.gains(group.label, len(group)) * amperes_per_volt
            offsets = self.lesson.cells.offsets(group.label, len(group))
            rows = zip(group.positive, group.negative, index, k, offsets, *self._bounds(group, name), strict=True)
            cards[group.label] = [
                f"x_{group.label}_{i} {self.names[p]} {self.names[n]} {self._store(p)} {self._store(n)} "
                f"{self._store(p, 'nudged')} {self._store(n, 'nudged')} _write {self._charge(name, place)} "
                f"learning_cell low={number(least)} high={number(most)} k={number(gain)} offset={number(offset)}"
                for i, (p, n, place, gain, offset, least, most) in enumerate(rows)
            ]
        return cards

    def _bounds(self, group: ConductanceLaw, name: str, suffix: str = "") -> Iterator[np.ndarray]:
        """Lowest and highest conductance of each element, whose nominal group has no suffix; a stuck cell is its own
        bounds. [S]
        """
        meant = {each.label: each.siemens for each in self.nominal.trainable_groups()}
        scales = group.siemens / meant[group.label.removesuffix(suffix)]
        stuck = self.fixed.get(group.label, np.zeros(len(group), dtype=bool))
        return (np.where(stuck, group.siemens, bound * scales) for bound in self.ranges[name])

    def charges(self) -> Iterator[str]:
        cells, found = self.lesson.cells, {}
        for group, name, index in self.nominal.trained_groups():
            low, high = self.ranges[name]
            for place, start in zip(index.tolist(), ((group.siemens - low) / (high - low)).tolist(), strict=True):
                found[self._charge(name, place)] = start
        values = f"learning_charge c={number(cells.capacitance)} leak={number(cells.leak)}"
        cards = (f"x_charge{node} {node} {values} start={number(start)}" for node, start in found.items())
        yield from self.deck.section("charges that stand for the conductances", cards)

    def clocks(self) -> Iterator[str]:
        timing, edge = self.timing, self.timing.edge
        waves = {
            "_free": (edge, timing.free - 4 * edge),
            **self._phase_waves(),
            "_judge": (timing.free + timing.nudged, timing.write - 4 * edge),
        }
        cards = [
            f"v_{name.strip('_')} {name} 0 {_ANALYSES.pulses(delay, edge, width, timing.period)}"
            for name, (delay, width) in waves.items()
        ]
        end = self.lesson.learning_time
        cards += [
            f"v_learn _learn 0 {_ANALYSES.waveform([(0.0, 1.0), (end, 1.0), (end + edge, 0.0)])}",
            "b_write _write 0 v=v(_judge)*v(_learn)",
        ]
        yield from self.deck.section(f"clocks: {self.clocks_do}; charges change at v(_write)", cards)

    clocks_do: ClassVar[str] = "stores follow at v(_free), v(_nudged); the nudge is on at v(phase)"

    def _phase_waves(self) -> dict[str, tuple[float, float]]:
        """Delay and width of the clocks of the nudged phase. [s]"""
        timing, edge = self.timing, self.timing.edge
        return {
            "phase": (timing.free, timing.nudged + timing.write - 2 * edge),
            "_nudged": (timing.free + edge, timing.nudged - 4 * edge),
        }

    def stores(self) -> Iterator[str]:
        for phase, clock in self.clock.items():
            ohms = number(self.timing.phases[clock.strip("_")] / _TRACKED / _STORE_FARADS)
            instance = f"{clock} sample_hold c={number(_STORE_FARADS)} r_on={ohms}"
            nodes = self.nudged_of if phase == "nudged" else np.arange(len(self.names))
            cards = (
                f"x{self._store(i, phase)} {self.names[nodes[i]]} {self._store(i, phase)} {instance}"
                for i in self.stored
            )
            yield from self.deck.section(f"stores of the {phase} voltages", cards)

    def nudge_cards(self) -> Iterator[str]:
        nudge = self.lesson.nudge
        targets = nudge.target.detach().to("cpu", torch.float64).numpy()
        cards = [self._source(f"v_target_{i}", (f"_target_{i}", "0"), targets[:, i]) for i in range(len(self.pairs))]
        outputs, source = self._judged_outputs(nudge.kind)
        currents = current_expressions(nudge, outputs, self._targets())
        nudged = [(int(self.nudged_of[p]), int(self.nudged_of[n])) for p, n in self.pairs]
        cards += current_cards(self.names, nudged, self._when(currents), "b_phase", NGSPICE)
        yield from self.deck.section(f"nudge: its error is that of {source}", cards)

    def _judged_outputs(self, kind: NudgeKind) -> tuple[list[str], str]:
        """Outputs whose error a nudge takes, and what they are."""
        name = self._store if kind == "frozen" else self.names.__getitem__
        what = "the stored outputs" if kind == "frozen" else "the live outputs"
        return [f"v({name(p)},{name(n)})" for p, n in self.pairs], what

    def _when(self, currents: Sequence[str]) -> Iterable[str]:
        """Currents of the nudge, when they flow."""
        return map(switched, currents)

    def meters(self) -> Iterator[str]:
        """Cost and rightness of the stored outputs, while they are judged."""
        outputs, targets = [f"v({self._store(p)},{self._store(n)})" for p, n in self.pairs], self._targets()
        cost = self.lesson.nudge.cost.value_expression(outputs, targets)
        if cost is None:
            raise StimulusError(
                f"a deck that learns prints its cost, which {type(self.lesson.nudge.cost).__name__} has no expression "
                "for; give it value_expression"
            )
        cards = [
            NGSPICE.behavioural("b_cost", ("_cost", "0"), "v", f"v(_judge)*({cost})"),
            NGSPICE.behavioural("b_right", ("_right", "0"), "v", f"v(_judge)*({_right(outputs, targets)})"),
            *(f"e_out_{i} _out_{i} 0 {self._store(p)} {self._store(n)} 1.0" for i, (p, n) in enumerate(self.pairs)),
        ]
        yield from self.deck.section("meters of the free outputs", cards)

    def analysis(self) -> Iterator[str]:
        lesson, timing = self.lesson, self.timing
        epochs, learned = lesson.order.shape
        charges = list(
            dict.fromkeys(self._charge(n, i) for _, n, index in self.circuit.trained_groups() for i in index)
        )
        saved = ["_cost", "_right", *(f"_out_{i}" for i in range(len(self.pairs))), *charges]
        yield from self.deck.section("what is printed", [])
        yield "\n+ ".join(textwrap.wrap(_ANALYSES.save(f"v({node})" for node in saved), 110, break_on_hyphens=False))
        for epoch in range(epochs):
            yield from self._judged(str(epoch + 1), epoch * learned, learned)
        if len(lesson.examined):
            yield from self._judged("end", lesson.order.size, len(lesson.examined))
        for i, sample in enumerate(lesson.examined):
            time = timing.judged(lesson.order.size + i)
            for output in range(len(self.pairs)):
                yield _ANALYSES.measured(f"out_{output}_{sample}", f"v(_out_{output})", time)
        for group, name, index in self.circuit.trained_groups():
            low, high = self.ranges[name]
            for i, place in enumerate(index):
                stem = f"{group.label}_{i}"
                yield _ANALYSES.measured(f"weight_{stem}", f"v({self._charge(name, place)})", lesson.learning_time)
                limited = f"min(max(weight_{stem},0),1)"
                yield _ANALYSES.computed(f"conductance_{stem}", f"{number(low)}+{number(high - low)}*{limited}")
        step = min(timing.phases.values()) / _STEPS
        # The last point may lie before the end by rounding, and nothing can be measured behind it.
        rest = 0.0 if len(lesson.examined) else step
        yield _ANALYSES.transient(step, lesson.duration + rest, from_start=True)

    def _judged(self, name: str, first: int, count: int) -> Iterator[str]:
        """Means over some presentations: of what stands at the meters while they judge, over that time."""
        begin, end = first * self.timing.period, (first + count) * self.timing.period
        for what in ("cost", "right"):
            yield _ANALYSES.integrated(f"sum_{what}_{name}", f"v(_{what})", begin, end)
            yield _ANALYSES.computed(f"{what}_{name}", f"sum_{what}_{name}/{number(count * self.timing.written)}")

    def _targets(self) -> list[str]:
        return [f"v(_target_{i})" for i in range(len(self.pairs))]

    def _store(self, node: int, phase: str = "free") -> str:
        """Node that keeps a node's voltage of a phase: itself where a source holds it."""
        return self.names[node] if self.held[node] else f"_{phase}_{self.names[node]}"

    @staticmethod
    def _charge(parameter: str, place: int) -> str:
        return f"_{parameter.replace('.', '_')}_{place}"

    def _source(self, name: str, ends: tuple[str, str], values: np.ndarray) -> str:
        return f"{name} {' '.join(ends)} {self._steps(values)}"

    def _steps(self, values: np.ndarray) -> str:
        """A source that shows the value of the sample that is presented."""
        if (values == values[0]).all():
            return number(values[0])
        shown, edge = values[self.lesson.presented].tolist(), self.timing.edge
        corners = [(0.0, shown[0])]
        for i in np.flatnonzero(np.diff(shown)) + 1:
            begin = float(i * self.timing.period)
            corners += [(begin, shown[i - 1]), (begin + edge, shown[i])]
        return _ANALYSES.waveform(corners)


class _TwinCycle(_Cycle):
    """The same of twins: the second network is nudged all the time, and both stand on the same charges."""

    cell_kinds = ("learning_cell", "learning_twin")
    clock = {"free": "_free", "nudged": "_free"}  # noqa: RUF012
    clocks_do = "all stores follow at v(_free)"

    def __init__(self, deck: DeckSections, parts: Twins, *arguments):
        super().__init__(deck, parts, *arguments)
        self.second = [each for each in parts.circuit.trained_groups() if each[0].label.endswith(SUFFIX)]

    @classmethod
    def circuits(cls, circuit: Circuit, second: Circuit) -> Twins:
        return Twins.of(circuit, second)

    def cells(self) -> dict[str, list[str]]:
        cards = super().cells()
        for group, name, index in self.second:
            rows = zip(group.positive, group.negative, index, *self._bounds(group, name, SUFFIX), strict=True)
            cards[group.label] = [
                f"x_{group.label}_{i} {self.names[p]} {self.names[n]} {self._charge(name, place)} "
                f"learning_twin low={number(least)} high={number(most)}"
                for i, (p, n, place, least, most) in enumerate(rows)
            ]
        return cards

    def _phase_waves(self) -> dict[str, tuple[float, float]]:
        return {}

    def _judged_outputs(self, kind: NudgeKind) -> tuple[list[str], str]:
        own = kind == "elastic"
        nodes = [(self.nudged_of[p], self.nudged_of[n]) if own else (p, n) for p, n in self.pairs]
        what = "the nudged twin's own outputs" if own else "the free twin's outputs"
        return [f"v({self.names[p]},{self.names[n]})" for p, n in nodes], what

    def _when(self, currents: Sequence[str]) -> Iterable[str]:
        return currents


def _right(outputs: Sequence[str], targets: Sequence[str]) -> str:
    """1 where the largest output is that of the largest target; of a single one, where it has the target's sign."""
    if len(outputs) == 1:
        return f"u(({outputs[0]})*{targets[0]})"
    return "+".join(f"u({_lead(outputs, i)})*u({_lead(targets, i)})" for i in range(len(outputs)))


def _lead(values: Sequence[str], i: int) -> str:
    """By how much one is larger than the others."""
    others = [value for j, value in enumerate(values) if j != i]
    largest = others[0]
    for other in others[1:]:
        largest = f"max({largest},{other})"
    return f"{values[i]}-({largest})"


def _require_fit(circuit: Circuit, lesson: Lesson) -> None:
    if lesson.inputs.shape[1] != circuit.n_inputs:
        raise StimulusError(f"samples must have {circuit.n_inputs} inputs, found {lesson.inputs.shape[1]}")
    if circuit.outputs is None:
        raise StimulusError(f"a nudge needs outputs, found none in {circuit.title!r}; declare them with set_outputs")
    if lesson.nudge.target.shape[-1] != len(circuit.outputs[0]):
        raise StimulusError(
            f"a target must have {len(circuit.outputs[0])} values, found {lesson.nudge.target.shape[-1]}"
        )
    if not circuit.trainable_groups():
        raise StimulusError(f"{circuit.title!r} must have trainable conductances, found none")
    if not circuit.of_kind(ChargeLaw):
        raise StimulusError(f"a transient needs node capacitances, found none in {circuit.title!r}; add Capacitors")
