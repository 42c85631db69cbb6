"""What connects the cells of a crossbar to its row sources and to its column nodes: nothing at all, or wires."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from functools import cached_property
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor

from analog_ep.circuit import Chip, CircuitBuilder, Conductances
from analog_ep.networks.layout import StageLayout
from analog_ep.networks.stage import Stage

Gain = float | Tensor
"""One for all amplifiers, or `(n_in,)`."""


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


class Crossbar(ABC):
    """A crossbar with its conductances.

    Attributes
    ----------
    siemens : Tensor (n_rows, n_columns)
        Of the cells. [S]
    """

    siemens: Tensor

    def has(self, siemens: Tensor) -> bool:
        """Whether these are its conductances."""
        return self.siemens.dtype == siemens.dtype and torch.equal(self.siemens, siemens)

    @abstractmethod
    def stage(self, gain: Gain, feedback: Gain, drives: bool) -> Stage:
        """As the layer equations need it; `drives` says whether amplifiers drive its rows, or sources."""

    @abstractmethod
    def energy(self, before: Tensor, layer: Tensor) -> Tensor:
        """½ Σ g v² over all its conductances, `(*batch,)`. [W]

        Parameters
        ----------
        before, layer : Tensor (*batch, n_in), (*batch, n_out)
            Voltages s of the rows at +u, and v of the columns. [V]
        """

    @abstractmethod
    def contrast(self, before: Tensor, before_change: Tensor | None, layer: Tensor, change: Tensor) -> Tensor:
        """Σ over the batch of the change of ½ v² to first order for every cell, rows × columns. [V²]

        Parameters
        ----------
        before, layer : Tensor (*batch, n_in), (*batch, n_out)
            Voltages s of the rows at +u, and v of the columns. [V]
        before_change, change : Tensor or None
            Their changes; None before inputs that sources hold. [V]
        """

    @abstractmethod
    def cell_voltages(self, before: Tensor, layer: Tensor) -> Tensor:
        """Voltage across every conductance `(n_samples, n_rows, n_columns)`, from the layers as for `energy`. [V]"""

    @abstractmethod
    def terminal_voltages(self, before: Tensor, layer: Tensor) -> Tensor:
        """Voltage from the source of each row to the node of each column, as `cell_voltages`. [V]"""

    def inner_voltages(self, before: Tensor, layer: Tensor) -> Tensor | None:
        """Voltages of the nodes that `Lines.add` makes, in their order, `(*batch, n_nodes)`; None for none. [V]"""
        return None


class IdealLines(Lines):
    """Lines without resistance: every cell lies between a source and a column's node."""

    ideal = True

    def crossbar(
        self, layout: StageLayout, siemens: Callable[[], Tensor], bias_voltage: float, chip: Chip | None
    ) -> Crossbar:
        return IdealCrossbar(layout, siemens, bias_voltage)

    def add(
        self, builder: CircuitBuilder, layout: StageLayout, siemens: np.ndarray, rows: np.ndarray, columns: np.ndarray
    ) -> None:
        add_cells(builder, layout, siemens, np.tile(rows, (len(columns), 1)).T, np.tile(columns, (len(rows), 1)))


def add_cells(
    builder: CircuitBuilder, layout: StageLayout, siemens: np.ndarray, rows: np.ndarray, columns: np.ndarray
) -> None:
    """Add the cells of a crossbar between two arrays of nodes `(n_rows, n_columns)`."""
    # Column by column: ngspice's first factorisation is up to four times faster with this order.
    index = np.arange(siemens.size).reshape(layout.shape).T.ravel()
    values, first, second = siemens.ravel()[index], rows.ravel()[index], columns.ravel()[index]
    builder.add(Conductances(layout.label, first, second, values, parameter=layout.label, index=index))


def add_segments(builder: CircuitBuilder, label: str, first: np.ndarray, second: np.ndarray, ohms: np.ndarray) -> None:
    """Add pieces of wire between nodes `(n_segments,)`, which a chip's temperature changes as wires. [Ω]"""
    builder.add(Conductances(label, first, second, 1 / ohms, wire=True))


class IdealCrossbar(Crossbar):
    """A crossbar whose lines have no resistance, by matrix products over the batch."""

    def __init__(self, layout: StageLayout, siemens: Callable[[], Tensor], bias_voltage: float):
        self.layout, self.bias_voltage = layout, bias_voltage
        self._form = siemens

    @cached_property
    def siemens(self) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        # A contrast does not ask for them, and to form them takes as long as a product with the batch.
        return self._form()

    def stage(self, gain: Gain, feedback: Gain, drives: bool) -> Stage:
        siemens = self.siemens
        positive, negative, bias = self.layout.split(siemens)
        return Stage(
            weight=positive if negative is None else positive - negative,
            total=siemens.sum(0),
            bias=torch.zeros_like(siemens[0]) if bias is None else self.bias_voltage * (bias[0] - bias[1]),
            load=positive.sum(1) if negative is None else (positive + negative).sum(1),
            gain=gain,
            feedback=feedback,
        )

    def energy(self, before: Tensor, layer: Tensor) -> Tensor:
        # ½ Σ g (s − v)², by its expanded square.
        positive, negative, bias = self.layout.split(self.siemens)
        rows = positive if negative is None else positive + negative
        signed = positive if negative is None else positive - negative
        energy = (
            (before.square() @ rows).sum(-1) + layer.square() @ rows.sum(0) - 2 * ((before @ signed) * layer).sum(-1)
        )
        if bias is not None:
            below, above = layer - self.bias_voltage, layer + self.bias_voltage
            energy = energy + (below.square() @ bias[0]) + (above.square() @ bias[1])
        return 0.5 * energy

    def contrast(self, before: Tensor, before_change: Tensor | None, layer: Tensor, change: Tensor) -> Tensor:
        # Σ (ds ∓ d)(s ∓ v), expanded so that one matrix product serves the +u and the −u rows.
        layer, change, before = (t.reshape(-1, t.shape[-1]) for t in (layer, change, before))
        own = (change * layer).sum(0)
        if before_change is None:
            cross, row = before.T @ change, None
        else:
            before_change = before_change.reshape(-1, before_change.shape[-1])
            cross = torch.cat([before, before_change]).T @ torch.cat([change, layer])
            row = (before * before_change).sum(0)[:, None]
        result = own.expand(self.layout.shape).clone()
        positive, negative, bias = self.layout.split(result)
        positive.sub_(cross)
        if negative is not None:
            negative.add_(cross)
        if row is not None:
            positive.add_(row)
            if negative is not None:
                negative.add_(row)
        if bias is not None:
            drift = self.bias_voltage * change.sum(0)
            bias[0].sub_(drift)
            bias[1].add_(drift)
        return result

    def cell_voltages(self, before: Tensor, layer: Tensor) -> Tensor:
        return self.terminal_voltages(before, layer)

    def terminal_voltages(self, before: Tensor, layer: Tensor) -> Tensor:
        before, layer = (each.reshape(-1, each.shape[-1]) for each in (before, layer))
        rows = before.new_zeros(len(before), self.layout.n_rows)
        positive, negative, bias = self.layout.split(rows.T)
        positive.copy_(before.T)
        if negative is not None:
            negative.copy_(-before.T)
        if bias is not None:
            bias.copy_(bias.new_tensor([[self.bias_voltage], [-self.bias_voltage]]))
        return rows[:, :, None] - layer[:, None, :]
