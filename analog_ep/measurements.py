"""Measured curves in CSV: columns by name, each with its unit, checked before anything is computed."""

from __future__ import annotations

import csv
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from analog_ep.constants import ZERO_CELSIUS
from analog_ep.errors import DataError

_PREFIXES = {"": 1.0, "k": 1e3, "m": 1e-3, "u": 1e-6, "µ": 1e-6, "μ": 1e-6, "n": 1e-9, "p": 1e-12, "f": 1e-15, "M": 1e6}
_HEADER = re.compile(r"\s*([A-Za-z_]\w*)\s*(?:\[([^\]]*)\])?\s*")


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
    """

    name: str
    columns: Mapping[str, np.ndarray]

    def __getitem__(self, name: str) -> np.ndarray:
        return self.columns[name]

    def __contains__(self, name: object) -> bool:
        return name in self.columns

    def __len__(self) -> int:
        return len(next(iter(self.columns.values())))

    def get(self, name: str) -> np.ndarray | None:
        """A column, or None where the file lacks it."""
        return self.columns.get(name)

    def require_rows(self, fewest: int, what: str) -> None:
        """Raise `DataError` where there are fewer rows than a fit needs."""
        if len(self) < fewest:
            raise DataError(f"{self.name}: {what} needs at least {fewest} points, found {len(self)}; measure more")


def read_table(path: Path, columns: tuple[Column, ...]) -> Table:
    """Read a CSV whose header names each column and its unit, as in ``voltage [V],current [mA]``.

    Lines that begin with ``#`` are comments. Further columns are left alone.

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
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise DataError(f"{path} must be a readable CSV file, found: {error.strerror}") from None
    except UnicodeDecodeError:
        raise DataError(f"{path} must be CSV in UTF-8, found other bytes") from None
    lines = [(i, line) for i, line in enumerate(text.splitlines(), start=1) if line.strip() and line.strip()[0] != "#"]
    if not lines:
        raise DataError(f"{path} must have a header such as {_example(columns)}, found an empty file")
    rows = list(csv.reader([line for _, line in lines], skipinitialspace=True))
    places = _places(path, rows[0], columns)
    if len(rows) < 2:
        raise DataError(f"{path} must have rows below its header, found none")
    values: dict[str, list[float]] = {column.name: [] for column, _, _ in places}
    for (line, _), row in zip(lines[1:], rows[1:], strict=True):
        for column, place, _ in places:
            values[column.name].append(_number(path, line, row, place, column))
    return Table(path.name, {c.name: _in_si(np.array(values[c.name]), c, scale) for c, _, scale in places})


def _places(path: Path, header: list[str], columns: tuple[Column, ...]) -> list[tuple[Column, int, float]]:
    """Column, its place, and its scale to SI; a scale of NaN stands for °C."""
    found: dict[str, tuple[int, str | None]] = {}
    for place, cell in enumerate(header):
        match = _HEADER.fullmatch(cell)
        if match is None:
            continue
        name = match[1].lower()
        if name in found:
            raise DataError(f"{path}: a column may stand once, found {name!r} twice")
        found[name] = (place, match[2])
    missing = [column.name for column in columns if column.required and column.name not in found]
    if missing:
        present = ", ".join(cell.strip() for cell in header)
        raise DataError(
            f"{path} must have the columns {_example(columns)}, found no {' and no '.join(missing)} in: {present}"
        )
    present = [column for column in columns if column.name in found]
    return [(column, found[column.name][0], _scale(path, column, found[column.name][1])) for column in present]


def _scale(path: Path, column: Column, unit: str | None) -> float:
    if unit is None:
        if column.unit == "1":
            return 1.0
        raise DataError(
            f"{path}: the column {column.name} must say its unit, as in '{column.name} [{column.unit}]', found none"
        )
    unit = unit.strip()
    if column.unit == "K" and unit in ("°C", "C", "degC"):
        return float("nan")
    if unit.endswith(column.unit) and unit[: -len(column.unit)] in _PREFIXES:
        return _PREFIXES[unit[: -len(column.unit)]]
    raise DataError(
        f"{path}: the column {column.name} must be in {column.unit}, with a prefix such as m or u where wanted, "
        f"found {unit!r}"
    )


def _number(path: Path, line: int, row: list[str], place: int, column: Column) -> float:
    cell = row[place].strip() if place < len(row) else ""
    try:
        value = float(cell)
    except ValueError:
        value = float("nan")
    if not np.isfinite(value):
        raise DataError(f"{path}, line {line}: {column.name} must be a finite number, found {cell or 'nothing'!r}")
    return value


def _in_si(values: np.ndarray, column: Column, scale: float) -> np.ndarray:
    return values + ZERO_CELSIUS if column.unit == "K" and np.isnan(scale) else values * scale


def _example(columns: tuple[Column, ...]) -> str:
    return ", ".join(f"'{c.name}{'' if c.unit == '1' else f' [{c.unit}]'}'" for c in columns if c.required)
