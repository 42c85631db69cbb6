"""Sums and products with twice the digits of float64, each number the sum of two.

Algorithms of Knuth and Dekker as in Ogita, Rump and Oishi, "Accurate sum and dot product," SIAM J. Sci. Comput. 26,
1955–1988, 2005, doi:10.1137/030601818. Relative errors are some 1e-31 of the largest term.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.sparse import csr_array

_SPLITTER = 2.0**27 + 1


@dataclass(frozen=True, eq=False)
class Double:
    """Numbers high + low, `low` at most half a unit in the last place of `high`."""

    high: np.ndarray
    low: np.ndarray

    @classmethod
    def of(cls, values: np.ndarray) -> Double:
        """Numbers that float64 holds."""
        return cls(values, np.zeros_like(values))

    @classmethod
    def difference(cls, first: np.ndarray, second: np.ndarray) -> Double:
        """The exact difference of float64 numbers."""
        return cls(*_two_sum(first, -second))

    @classmethod
    def product(cls, first: np.ndarray, second: np.ndarray) -> Double:
        """The exact product of float64 numbers."""
        return cls(*_two_product(first, second))

    def __add__(self, other: Double) -> Double:
        high, error = _two_sum(self.high, other.high)
        low, low_error = _two_sum(self.low, other.low)
        high, error = _fast_two_sum(high, error + low)
        return Double(*_fast_two_sum(high, error + low_error))

    def __neg__(self) -> Double:
        return Double(-self.high, -self.low)

    def __sub__(self, other: Double) -> Double:
        return self + -other

    def times(self, factor: np.ndarray) -> Double:
        """The product with float64 numbers."""
        high, error = _two_product(self.high, factor)
        return Double(*_fast_two_sum(high, error + self.low * factor))

    def at(self, index: np.ndarray | slice) -> Double:
        """Some of them."""
        return Double(self.high[index], self.low[index])

    @classmethod
    def joined(cls, *parts: Double) -> Double:
        """One array after the other."""
        return cls(np.concatenate([part.high for part in parts]), np.concatenate([part.low for part in parts]))


class ExactMatrix:
    """A sparse matrix whose products with vectors are formed with twice the digits.

    Parameters
    ----------
    matrix : csr_array (n_rows, n_columns)
        Taken as exact.
    """

    def __init__(self, matrix: csr_array):
        matrix = csr_array(matrix)
        matrix.eliminate_zeros()
        self.matrix, self.magnitude = matrix, abs(matrix)
        self._columns, self._factors = matrix.indices, matrix.data
        self._pairs: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
        counts = np.diff(matrix.indptr)
        rows = np.repeat(np.arange(len(counts)), counts)
        # Neighbours of a row are added in pairs until each row has one number.
        while len(rows):
            within = np.arange(len(rows)) - np.searchsorted(rows, rows)
            kept = np.flatnonzero(within % 2 == 0)
            paired = (kept + 1 < len(rows)) & (rows[np.minimum(kept + 1, len(rows) - 1)] == rows[kept])
            if not paired.any():
                break
            self._pairs.append((kept, np.flatnonzero(paired), kept[paired] + 1))
            rows = rows[kept]
        self._rows = rows

    def __matmul__(self, vector: Double) -> Double:
        terms = vector.at(self._columns).times(self._factors)
        for kept, place, partner in self._pairs:
            total = terms.at(kept)
            found = total.at(place) + terms.at(partner)
            total.high[place], total.low[place] = found.high, found.low
            terms = total
        result = Double.of(np.zeros(self.matrix.shape[0]))  # pyright: ignore[reportOptionalSubscript]
        result.high[self._rows], result.low[self._rows] = terms.high, terms.low
        return result


def _two_sum(a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    total = a + b
    virtual = total - a
    return total, (a - (total - virtual)) + (b - virtual)


def _fast_two_sum(a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    total = a + b
    return total, b - (total - a)


def _two_product(a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    product = a * b
    a_high, a_low = _split(a)
    b_high, b_low = _split(b)
    return product, a_low * b_low - (((product - a_high * b_high) - a_low * b_high) - a_high * b_low)


def _split(a: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    scaled = _SPLITTER * a
    high = scaled - (scaled - a)
    return high, a - high
