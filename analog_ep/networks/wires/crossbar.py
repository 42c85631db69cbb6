"""A crossbar with wires, as the layers on both sides see it: exactly, by the links between its lines' ends."""

from __future__ import annotations

from functools import cached_property

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import pad

from analog_ep.circuit import Chip
from analog_ep.networks.crossbar import Crossbar, Gain
from analog_ep.networks.layout import StageLayout
from analog_ep.networks.stage import DenseStage, Stage
from analog_ep.networks.wires.elimination import IDEAL, LineElimination
from analog_ep.networks.wires.segments import LineSegments


class WiredCrossbar(Crossbar):
    """A crossbar whose lines have resistance; computed in float64, given in the precision of its conductances.

    Its terminals are the sources of all rows and then the nodes of all columns; `links` are the conductances between
    them once the lines are eliminated, and all that the layers see of them.

    Parameters
    ----------
    layout : StageLayout
        Rows and columns.
    siemens : Tensor (n_rows, n_columns)
        Conductances of the cells. [S]
    bias_voltage : float
        Of the bias rows. [V]
    cell_resistance : float
        In series with each cell. [Ω]
    rows, columns : LineSegments
        The lines.
    chip : Chip or None
        Its mismatch of segments and of what is in series with the cells.
    """

    def __init__(
        self,
        layout: StageLayout,
        siemens: Tensor,
        bias_voltage: float,
        cell_resistance: float,
        rows: LineSegments,
        columns: LineSegments,
        chip: Chip | None,
    ):
        self.layout, self.bias_voltage = layout, bias_voltage
        self.rows, self.columns = rows, columns
        self.siemens = siemens
        siemens = siemens.detach().double()
        series = siemens.new_tensor(cell_resistance)
        if chip is not None and cell_resistance:
            series = 1 / chip.adjusted(f"{layout.label}_access.siemens", 1 / series.expand(layout.shape))
        self._divider = 1 / (1 + siemens * series)
        """Voltage across a cell's conductance, of that across the cell."""
        self._series = self._divider * siemens * series
        self._place(siemens.device)
        self._elimination = self._eliminated(siemens * self._divider, chip)

    def _place(self, device: torch.device) -> None:
        """Where tiles lie: rows of each from the end that is not sensed, columns from the end that is driven.

        Tiles are padded to one size with the number of lines, which stands for none; a line that is closed at both ends
        has a place for the second segment behind its cells.
        """
        n_rows, n_columns = self.layout.shape
        closing = int(self.columns.ends == "both"), int(self.rows.ends == "both")
        of_rows = _padded([part[::-1] for part in self.columns.order()], n_rows, closing[0], before=True)
        of_columns = _padded(self.rows.order(), n_columns, closing[1], before=False)
        self._of_rows, self._of_columns = (torch.from_numpy(each).to(device) for each in (of_rows, of_columns))
        shape = len(of_rows), len(of_columns), -1
        rows = self._of_rows[:, None, :].expand(shape).flatten(0, 1)
        columns = self._of_columns[None].expand(shape).flatten(0, 1)
        rows, columns = (torch.where(each == n, -1, each) for each, n in ((rows, n_rows), (columns, n_columns)))
        # Terminals of the ends: left, right, top, bottom; the last one stands for none.
        none, columns = n_rows + n_columns, torch.where(columns < 0, columns, columns + n_rows)
        sides = [rows] * (1 + closing[1]) + [columns] * (1 + closing[0])
        self._terminals = torch.cat(sides, 1).remainder(none + 1)

    def _eliminated(self, siemens: Tensor, chip: Chip | None) -> LineElimination:
        cells = self._tiled(pad(siemens, (0, 1, 0, 1)))
        row_links, column_links = self._links(self.rows, chip, siemens), self._links(self.columns, chip, siemens)
        finite = [links[torch.isfinite(links)] for links in (*row_links, *column_links, siemens) if links.numel()]
        ideal = IDEAL * torch.cat(finite).amax()
        along_rows = self._segments(*row_links, self._of_rows, self._of_columns, ideal)
        along_columns = self._segments(*column_links, self._of_columns, self._of_rows.flip(1), ideal).flip(-1)
        return LineElimination(
            cells,
            along_rows.flatten(0, 1),
            along_columns.transpose(0, 1).mT.flatten(0, 1),
            open_right=self.rows.ends != "both",
            open_top=self.columns.ends != "both",
        )

    def _tiled(self, cells: Tensor) -> Tensor:
        """Cells `(n_rows + 1, n_columns + 1)` by tile, `(n_tiles, tile rows, tile columns)`."""
        return cells[self._of_rows[:, None, :, None], self._of_columns[None, :, None, :]].flatten(0, 1)

    def _links(self, lines: LineSegments, chip: Chip | None, like: Tensor) -> tuple[Tensor, Tensor]:
        """Conductances of the cells' segments and of the closing ones, as a chip has them; infinite for 0 Ω. [S]"""
        found = []
        for label, ohms in zip(lines.elements, lines.resistances(), strict=True):
            links = like.new_empty(0) if ohms is None else 1 / torch.from_numpy(ohms.copy()).to(like)
            key, there = f"{label}.siemens", torch.isfinite(links)
            if chip is not None and chip.changes(key):
                links[there] = chip.adjusted(key, links[there])
            found.append(links)
        return found[0], found[1]

    @staticmethod
    def _segments(own: Tensor, closing: Tensor, of_lines: Tensor, along: Tensor, ideal: Tensor) -> Tensor:
        """Links `(tiles of lines, tiles along them, lines, cells)`, cells in their order; `ideal` in the padding."""
        links = torch.where(torch.isfinite(own), own, ideal)
        links = torch.nn.functional.pad(links, (0, 1, 0, 1), value=float(ideal))
        links = links[of_lines[:, None, :, None], along[None, :, None, :]]
        if closing.numel():
            closed = pad(torch.where(torch.isfinite(closing), closing, ideal), (0, 0, 0, 1), value=float(ideal))
            ends = (along != own.shape[1]).sum(1)
            for tile, end in enumerate(ends.tolist()):
                links[:, tile, :, end] = closed[of_lines, tile]
        return links

    @cached_property
    def links(self) -> Tensor:
        """Conductances between terminals `(n_rows + n_columns,) * 2`, tiles summed; diagonal 0. [S]"""
        size = sum(self.layout.shape) + 1
        total = self._elimination.links.new_zeros(size * size)
        at = self._terminals[:, :, None] * size + self._terminals[:, None, :]
        total.index_add_(0, at.flatten(), self._elimination.links.flatten())
        total = total.view(size, size)[:-1, :-1]
        total.diagonal().zero_()
        return total

    @cached_property
    def _signs(self) -> Tensor:
        """Voltage of each row by that of the amplifiers or sources before it, `(n_rows, n_in)`."""
        n_in, signs = self.layout.n_in, self.links.new_zeros(self.layout.n_rows, self.layout.n_in)
        positive, negative, _ = self.layout.split(signs)
        one = torch.eye(n_in, dtype=signs.dtype, device=signs.device)
        positive.copy_(one)
        if negative is not None:
            negative.copy_(-one)
        return signs

    def stage(self, gain: Gain, feedback: Gain, drives: bool) -> Stage:
        n_rows = self.layout.n_rows
        across, signs = self.links[:n_rows, n_rows:], self._signs
        bias = self._bias_rows(across.new_zeros(1))[0]
        load, coupled, drift = across.new_zeros(self.layout.n_in), None, None
        if drives:
            laplacian = torch.diag(self.links[:n_rows].sum(1)) - self.links[:n_rows, :n_rows]
            folded = signs.T @ laplacian @ signs
            load, drift = folded.diagonal().clone(), -(signs.T @ (laplacian @ bias))
            coupled = torch.diag(load) - folded
        own = self.links[n_rows:]

        def given(part: Tensor) -> Tensor:
            return part.to(self.siemens)

        return DenseStage(
            weight=given(signs.T @ across),
            total=given(own.sum(1)),
            bias=given(bias @ across),
            load=given(load),
            gain=gain,
            feedback=feedback,
            mutual=given(own[:, n_rows:]),
            load_mutual=None if coupled is None else given(coupled),
            load_bias=None if drift is None else given(drift),
        )

    def _bias_rows(self, before: Tensor) -> Tensor:
        """Voltages of rows whose sources are at 0 V, `(len(before), n_rows)`."""
        rows = before.new_zeros(len(before), self.layout.n_rows, dtype=torch.float64)
        if self.layout.biased:
            rows[:, -2], rows[:, -1] = self.bias_voltage, -self.bias_voltage
        return rows

    def _voltages(self, before: Tensor, layer: Tensor) -> Tensor:
        """Of all terminals `(n_samples, n_rows + n_columns)`."""
        before, layer = (each.reshape(-1, each.shape[-1]).double() for each in (before, layer))
        return torch.cat([self._bias_rows(before) + before @ self._signs.T, layer], 1)

    def _changes(self, before: Tensor | None, layer: Tensor) -> Tensor:
        layer = layer.reshape(-1, layer.shape[-1]).double()
        if before is None:
            return torch.cat([layer.new_zeros(len(layer), self.layout.n_rows), layer], 1)
        return torch.cat([before.reshape(-1, before.shape[-1]).double() @ self._signs.T, layer], 1)

    def _at_ends(self, terminals: Tensor) -> Tensor:
        """Terminals' voltages at the ends of every tile's lines, `(n_tiles, n_ends, n_samples)`."""
        return pad(terminals, (0, 1)).T[self._terminals]

    def energy(self, before: Tensor, layer: Tensor) -> Tensor:
        voltages = self._voltages(before, layer)
        drawn = voltages * self.links.sum(1) - voltages @ self.links
        return 0.5 * (voltages * drawn).sum(1).reshape(layer.shape[:-1]).to(layer)

    def contrast(self, before: Tensor, before_change: Tensor | None, layer: Tensor, change: Tensor) -> Tensor:
        ends = self._at_ends(self._voltages(before, layer))
        changes = self._at_ends(self._changes(before_change, change))
        half = 0.5 * changes @ ends.mT
        across = self._elimination.moments(half + half.mT)
        return (self._untiled(across) * self._divider**2).to(change)

    def _untiled(self, cells: Tensor) -> Tensor:
        """Values of cells by tile `(n_tiles, tile rows, tile columns, …)`, as `(n_rows, n_columns, …)`."""
        n_rows, n_columns = self.layout.shape
        found = cells.new_zeros(n_rows + 1, n_columns + 1, *cells.shape[3:])
        tiles = cells.unflatten(0, (len(self._of_rows), len(self._of_columns)))
        found[self._of_rows[:, None, :, None], self._of_columns[None, :, None, :]] = tiles
        return found[:-1, :-1]

    def cell_voltages(self, before: Tensor, layer: Tensor) -> Tensor:
        rows, columns = self._node_voltages(before, layer)
        return (self._divider[..., None] * (rows - columns)).movedim(-1, 0).to(layer)

    def terminal_voltages(self, before: Tensor, layer: Tensor) -> Tensor:
        rows, columns = self._voltages(before, layer).split(list(self.layout.shape), 1)
        return (rows[:, :, None] - columns[:, None, :]).to(layer)

    def _node_voltages(self, before: Tensor, layer: Tensor) -> tuple[Tensor, Tensor]:
        """Of the row's and the column's node at each cell, `(n_rows, n_columns, n_samples)`."""
        tiled = self._elimination.voltages(self._at_ends(self._voltages(before, layer)))
        return self._untiled(tiled[0]), self._untiled(tiled[1])

    def inner_voltages(self, before: Tensor, layer: Tensor) -> Tensor | None:
        rows, columns = self._node_voltages(before, layer)
        parts = [rows[:, self.rows.node_cells], columns.transpose(0, 1)[:, self.columns.node_cells]]
        if bool(self._series.any()):
            parts.append(columns + self._series[..., None] * (rows - columns))
        nodes = torch.cat([part.flatten(0, 1) for part in parts]).T
        return nodes.reshape(*layer.shape[:-1], -1).to(layer) if nodes.shape[1] else None


def _padded(parts: list[np.ndarray], none: int, closing: int, before: bool) -> np.ndarray:
    """Lines of each tile as rows of one array, padded by `none` before or behind them."""
    size = max(len(part) for part in parts) + closing
    rows = []
    for part in parts:
        padding = np.full(size - len(part), none)
        rows.append(np.concatenate([padding, part] if before else [part, padding]))
    return np.stack(rows)
