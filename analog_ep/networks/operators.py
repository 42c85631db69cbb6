"""What a layered network is made of, stage by stage: dense, convolutional, locally connected, averages."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch

from analog_ep.errors import NetworkError
from analog_ep.networks.convolution import ConvolutionLayout
from analog_ep.networks.dense import DenseLayout
from analog_ep.networks.extent import Extent
from analog_ep.networks.layout import StageLayout
from analog_ep.networks.locally_connected import LocalLayout, PoolingLayout
from analog_ep.networks.operator import Operator, Place
from analog_ep.networks.patches import Pair
from analog_ep.networks.sizes import checked_sizes

Size = int | tuple[int, int]
"""Of rows and of columns, or one for both."""


@dataclass(frozen=True)
class Dense(Operator):
    """A crossbar: every unit before it is joined to every node. `Dense(10)` and `10` are the same.

    Parameters
    ----------
    units : int
        Nodes of the stage, or outputs.
    """

    units: int

    def __post_init__(self):
        _whole("units", self.units, 1)

    def extent(self, label: str, before: Extent, last: bool) -> Extent:
        return Extent((self.units,))

    def ordinary(self, before: Extent) -> torch.nn.Module:
        linear = torch.nn.Linear(before.size, self.units)
        return torch.nn.Sequential(torch.nn.Flatten(), linear) if before.is_maps else linear

    def layout(self, place: Place) -> StageLayout:
        columns = place.behind.size * (2 if place.last else 1)
        return DenseLayout(place.label, place.before.size, columns, place.differential, place.biased)


@dataclass(frozen=True)
class PatchOperator(Operator):
    """A stage whose nodes see a patch of the maps before it: maps of `(n + 2 padding − kernel) // stride + 1` rows and
    columns.

    Parameters
    ----------
    channels : int
        Maps, or maps of outputs.
    kernel : int or (int, int)
        Rows and columns of a patch.
    stride, padding : int or (int, int)
        From one patch to the next, and beyond each edge.
    groups : int
        Groups of channels, of which each sees only its own; 1 in the last stage.

    Raises
    ------
    NetworkError
        If these are no such numbers.
    """

    channels: int
    kernel: Size
    stride: Size = 1
    padding: Size = 0
    groups: int = 1

    def __post_init__(self):
        _whole("channels", self.channels, 1)
        _whole("groups", self.groups, 1)
        self._geometry()

    def _geometry(self) -> tuple[Pair, Pair, Pair]:
        return _pair("kernel", self.kernel, 1), _pair("stride", self.stride, 1), _pair("padding", self.padding, 0)

    def extent(self, label: str, before: Extent, last: bool) -> Extent:
        depth = _channels(label, type(self).__name__, before)
        if depth % self.groups or self.channels % self.groups:
            raise NetworkError(
                f"{label}: groups must divide the channels before and behind, {depth} and {self.channels}, found "
                f"{self.groups}"
            )
        if last and self.groups > 1:
            raise NetworkError(f"{label}: the last stage must have one group, found {self.groups}; add a stage")
        return _behind(label, self.channels, before, self._geometry(), last)

    def _parts(self, place: Place) -> tuple[str, Extent, Extent, Pair, Pair, Pair, int, bool, bool]:
        behind = place.behind
        if place.last:
            behind = Extent((2 * behind.shape[0], *behind.shape[1:]))
        return place.label, place.before, behind, *self._geometry(), self.groups, place.differential, place.biased


@dataclass(frozen=True)
class Convolution(PatchOperator):
    """A kernel of conductances that all places of a map share, as `torch.nn.Conv2d`; see `PatchOperator`.

    It has bias rows where the network has them. Taps beyond the image end at ground.
    """

    def ordinary(self, before: Extent) -> torch.nn.Module:
        channels = before.shape[0], self.channels
        return torch.nn.Conv2d(*channels, *self._geometry(), groups=self.groups)

    def layout(self, place: Place) -> StageLayout:
        return ConvolutionLayout(*self._parts(place))


@dataclass(frozen=True)
class LocallyConnected(PatchOperator):
    """As `Convolution`, with conductances of its own at every place: what hardware without shared weights has."""

    def layout(self, place: Place) -> StageLayout:
        return LocalLayout(*self._parts(place))


@dataclass(frozen=True)
class AveragePooling(Operator):
    """Equal resistors from each node to a patch of one map; without amplifiers, diodes and bias rows.

    A node without a load is at the mean of its patch; what is connected behind it pulls it from there, the more the
    lower `conductance` is.

    Parameters
    ----------
    kernel : int or (int, int)
        Rows and columns of a patch.
    stride : int or (int, int), optional
        From one patch to the next; by default the kernel.
    conductance : float, optional
        Of each resistor; by default the largest of the network's range. [S]
    """

    kernel: Size
    stride: Size | None = None
    conductance: float | None = None

    clamped = False
    learns = False

    def __post_init__(self):
        self._geometry()
        if self.conductance is not None and not 0 < self.conductance < float("inf"):
            raise NetworkError(f"conductance must be positive and finite, found {self.conductance}")

    def _geometry(self) -> tuple[Pair, Pair, Pair]:
        kernel = _pair("kernel", self.kernel, 1)
        return kernel, kernel if self.stride is None else _pair("stride", self.stride, 1), (0, 0)

    @property
    def siemens(self) -> float | None:
        return self.conductance

    def extent(self, label: str, before: Extent, last: bool) -> Extent:
        depth = _channels(label, "AveragePooling", before)
        if last:
            raise NetworkError(f"{label}: the last stage must make pairs v₊, v₋, found AveragePooling; add a stage")
        return _behind(label, depth, before, self._geometry(), last)

    def ordinary(self, before: Extent) -> torch.nn.Module:
        kernel, stride, _ = self._geometry()
        return torch.nn.AvgPool2d(kernel, stride)

    def layout(self, place: Place) -> StageLayout:
        depth = place.before.shape[0]
        return PoolingLayout(place.label, place.before, place.behind, *self._geometry(), depth, False, False)


def checked_stages(sizes: Sequence[Any]) -> tuple[Extent, tuple[Operator, ...]]:
    """The extent of the inputs and the operators behind it; a whole number stands for `Dense`.

    Raises
    ------
    NetworkError
        If it is no such sequence.
    """
    if not isinstance(sizes, Sequence) or not any(isinstance(n, (list, tuple)) or hasattr(n, "layout") for n in sizes):
        sizes = checked_sizes(sizes)
    if len(sizes) < 2:
        raise NetworkError(f"sizes must be those of the inputs and of one stage at least, found {sizes}")
    shape = tuple(sizes[0]) if isinstance(sizes[0], (list, tuple)) else (sizes[0],)
    if len(shape) not in (1, 3) or any(not _is_whole(n) or int(n) < 1 for n in shape):
        raise NetworkError(
            f"sizes must begin with the number of inputs or their (channels, height, width), found {sizes[0]!r}"
        )
    return Extent(tuple(int(n) for n in shape)), tuple(map(_operator, sizes[1:]))


def _operator(given: Any) -> Operator:
    if _is_whole(given):
        return Dense(int(given))
    if not hasattr(given, "layout"):
        raise NetworkError(f"a stage must be a number of units or an operator such as Convolution, found {given!r}")
    return given


def extents_of(inputs: Extent, operators: Sequence[Operator]) -> tuple[Extent, ...]:
    """Of all layers, the inputs' first.

    Raises
    ------
    NetworkError
        If a stage does not fit what is before it.
    """
    found = [inputs]
    for s, each in enumerate(operators, start=1):
        found.append(each.extent(f"stage{s}", found[-1], last=s == len(operators)))
    return tuple(found)


def layouts_of(
    extents: Sequence[Extent], operators: Sequence[Operator], differential: bool, biased: bool
) -> tuple[StageLayout, ...]:
    """Of all stages; inputs drive rows at ±x, and amplifiers likewise where they are `differential`."""
    return tuple(
        each.layout(Place(f"stage{s + 1}", before, behind, s == 0 or differential, biased, s == len(operators) - 1))
        for s, ((before, behind), each) in enumerate(zip(pairwise(extents), operators, strict=True))
    )


def _behind(label: str, channels: int, before: Extent, geometry: tuple[Pair, Pair, Pair], last: bool) -> Extent:
    sizes = []
    for n, k, s, p in zip(before.shape[1:], *geometry, strict=True):
        if n + 2 * p < k:
            seen, kernel = " × ".join(map(str, before.shape[1:])), " × ".join(map(str, geometry[0]))
            raise NetworkError(
                f"{label}: a kernel must fit the maps before it, {seen} and a padding of {p}, found {kernel}; take a "
                "smaller kernel or more padding"
            )
        sizes.append((n + 2 * p - k) // s + 1)
    # Outputs come as images do; between layers maps lie as products with kernels are fastest.
    return Extent((channels, *sizes), channels_last=not last)


def _channels(label: str, kind: str, before: Extent) -> int:
    if not before.is_maps:
        raise NetworkError(
            f"{label}: {kind} needs maps before it, found a layer of {before.size} units; begin sizes with (channels, "
            "height, width), and place dense stages last"
        )
    return before.shape[0]


def _pair(name: str, value: Any, least: int) -> Pair:
    both = tuple(value) if isinstance(value, Sequence) else (value, value)
    if len(both) != 2 or any(not _is_whole(n) or int(n) < least for n in both):
        raise NetworkError(f"{name} must be one or two whole numbers of at least {least}, found {value!r}")
    return int(both[0]), int(both[1])


def _whole(name: str, value: Any, least: int) -> None:
    if not _is_whole(value) or int(value) < least:
        raise NetworkError(f"{name} must be a whole number of at least {least}, found {value!r}")


def _is_whole(value: Any) -> bool:
    try:
        operator.index(value)
    except TypeError:
        return False
    return True
