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

from analog_ep.networks.wires.joins import LEFT, RIGHT, TOP, Ending, Join, JoinedLeaves, Sizes, starts_of
from analog_ep.networks.wires.leaves import CompiledLeaves
from analog_ep.support.compiled import runs_compiled

_COMPILED_LEAF, _JOINED_LEAF = 8, 4
"""Cells along a side of the smallest blocks, at least, in compiled loops and in batches of small matrices."""

IDEAL = 1e18
"""Conductance of a segment without resistance, relative to the largest other: its voltage is lost in rounding."""


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
        compiled = runs_compiled(cells)
        self._tree = tree = _Tree(cells.shape[1], cells.shape[2], _COMPILED_LEAF if compiled else _JOINED_LEAF)
        kind = CompiledLeaves if compiled else JoinedLeaves
        # Padding goes on from the open ends without resistance, so that these are the nodes of the last cells.
        ideal = IDEAL * float(torch.stack([cells.amax(), row_links.amax(), column_links.amax()]).amax())
        self._leaves = kind((row_links, cells, column_links), ideal, tree.leaf, tree.blocks)
        links, sizes = self._leaves.links, (tree.leaf[0], tree.leaf[0], tree.leaf[1], tree.leaf[1])
        self._steps: list[Join | Ending] = []
        ends = [(2, RIGHT)] * open_right + [(1, TOP)] * open_top
        joins = tree.joins()
        while True:
            for dim, side in ends:
                if links.shape[dim] == 1 and sizes[side]:
                    self._steps.append(Ending(links, sizes, side))
                    links, sizes = self._steps[-1].links, self._steps[-1].sizes
            along_rows = next(joins, None)
            if along_rows is None:
                break
            self._steps.append(Join(links, sizes, 2, along_rows))
            links, sizes = self._steps[-1].links, self._steps[-1].sizes
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
        rows, columns = ends.new_empty(2, *self.shape, ends.shape[-1])
        at_once = self._leaves.samples_at_once
        for first, some in enumerate(ends.split(at_once, -1)):
            ports = ends.new_zeros(len(ends), self._n_ports, some.shape[-1])
            ports[:, self._ends] = some
            found = ports[:, None, None]
            for step in reversed(self._steps):
                found = step.voltages(found)
            self._leaves.voltages(found, rows, columns, first * at_once)
        return rows, columns

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
        return self._leaves.moments(found)


class _Tree:
    """How many blocks are joined, and in which order; the crossbar is padded at the top and on the right.

    Parameters
    ----------
    n_rows, n_columns : int
        Of the crossbar.
    smallest : int
        Cells along a side of the smallest blocks, which have up to twice as many: the crossbar is halved until then.
    """

    def __init__(self, n_rows: int, n_columns: int, smallest: int):
        self._shape = n_rows, n_columns
        self._halvings = [max(0, int(math.log2(n / smallest))) for n in self._shape]
        down, right = (2**k for k in self._halvings)
        self.blocks = down, right
        self.leaf = -(-n_rows // down), -(-n_columns // right)

    def joins(self) -> Iterator[bool]:
        """For each time that blocks are joined in pairs, whether along the rows: halves of what is long come last."""
        (rows, columns), (down, right) = self.leaf, self._halvings
        while down or right:
            along_rows = right > 0 and (columns <= rows or not down)
            if along_rows:
                columns, right = 2 * columns, right - 1
            else:
                rows, down = 2 * rows, down - 1
            yield along_rows

    def real_ports(self, sizes: Sizes) -> Tensor:
        """Indices of the whole crossbar's ports that are no padding."""
        (n_rows, n_columns), real = self._shape, []
        padding = self.blocks[0] * self.leaf[0] - n_rows
        for side, start in enumerate(starts_of(sizes)):
            rows = side in (LEFT, RIGHT)
            if sizes[side]:
                real.append(torch.arange(n_rows if rows else n_columns) + start + (padding if rows else 0))
        return torch.cat(real)
