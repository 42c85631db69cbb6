"""What a netlist defines: subcircuits, models, parameters and functions, sorted from the elements."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from analog_ep.designs.expressions import parse
from analog_ep.designs.scopes import Function, Scope
from analog_ep.designs.source import Card, Word, require_blanks, words_of
from analog_ep.errors import NetlistError

WITHOUT_EFFECT = frozenset(
    [
        "op",
        "dc",
        "ac",
        "tran",
        "noise",
        "pz",
        "sens",
        "tf",
        "disto",
        "sp",
        "four",
        "fourier",
        "meas",
        "measure",
        "save",
        "print",
        "plot",
        "probe",
        "width",
        "title",
        "ic",
        "nodeset",
        "csparam",
    ]
)
"""Cards that ask for an analysis or its output, or say where one begins: nothing of the circuit at rest."""

_OPTIONS_WITHOUT_EFFECT = frozenset(
    [
        "reltol",
        "abstol",
        "vntol",
        "chgtol",
        "trtol",
        "pivtol",
        "pivrel",
        "itl1",
        "itl2",
        "itl3",
        "itl4",
        "itl5",
        "itl6",
        "maxord",
        "method",
        "gminsteps",
        "srcsteps",
        "numdgt",
        "list",
        "node",
        "nopage",
        "opts",
        "acct",
        "noacct",
        "noinit",
        "nomod",
        "seed",
        "interp",
        "savecurrents",
        "sparse",
        "klu",
        "keepopinfo",
        "warn",
        "maxwarns",
        "nobreak",
        "trytocompact",
        "noopiter",
        "noopalter",
        "xmu",
        "post",
        "probe",
        "ingold",
        "brief",
        "limpts",
        "autostop",
        "rseries",
        "ramptime",
        "cptime",
        "wnflag",
        "bypass",
    ]
) - {"rseries"}
_OPTIONS_THAT_COUNT = ("temp", "tnom", "gmin")


@dataclass(eq=False)
class Definition:
    """A subcircuit, or the whole design.

    Attributes
    ----------
    name : str
        Of the subcircuit; empty for the design.
    card : Card or None
        Its ``.subckt``.
    pins : list of Word
        Its nodes.
    parameters : list of (Word, Word)
        Names and defaults on its card, then those of its ``.param`` cards.
    elements : list of Card
        In order.
    models : dict of str to Card
        By name.
    subcircuits : dict of str to Definition
        Defined within.
    outer : Definition or None
        In which it is defined.
    """

    name: str = ""
    card: Card | None = None
    pins: list[Word] = field(default_factory=list)
    defaults: list[tuple[Word, Word]] = field(default_factory=list)
    parameters: list[tuple[Word, Word]] = field(default_factory=list)
    elements: list[Card] = field(default_factory=list)
    models: dict[str, Card] = field(default_factory=dict)
    subcircuits: dict[str, Definition] = field(default_factory=dict)
    outer: Definition | None = None

    def model(self, name: str) -> tuple[Card, Definition] | None:
        """A model, and where it is defined: here, or around."""
        if name in self.models:
            return self.models[name], self
        return self.outer.model(name) if self.outer is not None else None

    def subcircuit(self, name: str) -> Definition | None:
        """A subcircuit that is defined here, or around."""
        if name in self.subcircuits:
            return self.subcircuits[name]
        return self.outer.subcircuit(name) if self.outer is not None else None


@dataclass(eq=False)
class Contents:
    """All that a design's cards say.

    Attributes
    ----------
    top : Definition
        The design.
    functions : dict of str to Function
        By name.
    global_nodes : set of str
        Nodes that mean the same everywhere.
    options : dict of str to Word
        Temperatures and gmin.
    notes : list of str
        What was passed over, with its place.
    """

    top: Definition = field(default_factory=Definition)
    functions: dict[str, Function] = field(default_factory=dict)
    global_nodes: set[str] = field(default_factory=set)
    options: dict[str, Word] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def sort_cards(cards: Iterable[Card]) -> Contents:
    """Sort the cards of a design.

    Raises
    ------
    NetlistError
        If a card is of an unknown kind, stands twice or where it may not, or is incomplete.
    """
    contents = Contents()
    here = contents.top
    for card in cards:
        kind = card.kind
        if kind == "subckt":
            here = _subcircuit(card, here)
        elif kind == "ends":
            if here.outer is None:
                raise card.refuse("an .ends must stand behind a .subckt, found it alone; take it out")
            here = here.outer
        elif not kind:
            here.elements.append(card)
        elif kind == "model":
            _add_model(card, here)
        elif kind in ("param", "params", "parameters"):
            here.parameters += _assignments(card)
        elif kind in _OF_THE_DESIGN:
            _OF_THE_DESIGN[kind](contents, card)
        elif kind in WITHOUT_EFFECT:
            contents.notes.append(f"{card.place()}: .{kind}, which says nothing of the circuit at rest")
        else:
            raise card.refuse(
                f"a card must be .subckt, .ends, .model, .param, .func, .include, .lib, .global, .temp, .options or an "
                f"analysis, found .{kind}; take it out"
            )
    if here.card is not None:
        raise here.card.refuse(f"every .subckt must have its .ends, found none for {here.name!r}")
    return contents


def pairs_of(words: list[Word]) -> list[tuple[Word, Word]]:
    """Words that are ``key = value`` throughout.

    Raises
    ------
    NetlistError
        If one stands alone.
    """
    found, at = [], 0
    while at < len(words):
        if at + 2 >= len(words) or words[at + 1].text != "=" or "=" in (words[at].text, words[at + 2].text):
            raise words[at].refuse(
                f"a parameter must be name=value, an expression with blanks in {{}}, found {words[at].text[:40]!r}"
            )
        found.append((words[at], words[at + 2]))
        at += 3
    return found


def split_pairs(words: list[Word]) -> tuple[list[Word], list[tuple[Word, Word]]]:
    """Words before the first ``key = value``, and the pairs."""
    first = next((i for i, word in enumerate(words) if word.text == "="), None)
    if first is None:
        return words, []
    if first == 0:
        raise words[0].refuse("a name must stand before =, found none")
    return words[: first - 1], pairs_of(words[first - 1 :])


def _subcircuit(card: Card, outer: Definition) -> Definition:
    require_blanks(card, words_of(card))
    words = words_of(card)[1:]
    if not words or words[0].text == "=":
        raise card.refuse("a .subckt must have a name, found none")
    name, rest = words[0], words[1:]
    marker = next((i for i, word in enumerate(rest) if word.lower.rstrip(":") in ("params", "param", "optional")), None)
    if marker is not None and rest[marker].text.endswith(":"):
        if rest[marker].lower.startswith("optional"):
            raise rest[marker].refuse("a subcircuit must have all its pins, found optional ones; write them out")
        pins, pairs = rest[:marker], pairs_of(rest[marker + 1 :])
        head, more = split_pairs(pins)
        pins, pairs = head, more + pairs
    else:
        pins, pairs = split_pairs(rest)
    if name.lower in outer.subcircuits:
        other = outer.subcircuits[name.lower].card
        raise name.refuse(
            f"a subcircuit must be defined once, found {name.text!r} in {other.place() if other else '?'} too"
        )
    seen: set[str] = set()
    for pin in pins:
        if pin.lower in seen or pin.lower in ("0", "gnd") or pin.is_expression:
            raise pin.refuse(f"pins must be different nodes, and not ground, found {pin.text!r}")
        seen.add(pin.lower)
    inner = Definition(name.lower, card, pins, pairs, outer=outer)
    outer.subcircuits[name.lower] = inner
    return inner


def _add_model(card: Card, here: Definition) -> None:
    words = words_of(card)
    if len(words) < 3:
        raise card.refuse("a .model must have a name and a type, found less")
    name = words[1]
    if name.lower in here.models:
        raise name.refuse(f"a model must be defined once, found {name.text!r} in {here.models[name.lower].place()} too")
    here.models[name.lower] = card


def _assignments(card: Card) -> list[tuple[Word, Word]]:
    pairs = pairs_of(words_of(card)[1:])
    if not pairs:
        raise card.refuse("a .param must give a value, found none")
    for name, _ in pairs:
        if not name.text.replace("_", "a").isalnum() or name.text[0].isdigit():
            raise name.refuse(f"a parameter's name must be letters, digits and _, found {name.text!r}")
    return pairs


def _function(contents: Contents, card: Card) -> None:
    rest = card.text.split(" ", 1)[1] if " " in card.text else ""
    head, opened, tail = rest.partition("(")
    names, closed, body = tail.partition(")")
    name, body = head.strip().lower(), body.strip().removeprefix("=").strip()
    arguments = tuple(word.strip().lower() for word in names.split(","))
    sound = opened and closed and name.isidentifier() and all(word.isidentifier() for word in arguments)
    if not sound or len(set(arguments)) < len(arguments) or body[:1] + body[-1:] not in ("{}", "''"):
        raise card.refuse(f"a .func must be name(argument, …) {{expression}}, found {rest[:40]!r}")
    if name in contents.functions:
        raise card.refuse(f"a function must be defined once, found {name!r} twice")
    try:
        contents.functions[name] = Function(arguments, parse(body[1:-1], quantities=True), card)
    except NetlistError as error:
        raise card.refuse(str(error)) from None


def _global(contents: Contents, card: Card) -> None:
    contents.global_nodes |= {word.lower for word in words_of(card)[1:]}


def _temperature(contents: Contents, card: Card) -> None:
    words = words_of(card)[1:]
    if len(words) != 1 or words[0].text == "=":
        raise card.refuse("a .temp must give one temperature, found another number of them")
    _set_option(contents, ".temp", words[0])


def _options(contents: Contents, card: Card) -> None:
    words, at = words_of(card)[1:], 0
    while at < len(words):
        name = words[at]
        has_value = at + 2 < len(words) and words[at + 1].text == "="
        if name.lower in _OPTIONS_THAT_COUNT:
            if not has_value:
                raise name.refuse(f"the option {name.lower} must have a value, found none")
            _set_option(contents, name.lower, words[at + 2])
        elif name.lower not in _OPTIONS_WITHOUT_EFFECT:
            raise name.refuse(
                f"an option must be temp, tnom, gmin or one that leaves the circuit alone, found {name.text[:40]!r}; "
                f"take it out"
            )
        at += 3 if has_value else 1


def _set_option(contents: Contents, name: str, value: Word) -> None:
    if name in contents.options:
        other = contents.options[name].card
        raise value.refuse(f"{name} must be given once, found it in {other.place()} too")
    contents.options[name] = value


_OF_THE_DESIGN = {
    "func": _function,
    "global": _global,
    "temp": _temperature,
    "options": _options,
    "option": _options,
    "opt": _options,
}


def design_scope(contents: Contents) -> Scope:
    """The parameters of the whole design."""
    scope = Scope()
    scope.functions = contents.functions
    for name, value in contents.top.parameters:
        scope.bind(name, value, scope)
    return scope
