"""What the wires of crossbars are: resistances of segments, drivers and contacts, ends that are used, and tiles."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from typing import Any, Literal, Self

import numpy as np
from torch import Tensor

from analog_ep.circuit import Capacitors, Chip, CircuitBuilder
from analog_ep.errors import NetworkError
from analog_ep.networks.crossbar import Crossbar
from analog_ep.networks.layout import StageLayout
from analog_ep.networks.lines import Lines, add_cells, add_segments
from analog_ep.networks.wires.crossbar import WiredCrossbar
from analog_ep.networks.wires.segments import LineSegments, Tiles

Ends = Literal["first", "last", "both"]

_POSITIVE = {
    "row_resistance": "ohm",
    "column_resistance": "ohm",
    "driver_resistance": "ohm",
    "join_resistance": "ohm",
    "cell_resistance": "ohm",
    "segment_capacitance": "F",
}


@dataclass(frozen=True)
class Wires(Lines):
    """Lines with resistance, the same in every crossbar; 0 Ω stands for an ideal segment, whose ends are one node.

    A row runs from its source over the driver's resistance and one segment to the cell at that end, and from each cell
    over one segment to the next; a column alike, from its cells to the node of the layer behind. Where both ends are
    used, both lead to the same source or node.

    Attributes
    ----------
    row_resistance, column_resistance : float
        Of a segment; ≥ 0. [Ω]
    driver_resistance : float
        Output resistance of what drives a row, at every driven end of every tile; ≥ 0. [Ω]
    join_resistance : float
        Between each end of a tile's columns and the node of the layer: the wire that joins tiles, or the output
        resistance of a bidirectional buffer (a = k = 1) in its place; ≥ 0. [Ω]
    cell_resistance : float
        In series with each trainable conductance: contacts, vias, and an access device that is switched on; ≥ 0. [Ω]
    segment_capacitance : float
        To ground at each node of a line; ≥ 0. [F]
    temperature_coefficient : float
        Relative change of these resistances per kelvin above 300.15 K, on a chip that has a temperature. [1/K]
    driven_at : "first", "last" or "both"
        The end of the rows that sources drive: at the first column, the last, or both.
    sensed_at : "first", "last" or "both"
        The end of the columns at which the node of the layer lies: at the first row, the last, or both.
    tile_rows, tile_columns : int, optional
        Most rows and columns of a tile; by default a crossbar is one. Each tile has lines of its own; drivers of one
        row have one source, and columns are joined where they end, over `join_resistance`.

    Raises
    ------
    NetworkError
        If a resistance is negative or not finite, an end is none of these, or a tile has no row or column.
    """

    row_resistance: float = 0.0
    column_resistance: float = 0.0
    driver_resistance: float = 0.0
    join_resistance: float = 0.0
    cell_resistance: float = 0.0
    segment_capacitance: float = 0.0
    temperature_coefficient: float = 0.0
    driven_at: Ends = "first"
    sensed_at: Ends = "last"
    tile_rows: int | None = None
    tile_columns: int | None = None

    def __post_init__(self):
        for name, unit in _POSITIVE.items():
            value = getattr(self, name)
            if not 0 <= value < float("inf"):
                raise NetworkError(f"{name} of wires must be at least 0 {unit} and finite, found {value}")
        for name, end in (("driven_at", self.driven_at), ("sensed_at", self.sensed_at)):
            if end not in ("first", "last", "both"):
                raise NetworkError(f'{name} must be "first", "last" or "both", found {end!r}')
        for name, most in (("tile_rows", self.tile_rows), ("tile_columns", self.tile_columns)):
            if most is not None and most < 1:
                raise NetworkError(f"{name} of wires must be at least 1, found {most}")

    def scaled(self, factor: float) -> Self:
        ohms = {name: factor * getattr(self, name) for name, unit in _POSITIVE.items() if unit == "ohm"}
        return replace(self, **ohms)

    def in_one_tile(self) -> Self:
        return replace(self, tile_rows=None, tile_columns=None)

    def facts(self) -> dict[str, Any]:
        return asdict(self)

    def crossbar(
        self, layout: StageLayout, siemens: Callable[[], Tensor], bias_voltage: float, chip: Chip | None
    ) -> Crossbar:
        return WiredCrossbar(layout, siemens(), bias_voltage, self.cell_resistance, *self._lines(layout), chip)

    def _lines(self, layout: StageLayout) -> tuple[LineSegments, LineSegments]:
        return _line_segments(self, layout.label, layout.shape)

    def first_node(self, layout: StageLayout) -> str | None:
        names = self._node_names(layout)
        return names[0] if names else None

    def _node_names(self, layout: StageLayout) -> list[str]:
        rows, columns = self._lines(layout)
        names = rows.node_names() + columns.node_names()
        if self.cell_resistance:
            n_rows, n_columns = layout.shape
            names += [f"{layout.label}_k{i}_{j}" for i in range(n_rows) for j in range(n_columns)]
        return names

    def add(
        self, builder: CircuitBuilder, layout: StageLayout, siemens: np.ndarray, rows: np.ndarray, columns: np.ndarray
    ) -> None:
        names = self._node_names(layout)
        nodes = builder.add_nodes(names) if names else np.zeros(0, dtype=np.int64)
        row_lines, column_lines = self._lines(layout)
        own, others = np.split(nodes, [row_lines.n_nodes])
        row_nodes = row_lines.cell_nodes(rows, own)
        column_nodes = column_lines.cell_nodes(columns, others[: column_lines.n_nodes]).T
        ends = column_nodes
        if self.cell_resistance:
            ends = others[column_lines.n_nodes :].reshape(layout.shape)
        add_cells(builder, layout, siemens, row_nodes, ends)
        row_lines.add(builder, rows, row_nodes)
        column_lines.add(builder, columns, column_nodes.T)
        if self.cell_resistance:
            ohms = np.full(ends.size, float(self.cell_resistance))
            add_segments(builder, f"{layout.label}_access", ends.ravel(), column_nodes.ravel(), ohms)
        if self.segment_capacitance and len(nodes):
            lines = nodes[: row_lines.n_nodes + column_lines.n_nodes]
            builder.add(Capacitors(f"{layout.label}_lines", lines, np.zeros_like(lines), self.segment_capacitance))


@lru_cache(maxsize=64)
def _line_segments(wires: Wires, label: str, shape: tuple[int, int]) -> tuple[LineSegments, LineSegments]:
    tiles = Tiles(shape, wires.tile_rows, wires.tile_columns)
    row, column = wires.row_resistance, wires.column_resistance
    rows = LineSegments(f"{label}_row", tiles, row, row + wires.driver_resistance, wires.driven_at)
    columns = LineSegments(f"{label}_column", tiles.turned, column, column + wires.join_resistance, wires.sensed_at)
    return rows, columns
