"""Compiled interpolation in tables of three voltages: cubic in each, with the derivatives.

A table holds at its points the value and all mixed first derivatives, so that what lies in a cell follows from its
corners alone (Hermite's interpolation).
"""

from __future__ import annotations

import math

import numpy as np

from analog_ep.support.compiled import compiled, compiled_into


@compiled_into
def _fill(position: float, count: int, step: float, weights: np.ndarray) -> int:
    """The cell at a position in steps; `weights` `(2, 4)` of value and slope at its two ends, and their derivatives."""
    weights[:, :] = 0.0
    if count == 1:
        weights[0, 0] = 1.0
        return 0
    cell = min(max(math.floor(position), 0), count - 2)
    t = position - cell
    u = 1 - t
    weights[0, 0], weights[0, 1] = (1 + 2 * t) * u * u, t * u * u * step
    weights[0, 2], weights[0, 3] = t * t * (3 - 2 * t), -t * t * u * step
    weights[1, 0], weights[1, 1] = -6 * t * u / step, u * (1 - 3 * t)
    weights[1, 2], weights[1, 3] = 6 * t * u / step, t * (3 * t - 2)
    return cell


@compiled
def interpolated(
    points: np.ndarray, start: np.ndarray, step: np.ndarray, negative: int, table: np.ndarray, found: np.ndarray
) -> None:
    """Fill `found` `(n, 4)` with the value f and its derivatives by x, y and z at `points` `(n, 3)` within the table.

    `table` is `(n_x, n_y, n_z, 8)`; of its last axis 1, 2 and 4 in the index stand for a derivative by x, y and z. An
    axis with one point is one that nothing depends on. The first `negative` points of y are those up to 0, the last of
    them 0 from below; the next is 0 from above, so that derivatives may jump there.
    """
    n_x, n_y, n_z, _ = table.shape
    wx, wy, wz = np.empty((2, 4)), np.empty((2, 4)), np.empty((2, 4))
    for k in range(len(points)):
        i = _fill((points[k, 0] - start[0]) / step[0], n_x, step[0], wx)
        if points[k, 1] < 0:
            j = _fill((points[k, 1] - start[1]) / step[1], negative, step[1], wy)
        else:
            first = max(start[1], 0.0)
            j = negative + _fill((points[k, 1] - first) / step[1], n_y - negative, step[1], wy)
        h = _fill((points[k, 2] - start[2]) / step[2], n_z, step[2], wz)
        f, f_x, f_y, f_z = 0.0, 0.0, 0.0, 0.0
        for p in range(4):
            if i + p // 2 >= n_x:
                continue
            for q in range(4):
                if j + q // 2 >= n_y:
                    continue
                for r in range(4):
                    if h + r // 2 >= n_z:
                        continue
                    value = table[i + p // 2, j + q // 2, h + r // 2, p % 2 + 2 * (q % 2) + 4 * (r % 2)]
                    f += wx[0, p] * wy[0, q] * wz[0, r] * value
                    f_x += wx[1, p] * wy[0, q] * wz[0, r] * value
                    f_y += wx[0, p] * wy[1, q] * wz[0, r] * value
                    f_z += wx[0, p] * wy[0, q] * wz[1, r] * value
        found[k, 0], found[k, 1], found[k, 2], found[k, 3] = f, f_x, f_y, f_z
