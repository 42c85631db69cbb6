"""Blocks of a crossbar joined to larger ones by dense matrices, on any device.

Links of blocks come as `(n_crossbars, n_block_rows, n_block_columns, n_ports, n_ports)`, with the ports in the order
left, right, top, bottom.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import pad

from analog_ep.errors import NetworkError

LEFT, RIGHT, TOP, BOTTOM = range(4)
Sizes = tuple[int, int, int, int]
"""Numbers of ports on the four sides of a block, in this order."""


def starts_of(sizes: Sizes) -> Sizes:
    """Numbers of the first port of each side."""
    return 0, sizes[0], sizes[0] + sizes[1], sizes[0] + sizes[1] + sizes[2]


def disconnected() -> NetworkError:
    """What is raised if a part of a line leads to no end."""
    return NetworkError(
        "every part of a crossbar's lines must be connected to one of their ends, found one that is not; close an open "
        "segment or raise the smallest conductances"
    )


class _Run(NamedTuple):
    """Ports of a block that stay neighbours: where they are in it, and among the eliminated or the kept nodes."""

    own: slice
    eliminated: bool
    place: slice


class _Elimination:
    """Nodes eliminated from some blocks that are joined at them.

    Parameters
    ----------
    parts : list of (Tensor, list of _Run)
        Links of each block, and where its ports go.
    n_inner, n_kept : int
        Numbers of eliminated and of kept nodes.

    Attributes
    ----------
    links : Tensor (…, n_kept, n_kept)
        Between the kept nodes. [S]
    """

    def __init__(self, parts: list[tuple[Tensor, list[_Run]]], n_inner: int, n_kept: int):
        self._runs = [runs for _, runs in parts]
        batch, like = parts[0][0].shape[:-2], parts[0][0]
        inner, across = like.new_zeros(*batch, n_inner, n_inner), like.new_empty(*batch, n_inner, n_kept)
        for block, runs in parts:
            for first in (run for run in runs if run.eliminated):
                for second in runs:
                    values = block[..., first.own, second.own]
                    if second.eliminated:
                        inner[..., first.place, second.place] += values
                    else:
                        across[..., first.place, second.place] = values
        total = inner.sum(-1) + across.sum(-1)
        if n_inner == 1:
            self._weights = across / total[..., None]
        else:
            matrix = inner.neg_()
            matrix.diagonal(dim1=-2, dim2=-1).add_(total)
            factor, failed = torch.linalg.cholesky_ex(matrix)
            if bool(failed.any()):
                raise disconnected()
            # The inverse has no negative element, so this product does not cancel; it is faster than substitution.
            self._weights = torch.cholesky_inverse(factor) @ across
        self.links = across.mT @ self._weights
        for block, runs in parts:
            kept = [run for run in runs if not run.eliminated]
            for first in kept:
                for second in kept:
                    self.links[..., first.place, second.place] += block[..., first.own, second.own]
        self.links.diagonal(dim1=-2, dim2=-1).zero_()

    def voltages(self, kept: Tensor, blocks: list[Tensor]) -> None:
        """Set those of each block's ports `(…, n_ports, n_samples)`, from those of the kept nodes."""
        inner = self._weights @ kept
        for block, runs in zip(blocks, self._runs, strict=True):
            for run in runs:
                block[..., run.own, :] = (inner if run.eliminated else kept)[..., run.place, :]

    def moments(self, kept: Tensor, blocks: list[Tensor]) -> None:
        """Likewise, of moments `(…, n_ports, n_ports)`."""
        across = self._weights @ kept
        inner = across @ self._weights.mT
        sources = {(True, True): inner, (True, False): across, (False, True): across.mT, (False, False): kept}
        for block, runs in zip(blocks, self._runs, strict=True):
            for first in runs:
                for second in runs:
                    source = sources[first.eliminated, second.eliminated]
                    block[..., first.own, second.own] = source[..., first.place, second.place]


class Join:
    """Joins every `count` blocks that follow each other in one direction, one after another."""

    def __init__(self, links: Tensor, sizes: Sizes, count: int, along_rows: bool):
        self._dim, self._count = 2 if along_rows else 1, count
        self._shape = links.shape
        parts = links.unflatten(self._dim, (-1, count)).unbind(self._dim + 1)
        found, self._joints, self.sizes = parts[0], [], sizes
        for part in parts[1:]:
            joint, self.sizes = _joint(found, self.sizes, part, sizes, along_rows)
            self._joints.append((joint, found.shape[-1]))
            found = joint.links
        self.links = found

    def voltages(self, ports: Tensor) -> Tensor:
        """Of the ports of the blocks before they were joined."""
        return self._apart(ports, _Elimination.voltages, lambda count: (count, ports.shape[-1]))

    def moments(self, ports: Tensor) -> Tensor:
        """Likewise, of moments."""
        return self._apart(ports, _Elimination.moments, lambda count: (count, count))

    def _apart(self, ports: Tensor, step: Callable[..., None], size: Callable[[int], tuple[int, int]]) -> Tensor:
        whole = ports.new_empty(*self._shape[:3], *size(self._shape[-1]))
        blocks = whole.unflatten(self._dim, (-1, self._count)).unbind(self._dim + 1)
        if not self._joints:
            return ports
        for (joint, count), second in zip(reversed(self._joints), reversed(blocks), strict=False):
            first = blocks[0] if second is blocks[1] else ports.new_empty(*ports.shape[:3], *size(count))
            step(joint, ports, [first, second])
            ports = first
        return whole


