"""What defines one transistor in the files of a foundry: its cards alone, from one section of a library."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from analog_ep.calibration.solver.cards import model_parts
from analog_ep.calibration.solver.device import Definition, definitions_of, pins_of
from analog_ep.calibration.solver.lines import Line, read_lines
from analog_ep.devices.foundry_card import FoundryCard
from analog_ep.errors import CardError, DataError
from analog_ep.ngspice.languages import ELEMENTS

_DEEPEST = 20
_NUMBER = re.compile(r"([-+]?(?:\d+\.?\d*|\.\d+)(?:e[-+]?\d+)?)(meg|mil|[tgkmunpfa]?)[a-z]*", re.IGNORECASE)
_PREFIX = {"t": 1e12, "g": 1e9, "meg": 1e6, "k": 1e3, "": 1.0, "m": 1e-3, "u": 1e-6, "n": 1e-9, "p": 1e-12}
_PREFIX |= {"f": 1e-15, "a": 1e-18, "mil": 25.4e-6}
_WORD, _BIN = re.compile(r"[a-z_][\w.]*"), re.compile(r"\.\d+$")
_SIZES = {"w": ("wmin", "wmax"), "l": ("lmin", "lmax")}
_POSITIVE = ("w", "l", "m", "nf")
_OTHER_SIMULATORS = {
    "simulator lang": "Spectre",
    "library": "Spectre",
    "section": "Spectre",
    "inline": "Spectre",
    ".hdl": "a simulator with Verilog-A",
    ".pre_osdi": "an ngspice with OSDI",
    ".osdi": "an ngspice with OSDI",
}


def read_card(
    path: Path,
    name: str,
    instance: Mapping[str, float] | None = None,
    corner: str = "",
    also: Sequence[Path] = (),
) -> FoundryCard:
    """The cards of one transistor.

    Sections and files of the same folder are followed. Kept is what the transistor needs: its model or subcircuit, what
    these name, and of a model with bins those that W and L may fall into. Nothing in the files can run a command.

    Parameters
    ----------
    path : Path
        The library.
    name : str
        Of a ``.model`` of NMOS or PMOS, or of a ``.subckt`` with drain, gate, source and bulk.
    instance : dict of str to float, optional
        Parameters of the transistor, such as w and l; positive. [m]
    corner : str
        Section of the library; without one what stands outside of all sections.
    also : sequence of Path
        Files to be read before it, such as a foundry's switches.

    Raises
    ------
    DataError
        If a file cannot be read, or has no such section.
    CardError
        If there is no such transistor, a parameter is not positive, or its cards cannot be used; naming the card.
    """
    instance = {key.lower(): float(value) for key, value in (instance or {}).items()}
    for key, value in instance.items():
        if key in _POSITIVE and not value > 0:
            raise CardError(f"the card {name}: {key} must be positive, found {value:g}")
    name = name.lower()
    lines = [line for file in also for line in _lines(file, "", [])]
    lines += _lines(path, corner.lower(), [])
    definitions = definitions_of(lines)
    models = _bins(name, instance, [d for d in definitions if d.kind == "model"])
    subcircuits = [d for d in definitions if d.kind == "subckt" and d.names[0] == name]
    if not subcircuits and not models:
        found = sorted({d.names[0] for d in definitions if d.kind in ("model", "subckt")})
        raise CardError(
            f"{path} must define the card {name!r}{f' in {corner!r}' if corner else ''}, found "
            f"{', '.join(found[:12]) or 'no card'}{' …' if len(found) > 12 else ''}"
        )
    chosen = _needed(name, "subckt" if subcircuits else "model", definitions, instance)
    polarity = _polarity_within(name, subcircuits[-1], chosen) if subcircuits else model_parts(models[0].first)[1]
    if polarity not in ("nmos", "pmos"):
        raise CardError(f"the card {name} must be a model of NMOS or PMOS, found {polarity!r}")
    text = "\n".join(_plain(name, line) for definition in chosen for line in definition.lines)
    return FoundryCard(name, text, not subcircuits, polarity, instance, corner)


def _lines(path: Path, section: str, open_ones: list[tuple[Path, str]]) -> list[Line]:
    """Cards of a section, or those outside of all, with what they include in its place."""
    key = (path.resolve(), section)
    if key in open_ones or len(open_ones) > _DEEPEST:
        raise DataError(f"{path}: a library must not include itself, found that it does")
    found: list[Line] = []
    for line in _of_section(path, read_lines(path), section):
        words = [word.strip("'\"") for word in line.text.split()]
        if line.kind in ("include", "inc") and len(words) == 2:
            found += _lines(_beside(path, line, words[1]), "", [*open_ones, key])
        elif line.kind == "lib" and len(words) == 3:
            found += _lines(_beside(path, line, words[1]), words[2].lower(), [*open_ones, key])
        else:
            found.append(line)
    return found


def _beside(path: Path, line: Line, name: str) -> Path:
    folder = path.resolve().parent
    target = (folder / name).resolve()
    if not target.is_relative_to(folder):
        raise DataError(f"{line.place}: an included file must lie in {folder}, found {name!r}; copy it there")
    return target


def _of_section(path: Path, lines: Sequence[Line], section: str) -> Iterator[Line]:
    inside, seen, known = "", False, []
    for line in lines:
        words = line.text.split()
        if line.kind == "lib" and len(words) == 2:
            inside = words[1].lower()
            known.append(inside)
            seen |= inside == section
        elif line.kind == "endl":
            inside = ""
        elif inside == section:
            yield line
    if section and not seen:
        raise DataError(f"{path} must have the section {section!r}, found {', '.join(known[:12]) or 'none'}")


def _bins(name: str, instance: Mapping[str, float], models: Sequence[Definition]) -> list[Definition]:
    """Models of a name, which may have bins ``NAME.0``, ``NAME.1``, …; those for the size of an instance.

    Raises
    ------
    CardError
        If there are bins, and none is for this size.
    """
    found = [d for d in models if d.names[0] == name or re.fullmatch(rf"{re.escape(name)}\.\d+", d.names[0])]
    fitting = [d for d in found if _fits(d.first, instance)]
    if found and not fitting:
        size = ", ".join(f"{key} = {value:g}" for key, value in instance.items() if key in _SIZES)
        raise CardError(f"the card {name} must have a bin for {size}, found none; give it a size that it is for")
    return fitting


def _needed(name: str, kind: str, definitions: Sequence[Definition], instance: Mapping[str, float]) -> list[Definition]:
    """The definition, and those that it names, in the files' order; of models with bins those for the size."""
    words, open_words, chosen = {name}, {name}, set()
    by_name: dict[str, list[int]] = {}
    for place, definition in enumerate(definitions):
        for own in definition.names:
            by_name.setdefault(_BIN.sub("", own) if definition.kind == "model" else own, []).append(place)
    while open_words:
        word = open_words.pop()
        for place in by_name.get(word, []):
            definition = definitions[place]
            other = word == name and kind == "model" and definition.kind != kind
            if place in chosen or other or (definition.kind == "model" and not _fits(definition.first, instance)):
                continue
            chosen.add(place)
            new = {found for line in definition.lines for found in _WORD.findall(line.text.lower())} - words
            words |= new
            open_words |= new
    return [definitions[place] for place in sorted(chosen)]


