r"""The lines of a crossbar eliminated down to their ends, by joining blocks of cells.

A crossbar whose lines have resistance is a network of conductances between its cells' nodes and the lines' ends, and
nothing in it leads to ground. A block of p rows and q columns is known from outside by its ports: the left and right
ends of its rows, the top and bottom ends of its columns. Two neighbours share p (or q) ports, which then lie inside and
are eliminated. What remains are `links`, conductances between every two ports:

.. math::

    G'_{kl} = G_{kl} + \sum_{e} G_{ke} X_{el}, \qquad X = D^{-1} G, \qquad
    D_{ef} = δ_{ef} \sum_n G_{en} - G_{ef}, \qquad v_e = \sum_k X_{ek} v_k

for e, f eliminated and k, l kept. All G and all of D⁻¹ are ≥ 0, and the diagonal of D is a sum of links, not a
difference: so a link of 1 nS keeps its relative precision beside wires of 1 kS, where a nodal matrix would keep nothing
of it [1]_. Blocks of a level have one size and are joined as a batch of dense matrices, on any device: O(N³) operations
for N × N cells.

Run downward, the same steps give the voltages of all nodes from those of the ends, and from moments of these,
:math:`C_{kl} = \sum_b v_{bk} w_{bl}` over a batch, the moments of all cells: P C Pᵀ with P = [X; 1].

References
----------
.. [1] W. K. Grassmann, M. I. Taksar and D. P. Heyman, "Regenerative Analysis and Steady State Distributions for Markov
   Chains," Oper. Res. 33(5), 1107–1116, 1985, doi:10.1287/opre.33.5.1107.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import Tensor
from torch.nn.functional import pad

from analog_ep.errors import NetworkError

_LEAF = 4
"""Cells along a side of the smallest blocks, and up to twice as many: they are put together line by line, larger ones
from halves. So a crossbar is padded to whole blocks by a quarter at most."""

IDEAL = 1e18
"""Conductance of a segment without resistance, relative to the largest other: its voltage is lost in rounding."""

_LEFT, _RIGHT, _TOP, _BOTTOM = range(4)
_Sizes = tuple[int, int, int, int]
"""Numbers of ports on the four sides of a block, in this order."""


class LineElimination:
    """Crossbars of one size, eliminated down to the ends of their lines.

    A row runs from its left end over a segment to each of its cells, and its right end is the last cell's node; a
    column's top end is the first cell's node, and it runs over a segment behind each cell to its bottom end.

    Parameters
    ----------
    cells : Tensor (n_crossbars, n_rows, n_columns)
        Conductance between row and column in each cell, ≥ 0; float64. [S]
    row_links, column_links : Tensor, of the same shape
        Conductance of the segment before each cell in its row, and of that behind it in its column, ≥ 0. [S]
    open_right, open_top : bool
        Whether nothing is connected to these ends, so that they are eliminated as well.

    Attributes
    ----------
    links : Tensor (n_crossbars, n_ends, n_ends)
        Conductances between ends, in the order left, right, top, bottom, without those that are open. [S]

    Raises
    ------
    NetworkError
        If a part of a line is connected to nothing.
    """

    def __init__(self, cells: Tensor, row_links: Tensor, column_links: Tensor, *, open_right: bool, open_top: bool):
        self.shape = cells.shape
        tree = _Tree(cells.shape[1], cells.shape[2])
        # Padding goes on from the open ends without resistance, so that these are the nodes of the last cells.
        ideal = IDEAL * float(torch.stack([cells.amax(), row_links.amax(), column_links.amax()]).amax())
        segments = [pad(links, tree.padding, value=ideal) for links in (row_links, column_links)]
        links = _links_of_cells(pad(cells, tree.padding), *segments)
        self._steps: list[_Join | _Ending] = []
        sizes: _Sizes = (1, 1, 1, 1)
        for count, along_rows in tree.joins():
            step = _Join(links, sizes, count, along_rows)
            self._steps.append(step)
            links, sizes = step.links, step.sizes
            side, is_open = (_RIGHT, open_right) if along_rows else (_TOP, open_top)
            if is_open and links.shape[2 if along_rows else 1] == 1:
                step = _Ending(links, sizes, side)
                self._steps.append(step)
                links, sizes = step.links, step.sizes
        self._n_ports, self._ends = sum(sizes), tree.real_ports(sizes).to(cells.device)
        self.links = links[:, 0, 0][:, self._ends[:, None], self._ends]

    def voltages(self, ends: Tensor) -> tuple[Tensor, Tensor]:
        """Voltages of the cells' row and column nodes, from those of the ends. [V]

        Parameters
        ----------
        ends : Tensor (n_crossbars, n_ends, n_samples)
            Voltages of the ends, in the order of `links`. [V]

        Returns
        -------
        rows, columns : Tensor (n_crossbars, n_rows, n_columns, n_samples)
        """
        ports = ends.new_zeros(len(ends), self._n_ports, ends.shape[-1])
        ports[:, self._ends] = ends
        found = ports[:, None, None]
        for step in reversed(self._steps):
            found = step.voltages(found)
        n_rows, n_columns = self.shape[1:]
        found = found[:, -n_rows:, :n_columns]
        return found[..., _RIGHT, :], found[..., _TOP, :]

    def moments(self, ends: Tensor) -> Tensor:
        """Σ over the samples of v·w for the voltages v and w across each cell, of the shape of `cells`. [V²]

        Parameters
        ----------
        ends : Tensor (n_crossbars, n_ends, n_ends)
            Σ of v_k w_l, and of v_l w_k, halved: a symmetric matrix. [V²]
        """
        ports = ends.new_zeros(len(ends), self._n_ports, self._n_ports)
        ports[:, self._ends[:, None], self._ends] = ends
        found = ports[:, None, None]
        for step in reversed(self._steps):
            found = step.moments(found)
        n_rows, n_columns = self.shape[1:]
        found = found[:, -n_rows:, :n_columns]
        across = found[..., _RIGHT, _TOP]
        return found[..., _RIGHT, _RIGHT] + found[..., _TOP, _TOP] - 2 * across


class _Tree:
    """How many blocks are joined, and in which order; the crossbar is padded at the top and on the right."""

    def __init__(self, n_rows: int, n_columns: int):
        self.shape = n_rows, n_columns
        self.halvings = [max(0, int(math.log2(n / _LEAF))) if n > _LEAF else 0 for n in self.shape]
        self.leaf = [-(-n // 2**k) for n, k in zip(self.shape, self.halvings, strict=True)]
        padded = [leaf * 2**k for leaf, k in zip(self.leaf, self.halvings, strict=True)]
        self.padding = 0, padded[1] - n_columns, padded[0] - n_rows, 0

    def joins(self) -> Iterator[tuple[int, bool]]:
        """Numbers of blocks to join, and whether along the rows: lines of a leaf first, then halves of what is long."""
        yield self.leaf[1], True
        yield self.leaf[0], False
        (rows, columns), (down, right) = self.leaf, self.halvings
        while down or right:
            if right and (columns <= rows or not down):
                columns, right = 2 * columns, right - 1
                yield 2, True
            else:
                rows, down = 2 * rows, down - 1
                yield 2, False

    def real_ports(self, sizes: _Sizes) -> Tensor:
        """Indices of the whole crossbar's ports that are no padding."""
        (n_rows, n_columns), real = self.shape, []
        for side, start in enumerate(_starts(sizes)):
            rows = side in (_LEFT, _RIGHT)
            first = self.padding[2] if rows else 0
            if sizes[side]:
                real.append(torch.arange(n_rows if rows else n_columns) + first + start)
        return torch.cat(real)


