"""Signs of a measurement that is not what a fit takes it for, each with its lines."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from analog_ep.errors import DataError
from analog_ep.measurements import Table

_LOOSE, _LOOSE_ROWS, _LOOSE_CHANGE = 2e-3, 4, 0.1
_EXACT_ROWS, _EXACT_CHANGE = 3, 0.02
"""A plateau: so many rows in a row at the largest current, to a relative accuracy or exactly, while the voltage changes
by such a share."""


def require_signs_agree(table: Table, away: np.ndarray) -> None:
    """Raise `DataError` where, at either sign of the voltage, the current has the other one more often than by chance.

    Parameters
    ----------
    table : Table
        With `voltage` [V] and `current` [A].
    away : ndarray (n,)
        Rows whose voltage is large enough to count.
    """
    voltage, current = table["voltage"], table["current"]
    for sign, word in ((-1, "negative"), (1, "positive")):
        rows = np.flatnonzero(away & (np.sign(voltage) == sign))
        wrong = rows[np.sign(current[rows]) == -sign]
        # Noise makes half of them wrong, give or take √n/2.
        if len(wrong) > len(rows) / 2 + 1.2 * np.sqrt(len(rows)):
            first = wrong[0]
            raise DataError(
                f"{table.place(first)}: the current must have the sign of the voltage, found {current[first]:g} A at "
                f"{voltage[first]:g} V, and so in {len(wrong)} of {len(rows)} rows of {word} voltage; give the current "
                "with its sign, not its size, and without an offset, or leave these rows out"
            )


def require_no_plateau(table: Table) -> None:
    """Raise `DataError` where the largest current is held while the voltage goes on: an instrument's compliance."""
    voltage, size = np.abs(table["voltage"]), np.abs(table["current"])
    top = float(size.max())
    for limit, fewest, change in ((top, _EXACT_ROWS, _EXACT_CHANGE), ((1 - _LOOSE) * top, _LOOSE_ROWS, _LOOSE_CHANGE)):
        held = size >= limit
        edges = np.flatnonzero(np.diff(np.concatenate([[False], held, [False]])))
        for begin, end in list(pairwise(edges.tolist()))[::2]:
            there = voltage[begin:end]
            if end - begin >= fewest and np.ptp(there) > change * there.max():
                raise DataError(
                    f"{table.place(begin)}: the current must follow the voltage, found it at {top:g} A over "
                    f"{end - begin} rows from {there.min():g} to {there.max():g} V, as in the compliance of an "
                    "instrument; leave such rows out, or raise the compliance"
                )
