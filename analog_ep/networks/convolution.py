"""Convolutions: one kernel of conductances, which every place of a map shares."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Self

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import conv2d, conv_transpose2d, unfold
from torch.nn.grad import conv2d_weight

from analog_ep.networks.crossbar import Crossbar, Gain
from analog_ep.networks.patches import PatchCrossbar, PatchLayout, PatchStage
from analog_ep.networks.stage import Stage


@dataclass(frozen=True)
class ConvolutionLayout(PatchLayout):
    """A kernel for each channel of the stage's own maps: a column of the parameter, whose rows are the taps."""

    @property
    def n_columns(self) -> int:
        return self.behind.shape[0]

    def crossbar(self, siemens: Callable[[], Tensor], bias_voltage: float) -> Crossbar:
        return KernelCrossbar(self, siemens, bias_voltage)

    def indices(self) -> np.ndarray:
        channel = np.empty(self.n_out, dtype=np.int64)
        channel[self.behind.numbers()] = np.arange(self.n_columns)[:, None, None]
        return np.arange(self.n_rows)[:, None] * self.n_columns + channel

    def kernels(self, rows: Tensor) -> Tensor:
        """Rows `(n_taps, n_columns)` as PyTorch has kernels, `(n_columns, channels / groups, height, width)`."""
        depth = self.before.shape[0] // self.groups
        return rows.T.reshape(self.n_columns, depth, *self.kernel)

    def taps(self, kernels: Tensor) -> Tensor:
        """The reverse of `kernels`."""
        return kernels.reshape(self.n_columns, self.n_taps).T

    def over_maps(self, columns: Tensor) -> Tensor:
        """A value for each channel at all of its nodes, `(n_out,)`."""
        return self.behind.units(columns[None, :, None, None].expand(1, *self.behind.shape))[0]

    def product(self, maps: Tensor, kernels: Tensor) -> Tensor:
        """Maps before the stage under a kernel."""
        return conv2d(maps, kernels, stride=self.stride, padding=self.padding, groups=self.groups)

    def transposed(self, maps: Tensor, kernels: Tensor) -> Tensor:
        """Its own maps under the transposed kernel."""
        return conv_transpose2d(maps, kernels, None, self.stride, self.padding, self.left_over, self.groups)

    def column_sums(self, siemens: Tensor) -> Tensor:
        return self.over_maps(siemens.sum(0))

    def row_sums(self, siemens: Tensor) -> Tensor:
        positive, negative, _ = self.split(siemens)
        both = positive if negative is None else positive + negative
        return self.before.units(self.transposed(both.new_ones(1, *self.behind.shape), self.kernels(both)))[0]


@dataclass(frozen=True, eq=False, kw_only=True)
class ConvolutionStage(PatchStage):
    """A convolution.

    Attributes
    ----------
    kernels : Tensor (channels, channels before / groups, height, width)
        Conductances from +u less those from −u. [S]
    """

    layout: ConvolutionLayout
    kernels: Tensor

    def squared(self) -> Self:
        return replace(self, kernels=self.kernels.square())

    def product(self, maps: Tensor, factor: float) -> Tensor:
        return self.layout.product(maps, factor * self.kernels)

    def transposed_product(self, maps: Tensor, factor: float) -> Tensor:
        return self.layout.transposed(maps, factor * self.kernels)


class KernelCrossbar(PatchCrossbar):
    """The conductances of a kernel, which stand at every place of the maps."""

    layout: ConvolutionLayout

    def stage(self, gain: Gain, feedback: Gain, drives: bool) -> Stage:
        layout, siemens = self.layout, self.siemens
        positive, negative, bias = layout.split(siemens)
        drift = torch.zeros_like(siemens[0]) if bias is None else self.bias_voltage * (bias[0] - bias[1])
        kernels = layout.kernels(positive if negative is None else positive - negative)
        return ConvolutionStage(
            total=layout.column_sums(siemens),
            bias=layout.over_maps(drift),
            load=layout.row_sums(siemens),
            gain=gain,
            feedback=feedback,
            layout=layout,
            kernels=kernels.contiguous(memory_format=torch.channels_last),
        )

    def correlation(self, before: Tensor, layer: Tensor) -> Tensor:
        layout = self.layout
        shape = layout.n_columns, layout.before.shape[0] // layout.groups, *layout.kernel
        maps, own = layout.before.maps(before), layout.behind.maps(layer)
        found = conv2d_weight(maps, shape, own, layout.stride, layout.padding, 1, layout.groups)  # pyright: ignore
        return layout.taps(found)

    def per_column(self, layer: Tensor) -> Tensor:
        return self.layout.behind.maps(layer.sum(0)).sum((0, 2, 3))

    def per_tap(self, units: Tensor) -> Tensor:
        layout = self.layout
        found = unfold(layout.before.maps(units), layout.kernel, padding=layout.padding, stride=layout.stride).sum(
            (0, 2)
        )
        grouped = found.reshape(layout.groups, layout.n_taps).T
        return grouped.repeat_interleave(layout.n_columns // layout.groups, 1)
