"""The cycle of equilibrium propagation as one transient: samples, free phase, nudge, and the ΔG that follow."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

import numpy as np
import torch
from torch import Tensor

from analog_ep.circuit import ChargeLaw, Circuit, check_circuit
from analog_ep.circuit.energy import held_nodes
from analog_ep.errors import StimulusError
from analog_ep.netlist.contrast import contrast_factors
from analog_ep.netlist.deck_header import transient_header
from analog_ep.netlist.deck_sections import DeckSections, nodes_to_store
from analog_ep.netlist.dialects import DIALECTS, DialectName, transients_of
from analog_ep.netlist.netlist import SpiceOptions
from analog_ep.netlist.nudge_cards import current_cards, current_expressions, switched
from analog_ep.netlist.texts import number
from analog_ep.netlist.timing import TwoPhaseTiming
from analog_ep.stimulus import Nudge

MOST_BRANCHES = 2000
"""Trainable branches up to which the deck computes each ΔG; beyond it prints what they follow from, node by node."""

USUAL_SHARE = 0.01
"""Largest ΔG at the usual rate, as a share of the range of the conductances."""

_TRTOL = 1000
"""With it the steps are those of reltol 1e-6, while the equations of each step are solved to the tight tolerances."""

_STORE_FARADS = 1e-12
_TRACKED = 50.0
"""Time constants of the store in a free phase."""

_STEPS = 50
"""Steps of a phase at least."""


def write_transient_deck(
    circuit: Circuit,
    inputs: Tensor | np.ndarray,
    nudge: Nudge,
    timing: TwoPhaseTiming,
    *,
    rate: float,
    rate_from: str = "as it was asked for",
    include_from: str | None = None,
    options: SpiceOptions | None = None,
    most_branches: int = MOST_BRANCHES,
    dialect: DialectName = "ngspice",
) -> str:
    r"""Write a deck that presents samples in turn and measures what every conductance should change by.

    In each sample the sources show its inputs, the network settles, sample-and-hold subcircuits keep the free voltages
    of the nodes, the nudge is switched on, and at its end

    .. math:: \Delta g = -\eta\, \frac{w_s}{w_L \beta}\, \tfrac12 \left[(v^\beta)^2 - (v^0)^2\right]

    is measured for each trainable branch, with η the rate and w the energy weights. A frozen nudge takes its error
    from the held outputs, as hardware does. Plain ``ngspice -b FILE`` prints ``contrast_<branch>_<sample>`` [V²], which
    is ½ [(v^β)² − (v⁰)²], and ``delta_<branch>_<sample>`` [S]. A deck of
    more than `most_branches` branches prints for each of their nodes ``free_<node>_<sample>`` and
    ``response_<node>_<sample>`` [V] instead, from which every ΔG follows.

    Parameters
    ----------
    circuit : Circuit
        With node capacitances: nodes without one follow at once.
    inputs : Tensor or ndarray (n_samples, n_inputs)
        Samples in the order of their presentation. [V]
    nudge : Nudge
        With targets `(n_samples, n_outputs)`.
    timing : TwoPhaseTiming
        Long enough for the network to settle: the deck cannot know.
    rate : float
        η, the factor from −∂C/∂g to ΔG, positive; a ``.param`` of the deck, see `usual_rate`. [S²/V²] for
        `SquaredError`, [S²] for `CrossEntropy`
    rate_from : str
        Where it comes from, for the header.
    include_from : str, optional
        See `write_deck`.
    options : SpiceOptions, optional
        Tolerances; the defaults resolve responses to a nudge.
    most_branches : int
        Trainable branches up to which the deck computes ΔG itself.
    dialect : str
        The simulator to write for, one of `with_transients`. VACASK prints the same by Python, with the waveforms in
        ``transient.raw``.

    Raises
    ------
    CircuitError
        If the circuit has no equilibrium, see `check_circuit`, no netlist can carry it, or the dialect has no
        transients.
    EnergyUnavailableError
        If it has no energy, without which there are no weights.
    StimulusError
        If shapes do not fit, nothing is trainable, no node has a capacitance, β is zero, or the rate is not positive.
    """
    check_circuit(circuit)
    if not 0 < rate < float("inf"):
        raise StimulusError(f"the rate from -dC/dg to a change must be positive and finite, found {rate}")
    transients = transients_of(DIALECTS[dialect])
    samples = _samples(circuit, inputs, nudge)
    deck = DeckSections(circuit, samples[0], options, DIALECTS[dialect])
    cycle = _Cycle(deck, samples, nudge, timing)
    alone = sum(map(len, circuit.trainable_groups())) <= most_branches
    lines = [
        deck.writer.title_card(),
        *cycle.header(alone, rate, rate_from),
        *deck.settings(),
        transients.integration(_TRTOL),
        *deck.libraries(include_from, {"sample_hold.lib": {"sample_hold"}}),
        *deck.elements(cycle.driven_sources()),
        *cycle.clocks(),
        *cycle.stores(),
        *cycle.nudge_cards(),
        *(cycle.changes(rate) if alone else cycle.responses()),
        *cycle.analysis(),
        deck.dialect.end(),
    ]
    return "\n".join(deck.dialect.finished(lines)) + "\n"


class _Cycle:
    """The parts of the deck that know about time, samples and phases."""

    def __init__(self, deck: DeckSections, samples: np.ndarray, nudge: Nudge, timing: TwoPhaseTiming):
        self.deck, self.samples, self.nudge, self.timing = deck, samples, nudge, timing
        self.dialect, self.transients = deck.dialect, transients_of(deck.dialect)
        self.circuit, self.names = deck.circuit, deck.circuit.node_names
        self.factors, self.held = contrast_factors(self.circuit, nudge), held_nodes(self.circuit)
        self.stored = nodes_to_store(self.circuit, self.held)

    def header(self, alone: bool, rate: float, rate_from: str) -> Iterator[str]:
        factors = {} if alone else {label: np.unique(values) for label, values in self.factors.items()}
        named = f"{number(rate)}, {rate_from}"
        timing, dialect = self.timing, self.dialect
        return transient_header(self.circuit, self.nudge, timing, len(self.samples), factors, named, dialect)

    def driven_sources(self) -> dict[str, list[str]]:
        """Cards of the sources whose values are not the same for all samples."""
        return self.deck.driven_sources(self.samples, self._source)

    def clocks(self) -> Iterator[str]:
        timing, track, phase = self.timing, [(0.0, 1.0)], [(0.0, 0.0)]
        for sample in range(len(self.samples)):
            begin, edge = sample * timing.period, timing.edge
            if sample:
                track += [(begin, 0.0), (begin + edge, 1.0)]
                phase += [(begin, 1.0), (begin + edge, 0.0)]
            hold = begin + timing.free
            track += [(hold - 2 * edge, 1.0), (hold - edge, 0.0)]
            phase += [(hold, 0.0), (hold + edge, 1.0)]
        waveform, form = self.dialect.waveform, self.transients.waveform
        cards = [waveform("v_track", ("_track", "0"), form(track)), waveform("v_phase", ("phase", "0"), form(phase))]
        yield from self.deck.section(
            "clocks: the stores follow at v(_track) = 1 V, the nudge is on at v(phase) = 1 V", cards
        )

    def stores(self) -> Iterator[str]:
        farads, ohms = number(_STORE_FARADS), number(self.timing.free / _TRACKED / _STORE_FARADS)
        stores = ((self.names[i], self._store(i)) for i in self.stored)
        if self.dialect.has_library:
            cards = (f"x_hold_{a} {a} {out} _track sample_hold c={farads} r_on={ohms}" for a, out in stores)
        else:
            cards = (card for a, out in stores for card in self._store_elements(a, out, farads, ohms))
        yield from self.deck.section("stores of the free voltages", cards)

    def _store_elements(self, node: str, out: str, farads: str, ohms: str) -> Iterator[str]:
        """What the library's sample_hold consists of."""
        store, current = f"_store_{node}", f"v(_track)*(v({node})-v(_store_{node}))/{ohms}"
        yield self.dialect.behavioural(f"b_hold_{node}", ("0", store), "i", current)
        yield self.dialect.element(f"c_hold_{node}", (store, "0"), farads)
        yield self.dialect.element(f"e_hold_{node}", (out, "0", store, "0"), "1.0")

    def nudge_cards(self) -> Iterator[str]:
        assert self.circuit.outputs is not None
        targets = self.nudge.target.detach().to("cpu", torch.float64).numpy()
        pairs = [(int(p), int(n)) for p, n in zip(*self.circuit.outputs, strict=True)]
        cards = [self._source(f"v_target_{i}", (f"_target_{i}", "0"), targets[:, i]) for i in range(len(pairs))]
        name = self._store if self.nudge.kind == "frozen" else self.names.__getitem__
        outputs = [f"v({name(p)},{name(n)})" for p, n in pairs]
        currents = current_expressions(self.nudge, outputs, [f"v(_target_{i})" for i in range(len(pairs))])
        own = [self.dialect.in_own_words(switched(current)) for current in currents]
        cards += current_cards(self.names, pairs, own, "b_phase", self.dialect)
        source = "the stored outputs" if self.nudge.kind == "frozen" else "the live outputs"
        yield from self.deck.section(f"nudge: its error is that of {source}", cards)

    def changes(self, rate: float) -> Iterator[str]:
        """The contrast of every trainable branch as a voltage, its measurement, and the ΔG that follows."""
        yield from self.deck.section(
            "what each conductance should change by", [self.transients.parameter("rate", rate)]
        )
        for group in self.circuit.trainable_groups():
            stems = [f"{group.label}_{i}" for i in range(len(group))]
            ends = zip(group.positive.tolist(), group.negative.tolist(), strict=True)
            for stem, (a, b) in zip(stems, ends, strict=True):
                live, held = f"v({self.names[a]},{self.names[b]})", f"v({self._store(a)},{self._store(b)})"
                # Times 1/β in the circuit, rounding would exceed the tolerances, and the steps would never grow again.
                contrast = f"0.5*({live}-{held})*({live}+{held})"
                yield self.dialect.behavioural(f"b_contrast_{stem}", (f"_contrast_{stem}", "0"), "v", contrast)
            yield from self._measured(f"contrast_{stem}" for stem in stems)
            for stem, factor in zip(stems, self.factors[group.label].tolist(), strict=True):
                for sample in range(len(self.samples)):
                    change = f"-rate*({number(factor)})*contrast_{stem}_{sample}"
                    yield self.transients.computed(f"delta_{stem}_{sample}", change)

    def responses(self) -> Iterator[str]:
        """Response of every stored node, and the measurements of it and of the free voltage."""
        element, names = self.dialect.element, self.names
        cards = (
            element(f"e_response_{names[i]}", (f"_response_{names[i]}", "0", names[i], self._store(i)), "1.0")
            for i in self.stored
        )
        yield from self.deck.section("responses: live less stored voltages", cards)
        yield from self._measured(f"response_{self.names[i]}" for i in self.stored)
        yield from self._measured((f"free_{self.names[i]}" for i in self.stored), "hold")

    def analysis(self) -> Iterator[str]:
        timing = self.timing
        step, end = min(timing.free, timing.nudged) / _STEPS, len(self.samples) * timing.period
        yield from self.deck.section("analysis", [self.transients.transient(step, end, from_start=True)])

    def _measured(self, stems, node: str | None = None) -> Iterator[str]:
        """Measurements named as the nodes they look at, but for the first word where `node` gives another."""
        for stem in stems:
            seen = stem if node is None else f"{node}_{stem.partition('_')[2]}"
            for sample in range(len(self.samples)):
                yield self.transients.measured(f"{stem}_{sample}", f"v(_{seen})", self.timing.measured(sample))

    def _store(self, node: int) -> str:
        """Node that keeps a node's free voltage: itself where a source holds it."""
        return self.names[node] if self.held[node] else f"_hold_{self.names[node]}"

    def _source(self, name: str, nodes: tuple[str, str], values: np.ndarray) -> str:
        """A source that shows one value a sample."""
        if (values == values[0]).all():
            return self.dialect.element(name, nodes, number(values[0]))
        corners = [(0.0, float(values[0]))]
        for sample in range(1, len(values)):
            begin = sample * self.timing.period
            corners += [(begin, float(values[sample - 1])), (begin + self.timing.edge, float(values[sample]))]
        return self.dialect.waveform(name, nodes, self.transients.waveform(corners))


