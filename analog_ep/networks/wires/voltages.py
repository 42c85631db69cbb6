"""Voltages of all nodes of a crossbar, in the way that takes less time."""

from __future__ import annotations

from torch import Tensor

from analog_ep.networks.wires.elimination import LineElimination
from analog_ep.networks.wires.lines import LineSolver

_STEP, _FACTORS, _SPREAD = 8e-9, 17e-9, 35e-9
"""Seconds on one core: a step of conjugate gradients a cell, an elimination a cell and line, and spreading its voltages
a cell. Measured at 128 × 100 and 256 × 256; they decide what is faster, not what comes out."""

_AROUND = 3
"""Eliminations of all lines beside the steps, as many as three steps have."""

_FEW = 8
"""Samples for which it is not worth asking how many steps one takes."""


def crossbar_voltages(cells: Tensor, row_links: Tensor, column_links: Tensor, ends: Tensor) -> tuple[Tensor, Tensor]:
    """Voltages of the cells' row and column nodes, rows driven from the left and columns held at the bottom.

    Parameters
    ----------
    cells, row_links, column_links : Tensor (n_rows, n_columns)
        Conductances of cells, of the segment before each in its row, and of that behind it in its column; float64 on
        the CPU. [S]
    ends : Tensor (n_rows + n_columns, n_samples)
        Voltages of the left and the bottom ends. [V]

    Returns
    -------
    rows, columns : Tensor (n_rows, n_columns, n_samples)

    Raises
    ------
    NetworkError
        If a part of a line is connected to nothing.
    ConvergenceError
        If rounding leaves more than 1e-9 of the voltages across cells uncertain.
    """
    solver = LineSolver(cells, row_links, column_links)
    if ends.shape[1] > _FEW:
        steps = solver.solve(ends[:, :1]).steps[0]
        if ends.shape[1] * (_STEP * (steps + _AROUND) - _SPREAD) > _FACTORS * min(cells.shape):
            links = (values[None] for values in (cells, row_links, column_links))
            elimination = LineElimination(*links, open_right=True, open_top=True)
            rows, columns = elimination.voltages(ends[None])
            return rows[0], columns[0]
    found = solver.solve(ends)
    return found.rows, found.columns
