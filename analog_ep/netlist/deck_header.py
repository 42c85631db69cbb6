"""The comments at the head of a deck: what it is, how to run it, what it prints, and for which sample."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from analog_ep.circuit import Circuit
from analog_ep.netlist.dialects import NGSPICE, Dialect
from analog_ep.netlist.lesson import Lesson
from analog_ep.netlist.nudge_cards import NudgeCurrent
from analog_ep.netlist.texts import in_celsius, number
from analog_ep.netlist.timing import LearningTiming, TwoPhaseTiming
from analog_ep.stimulus import Nudge

_SOLVES = {
    "free": "It solves the free phase: inputs held, outputs open.",
    "nudged": "It solves the nudged phase: inputs held, currents into the outputs.",
    "both": "It solves the free phase (outputs open) and the nudged phase (currents into the outputs).",
}
_PRINTS_CHANGES = (
    "It prints contrast_<branch>_<sample>, half the difference of the squares of a branch's nudged and free voltages "
    "in V^2, and delta_<branch>_<sample>, by what each trainable conductance should change, in S."
)
_PRINTS_RESPONSES = (
    "It prints free_<node>_<sample> and response_<node>_<sample>, the free voltage v0 and the response d of each node "
    "in V. A conductance between nodes i and j of the stage with weight w should change by -rate w/(w_L beta) "
    "(d_i - d_j) ((v0_i - v0_j) + (d_i - d_j)/2), where a node that a source holds has d = 0; below are w/(w_L beta) "
    "by stage."
)

_MAX_LISTED = 32
"""Values that a line of the header lists; longer ones stand on the cards alone."""


def header(
    circuit: Circuit,
    sample: np.ndarray,
    nudge: Nudge | None,
    currents: Sequence[NudgeCurrent],
    phase: str,
    dialect: Dialect,
) -> Iterator[str]:
    """Comment lines for one sample `(n_inputs,)` [V] of a circuit and its nudge currents, if any."""
    energy = "the energy v(energy) [W], where the circuit has one; " if dialect.has_energy else ""
    subcircuits = "; x_ elements are subcircuits" if dialect.has_library else ""
    paragraphs = [
        "One sample of a circuit that learns by equilibrium propagation.",
        dialect.how_to_run,
        _SOLVES[phase],
        f"{dialect.prints} In them: {energy}the differential outputs [V]; node voltages [V].",
        f"Names: an element is its letter, its group and its index in the group{subcircuits}. _p and _n are the two "
        "sides of a differential signal.",
        f"Size: {circuit.n_nodes - 1} nodes, {circuit.n_branches} branches.",
        _temperature(circuit, dialect.has_energy, currents),
        *_layers(circuit),
        _listed("Inputs [V]", sample.tolist()),
        *_nudge(nudge, currents),
    ]
    for paragraph in paragraphs:
        yield from dialect.paragraph(paragraph)


def samples_header(
    circuit: Circuit, samples: np.ndarray, targets: np.ndarray | None, dialect: Dialect
) -> Iterator[str]:
    """Comment lines of a deck that shows samples `(n_samples, n_inputs)` [V] in turn; every sample has one."""
    paragraphs = [
        "Samples in turn on a circuit that has learnt by equilibrium propagation: free phases, inputs held, outputs "
        "open. Nothing in it changes any more.",
        dialect.how_to_run,
        "It prints the differential outputs [V], a row a sample, whose number v-sweep is.",
        f"Size: {circuit.n_nodes - 1} nodes, {circuit.n_branches} branches.",
        _temperature(circuit, has_energy=False),
        *_layers(circuit),
        "Samples, inputs [V]" + (":" if targets is None else " -> what the outputs should be [V]; 1 for a class:"),
    ]
    for paragraph in paragraphs:
        yield from dialect.paragraph(paragraph)
    for index, sample in enumerate(samples[:_MAX_LISTED]):
        wanted = "" if targets is None else f" -> {_values(targets[index])}"
        yield from dialect.paragraph(f"{index}: {_values(sample)}{wanted}")
    if len(samples) > _MAX_LISTED:
        yield from dialect.paragraph("and so on, on the cards below.")


def _values(values: np.ndarray) -> str:
    if len(values) > _MAX_LISTED:
        return f"{len(values)} values"
    return " ".join(f"{value:.9g}" for value in values)


def _temperature(circuit: Circuit, has_energy: bool, currents: Sequence[NudgeCurrent] = ()) -> str:
    energy = ", and so does the energy" if has_energy else ""
    constant = currents and all(current.constant for current in currents)
    nudge = "; the constant currents of the nudge stay those of this temperature" if constant else ""
    return (
        f"Temperature: {in_celsius(circuit.temperature)} degrees Celsius. Where the simulation is given another, all "
        f"elements follow that say none of their own{energy}{nudge}."
    )


def _layers(circuit: Circuit) -> Iterator[str]:
    for name, nodes in circuit.layers.items():
        first, last = circuit.node_names[nodes[0]], circuit.node_names[nodes[-1]]
        yield f"Layer {name}: {len(nodes)} nodes, {first} to {last}."


def _nudge(nudge: Nudge | None, currents: Sequence[NudgeCurrent]) -> Iterator[str]:
    if nudge is None or not currents:
        return
    yield _listed("Target", nudge.target.tolist())
    yield f"Nudge: {nudge.kind}, beta = {number(nudge.strength)}, cost {type(nudge.cost).__name__}."
    if all(current.constant for current in currents):
        values = [float(current.expression) for current in currents]
        yield _listed("Nudge currents [A], computed from the outputs of the free phase", values)


def _listed(what: str, values: list[float]) -> str:
    if len(values) > _MAX_LISTED:
        return f"{what}: {len(values)} values, on the cards below."
    return f"{what}: {' '.join(f'{value:.9g}' for value in values) or 'none'}"


def settling_header(
    circuit: Circuit,
    sample: np.ndarray,
    nudge: Nudge | None,
    currents: Sequence[NudgeCurrent],
    duration: float,
    dialect: Dialect,
) -> Iterator[str]:
    """Comment lines of a deck in which one sample settles from rest, free and then nudged."""
    paragraphs = [
        "One sample of a circuit that learns by equilibrium propagation, settling from rest.",
        dialect.how_to_run,
        f"Every node begins at 0 V; after {duration:.9g} s v(phase) rises to 1 V and switches the nudge on."
        if nudge is not None
        else f"Every node begins at 0 V and is left alone for {duration:.9g} s.",
        "It prints free_<node>, the voltage at the end of the free phase, and nudged_<node>, at that of the nudged "
        "one, where there is one. [V]",
        f"Size: {circuit.n_nodes - 1} nodes, {circuit.n_branches} branches.",
        _temperature(circuit, False, currents),
        *_layers(circuit),
        _listed("Inputs [V]", sample.tolist()),
        *_nudge(nudge, currents),
    ]
    for paragraph in paragraphs:
        yield from dialect.paragraph(paragraph)


def adjoint_header(circuit: Circuit, nudge: Nudge, currents: Sequence[NudgeCurrent], dialect: Dialect) -> Iterator[str]:
    """Comment lines of a deck with the adjoint network of one sample."""
    paragraphs = [
        "The adjoint (inter-reciprocal) network of a circuit at the free state of one sample (Director, Rohrer 1969).",
        dialect.how_to_run,
        "Its nodes are those of the circuit. Amplifiers have gain and feedback exchanged, controlled sources run the "
        "other way, independent sources are zero, and nonlinear branches are conductances: their slopes at the free "
        "state. It is linear. Driven by -beta dC/do into the outputs it carries beta mu.",
        "It prints node voltages [V]; that of grad_<group>_<i> is the gradient dC/dp by element i of a group that "
        "learns: of a conductance its free voltage times its voltage mu here, in the cost's unit per S.",
        f"Size: {circuit.n_nodes - 1} nodes, {circuit.n_branches} branches.",
        *_layers(circuit),
        _listed("Target", nudge.target.tolist()),
        f"Drive: beta = {number(nudge.strength)}, cost {type(nudge.cost).__name__}.",
        _listed("Currents [A], computed from the outputs of the free state", [float(c.expression) for c in currents]),
    ]
    for paragraph in paragraphs:
        yield from dialect.paragraph(paragraph)


def transient_header(
    circuit: Circuit,
    nudge: Nudge,
    timing: TwoPhaseTiming,
    n_samples: int,
    factors: Mapping[str, np.ndarray],
    rate: str,
    dialect: Dialect,
) -> Iterator[str]:
    """Comment lines of a transient deck; `factors` are w_s/(w_L β) by crossbar where ΔG is left to the reader.

    `rate` is the factor from −∂C/∂g to ΔG and where it comes from.
    """
    unit = "/".join(filter(None, ("S^2", nudge.cost.unit)))
    paragraphs = [
        "The cycle of equilibrium propagation as one transient.",
        dialect.how_to_run,
        f"Samples: {n_samples}, each {timing.free:.9g} s free, then {timing.nudged:.9g} s nudged.",
        "In a sample the inputs change first; the stores follow the nodes while v(_track) is 1 V and keep the free "
        "voltages when it falls; then v(phase) rises to 1 V and switches the nudge on.",
        _PRINTS_RESPONSES if factors else _PRINTS_CHANGES,
        f"The rate from -dC/dg to a change, in {unit}: {rate}.",
        f"Nudge: {nudge.kind}, beta = {number(nudge.strength)}, cost {type(nudge.cost).__name__}.",
        f"Size: {circuit.n_nodes - 1} nodes, {circuit.n_branches} branches.",
        _temperature(circuit, False),
        *_layers(circuit),
        *(f"{name}: w/(w_L beta) = {' '.join(f'{f:.9g}' for f in values)}." for name, values in factors.items()),
    ]
    for paragraph in paragraphs:
        yield from dialect.paragraph(paragraph)


def learning_header(circuit: Circuit, lesson: Lesson) -> Iterator[str]:
    """Comment lines of a deck that learns by itself."""
    (epochs, learned), timing, nudge, rate = lesson.order.shape, lesson.timing, lesson.nudge, lesson.rate
    paragraphs = [
        "A network that learns by itself, by equilibrium propagation (arXiv:1602.05179).",
        "Run it with: ngspice -b FILE (checked with ngspice 39.3).",
        f"Epochs: {epochs} of {learned} presentations; then {len(lesson.examined)} samples once without learning.",
        _presentation(timing),
        "It prints cost_<epoch> and right_<epoch>, mean cost and share of right answers of the free phases of each "
        "epoch; cost_end and right_end after learning, and out_<output>_<sample> in V; weight_<branch>, the charges "
        "when learning ends, 0 V for the lowest conductance and 1 V for the highest, and conductance_<branch> in S.",
        f"The rate from -dC/dw to a change of the charge w: {number(rate)}.",
        f"Nudge: {nudge.kind}, beta = {number(nudge.strength)}, cost {type(nudge.cost).__name__}.",
        f"Size: {circuit.n_nodes - 1} nodes, {circuit.n_branches} branches, without the circuits that learn.",
        _temperature(circuit, False),
        *_layers(circuit),
    ]
    for paragraph in paragraphs:
        yield from NGSPICE.paragraph(paragraph)


def _presentation(timing: LearningTiming) -> str:
    if timing.at_once:
        return (
            f"Twins on the same charges: one is free, the other, whose names end in _twin, is always nudged. A "
            f"presentation: {timing.free:.9g} s in which both settle and stores follow them, {timing.write:.9g} s in "
            "which every conductance's own circuit changes it."
        )
    return (
        f"A presentation: {timing.free:.9g} s free, {timing.nudged:.9g} s nudged, {timing.write:.9g} s in which every "
        "conductance's own circuit changes it. In the free phase stores follow the nodes, and keep its voltages when "
        "it ends; then the nudge is switched on."
    )
