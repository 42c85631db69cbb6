"""Compiled loops of sparse elimination: its analysis, its factors, and what is solved with them.

Matrices of `LANES` samples are eliminated side by side: the last axis of every array of values runs over the samples,
so that each step of the sparse algorithm is one operation on neighbouring numbers.
"""

from __future__ import annotations

import numpy as np

from analog_ep.support.compiled import compiled

LANES = 8
"""Samples that are eliminated side by side: as many as one vector instruction of doubles holds."""


@compiled
def elimination_tree(pointers: np.ndarray, indices: np.ndarray) -> np.ndarray:
    """Parent of each column in the elimination tree of a symmetric pattern, −1 for a root (Liu 1990, section 4.2)."""
    n = len(pointers) - 1
    parent, ancestor = np.full(n, -1, np.int64), np.full(n, -1, np.int64)
    for i in range(n):
        for at in range(pointers[i], pointers[i + 1]):
            j = indices[at]
            while j != -1 and j < i:
                above = ancestor[j]
                ancestor[j] = i
                if above == -1:
                    parent[j] = i
                j = above
    return parent


@compiled
def postorder(parent: np.ndarray) -> np.ndarray:
    """The columns in an order in which those below each come right before it."""
    n = len(parent)
    first, following = np.full(n, -1, np.int64), np.full(n, -1, np.int64)
    for j in range(n - 1, -1, -1):
        if parent[j] != -1:
            following[j] = first[parent[j]]
            first[parent[j]] = j
    order, stack = np.empty(n, np.int64), np.empty(n, np.int64)
    count = 0
    for root in range(n):
        if parent[root] != -1:
            continue
        stack[0], depth = root, 1
        while depth:
            j = stack[depth - 1]
            child = first[j]
            if child == -1:
                order[count] = j
                count += 1
                depth -= 1
            else:
                first[j] = following[child]
                stack[depth] = child
                depth += 1
    return order


