"""What a chip's inputs are driven with, and what is read of its layers."""

from __future__ import annotations

import torch
from torch import Tensor

from analog_ep.circuit.chip import Chip


def driven(inputs: Tensor, chip: Chip | None, generator: torch.Generator | None = None) -> Tensor:
    """What a chip's inputs are driven with; the inputs themselves without converters. [V]"""
    return inputs if chip is None or chip.converters is None else chip.converters.drive(inputs, generator)


def read_layers(
    layers: tuple[Tensor, ...],
    chip: Chip | None,
    generator: torch.Generator | None = None,
    known: Chip | None = None,
) -> tuple[Tensor, ...]:
    """What is read of the layer voltages; these themselves without converters. [V]"""
    if chip is None or chip.converters is None:
        return layers
    return chip.converters.read(layers, generator, None if known is None else known.converters)