def usual_rate(
    circuit: Circuit, nudge: Nudge, free: np.ndarray, nudged: np.ndarray, spans: Mapping[str, float]
) -> float:
    """The rate with which the largest ΔG of some samples is 1 % of its parameter's span, rounded down to two digits.

    Parameters
    ----------
    circuit : Circuit
        With trainable conductances and an energy.
    nudge : Nudge
        What is between the phases.
    free, nudged : ndarray (n_samples, n_nodes)
        Node voltages of the phases. [V]
    spans : mapping of str to float
        By parameter. [S]
    """
    factors, largest = contrast_factors(circuit, nudge), 0.0
    for group, name, _ in circuit.trained_groups():
        before, after = (v[:, group.positive] - v[:, group.negative] for v in (free, nudged))
        change = factors[group.label] * 0.5 * (after - before) * (after + before)
        largest = max(largest, float(np.abs(change).max(initial=0.0)) / spans[name])
    # Without any error nothing changes, at whatever rate.
    rate = USUAL_SHARE / largest if largest else 1.0
    unit = 10.0 ** (math.floor(math.log10(rate)) - 1)
    return float(f"{math.floor(rate / unit) * unit:.1e}")


def _samples(circuit: Circuit, inputs: Tensor | np.ndarray, nudge: Nudge) -> np.ndarray:
    samples = torch.as_tensor(inputs).detach().to("cpu", torch.float64).numpy()
    if samples.ndim != 2 or samples.shape[1] != circuit.n_inputs or not len(samples):
        raise StimulusError(
            f"inputs must have shape (n_samples, {circuit.n_inputs}) with a sample at least, found {samples.shape}"
        )
    if not np.isfinite(samples).all():
        raise StimulusError("inputs must be finite, found NaN or infinity")
    if circuit.outputs is None:
        raise StimulusError(f"a nudge needs outputs, found none in {circuit.title!r}; declare them with set_outputs")
    shape = (len(samples), len(circuit.outputs[0]))
    if tuple(nudge.target.shape) != shape:
        raise StimulusError(f"the targets of the nudge must have shape {shape}, found {tuple(nudge.target.shape)}")
    if not circuit.trainable_groups():
        raise StimulusError(f"{circuit.title!r} must have trainable conductances, found none")
    if not circuit.of_kind(ChargeLaw):
        raise StimulusError(f"a transient needs node capacitances, found none in {circuit.title!r}; add Capacitors")
    return samples
