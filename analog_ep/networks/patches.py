"""Stages whose nodes see a patch of the layer before them: what convolutions and locally connected ones share.

Node (o, y, x) sees the units (c, y·s + i − p, x·s + j − p) of its patch, with stride s and padding p. Each of these is
a tap (c, i, j): a row of the parameter at +u, another at −u. A tap that lies beyond the image ends at ground, so that
it is an input of 0 V, as zero padding has it.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Self

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import pad

from analog_ep.circuit.nodes import GROUND
from analog_ep.networks.crossbar import Crossbar
from analog_ep.networks.extent import Extent
from analog_ep.networks.layout import StageLayout
from analog_ep.networks.stage import Stage

Pair = tuple[int, int]
"""Of rows and of columns."""


@dataclass(frozen=True)
class PatchLayout(StageLayout):
    """Patches of the layer before, one for each place of the stage's own maps.

    Attributes
    ----------
    before, behind : Extent
        Maps before the stage, and its own; an output stage has those of v₊, then those of v₋, as channels.
    kernel, stride, padding : (int, int)
        Rows and columns of a patch, from one to the next, and beyond each edge.
    groups : int
        Groups of channels, of which each sees only its own.
    """

    label: str
    before: Extent
    behind: Extent
    kernel: Pair
    stride: Pair
    padding: Pair
    groups: int
    differential: bool
    biased: bool

    @property
    def n_in(self) -> int:  # pyright: ignore[reportIncompatibleVariableOverride]
        return self.before.size

    @property
    def n_out(self) -> int:  # pyright: ignore[reportIncompatibleVariableOverride]
        return self.behind.size

    @property
    def n_taps(self) -> int:
        return self.before.shape[0] // self.groups * self.kernel[0] * self.kernel[1]

    @property
    def left_over(self) -> Pair:
        """Rows and columns at the end of the padded image that no patch reaches."""
        sizes = zip(self.before.shape[1:], self.kernel, self.stride, self.padding, strict=True)
        rows, columns = ((n + 2 * p - k) % s for n, k, s, p in sizes)
        return rows, columns

    @abstractmethod
    def indices(self) -> np.ndarray:
        """Index into the flat parameter of every conductance, `(n_rows, n_out)`, columns in the order of the units."""

    @cached_property
    def seen(self) -> np.ndarray:
        """Unit before the stage at every tap of every node, `(n_taps, n_out)`; −1 beyond the edges."""
        (up, left), (height, width) = self.padding, self.kernel
        padded = np.pad(self.before.numbers(), ((0, 0), (up, up), (left, left)), constant_values=-1)
        windows = np.lib.stride_tricks.sliding_window_view(padded, (height, width), axis=(1, 2))
        windows = windows[:, :: self.stride[0], :: self.stride[1]].transpose(0, 3, 4, 1, 2)
        channels, rows, columns = self.behind.shape
        grouped = windows.reshape(self.groups, self.n_taps, 1, rows, columns)
        grouped = np.broadcast_to(grouped, (self.groups, self.n_taps, channels // self.groups, rows, columns))
        found = np.empty((self.n_taps, self.n_out), dtype=np.int64)
        found[:, self.behind.numbers()] = grouped.swapaxes(0, 1).reshape(self.n_taps, channels, rows, columns)
        return found

    def at_cells(self, siemens: Tensor) -> Tensor:
        return siemens.flatten()[torch.from_numpy(self.indices()).to(siemens.device)]

    def cells(self, rows: np.ndarray, columns: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        # Column by column, see `cells_by_column`.
        first = np.concatenate([*self._sources(rows), *self._bias_rows(rows)]).T.ravel()
        return first, np.repeat(columns, self.n_rows), self.indices().T.ravel()

    def _sources(self, rows: np.ndarray) -> list[np.ndarray]:
        signs = np.split(rows[: self.n_in * (1 + self.differential)], 1 + self.differential)
        return [np.append(nodes, GROUND)[self.seen] for nodes in signs]

    def _bias_rows(self, rows: np.ndarray) -> list[np.ndarray]:
        return [np.full((1, self.n_out), node) for node in rows[-2:]] if self.biased else []

    def at_rows(self, units: Tensor, signed: bool = False) -> Tensor:
        return self.rows_from(units, 0.0, signed)

    def rows_from(self, units: Tensor, bias: float, signed: bool) -> Tensor:
        """As `at_rows`, with ±`bias` in the bias rows."""
        own = pad(units, (0, 1))[..., torch.from_numpy(self.seen).to(units.device)]
        parts = [own, -own if signed else own] if self.differential else [own]
        if self.biased:
            row = own.new_full((*own.shape[:-2], 1, self.n_out), bias)
            parts += [row, -row]
        return torch.cat(parts, -2)


@dataclass(frozen=True, eq=False, kw_only=True)
class PatchStage(Stage):
    """An operator that works on patches.

    Attributes
    ----------
    layout : PatchLayout
        Where they lie.
    """

    layout: PatchLayout

    @property
    def n_products(self) -> int:
        return self.layout.n_out * self.layout.n_taps

    @abstractmethod
    def squared(self) -> Self:
        """The operator of the squares of its weights."""

    @abstractmethod
    def product(self, maps: Tensor, factor: float) -> Tensor:
        """Factor · W of maps `(n, channels, height, width)` before it: maps of its own."""

    @abstractmethod
    def transposed_product(self, maps: Tensor, factor: float) -> Tensor:
        """Factor · Wᵀ of its own maps: maps before it."""

    def affine(self, share: float, vectors: Tensor, factor: float) -> Tensor:
        layout = self.layout
        found = layout.behind.units(self.product(layout.before.maps(vectors), factor))
        if share:
            found = found.add_(self.bias, alpha=share)
        return found.reshape(*vectors.shape[:-1], layout.n_out)

    def transposed(self, vectors: Tensor, factor: float) -> Tensor:
        layout = self.layout
        found = layout.before.units(self.transposed_product(layout.behind.maps(vectors), factor))
        return found.reshape(*vectors.shape[:-1], layout.n_in)

    def column_norm(self, factors: float | Tensor) -> Tensor:
        ones = self.load.new_ones(1, self.layout.n_in) * factors
        return self.squared().affine(0.0, ones.square(), 1.0).amax().sqrt()

    def row_norms(self) -> Tensor:
        return self.squared().transposed(torch.ones_like(self.total)[None], 1.0)[0].sqrt()

    def matrix(self) -> Tensor:
        return self.affine(0.0, torch.eye(self.layout.n_in, dtype=self.load.dtype, device=self.load.device), 1.0)


class PatchCrossbar(Crossbar):
    """Conductances between patches and their nodes.

    Attributes
    ----------
    layout : PatchLayout
        Where they lie.
    bias_voltage : float
        Of the bias rows. [V]
    """

    layout: PatchLayout
    bias_voltage: float

    def __init__(self, layout: PatchLayout, siemens: Callable[[], Tensor], bias_voltage: float):
        self.layout, self.bias_voltage = layout, bias_voltage
        self._form = siemens

    @cached_property
    def siemens(self) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        return self._form()

    def energy(self, before: Tensor, layer: Tensor) -> Tensor:
        # ½ Σ g (s − v)², by its expanded square; a bias row's is ½ g (V² ∓ 2 V v + v²).
        layout, siemens = self.layout, self.siemens
        stage = self.stage(1.0, 0.0, drives=False)
        squares = before.square() @ stage.load + layer.square() @ stage.total
        energy = squares - 2 * (stage.forward(before) * layer).sum(-1)
        _, _, bias = layout.split(siemens)
        if bias is not None:
            of_bias = layout.column_sums(torch.cat([torch.zeros_like(siemens[:-2]), bias])).sum()
            energy = energy + self.bias_voltage**2 * of_bias
        return 0.5 * energy

    def contrast(self, before: Tensor, before_change: Tensor | None, layer: Tensor, change: Tensor) -> Tensor:
        # Σ (ds ∓ d)(s ∓ v), expanded as for a dense crossbar: taps beyond the edges have s = ds = 0.
        layout = self.layout
        layer, change, before = (t.reshape(-1, t.shape[-1]) for t in (layer, change, before))
        result = self.per_column(change * layer).expand(layout.shape).clone()
        positive, negative, bias = layout.split(result)
        cross = self.correlation(before, change)
        if before_change is not None:
            before_change = before_change.reshape(-1, before_change.shape[-1])
            cross = cross + self.correlation(before_change, layer)
            row = self.per_tap((before * before_change).sum(0))
            for rows in (positive,) if negative is None else (positive, negative):
                rows.add_(row)
        positive.sub_(cross)
        if negative is not None:
            negative.add_(cross)
        if bias is not None:
            drift = self.bias_voltage * self.per_column(change)
            bias[0].sub_(drift)
            bias[1].add_(drift)
        return result

    @abstractmethod
    def correlation(self, before: Tensor, layer: Tensor) -> Tensor:
        """Σ over samples, and over places that share it, of each tap's unit times its node, `(n_taps, n_columns)`."""

    @abstractmethod
    def per_column(self, layer: Tensor) -> Tensor:
        """Sum over samples, and over places that share it, of each column's nodes, `(n_columns,)`."""

    @abstractmethod
    def per_tap(self, units: Tensor) -> Tensor:
        """Sum of the units `(n_in,)` that a conductance at +u hangs on, `(n_taps, n_columns)`."""

    def cell_voltages(self, before: Tensor, layer: Tensor) -> Tensor:
        return self.terminal_voltages(before, layer)

    def terminal_voltages(self, before: Tensor, layer: Tensor) -> Tensor:
        before, layer = (each.reshape(-1, each.shape[-1]) for each in (before, layer))
        return self.layout.rows_from(before, self.bias_voltage, signed=True) - layer[:, None, :]
