"""Elements of a netlist, letter by letter: what each one is at rest."""

from __future__ import annotations

import re
from collections.abc import Callable

from analog_ep.constants import ZERO_CELSIUS
from analog_ep.designs.assembly import Assembly, Branch
from analog_ep.designs.behaviour import MOST_CONTROLS, Formed, formed
from analog_ep.designs.definitions import Definition, split_pairs
from analog_ep.designs.differentiation import affine, rule_of, value_and_slopes
from analog_ep.designs.diode_models import Conditions, Model, device_of, read_instance, read_model
from analog_ep.designs.expansion import Element
from analog_ep.designs.expressions import Term, parse
from analog_ep.designs.scopes import Quantity, Scope
from analog_ep.designs.source import Word
from analog_ep.designs.waveforms import source_value
from analog_ep.errors import NetlistError

_SMALLEST_OHMS = 1e-3
"""What ngspice takes a resistance of 0 for. [Ω]"""

_FEW_CONTROLS = 3
_NOT_AT_REST = ("time", "hertz", "freq", "frequency")
_REFUSED = {
    "m": "a MOSFET",
    "q": "a bipolar transistor",
    "j": "a JFET",
    "z": "a MESFET",
    "s": "a switch",
    "w": "a switch",
    "t": "a transmission line",
    "o": "a transmission line",
    "u": "an RC line",
    "y": "a transmission line",
    "p": "coupled lines",
    "a": "a code model",
    "n": "a Verilog-A device",
}


