"""What a vendor's or designer's netlist defines: a diode's model, or a subcircuit with two pins."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from analog_ep.calibration.solver.cards import assignments, model_parts, parts_of, plain_model
from analog_ep.calibration.solver.expansion import require_small, subcircuit_of
from analog_ep.calibration.solver.lines import Line, read_lines
from analog_ep.errors import CircuitError, DataError
from analog_ep.netlist.dialects import NGSPICE
from analog_ep.ngspice.languages import ELEMENTS

_HARMLESS = ("model", "subckt", "ends", "param", "func")
_BETWEEN_NAMES = re.compile(r"[\s=(){},'\"]")
_BETWEEN_VARIABLES = re.compile(r"[^\w.]")
_MOST_SHOWN = 40


@dataclass(frozen=True)
class Device:
    """What a file defines.

    Attributes
    ----------
    text : str
        Cards that define it, a line each.
    name : str
        Of the model or subcircuit.
    is_model : bool
        Whether it is a ``.model`` of a diode.
    lines : tuple of Line
        Where the cards stand in the file.
    dropped : tuple of str
        Keys without electrical meaning that were left out.
    """

    text: str
    name: str
    is_model: bool
    lines: tuple[Line, ...] = ()
    dropped: tuple[str, ...] = ()

    def instance(self, name: str, anode: str, cathode: str) -> str:
        """Card of one such device."""
        return NGSPICE.instance(f"{'d' if self.is_model else 'x'}{name}", (anode, cathode), self.name, {})


@dataclass(frozen=True)
class Definition:
    """What stands together outside of subcircuits: one card, or a subcircuit; `kind` is empty where it is neither of
    the accepted ones.
    """

    kind: str
    names: tuple[str, ...]
    lines: tuple[Line, ...]

    @property
    def first(self) -> Line:
        """Where it begins."""
        return self.lines[0]


def read_device(path: Path, name: str | None = None) -> Device:
    """Read a file with a ``.model`` of a diode or a ``.subckt`` with two pins, anode and cathode.

    Only these cards, ``.param`` and ``.func`` may stand in it, and elements inside of subcircuits alone: nothing in the
    file can run a command or read another file. Where a name is given, what has nothing to do with it is passed over.

    Parameters
    ----------
    path : Path
        The netlist.
    name : str, optional
        Which model or subcircuit is meant, where there are several; by default the last subcircuit with two pins, or
        the last diode model where there is none.

    Raises
    ------
    DataError
        If the file cannot be read or defines no such device.
    CircuitError
        If it holds anything else, or would become too large.
    """
    definitions = definitions_of(read_lines(path))
    if name is None:
        for definition in definitions:
            _require_accepted(definition)
    models = [d.names[0] for d in definitions if d.kind == "model" and _is_diode(d, definitions)]
    subcircuits = [d.names[0] for d in definitions if d.kind == "subckt" and len(pins_of(d.first)) == 2]
    found = [*models, *subcircuits]
    if not found:
        raise DataError(f"{path} must define a .model NAME D(…) or a .subckt NAME ANODE CATHODE, found neither")
    chosen = found[-1] if name is None else name.lower()
    if chosen not in found:
        raise DataError(f"{path} defines {_listed(found)}, found {name!r} asked for")
    return _device(chosen, chosen not in subcircuits, definitions)


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(names[:_MOST_SHOWN])
    return f"{shown} and {len(names) - _MOST_SHOWN} more" if len(names) > _MOST_SHOWN else shown


def definitions_of(lines: Sequence[Line]) -> list[Definition]:
    """What stands together outside of subcircuits."""
    found: list[Definition] = []
    inside: list[Line] = []
    depth = 0
    for line in lines:
        depth += (line.kind == "subckt") - (line.kind == "ends" and depth > 0)
        if inside or line.kind == "subckt":
            inside.append(line)
            if depth == 0:
                found.append(Definition("subckt", (_name(inside[0]),), tuple(inside)))
                inside = []
        elif line.kind == "end":
            continue
        else:
            kind = line.kind if line.kind in ("model", "param", "func") else ""
            found.append(Definition(kind, _names(line, kind), (line,)))
    if inside:
        found.append(Definition("", (_name(inside[0]),), tuple(inside)))
    return found


def _name(line: Line) -> str:
    words = line.text.split(" ", 2)
    return words[1].lower() if len(words) > 1 else ""


def _names(line: Line, kind: str) -> tuple[str, ...]:
    if kind == "param":
        return tuple(assignments(parts_of(line.text.partition(" ")[2])))
    if kind == "func":
        return (line.text[len(".func") :].partition("(")[0].strip().lower(),)
    return (_name(line),) if kind else ()


def _require_accepted(definition: Definition) -> None:
    line = definition.first
    if definition.kind == "":
        if line.kind == "subckt":
            raise DataError(f"{line.place}: every .subckt must have its .ends, found 1 without")
        if line.kind == "ends":
            raise DataError(
                f"{line.place}: .ends must stand behind a .subckt, found it alone; take it out, or choose a definition "
                "by its name"
            )
        _refuse(line)
    for inner in definition.lines:
        if inner.kind and inner.kind not in _HARMLESS:
            _refuse(inner)
        inner.require_plain()
        if not inner.kind and inner.text[0].lower() not in ELEMENTS:
            raise CircuitError(
                f"{inner.place}: a deck may hold elements whose names begin with {', '.join(ELEMENTS)}, "
                f"found {inner.text[:40]!r}; take it out"
            )


def _refuse(line: Line) -> None:
    raise CircuitError(
        f"{line.place}: a device file may hold .{', .'.join(_HARMLESS)} and elements within a .subckt, "
        f"found {line.text[:40]!r}; take it out"
    )


def pins_of(line: Line) -> list[str]:
    """Pins of a ``.subckt``."""
    words = parts_of(line.text)[2:]
    for i, word in enumerate(words):
        if word == "=":
            return words[: i - 1]
        if word.lower().startswith("params:"):
            return words[:i]
    return words


def _is_diode(definition: Definition, definitions: Sequence[Definition], depth: int = 0) -> bool:
    kind = model_parts(definition.first)[1]
    if not kind.startswith("ako:"):
        return kind == "d"
    _, _, own = kind.partition(" ")
    bases = [d for d in definitions if d.kind == "model" and d.names[0] == kind[4:].split(" ")[0]]
    # Whether there is such a base is asked of the one that is chosen.
    return own == "d" or not bases or (depth < len(definitions) and _is_diode(bases[-1], definitions, depth + 1))


def _device(name: str, is_model: bool, definitions: Sequence[Definition]) -> Device:
    chosen = _needed(name, "model" if is_model else "subckt", definitions)
    for definition in chosen:
        _require_accepted(definition)
    models = {d.names[0]: d.first for d in chosen if d.kind == "model"}
    subcircuits = dict(pair for d in chosen if d.kind == "subckt" for pair in _subcircuits(d.lines))
    _require_defined(subcircuits)
    written, dropped = [], []
    for definition in chosen:
        for line in definition.lines:
            plain, keys = plain_model(line, models) if line.kind == "model" else (line, [])
            written.append(Line(".ends", line.number, line.file) if line.kind == "ends" else plain)
            dropped += [f"{key} ({line.place_of(key).rpartition(', ')[2]})" for key in keys]
    inner = [line for d in chosen for line in d.lines if line.kind == "func"]
    top = [d.first for d in chosen if d.kind != "subckt"]
    require_small("" if is_model else name, top, subcircuits, inner)
    return Device("\n".join(line.text for line in written), name, is_model, tuple(written), tuple(dropped))


def _needed(name: str, kind: str, definitions: Sequence[Definition]) -> list[Definition]:
    """The definition, and those that it names, in the file's order."""
    words, chosen = {name}, {}
    by_name: dict[str, list[Definition]] = {}
    for definition in definitions:
        for own in definition.names:
            by_name.setdefault(own, []).append(definition)
    open_words = {name}
    while open_words:
        word = open_words.pop()
        for definition in by_name.get(word, []):
            if id(definition) in chosen or (word == name and definition.kind != kind):
                continue
            chosen[id(definition)] = definition
            for line in definition.lines:
                text = line.text.lower().replace("ako:", "ako: ")
                new = {*_BETWEEN_NAMES.split(text), *_BETWEEN_VARIABLES.split(text)} - words
                words |= new
                open_words |= new
    _require_once(list(chosen.values()))
    return sorted(chosen.values(), key=lambda definition: definition.first.number)


