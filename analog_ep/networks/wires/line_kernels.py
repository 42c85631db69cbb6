"""Compiled loops over a crossbar's lines: their factors, and the two halves of a step of conjugate gradients.

Lines are swept side by side: columns as they lie in memory, rows in panels of `LANES`, turned on the way in and out.
"""

from __future__ import annotations

import numpy as np

from analog_ep.support.compiled import compiled

LANES = 8
"""Rows of a panel."""


@compiled
def row_factors(
    cells: np.ndarray, links: np.ndarray, right: np.ndarray, passed: np.ndarray, inverse: np.ndarray
) -> bool:
    """Factors of T + diag(g) of every row, from its right end on; returns whether a node is connected to nothing.

    Cell j and all behind it are a conductance e to the row's node j, of which segment j, of conductance l, passes on
    κ = l / (l + e); `inverse` is 1 / (l + e). Nothing is subtracted.

    Parameters
    ----------
    cells : ndarray (n_panels LANES, n_columns)
        Conductances; rows of padding have some. [S]
    links : ndarray, of the same shape
        Of the segment before each cell. [S]
    right : ndarray (n_panels LANES,)
        Of that behind the last cell. [S]
    passed, inverse : ndarray (n_panels, n_columns, LANES)
        Overwritten. [1, Ω]
    """
    n_columns = cells.shape[1]
    conductance = np.empty(LANES)
    alone = False
    for panel in range(len(passed)):
        first = panel * LANES
        for lane in range(LANES):
            conductance[lane] = right[first + lane]
        for j in range(n_columns - 1, -1, -1):
            for lane in range(LANES):
                conductance[lane] += cells[first + lane, j]
                link = links[first + lane, j]
                pivot = link + conductance[lane]
                alone |= not pivot > 0.0
                inverse[panel, j, lane] = 1.0 / pivot
                passed[panel, j, lane] = link / pivot
                conductance[lane] *= link / pivot
    return alone


@compiled
def column_factors(
    cells: np.ndarray, links: np.ndarray, top: np.ndarray, passed: np.ndarray, inverse: np.ndarray
) -> bool:
    """Likewise of every column, from its top end on; `links` is of the segment behind each cell.

    All but `top` `(n_columns,)` are `(n_rows, n_columns)`.
    """
    n_rows, n_columns = cells.shape
    conductance = top.copy()
    alone = False
    for i in range(n_rows):
        for j in range(n_columns):
            total = conductance[j] + cells[i, j]
            pivot = links[i, j] + total
            alone |= not pivot > 0.0
            inverse[i, j] = 1.0 / pivot
            passed[i, j] = links[i, j] * inverse[i, j]
            conductance[j] = total * passed[i, j]
    return alone


@compiled
def row_drops(
    factors: tuple[np.ndarray, np.ndarray, np.ndarray],
    across: np.ndarray,
    rises: np.ndarray,
    drops: np.ndarray,
    currents: np.ndarray,
) -> None:
    """Drops of the rows, a = (T_r + G)⁻¹ G (u − b), and the currents of cells between these rows and ideal columns.

    Parameters
    ----------
    factors : tuple of ndarray
        Cells, and `passed` and `inverse` of the rows.
    across : ndarray (n_rows, n_columns)
        u, across each cell if no line had resistance. [V]
    rises : ndarray (n_panels LANES, n_columns)
        b, of the columns; zero in the padding. [V]
    drops, currents : ndarray (n_panels LANES, n_columns)
        Overwritten by a and G (u − a). [V, A]
    """
    cells, passed, inverse = factors
    n_rows, n_columns = across.shape
    turned = np.zeros((n_columns, LANES))
    for panel in range(len(passed)):
        first = panel * LANES
        present = min(LANES, n_rows - first)
        for lane in range(present):
            for j in range(n_columns):
                turned[j, lane] = cells[first + lane, j] * (across[first + lane, j] - rises[first + lane, j])
        for lane in range(present, LANES):
            turned[:, lane] = 0.0
        for j in range(n_columns - 2, -1, -1):
            for lane in range(LANES):
                turned[j, lane] += passed[panel, j + 1, lane] * turned[j + 1, lane]
        for lane in range(LANES):
            turned[0, lane] *= inverse[panel, 0, lane]
        for j in range(1, n_columns):
            for lane in range(LANES):
                before = passed[panel, j, lane] * turned[j - 1, lane]
                turned[j, lane] = before + inverse[panel, j, lane] * turned[j, lane]
        for lane in range(present):
            i = first + lane
            for j in range(n_columns):
                drops[i, j] = turned[j, lane]
                currents[i, j] = cells[i, j] * (across[i, j] - turned[j, lane])


