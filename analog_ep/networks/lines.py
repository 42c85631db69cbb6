"""What connects the cells of a crossbar to its row sources and to its column nodes: nothing at all, or wires."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, Self

import numpy as np
from torch import Tensor

from analog_ep.circuit import Chip, CircuitBuilder, Conductances
from analog_ep.networks.crossbar import Crossbar
from analog_ep.networks.layout import StageLayout, cells_by_column


class Lines(ABC):
    """The lines of crossbars: how one is seen from the layers on both sides, and how its circuit is drawn."""

    ideal: bool = False
    """Whether they have no resistance: a crossbar is then formed at no cost, and a fused step knows its equations."""

    @abstractmethod
    def crossbar(
        self, layout: StageLayout, siemens: Callable[[], Tensor], bias_voltage: float, chip: Chip | None
    ) -> Crossbar:
        """A crossbar whose conductances `(n_rows, n_columns)` the function forms, a chip's cells being in them. [S]

        Raises
        ------
        NetworkError
            If a part of a line is connected to nothing.
        """

    @abstractmethod
    def add(
        self, builder: CircuitBuilder, layout: StageLayout, siemens: np.ndarray, rows: np.ndarray, columns: np.ndarray
    ) -> None:
        """Add a crossbar between the nodes of its rows and those of its columns; its own nodes follow each other."""

    def scaled(self, factor: float) -> Self:
        """The same lines with all resistances multiplied."""
        return self

    def in_one_tile(self) -> Self:
        """The same lines, however large the crossbar."""
        return self

    def facts(self) -> dict[str, Any]:
        """What they are, as JSON holds it."""
        return {}

    def first_node(self, layout: StageLayout) -> str | None:
        """Name of the first node that `add` makes; None for none."""
        return None


class IdealLines(Lines):
    """Lines without resistance: every cell lies between a source and a column's node."""

    ideal = True

    def crossbar(
        self, layout: StageLayout, siemens: Callable[[], Tensor], bias_voltage: float, chip: Chip | None
    ) -> Crossbar:
        return layout.crossbar(siemens, bias_voltage)

    def add(
        self, builder: CircuitBuilder, layout: StageLayout, siemens: np.ndarray, rows: np.ndarray, columns: np.ndarray
    ) -> None:
        first, second, index = layout.cells(rows, columns)
        own = {"parameter": layout.label, "index": index} if layout.learns else {}
        builder.add(Conductances(layout.label, first, second, siemens.ravel()[index], **own))


def add_cells(
    builder: CircuitBuilder, layout: StageLayout, siemens: np.ndarray, rows: np.ndarray, columns: np.ndarray
) -> None:
    """Add the cells of a crossbar between two arrays of nodes `(n_rows, n_columns)`."""
    first, second, index = cells_by_column(layout.shape, rows, columns)
    values = siemens.ravel()[index]
    builder.add(Conductances(layout.label, first, second, values, parameter=layout.label, index=index))


def add_segments(builder: CircuitBuilder, label: str, first: np.ndarray, second: np.ndarray, ohms: np.ndarray) -> None:
    """Add pieces of wire between nodes `(n_segments,)`, which a chip's temperature changes as wires. [Ω]"""
    builder.add(Conductances(label, first, second, 1 / ohms, wire=True))
