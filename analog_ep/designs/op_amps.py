"""Ideal bidirectional amplifiers of a circuit, wired from operational amplifiers and resistors."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from analog_ep.circuit import Branches, Circuit, VoltageLaw
from analog_ep.circuit.copies import moved
from analog_ep.circuit.drawing import require_spread, stream
from analog_ep.designs.assembly import Recognised, assemble
from analog_ep.designs.definitions import sort_cards
from analog_ep.designs.includes import Files
from analog_ep.designs.reading import read_elements
from analog_ep.designs.source import Card, SourceFile, split_lines
from analog_ep.errors import CircuitError, NetlistError
from analog_ep.netlist.texts import number
from analog_ep.support.resources import netlists_folder

SUBCIRCUIT = "operational_amplifier"
PREFIX = "op_amps_"
"""Begins the labels of the groups that stand for amplifiers."""

_PIN = re.compile(r"n\d+")
"""Nodes of the circuit, by their numbers, among those of the amplifiers."""

_WORDS = Path("operational amplifiers")
"""What stands for the file in errors about cards that are written here."""


@dataclass(frozen=True)
class OpAmps:
    r"""Operational amplifiers of which a circuit's bidirectional amplifiers are wired.

    Each amplifier of gain a > 1 and feedback k becomes ``bidirectional_op_amps`` or, with two outputs ±a u,
    ``bidirectional_op_amp_pair`` of ``netlists/bidirectional_op_amps.lib``: three or five operational amplifiers. Gain,
    offset, poles and rails are those of the operational amplifiers; an error of the order of 1/gain in a and k follows.

    Attributes
    ----------
    parameters : mapping of str to float
        Of the subcircuit ``operational_amplifier``: of that of ``netlists/operational_amplifier.lib`` gain, bandwidth
        [Hz], slew [V/s], r_out [Ω], rail [V], second_pole [Hz].
    library : path, optional
        A designer's file with ``.subckt operational_amplifier inp inn out params: offset=0``, of elements that
        `read_netlist` reads; by default the one above.
    offset_spread : float
        Standard deviation of the parameter ``offset``, Gaussian, drawn anew for each operational amplifier. [V]
    seed : int
        Of the offsets.
    sense_resistance : float
        Over which the current of each output is sensed. [Ω]
    gain_resistance : float
        The smaller one of those that set the gain. [Ω]
    hold_capacitance, pump_capacitance : float
        Of the compensation of the followers, and of the current pumps. [F]
    node_capacitance : float
        Of the input and of each output; too little of it lets loops through several amplifiers oscillate. [F]

    Raises
    ------
    CircuitError
        If a value is not positive and finite, or the spread is negative.
    """

    parameters: Mapping[str, float] = field(default_factory=dict)
    library: str | os.PathLike[str] | None = None
    offset_spread: float = 0.0
    seed: int = 0
    sense_resistance: float = 1e6
    gain_resistance: float = 1e5
    hold_capacitance: float = 2e-12
    pump_capacitance: float = 0.5e-12
    node_capacitance: float = 1e-12

    def __post_init__(self):
        require_spread("offset", self.offset_spread)
        for name in ("sense_resistance", "gain_resistance", "hold_capacitance", "pump_capacitance", "node_capacitance"):
            if not 0 < getattr(self, name) < math.inf:
                raise CircuitError(f"{name} must be positive and finite, found {getattr(self, name)}")


def with_op_amps(circuit: Circuit, op_amps: OpAmps) -> Circuit:
    """The circuit with every ideal amplifier replaced by operational amplifiers and resistors.

    Old nodes keep their numbers, and other groups stay; the circuit is the new one's `ideal`. What replaces amplifier 3
    of the group ``amplifier1`` has nodes that begin with ``x_amplifier1_3_``.

    Parameters
    ----------
    circuit : Circuit
        With grounded amplifiers that amplify one node's voltage, from which they draw.
    op_amps : OpAmps
        What they are made of.

    Raises
    ------
    CircuitError
        If there is no amplifier, a gain is not above 1, an amplifier has an offset of its own, or amplifies something
        else than the node it draws from.
    NetlistError
        With the file and line, if the library cannot be read.
    """
    stages = _stages(circuit)
    if not stages:
        raise CircuitError(f"operational amplifiers need amplifiers to replace, found none in {circuit.title!r}")
    cards = (*library_of(op_amps.library).cards, *_cards(_text(stages, op_amps)))
    read = read_elements(cards, circuit.temperature)
    built = assemble(read.assembly, "", circuit.temperature, {}, (), (), Recognised(), PREFIX)
    inner = built.circuit
    pins = {inner.node(safe): int(name[1:]) for name, safe in built.nodes.items() if _PIN.fullmatch(name)}
    new = [node for node in range(1, inner.n_nodes) if node not in pins]
    node_of = np.zeros(inner.n_nodes, np.int64)
    node_of[list(pins)] = list(pins.values())
    node_of[new] = circuit.n_nodes + np.arange(len(new))
    kept = [group for group in circuit.groups if not _amplifies(group)]
    return replace(
        circuit,
        title=f"{circuit.title}, operational amplifiers",
        node_names=(*circuit.node_names, *(inner.node_names[node] for node in new)),
        groups=(*kept, *(moved(group, node_of) for group in inner.groups)),
        ideal=circuit,
    )


def outputs_of(circuit: Circuit) -> np.ndarray:
    """Output node of each operational amplifier, `(n_op_amps,)`: none but in a circuit that `with_op_amps` gave."""
    if circuit.ideal is None:
        # The same names may stand in a designer's netlist.
        return np.zeros(0, np.int64)
    return np.array([n for n, name in enumerate(circuit.node_names) if _OUTPUT.fullmatch(name)], np.int64)


@dataclass(frozen=True, eq=False)
class Library:
    """The file that defines the operational amplifier, and what it includes."""

    files: tuple[SourceFile, ...]
    cards: tuple[Card, ...]


def library_of(path: str | os.PathLike[str] | None) -> Library:
    """Read a designer's library, by default ``netlists/operational_amplifier.lib``.

    Raises
    ------
    NetlistError
        If it cannot be read, or has no subcircuit of that name.
    """
    path = Path(netlists_folder() / f"{SUBCIRCUIT}.lib" if path is None else path)
    lines = split_lines(SourceFile.read(path), is_main=False)
    files = Files(Path(os.path.realpath(path.parent)))
    cards = tuple(files.cards(lines))
    top = sort_cards(cards).top
    if top.subcircuit(SUBCIRCUIT) is None:
        raise NetlistError(f"{path} must have a .subckt {SUBCIRCUIT} inp inn out params: offset=0, found none")
    if top.elements:
        found = top.elements[0]
        raise found.refuse(f"a library must have subcircuits and models alone, found {found.text[:40]!r}")
    return Library(tuple(known.file for known in files.known.values()), cards)


class _Form(NamedTuple):
    """A subcircuit of ``bidirectional_op_amps.lib``, and the output nodes of its operational amplifiers, in order."""

    name: str
    drivers: tuple[str, ...]


_SINGLE = _Form("bidirectional_op_amps", ("drive", "driver", "pump"))
_PAIR = _Form("bidirectional_op_amp_pair", ("drive", "driver_p", "opposite", "driver_n", "pump"))


_OUTPUT = re.compile(rf"x_\w+_\d+_({'|'.join({*_SINGLE.drivers, *_PAIR.drivers})})")


@dataclass(frozen=True)
class _Stage:
    """One ideal amplifier: its name, its nodes, gain and feedback; `outputs` are one, or ±."""

    name: str
    input: int
    outputs: tuple[int, ...]
    gain: float
    feedback: float

    @property
    def form(self) -> _Form:
        return _SINGLE if len(self.outputs) == 1 else _PAIR


def _amplifies(group: Branches) -> bool:
    rows = group.rows()
    return rows is not None and rows.drawn_from is not None


def _stages(circuit: Circuit) -> list[_Stage]:
    return [stage for group in circuit.of_kind(VoltageLaw) if _amplifies(group) for stage in _stages_of(group)]


def _stages_of(group: VoltageLaw) -> Iterator[_Stage]:
    rows, which = group.rows(), group.stages()
    source, drawn, gain, feedback = rows.require_amplifiers(group.label)
    if rows.volts.any():
        raise CircuitError(f"{group.label}: amplifiers must have no offset of their own, found some; see offset_spread")
    if (source != drawn).any():
        raise CircuitError(f"{group.label}: amplifiers must draw from the nodes that they amplify, found others")
    for stage in range(int(which.max()) + 1):
        own = np.flatnonzero(which == stage)
        own = own[np.argsort(-gain[own], kind="stable")]
        a, k, signs = float(gain[own[0]]), float(feedback[own[0]]), np.array([1.0, -1.0])[: len(own)]
        if not a > 1 or not k > 0:
            raise CircuitError(
                f"{group.label}: amplifiers must have a gain above 1 and a positive feedback, found {a:g} and {k:g}"
            )
        if len(own) > 2 or not np.allclose(gain[own], a * signs) or not np.allclose(feedback[own], k * signs):
            raise CircuitError(f"{group.label}: the outputs of an amplifier must be ±a u, found others")
        outputs = tuple(int(node) for node in rows.positive[own])
        yield _Stage(f"x_{group.label}_{stage}", int(source[own[0]]), outputs, a, k)


def _text(stages: list[_Stage], op_amps: OpAmps) -> str:
    """Instances of all stages, behind the wiring that they are instances of."""
    wiring = (netlists_folder() / "bidirectional_op_amps.lib").read_text(encoding="ascii")
    given = "".join(f" {name}={number(value)}" for name, value in op_amps.parameters.items())
    wiring = wiring.replace(f" {SUBCIRCUIT} offset=", f" {SUBCIRCUIT}{given} offset=")
    shared = {
        "r_sense": op_amps.sense_resistance,
        "r_gain": op_amps.gain_resistance,
        "c_hold": op_amps.hold_capacitance,
        "c_pump": op_amps.pump_capacitance,
        "c_node": op_amps.node_capacitance,
    }
    offsets = iter(op_amps.offset_spread * stream(op_amps.seed, "op_amps.offset").standard_normal(5 * len(stages)))
    lines = [wiring]
    for stage in stages:
        own = {f"o{i}": next(offsets) for i, _ in enumerate(stage.form.drivers, start=1)}
        given = shared | {"a": stage.gain, "k": stage.feedback} | own
        words = " ".join(f"{name}={number(value)}" for name, value in given.items())
        nodes = " ".join(f"n{node}" for node in (stage.input, *stage.outputs))
        lines.append(f"{stage.name} {nodes} {stage.form.name} {words}")
    return "\n".join(lines) + "\n"


def _cards(text: str) -> tuple[Card, ...]:
    return split_lines(SourceFile(_WORDS, text, "ascii"), is_main=False).cards