def _links_of_cells(cells: Tensor, row_links: Tensor, column_links: Tensor) -> Tensor:
    """A cell as a block: left to right the row's segment, right to top the cell, top to bottom the column's."""
    links = cells.new_zeros(*cells.shape, 4, 4)
    for values, (a, b) in ((row_links, (_LEFT, _RIGHT)), (cells, (_RIGHT, _TOP)), (column_links, (_TOP, _BOTTOM))):
        links[..., a, b] = links[..., b, a] = values
    return links


class _Elimination:
    """Nodes that come first in `links` are eliminated; `weights` are X."""

    def __init__(self, links: Tensor, n_inner: int):
        inner, self.weights = links[..., :n_inner, :n_inner], links[..., :n_inner, n_inner:]
        total, across = links[..., :n_inner, :].sum(-1), self.weights
        if n_inner == 1:
            self.weights = across / total[..., None]
        else:
            matrix = torch.diag_embed(total) - inner
            factor, failed = torch.linalg.cholesky_ex(matrix)
            if bool(failed.any()):
                raise NetworkError(
                    "every part of a crossbar's lines must be connected to one of their ends, found one that is not; "
                    "close an open segment or raise the smallest conductances"
                )
            self.weights = torch.cholesky_solve(across, factor)
        self.links = links[..., n_inner:, n_inner:] + across.mT @ self.weights
        self.links.diagonal(dim1=-2, dim2=-1).zero_()

    def voltages(self, ports: Tensor) -> Tensor:
        """Of the eliminated nodes and then the others `(…, n, n_samples)`."""
        return torch.cat([self.weights @ ports, ports], -2)

    def moments(self, ports: Tensor) -> Tensor:
        """Likewise, of moments `(…, n, n)`."""
        across = self.weights @ ports
        inner = across @ self.weights.mT
        return torch.cat([torch.cat([inner, across], -1), torch.cat([across.mT, ports], -1)], -2)


