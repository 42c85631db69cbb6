"""Measured curves in CSV: columns by name, each with its unit, checked before anything is computed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from analog_ep.errors import DataError
from analog_ep.measurements.rows import Rows, number_in, read_rows, require_one_point
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
    """

    name: str
    unit: str
    required: bool = True


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
    """

    name: str
    columns: Mapping[str, np.ndarray]
    lines: np.ndarray | None = None

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

    def require_rows(self, fewest: int, what: str) -> None:
        """Raise `DataError` where there are fewer rows than a fit needs."""
        if len(self) < fewest:
            raise DataError(f"{self.name}: {what} needs at least {fewest} points, found {len(self)}; measure more")


def read_table(path: Path, columns: tuple[Column, ...]) -> Table:
    """Read a CSV whose header names each column and its unit, as in ``voltage [V],current [mA]``.

    Cells are parted by commas, semicolons or tabs, where numbers may have decimal commas; lines that begin with ``#``
    are comments, those above the header are left alone, and so are further columns and repeated headers. UTF-8, UTF-16
    and Windows-1252 are read.

    Parameters
    ----------
    path : Path
        The file.
    columns : tuple of Column
        What it must and may have.

    Raises
    ------
    DataError
        If the file cannot be read, lacks a column or its unit, has another unit, or holds anything but finite numbers;
        naming the line at fault.
    """
    rows = read_rows(
        path, lambda cells: _known(cells, columns), _example(columns), lambda header: _places(path, header, columns)
    )
    places = _places(path, rows.header, columns)
    require_one_point(rows, [place for _, place, _ in places])
    values = {column.name: _column(rows, column, place, scale) for column, place, scale in places}
    return Table(path.name, values, np.array([line for line, _ in rows.cells]))


def _column(rows: Rows, column: Column, place: int, scale: tuple[float, float]) -> np.ndarray:
    factor, offset = scale
    return np.array([number_in(rows, row, place, column.name) for row in rows.cells]) * factor + offset


def _heading(cell: str) -> tuple[str, str | None] | None:
    """Name, in lower case, and unit of a header's cell; None where it is none."""
    for opening, closing in ("[]", "()"):
        name, mark, rest = cell.partition(opening)
        if mark and rest.endswith(closing):
            return (name.strip().lower(), rest[:-1]) if name.strip().isidentifier() else None
    name, mark, unit = cell.partition("/")
    if not name.strip().isidentifier():
        return None
    return name.strip().lower(), unit if mark else None


def _known(cells: list[str], columns: tuple[Column, ...]) -> int:
    """How many columns a row of cells names."""
    names = {heading[0] for cell in cells if (heading := _heading(cell)) is not None}
    return sum(column.name in names for column in columns)


def _places(
    path: Path, header: list[str], columns: tuple[Column, ...]
) -> list[tuple[Column, int, tuple[float, float]]]:
    """Column, its place, and its scale to SI: factor and offset."""
    found: dict[str, tuple[int, str | None]] = {}
    for place, cell in enumerate(header):
        heading = _heading(cell)
        if heading is None:
            continue
        name, unit = heading
        if name in found:
            raise DataError(f"{path}: a column may stand once, found {name!r} twice")
        found[name] = (place, unit)
    missing = [column.name for column in columns if column.required and column.name not in found]
    if missing:
        present = ", ".join(header)
        present = f"{present[:200]}…" if len(present) > 200 else present
        raise DataError(
            f"{path} must have the columns {_example(columns)}, found no {' and no '.join(missing)} in: {present}"
        )
    present = [column for column in columns if column.name in found]
    return [(column, found[column.name][0], _scale(path, column, found[column.name][1])) for column in present]


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
