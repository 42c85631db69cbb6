"""Voltages of all nodes of a crossbar, in the way that takes less time."""

from __future__ import annotations

from torch import Tensor

from analog_ep.networks.wires.elimination import LineElimination
from analog_ep.networks.wires.lines import LineSolver

_SOLVING, _STEP = 2e-4, 10e-9
"""Seconds of conjugate gradients on one core: a sample, and a step a cell, …"""

_FORMING, _FACTORS, _SPREADING = 5e-3, 20e-9, 30e-9
"""… and of elimination: once, once a cell and line, and a sample and cell. Measured from 32 × 32 to 784 × 100; they
decide what is faster, not what comes out."""

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
    n_samples = ends.shape[1]
    if n_samples > _FEW:
        steps = _AROUND + solver.solve(ends[:, :1]).steps[0]
        by_steps = n_samples * (_SOLVING + _STEP * steps * cells.numel())
        by_elimination = _FORMING + (_FACTORS * min(cells.shape) + _SPREADING * n_samples) * cells.numel()
        if by_elimination < by_steps:
            links = (values[None] for values in (cells, row_links, column_links))
            rows, columns = LineElimination(*links, open_right=True, open_top=True).voltages(ends[None])
            return rows[0], columns[0]
    found = solver.solve(ends)
    return found.rows, found.columns
