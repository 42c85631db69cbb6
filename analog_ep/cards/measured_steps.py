"""Devices whose steps are drawn as they were measured: from a CSV of pulses straight to a `Lookup` model."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np

from analog_ep.cards.pulse_tables import read_pulses
from analog_ep.devices.pulses import Lookup
from analog_ep.errors import DataError, DeviceParameterError
from analog_ep.measurements import Table

_USUAL, _TIMES, _FAR = 0.9, 8.0, 0.4
"""A jump: so many times what most pulses do at most, and such a share of the range."""

_SIZES = ("n_conductances", "n_probabilities")
_OF_THE_DATA = ("table_up", "table_down", "w_min", "w_max")


def measured_steps(path: Path, **parameters: Any) -> Lookup:
    """The model whose steps are drawn from those of a CSV; its range of conductances stands for that of the network.

    Parameters
    ----------
    path : Path
        As `calibrate pulses` reads it, see `read_pulses`.
    **parameters
        `n_conductances` and `n_probabilities`, the size of the tables, and fields of `Lookup` other than its tables and
        bounds.

    Raises
    ------
    DataError
        If the file cannot be read, a pulse is anything but −1, 0 and +1, or 10 pulses of a sign are missing.
    DeviceParameterError
        If a parameter is unknown or outside its range.
    """
    known = [*_SIZES, *(f.name for f in dataclasses.fields(Lookup) if f.init and f.name not in _OF_THE_DATA)]
    for key, value in parameters.items():
        if key not in known:
            raise DeviceParameterError(f"measured steps have no parameter {key!r}; they have {', '.join(known)}")
        if key in _SIZES and not (isinstance(value, int) and value >= 2):
            raise DeviceParameterError(f"{key} must be a whole number of at least 2, found {value}")
    before, after, up = pulses_of(read_pulses(path))
    try:
        return Lookup.from_pulses(before, after, up, **parameters)
    except DataError as error:
        raise DataError(f"{path}: {error}") from None


def pulses_of(table: Table) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Conductance before and after each pulse [S], and whether it potentiates, `(n_pulses,)` each.

    Raises
    ------
    DataError
        If a pulse is anything but −1, 0 and +1, or a train begins without a 0.
    """
    require_signs(table)
    pulse, conductance, device = table["pulse"], table["conductance"], table.get("device")
    # The first row of a device has no read before it; a 0 begins anew.
    same = np.ones(len(pulse) - 1, bool) if device is None else device[1:] == device[:-1]
    real = np.flatnonzero((pulse[1:] != 0) & same) + 1
    _require_starts(table, real)
    return conductance[real - 1], conductance[real], pulse[real] > 0


def _require_starts(table: Table, rows: np.ndarray) -> None:
    """Raise `DataError` where a pulse takes the conductance far against its sign: a train begins there, unsaid."""
    conductance, pulse = table["conductance"], table["pulse"]
    change = conductance[rows] - conductance[rows - 1]
    if not len(rows):
        return
    usual = float(np.quantile(np.abs(change), _USUAL))
    far = (np.abs(change) > _TIMES * usual) & (np.abs(change) > _FAR * np.ptp(conductance)) & (change * pulse[rows] < 0)
    if far.any():
        at = int(far.argmax())
        row = int(rows[at])
        raise DataError(
            f"{table.place(row)}: a pulse must not take the conductance far against its sign, found "
            f"{conductance[row - 1]:g} to {conductance[row]:g} S by a pulse of {pulse[row]:+g}, and {int(far.sum())} "
            "such in all; where a train begins, put a row with pulse 0 and its first conductance, or make this one's 0"
        )


def require_signs(table: Table) -> None:
    """Raise `DataError` where a pulse is anything but −1, 0 and +1."""
    wrong = np.flatnonzero(~np.isin(table["pulse"], (-1, 0, 1)))
    if len(wrong):
        found, where = table["pulse"][wrong[0]], table.where(wrong[0])
        raise DataError(
            f"{table.name}: pulse must be 1, -1, or 0 where a train begins, found {found:g} in {where}; of a "
            "column that counts pulses, or has their volts, write each pulse's sign"
        )
