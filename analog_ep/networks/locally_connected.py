"""Stages without shared conductances: locally connected ones, and averages over resistors of one size."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from math import prod
from typing import Self

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import pad

from analog_ep.networks.crossbar import Crossbar, Gain
from analog_ep.networks.patches import PatchCrossbar, PatchLayout, PatchStage
from analog_ep.networks.stage import Stage


@dataclass(frozen=True)
class LocalLayout(PatchLayout):
    """Every node has conductances of its own: a column of the parameter, whose rows are the taps."""

    @property
    def n_columns(self) -> int:
        return self.n_out

    def crossbar(self, siemens: Callable[[], Tensor], bias_voltage: float) -> Crossbar:
        return LocalCrossbar(self, siemens, bias_voltage)

    def indices(self) -> np.ndarray:
        return np.arange(self.n_rows * self.n_out).reshape(self.shape)

    @property
    def n_places(self) -> int:
        """Nodes of a channel."""
        return prod(self.behind.shape[1:])

    def patches(self, maps: Tensor) -> Tensor:
        """Patches of maps before the stage, `(groups, n_places, n_taps, n)`.

        Samples come last, so that a product at every place has long rows, and is made from views with few copies.
        """
        (up, left), (height, width), (down, right) = self.padding, self.kernel, self.stride
        padded = pad(maps, (left, left, up, up)).permute(1, 2, 3, 0).contiguous()
        windows = padded.unfold(1, height, down).unfold(2, width, right).unflatten(0, (self.groups, -1))
        return windows.permute(0, 2, 3, 1, 5, 6, 4).reshape(self.groups, self.n_places, self.n_taps, len(maps))

    def folded(self, patches: Tensor) -> Tensor:
        """The reverse: sums of all that lies at one unit, as maps."""
        (up, left), (height, width), (down, right) = self.padding, self.kernel, self.stride
        channels, *before = self.before.shape
        _, *places = self.behind.shape
        taps = patches.unflatten(2, (-1, height, width)).unflatten(1, places).permute(0, 3, 1, 2, 4, 5, 6)
        taps = taps.flatten(0, 1)
        maps = patches.new_zeros(channels, before[0] + 2 * up, before[1] + 2 * left, patches.shape[-1])
        ends = [at * (n - 1) + 1 for at, n in zip(self.stride, places, strict=True)]
        for i in range(height):
            for j in range(width):
                maps[:, i : i + ends[0] : down, j : j + ends[1] : right].add_(taps[:, :, :, i, j])
        inner = maps[:, up : up + before[0], left : left + before[1]]
        return inner.permute(3, 0, 1, 2)

    def by_place(self, columns: Tensor) -> Tensor:
        """Rows × nodes, or samples × nodes, `(groups, n_places, len, channels / groups)`."""
        maps = self.behind.maps(columns).unflatten(1, (self.groups, -1)).flatten(3)
        return maps.permute(1, 3, 0, 2).contiguous()

    def by_node(self, places: Tensor) -> Tensor:
        """The reverse of `by_place`."""
        maps = places.permute(2, 0, 3, 1).reshape(places.shape[2], *self.behind.shape)
        return self.behind.units(maps)

    def column_sums(self, siemens: Tensor) -> Tensor:
        return siemens.sum(0)

    def row_sums(self, siemens: Tensor) -> Tensor:
        positive, negative, _ = self.split(siemens)
        both = self.by_place(positive if negative is None else positive + negative)
        return self.before.units(self.folded(both.sum(3, keepdim=True)))[0]


@dataclass(frozen=True)
class PoolingLayout(LocalLayout):
    """Equal resistors from each node to its patch of one channel: without a load it is at the mean of the patch."""

    learns = False
    passive = True

    def cells(self, rows: np.ndarray, columns: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        # Not a parameter, so that a chip's factors follow the order of the resistors: row by row.
        return self._sources(rows)[0].ravel(), np.tile(columns, self.n_rows), self.indices().ravel()


@dataclass(frozen=True, eq=False, kw_only=True)
class LocalStage(PatchStage):
    """Products with weights of their own at every place.

    Attributes
    ----------
    weights : Tensor (groups, n_places, n_taps, channels / groups)
        Conductances from +u less those from −u. [S]
    """

    layout: LocalLayout
    weights: Tensor

    def squared(self) -> Self:
        return replace(self, weights=self.weights.square())

    def product(self, maps: Tensor, factor: float) -> Tensor:
        found = (self.weights.mT @ self.layout.patches(maps)).mul_(factor)
        return found.permute(3, 0, 2, 1).reshape(len(maps), *self.layout.behind.shape)

    def transposed_product(self, maps: Tensor, factor: float) -> Tensor:
        groups, _, _, channels = self.weights.shape
        own = maps.reshape(len(maps), groups, channels, self.layout.n_places).permute(1, 3, 2, 0).contiguous()
        return self.layout.folded((self.weights @ own).mul_(factor))


class LocalCrossbar(PatchCrossbar):
    """Conductances of which each stands at one place."""

    layout: LocalLayout

    def stage(self, gain: Gain, feedback: Gain, drives: bool) -> Stage:
        layout, siemens = self.layout, self.siemens
        positive, negative, bias = layout.split(siemens)
        return LocalStage(
            total=layout.column_sums(siemens),
            bias=torch.zeros_like(siemens[0]) if bias is None else self.bias_voltage * (bias[0] - bias[1]),
            load=layout.row_sums(siemens),
            gain=gain,
            feedback=feedback,
            layout=layout,
            weights=layout.by_place(positive if negative is None else positive - negative),
        )

    def correlation(self, before: Tensor, layer: Tensor) -> Tensor:
        layout = self.layout
        return layout.by_node(layout.patches(layout.before.maps(before)) @ layout.by_place(layer))

    def per_column(self, layer: Tensor) -> Tensor:
        return layer.sum(0)

    def per_tap(self, units: Tensor) -> Tensor:
        layout = self.layout
        found = layout.patches(layout.before.maps(units))
        return layout.by_node(found.expand(*found.shape[:3], layout.behind.shape[0] // layout.groups))
