"""Compiled loops of sparse elimination: its analysis, its factors, and what is solved with them.

Matrices of `LANES` samples are eliminated side by side: the last axis of every array of values runs over the samples,
so that each step of the sparse algorithm is one operation on neighbouring numbers.
"""

from __future__ import annotations

import numpy as np

from analog_ep.support.compiled import compiled, compiled_into
from analog_ep.support.lanes import LANES, load, ones, store, zeros

_PANEL = 32
"""Columns of a front whose products are taken from those right of them while they stay in the processor's cache."""


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
    room: tuple[np.ndarray, np.ndarray],
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
    room : tuple of ndarray (·, LANES)
        Overwritten: room for the largest front, and for the contributions that wait at any time.
    lower, upper, pivots : ndarray (n_factor, LANES), (n_factor, LANES), (n, LANES)
        Overwritten: the columns of L below its diagonal, front by front, as (column, row of the front), and the rows of
        U likewise, the same array for symmetric matrices; D.
    symmetric : bool
        Whether U = Lᵀ: then only the lower half of each front is there.
    """
    first, rows_at, factor_at, children_at, children, entries_at, entries, entry_row, entry_column, into_at, into = plan
    front, stack = room
    top = 0
    for s in range(len(first) - 1):
        w, m = first[s + 1] - first[s], rows_at[s + 1] - rows_at[s]
        # Entry (row i, column j) of the front stands at j m + i.
        for j in range(m):
            for at in range(j * m + (j if symmetric else 0), j * m + m):
                store(front, at, zeros())
        for e in range(entries_at[s], entries_at[s + 1]):
            at = entry_column[e] * m + entry_row[e]
            store(front, at, load(front, at) + load(values, entries[e]))
        # The contributions of the children lie on top of the stack, the last child's uppermost.
        for c in range(children_at[s + 1] - 1, children_at[s] - 1, -1):
            child = children[c]
            r = into_at[child + 1] - into_at[child]
            top -= r * r
            for j in range(r):
                column, source = into[into_at[child] + j] * m, top + j * r
                for i in range(j if symmetric else 0, r):
                    at = column + into[into_at[child] + i]
                    store(front, at, load(front, at) + load(stack, source + i))
        _eliminate((front, stack, lower, upper, pivots), (w, m), (first[s], factor_at[s], top), symmetric)
        top += (m - w) * (m - w)


@compiled_into
def _eliminate(arrays: tuple, sizes: tuple[int, int], places: tuple[int, int, int], symmetric: bool) -> None:
    """Eliminate the first w columns of a front with m rows; what it gives to its parent goes onto the stack."""
    front, stack, lower, upper, pivots = arrays
    (w, m), (own, base, top) = sizes, places
    # Entry (k, j) of D U, above the diagonal, stands at k down + j right; of symmetric fronts it is that of (L D)ᵀ.
    down, right = (m, 1) if symmetric else (1, m)
    for begin in range(0, w, _PANEL):
        end = min(begin + _PANEL, w)
        factors = (base + begin * m, begin * down, down, right)
        j = begin
        while j < m:
            # Up to four columns at a time, all of the panel, or of later pivots, or of none.
            n = min(j, end) - begin
            last = min(j + 4, end if j < end else w if j < w else m)
            if not symmetric:
                _rows_of_upper(front, lower, (j, last), (begin, begin + n), m, base)
            from_row = j if symmetric or j < end else end
            if j < w or end < w:
                _less_products((front, front, lower), (j, last, from_row, m), (m, 0, m), factors, n)
            else:
                into = (m, top - w * (m - w) - w, m - w)
                _less_products((front, stack, lower), (j, last, from_row, m), into, factors, n)
            if j < end:
                _columns_of_lower((front, lower, pivots), (j, last), m, base, own, symmetric)
            j = last
    if not symmetric:
        for k in range(w):
            inverse = ones() / load(pivots, own + k)
            for i in range(k + 1, m):
                store(upper, base + k * m + i, load(front, i * m + k) * inverse)


@compiled_into
def _columns_of_lower(arrays: tuple, columns: tuple[int, int], m: int, base: int, own: int, symmetric: bool) -> None:
    """Pivots and columns of L of a few columns from which all columns left of them are taken already."""
    front, lower, pivots = arrays
    down, right = (m, 1) if symmetric else (1, m)
    for k in range(*columns):
        store(pivots, own + k, load(front, k * m + k))
        inverse = ones() / load(front, k * m + k)
        for i in range(k + 1, m):
            store(lower, base + k * m + i, load(front, k * m + i) * inverse)
        for j in range(k + 1, columns[1]):
            across = load(front, k * down + j * right)
            for i in range(j if symmetric else k + 1, m):
                store(front, j * m + i, load(front, j * m + i) - load(lower, base + k * m + i) * across)


@compiled_into
def _rows_of_upper(
    front: np.ndarray, lower: np.ndarray, columns: tuple[int, int], rows: tuple[int, int], m: int, base: int
) -> None:
    """Rows of D U of a panel, for a few columns right of its pivots."""
    for begin in range(rows[0], rows[1], 4):
        end = min(begin + 4, rows[1])
        factors = (base + rows[0] * m, rows[0], 1, m)
        _less_products((front, front, lower), (*columns, begin, end), (m, 0, m), factors, begin - rows[0])
        for k in range(begin, end):
            for j in range(*columns):
                across = load(front, j * m + k)
                for i in range(k + 1, end):
                    store(front, j * m + i, load(front, j * m + i) - load(lower, base + k * m + i) * across)


@compiled_into
def _less_products(
    arrays: tuple,
    block: tuple[int, int, int, int],
    into: tuple[int, int, int],
    factors: tuple[int, int, int, int],
    n: int,
) -> None:
    """Rows `i` to `last` of columns `j` to `end` of a front, less the first n columns of L times those rows of D U."""
    j, end, i, last = block
    while i < last:
        tall = i + 4 <= last
        if end - j == 4:
            if tall:
                _tile_4x4(arrays, i, j, into, factors, n)
            else:
                _tile_1x4(arrays, i, j, into, factors, n)
        else:
            for c in range(j, end):
                if tall:
                    _tile_4x1(arrays, i, c, into, factors, n)
                else:
                    _tile_1x1(arrays, i, c, into, factors, n)
        i += 4 if tall else 1


@compiled_into
def _tile_4x4(arrays: tuple, i: int, j: int, into: tuple, factors: tuple, n: int) -> None:
    (front, target, lower), (m, offset, step), (base, above, down, right) = arrays, into, factors
    # The sixteen sums stay in registers while k runs, so that eight numbers are read for sixteen products.
    at, left, above = j * m + i, base + i, above + j * right
    a0, a1, a2, a3 = load(front, at), load(front, at + 1), load(front, at + 2), load(front, at + 3)
    at += m
    b0, b1, b2, b3 = load(front, at), load(front, at + 1), load(front, at + 2), load(front, at + 3)
    at += m
    c0, c1, c2, c3 = load(front, at), load(front, at + 1), load(front, at + 2), load(front, at + 3)
    at += m
    d0, d1, d2, d3 = load(front, at), load(front, at + 1), load(front, at + 2), load(front, at + 3)
    for _ in range(n):
        l0, l1, l2, l3 = load(lower, left), load(lower, left + 1), load(lower, left + 2), load(lower, left + 3)
        u = load(front, above)
        a0, a1, a2, a3 = a0 - l0 * u, a1 - l1 * u, a2 - l2 * u, a3 - l3 * u
        u = load(front, above + right)
        b0, b1, b2, b3 = b0 - l0 * u, b1 - l1 * u, b2 - l2 * u, b3 - l3 * u
        u = load(front, above + 2 * right)
        c0, c1, c2, c3 = c0 - l0 * u, c1 - l1 * u, c2 - l2 * u, c3 - l3 * u
        u = load(front, above + 3 * right)
        d0, d1, d2, d3 = d0 - l0 * u, d1 - l1 * u, d2 - l2 * u, d3 - l3 * u
        left += m
        above += down
    _put_4(target, offset + j * step + i, a0, a1, a2, a3)
    _put_4(target, offset + (j + 1) * step + i, b0, b1, b2, b3)
    _put_4(target, offset + (j + 2) * step + i, c0, c1, c2, c3)
    _put_4(target, offset + (j + 3) * step + i, d0, d1, d2, d3)


@compiled_into
def _put_4(target: np.ndarray, at: int, a: np.ndarray, b: np.ndarray, c: np.ndarray, d: np.ndarray) -> None:
    store(target, at, a)
    store(target, at + 1, b)
    store(target, at + 2, c)
    store(target, at + 3, d)


@compiled_into
def _tile_4x1(arrays: tuple, i: int, j: int, into: tuple, factors: tuple, n: int) -> None:
    (front, target, lower), (m, offset, step), (base, above, down, right) = arrays, into, factors
    at, left, above = j * m + i, base + i, above + j * right
    a0, a1, a2, a3 = load(front, at), load(front, at + 1), load(front, at + 2), load(front, at + 3)
    for _ in range(n):
        u = load(front, above)
        a0, a1 = a0 - load(lower, left) * u, a1 - load(lower, left + 1) * u
        a2, a3 = a2 - load(lower, left + 2) * u, a3 - load(lower, left + 3) * u
        left += m
        above += down
    _put_4(target, offset + j * step + i, a0, a1, a2, a3)


@compiled_into
def _tile_1x4(arrays: tuple, i: int, j: int, into: tuple, factors: tuple, n: int) -> None:
    (front, target, lower), (m, offset, step), (base, above, down, right) = arrays, into, factors
    at, left, above = j * m + i, base + i, above + j * right
    a, b, c, d = load(front, at), load(front, at + m), load(front, at + 2 * m), load(front, at + 3 * m)
    for _ in range(n):
        l0 = load(lower, left)
        a, b = a - l0 * load(front, above), b - l0 * load(front, above + right)
        c, d = c - l0 * load(front, above + 2 * right), d - l0 * load(front, above + 3 * right)
        left += m
        above += down
    at = offset + j * step + i
    store(target, at, a)
    store(target, at + step, b)
    store(target, at + 2 * step, c)
    store(target, at + 3 * step, d)


@compiled_into
def _tile_1x1(arrays: tuple, i: int, j: int, into: tuple, factors: tuple, n: int) -> None:
    (front, target, lower), (m, offset, step), (base, above, down, right) = arrays, into, factors
    total, left, above = load(front, j * m + i), base + i, above + j * right
    for _ in range(n):
        total = total - load(lower, left) * load(front, above)
        left += m
        above += down
    store(target, offset + j * step + i, total)


@compiled
def substitute(lower: np.ndarray, upper: np.ndarray, pivots: np.ndarray, plan: tuple, x: np.ndarray) -> None:
    """Replace x `(n, LANES)` by the solution of L D U y = x; for the transposed matrix the factors change places."""
    first, rows_at, factor_at, rows = plan
    for s in range(len(first) - 1):
        own, w, m = first[s], first[s + 1] - first[s], rows_at[s + 1] - rows_at[s]
        k = 0
        while k < w:
            base, row = factor_at[s] + k * m, rows_at[s]
            if k + 4 <= w:
                # Four columns at a time: then x is read and written once for all of them.
                for q in range(3):
                    value = load(x, own + k + q)
                    for i in range(k + q + 1, k + 4):
                        store(x, own + i, load(x, own + i) - load(lower, base + q * m + i) * value)
                v0, v1, v2, v3 = load(x, own + k), load(x, own + k + 1), load(x, own + k + 2), load(x, own + k + 3)
                for i in range(k + 4, m):
                    at = base + i
                    total = load(x, rows[row + i]) - load(lower, at) * v0 - load(lower, at + m) * v1
                    total = total - load(lower, at + 2 * m) * v2 - load(lower, at + 3 * m) * v3
                    store(x, rows[row + i], total)
                k += 4
            else:
                value = load(x, own + k)
                for i in range(k + 1, m):
                    store(x, rows[row + i], load(x, rows[row + i]) - load(lower, base + i) * value)
                k += 1
    for s in range(len(first) - 2, -1, -1):
        own, w, m = first[s], first[s + 1] - first[s], rows_at[s + 1] - rows_at[s]
        k = w
        while k > 0:
            row = rows_at[s]
            if k >= 4:
                k -= 4
                base = factor_at[s] + k * m
                v0, v1 = load(x, own + k) / load(pivots, own + k), load(x, own + k + 1) / load(pivots, own + k + 1)
                v2, v3 = (
                    load(x, own + k + 2) / load(pivots, own + k + 2),
                    load(x, own + k + 3) / load(pivots, own + k + 3),
                )
                for i in range(k + 4, m):
                    at, value = base + i, load(x, rows[row + i])
                    v0, v1 = v0 - load(upper, at) * value, v1 - load(upper, at + m) * value
                    v2, v3 = v2 - load(upper, at + 2 * m) * value, v3 - load(upper, at + 3 * m) * value
                v2 = v2 - load(upper, base + 2 * m + k + 3) * v3
                v1 = v1 - load(upper, base + m + k + 2) * v2 - load(upper, base + m + k + 3) * v3
                v0 = (
                    v0
                    - load(upper, base + k + 1) * v1
                    - load(upper, base + k + 2) * v2
                    - load(upper, base + k + 3) * v3
                )
                _put_4(x, own + k, v0, v1, v2, v3)
            else:
                k -= 1
                base = factor_at[s] + k * m
                value = load(x, own + k) / load(pivots, own + k)
                for i in range(k + 1, m):
                    value = value - load(upper, base + i) * load(x, rows[row + i])
                store(x, own + k, value)


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
