"""Nodal analysis of crossbars with every segment, sharing no code with the package."""

from __future__ import annotations

from dataclasses import dataclass

import mpmath
import numpy as np
import scipy.sparse as sp
from scipy.sparse.linalg import splu


@dataclass
class Wired:
    """A crossbar; right and top ends are there if they have links."""

    cells: np.ndarray
    row_links: np.ndarray
    column_links: np.ndarray
    right_links: np.ndarray | None = None
    top_links: np.ndarray | None = None

    def branches(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, int, int]:
        """Tails, heads, conductances, inner nodes (rows, then columns), and nodes: ends left, right, top, bottom."""
        p, q = self.cells.shape
        rows = np.arange(p * q).reshape(p, q)
        columns, inner, count = rows + p * q, 2 * p * q, 2 * p * q
        ends = []
        for length, there in ((p, True), (p, self.right_links is not None), (q, self.top_links is not None), (q, True)):
            ends.append(count + np.arange(length))
            count += length * there
        left, right, top, bottom = ends
        found = [
            (np.column_stack([left, rows[:, :-1]]), rows, self.row_links),
            (rows, columns, self.cells),
            (columns, np.vstack([columns[1:], bottom]), self.column_links),
        ]
        if self.right_links is not None:
            found.append((rows[:, -1], right, self.right_links))
        if self.top_links is not None:
            found.append((top, columns[0], self.top_links))
        tails, heads, siemens = (np.concatenate([np.ravel(part[k]) for part in found]) for k in range(3))
        return tails, heads, siemens, inner, count

    def voltages(self, ends: np.ndarray) -> np.ndarray:
        """Of rows' and columns' nodes `(2, p, q, samples)`: sparse LU, residuals of the refinement in long double."""
        tails, heads, siemens, inner, count = self.branches()
        places = np.concatenate([tails, heads, tails, heads]), np.concatenate([tails, heads, heads, tails])
        values = np.concatenate([siemens, siemens, -siemens, -siemens])
        factors = splu(sp.coo_array((values, places), shape=(count, count)).tocsc()[:inner, :inner])
        volts = np.zeros((count, ends.shape[1]), np.longdouble)
        volts[inner:] = ends
        for _ in range(5):
            currents = siemens.astype(np.longdouble)[:, None] * (volts[tails] - volts[heads])
            excess = np.zeros_like(volts)
            np.add.at(excess, heads, currents)
            np.subtract.at(excess, tails, currents)
            volts[:inner] += factors.solve(excess[:inner].astype(float))
        return volts[:inner].reshape(2, *self.cells.shape, -1).astype(float)

    def exact(self) -> tuple[np.ndarray, np.ndarray]:
        """Links between the ends `(n, n)`, and parts of their voltages in those of nodes `(2, p, q, n)`: 60 digits."""
        tails, heads, siemens, inner, count = self.branches()
        with mpmath.workdps(60):
            rows: list[dict] = [{} for _ in range(count)]
            for a, b, g in zip(tails.tolist(), heads.tolist(), siemens.tolist(), strict=True):
                for i, j in ((a, b), (b, a)):
                    rows[i][i] = rows[i].get(i, mpmath.mpf(0)) + mpmath.mpf(g)
                    rows[i][j] = rows[i].get(j, mpmath.mpf(0)) - mpmath.mpf(g)
            pivots = []
            for node in range(inner):
                pivot = {k: value / rows[node][node] for k, value in rows[node].items() if k > node}
                pivots.append(pivot)
                for other in pivot:
                    factor = rows[other].pop(node)
                    for k, value in pivot.items():
                        rows[other][k] = rows[other].get(k, mpmath.mpf(0)) - factor * value
            n_ends = count - inner
            parts = [[mpmath.mpf(int(k - inner == end)) for end in range(n_ends)] for k in range(count)]
            for node in reversed(range(inner)):
                for end in range(n_ends):
                    parts[node][end] = -sum(value * parts[k][end] for k, value in pivots[node].items())
            ends = range(inner, count)
            links = [[float(-rows[i].get(j, 0)) if i != j else 0.0 for j in ends] for i in ends]
            known = [[float(part) for part in parts[node]] for node in range(inner)]
        return np.array(links), np.array(known).reshape(2, *self.cells.shape, -1)


def random_crossbar(
    shape: tuple[int, int], resistance: float, seed: int = 0, siemens: tuple[float, float] = (1e-9, 1e-3), both=False
) -> Wired:
    """Cells log-uniform between these conductances, segments with a spread of about a quarter."""
    random = np.random.default_rng(seed)
    p, q = shape
    low, high = np.log10(siemens)
    cells = 10 ** random.uniform(low, high, shape)
    rows, columns = (10 ** random.normal(0, 0.1, shape) / resistance for _ in range(2))
    right, top = (10 ** random.normal(0, 0.1, n) / resistance for n in (p, q))
    return Wired(cells, rows, columns, right, top) if both else Wired(cells, rows, columns)
