"""A batch as one `.dc` over a sample index.

ngspice orders its matrix anew for every operating point, but in a `.dc` only for the first: sources that are
piecewise-linear in the index make a batch many times faster than one run a sample.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np

from analog_ep.circuit import GROUND, NONE, Circuit, VoltageLaw, VoltageRows
from analog_ep.circuit.energy import held_nodes
from analog_ep.errors import CircuitError, NgspiceResultError, StimulusError
from analog_ep.netlist.dialects import DIALECTS, Analyses, analyses_of, sweeps_of
from analog_ep.netlist.dialects.sweeps import INDEX
from analog_ep.netlist.netlist import NetlistWriter, SpiceOptions, is_wide
from analog_ep.netlist.nudge_cards import current_cards, current_expressions, elastic_currents
from analog_ep.ngspice.engines import find_engine
from analog_ep.ngspice.norton import NortonReduction
from analog_ep.ngspice.process import Stop, has_klu, run_own
from analog_ep.stimulus import Nudge

SWEEP_OPTIONS = SpiceOptions(reltol=1e-12)
"""Tolerances of sweeps. With 1e-9 ngspice may stop one Newton step early, some 1e-9 |v| from the solution; the step
more costs 2 to 5 % of the iterations."""

_WIDE_RELTOL = 1e-9
"""What can be asked for where the last digits of voltages are rounding."""

_LONG_LIST = 2000
"""Vectors beyond which ngspice takes longer to find them than to write all."""

_INDEX_SOURCE = "vidx"


@dataclass(frozen=True, eq=False)
class Batch:
    """Samples and what is done to their outputs.

    Attributes
    ----------
    inputs : ndarray (n_samples, n_inputs)
        Inputs. [V]
    nudge : Nudge or None
        With targets `(n_samples, n_outputs)`; ngspice forms its currents.
    free_outputs : ndarray (n_samples, n_outputs) or None
        Where a frozen nudge takes its error. [V]
    frozen_currents : ndarray (n_samples, n_outputs) or None
        Constant currents into v₊ and out of v₋, in place of a nudge whose cost has no expression. [A]
    start : ndarray (n_samples, n_nodes) or None
        Node voltages at which the search for each sample's state begins. [V]
    """

    inputs: np.ndarray
    nudge: Nudge | None = None
    frozen_currents: np.ndarray | None = None
    start: np.ndarray | None = None
    free_outputs: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.inputs)

    @property
    def is_nudged(self) -> bool:
        """Whether currents flow into the outputs."""
        return self.nudge is not None or self.frozen_currents is not None

    def part(self, begin: int, end: int) -> Batch:
        """Some consecutive samples."""
        return self.at(slice(begin, end))

    def twice(self) -> Batch:
        """Every sample two times in a row."""
        return self.at(np.repeat(np.arange(len(self)), 2))

    def at(self, which: slice | np.ndarray) -> Batch:
        """The samples at these indices."""
        nudge, currents, start = self.nudge, self.frozen_currents, self.start
        if nudge is not None:
            nudge = Nudge(nudge.strength, nudge.target[which], nudge.cost, nudge.kind)
        currents, start, outputs = (
            None if values is None else values[which] for values in (currents, start, self.free_outputs)
        )
        return Batch(self.inputs[which], nudge, currents, start, outputs)


class Sweep:
    """One circuit, ready to be run for parts of a batch; the cards that the samples share are written once.

    Parameters
    ----------
    circuit : Circuit
        One that `check_circuit` accepts.
    options : SpiceOptions, optional
        Tolerances; by default, and for `SWEEP_OPTIONS`, those of `sweep_options`.
    reduction : NortonReduction, optional
        Of the circuit, to be run in its place; the voltages are the same.
    executable, timeout
        See `run_ngspice`.
    with_klu : bool
        Whether KLU is asked for where the engine has it; it has no ``.noise``.

    Attributes
    ----------
    written : Circuit
        What the deck holds: the circuit or its reduction.
    free : ndarray (n_free,)
        Nodes that no grounded independent source holds, and that the reduction did not fold.
    saved : list of str
        Their names as the engine's vectors.
    program : str
        What messages call the engine.
    dialect : Dialect
        In which the cards are written: the engine's.
    sweeps : Sweeps
        Its forms of batches.
    """

    def __init__(
        self,
        circuit: Circuit,
        options: SpiceOptions | None = None,
        reduction: NortonReduction | None = None,
        executable: str | Path | None = None,
        timeout: float | None = 600.0,
        with_klu: bool = True,
    ):
        self.circuit, self.reduction = circuit, reduction
        self.options = sweep_options(circuit) if options in (None, SWEEP_OPTIONS) else options
        self.executable, self.timeout = executable, timeout
        engine = find_engine(executable)
        self.program, self.dialect = engine.language.program, DIALECTS[engine.language.dialect]
        self.sweeps = sweeps_of(self.dialect)
        # Side by side, threads that write would all be late; in turn, ngspice runs the first deck meanwhile.
        self._turn = threading.Lock()
        self.written = circuit if reduction is None else reduction.circuit
        free = ~held_nodes(circuit)
        if reduction is not None:
            free[reduction.folded.nodes] = False
        self.free = np.flatnonzero(free)
        self.saved = [self.sweeps.vector(circuit.node_names[node]) for node in self.free]
        writer = NetlistWriter(self.written, lambda group: np.zeros(len(group)), self.options, self.dialect)
        shared, self._driven = [], []
        for group in self.written.groups:
            (self._driven if writer.follows_sources(group) else shared).append(group)
        cards, solver = [card for group in shared for card in writer.group_cards(group)], ()
        if with_klu and has_klu(engine):
            cards.sort(key=_after_sources)
            solver = self.sweeps.fast_solver
        self._shared = "\n".join(cards)
        title = self.dialect.comment("samples of one circuit")
        self._settings = "\n".join([title, writer.options_card(), *solver, *writer.model_cards()])

    @property
    def analyses(self) -> Analyses:
        """The further forms of the dialect, or `CircuitError` where the engine solves operating points alone."""
        return analyses_of(self.dialect)

    @property
    def _saves_all(self) -> bool:
        """Whether ngspice keeps all vectors: it compares each that is asked for with each that there is."""
        return len(self.saved) > _LONG_LIST and 2 * len(self.saved) > self.written.n_nodes

    def run(self, batch: Batch, stop: Stop | None = None) -> np.ndarray:
        """Voltages of all nodes for every sample, `(n_samples, n_nodes)`, from one run of ngspice. [V]

        Nodes that grounded independent sources hold are filled in; all others are ngspice's own. Each sample is
        searched for from the one before, or, where the batch has a `start`, from there, as a ``.nodeset`` has it.
        Keep to a few thousand samples a run: ngspice 39 crashes at 200 000 points.

        Raises
        ------
        StimulusError
            If currents or targets do not fit the circuit's outputs.
        NgspiceError
            If ngspice fails, or its result must not be believed.
        """
        voltages = held_voltages(self.circuit, batch.inputs)
        if not len(batch) or not len(self.free):
            return voltages
        started = batch.start is not None
        points = batch.twice() if started else batch
        with self._turn:
            analysis = self.sweeps.samples(_INDEX_SOURCE, len(points))
            deck = self.deck(points, [*self.nudge_cards(points), *self._pins(points), analysis], before=self._index())
        raw = run_own(deck, len(points), self.executable, self.timeout, stop)
        if not np.array_equal(raw.columns([self.sweeps.index_vector])[:, 0], np.arange(len(points))):
            raise NgspiceResultError(
                f"{self.program} must sweep the points 0…{len(points) - 1} in order, found another sweep"
            )
        found = raw.columns(self.saved)
        voltages[:, self.free] = found[1::2] if started else found
        if self.reduction is not None:
            self.reduction.folded.fill(voltages)
        return voltages

    def _index(self) -> Iterator[str]:
        """The source of the sample index.

        With a resistor and before all others, so that KLU finds the index's own row for it, see `_after_sources`: all
        rows that follow the index are those of the inputs, and of them it took the first.
        """
        yield self.dialect.element(_INDEX_SOURCE, (INDEX, "0"), "0.0")
        yield self.dialect.element("ridx", (INDEX, "0"), "1.0")

    def _pins(self, points: Batch) -> Iterator[str]:
        """Conductances that hold every free node at the start in even points and are gone in odd ones.

        A point of a ``.dc`` begins where the one before ended, so that this is a ``.nodeset`` for each sample.
        """
        if points.start is None:
            return
        names = self.circuit.node_names
        pinned = self._columns(np.tile([self.sweeps.pin, 0.0], len(points) // 2)[:, None])[0]
        yield self.dialect.behavioural("bpin", ("_pin", "0"), "v", str(pinned))
        for node, start in zip(self.free, self._columns(points.start[:, self.free]), strict=True):
            name, current = names[node], f"v(_pin)*(v({names[node]})-({start}))"
            yield self.dialect.behavioural(f"bpin_{name}", (name, "0"), "i", current)

    def deck(self, batch: Batch, analysis: Sequence[str], save: bool = True, before: Iterable[str] = ()) -> str:
        """The circuit with the sources of a batch, constant ones for a batch of one, and the cards of an analysis.

        Cards `before` stand before the circuit's own. Without `save` ngspice keeps every vector of its own choice,
        which a ``.noise`` needs.
        """
        circuit = self.written.with_groups(self._driven)
        values = partial(self._source_values, inputs=batch.inputs)
        writer = NetlistWriter(circuit, values, self.options, self.dialect)
        cards = [
            self._settings,
            *before,
            *writer.element_cards(),
            *self._norton_cards(batch.inputs),
            self._shared,
            *analysis,
            *([self.sweeps.save(self.saved)] if save and not self._saves_all else []),
            f"{self.dialect.end()}\n",
        ]
        return "\n".join(self.dialect.finished(cards))

    def nudge_cards(self, batch: Batch) -> Iterator[str]:
        """One source per output that carries the nudge's current from v₋ through itself into v₊."""
        if not batch.is_nudged:
            return
        outputs, names = self.circuit.outputs, self.circuit.node_names
        if outputs is None:
            raise StimulusError(
                f"a nudge needs outputs, found none in {self.circuit.title!r}; declare them with set_outputs"
            )
        if batch.frozen_currents is not None:
            currents = self._columns(batch.frozen_currents)
        else:
            assert batch.nudge is not None
            targets = [str(value) for value in self._columns(batch.nudge.target.numpy())]
            if batch.free_outputs is None:
                currents = elastic_currents(self.circuit, batch.nudge, targets)
            else:
                # As nodes, since an expression of a cost holds each output many times.
                held = [f"_free_{i}" for i in range(len(outputs[0]))]
                for node, value in zip(held, self._columns(batch.free_outputs), strict=True):
                    yield self.dialect.behavioural(f"b{node}", (node, "0"), "v", str(value))
                currents = current_expressions(batch.nudge, [f"v({node})" for node in held], targets)
        yield from current_cards(names, zip(*outputs, strict=True), currents, "bnudge", self.dialect)

    def held(self, batch: Batch) -> np.ndarray:
        """Voltages of the nodes that are not `free`, `(n_samples, n_nodes - n_free)`. [V]"""
        return np.delete(held_voltages(self.circuit, batch.inputs), self.free, axis=1)

    def _source_values(self, group: VoltageLaw, inputs: np.ndarray) -> list[float | str]:
        """Values over the samples; a source whose mirror image is there already has that one's, with a minus."""
        rows = group.rows()
        mirror = _mirror_images(rows)
        drawn = mirror == NONE
        values = np.empty(len(rows), dtype=object)
        values[drawn] = self._columns(rows.values(inputs)[:, drawn])
        for i in np.flatnonzero(~drawn):
            image = values[mirror[i]]
            name = self.circuit.node_names[rows.positive[mirror[i]]]
            values[i] = f"-v({name})" if isinstance(image, str) else -image
        return values.tolist()

    def _norton_cards(self, inputs: np.ndarray) -> Iterator[str]:
        if self.reduction is None:
            return
        names = self.circuit.node_names
        columns = self._columns(self.reduction.currents(held_voltages(self.circuit, inputs)))
        into = ((node, GROUND) for node in self.reduction.nodes)
        yield from current_cards(names, into, columns, "bnorton", self.dialect)

    def _columns(self, values: np.ndarray) -> list[float | str]:
        """Each column of `(n_samples, n_columns)`: a number where all samples agree, else an expression."""
        if not np.isfinite(values).all():
            raise CircuitError("a netlist carries finite numbers only, found NaN or infinity; check the values")
        index = [f"{i}," for i in range(len(values))]
        return [self._over_samples(column, index) for column in np.ascontiguousarray(values.T)]

    def _over_samples(self, column: np.ndarray, index: list[str]) -> float | str:
        if np.all(column == column[0]):
            return float(column[0])
        return self.sweeps.over_samples(index, map(repr, column.tolist()))


