"""Signs of a measurement that is not what a fit takes it for, each with its lines."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import numpy as np
from scipy.special import fdtrc

from analog_ep.errors import DataError
from analog_ep.measurements import Table

_LOOSE, _LOOSE_ROWS, _LOOSE_CHANGE = 2e-3, 4, 0.1
_EXACT_ROWS, _EXACT_CHANGE = 3, 0.02
"""A plateau: so many rows in a row at the largest current, to a relative accuracy or exactly, while the voltage changes
by such a share."""

_NOISY, _EDGE, _NOISY_ROWS = ((0.02, 0.2), (0.06, 0.25), (0.12, 0.4)), 2, 14
"""A noisy one: so many rows within a share of the largest current, without two at either end, in which the voltage
changes by a larger share and the current shows no trend."""

_COUNTS = 0.1
"""Share of the largest current of all that the largest of a sign must have."""

_LEVEL = 0.01
"""Chance of missing such a plateau."""


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
    """Raise `DataError` where the largest current of a sign is held while the voltage goes on: a compliance."""
    voltage, current = table["voltage"], table["current"]
    largest = float(np.abs(current).max())
    # Instruments may limit one polarity alone, or each to its own current; what little flows in reverse is a device's.
    for sign in (1, -1):
        size = np.where(voltage * sign > 0, current * sign, 0.0)
        top = float(size.max())
        for begin, end in _plateaus(voltage, size, top) if top > _COUNTS * largest else ():
            there = voltage[begin:end]
            raise DataError(
                f"{table.place(begin)}: the current must follow the voltage, found it at "
                f"{np.median(current[begin:end]):.3g} A over {end - begin} rows from {there.min():g} to "
                f"{there.max():g} V, as in the compliance of an instrument; leave such rows out, or raise it"
            )


def _plateaus(voltage: np.ndarray, size: np.ndarray, top: float) -> Iterator[tuple[int, int]]:
    """Begin and end of rows that a compliance would hold, exactly or behind noise."""
    for limit, fewest, change in ((top, _EXACT_ROWS, _EXACT_CHANGE), ((1 - _LOOSE) * top, _LOOSE_ROWS, _LOOSE_CHANGE)):
        for begin, end in _runs(size >= limit):
            if end - begin >= fewest and _change(voltage[begin:end]) > change:
                yield begin, end
    for band, change in _NOISY:
        for begin, end in _runs(size >= (1 - band) * top):
            inner = slice(begin + _EDGE, end - _EDGE)
            if end - begin >= _NOISY_ROWS and _change(voltage[inner]) > change and _flat(voltage[inner], size[inner]):
                yield inner.start, inner.stop


def _runs(held: np.ndarray) -> Iterator[tuple[int, int]]:
    """Begin and end of rows in a row."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], held, [False]])))
    yield from list(pairwise(edges.tolist()))[::2]


def _change(voltage: np.ndarray) -> float:
    return float(np.ptp(voltage) / np.abs(voltage).max())


def _flat(voltage: np.ndarray, size: np.ndarray) -> bool:
    """Whether a current is a number and noise: neither voltage nor time, bent or not, says more of it (an F test)."""
    row = np.linspace(-1, 1, len(size))
    u = 2 * (voltage - voltage.min()) / np.ptp(voltage) - 1
    basis = np.column_stack([np.ones(len(size)), u, u**2, row, row**2])
    fitted = basis @ np.linalg.lstsq(basis, size)[0]
    rank = int(np.linalg.matrix_rank(basis))
    rest, explained = float(((size - fitted) ** 2).sum()), float(((fitted - size.mean()) ** 2).sum())
    degrees = len(size) - rank
    return rest > 0 and float(fdtrc(rank - 1, degrees, explained / (rank - 1) * degrees / rest)) > _LEVEL
