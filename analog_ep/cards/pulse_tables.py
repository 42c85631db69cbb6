"""Pulse trains as they are written down: a row a pulse, or the conductances of whole trains in columns of their own."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from analog_ep.errors import DataError
from analog_ep.measurements import Column, Table, si_scale
from analog_ep.measurements.headings import matched, parted, words_of
from analog_ep.measurements.rows import Rows, number_in, read_headless, read_rows, read_source
from analog_ep.measurements.table import table_of

_CONDUCTANCE, _RESISTANCE = Column("conductance", "S", others=("g",)), Column("resistance", "ohm", others=("r",))
_PULSE, _DEVICE = Column("pulse", "1"), Column("device", "1", required=False)
PULSE_COLUMNS = (_PULSE, _CONDUCTANCE, _DEVICE)
"""Columns of a table of pulses: +1, −1, or 0 where a train begins; the conductance read after it; which device."""

_EXAMPLE = "'pulse', 'conductance [S]', or 'up [S]', 'down [S]'"
_TRAINS = {
    "up": {"up", "potentiation", "pot", "ltp", "set"},
    "down": {"down", "depression", "dep", "ltd", "reset"},
}
"""Words by which a column tells that its pulses raise or lower the conductance."""

_NO_TRAIN = frozenset({"time", "number", "no", "index", "count", "voltage", "cycle"})
"""What a column counts that tells of a train, and is none: ``Time[ns]_LTP``, ``Pulse number (LTD)``."""

_NO_UNIT = frozenset({"1", "a.u.", "au", "norm", "norm.", "normalized", "normalised"})
"""What stands in place of the unit of shares."""


def read_pulses(path: Path, header: str | None = None, window: tuple[float, float] | None = None) -> Table:
    """Pulses and the conductances after them: columns `pulse`, `conductance` [S] and, of several, `device`.

    The file has these, or a `resistance` [ohm] in place of the conductance; or a column for each train, ``up [S]`` and
    ``down [S]`` (potentiation, LTP; depression, LTD), whose first value is that before the first pulse. Trains may be
    of different lengths, and there may be several of a sign, one a cycle. Those without a unit are shares of a window.

    Parameters
    ----------
    path : Path
        A CSV or an XLSX, see `read_table`.
    header : str, optional
        In place of the file's own.
    window : (float, float), optional
        Conductances that 0 and 1 stand for in trains without a unit. [S]

    Raises
    ------
    DataError
        If the file is no such table; naming the line at fault.
    """
    source = read_source(path)
    rows = read_rows(source, _known, _EXAMPLE, lambda cells: None) if header is None else None
    cells = rows.header if rows is not None else [cell.strip() for cell in str(header).split(",")]
    has_conductance, has_resistance = (
        any(_is(cell, column) for cell in cells) for column in (_CONDUCTANCE, _RESISTANCE)
    )
    if any(map(_sign, cells)) and not has_conductance and not has_resistance:
        rows = rows or read_headless(source, cells, [place for place, cell in enumerate(cells) if _sign(cell)])
        return _of_trains(path, rows, window)
    if has_conductance or not has_resistance:
        return table_of(source, PULSE_COLUMNS, header)
    return _from_resistances(table_of(source, (_PULSE, _RESISTANCE, _DEVICE), header))


def _from_resistances(found: Table) -> Table:
    ohms = found["resistance"]
    wrong = np.flatnonzero(ohms <= 0)
    if len(wrong):
        raise DataError(f"{found.place(int(wrong[0]))}: a resistance must be positive, found {ohms[wrong[0]]:g} ohm")
    columns = {"conductance": 1 / ohms} | {name: each for name, each in found.columns.items() if name != "resistance"}
    cells = {"conductance": f"1/{found.cells['resistance']}"} | dict(found.cells)
    return Table(found.name, columns, found.lines, cells)


def _is(cell: str, column: Column) -> bool:
    return matched(cell, column.name, column.others, lambda unit: si_scale(unit, column.unit) is not None) is not None


def _sign(cell: str) -> int:
    """+1 or −1 of a column of a train, 0 of others."""
    words = set(words_of(parted(cell)[0]))
    if words & _NO_TRAIN:
        return 0
    up, down = bool(words & _TRAINS["up"]), bool(words & _TRAINS["down"])
    return int(up) - int(down)


def _known(cells: Sequence[str]) -> int:
    """How many columns a row of cells names."""
    wanted = (_PULSE, _DEVICE, _CONDUCTANCE, _RESISTANCE)
    return sum(any(_is(cell, column) for cell in cells) for column in wanted) + sum(map(bool, map(_sign, cells)))


def _of_trains(path: Path, rows: Rows, window: tuple[float, float] | None) -> Table:
    pulse, conductance, lines = [], [], []
    places = [(place, sign) for place, cell in enumerate(rows.header) if (sign := _sign(cell))]
    for place, sign in places:
        scale = _unit_scale(path, rows.header[place])
        factor, offset = _window_scale(path, rows.header[place], window) if scale is None else scale
        # A train may be shorter than the longest one: its cells are empty below.
        own = [row for row in rows.cells if place < len(row[1]) and row[1][place]]
        values = [number_in(rows, row, place, rows.header[place]) for row in own]
        if scale is None:
            _require_shares(path, own, values)
        pulse += [0] + [sign] * (len(values) - 1) if values else []
        conductance += [factor * value + offset for value in values]
        lines += [line for line, _ in own]
    taken = ", ".join(rows.header[place] for place, _ in places)
    columns = {"pulse": np.array(pulse, dtype=np.float64), "conductance": np.array(conductance)}
    return Table(path.name, columns, np.array(lines), dict.fromkeys(columns, taken))


def _unit_scale(path: Path, cell: str) -> tuple[float, float] | None:
    """From a value under a heading to a conductance [S]: factor and offset; None where it says that it has no unit."""
    _, unit = parted(cell)
    if unit is None or unit.strip().lower() in _NO_UNIT:
        return None
    scale = si_scale(unit, "S")
    if scale is None:
        raise DataError(
            f"{path}: the column {cell!r} must be in S, with a prefix where wanted, or, as a share of a window, "
            f"without a unit, found {unit.strip()!r}"
        )
    return scale


def _window_scale(path: Path, cell: str, window: tuple[float, float] | None) -> tuple[float, float]:
    if window is None:
        raise DataError(
            f"{path}: the column {cell!r} must say its unit, as in '{cell.split()[0]} [S]', found none; where its "
            "values are shares of a window, from 0 to 1, give that by --range G_MIN G_MAX"
        )
    return window[1] - window[0], window[0]


def _require_shares(path: Path, rows: Sequence[tuple[int, list[str]]], values: Sequence[float]) -> None:
    for (line, _), value in zip(rows, values, strict=True):
        if not 0 <= value <= 1:
            raise DataError(f"{path}, line {line}: a share of the window must lie in 0…1, found {value:g}")
