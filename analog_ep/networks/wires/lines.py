r"""Voltages in one crossbar whose lines have resistance, for few input vectors: conjugate gradients over whole lines.

Let u be the voltage across a cell if the lines had none, a how far its row's node lies below that of a row without
cells, and b how far its column's node lies above. With the cells' conductances G and the lines' matrices T, Kirchhoff's
law is

.. math::

    T_r a = T_c b = G (u - a - b), \qquad a = (T_r + G)^{-1} G (u - b), \qquad
    S b = G u - G (T_r + G)^{-1} G u, \quad S = M - G (T_r + G)^{-1} G, \quad M = T_c + G.

S is symmetric and positive. Both T + G are tridiagonal line by line, and conjugate gradients preconditioned by M [1]_
take one elimination of every row and of every column a step. The eigenvalues of M⁻¹ S lie between 0 and 1, near 1 where
lines drop little, and near (R_segment g N²)⁻¹ at worst: 3 to 60 steps at 1 Ω.

Drops are unknowns because they keep their relative precision where they are 1e-12 of the voltages; so do the currents
of the ends, which are those of the first segments.

References
----------
.. [1] P. Concus, G. H. Golub and D. P. O'Leary, "A generalized conjugate gradient method for the numerical solution of
   elliptic partial differential equations," in Sparse Matrix Computations, Academic Press, 1976, section 4.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from scipy.linalg import lapack
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from torch import Tensor

from analog_ep.errors import ConvergenceError
from analog_ep.networks.wires.joins import disconnected
from analog_ep.networks.wires.line_kernels import (
    LANES,
    column_factors,
    column_step,
    row_drops,
    row_factors,
    row_product,
)

_TOLERANCE = 1e-13
"""Error of a solution of conjugate gradients, in the norm of S, relative to the solution."""

_RELATIVE = 1e-12
"""Error of the columns' rises at which their refinement ends, relative to the largest, …"""

_ROUNDING = 32 * np.finfo(np.float64).eps
"""… or change by a refinement that is due to rounding."""

_ACCEPTED = 1e-9
"""Estimated error of a voltage, relative to the largest across a cell, with which rounding may end the refinement."""

_MOST_STEPS = 20_000
_MOST_REFINEMENTS = 8


@dataclass(frozen=True)
class LineVoltages:
    """Voltages of all nodes, and currents of the lines' ends.

    Attributes
    ----------
    rows, columns : Tensor (n_rows, n_columns, n_samples)
        Of the cells' row and column nodes. [V]
    across : Tensor (n_rows, n_columns, n_samples)
        Between them, not as the difference of two rounded voltages. [V]
    currents : Tensor (n_ends, n_samples)
        From the ends into the lines, in the order left, right, top, bottom, without ends that are open. [A]
    steps : list of int
        Steps of conjugate gradients that each sample took.
    """

    rows: Tensor
    columns: Tensor
    across: Tensor
    currents: Tensor
    steps: list[int]


