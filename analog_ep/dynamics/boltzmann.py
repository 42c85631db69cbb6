"""Binary units in a heat bath: the Boltzmann machine of a layered network, sampled block by block."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from analog_ep.errors import StimulusError


@dataclass(frozen=True, eq=False)
class BoltzmannMachine:
    r"""Layered Boltzmann machine under clamped inputs, :math:`p(s) ∝ e^{-E(s)/T}` with units s in {0, 1}.

    .. math:: E = \frac12 \sum_i s_i^2 - \sum_k s_{k-1}^T W_k s_k - \sum_k b_k^T s_k, \quad s_0 = x,

    the energy of a Hopfield network at its corners, where ρ(s) = s; there ½ s² is a threshold of ½ at each unit.
    Layers see only their neighbours, so that every other layer can be drawn at once given the rest.

    Parameters
    ----------
    weights : sequence of Tensor (n_before, n_units)
        W of each layer.
    biases : sequence of Tensor (n_units,)
        b of each layer.
    temperature : float
        T; positive.

    Raises
    ------
    StimulusError
        If the temperature is not positive.
    """

    weights: Sequence[Tensor]
    biases: Sequence[Tensor]
    temperature: float = 1.0

    def __post_init__(self):
        if not 0 < self.temperature < float("inf"):
            raise StimulusError(f"a Boltzmann machine needs a positive temperature, found {self.temperature}")

    @property
    def blocks(self) -> tuple[range, ...]:
        """Layers that are drawn at once, the outputs' own first."""
        last = len(self.weights) - 1
        blocks = (range(last, -1, -2), range(last - 1, -1, -2))
        return tuple(block for block in blocks if len(block))

    def probability(self, k: int, inputs: Tensor, layers: Sequence[Tensor]) -> Tensor:
        """Probability of 1 of each unit of layer k given its neighbours, `(*batch, n_units)`."""
        field = (inputs if k == 0 else layers[k - 1]) @ self.weights[k] + self.biases[k] - 0.5
        if k + 1 < len(self.weights):
            field = field + layers[k + 1] @ self.weights[k + 1].T
        return torch.sigmoid(field / self.temperature)

    def sweep(
        self, inputs: Tensor, layers: Sequence[Tensor], generator: torch.Generator, *, held: bool
    ) -> list[Tensor]:
        """Draw every layer once given the others; the outputs stay as they are where they are `held`."""
        layers = list(layers)
        for block in self.blocks:
            for k in block:
                if not (held and k == len(layers) - 1):
                    layers[k] = drawn(self.probability(k, inputs, layers), generator)
        return layers

    def expected(self, inputs: Tensor, layers: Sequence[Tensor], *, held: bool) -> list[Tensor]:
        """The layers of the block drawn last replaced by their means given the rest.

        Products of neighbouring units then keep their expectation and lose the noise of that draw.
        """
        layers = list(layers)
        for k in self.blocks[-1]:
            if not (held and k == len(layers) - 1):
                layers[k] = self.probability(k, inputs, layers)
        return layers

    def class_scores(self, inputs: Tensor) -> Tensor:
        """Logarithm of p(y | x), up to a constant, of each one-hot output y, `(*batch, n_outputs)`.

        Raises
        ------
        StimulusError
            If there is more than one hidden layer: their sum has no closed form.
        """
        if len(self.weights) > 2:
            raise StimulusError(f"class scores need at most one hidden layer, found {len(self.weights) - 1}")
        own = (self.biases[-1] - 0.5) / self.temperature
        if len(self.weights) == 1:
            return inputs @ self.weights[0] / self.temperature + own
        field = inputs @ self.weights[0] + self.biases[0] - 0.5
        given_class = field[..., None, :] + self.weights[1].T
        return torch.nn.functional.softplus(given_class / self.temperature).sum(-1) + own


def drawn(probability: Tensor, generator: torch.Generator) -> Tensor:
    """0 or 1 at these probabilities, in their dtype, from a generator on the CPU."""
    uniform = torch.rand(probability.shape, generator=generator, dtype=torch.float64)
    return (uniform.to(probability.device) < probability).to(probability.dtype)
