"""The ordinary network that has the sizes of a resistive one, to compare training steps with."""

from __future__ import annotations

from itertools import chain

import torch

from analog_ep.errors import StimulusError
from analog_ep.networks import CrossbarNetwork


def ordinary_network(network: CrossbarNetwork) -> torch.nn.Sequential:
    """Layers of PyTorch with ReLU between them, for flat inputs.

    Raises
    ------
    StimulusError
        If PyTorch has no layer like one of the stages.
    """
    layers = []
    for kind, before in zip(network.operators, network.extents, strict=False):
        layer = kind.ordinary(before)
        if layer is None:
            raise StimulusError(
                f"a comparison with backprop needs a layer of PyTorch, found none like a {kind}; "
                "time dense and convolutional stages"
            )
        layers.append((layer, torch.nn.ReLU()) if kind.clamped else (layer,))
    first = network.extents[0]
    images = (torch.nn.Unflatten(1, first.shape),) if first.is_maps else ()
    found = torch.nn.Sequential(*images, *chain.from_iterable(layers))[:-1]
    return found.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
