"""A design: a designer's netlist, the circuit that it describes, and what of it learns."""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from analog_ep.circuit import Circuit, check_circuit
from analog_ep.designs.amplifiers import recognised
from analog_ep.designs.assembly import Assembly, assemble
from analog_ep.designs.diode_models import Conditions
from analog_ep.designs.includes import Files
from analog_ep.designs.marks import Bounds, Marks, Refuse, Wish, matching, output_pairs, read_marks
from analog_ep.designs.observers import without_observers
from analog_ep.designs.reading import read_elements
from analog_ep.designs.source import Card, Lines, SourceFile, split_lines
from analog_ep.designs.trainable import Trainable, listed, trainable_parts
from analog_ep.designs.writing import save_files, written_text
from analog_ep.errors import CircuitError, NetlistError
from analog_ep.networks import CircuitNetwork, ConductanceNetwork

Output = str | tuple[str, str]

Learnt = ConductanceNetwork | Tensor | Mapping[str, float]
"""What was learnt, see `Design.resistances`."""


@dataclass(frozen=True, eq=False)
class Design:
    """A designer's netlist as a circuit.

    Attributes
    ----------
    path : Path
        Of the netlist.
    circuit : Circuit
        What it describes, with inputs and outputs.
    nodes : dict of str to str
        Name in the circuit of each of the designer's nodes, in lower case and with its path.
    inputs : tuple of str
        Voltage sources that the inputs drive.
    outputs : tuple of (str, str)
        Nodes between which the outputs are taken.
    trainable : tuple of Trainable
        What is learnt, each with its range, and its place in the parameters of the network.
    notes : tuple of str
        What was passed over since it does nothing at rest, with its place.
    """

    path: Path
    circuit: Circuit
    nodes: Mapping[str, str]
    inputs: tuple[str, ...]
    outputs: tuple[tuple[str, str], ...]
    trainable: tuple[Trainable, ...]
    notes: tuple[str, ...]
    input_volts: np.ndarray
    cards: tuple[Card, ...] = field(repr=False)
    files: tuple[SourceFile, ...] = field(repr=False)
    conditions: Conditions = field(repr=False)

    @property
    def default_inputs(self) -> Tensor:
        """What the inputs' cards give, float64 `(n_inputs,)`. [V]"""
        return torch.from_numpy(self.input_volts.copy())

    @property
    def ranges(self) -> dict[str, Bounds]:
        """Range of the conductances of each parameter of the network. [S]"""
        return {part.parameter: part.bounds for part in self.trainable}

    def network(
        self,
        dtype: torch.dtype = torch.float64,
        reference_conductance: float | None = None,
        reciprocal: bool = True,
    ) -> CircuitNetwork:
        """The circuit as a network that learns its trainable conductances.

        They are one parameter, `weights`; where marks give several ranges those of each one are a parameter, `weights`,
        `weights2`, … in the order of the deck. The arguments are those of `CircuitNetwork`.

        Raises
        ------
        NetlistError
            If nothing is trainable, or there are no outputs.
        """
        if not self.trainable:
            raise NetlistError(f"{self.path}: a part must be trainable, found none; mark it: *@ train r_w* 1e-6 1e-4 S")
        if not self.outputs:
            raise NetlistError(f"{self.path}: a node must be an output, found none; mark it: *@ output NODE")
        return CircuitNetwork(
            self.circuit,
            self.ranges,
            reference_conductance=reference_conductance,
            dtype=dtype,
            reciprocal=reciprocal,
        )

    def voltages(self, node_voltages: Tensor) -> dict[str, Tensor]:
        """Voltages by the designer's names of the nodes, each `(*batch,)` [V], from those of all nodes.

        Parameters
        ----------
        node_voltages : Tensor (*batch, n_nodes)
            As `Equilibrium.node_voltages` gives them. [V]
        """
        return {
            name: node_voltages[..., self.circuit.node(safe)]
            for name, safe in self.nodes.items()
            if not name.startswith("(")
        }

    def resistances(self, learnt: Learnt) -> dict[str, float]:
        """Resistances by the path of the resistor. [Ω]

        Parameters
        ----------
        learnt : ConductanceNetwork, Tensor or mapping
            The network; conductances `(n_trainable,)` in the order of `trainable` [S]; or resistances by name [Ω], of
            some of the parts.

        Raises
        ------
        NetlistError
            If a name is none of a trainable part, a value is not positive, or parts that share a line differ.
        """
        if isinstance(learnt, Mapping):
            return self._by_name(learnt)
        if isinstance(learnt, Tensor):
            siemens = learnt
        else:
            values = learnt.conductances
            siemens = torch.stack([values[part.parameter][part.index] for part in self.trainable])
        if siemens.shape != (len(self.trainable),):
            raise NetlistError(
                f"{self.path}: conductances must have shape ({len(self.trainable)},), found {tuple(siemens.shape)}"
            )
        values = siemens.detach().double().cpu().tolist()
        return {name: 1 / g for part, g in zip(self.trainable, values, strict=True) for name in part.names}

    def text(self, learnt: Learnt) -> str:
        """The designer's text with learnt values in place; see `resistances` for what they may be given as."""
        return written_text(self.files, self.trainable, self.resistances(learnt))

    def save(self, path: str | os.PathLike[str], learnt: Learnt) -> list[Path]:
        """Write the netlist with learnt values to a path, and what it includes beside it: see `save_files`."""
        return save_files(self.files, self.trainable, self.resistances(learnt), path)

    def _by_name(self, learnt: Mapping[str, float]) -> dict[str, float]:
        found = {name: 1 / part.siemens for part in self.trainable for name in part.names}
        wanted = {name.lower(): float(value) for name, value in learnt.items()}
        for name, value in wanted.items():
            if name not in found or not 0 < value < float("inf"):
                raise NetlistError(
                    f"{self.path}: a trainable part must have a positive resistance, found {value:g} for {name!r}"
                )
        for part in self.trainable:
            given = {wanted[name] for name in part.names if name in wanted}
            if len(given) > 1:
                raise NetlistError(
                    f"{part.origin.place}: {', '.join(part.names[:3])} share one number, found several for them"
                )
            if given:
                found.update(dict.fromkeys(part.names, given.pop()))
        return found


