"""Subcircuits written out: every element of a design with its path, its nodes and its parameters."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from analog_ep.designs.definitions import Contents, Definition, design_scope, split_pairs
from analog_ep.designs.scopes import Scope
from analog_ep.designs.source import Card, Word, require_blanks, words_of
from analog_ep.errors import NetlistError

MOST_ELEMENTS = 200_000
"""Elements of a design with its subcircuits written out."""

_DEEPEST = 40
GROUND_NAMES = ("0", "gnd")


@dataclass(frozen=True, eq=False)
class Element:
    """One element.

    Attributes
    ----------
    name : str
        With the path of its instance, in lower case: ``x1.r_w``.
    words : list of Word
        Of its card, but for the name.
    card : Card
        Where it stands.
    scope : Scope
        Its parameters.
    definition : Definition
        Where its models are looked for.
    """

    name: str
    words: list[Word]
    card: Card
    scope: Scope
    definition: Definition
    _path: str = ""
    _nodes: Mapping[str, str] = field(default_factory=dict)

    @property
    def letter(self) -> str:
        """Its kind."""
        return self.card.text[0].lower()

    def refuse(self, what: str) -> NetlistError:
        """An error that begins with file and line."""
        return self.card.refuse(what)

    def node(self, name: str) -> str:
        """A node's name in the whole design, "0" for ground."""
        lower = name.lower()
        if lower in GROUND_NAMES:
            return "0"
        if lower in self._nodes:
            return self._nodes[lower]
        return f"{self._path}{lower}"

    def element(self, name: str) -> str:
        """Name of another element of the same instance, in the whole design."""
        return f"{self._path}{name.lower()}"


def expand(contents: Contents) -> Iterator[Element]:
    """The elements of a design.

    Raises
    ------
    NetlistError
        If a subcircuit is missing or holds itself, an instance does not fit it, or there are too many elements.
    """
    _require_few(contents)
    globals_ = {name: "0" if name in GROUND_NAMES else name for name in contents.global_nodes}
    scope = design_scope(contents)
    for name in scope.bindings:
        scope.quantity(name)
    yield from _elements(contents.top, scope, "", globals_, globals_)


def _elements(
    definition: Definition, scope: Scope, path: str, nodes: Mapping[str, str], globals_: Mapping[str, str]
) -> Iterator[Element]:
    seen: dict[str, Card] = {}
    for card in definition.elements:
        words = words_of(card)
        name = words[0].lower if words else ""
        if not words or words[0].is_expression or words[0].text == "=":
            raise card.refuse(f"an element must begin with its name, found {card.text[:30]!r}")
        if name in seen:
            raise card.refuse(f"elements must have different names, found {name!r} in {seen[name].place()} too")
        seen[name] = card
        element = Element(f"{path}{name}", words[1:], card, scope, definition, path, nodes)
        if name[0] in "rcldfhkx":
            require_blanks(card, words)
        elif name[0] in "vib":
            require_blanks(Card(card.text[: words[min(2, len(words) - 1)].end], card.file, card.pieces), words[:3])
        if name[0] == "x":
            yield from _instance(element, globals_)
        else:
            yield element


def _instance(element: Element, globals_: Mapping[str, str]) -> Iterator[Element]:
    inner, pins, pairs = _called(element.card, element.words, element.definition)
    if len(pins) != len(inner.pins):
        raise element.refuse(f"an instance of {inner.name!r} must have {len(inner.pins)} nodes, found {len(pins)}")
    scope = Scope(element.scope, owner=inner)
    given = {name.lower: (name, value) for name, value in pairs}
    if len(given) < len(pairs):
        raise element.refuse("a parameter of an instance must be given once, found one twice")
    allowed = [name.lower for name, _ in inner.defaults]
    for name, _ in pairs:
        if name.lower not in allowed:
            raise name.refuse(
                f"a parameter of {inner.name!r} must be one of {', '.join(allowed) or 'none'}, found {name.text!r}"
            )
    for name, default in inner.defaults:
        if name.lower in given:
            scope.bind(*given[name.lower], element.scope)
        else:
            scope.bind(name, default, scope)
    for name, value in inner.parameters:
        scope.bind(name, value, scope)
    for pin in inner.pins:
        if pin.lower in globals_:
            raise pin.refuse(f"a pin must not have the name of a global node, found {pin.text!r}; rename it")
    # ngspice reads all of them, used or not.
    for name in scope.bindings:
        scope.quantity(name)
    nodes = {pin.lower: element.node(word.text) for pin, word in zip(inner.pins, pins, strict=True)}
    yield from _elements(inner, scope, f"{element.name}.", {**globals_, **nodes}, globals_)


def _called(card: Card, words: list[Word], definition: Definition) -> tuple[Definition, list[Word], list]:
    """The subcircuit that an instance calls, its nodes, and its parameters."""
    marker = next((i for i, word in enumerate(words) if word.lower == "params:"), None)
    head, pairs = split_pairs(words[:marker] + words[marker + 1 :] if marker is not None else words)
    if not head:
        raise card.refuse("an instance must name its nodes and a subcircuit, found neither")
    inner = definition.subcircuit(head[-1].lower)
    if inner is None:
        raise head[-1].refuse(f"a subcircuit must be defined, found none called {head[-1].text!r}")
    return inner, head[:-1], pairs


def _require_few(contents: Contents) -> None:
    """Raise `NetlistError` where a subcircuit holds itself or the elements would be too many."""
    sizes: dict[int, int] = {}
    open_ones: list[Definition] = []

    def size(definition: Definition, caller: Card | None) -> int:
        if id(definition) in sizes:
            return sizes[id(definition)]
        if caller is not None and (definition in open_ones or len(open_ones) > _DEEPEST):
            raise caller.refuse(f"a subcircuit must not hold itself, found that {definition.name!r} does")
        open_ones.append(definition)
        total = 0
        for card in definition.elements:
            if card.text[:1].lower() == "x":
                words = words_of(card)[1:]
                total += size(_called(card, words, definition)[0], card)
            total += 1
            if total > MOST_ELEMENTS:
                raise card.refuse(
                    f"a design must be of at most {MOST_ELEMENTS} elements with its subcircuits written out, found more"
                )
        open_ones.pop()
        sizes[id(definition)] = total
        return total

    size(contents.top, None)
