"""What the cells of a header name: a quantity, perhaps by another word for it, and its unit."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

_NUMBERS = re.compile(r"\d+$")
_BETWEEN = re.compile(r"[\s\-_.:]+")
_LONGEST = 200
_PLACES = re.compile(r"(\[\d+\]){2,}$")
"""What instruments count their measurements by, as in ``Smu1.Time[1][1]``."""

_MIDDLE = re.compile(r"^([^\[(]+)[\[(]([^\])]*)[\])]_(.+)$")
"""A unit within a heading, as in ``Conductance[S]_LTP``."""

_OF_AN_INSTRUMENT = frozenset({"ch", "channel", "smu", "measured", "meas"})

IsUnit = Callable[[str], bool]
"""Whether a text is a unit of the column that is looked for."""


@dataclass(frozen=True)
class Match:
    """A cell that names a column.

    Attributes
    ----------
    rank : int
        0 where it carries the column's own name, 1 where another word for it, 2 where that is its last word.
    unit : str or None
        As the cell has it.
    """

    rank: int
    unit: str | None


def matched(cell: str, name: str, others: tuple[str, ...], is_unit: IsUnit) -> Match | None:
    """How a cell of a header names a column; None where it does not.

    Units stand in brackets or behind a slash; of columns that instruments name in other words also behind a comma, a
    space or an underscore: ``current [mA]``, ``Current/mA``, ``Drain Current (A)``, ``I1, mA``, ``V_V``,
    ``Voltage-1 (V)``.

    Parameters
    ----------
    cell : str
        Of the header.
    name : str
        Of the column, in lower case.
    others : tuple of str
        Other words for it; with none of them only the name itself counts, and a unit in brackets or behind a slash.
    is_unit : callable
        Says of a text whether it is a unit of this column.
    """
    text, unit = parted(cell)
    if text.isidentifier() and text.lower() == name:
        return Match(0, unit)
    if not others:
        return None
    for words, found in [*([] if unit is not None else _with_bare_unit(text, is_unit)), (text, unit)]:
        rank = _rank(words, name, others)
        if rank is not None:
            return Match(rank, found)
    return None


def parted(cell: str) -> tuple[str, str | None]:
    """Name and unit of a cell with brackets or a slash; without them all of it, and None."""
    cell = _PLACES.sub("", cell)
    if within := _MIDDLE.match(cell):
        return f"{within[1].strip()}_{within[3].strip()}", within[2]
    for opening, closing in ("[]", "()"):
        text, mark, rest = cell.partition(opening)
        if mark and rest.endswith(closing):
            return text.strip(), rest[:-1]
    text, mark, unit = cell.partition("/")
    return text.strip(), unit if mark else None


def _with_bare_unit(text: str, is_unit: IsUnit) -> list[tuple[str, str]]:
    found = []
    for mark in (",", " ", "_"):
        words, there, unit = text.rpartition(mark)
        if there and words.strip() and is_unit(unit.strip()):
            found.append((words.strip(), unit.strip()))
    return found


def words_of(text: str) -> list[str]:
    """Words of a heading in lower case, without the numbers and names of channels."""
    if len(text) > _LONGEST:
        return []
    words = (_NUMBERS.sub("", word) for word in _BETWEEN.split(text.lower()))
    return [word for word in words if word and word not in _OF_AN_INSTRUMENT]


def _rank(text: str, name: str, others: tuple[str, ...]) -> int | None:
    words = words_of(text)
    if not words:
        return None
    whole = " ".join(words)
    if whole == name or whole in others:
        return 1
    return 2 if words[-1] == name or words[-1] in others else None
