"""Measured curves in tables: columns by name, each with its unit, checked before anything is computed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from rich.table import Table as RichTable

from analog_ep.errors import DataError
from analog_ep.measurements.headings import Match, matched
from analog_ep.measurements.rows import (
    Rows,
    Source,
    number_in,
    read_headless,
    read_rows,
    read_source,
    require_one_point,
)
from analog_ep.measurements.units import si_scale


@dataclass(frozen=True)
class Column:
    """A column that a table must, or may, have.

    Attributes
    ----------
    name : str
        As the header carries it.
    unit : str
        SI unit, "1" for none; the header may put a prefix before it. A temperature may be in °C.
    required : bool
        Whether it must be there.
    others : tuple of str
        Other words for it, in lower case; with some of them the header may be as instruments write it, see `matched`.
    """

    name: str
    unit: str
    required: bool = True
    others: tuple[str, ...] = ()


VOLTAGE = Column("voltage", "V", others=("v", "u", "volt", "volts", "bias", "vf"))
CURRENT = Column("current", "A", others=("i", "amps", "if"))
"""Columns of characteristics, as instruments call them."""


@dataclass(frozen=True, eq=False)
class Table:
    """Columns of one CSV file, in SI units.

    Attributes
    ----------
    name : str
        Name of the file.
    columns : dict of str to ndarray (n_rows,)
        By name; optional columns that the file lacks are not there.
    lines : ndarray (n_rows,) or None
        Lines of the file; None where the table is from none.
    cells : dict of str to str
        The header's cell that each column was taken from.
    """

    name: str
    columns: Mapping[str, np.ndarray]
    lines: np.ndarray | None = None
    cells: Mapping[str, str] = field(default_factory=dict)

    def __getitem__(self, name: str) -> np.ndarray:
        return self.columns[name]

    def __contains__(self, name: object) -> bool:
        return name in self.columns

    def __len__(self) -> int:
        return len(next(iter(self.columns.values())))

    def get(self, name: str) -> np.ndarray | None:
        """A column, or None where the file lacks it."""
        return self.columns.get(name)

    def place(self, row: int) -> str:
        """File and line of a row, as an error begins."""
        return f"{self.name}, {self.where(row)}"

    def where(self, row: int) -> str:
        """Line of a row, or its number where the table is from no file."""
        return f"row {row + 1}" if self.lines is None else f"line {self.lines[row]}"

    def understood(self) -> RichTable:
        """What was read, column by column, as a table for a terminal."""
        shown = RichTable("column", "in the file", "rows", "from", "to", title=self.name, title_justify="left")
        for name, values in self.columns.items():
            shown.add_row(
                name, self.cells.get(name, ""), f"{len(values)}", f"{values.min():.6g}", f"{values.max():.6g}"
            )
        return shown

    def require_rows(self, fewest: int, what: str) -> None:
        """Raise `DataError` where there are fewer rows than a fit needs."""
        if len(self) < fewest:
            raise DataError(f"{self.name}: {what} needs at least {fewest} points, found {len(self)}; measure more")


def read_table(path: Path, columns: tuple[Column, ...], header: str | None = None) -> Table:
    """Read a CSV, or the first sheet of an XLSX, whose header names columns and units: ``voltage [V],current [mA]``.

    Cells are parted by commas, semicolons or tabs, where numbers may have decimal commas; lines that begin with ``#``
    are comments, those above the header are left alone, and so are further columns and repeated headers. UTF-8, UTF-16
    and Windows-1252 are read.

    Parameters
    ----------
    path : Path
        The file.
    columns : tuple of Column
        What it must and may have.
    header : str, optional
        Cells of a header, with commas between them, in place of the file's own, if it has one; those that are empty or
        name no column stand for cells that are left alone.

    Raises
    ------
    DataError
        If the file cannot be read, lacks a column or its unit, has another unit, or holds anything but finite numbers;
        naming the line at fault.
    """
    return table_of(read_source(path), columns, header)


def table_of(source: Source, columns: tuple[Column, ...], header: str | None = None) -> Table:
    """The table of a file that was read, as `read_table` makes it."""
    path = source.path
    if header is None:
        rows = read_rows(
            source, lambda cells: _known(cells, columns), _example(columns), lambda cells: _places(path, cells, columns)
        )
    else:
        cells = [cell.strip() for cell in header.split(",")]
        rows = read_headless(source, cells, [place for _, place, _ in _places(path, cells, columns)])
    places = _places(path, rows.header, columns)
    require_one_point(rows, [place for _, place, _ in places])
    values = {column.name: _column(rows, column, place, scale) for column, place, scale in places}
    taken = {column.name: rows.header[place] for column, place, _ in places}
    return Table(path.name, values, np.array([line for line, _ in rows.cells]), taken)


def _column(rows: Rows, column: Column, place: int, scale: tuple[float, float]) -> np.ndarray:
    factor, offset = scale
    return np.array([number_in(rows, row, place, column.name) for row in rows.cells]) * factor + offset


def _matched(cell: str, column: Column) -> Match | None:
    return matched(cell, column.name, column.others, lambda unit: si_scale(unit, column.unit) is not None)


def _known(cells: list[str], columns: tuple[Column, ...]) -> int:
    """How many columns a row of cells names."""
    return sum(any(_matched(cell, column) is not None for cell in cells) for column in columns)


def _places(
    path: Path, header: list[str], columns: tuple[Column, ...]
) -> list[tuple[Column, int, tuple[float, float]]]:
    """Column, its place, and its scale to SI: factor and offset."""
    found = {column.name: _place(path, header, column) for column in columns}
    missing = [column.name for column in columns if column.required and found[column.name] is None]
    if missing:
        present = ", ".join(header)
        present = f"{present[:200]}…" if len(present) > 200 else present
        raise DataError(
            f"{path} must have the columns {_example(columns)}, found no {' and no '.join(missing)} in: {present}"
        )
    return [
        (column, at[0], _scale(path, column, at[1])) for column in columns if (at := found[column.name]) is not None
    ]


def _place(path: Path, header: list[str], column: Column) -> tuple[int, str | None] | None:
    """Place and unit of the cell that names a column best; None where none does."""
    matches = [(match, place) for place, cell in enumerate(header) if (match := _matched(cell, column)) is not None]
    if not matches:
        return None
    rank = min(match.rank for match, _ in matches)
    best = [(place, match.unit) for match, place in matches if match.rank == rank]
    if len(best) == 1:
        return best[0]
    if rank == 0:
        raise DataError(f"{path}: a column may stand once, found {column.name!r} twice")
    found = ", ".join(repr(header[place]) for place, _ in best)
    raise DataError(
        f"{path}: one column must be the {column.name}, found {len(best)} that may be: {found}; name them by "
        f"--columns, with an empty cell for each that is not used"
    )


def _scale(path: Path, column: Column, unit: str | None) -> tuple[float, float]:
    if unit is None:
        if column.unit == "1":
            return 1.0, 0.0
        raise DataError(
            f"{path}: the column {column.name} must say its unit, as in '{column.name} [{column.unit}]', found none"
        )
    scale = si_scale(unit, column.unit)
    if scale is None:
        raise DataError(
            f"{path}: the column {column.name} must be in {column.unit}, with a prefix such as m or u where wanted, "
            f"found {unit.strip()!r}"
        )
    return scale


def _example(columns: tuple[Column, ...]) -> str:
    return ", ".join(f"'{c.name}{'' if c.unit == '1' else f' [{c.unit}]'}'" for c in columns if c.required)
