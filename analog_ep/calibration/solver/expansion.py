"""What a device's cards become once subcircuits and functions are written out: a few lines may ask for all memory."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from analog_ep.calibration.solver.cards import parts_of
from analog_ep.calibration.solver.lines import Line
from analog_ep.errors import CircuitError

MOST_ELEMENTS = 10_000
"""Elements that a device may have."""

MOST_CHARACTERS = 2_000_000
"""Length of its cards with every function written out."""

_DEEPEST = 100
_LARGEST = 1e300
_TOKEN = re.compile(r"[A-Za-z_][\w.]*|[(),]|\s+|[^\sA-Za-z_(),]+")


def subcircuit_of(line: Line) -> str:
    """Name of the subcircuit that an instance, an element with X, calls."""
    words = parts_of(line.text)
    first = next((i for i, word in enumerate(words) if word == "=" or word.lower() == "params:"), None)
    if first is not None:
        words = words[: first - (words[first] == "=")]
    return words[-1].lower() if len(words) > 1 else ""


def require_small(
    start: str, top: Sequence[Line], subcircuits: Mapping[str, Sequence[Line]], functions: Sequence[Line]
) -> None:
    """Raise `CircuitError` where the cards, written out, would be more than a device may hold.

    Parameters
    ----------
    start : str
        Name of the subcircuit that the device is; any other for a model.
    top : sequence of Line
        Cards outside of subcircuits.
    subcircuits : mapping of str to sequence of Line
        Cards of each, by name.
    functions : sequence of Line
        All ``.func`` cards.
    """
    sizes = _Sizes(subcircuits, _Functions(functions))
    characters = sum(sizes.functions.length(line) for line in top)
    elements = 0.0
    if start in subcircuits:
        inside = sizes.of(start, subcircuits[start][0])
        elements, characters = inside[0], characters + inside[1]
    where = (subcircuits.get(start) or top)[0].place
    for found, most, what in ((elements, MOST_ELEMENTS, "elements"), (characters, MOST_CHARACTERS, "characters")):
        if found > most:
            raise CircuitError(
                f"{where}: a device, with its subcircuits and functions written out, must be of at most {most} {what}, "
                f"found about {found:.0e}; give a simpler one"
            )


@dataclass
class _Sizes:
    """Elements and characters of subcircuits with what they call."""

    subcircuits: Mapping[str, Sequence[Line]]
    functions: _Functions
    _known: dict[str, tuple[float, float]] = field(default_factory=dict)
    _open: list[str] = field(default_factory=list)

    def of(self, name: str, caller: Line) -> tuple[float, float]:
        if name in self._known:
            return self._known[name]
        if name in self._open or len(self._open) > _DEEPEST:
            raise CircuitError(f"{caller.place}: a subcircuit must not call itself, found that {name!r} does")
        self._open.append(name)
        elements, characters = 0.0, 0.0
        for line in self.subcircuits[name]:
            characters += self.functions.length(line)
            if line.kind:
                continue
            called = subcircuit_of(line) if line.text[0] in "xX" else ""
            inside = self.of(called, line) if called in self.subcircuits else (1.0, 0.0)
            elements, characters = min(elements + inside[0], _LARGEST), min(characters + inside[1], _LARGEST)
        self._open.pop()
        self._known[name] = elements, characters
        return elements, characters


class _Functions:
    """Lengths of texts with functions written out.

    The length of a call is linear in those of its arguments: a row holds the length of the function's own text and,
    for each argument, how often it stands in it.
    """

    def __init__(self, lines: Sequence[Line]):
        self._definitions = {}
        for line in lines:
            head, _, body = line.text[len(".func") :].partition(")")
            name, _, arguments = head.partition("(")
            self._definitions[name.strip().lower()] = (line, [a.strip().lower() for a in arguments.split(",")], body)
        self._rows: dict[str, np.ndarray] = {}
        self._open: list[str] = []

    def length(self, line: Line) -> float:
        """Of a card. [characters]"""
        return float(self._measured(line.text, [])[0])

    def _row(self, name: str) -> np.ndarray:
        if name not in self._rows:
            line, arguments, body = self._definitions[name]
            if name in self._open or len(self._open) > _DEEPEST:
                raise CircuitError(f"{line.place}: a function must not call itself, found that {name!r} does")
            self._open.append(name)
            self._rows[name] = self._measured(body, arguments)
            self._open.pop()
        return self._rows[name]

    def _measured(self, text: str, arguments: list[str]) -> np.ndarray:
        """Length of a text, and how often each of `arguments` stands in it: `(1 + n_arguments,)`."""
        empty = np.zeros(1 + len(arguments))
        # What is open: the function called, if it is one, and the lengths of its arguments so far.
        stack: list[tuple[str, list[np.ndarray]]] = [("", [empty.copy()])]
        before = ""
        for match in _TOKEN.finditer(text):
            token = match[0].lower()
            if token == "(":
                stack.append((before if before in self._definitions else "", [empty.copy()]))
            elif token == "," and stack[-1][0]:
                stack[-1][1].append(empty.copy())
            elif token == ")" and len(stack) > 1:
                stack[-2][1][-1] += self._called(*stack.pop())
            elif token in arguments:
                stack[-1][1][-1][1 + arguments.index(token)] += 1
            else:
                stack[-1][1][-1][0] += len(token)
            before = token
        while len(stack) > 1:
            stack[-2][1][-1] += self._called(*stack.pop())
        return np.minimum(stack[0][1][0], _LARGEST)

    def _called(self, name: str, given: list[np.ndarray]) -> np.ndarray:
        if not name:
            return given[0] + 2 * np.eye(len(given[0]))[0]
        row = self._row(name)
        total = row[0] * np.eye(len(given[0]))[0]
        for times, argument in zip(row[1:], given, strict=False):
            total = np.minimum(total + np.minimum(times, 1e150) * np.minimum(argument, 1e150), _LARGEST)
        return total
