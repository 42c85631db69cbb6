"""Stages without shared conductances: locally connected ones, and averages over resistors of one size."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Self

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import fold, unfold

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

    def patches(self, maps: Tensor) -> Tensor:
        """Patches of maps before the stage, `(n, groups, n_taps, n_places)`."""
        found = unfold(maps, self.kernel, padding=self.padding, stride=self.stride)
        return found.reshape(len(maps), self.groups, self.n_taps, -1)

    def folded(self, patches: Tensor) -> Tensor:
        """The reverse: sums of all that lies at one unit, as maps."""
        rows = patches.reshape(len(patches), self.groups * self.n_taps, -1)
        return fold(rows, self.before.shape[1:], self.kernel, padding=self.padding, stride=self.stride)

    def by_place(self, columns: Tensor) -> Tensor:
        """Rows × nodes, or samples × nodes, as `(len, groups, channels / groups, n_places)`."""
        channels = self.behind.shape[0]
        return self.behind.maps(columns).reshape(len(columns), self.groups, channels // self.groups, -1)

    def by_node(self, places: Tensor) -> Tensor:
        """The reverse of `by_place`."""
        return self.behind.units(places.reshape(len(places), *self.behind.shape))

    def column_sums(self, siemens: Tensor) -> Tensor:
        return siemens.sum(0)

    def row_sums(self, siemens: Tensor) -> Tensor:
        positive, negative, _ = self.split(siemens)
        both = self.by_place(positive if negative is None else positive + negative)
        return self.before.units(self.folded(both.sum(2).transpose(0, 1)[None]))[0]


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
    weights : Tensor (n_taps, groups, channels / groups, n_places)
        Conductances from +u less those from −u. [S]
    """

    layout: LocalLayout
    weights: Tensor

    def squared(self) -> Self:
        return replace(self, weights=self.weights.square())

    def product(self, maps: Tensor, factor: float) -> Tensor:
        found = torch.einsum("ngtp,tgop->ngop", self.layout.patches(maps), factor * self.weights)
        return found.reshape(len(maps), *self.layout.behind.shape)

    def transposed_product(self, maps: Tensor, factor: float) -> Tensor:
        own = maps.reshape(len(maps), *self.weights.shape[1:])
        return self.layout.folded(torch.einsum("ngop,tgop->ngtp", own, factor * self.weights))


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
            weights=layout.by_place(positive if negative is None else positive - negative).contiguous(),
        )

    def correlation(self, before: Tensor, layer: Tensor) -> Tensor:
        layout = self.layout
        patches, own = layout.patches(layout.before.maps(before)), layout.by_place(layer)
        return layout.by_node(torch.einsum("ngtp,ngop->tgop", patches, own))

    def per_column(self, layer: Tensor) -> Tensor:
        return layer.sum(0)

    def per_tap(self, units: Tensor) -> Tensor:
        layout = self.layout
        found = layout.patches(layout.before.maps(units))[0].transpose(0, 1)
        shape = layout.n_taps, layout.groups, layout.behind.shape[0] // layout.groups, found.shape[-1]
        return layout.by_node(found[:, :, None].expand(shape))