@compiled
def row_product(
    factors: tuple[np.ndarray, np.ndarray, np.ndarray],
    beta: float,
    state: tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray],
    product: np.ndarray,
) -> float:
    """The next direction p, its product with S = M − G (T_r + G)⁻¹ G, and p·S p.

    Parameters
    ----------
    factors : tuple of ndarray
        Cells, and `passed` and `inverse` of the rows.
    beta : float
        Part of the last direction in the next.
    state : tuple of ndarray (n_panels LANES, n_columns)
        z, r = M z, p and M p; the last two are replaced by z + β p and M z + β M p.
    product : ndarray (n_panels LANES, n_columns)
        Overwritten by S p.
    """
    cells, passed, inverse = factors
    preconditioned, residual, direction, image = state
    n_columns = cells.shape[1]
    turned = np.empty((n_columns, LANES))
    total = 0.0
    for panel in range(len(passed)):
        first = panel * LANES
        for lane in range(LANES):
            i = first + lane
            for j in range(n_columns):
                direction[i, j] = preconditioned[i, j] + beta * direction[i, j]
                image[i, j] = residual[i, j] + beta * image[i, j]
        for j in range(n_columns):
            for lane in range(LANES):
                turned[j, lane] = cells[first + lane, j] * direction[first + lane, j]
        for j in range(n_columns - 2, -1, -1):
            for lane in range(LANES):
                turned[j, lane] += passed[panel, j + 1, lane] * turned[j + 1, lane]
        for lane in range(LANES):
            turned[0, lane] *= inverse[panel, 0, lane]
        for j in range(1, n_columns):
            for lane in range(LANES):
                before = passed[panel, j, lane] * turned[j - 1, lane]
                turned[j, lane] = before + inverse[panel, j, lane] * turned[j, lane]
        for lane in range(LANES):
            i = first + lane
            for j in range(n_columns):
                value = image[i, j] - cells[i, j] * turned[j, lane]
                product[i, j] = value
                total += direction[i, j] * value
    return total


@compiled
def column_step(
    factors: tuple[np.ndarray, np.ndarray],
    alpha: float,
    moves: tuple[np.ndarray, np.ndarray],
    state: tuple[np.ndarray, np.ndarray, np.ndarray],
) -> float:
    """A step of length α along p: x + α p, r − α S p, then z = M⁻¹ r, and r·z.

    Parameters
    ----------
    factors : tuple of ndarray
        `passed` and `inverse` of the columns.
    alpha : float
        α.
    moves : tuple of ndarray (≥ n_rows, n_columns)
        p and S p.
    state : tuple of ndarray, of the same shape
        x and r, and z, which is overwritten.
    """
    passed, inverse = factors
    direction, product = moves
    solution, residual, preconditioned = state
    n_rows, n_columns = passed.shape
    for i in range(n_rows):
        for j in range(n_columns):
            solution[i, j] += alpha * direction[i, j]
            value = residual[i, j] - alpha * product[i, j]
            residual[i, j] = value
            preconditioned[i, j] = value
        if i:
            for j in range(n_columns):
                preconditioned[i, j] += passed[i - 1, j] * preconditioned[i - 1, j]
    total = 0.0
    for i in range(n_rows - 1, -1, -1):
        for j in range(n_columns):
            preconditioned[i, j] *= inverse[i, j]
        if i < n_rows - 1:
            for j in range(n_columns):
                preconditioned[i, j] += passed[i, j] * preconditioned[i + 1, j]
        for j in range(n_columns):
            total += residual[i, j] * preconditioned[i, j]
    return total
