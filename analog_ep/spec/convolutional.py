"""Tables of a spec that trains a resistive network on images: its stages, one after the other."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Annotated, ClassVar, Literal

import torch
from pydantic import BaseModel, BeforeValidator, Field, NonNegativeInt, PositiveFloat, PositiveInt, model_validator

from analog_ep.errors import NetworkError
from analog_ep.networks import HardwareNetwork
from analog_ep.networks.extent import Extent
from analog_ep.networks.operator import Operator
from analog_ep.networks.operators import (
    AveragePooling,
    Convolution,
    Dense,
    LocallyConnected,
    checked_stages,
    extents_of,
)
from analog_ep.spec.diodes import DiodeSpec
from analog_ep.spec.network import ResistiveTable
from analog_ep.spec.table import TABLE, listed


class _StageTable(BaseModel, ABC):
    model_config = TABLE

    @abstractmethod
    def operator(self) -> Operator:
        """The stage."""


class DenseSpec(_StageTable):
    """See `analog_ep.networks.Dense`."""

    kind: Literal["dense"]
    units: PositiveInt

    def operator(self) -> Operator:
        return Dense(self.units)


class _PatchTable(_StageTable):
    channels: PositiveInt
    kernel: PositiveInt
    stride: PositiveInt = 1
    padding: NonNegativeInt = 0
    groups: PositiveInt = 1


class ConvolutionSpec(_PatchTable):
    """See `analog_ep.networks.Convolution`; kernels are square."""

    kind: Literal["convolution"]

    def operator(self) -> Operator:
        return Convolution(self.channels, self.kernel, self.stride, self.padding, self.groups)


class LocallyConnectedSpec(_PatchTable):
    """See `analog_ep.networks.LocallyConnected`; patches are square."""

    kind: Literal["locally_connected"]

    def operator(self) -> Operator:
        return LocallyConnected(self.channels, self.kernel, self.stride, self.padding, self.groups)


class AveragePoolingSpec(_StageTable):
    """See `analog_ep.networks.AveragePooling`; `conductance` is that of a resistor. [S]"""

    kind: Literal["average_pooling"]
    kernel: PositiveInt
    stride: PositiveInt | None = None
    conductance: PositiveFloat | None = None

    def operator(self) -> Operator:
        return AveragePooling(self.kernel, self.stride, self.conductance)


StageSpec = Annotated[
    DenseSpec | ConvolutionSpec | LocallyConnectedSpec | AveragePoolingSpec, Field(discriminator="kind")
]


class ConvolutionalSpec(ResistiveTable):
    """See `analog_ep.networks.ResistiveNetwork`: a network of operators.

    Attributes
    ----------
    shape : [int, int, int]
        Channels, height and width of an input.
    stage : list of StageSpec
        `[[network.stage]]` tables, the outputs' last.
    """

    idle_tables: ClassVar[tuple[str, ...]] = ("wires",)

    kind: Literal["convolutional"]
    shape: Annotated[list[PositiveInt], Field(min_length=3, max_length=3)]
    stage: Annotated[list[StageSpec], BeforeValidator(listed), Field(min_length=1)]

    @model_validator(mode="after")
    def _chained(self) -> ConvolutionalSpec:
        try:
            self._extents()
        except NetworkError as error:
            raise ValueError(f"stage: {error}") from None
        return self

    def _operators(self) -> list[Operator]:
        return [each.operator() for each in self.stage]

    def _extents(self) -> tuple[Extent, ...]:
        return extents_of(*checked_stages([self.shape, *self._operators()]))

    def _clamped(self) -> list[Extent]:
        """Hidden layers that have diodes."""
        hidden = zip(self._extents()[1:-1], self._operators(), strict=False)
        return [extent for extent, operator in hidden if operator.clamped]

    @property
    def sizes(self) -> tuple[int, ...]:
        """Units of the layers, from the inputs to the outputs."""
        return tuple(extent.size for extent in self._extents())

    @property
    def stages(self) -> int:
        return sum(operator.learns for operator in self._operators())

    @property
    def read_layers(self) -> int:
        return len(self.stage)

    @property
    def image_shape(self) -> tuple[int, int, int]:
        channels, height, width = self.shape
        return channels, height, width

    @property
    def diode_layers(self) -> int:
        return len(self._clamped())

    def refuse_held(self) -> None:
        if len(self.stage) > 1 and self.drive != "differential":
            raise ValueError('update.held needs network.drive = "differential", found "single"')

    def build(self, diodes: list[DiodeSpec], seed: int, dtype: torch.dtype) -> HardwareNetwork:
        """The network with its initial conductances; diodes that alternate do so from channel to channel."""
        widths = [extent.shape[0] for extent in self._clamped()]
        return self.layered([self.shape, *self._operators()], diodes, widths, seed, dtype)
