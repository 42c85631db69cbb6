"""The update of a crossbar in one pass over its conductances."""

from __future__ import annotations

import numpy as np

from analog_ep.compiled import compiled


@compiled
def update_crossbar(
    blocks: np.ndarray,
    bias: np.ndarray,
    weight: np.ndarray,
    total: np.ndarray,
    load: np.ndarray,
    signed: np.ndarray,
    row: np.ndarray,
    own: np.ndarray,
    drift: np.ndarray,
    factors: tuple[float, float, float, float],
    bounds: tuple[float, float],
) -> None:
    """Add ±signed − row − own to the blocks and ±drift − own to the bias rows, within bounds, and sum what results.

    Parameters
    ----------
    blocks : array (1 or 2, n_in, n_out)
        Conductances of the +u rows, and of the −u rows where there are any; changed.
    bias : array (0 or 2, n_out)
        Those of the bias rows, + and −; changed.
    weight, total, load : arrays (n_in, n_out), (n_out,), (n_in,)
        Overwritten: conductances of +u less those of −u, where there are both; sums of the columns; sums of the rows.
    signed, row, own, drift : arrays (n_in, n_out), (n_in,), (n_out,), (n_out,)
        What is added, each to be multiplied by its factor.
    factors : (float, float, float, float)
        In the same order.
    bounds : (float, float)
        Least and largest conductance.
    """
    # Arithmetic stays in the precision of the arrays only if every number has it.
    number = blocks.dtype.type
    of_signed, of_row, of_own, of_drift = factors
    a, b, c, d = number(of_signed), number(of_row), number(of_own), number(of_drift)
    low, high = number(bounds[0]), number(bounds[1])
    n_in, n_out = signed.shape
    total[:] = 0
    for i in range(n_in):
        shared, loaded = b * row[i], number(0)
        for j in range(n_out):
            common, change = shared + c * own[j], a * signed[i, j]
            plus = min(max(blocks[0, i, j] + change - common, low), high)
            blocks[0, i, j] = plus
            both = plus
            if len(blocks) == 2:
                minus = min(max(blocks[1, i, j] - change - common, low), high)
                blocks[1, i, j] = minus
                weight[i, j] = plus - minus
                both += minus
            total[j] += both
            loaded += both
        load[i] = loaded
    for k in range(len(bias)):
        sign = d if k == 0 else -d
        for j in range(n_out):
            bias[k, j] = min(max(bias[k, j] + sign * drift[j] - c * own[j], low), high)
            total[j] += bias[k, j]
