"""What an independent source gives at rest: its DC value, or its waveform at time 0."""

from __future__ import annotations

import itertools
import math

from analog_ep.designs.scopes import Quantity, Scope
from analog_ep.designs.source import Card, Word

_MARKS = ("dc", "ac")
_SHAPES = {"sin": (2, 7), "pulse": (2, 8), "exp": (2, 6), "pwl": (2, 10_000), "sffm": (2, 5)}
"""Waveforms, with the least and the largest number of their values."""


def source_value(card: Card, words: list[Word], scope: Scope) -> Quantity:
    """The value at rest of a V or I card's words behind its nodes; 0 where none is given. [V] or [A]

    Raises
    ------
    NetlistError
        If the words are not ``[DC] value``, ``AC magnitude phase`` and one waveform, in any order.
    """
    level: Quantity | None = None
    shape: tuple[Word, list[float]] | None = None
    at = 0
    words = [word for word in words if word.text != "="]
    while at < len(words):
        word = words[at]
        if word.lower == "dc" or (at == 0 and not _is_keyword(word)):
            place = at + (word.lower == "dc")
            if level is not None:
                raise word.refuse("a source must have one DC value, found two")
            if place >= len(words) or _is_keyword(words[place]):
                raise word.refuse("a DC value must stand behind DC, found none")
            level, at = scope.read(words[place]), place + 1
        elif word.lower == "ac":
            _, at = _numbers(words, at + 1, scope, 2)
        elif word.lower in _SHAPES and shape is None:
            values, at = _numbers(words, at + 1, scope, _SHAPES[word.lower][1])
            shape = word, values
        else:
            raise word.refuse(
                f"a source must be of a DC value, AC with magnitude and phase, and one of "
                f"{', '.join(_SHAPES)}, found {word.text[:40]!r}"
            )
    if shape is not None:
        begin = _at_zero(*shape)
        if level is None:
            return Quantity(begin)
    return level if level is not None else Quantity(0.0)


def _is_keyword(word: Word) -> bool:
    return word.text[0].isalpha()


def _numbers(words: list[Word], at: int, scope: Scope, most: int) -> tuple[list[float], int]:
    values: list[float] = []
    while at < len(words) and not _is_keyword(words[at]) and len(values) < most:
        values.append(scope.read(words[at]).value)
        at += 1
    return values, at


def _at_zero(word: Word, values: list[float]) -> float:
    shape = word.lower
    if len(values) < _SHAPES[shape][0]:
        raise word.refuse(f"{shape.upper()} must have {_SHAPES[shape][0]} values at least, found {len(values)}")
    if shape == "pwl":
        return _corner(word, values)
    if shape == "sin":
        offset, amplitude, _, delay, _, phase = (*values[:6], *[0.0] * (6 - len(values)))
        if delay < 0:
            raise word.refuse(f"SIN must begin at 0 s or later, found a delay of {delay:g} s")
        return offset + amplitude * math.sin(math.radians(phase))
    if shape == "sffm":
        raise word.refuse("a source with SFFM must have a DC value too, found none; give it")
    delay = values[2] if len(values) > 2 else 0.0
    if delay < 0:
        raise word.refuse(f"{shape.upper()} must begin at 0 s or later, found a delay of {delay:g} s")
    return values[0]


def _corner(word: Word, values: list[float]) -> float:
    """A piecewise-linear waveform at time 0."""
    times, levels = values[::2], values[1::2]
    if len(times) != len(levels) or any(b <= a for a, b in itertools.pairwise(times)):
        raise word.refuse("PWL must be pairs of a rising time and a value, found others")
    if times[0] >= 0:
        return levels[0]
    for before, after, low, high in zip(times, times[1:], levels, levels[1:], strict=False):
        if before <= 0 <= after:
            return low + (high - low) * -before / (after - before)
    return levels[-1]
