"""What learns, what drives and what is read: marked by comments in the deck, or given as arguments.

*@ train r_w* 1e-6 1e-4 S        names with * and ?, the range, and its unit: S (the default) or ohm
*@ input vin1 vin2               voltage sources, in the order of the inputs
*@ output out1 y+ y- a,b         nodes against ground; n+ and n- behind each other, or a,b, are a pair
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from analog_ep.designs.source import MARKS, Card
from analog_ep.errors import NetlistError
from analog_ep.support.numbers import is_number, read_number

Refuse = Callable[[str], NetlistError]
"""Makes an error that begins with where the mark stands."""

Bounds = tuple[float, float]
"""Range of conductances. [S]"""

_UNITS = {"s": False, "siemens": False, "ohm": True, "ohms": True, "Ω": True}


@dataclass(frozen=True)
class Wish:
    """A name that a mark has, how to complain about it, and the range of what learns."""

    name: str
    refuse: Refuse
    bounds: Bounds | None = None


@dataclass(eq=False)
class Marks:
    """What is marked.

    Attributes
    ----------
    trainable : list of Wish
        Patterns of resistors, each with the range of their conductances.
    inputs : list of Wish
        Voltage sources.
    outputs : list of (Wish, str)
        Nodes and their references.
    notes : list of str
        What should be written in another way.
    """

    trainable: list[Wish] = field(default_factory=list)
    inputs: list[Wish] = field(default_factory=list)
    outputs: list[tuple[Wish, str]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def read_marks(cards: Iterable[Card]) -> Marks:
    """Read the marked comments of a deck.

    Raises
    ------
    NetlistError
        If a mark says what none does.
    """
    marks = Marks()
    for card in cards:
        words = card.text.split()
        kind = words[0].lower() if words else ""
        is_command = card.file.text[card.pieces[0][1] - 2 : card.pieces[0][1]] == MARKS[1]
        if kind not in ("train", "input", "output"):
            if is_command:
                marks.notes.append(
                    f"{card.place()}: a line that begins with *#, which ngspice runs and nothing here does"
                )
                continue
            raise card.refuse(f"a mark must be train, input or output, found {card.text.strip()[:30]!r}")
        if is_command:
            marks.notes.append(
                f"{card.place()}: ngspice takes lines that begin with *# for commands and complains; write *@ {kind}"
            )
        if len(words) < 2:
            raise card.refuse(f"a mark {kind} must name something, found nothing")
        if kind == "train":
            _train(marks, card, words[1:])
        elif kind == "input":
            marks.inputs += [Wish(word.lower(), card.refuse) for word in words[1:]]
        else:
            marks.outputs += [(Wish(p, card.refuse), n) for p, n in output_pairs(words[1:])]
    return marks


def _train(marks: Marks, card: Card, words: list[str]) -> None:
    unit = _UNITS.get(words[-1].lower())
    numbers = words[:-1] if unit is not None else words
    if len(numbers) < 3 or not (is_number(numbers[-1]) and is_number(numbers[-2])):
        raise card.refuse(
            f"a mark train must be names, a range of two numbers, and S or ohm, found {' '.join(words)[:60]!r}"
        )
    try:
        first, second = (read_number(word) for word in numbers[-2:])
    except NetlistError as error:
        raise card.refuse(str(error)) from None
    if not 0 < first < second:
        raise card.refuse(
            f"the range of a mark train must be two rising positive numbers, found {first:g} and {second:g}"
        )
    bounds = (1 / second, 1 / first) if unit else (first, second)
    marks.trainable += [Wish(word.lower(), card.refuse, bounds) for word in numbers[:-2]]


def output_pairs(words: Sequence[str]) -> list[tuple[str, str]]:
    """Nodes of outputs and their references: ``a,b`` is a pair, and so are ``n+`` and ``n-`` behind each other."""
    found: list[tuple[str, str]] = []
    for word in (word.lower() for word in words):
        positive, comma, negative = word.partition(",")
        last = found[-1] if found else ("", "")
        if not comma and word.endswith("-") and last == (f"{word[:-1]}+", "0"):
            found[-1] = (last[0], word)
        else:
            found.append((positive, negative if comma else "0"))
    return found


def matching(pattern: str, names: Iterable[str], whole: bool = False) -> list[str]:
    """Names that a pattern with ``*`` and ``?`` fits: the whole path, or, without a dot in it, the last part of it."""
    expression = re.compile("".join({"*": ".*", "?": "."}.get(c, re.escape(c)) for c in pattern))
    if whole or "." in pattern:
        return [name for name in names if expression.fullmatch(name)]
    return [name for name in names if expression.fullmatch(name.rpartition(".")[2])]
