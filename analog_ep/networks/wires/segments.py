"""Where the segments of a crossbar's lines stand: facts that its circuit and its equations share."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from analog_ep.circuit import CircuitBuilder
from analog_ep.networks.lines import add_segments


@dataclass(frozen=True)
class Tiles:
    """A crossbar's rows and columns, split evenly into tiles of at most so many.

    Attributes
    ----------
    shape : (int, int)
        Rows and columns of the crossbar.
    most_rows, most_columns : int or None
        Of a tile; None for all.
    """

    shape: tuple[int, int]
    most_rows: int | None = None
    most_columns: int | None = None

    @property
    def turned(self) -> Tiles:
        """With rows and columns exchanged."""
        return Tiles((self.shape[1], self.shape[0]), self.most_columns, self.most_rows)

    @property
    def rows(self) -> list[np.ndarray]:
        """Rows of each row of tiles."""
        return _parts(self.shape[0], self.most_rows)

    @property
    def columns(self) -> list[np.ndarray]:
        """Columns of each column of tiles."""
        return _parts(self.shape[1], self.most_columns)


def _parts(count: int, most: int | None) -> list[np.ndarray]:
    return np.array_split(np.arange(count), -(-count // min(most or count, count)))


@dataclass(frozen=True)
class LineSegments:
    """The lines of one direction, each with a segment beside every cell, on the side of the end that is used.

    Elements and nodes come line by line. Of a line with both ends used, the first end's segments come first; then those
    that close each tile at the other end, tile by tile. Segments of 0 Ω are no elements.

    Attributes
    ----------
    label : str
        Such as "stage1_row".
    tiles : Tiles
        Rows of these are the lines; columns are the cells along a line.
    ohms, end_ohms : float
        Of a segment between two cells, and of one at the end of a tile. [Ω]
    ends : "first", "last" or "both"
        Where a tile's line is connected.
    """

    label: str
    tiles: Tiles
    ohms: float
    end_ohms: float
    ends: str

    @property
    def shape(self) -> tuple[int, int]:
        """Lines, and cells along each."""
        return self.tiles.shape

    def order(self) -> list[np.ndarray]:
        """Cells of each tile along a line, from the end that is used on."""
        return [part[::-1] if self.ends == "last" else part for part in self.tiles.columns]

    @property
    def at_end(self) -> np.ndarray:
        """Cells along a line whose segment leads to the end, as a mask."""
        mask = np.zeros(self.shape[1], dtype=bool)
        mask[[part[0] for part in self.order()]] = True
        return mask

    def resistances(self) -> tuple[np.ndarray, np.ndarray | None]:
        """Of every cell's segment `(n_lines, n_cells)`, and of those that close the tiles `(n_lines, n_tiles)`. [Ω]"""
        n_lines, n_tiles = self.shape[0], len(self.tiles.columns)
        own = np.broadcast_to(np.where(self.at_end, self.end_ohms, self.ohms), self.shape)
        return own, np.full((n_lines, n_tiles), self.end_ohms) if self.ends == "both" else None

    @property
    def elements(self) -> tuple[str, str]:
        """Labels of the segments, and of those that close tiles."""
        return f"{self.label}s", f"{self.label}_ends"

    @property
    def n_nodes(self) -> int:
        """Nodes of all lines."""
        return self.shape[0] * len(self.node_cells)

    @property
    def node_cells(self) -> list[int]:
        """Cells at which the nodes of a line lie, in their order."""
        if self.ohms:
            return list(range(self.shape[1]))
        return [int(part[0]) for part in self.tiles.columns] if self.end_ohms else []

    def node_names(self) -> list[str]:
        """``<label><line>_<cell>``, or ``<label><line>_t<tile>`` where only the tile's end has a resistance."""
        each = range(len(self.node_cells))
        return [f"{self.label}{i}_{'' if self.ohms else 't'}{k}" for i in range(self.shape[0]) for k in each]

    def cell_nodes(self, ends: np.ndarray, own: np.ndarray) -> np.ndarray:
        """Node of each line at each cell `(n_lines, n_cells)`, from the nodes it leads to and its own."""
        if self.ohms:
            return own.reshape(self.shape)
        if self.end_ohms:
            tile = np.concatenate([np.full(len(part), t) for t, part in enumerate(self.tiles.columns)])
            return own.reshape(self.shape[0], -1)[:, tile]
        return np.broadcast_to(ends[:, None], self.shape)

    def add(self, builder: CircuitBuilder, ends: np.ndarray, cells: np.ndarray) -> None:
        """Add the segments between the nodes that the lines lead to and those at the cells, see `cell_nodes`."""
        segments, closing = self.resistances()
        near = np.empty_like(cells)
        for part in self.order():
            near[:, part[0]] = ends
            near[:, part[1:]] = cells[:, part[:-1]]
        for label, ohms, first, second in (
            (self.elements[0], segments, near, cells),
            (self.elements[1], closing, np.repeat(ends[:, None], len(self.order()), 1), self._far(cells)),
        ):
            if ohms is not None and (there := ohms > 0).any():
                add_segments(builder, label, first[there], second[there], ohms[there])

    def _far(self, cells: np.ndarray) -> np.ndarray:
        return cells[:, [part[-1] for part in self.order()]]