def read_netlist(
    path: str | os.PathLike[str],
    *,
    trainable: Sequence[str] | None = None,
    bounds: Bounds | Sequence[Bounds] | None = None,
    inputs: Sequence[str] | None = None,
    outputs: Sequence[Output] | None = None,
    folder: str | os.PathLike[str] | None = None,
) -> Design:
    """Read the SPICE netlist that a designer wrote, as ngspice reads it.

    Nothing in it is executed, and no file outside of `folder` is read. What nothing here can stand for ends in an error
    with its file and line; what does nothing at rest is listed in `notes`.

    Parameters
    ----------
    path : path
        The netlist. Its first line is the title.
    trainable : sequence of str, optional
        Names of resistors that learn, with ``*`` and ``?``; where given, marks in the deck do not count.
    bounds : (float, float), or sequence of (float, float), optional
        Range of their conductances, or one for each of the names; without it the one that the marks give. [S]
    inputs : sequence of str, optional
        Voltage sources that the inputs drive.
    outputs : sequence of str or (str, str), optional
        Nodes, or pairs of them, whose voltages are the outputs.
    folder : path, optional
        Holds all files that the netlist includes; by default its own.

    Raises
    ------
    NetlistError
        With file and line: if it cannot be read, or does not hold what is asked for.
    """
    file = SourceFile.read(Path(path))
    base = Path(os.path.realpath(folder if folder is not None else file.path.parent))
    lines = split_lines(file, is_main=True)
    return design_of(lines, Files(base), trainable, bounds, inputs, outputs)


def design_of(
    lines: Lines,
    files: Files,
    trainable: Sequence[str] | None,
    bounds: Bounds | Sequence[Bounds] | None,
    inputs: Sequence[str] | None,
    outputs: Sequence[Output] | None,
) -> Design:
    """The design of a deck that is split into lines; see `read_netlist`."""
    cards = tuple(files.cards(lines))
    marks = read_marks([mark for known in files.known.values() for mark in known.marks])
    _replace_marks(marks, lines.file.path, trainable, bounds, inputs, outputs)
    read = read_elements(cards)
    assembly, conditions, scope = read.assembly, read.conditions, read.scope
    if scope is None:
        raise NetlistError(f"{lines.file.path} must hold elements behind its title, found none")
    names = _inputs(marks, assembly)
    parts = trainable_parts(marks.trainable, assembly.resistors, scope)
    learnt = {name: part for part in parts for name in part.names}
    pairs = _outputs(marks, assembly)
    assembly = without_observers(assembly, _counting(assembly, names, pairs, learnt))
    amplifiers = recognised(assembly, names)
    assembled = assemble(assembly, lines.title, conditions.kelvin, learnt, names, pairs, amplifiers)
    skipped = [f"{known.file.path}, {note}" for known in files.known.values() for note in known.skipped]
    design = Design(
        lines.file.path,
        assembled.circuit,
        assembled.nodes,
        names,
        pairs,
        parts,
        (*skipped, *marks.notes, *read.notes, *assembly.notes),
        np.array([assembly.sources[name].value for name in names]),
        cards,
        tuple(known.file for known in files.known.values()),
        conditions,
    )
    _require_sound(design, assembly)
    return design