def _require_once(definitions: Sequence[Definition]) -> None:
    places: dict[tuple[str, str], Definition] = {}
    for definition in definitions:
        if definition.kind in ("model", "subckt"):
            key = (definition.kind, definition.names[0])
            other = places.setdefault(key, definition)
            if other is not definition and [x.text for x in other.lines] != [x.text for x in definition.lines]:
                raise DataError(
                    f"{definition.first.place}: a .{key[0]} must stand once, found {key[1]!r} in line "
                    f"{other.first.number} too; take one out"
                )


def _subcircuits(lines: Sequence[Line]) -> list[tuple[str, list[Line]]]:
    """Name and cards of a subcircuit and of those that it defines within; what is within counts to all around it."""
    found: list[tuple[str, list[Line]]] = []
    open_ones: list[list[Line]] = []
    for line in lines:
        if line.kind == "subckt":
            open_ones.append([])
            found.append((_name(line), open_ones[-1]))
        for cards in open_ones:
            cards.append(line)
        if line.kind == "ends":
            open_ones.pop()
    return found


def _require_defined(subcircuits: dict[str, list[Line]]) -> None:
    for lines in subcircuits.values():
        for line in lines:
            called = subcircuit_of(line) if not line.kind and line.text[0] in "xX" else ""
            if called and called not in subcircuits:
                raise DataError(f"{line.place}: {called!r} must be a .subckt of this file, found none")
