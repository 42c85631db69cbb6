"""Rows of a CSV from an instrument or a spreadsheet: where its columns begin, and what lies between their numbers."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from analog_ep.errors import DataError
from analog_ep.measurements.content import decoded, read_limited

_DELIMITERS = (",", ";", "\t")
_PREAMBLE = 500
"""Lines among which the header is looked for."""

_LONGEST = 64
"""Characters of a number."""

_OVERFLOW = 9e36
"""Instruments write 9.9e37 where they are out of range, 9.91e37 where they have no value, others the largest float."""


@dataclass(frozen=True)
class Rows:
    """A header and what follows it.

    Attributes
    ----------
    path : Path
        The file.
    delimiter : str
        Between the cells; where it is no comma, numbers may have a decimal comma.
    header : list of str
        Cells of the header.
    cells : list of (int, list of str)
        Line and cells of every row.
    """

    path: Path
    delimiter: str
    header: list[str]
    cells: list[tuple[int, list[str]]]


def read_rows(
    path: Path, known: Callable[[list[str]], int], example: str, require: Callable[[list[str]], object]
) -> Rows:
    """Find the header of a file, and its rows.

    Parameters
    ----------
    path : Path
        The file.
    known : callable
        How many of the columns looked for a row of cells names.
    example : str
        A header as it should be.
    require : callable
        Raises where a header lacks a column; what is below it is looked at afterwards.

    Raises
    ------
    DataError
        If the file cannot be read, is empty, or a row has more cells than the header.
    """
    lines = list(_lines(path))
    if not lines:
        raise DataError(f"{path} must have a header such as {example}, found an empty file")
    # What an instrument writes above its columns names none of them.
    split = [
        (known(_cells(path, n, line, mark)), -i, mark) for i, (n, line) in enumerate(lines) for mark in _DELIMITERS
    ]
    _, at, delimiter = max(split, key=lambda found: found[:2])
    header = _cells(path, *lines[-at], delimiter)
    while header and not header[-1]:
        header.pop()
    require(header)
    names = [cell.lower() for cell in header]
    rows = []
    for number, line in lines[1 - at :]:
        cells = _cells(path, number, line, delimiter)
        if not any(cells) or [cell.lower() for cell in cells[: len(names)]] == names:
            continue
        if any(cells[len(header) :]):
            raise DataError(
                f"{path}, line {number}: a row must have the header's {len(header)} cells, found {len(cells)}; numbers "
                "with decimal commas need semicolons or tabs between them"
            )
        rows.append((number, cells))
    if not rows:
        raise DataError(f"{path} must have rows below its header, found none")
    return Rows(path, delimiter, header, rows)


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    """Lines that are neither empty nor comments, with their numbers."""
    try:
        text = decoded(read_limited(path))
    except OSError as error:
        raise DataError(f"{path} must be a readable CSV file, found: {error.strerror}") from None
    except UnicodeDecodeError:
        raise DataError(f"{path} must be CSV in text, found other bytes") from None
    for number, line in enumerate(text.replace("\r\n", "\n").replace("\r", "\n").split("\n"), start=1):
        bare = line.strip()
        # Excel's first line may say the delimiter, which the header shows anyway.
        if bare and bare[0] != "#" and not (number == 1 and bare.lower().startswith("sep=")):
            yield number, line


def _cells(path: Path, number: int, line: str, delimiter: str) -> list[str]:
    if '"' not in line:
        return [cell.strip() for cell in line.split(delimiter)]
    try:
        (row,) = csv.reader([line], delimiter=delimiter, skipinitialspace=True, strict=True)
    except (csv.Error, ValueError) as error:
        raise DataError(f"{path}, line {number}: must be cells of a CSV, found: {error}") from None
    return [cell.strip() for cell in row]


def number_in(rows: Rows, row: tuple[int, list[str]], place: int, name: str) -> float:
    """The number in a cell.

    Raises
    ------
    DataError
        If it is none, not finite, or the mark of an instrument for what it could not measure.
    """
    line, cells = row
    cell = cells[place] if place < len(cells) else ""
    value = _parsed(cell, rows.delimiter)
    if value is None:
        shown = f"{cell[:40]}…" if len(cell) > 40 else cell
        raise DataError(f"{rows.path}, line {line}: {name} must be a finite number, found {shown or 'nothing'!r}")
    if abs(value) >= _OVERFLOW:
        raise DataError(
            f"{rows.path}, line {line}: {name} must be measured, found {cell}, by which an instrument says that it was "
            "out of range; leave such lines out, or measure in a larger range"
        )
    return value


def _parsed(cell: str, delimiter: str) -> float | None:
    text = cell.replace("\N{MINUS SIGN}", "-")
    if delimiter != ",":
        text = text.replace(",", ".")
    if len(text) > _LONGEST or not text.isascii() or "_" in text:
        return None
    try:
        value = float(text)
    except ValueError:
        return None
    return value if abs(value) < float("inf") else None


def require_one_point(rows: Rows, places: list[int]) -> None:
    """Raise `DataError` where some numbers have a decimal point and others a comma: one of them parts thousands."""
    if rows.delimiter == ",":
        return
    seen: dict[str, int] = {}
    for line, cells in rows.cells:
        for place in places:
            for mark in {*cells[place]} & {".", ","} if place < len(cells) else ():
                seen.setdefault(mark, line)
    if len(seen) == 2:
        (first, other), (a, b) = seen.keys(), seen.values()
        raise DataError(
            f"{rows.path}, line {b}: numbers must have one decimal mark, found {other!r} here and {first!r} in line "
            f"{a}; write them without separators of thousands"
        )