def sweep_options(circuit: Circuit) -> SpiceOptions:
    """Tolerances of a sweep: `SWEEP_OPTIONS`, or what rounding leaves of them.

    Beside a wire of 1 S, whose current is rounded to 1e-16 A, thousands of cells of 1e-7 S keep changing in their last
    digits from one iteration to the next: ngspice would go on to its last one, and then by steps of gmin.
    """
    return replace(SWEEP_OPTIONS, reltol=_WIDE_RELTOL) if is_wide(circuit) else SWEEP_OPTIONS


def _after_sources(card: str) -> bool:
    """Sorts sources and ammeters to the front.

    KLU first looks for a matrix without zeros on its diagonal, from the nodes in the order of the deck. The current of
    an ammeter that controls an F stands in three rows: with the F's node before its own nodes the search goes astray
    through all wires of a crossbar, and leaves a matrix with ten times the fill-in.
    """
    return not card.startswith("v")


def _mirror_images(rows: VoltageRows) -> np.ndarray:
    """For each source an earlier one of the opposite voltage for any inputs, `(n_elements,)`; `NONE` without one."""
    first: dict[tuple[int, float, float], int] = {}
    images = np.full(len(rows), NONE)
    sources = (rows.input, rows.volts, rows.scale, rows.negative)
    for i, (k, volts, scale, negative) in enumerate(zip(*(a.tolist() for a in sources), strict=True)):
        if k != NONE and negative == GROUND:
            images[i] = first.get((k, -volts, -scale), NONE)
            first.setdefault((k, volts, scale), i)
    return images


def held_voltages(circuit: Circuit, inputs: np.ndarray) -> np.ndarray:
    """Voltages `(n_samples, n_nodes)` of the nodes that grounded independent sources hold, NaN at the others. [V]"""
    voltages = np.full((len(inputs), circuit.n_nodes), np.nan)
    voltages[:, GROUND] = 0.0
    for rows in (group.rows() for group in circuit.of_kind(VoltageLaw)):
        if rows.is_source:
            values = rows.values(inputs)
            up, down = rows.negative == GROUND, rows.positive == GROUND
            voltages[:, rows.positive[up]] = values[:, up]
            voltages[:, rows.negative[down]] = -values[:, down]
    return voltages
