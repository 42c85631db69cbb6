"""Loops over the conductances of a crossbar."""

from __future__ import annotations

import numpy as np

from analog_ep.support.compiled import compiled

_FIELDS = tuple(np.uint64(int(byte * 8, 16)) for byte in ("55", "33", "0f", "01"))
_SHIFTS = tuple(np.uint64(width) for width in (1, 2, 4, 56))
"""Masks and widths of the fields in which the ones of a word are counted."""


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


@compiled
def lit_lines(rows: np.ndarray, columns: np.ndarray) -> tuple[np.ndarray, int, float, float]:
    """Where lines are not 0, rows first, and how many of them are rows; the largest row and column, NaN if one is."""
    lit, n, n_rows = np.empty(len(rows) + len(columns), np.int64), 0, 0
    most = np.zeros(2)
    for side, lines in enumerate((rows, columns)):
        for k in range(len(lines)):
            size = abs(lines[k])
            if size != 0:
                lit[n] = k
                n += 1
                # NaN is not smaller, and nothing is smaller than NaN.
                if not size <= most[side] and not np.isnan(most[side]):
                    most[side] = size
        n_rows = n if side == 0 else n_rows
    return lit[:n], n_rows, most[0], most[1]


@compiled
def coincidences(
    rows: np.ndarray,
    columns: np.ndarray,
    lit: np.ndarray,
    n_rows: int,
    scales: tuple[float, float],
    draws: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """Devices, flat, whose row and column pulse in the same slots, and in how many, signed.

    Parameters
    ----------
    rows, columns : array (n,)
        Signed; a line pulses in a slot with its magnitude times its scale as the probability.
    lit, n_rows
        What `lit_lines` gave.
    scales : (float, float)
        Of rows and of columns.
    draws : array (n_slots, n_lit)
        Uniform in 0…1.
    """
    n_slots, n_lit = draws.shape
    number, n_words = rows.dtype.type, (n_slots + 63) // 64
    # Lines that pulse at all, the rows first, with their trains, 64 slots a word.
    lines, signs = np.empty(n_lit, np.int64), np.empty(n_lit, np.int64)
    trains, n, n_pulsed_rows = np.zeros((n_words, n_lit), np.uint64), 0, 0
    for k in range(n_lit):
        line = rows[lit[k]] if k < n_rows else columns[lit[k]]
        chance, pulsed = abs(line * number(scales[0] if k < n_rows else scales[1])), False
        for slot in range(n_slots):
            pulse = draws[slot, k] < chance
            trains[slot // 64, n] |= np.uint64(pulse) << np.uint64(slot % 64)
            pulsed |= pulse
        # Without branches, which nobody could foresee: a line without a pulse is overwritten by the next one.
        lines[n], signs[n] = lit[k], 1 if line > 0 else -1
        n += pulsed
        n_pulsed_rows += pulsed and k < n_rows
    index = np.empty(n_pulsed_rows * (n - n_pulsed_rows), np.int64)
    counts, found, hits = np.empty_like(index), 0, np.empty(n - n_pulsed_rows, np.uint64)
    for r in range(n_pulsed_rows):
        hits[:] = 0
        for part in range(n_words):
            own = trains[part, r]
            for c in range(len(hits)):
                # Ones added up in ever wider fields: in this form compilers know the instruction for it.
                word = own & trains[part, n_pulsed_rows + c]
                word -= (word >> _SHIFTS[0]) & _FIELDS[0]
                word = (word & _FIELDS[1]) + ((word >> _SHIFTS[1]) & _FIELDS[1])
                word = (word + (word >> _SHIFTS[2])) & _FIELDS[2]
                hits[c] += (word * _FIELDS[3]) >> _SHIFTS[3]
        first, sign = lines[r] * len(columns), signs[r]
        for c in range(len(hits)):
            index[found] = first + lines[n_pulsed_rows + c]
            counts[found] = sign * signs[n_pulsed_rows + c] * np.int64(hits[c])
            found += hits[c] > 0
    return index[:found], counts[:found]
