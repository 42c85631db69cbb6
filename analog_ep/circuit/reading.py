"""What a chip's inputs are driven with."""

from __future__ import annotations

import torch
from torch import Tensor

from analog_ep.circuit.chip import Chip


def driven(inputs: Tensor, chip: Chip | None, generator: torch.Generator | None = None) -> Tensor:
    """What a chip's inputs are driven with; the inputs themselves without converters. [V]"""
    return inputs if chip is None or chip.converters is None else chip.converters.drive(inputs, generator)
