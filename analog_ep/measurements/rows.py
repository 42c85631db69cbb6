"""Rows of a CSV from an instrument or a spreadsheet: where its columns begin, and what lies between their numbers."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from analog_ep.errors import DataError
from analog_ep.measurements.content import decoded, read_limited
from analog_ep.measurements.sheets import SUFFIXES, sheet_lines

_DELIMITERS = (",", ";", "\t")
_SPACES = " "
"""Between cells that nothing else parts: any number of them."""

_PREAMBLE = 500
"""Lines among which the header is looked for."""

_LONGEST = 64
"""Characters of a number."""

_OVERFLOW = 9e36
"""Instruments write 9.9e37 where they are out of range, 9.91e37 where they have no value, others the largest float."""


@dataclass(frozen=True)
class Source:
    """A file as it was read, which is done once.

    Attributes
    ----------
    path : Path
        The file.
    lines : list of (int, str)
        Numbers of lines and lines, without empty ones and comments; of a workbook, rows of the first sheet.
    delimiters : sequence of str
        What may lie between cells.
    """

    path: Path
    lines: list[tuple[int, str]]
    delimiters: Sequence[str]


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
    source: Source, known: Callable[[list[str]], int], example: str, require: Callable[[list[str]], object]
) -> Rows:
    """Find the header of a file, and its rows.

    Parameters
    ----------
    source : Source
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
        If the file is empty, or a row has more cells than the header.
    """
    path, lines = source.path, source.lines
    if not lines:
        raise DataError(f"{path} must have a header such as {example}, found an empty file")
    at, delimiter = _header_of(source, known)
    header = _cells(path, *lines[-at], delimiter)
    while header and not header[-1]:
        header.pop()
    below = lines[1 - at :]
    try:
        require(header)
    except DataError:
        header, below = _with_units(path, header, below, delimiter), below[1:]
        require(header)
    names = [cell.lower() for cell in header]
    rows = []
    for number, line in below:
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


def _header_of(source: Source, known: Callable[[list[str]], int]) -> tuple[int, str]:
    """Minus the place of the header among the lines, and what parts its cells."""
    first = source.lines[:_PREAMBLE]
    # What an instrument writes above its columns names none of them.
    split = [
        (known(_cells_if_any(source.path, n, line, mark)), -i, mark)
        for i, (n, line) in enumerate(first)
        for mark in source.delimiters
    ]
    named, at, delimiter = max(split, key=lambda found: found[:2])
    spaced = max((known(line.split()), -i) for i, (_, line) in enumerate(first))
    # A sentence may hold one such word.
    if spaced[0] > max(named, 1):
        at, delimiter = spaced[1], _SPACES
    return at, delimiter


def _with_units(path: Path, header: list[str], below: list[tuple[int, str]], delimiter: str) -> list[str]:
    """A header with the units of a row of their own below it; itself where there is none."""
    cells = _cells(path, *below[0], delimiter) if below else []
    if not any(cells) or any(_parsed(cell, delimiter) is not None for cell in cells):
        return header
    units = [*cells, *([""] * len(header))]
    return [f"{name} [{unit}]" if unit else name for name, unit in zip(header, units, strict=False)]


def read_headless(source: Source, header: Sequence[str], places: Sequence[int]) -> Rows:
    """Rows under a header that the file lacks, or has in other words: from the first one with numbers in it on.

    Parameters
    ----------
    source : Source
        The file.
    header : sequence of str
        Cells of the header.
    places : sequence of int
        Which of them name a column.

    Raises
    ------
    DataError
        If no row has numbers at all these places.
    """
    path = source.path
    found: list[tuple[int, str, list[tuple[int, list[str]]]]] = []
    for mark in (*source.delimiters, _SPACES):
        rows = [(number, _cells_if_any(path, number, line, mark)) for number, line in source.lines]
        fits = [all(i < len(cells) and _parsed(cells[i], mark) is not None for i in places) for _, cells in rows]
        first = fits.index(True) if any(fits) else len(fits)
        found.append((sum(fits), mark, [row for row in rows[first:] if any(row[1])]))
    count, delimiter, rows = max(found, key=lambda each: each[0])
    if not count:
        raise DataError(
            f"{path} must have rows with numbers in {_of_cells([i + 1 for i in places])}, as the columns "
            "given say, found none"
        )
    return Rows(path, delimiter, list(header), rows)


def _of_cells(numbers: Sequence[int]) -> str:
    return f"cell {numbers[0]}" if len(numbers) == 1 else f"cells {', '.join(map(str, numbers))}"


def read_source(path: Path) -> Source:
    """Read a file.

    Raises
    ------
    DataError
        If it cannot be read.
    """
    try:
        if path.suffix.lower() in SUFFIXES:
            return Source(path, list(sheet_lines(path)), "\t")
        if path.suffix.lower() == ".xls":
            raise DataError(f"{path} must be CSV or a workbook .xlsx, found .xls; save it as one of them")
        return Source(path, list(_lines(path)), _DELIMITERS)
    except OSError as error:
        raise DataError(f"{path} must be a readable CSV file, found: {error.strerror}") from None
    except UnicodeDecodeError:
        raise DataError(f"{path} must be CSV in text, found other bytes") from None


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    """Lines that are neither empty nor comments, with their numbers."""
    text = decoded(read_limited(path))
    for number, line in enumerate(text.replace("\r\n", "\n").replace("\r", "\n").split("\n"), start=1):
        bare = line.strip()
        # Excel's first line may say the delimiter, which the header shows anyway.
        if bare and bare[0] != "#" and not (number == 1 and bare.lower().startswith("sep=")):
            yield number, line


def _cells(path: Path, number: int, line: str, delimiter: str) -> list[str]:
    if delimiter == _SPACES:
        return line.split()
    if '"' not in line:
        return [cell.strip() for cell in line.split(delimiter)]
    try:
        (row,) = csv.reader([line], delimiter=delimiter, skipinitialspace=True, strict=True)
    except (csv.Error, ValueError) as error:
        raise DataError(f"{path}, line {number}: must be cells of a CSV, found: {error}") from None
    return [cell.strip() for cell in row]


def _cells_if_any(path: Path, number: int, line: str, delimiter: str) -> list[str]:
    """Cells of a line that may be no such row; none where its quotes do not fit."""
    try:
        return _cells(path, number, line, delimiter)
    except DataError:
        return []


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
