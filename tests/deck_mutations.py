"""Netlists with something changed at random: typing errors, other words, lines in other places."""

from __future__ import annotations

import random
import re

_WORDS = [
    "0",
    "gnd",
    "GND",
    "a",
    "b",
    "in",
    "out",
    "1",
    "-1",
    "0.5",
    "1k",
    "1K",
    "2.2MEG",
    "4k7",
    "0x10",
    "1e",
    "1e400",
    "-3m",
    "5u",
    "10p",
    "1f",
    "2mil",
    "{1k}",
    "{2*3}",
    "'a*2'",
    "{rw}",
    "{",
    "}",
    "(",
    ")",
    "=",
    ",",
    ";",
    "$",
    "//",
    "*",
    "+",
    "'",
    '"',
    "{1/0}",
    "{x}",
    "r=1k",
    "m=2",
    "temp=50",
    "dtemp=5",
    "tc1=1m",
    "ic=1",
    "off",
    "area=2",
    "dc",
    "DC",
    "ac",
    "sin(",
    "pulse(0",
    "1)",
    "pwl(0",
    "1",
    "1",
    "2)",
    "v=",
    "i=",
    "value=",
    "gain=2",
    "v(a)",
    "i(v1)",
    ".end",
    ".ends",
    ".subckt",
    ".param",
    ".model",
    ".include",
    ".lib",
    ".control",
    ".endc",
    ".options",
    ".temp",
    ".global",
    ".func",
    ".op",
    ".ic",
    "x1",
    "r1",
    "d1",
    "q1",
    "m1",
    "k1",
    "l1",
    "b1",
    "e1",
    "g1",
    "d",
    "D",
    "npn",
    "params:",
    "params",
    "pow(2,3)",
    "max(1,2)",
    "limit(1,2)",
    "-2^2",
    "2**3",
    "1e-3",
    "1.5.2",
    "vdd!",
    "n+",
    "µ",
    "ß",
    "`ls`",
    "shell",
    "system",
    "is=1e-12",
    "n=2",
    "rs=10",
]
_LINES = (
    ".end",
    ".ends",
    ".control",
    ".endc",
    ".options temp=40",
    ".temp 55",
    ".param a=2",
    ".param zz={a+1}",
    ".include secret.txt",
    ".include ../outside.txt",
    ".lib x y",
    ".global a",
    "* comment",
    "+ 5",
    "R77 a 0 1k",
    "C77 a b 1u",
    "L77 a 0 1m",
    "X77 a b nothing",
    "shell touch executed",
    ".shell touch executed",
    "*#shell touch executed",
    "B77 z9 0 V=V(a)^2",
    "D77 a 0 nomodel",
    ".model D77 D(IS=1p)",
    ".subckt s77 p q",
    "I77 0 a 1u",
    ".func f77(x) {x*2}",
    ".nodeset v(a)=1",
)


def mutated(text: str, random_: random.Random) -> str:
    """A text with one to three changes."""
    for _ in range(random_.choice((1, 1, 1, 2, 3))):
        text = random_.choice(_CHANGES)(text, random_)
    return text


def _lines_changed(change):
    def changed(text: str, random_: random.Random) -> str:
        lines = text.split("\n")
        return "\n".join(change(lines, random_)) if len(lines) > 3 else text

    return changed


def _place(lines: list[str], random_: random.Random) -> int:
    return random_.randrange(2, len(lines))


def _insert(lines: list[str], random_: random.Random) -> list[str]:
    at = _place(lines, random_)
    return [*lines[:at], random_.choice(_LINES), *lines[at:]]


def _delete(lines: list[str], random_: random.Random) -> list[str]:
    at = _place(lines, random_)
    return [*lines[:at], *lines[at + 1 :]]


def _double(lines: list[str], random_: random.Random) -> list[str]:
    at = _place(lines, random_)
    return [*lines[:at], lines[at], *lines[at:]]


def _swap(lines: list[str], random_: random.Random) -> list[str]:
    a, b = _place(lines, random_), _place(lines, random_)
    lines[a], lines[b] = lines[b], lines[a]
    return lines


def _word(change):
    def changed(lines: list[str], random_: random.Random) -> list[str]:
        at = _place(lines, random_)
        words = re.split(r"(\s+)", lines[at])
        lines[at] = "".join(change(words, random_))
        return lines

    return _lines_changed(changed)


def _replace_word(words: list[str], random_: random.Random) -> list[str]:
    words[random_.randrange(0, len(words), 2)] = random_.choice(_WORDS)
    return words


def _insert_word(words: list[str], random_: random.Random) -> list[str]:
    at = random_.randrange(0, len(words), 2)
    return [*words[:at], random_.choice(_WORDS), " ", *words[at:]]


def _delete_word(words: list[str], random_: random.Random) -> list[str]:
    at = random_.randrange(0, len(words), 2)
    return [*words[:at], *words[at + 1 :]]


def _swap_words(words: list[str], random_: random.Random) -> list[str]:
    a, b = (random_.randrange(0, len(words), 2) for _ in range(2))
    words[a], words[b] = words[b], words[a]
    return words


def _case(words: list[str], random_: random.Random) -> list[str]:
    at = random_.randrange(0, len(words), 2)
    words[at] = words[at].swapcase()
    return words


def _character(text: str, random_: random.Random) -> str:
    start = text.find("\n", text.find("\n") + 1) + 1
    at = random_.randrange(start, max(start + 1, len(text)))
    return (
        text[:at]
        + random_.choice(("", "x", " ", "0", "=", "{", "}", "(", ")", "\n", "\n+", "'", ".", "-", ";"))
        + text[at + 1 :]
    )


_CHANGES = (
    _lines_changed(_insert),
    _lines_changed(_delete),
    _lines_changed(_double),
    _lines_changed(_swap),
    _word(_replace_word),
    _word(_replace_word),
    _word(_insert_word),
    _word(_delete_word),
    _word(_swap_words),
    _word(_case),
    _character,
    _character,
)
