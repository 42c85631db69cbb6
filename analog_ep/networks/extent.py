"""The shape of a layer: a row of units, or maps of channels, rows and columns."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from math import prod

import numpy as np
from torch import Tensor


@dataclass(frozen=True)
class Extent:
    """How the units of a layer, which solvers see as one row `(*batch, n_units)`, lie in space.

    Attributes
    ----------
    shape : tuple of int
        `(n_units,)`, or `(channels, height, width)`.
    channels_last : bool
        Whether the units of maps follow each other place by place, the channels of a place together, as products with
        kernels are fastest; otherwise channel by channel, as images come.
    """

    shape: tuple[int, ...]
    channels_last: bool = False

    @property
    def size(self) -> int:
        """Number of units."""
        return prod(self.shape)

    @property
    def is_maps(self) -> bool:
        """Whether units have a place."""
        return len(self.shape) == 3

    def numbers(self) -> np.ndarray:
        """Number of the unit at each place, in `shape`."""
        if not self.channels_last:
            return np.arange(self.size).reshape(self.shape)
        channels, height, width = self.shape
        return np.arange(self.size).reshape(height, width, channels).transpose(2, 0, 1)

    def labels(self) -> list[str]:
        """What units are called: "3", or channel, row and column as "3_0_1", in their order."""
        names = [""] * self.size
        for place, number in zip(self._places(), self.numbers().ravel().tolist(), strict=True):
            names[number] = "_".join(map(str, place))
        return names

    def _places(self) -> Iterator[tuple[int, ...]]:
        return product(*(range(n) for n in self.shape))

    def maps(self, units: Tensor) -> Tensor:
        """Units `(*batch, n_units)` as maps `(n, channels, height, width)`; a view, whichever order they have."""
        channels, height, width = self.shape
        if self.channels_last or channels == 1:
            # Of one channel both orders are one; strides of channels last let PyTorch take the faster loops.
            return units.reshape(-1, height, width, channels).permute(0, 3, 1, 2)
        return units.reshape(-1, channels, height, width)

    def units(self, maps: Tensor) -> Tensor:
        """The reverse: `(n, n_units)`."""
        return (maps.permute(0, 2, 3, 1) if self.channels_last else maps).reshape(len(maps), self.size)