@compiled
def column_structures(pointers: np.ndarray, indices: np.ndarray, parent: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rows below the diagonal of each column of the factor, ascending: pointers and row indices.

    Row i of the factor has the columns on the ways in the tree from those of row i of the matrix up to i.
    """
    n = len(parent)
    counts, seen = np.zeros(n + 1, np.int64), np.full(n, -1, np.int64)
    for i in range(n):
        seen[i] = i
        for at in range(pointers[i], pointers[i + 1]):
            j = indices[at]
            while j < i and seen[j] != i:
                counts[j + 1] += 1
                seen[j] = i
                j = parent[j]
    starts = np.cumsum(counts)
    rows, place = np.empty(starts[n], np.int64), starts[:n].copy()
    seen[:] = -1
    for i in range(n):
        seen[i] = i
        for at in range(pointers[i], pointers[i + 1]):
            j = indices[at]
            while j < i and seen[j] != i:
                rows[place[j]] = i
                place[j] += 1
                seen[j] = i
                j = parent[j]
    return starts, rows


@compiled
def factorise(
    values: np.ndarray,
    plan: tuple,
    sizes: tuple[int, int],
    lower: np.ndarray,
    upper: np.ndarray,
    pivots: np.ndarray,
    symmetric: bool,
) -> None:
    """L, D and U of L D U with unit diagonals for `LANES` matrices, by fronts with diagonal pivots (Duff & Reid 1983).

    Parameters
    ----------
    values : ndarray (n_entries, LANES)
        Entries; of symmetric matrices those on and below the diagonal.
    plan : tuple of ndarray
        `first`, `rows_at`, `factor_at`, `children_at`, `children`, `entries_at`, `entries`, `entry_row`,
        `entry_column`, `into_at`, `into`: see `Elimination`.
    sizes : (int, int)
        Largest front, and entries of the contributions that wait at any time.
    lower, upper, pivots : ndarray (n_factor, LANES), (n_factor, LANES), (n, LANES)
        Overwritten: the columns of L below its diagonal, front by front, as (column, row of the front), and the rows of
        U likewise, the same array for symmetric matrices; D.
    symmetric : bool
        Whether U = Lᵀ: then only the lower half of each front is there.
    """
    first, rows_at, factor_at, children_at, children, entries_at, entries, entry_row, entry_column, into_at, into = plan
    largest, waiting = sizes
    front, stack = np.empty((largest * largest, LANES)), np.empty((waiting, LANES))
    total, inverse = np.empty(LANES), np.empty(LANES)
    top = 0
    for s in range(len(first) - 1):
        w, m = first[s + 1] - first[s], rows_at[s + 1] - rows_at[s]
        # Entry (row i, column j) of the front stands at j m + i.
        for j in range(m):
            for at in range(j * m + (j if symmetric else 0), j * m + m):
                for lane in range(LANES):
                    front[at, lane] = 0.0
        for e in range(entries_at[s], entries_at[s + 1]):
            at = entry_column[e] * m + entry_row[e]
            for lane in range(LANES):
                front[at, lane] += values[entries[e], lane]
        # The contributions of the children lie on top of the stack, the last child's uppermost.
        for c in range(children_at[s + 1] - 1, children_at[s] - 1, -1):
            child = children[c]
            r = into_at[child + 1] - into_at[child]
            top -= r * r
            places = into[into_at[child] : into_at[child + 1]]
            for j in range(r):
                column = places[j] * m
                for i in range(j if symmetric else 0, r):
                    at, source = column + places[i], top + j * r + i
                    for lane in range(LANES):
                        front[at, lane] += stack[source, lane]
        base = factor_at[s]
        for k in range(w):
            for lane in range(LANES):
                pivots[first[s] + k, lane] = front[k * m + k, lane]
                inverse[lane] = 1.0 / front[k * m + k, lane]
            for i in range(k + 1, m):
                for lane in range(LANES):
                    lower[base + k * m + i, lane] = front[k * m + i, lane] * inverse[lane]
                if not symmetric:
                    for lane in range(LANES):
                        upper[base + k * m + i, lane] = front[i * m + k, lane] * inverse[lane]
            # The columns of later pivots, and their rows in the columns right of these.
            for j in range(k + 1, w if symmetric else m):
                across = k * m + j if symmetric else j * m + k
                for lane in range(LANES):
                    total[lane] = front[across, lane]
                for i in range(j if symmetric else k + 1, m if j < w else w):
                    for lane in range(LANES):
                        front[j * m + i, lane] -= lower[base + k * m + i, lane] * total[lane]
        r = m - w
        for j in range(w, m):
            for i in range(j if symmetric else w, m):
                for lane in range(LANES):
                    total[lane] = front[j * m + i, lane]
                for k in range(w):
                    across = k * m + j if symmetric else j * m + k
                    for lane in range(LANES):
                        total[lane] -= lower[base + k * m + i, lane] * front[across, lane]
                for lane in range(LANES):
                    stack[top + (j - w) * r + i - w, lane] = total[lane]
        top += r * r


@compiled
def substitute(lower: np.ndarray, upper: np.ndarray, pivots: np.ndarray, plan: tuple, x: np.ndarray) -> None:
    """Replace x `(n, LANES)` by the solution of L D U y = x; for the transposed matrix the factors change places."""
    first, rows_at, factor_at, rows = plan
    value = np.empty(LANES)
    for s in range(len(first) - 1):
        w, m = first[s + 1] - first[s], rows_at[s + 1] - rows_at[s]
        for k in range(w):
            base, row = factor_at[s] + k * m, rows_at[s]
            for lane in range(LANES):
                value[lane] = x[first[s] + k, lane]
            for i in range(k + 1, m):
                for lane in range(LANES):
                    x[rows[row + i], lane] -= lower[base + i, lane] * value[lane]
    for s in range(len(first) - 2, -1, -1):
        w, m = first[s + 1] - first[s], rows_at[s + 1] - rows_at[s]
        for k in range(w - 1, -1, -1):
            base, row, own = factor_at[s] + k * m, rows_at[s], first[s] + k
            for lane in range(LANES):
                value[lane] = x[own, lane] / pivots[own, lane]
            for i in range(k + 1, m):
                for lane in range(LANES):
                    value[lane] -= upper[base + i, lane] * x[rows[row + i], lane]
            for lane in range(LANES):
                x[own, lane] = value[lane]


@compiled
def backward_errors(
    values: np.ndarray, rows: np.ndarray, columns: np.ndarray, x: np.ndarray, right: np.ndarray, left: np.ndarray
) -> np.ndarray:
    """Largest |b − A x| / (|A| |x| + |b|) over the rows, `(LANES,)` (Oettli & Prager 1964); `left` becomes b − A x."""
    scale = np.abs(right)
    left[:] = right
    for e in range(len(rows)):
        for lane in range(LANES):
            term = values[e, lane] * x[columns[e], lane]
            left[rows[e], lane] -= term
            scale[rows[e], lane] += abs(term)
    worst = np.zeros(LANES)
    for i in range(len(right)):
        for lane in range(LANES):
            # NaN must be what remains: it differs from 0, from itself, and is at most nothing.
            if scale[i, lane] != 0.0 and worst[lane] == worst[lane]:
                error = abs(left[i, lane]) / scale[i, lane]
                if not error <= worst[lane]:
                    worst[lane] = error
    return worst


@compiled
def inverse_diagonal(factor: np.ndarray, pivots: np.ndarray, plan: tuple) -> np.ndarray:
    """Diagonal of (L D Lᵀ)⁻¹ of the first sample, `(n,)`, from the entries of the inverse on the pattern of L alone.

    With Z the inverse, :math:`Z = D^{-1} L^{-1} + Z (1 - L)` (Erisman & Tinney 1975, equation 8, transposed): going
    from the last column to the first, every entry that is needed is known already.
    """
    first, rows_at, factor_at, children_at, children, into_at, into, inverse_at = plan
    diagonal, inverse = np.empty(len(pivots)), np.empty(inverse_at[len(first) - 1])
    for s in range(len(first) - 2, -1, -1):
        w, m = first[s + 1] - first[s], rows_at[s + 1] - rows_at[s]
        own = inverse_at[s]
        for k in range(w - 1, -1, -1):
            base = factor_at[s] + k * m
            for i in range(k + 1, m):
                total = 0.0
                for j in range(k + 1, m):
                    total -= inverse[own + i * m + j] * factor[base + j, 0]
                inverse[own + i * m + k] = inverse[own + k * m + i] = total
            total = 1.0 / pivots[first[s] + k, 0]
            for j in range(k + 1, m):
                total -= factor[base + j, 0] * inverse[own + j * m + k]
            inverse[own + k * m + k] = diagonal[first[s] + k] = total
        for c in range(children_at[s], children_at[s + 1]):
            child = children[c]
            places = into[into_at[child] : into_at[child + 1]]
            width = first[child + 1] - first[child]
            size = width + len(places)
            below = inverse_at[child]
            for i in range(len(places)):
                for j in range(len(places)):
                    at = below + (width + i) * size + width + j
                    inverse[at] = inverse[own + places[i] * m + places[j]]
    return diagonal