class Reader:
    """Reads elements into an `Assembly`.

    Parameters
    ----------
    assembly : Assembly
        What is filled.
    conditions : Conditions
        Temperatures and gmin.
    """

    def __init__(self, assembly: Assembly, conditions: Conditions):
        self.assembly, self.conditions = assembly, conditions
        self._models: dict[tuple[int, int], Model] = {}
        self._pending: list[tuple[Element, Callable[[Element], None]]] = []

    def read(self, element: Element) -> None:
        """Read one element; those that refer to others are read by `finish`.

        Raises
        ------
        NetlistError
            If it cannot be read, or nothing here can stand for it.
        """
        read = _READERS.get(element.letter)
        if read is None:
            what = _REFUSED.get(element.letter)
            raise element.refuse(
                f"an element must be one of R C L K V I D E F G H B X, found {element.card.text[:30]!r}"
                + (f", {what}, which has no model here yet" if what else "")
            )
        if element.letter in "fhbegk":
            self._pending.append((element, lambda e: read(self, e)))
        else:
            self._guarded(element, lambda e: read(self, e))

    def finish(self) -> None:
        """Read what refers to voltage sources, all of which are known now."""
        for element, read in self._pending:
            self._guarded(element, read)

    def _guarded(self, element: Element, read: Callable[[Element], None]) -> None:
        element.scope.uses.reader = element.name
        try:
            read(element)
        except RecursionError:
            raise element.refuse("an expression must be less deep, found too many operators") from None
        except NetlistError as error:
            if ", line " in str(error).partition(": ")[0]:
                raise
            raise element.refuse(str(error)) from None

    def _nodes(self, element: Element, count: int) -> tuple[tuple[str, ...], list[Word]]:
        """The nodes of an element, and the words behind them."""
        words = element.words
        if len(words) < count or any(w.is_expression or w.text == "=" for w in words[:count]):
            raise element.refuse(
                f"an element {element.letter.upper()} must have {count} nodes, found {element.card.text[:40]!r}"
            )
        names = [element.node(word.text) for word in words[:count]]
        return self.assembly.use(element, *names), words[count:]

    def _resistor(self, element: Element) -> None:
        nodes, words = self._nodes(element, 2)
        head, pairs = split_pairs(words)
        given = _named(
            pairs, ("r", "resistance", "tc", "tc1", "tc2", "m", "scale", "temp", "dtemp", "ac", "noisy"), "a resistor"
        )
        value, head = _value(element, head, given, ("r", "resistance"))
        if head:
            raise head[0].refuse(
                f"a resistor must have one value and no model, found {head[0].text[:40]!r}; write its parameters out"
            )
        quantity = element.scope.read(value)
        factor = self._resistor_factor(element, given)
        ohms = quantity.value * factor
        if ohms == 0:
            self.assembly.notes.append(f"{element.card.place()}: {element.name} of 0 Ω is 1 mΩ, as ngspice has it")
            ohms, quantity, factor = _SMALLEST_OHMS, Quantity(_SMALLEST_OHMS), 1.0
        self.assembly.resistors.append(Branch(element, nodes, ohms, quantity, factor))

    def _resistor_factor(self, element: Element, given: dict[str, Word]) -> float:
        read = {name: element.scope.read(word).value for name, word in given.items() if name not in ("r", "resistance")}
        if "tc" in given or {"temp", "dtemp"} <= given.keys():
            name = "tc" if "tc" in given else "dtemp"
            raise given[name].refuse(f"a resistor must have tc1, tc2 and one of temp and dtemp, found {name} too")
        kelvin = read["temp"] + ZERO_CELSIUS if "temp" in read else self.conditions.kelvin + read.get("dtemp", 0.0)
        warm = kelvin - self.conditions.nominal
        factor = 1 + read.get("tc1", 0.0) * warm + read.get("tc2", 0.0) * warm**2
        multiplier = read.get("m", 1.0)
        if multiplier <= 0:
            raise given["m"].refuse(f"m must be positive, found {multiplier:g}")
        return factor * read.get("scale", 1.0) / multiplier

    def _capacitor(self, element: Element) -> None:
        nodes, words = self._nodes(element, 2)
        head, pairs = split_pairs(words)
        given = _named(pairs, ("c", "capacitance", "ic", "m", "tc1", "tc2", "scale", "temp", "dtemp"), "a capacitor")
        value, head = _value(element, head, given, ("c", "capacitance"))
        if head:
            raise head[0].refuse(f"a capacitor must have one value and no model, found {head[0].text[:40]!r}")
        farads = element.scope.read(value).value
        multiplier = element.scope.read(given["m"]).value if "m" in given else 1.0
        if any(name in given for name in ("tc1", "tc2", "scale")):
            self.assembly.notes.append(f"{element.card.place()}: a capacitance's tc and scale, without effect at rest")
        if farads * multiplier > 0:
            self.assembly.capacitors.append(Branch(element, nodes, farads * multiplier))
        else:
            self.assembly.notes.append(
                f"{element.card.place()}: {element.name} of {farads:g} F, without effect at rest"
            )

    def _inductor(self, element: Element) -> None:
        nodes, words = self._nodes(element, 2)
        head, pairs = split_pairs(words)
        given = _named(
            pairs, ("l", "inductance", "ic", "m", "tc1", "tc2", "scale", "temp", "dtemp", "nt"), "an inductor"
        )
        value, head = _value(element, head, given, ("l", "inductance"))
        if head:
            raise head[0].refuse(f"an inductor must have one value and no model, found {head[0].text[:40]!r}")
        element.scope.read(value)
        self.assembly.sources[element.name] = Branch(element, nodes, 0.0)
        self.assembly.inductors.add(element.name)

    def _coupling(self, element: Element) -> None:
        for word in element.words[:2]:
            if element.element(word.text) not in self.assembly.inductors:
                raise word.refuse(f"K must name two inductors, found {word.text!r}")
        if len(element.words) != 3:
            raise element.refuse("K must name two inductors and a coupling, found another number of words")
        element.scope.read(element.words[2])
        self.assembly.notes.append(f"{element.card.place()}: {element.name}, a coupling, without effect at rest")

    def _voltage_source(self, element: Element) -> None:
        nodes, words = self._nodes(element, 2)
        quantity = source_value(element.card, words, element.scope)
        self.assembly.sources[element.name] = Branch(element, nodes, quantity.value, quantity)

    def _current_source(self, element: Element) -> None:
        nodes, words = self._nodes(element, 2)
        head, pairs = split_pairs(list(words)) if any(w.lower == "m" for w in words) else (words, [])
        multiplier = element.scope.read(_named(pairs, ("m",), "a current source")["m"]).value if pairs else 1.0
        quantity = source_value(element.card, head, element.scope)
        self.assembly.currents.append(Branch(element, nodes, quantity.value * multiplier, quantity, multiplier))

    def _diode(self, element: Element) -> None:
        nodes, words = self._nodes(element, 2)
        head, pairs = split_pairs(words)
        if not head:
            raise element.refuse("a diode must name its model, found none")
        device, resistance = device_of(
            self._model(element, head[0]),
            read_instance(head[1:], pairs, element.scope, self.conditions),
            self.conditions,
        )
        anode, cathode = nodes
        if resistance > 0:
            junction = self.assembly.internal(element, "junction")
            self.assembly.resistors.append(Branch(element, (anode, junction), resistance))
            anode = junction
        self.assembly.diodes.append((element, anode, cathode, device))

    def _model(self, element: Element, word: Word) -> Model:
        found = element.definition.model(word.lower)
        if found is None:
            raise word.refuse(f"a model must be defined, found none called {word.text!r}")
        card, definition = found
        # A model of the whole design has one set of values, one in a subcircuit as many as there are instances.
        scope = _scope_of(element.scope, definition)
        key = (id(card), id(scope))
        if key not in self._models:
            reader, scope.uses.reader = scope.uses.reader, f"model {word.text}"
            self._models[key] = read_model(card, scope)
            scope.uses.reader = reader
            self.assembly.notes += [n for n in self._models[key].notes if n not in self.assembly.notes]
        return self._models[key]

    def _controlled(self, element: Element) -> None:
        letter = element.letter
        keyword, start = _keyword(element)
        if keyword is not None:
            nodes, _ = self._nodes(element, 2)
            self._behaviour(element, nodes, "v" if letter == "e" else "i", start)
            return
        words = [w for i, w in enumerate(element.words) if not (i == 2 and w.lower in ("vcvs", "vccs"))]
        head, pairs = split_pairs(words)
        if any(word.lower in ("poly", "table", "laplace", "freq", "and", "nand", "or", "nor") for word in head[2:3]):
            raise head[2].refuse(
                f"{letter.upper()} must have a gain or an expression, found {head[2].text!r}; write it as value={{…}}"
            )
        _require_brackets_around(element)
        given = _named(pairs, ("gain", "m") if letter == "g" else ("gain",), f"{letter.upper()}")
        if len(head) != 4 + ("gain" not in given) or any(w.is_expression for w in head[:4]):
            raise element.refuse(f"{letter.upper()} must have four nodes and a gain, found {element.card.text[:40]!r}")
        nodes = self.assembly.use(element, *(element.node(word.text) for word in head[:4]))
        gain = element.scope.read(given.get("gain") or head[4]).value
        gain *= element.scope.read(given["m"]).value if "m" in given else 1.0
        self.assembly.voltage_controlled[letter].append(Branch(element, nodes, gain))

    def _follower(self, element: Element) -> None:
        nodes, words = self._nodes(element, 2)
        words = [w for i, w in enumerate(words) if not (i == 0 and w.lower in ("cccs", "ccvs"))]
        head, pairs = split_pairs(words)
        if head and head[0].lower in ("poly", "value", "cur", "vol"):
            raise head[0].refuse(f"{element.letter.upper()} must have a source and a gain, found {head[0].text!r}")
        given = _named(pairs, ("gain", "m") if element.letter == "f" else ("gain",), element.letter.upper())
        if len(head) != 1 + ("gain" not in given):
            raise element.refuse(
                f"{element.letter.upper()} must have nodes, a source and a gain, found {element.card.text[:40]!r}"
            )
        source = self._source(element, head[0])
        gain = element.scope.read(given.get("gain") or head[1]).value
        gain *= element.scope.read(given["m"]).value if "m" in given else 1.0
        self.assembly.current_controlled[element.letter].append((Branch(element, nodes, gain), source))

    def _source(self, element: Element, word: Word) -> str:
        return self._source_called(element, word.text, word.refuse)

    def _source_called(self, element: Element, name: str, refuse: Callable[[str], NetlistError]) -> str:
        source = element.element(name)
        if source not in self.assembly.sources or source in self.assembly.inductors:
            raise refuse(
                f"a current must be that of a voltage source V beside it, found {name!r}; put a 0 V source in its way"
            )
        return source

    def _behavioural(self, element: Element) -> None:
        nodes, words = self._nodes(element, 2)
        if len(words) < 3 or words[0].lower not in ("v", "i") or words[1].text != "=":
            raise element.refuse(f"B must have v=expression or i=expression, found {element.card.text[:40]!r}")
        self._behaviour(element, nodes, words[0].lower, words[1].end)

    def _behaviour(self, element: Element, nodes: tuple[str, ...], quantity: str, start: int) -> None:
        """A source of voltage or current whose expression begins at a character of the card."""
        text = element.card.text[start:].strip()
        try:
            term = self._term(element, text)
        except NetlistError as error:
            raise (
                element.card.refuse(str(error), start) if ", line " not in str(error).partition(": ")[0] else error
            ) from None
        taken = formed(self._with_fewer_voltages(element, term))
        if len(taken.controls) > MOST_CONTROLS:
            raise element.refuse(
                f"an expression must be of at most {MOST_CONTROLS} voltages, found {len(taken.controls)}"
            )
        if not taken.controls:
            self._constant(element, nodes, quantity, taken)
        elif quantity == "i":
            self.assembly.expressions.append((element, *nodes, taken))  # pyright: ignore[reportArgumentType]
        else:
            # A current of as many amperes through 1 S makes the voltage, which a gain of 1 then repeats.
            node = self.assembly.internal(element, "value")
            self.assembly.expressions.append((element, "0", node, taken))
            self.assembly.resistors.append(Branch(element, (node, "0"), 1.0))
            self.assembly.voltage_controlled["e"].append(Branch(element, (*nodes, node, "0"), 1.0))

    def _with_fewer_voltages(self, element: Element, term: Term) -> Term:
        """An expression of many voltages with a node for each sum of voltages in it.

        A solver looks at all corners of a law's voltages: a law of few, and linear sources, take it less time.
        """
        if len(formed(term).controls) <= _FEW_CONTROLS:
            return term
        found = affine(term)
        if found is not None and len(found[0]) > 1:
            return self._sum(element, *found)
        parts = tuple(self._with_fewer_voltages(element, part) for part in term.parts)
        return Term(term.kind, parts, term.value)

    def _sum(self, element: Element, weights: dict[tuple[str, str], float], constant: float) -> Term:
        """A node at a weighted sum of voltages, made by currents through 1 S."""
        node = self.assembly.internal(element, "sum")
        self.assembly.resistors.append(Branch(element, (node, "0"), 1.0))
        for pair, weight in weights.items():
            self.assembly.voltage_controlled["g"].append(Branch(element, ("0", node, *pair), weight))
        if constant:
            self.assembly.currents.append(Branch(element, ("0", node), constant))
        return Term("voltage", value=(node, "0"))

    def _constant(self, element: Element, nodes: tuple[str, ...], quantity: str, taken: Formed) -> None:
        value = float(value_and_slopes(taken.form, [], taken.constants)[0])
        if value != value or abs(value) == float("inf"):
            raise element.refuse(f"an expression must have a finite value, found {value}")
        branch = Branch(element, nodes, value)
        if quantity == "i":
            self.assembly.currents.append(branch)
        else:
            self.assembly.sources[element.name] = branch

    def _term(self, element: Element, text: str) -> Term:
        """An expression with numbers for parameters, and the design's own nodes in its voltages."""
        scope = element.scope
        constants = {"pi": 3.141592653589793, "e": 2.718281828459045, "temper": self.conditions.kelvin - ZERO_CELSIUS}
        written = scope.written_out(parse(text, quantities=True))

        def resolved(term: Term) -> Term:
            if term.kind == "name":
                return Term("number", value=self._name(str(term.value), scope, constants))
            if term.kind == "voltage":
                names = [element.node(str(name)) for name in term.value]  # pyright: ignore[reportGeneralTypeIssues]
                return Term("voltage", value=(*self.assembly.use(element, *names), "0")[:2])
            if term.kind == "current":
                return Term("voltage", value=(self._sensed(element, str(term.value[0])), "0"))  # pyright: ignore[reportIndexIssue]
            if term.kind not in ("number",):
                rule_of(term)
            return Term(term.kind, tuple(resolved(part) for part in term.parts), term.value)

        return resolved(written)

    def _name(self, name: str, scope: Scope, constants: dict[str, float]) -> float:
        if name in _NOT_AT_REST:
            raise NetlistError(f"an expression must hold at rest, found {name!r} in it; take it out")
        try:
            value = scope.used(name).value
        except NetlistError:
            if name not in constants:
                raise
            return constants[name]
        if name in constants:
            raise NetlistError(f"a parameter must not have the name of a constant, found {name!r}; rename it")
        return value

    def _sensed(self, element: Element, name: str) -> str:
        """A node whose voltage is the current of a source, in amperes."""
        source = self._source_called(element, name, lambda what: NetlistError(what))
        node = self.assembly.internal(element, "current")
        self.assembly.current_controlled["h"].append((Branch(element, (node, "0"), 1.0), source))
        return node


