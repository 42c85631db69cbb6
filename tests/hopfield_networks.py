"""Small Hopfield networks with states inside and at their bounds."""

import torch
from torch import Tensor

from analog_ep.networks import HopfieldNetwork

ACTIVATIONS = ("hard_sigmoid", "sigmoid", "tanh")


def network(activation: str = "hard_sigmoid", sizes=(6, 8, 7, 4), seed: int = 0, scale: float = 0.4) -> HopfieldNetwork:
    """A float64 network with biases that leave some units free and some at their bounds, and one minimum."""
    net = HopfieldNetwork(sizes, activation=activation, initial_scale=scale, seed=seed, dtype=torch.float64)
    generator = torch.Generator().manual_seed(seed + 1)
    with torch.no_grad():
        for bias in net.biases:
            bias.copy_(1.4 * torch.rand(bias.shape, generator=generator, dtype=torch.float64) - 0.2)
    return net


def samples(net: HopfieldNetwork, *batch: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Inputs and targets, uniform in [0, 1]."""
    generator = torch.Generator().manual_seed(seed + 2)
    return tuple(torch.rand(*batch, n, generator=generator, dtype=torch.float64) for n in (net.n_inputs, net.n_outputs))  # pyright: ignore[reportReturnType]
