"""Scales of rows and columns that make a matrix's inverse and its rounding comparable."""

from __future__ import annotations

import numpy as np


def scales(magnitude: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Powers of two for rows and columns, `(*batch, n)` each, that bring the largest entries near one.

    Parameters
    ----------
    magnitude : ndarray (*batch, n, n)
        Of the entries.
    """
    rows, columns = np.ones(magnitude.shape[:-1]), np.ones(magnitude.shape[:-1])
    for _ in range(4):
        scaled = rows[..., None] * magnitude * columns[..., None, :]
        rows *= _root(scaled.max(-1, initial=0.0))
        columns *= _root(scaled.max(-2, initial=0.0))
    return rows, columns


def _root(size: np.ndarray) -> np.ndarray:
    return np.where((size > 0) & np.isfinite(size), 2.0 ** -np.round(0.5 * np.log2(size)), 1.0)