def _require_brackets_around(element: Element) -> None:
    """Raise where brackets of an E or G stand within a word: they may stand around the controlling nodes."""
    for match in re.finditer(r"\S?[(]|[)]\S?|,", re.sub(r"\{[^}]*\}|'[^']*'", "", element.card.text)):
        if match[0] not in ("(", ")", ",") and not match[0].isspace():
            raise element.refuse(f"brackets must stand around the controlling nodes, found {match[0]!r}")


def _scope_of(scope: Scope, definition: Definition) -> Scope:
    """The scope of the instance of a subcircuit in which an element stands, or of the whole design."""
    while scope.outer is not None and scope.owner is not definition:
        scope = scope.outer
    return scope


def _named(pairs: list[tuple[Word, Word]], allowed: tuple[str, ...], what: str) -> dict[str, Word]:
    found: dict[str, Word] = {}
    for name, value in pairs:
        if name.lower not in allowed or name.lower in found:
            raise name.refuse(f"{what} may have {', '.join(allowed)}, each once, found {name.text[:30]!r}")
        found[name.lower] = value
    return found


def _value(
    element: Element, head: list[Word], given: dict[str, Word], names: tuple[str, ...]
) -> tuple[Word, list[Word]]:
    """The word with an element's value, and what is left of the words behind its nodes."""
    by_name = [given[name] for name in names if name in given]
    if len(by_name) + bool(head) != 1:
        found = "none" if not by_name and not head else "two"
        raise element.refuse(
            f"{element.letter.upper()} must have one value, found {found} in {element.card.text[:40]!r}"
        )
    return (by_name[0], head) if by_name else (head[0], head[1:])


def _keyword(element: Element) -> tuple[str | None, int]:
    """The keyword before the expression of an E or G, and the character at which the expression begins."""
    words = element.words
    if len(words) > 3 and words[2].lower in ("value", "vol", "cur"):
        wanted = ("value", "vol") if element.letter == "e" else ("value", "cur")
        if words[2].lower not in wanted or words[3].text != "=":
            raise words[2].refuse(f"{element.letter.upper()} must have {' or '.join(wanted)}={{expression}}")
        return words[2].lower, words[3].end
    return None, 0


_READERS: dict[str, Callable[[Reader, Element], None]] = {
    "r": Reader._resistor,
    "c": Reader._capacitor,
    "l": Reader._inductor,
    "k": Reader._coupling,
    "v": Reader._voltage_source,
    "i": Reader._current_source,
    "d": Reader._diode,
    "e": Reader._controlled,
    "g": Reader._controlled,
    "f": Reader._follower,
    "h": Reader._follower,
    "b": Reader._behavioural,
}