def _fits(line: Line, instance: Mapping[str, float]) -> bool:
    """Whether a model is for the size of an instance; one without limits is for all."""
    name, _, given = model_parts(line)
    if not _BIN.search(name):
        return True
    for key, ends in _SIZES.items():
        low, high = (_value(given.get(end, "")) for end in ends)
        if key in instance and low is not None and high is not None:
            each = instance[key] / (instance.get("nf", 1.0) if key == "w" else 1.0)
            # As ngspice chooses: the upper end belongs to the next one, unless it is the last.
            if not low * (1 - 1e-9) <= each <= high * (1 + 1e-9):
                return False
    return True


def _value(text: str) -> float | None:
    found = _NUMBER.fullmatch(text.strip("'\"{}").strip())
    return None if found is None else float(found[1]) * _PREFIX[found[2].lower()]


def _polarity_within(name: str, subcircuit: Definition, chosen: Sequence[Definition]) -> str:
    """Of the transistors within a subcircuit, whose pins must be four."""
    pins = pins_of(subcircuit.first)
    if len(pins) != 4:
        raise CardError(
            f"the card {name} must have the pins drain, gate, source and bulk, found {len(pins)}: "
            f"{' '.join(pins) or 'none'}; a bulk that is left open has no voltage, so join it within a subcircuit"
        )
    lines = [line for definition in chosen for line in definition.lines]
    found = {kind for line in lines if line.kind == "model" and (kind := model_parts(line)[1]) in ("nmos", "pmos")}
    if len(found) != 1:
        raise CardError(
            f"the card {name} must hold transistors of one polarity, found {', '.join(sorted(found)) or 'none'}"
        )
    return found.pop()


def _plain(name: str, line: Line) -> str:
    """A card as ngspice is given it, or `CardError` where it is another simulator's, or runs something."""
    low = line.text.lower()
    for word, simulator in _OTHER_SIMULATORS.items():
        if low.startswith(word):
            raise CardError(f"the card {name}: {line.place} needs {simulator}, found {line.text[:40]!r}")
    line.require_plain()
    if line.kind and line.kind not in ("model", "subckt", "ends", "param", "func"):
        raise CardError(f"the card {name}: {line.place} must be one of ngspice's devices, found {line.text[:40]!r}")
    if not line.kind and low[0] not in ELEMENTS:
        raise CardError(f"the card {name}: {line.place} must be an element of ngspice, found {line.text[:40]!r}")
    return ".ends" if line.kind == "ends" else line.text