def _joint(a: Tensor, a_sizes: Sizes, b: Tensor, b_sizes: Sizes, along_rows: bool) -> tuple[_Elimination, Sizes]:
    """Two blocks joined: the right side of one to the left of the other, or the bottom of one to the other's top."""
    far, near = (RIGHT, LEFT) if along_rows else (BOTTOM, TOP)
    beside = (TOP, BOTTOM) if along_rows else (LEFT, RIGHT)
    new = list(a_sizes)
    new[far] = b_sizes[far]
    for side in beside:
        new[side] = a_sizes[side] + b_sizes[side]
    sizes: Sizes = (new[0], new[1], new[2], new[3])
    starts = starts_of(sizes)
    behind = [starts[side] + (a_sizes[side] if side in beside else 0) for side in range(4)]
    parts = [(a, _runs(a_sizes, far, starts)), (b, _runs(b_sizes, near, behind))]
    return _Elimination(parts, a_sizes[far], sum(sizes)), sizes


class Ending:
    """Eliminates a side that leads nowhere."""

    def __init__(self, links: Tensor, sizes: Sizes, side: int):
        rest = list(sizes)
        rest[side] = 0
        self.sizes: Sizes = (rest[0], rest[1], rest[2], rest[3])
        parts = [(links, _runs(sizes, side, starts_of(self.sizes)))]
        self._elimination = _Elimination(parts, sizes[side], sum(self.sizes))
        self.links, self._n_ports = self._elimination.links, sum(sizes)

    def voltages(self, ports: Tensor) -> Tensor:
        """Of all ports before the side was eliminated."""
        found = ports.new_empty(*ports.shape[:3], self._n_ports, ports.shape[-1])
        self._elimination.voltages(ports, [found])
        return found

    def moments(self, ports: Tensor) -> Tensor:
        """Likewise, of moments."""
        found = ports.new_empty(*ports.shape[:3], self._n_ports, self._n_ports)
        self._elimination.moments(ports, [found])
        return found


def _runs(sizes: Sizes, eliminated: int, places: Sizes | list[int]) -> list[_Run]:
    """Where the sides of a block go: one of them is eliminated, the others begin at these places."""
    runs = []
    for side, (start, count) in enumerate(zip(starts_of(sizes), sizes, strict=True)):
        place = 0 if side == eliminated else places[side]
        if count:
            runs.append(_Run(slice(start, start + count), side == eliminated, slice(place, place + count)))
    return runs


class JoinedLeaves:
    """Blocks of one size that make up crossbars, joined cell by cell; as `CompiledLeaves`, on any device."""

    samples_at_once = 1024

    def __init__(
        self, links: tuple[Tensor, Tensor, Tensor], padding: float, leaf: tuple[int, int], blocks: tuple[int, int]
    ):
        self._size = links[0].shape
        beyond = 0, blocks[1] * leaf[1] - self._size[2], blocks[0] * leaf[0] - self._size[1], 0
        row_links, cells, column_links = (
            pad(values, beyond, value=fill) for values, fill in zip(links, (padding, 0.0, padding), strict=True)
        )
        blocks_of_one = cells.new_zeros(*cells.shape, 4, 4)
        # Left to right the row's segment, right to top the cell, top to bottom the column's segment.
        for values, (a, b) in ((row_links, (LEFT, RIGHT)), (cells, (RIGHT, TOP)), (column_links, (TOP, BOTTOM))):
            blocks_of_one[..., a, b] = blocks_of_one[..., b, a] = values
        self._rows = Join(blocks_of_one, (1, 1, 1, 1), leaf[1], along_rows=True)
        self._columns = Join(self._rows.links, self._rows.sizes, leaf[0], along_rows=False)
        self.links = self._columns.links

    def voltages(self, ports: Tensor, rows: Tensor, columns: Tensor, first_sample: int) -> None:
        """Set those of the cells' nodes, from those of ports `(n_crossbars, …, n_ports, n_samples)`."""
        found = self._rows.voltages(self._columns.voltages(ports))[:, -self._size[1] :, : self._size[2]]
        chosen = slice(first_sample, first_sample + ports.shape[-1])
        rows[..., chosen], columns[..., chosen] = found[..., RIGHT, :], found[..., TOP, :]

    def moments(self, ports: Tensor) -> Tensor:
        """Across the cells, from those of ports `(n_crossbars, …, n_ports, n_ports)`."""
        found = self._rows.moments(self._columns.moments(ports))[:, -self._size[1] :, : self._size[2]]
        return found[..., RIGHT, RIGHT] + found[..., TOP, TOP] - 2 * found[..., RIGHT, TOP]
