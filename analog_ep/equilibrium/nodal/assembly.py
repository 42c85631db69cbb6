"""Sparse matrices put together from arrays of branches."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.sparse import csr_array


class Entries:
    """Collects (row, column, value) triples; those at one place add up."""

    def __init__(self):
        self._triples = [(np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0))]

    def put(self, rows: np.ndarray, columns: np.ndarray, values: np.ndarray | float) -> None:
        """Add triples; a scalar value is spread over them."""
        self._triples.append((rows, columns, np.broadcast_to(np.asarray(values, dtype=np.float64), rows.shape)))

    def matrix(self, shape: tuple[int, int]) -> csr_array:
        """The sum of all triples."""
        rows, columns, values = (np.concatenate(parts) for parts in zip(*self._triples, strict=True))
        return csr_array((values, (rows, columns)), shape=shape)


def incidence(pairs: Sequence[tuple[np.ndarray, np.ndarray]], n_nodes: int) -> csr_array:
    """Matrix `(n_nodes, n_branches)` with +1 at each branch's first node and −1 at its second."""
    entries, first_branch = Entries(), 0
    for first, second in pairs:
        branch = first_branch + np.arange(len(first))
        entries.put(first, branch, 1.0)
        entries.put(second, branch, -1.0)
        first_branch += len(first)
    return entries.matrix((n_nodes, first_branch))


def apply(matrix: csr_array, batch: np.ndarray) -> np.ndarray:
    """The matrix times every row of `batch`, `(n_samples, n_rows)`."""
    return np.ascontiguousarray((matrix @ batch.T).T)