class LineSolver:
    """One crossbar, on the CPU.

    A row runs from its left end over a segment to each of its cells, and may run on to a right end; a column runs over
    a segment behind each cell to its bottom end, and may begin at a top end.

    Parameters
    ----------
    cells : Tensor (n_rows, n_columns)
        Conductance between row and column in each cell, ≥ 0; float64. [S]
    row_links, column_links : Tensor, of the same shape
        Conductance of the segment before each cell in its row, and of that behind it in its column; 0 is open. [S]
    right_links : Tensor (n_rows,), optional
        Of the segments between the last cells and the right ends; without it the rows end there. [S]
    top_links : Tensor (n_columns,), optional
        Of those between the top ends and the first cells. [S]

    Raises
    ------
    NetworkError
        If a part of a line is connected to nothing.
    """

    def __init__(
        self,
        cells: Tensor,
        row_links: Tensor,
        column_links: Tensor,
        *,
        right_links: Tensor | None = None,
        top_links: Tensor | None = None,
    ):
        self.shape = n_rows, n_columns = cells.shape
        conductances, row_segments, column_segments = cells.numpy(), row_links.numpy(), column_links.numpy()
        self._rows = _Lines(row_segments, None if right_links is None else right_links.numpy())
        self._columns = _Lines(column_segments[::-1].T, None if top_links is None else top_links.numpy())
        n_panels = -(-n_rows // LANES)
        self._cells = _padded(conductances, n_panels * LANES, 0.0)
        segments, right = _padded(row_segments, len(self._cells), 1.0), _padded(self._rows.far, len(self._cells), 1.0)
        self._column_segments = np.ascontiguousarray(column_segments)
        self._row_factors = np.empty((n_panels, n_columns, LANES)), np.empty((n_panels, n_columns, LANES))
        self._column_factors = np.empty((n_rows, n_columns)), np.empty((n_rows, n_columns))
        alone = row_factors(self._cells, segments, right, *self._row_factors)
        alone |= column_factors(self._cells[:n_rows], self._column_segments, self._columns.far, *self._column_factors)
        if alone or not _all_connected(conductances, self._rows, self._columns):
            raise disconnected()

    def solve(self, ends: Tensor) -> LineVoltages:
        """The circuit's voltages and currents, for voltages of the ends.

        Parameters
        ----------
        ends : Tensor (n_ends, n_samples)
            In the order left, right, top, bottom, without the right or top ends if nothing is connected there. [V]

        Raises
        ------
        ConvergenceError
            If rounding leaves more than 1e-9 of the voltages across cells uncertain.
        """
        n_rows, n_columns = self.shape
        stop = n_rows + n_rows * self._rows.both
        volts = np.ascontiguousarray(ends.numpy().T)
        left, right, top, bottom = (
            volts[:, part]
            for part in (slice(n_rows), slice(n_rows, stop), slice(stop, -n_columns), slice(-n_columns, None))
        )
        fields = [np.empty((len(volts), n_rows, n_columns)) for _ in range(3)]
        currents, steps = [], []
        for sample, (near, far, above, below) in enumerate(zip(left, right, top, bottom, strict=True)):
            rows, columns, across = (field[sample] for field in fields)
            rows[:], columns[:] = self._rows.voltages(near, far), self._columns.voltages(below, above).T[::-1]
            np.subtract(rows, columns, across)
            drops, rises, count = self._drops(across)
            steps.append(count)
            rows -= drops
            columns += rises
            across -= drops + rises
            first, last = self._rows.currents(near, far, drops)
            below, above = self._columns.currents(below, above, -rises[::-1].T)
            currents.append(np.concatenate([first, last, above, below]))
        rows, columns, across = (torch.from_numpy(field).movedim(0, -1) for field in fields)
        return LineVoltages(rows, columns, across, torch.from_numpy(np.stack(currents, 1)), steps)

    def _drops(self, across: np.ndarray) -> tuple[np.ndarray, np.ndarray, int]:
        """Drops of rows, rises of columns, for voltages across cells of ideal lines `(n_rows, n_columns)`; steps."""
        n_rows, steps = len(across), 0
        rises, drops, currents, columns = _fields(4, self._cells.shape)
        residual, last, slowest = currents, np.inf, 1.0
        for _ in range(_MOST_REFINEMENTS):
            row_drops((self._cells, *self._row_factors), across, rises, drops, currents)
            # The columns with these rows' currents, and how far above the present rises that is: M⁻¹ of the residual.
            column_step(self._column_factors, 0.0, (currents, currents), (drops, currents, columns))
            step = columns - rises
            size, scale = _largest(step), _largest(columns)
            if size <= max(_RELATIVE * slowest, _ROUNDING) * scale or size > last / 4:
                break
            if last < np.inf:
                residual = _padded(self._images(step[:n_rows]), len(step), 0.0)
            correction, slowest, count = self._conjugate_gradients(residual, step)
            rises += correction
            steps += count
            last = size
        if size > _ACCEPTED * slowest * _largest(across):
            raise ConvergenceError(
                f"voltages in a crossbar with wires must be found to {_ACCEPTED:g} of those across its cells, found "
                f"{size / slowest:.1e} V uncertain by rounding; lower the resistance of a segment or the conductances"
            )
        row_drops((self._cells, *self._row_factors), across, columns, drops, currents)
        return drops[:n_rows], columns[:n_rows], steps

    def _conjugate_gradients(self, residual: np.ndarray, preconditioned: np.ndarray) -> tuple[np.ndarray, float, int]:
        """S⁻¹ r from r and M⁻¹ r, both overwritten, the smallest eigenvalue of M⁻¹ S that was met, and the steps."""
        solution, direction, image, product = _fields(4, residual.shape)
        factors = self._cells, *self._row_factors
        steps, ratios = [], []
        beta, power = 0.0, float(np.vdot(residual, preconditioned))
        wanted = target = _TOLERANCE**2 * power
        slowest = 1.0
        while power > target:
            curvature = row_product(factors, beta, (preconditioned, residual, direction, image), product)
            if curvature <= 0 or len(steps) == _MOST_STEPS:
                break
            steps.append(power / curvature)
            moves, state = (direction, product), (solution, residual, preconditioned)
            power, before = column_step(self._column_factors, steps[-1], moves, state), power
            beta = power / before
            ratios.append(beta)
            if power <= target:
                # The error's norm is at most that of the residual over the root of this.
                slowest = _smallest_eigenvalue(np.array(steps), np.array(ratios))
                target = wanted * slowest
        return solution, slowest, len(steps)

    def _images(self, rises: np.ndarray) -> np.ndarray:
        """M b, from differences along the lines. [A]"""
        segments = self._column_segments * (rises - np.pad(rises[1:], ((0, 1), (0, 0))))
        segments[1:] -= segments[:-1].copy()
        segments[0] += self._columns.far * rises[0]
        return segments + self._cells[: len(rises)] * rises


class _Lines:
    """Parallel lines without cells, from their near ends on."""

    def __init__(self, links: np.ndarray, far: np.ndarray | None):
        self.both = far is not None
        self.near, self.far = links[:, 0], np.zeros(len(links)) if far is None else far
        self.links = links
        if self.both:
            with np.errstate(divide="ignore", invalid="ignore"):
                before = np.cumsum(1 / links, 1)
                behind = np.cumsum(1 / np.column_stack([self.far, links[:, :0:-1]]), 1)[:, ::-1]
                # Where both are infinite nothing drives the part, and what it counts from is free.
                self._share = np.nan_to_num(1 / (1 + behind / before))
                self._through = 1 / (before[:, -1] + 1 / self.far)

    def voltages(self, near: np.ndarray, far: np.ndarray) -> np.ndarray:
        """Of nodes without cells `(n_lines, n_cells or 1)`, for those of the ends; `far` is empty if there are none."""
        if not self.both:
            return near[:, None]
        return near[:, None] + self._share * (far - near)[:, None]

    def currents(self, near: np.ndarray, far: np.ndarray, drops: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """From the ends into the lines, for drops of the nodes against lines without cells `(n_lines, n_cells)`."""
        first, last = self.near * drops[:, 0], self.far * drops[:, -1]
        if not self.both:
            return first, last[:0]
        through = self._through * (near - far)
        return first + through, last - through


def _largest(values: np.ndarray) -> float:
    return float(np.abs(values).max())


def _smallest_eigenvalue(steps: np.ndarray, ratios: np.ndarray) -> float:
    """Of the matrix of Lanczos that belongs to these steps of conjugate gradients (Saad 2003, eq. 6.103)."""
    diagonal = 1 / steps
    diagonal[1:] += ratios[:-1] / steps[:-1]
    beside = np.sqrt(ratios[:-1]) / steps[:-1]
    if not len(beside):
        return float(diagonal[0])
    # LAPACK itself: SciPy's function takes longer than a small crossbar.
    _, values, *_ = lapack.dstebz(diagonal, beside, 2, 0.0, 1.0, 1, 1, 0.0, "E")  # pyright: ignore[reportAttributeAccessIssue]
    return float(values[0])


def _fields(count: int, shape: tuple[int, ...]) -> list[np.ndarray]:
    return [np.zeros(shape) for _ in range(count)]


def _padded(values: np.ndarray, length: int, fill: float) -> np.ndarray:
    longer = np.full((length, *values.shape[1:]), fill)
    longer[: len(values)] = values
    return longer


def _all_connected(cells: np.ndarray, rows: _Lines, columns: _Lines) -> bool:
    """Whether every node leads to an end, given that lines without an open segment do."""
    if rows.links.all() and columns.links.all():
        return True
    row_nodes = np.arange(cells.size).reshape(cells.shape)
    column_nodes = (row_nodes + cells.size)[::-1].T
    end = 2 * cells.size
    edges = [(row_nodes, column_nodes.T[::-1], cells)]
    for nodes, lines in ((row_nodes, rows), (column_nodes, columns)):
        edges.append((nodes[:, 1:], nodes[:, :-1], lines.links[:, 1:]))
        edges += [(nodes[:, 0], end, lines.near), (nodes[:, -1], end, lines.far)]
    joined = [np.broadcast_arrays(*edge) for edge in edges]
    first, second, link = (np.concatenate([edge[k].ravel() for edge in joined]) for k in range(3))
    graph = coo_array((np.ones(int((link > 0).sum())), (first[link > 0], second[link > 0])), shape=(end + 1, end + 1))
    return connected_components(graph, directed=False)[0] == 1
