"""What converters read of a network whose state is the voltages of all nodes."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from analog_ep.circuit import Chip, Circuit
from analog_ep.errors import CircuitError


def read_nodes(
    circuit: Circuit,
    layers: tuple[Tensor, ...],
    chip: Chip | None,
    generator: torch.Generator | None = None,
    known: Chip | None = None,
) -> tuple[Tensor, ...]:
    """What a chip's converters read of the nodes in the circuit's layers; all others as they are. [V]

    Raises
    ------
    CircuitError
        If there are converters that do not read exactly, and the circuit names no layer.
    """
    if chip is None or chip.converters is None or chip.converters.reads_exactly:
        return layers
    names = circuit.layers
    if not names:
        title = circuit.title
        raise CircuitError(f"converters read layers of nodes, found none in {title!r}; name them with set_layer")
    volts = layers[0].clone()
    nodes = [torch.from_numpy(np.array(each)) for each in names.values()]
    offsets = None if known is None else known.converters
    found = chip.converters.read(tuple(volts[..., each] for each in nodes), generator, offsets, tuple(names))
    for each, values in zip(nodes, found, strict=True):
        volts[..., each] = values
    return (volts,)