def _replace_marks(
    marks: Marks,
    path: Path,
    trainable: Sequence[str] | None,
    bounds: Bounds | Sequence[Bounds] | None,
    inputs: Sequence[str] | None,
    outputs: Sequence[Output] | None,
) -> None:
    """Put arguments in the place of marks."""

    def refuse(what: str) -> NetlistError:
        return NetlistError(f"{path}: {what}")

    if trainable is not None:
        ranges = {wish.bounds for wish in marks.trainable}
        marked = ranges.pop() if len(ranges) == 1 else None
        marks.trainable = [Wish(name.lower(), refuse, marked) for name in trainable]
    if bounds is not None:
        pairs = _bounds_of_each(bounds, len(marks.trainable), refuse)
        marks.trainable = [replace(wish, bounds=pair) for wish, pair in zip(marks.trainable, pairs, strict=True)]
    if inputs is not None:
        marks.inputs = [Wish(name.lower(), refuse) for name in inputs]
    if outputs is not None:
        pairs = [p for o in outputs for p in ([(o[0], o[1])] if not isinstance(o, str) else [(o, "")])]
        flat = output_pairs([p if not n else f"{p},{n}" for p, n in pairs])
        marks.outputs = [(Wish(p, refuse), n) for p, n in flat]
    if any(wish.bounds is None for wish in marks.trainable):
        raise refuse("trainable parts must have a range, found none; give bounds=(1e-6, 1e-4), in siemens")


def _bounds_of_each(bounds: Bounds | Sequence[Bounds], count: int, refuse: Refuse) -> list[Bounds]:
    """A range for each name that learns: the same for all, or one each. [S]"""
    shared = [float(bound) for bound in bounds if isinstance(bound, int | float)]
    pairs = [bound for bound in bounds if not isinstance(bound, int | float)]
    if shared:
        pairs = [(shared[0], shared[-1])] * count
    if len(pairs) != count or len(shared) not in (0, 2):
        raise refuse(f"bounds must be one range or {count}, one for each name that learns, found {bounds}")
    for low, high in pairs:
        if not 0 < low < high < float("inf"):
            raise refuse(f"bounds must be 0 < g_min < g_max, found {low} and {high} S")
    return [(float(low), float(high)) for low, high in pairs]


def _counting(
    assembly: Assembly, inputs: tuple[str, ...], outputs: tuple[tuple[str, str], ...], learnt: Collection[str]
) -> list[str]:
    """Nodes of outputs, inputs and what learns; none where there are no outputs, so that every node is looked at."""
    if not outputs:
        return []
    branches = [assembly.sources[name] for name in inputs] + [
        branch for branch in assembly.resistors if branch.element.name in learnt
    ]
    return [node for pair in (*outputs, *(b.nodes for b in branches)) for node in pair]


def _inputs(marks: Marks, assembly: Assembly) -> tuple[str, ...]:
    found: list[str] = []
    for wish in marks.inputs:
        names = matching(wish.name, [n for n in assembly.sources if n not in assembly.inductors], whole=True)
        if not names:
            raise wish.refuse(
                f"an input must be a voltage source, found none called {wish.name!r}; there are "
                f"{listed(n for n in assembly.sources if n not in assembly.inductors)}"
            )
        found += names
    twice = next((name for i, name in enumerate(found) if name in found[:i]), None)
    if twice is not None:
        raise marks.inputs[0].refuse(f"a source must be an input once, found {twice!r} twice")
    return tuple(found)


def _outputs(marks: Marks, assembly: Assembly) -> tuple[tuple[str, str], ...]:
    known = {name: name for name in assembly.first_use if not name.startswith("(")}
    known |= {"0": "0", "gnd": "0"}
    for wish, reference in marks.outputs:
        for node in (wish.name, reference):
            if node not in known:
                raise wish.refuse(f"an output must be a node, found none called {node!r}; there are {listed(known)}")
        if known[wish.name] == known[reference]:
            raise wish.refuse(f"an output must be between two nodes, found {wish.name!r} twice")
    return tuple((known[wish.name], known[reference]) for wish, reference in marks.outputs)


def _require_sound(design: Design, assembly: Assembly) -> None:
    """Raise where the circuit has no equilibrium, with the line of a node at fault."""
    try:
        check_circuit(design.circuit)
    except CircuitError as error:
        back = {safe: name for name, safe in design.nodes.items()}
        words = re.findall(r"'(\w+)'", str(error)) + re.findall(r"\w+", str(error).partition("such as ")[2])
        node = next((back[word] for word in words if word in back and word != "0"), None)
        if node is None:
            raise NetlistError(f"{design.path}: {error}") from None
        shown = f" (node {node!r})" if design.nodes[node] != node else ""
        raise assembly.first_use[node].refuse(f"{error}{shown}") from None