class _Join:
    """Joins every `count` blocks that follow each other in one direction, one after another.

    Links come as `(n_crossbars, n_block_rows, n_block_columns, n_ports, n_ports)`.
    """

    def __init__(self, links: Tensor, sizes: _Sizes, count: int, along_rows: bool):
        self.dim = 2 if along_rows else 1
        parts = links.unflatten(self.dim, (-1, count)).unbind(self.dim + 1)
        found, self._joints = parts[0], []
        self.sizes = sizes
        for part in parts[1:]:
            joint = _Joint(found, self.sizes, part, sizes, along_rows)
            self._joints.append(joint)
            found, self.sizes = joint.links, joint.sizes
        self.links = found

    def voltages(self, ports: Tensor) -> Tensor:
        """Of the ports of the blocks before they were joined."""
        parts = []
        for joint in reversed(self._joints):
            nodes = joint.elimination.voltages(ports)
            ports = nodes[..., joint.first, :]
            parts.append(nodes[..., joint.second, :])
        return self._apart(ports, parts)

    def moments(self, ports: Tensor) -> Tensor:
        """Likewise, of moments."""
        parts = []
        for joint in reversed(self._joints):
            nodes = joint.elimination.moments(ports)
            ports = nodes[..., joint.first[:, None], joint.first]
            parts.append(nodes[..., joint.second[:, None], joint.second])
        return self._apart(ports, parts)

    def _apart(self, first: Tensor, others: list[Tensor]) -> Tensor:
        return torch.stack([first, *reversed(others)], self.dim + 1).flatten(self.dim, self.dim + 1)


class _Joint:
    """Two blocks joined: the right side of one to the left of the other, or the bottom of one to the top of the other.

    Nodes of both are numbered with the shared ones first, then the sides of the new block; `first` and `second` are
    the numbers of the two blocks' ports.
    """

    def __init__(self, a: Tensor, a_sizes: _Sizes, b: Tensor, b_sizes: _Sizes, along_rows: bool):
        far, near = (_RIGHT, _LEFT) if along_rows else (_BOTTOM, _TOP)
        beside = (_TOP, _BOTTOM) if along_rows else (_LEFT, _RIGHT)
        sizes = list(a_sizes)
        sizes[far] = b_sizes[far]
        for side in beside:
            sizes[side] = a_sizes[side] + b_sizes[side]
        self.sizes: _Sizes = (sizes[0], sizes[1], sizes[2], sizes[3])
        shared = a_sizes[far]
        starts = [shared + start for start in _starts(self.sizes)]
        first, second = list(starts), list(starts)
        first[far] = second[near] = 0
        for side in beside:
            second[side] += a_sizes[side]
        self.first, self.second = (
            torch.cat([torch.arange(n) + start for n, start in zip(own, begin, strict=True)]).to(a.device)
            for own, begin in ((a_sizes, first), (b_sizes, second))
        )
        size = shared + sum(self.sizes)
        links = a.new_zeros(*a.shape[:-2], size * size)
        for block, index in ((a, self.first), (b, self.second)):
            links.index_add_(-1, (index[:, None] * size + index).flatten(), block.flatten(-2))
        self.elimination = _Elimination(links.unflatten(-1, (size, size)), shared)
        self.links = self.elimination.links


class _Ending:
    """Eliminates a side that leads nowhere."""

    def __init__(self, links: Tensor, sizes: _Sizes, side: int):
        start, count = _starts(sizes)[side], sizes[side]
        ports = torch.arange(sum(sizes))
        order = torch.cat([ports[start : start + count], ports[:start], ports[start + count :]])
        self._place, order = order.argsort().to(links.device), order.to(links.device)
        self.elimination = _Elimination(links[..., order[:, None], order], count)
        self.links = self.elimination.links
        rest = list(sizes)
        rest[side] = 0
        self.sizes: _Sizes = (rest[0], rest[1], rest[2], rest[3])

    def voltages(self, ports: Tensor) -> Tensor:
        """Of all ports before the side was eliminated."""
        return self.elimination.voltages(ports)[..., self._place, :]

    def moments(self, ports: Tensor) -> Tensor:
        """Likewise, of moments."""
        return self.elimination.moments(ports)[..., self._place[:, None], self._place]


def _starts(sizes: _Sizes) -> tuple[int, int, int, int]:
    return 0, sizes[0], sizes[0] + sizes[1], sizes[0] + sizes[1] + sizes[2]
