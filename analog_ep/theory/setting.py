"""What the checks share: a network at rest in its free state, and its Euler dynamics."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from analog_ep.equilibrium import Equilibrium, HopfieldRelaxation, solve
from analog_ep.networks import HopfieldNetwork, Sigmoid
from analog_ep.stimulus import Nudge, SquaredError

Layers = tuple[Tensor, ...]

SOLVER = HopfieldRelaxation(atol=1e-14)


@dataclass(frozen=True, eq=False)
class Setting:
    """A network, samples, and the free state of each.

    Attributes
    ----------
    network : HopfieldNetwork
        With smooth units, in float64.
    inputs : Tensor (n_samples, n_inputs)
        Rates of the inputs.
    targets : Tensor (n_samples, n_outputs)
        Targets of the squared error.
    equilibrium : Equilibrium
        The free state, settled to rounding.
    """

    network: HopfieldNetwork
    inputs: Tensor
    targets: Tensor
    equilibrium: Equilibrium

    @property
    def free(self) -> Layers:
        """Layers of the free state, each `(n_samples, n_units)`."""
        return self.equilibrium.layers

    @classmethod
    def drawn(cls, sizes: Sequence[int], seed: int, n_samples: int = 4) -> Setting:
        """Random weights, biases, inputs and targets.

        Raises
        ------
        NetworkError
            If the sizes are not at least two positive numbers.
        ConvergenceError
            If the free state does not settle.
        """
        network = HopfieldNetwork(sizes, activation=Sigmoid(), initial_scale=0.5, seed=seed, dtype=torch.float64)
        generator = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            for bias in network.biases:
                bias.uniform_(-0.2, 0.2, generator=generator)
        inputs, targets = (
            torch.rand((n_samples, n), generator=generator, dtype=torch.float64)
            for n in (network.n_inputs, network.n_outputs)
        )
        return cls(network, inputs, targets, solve(network, inputs, solver=SOLVER))

    def nudge(self, strength: float) -> Nudge:
        """The elastic nudge of this strength."""
        return Nudge(strength, self.targets, SquaredError(), "elastic")


@torch.no_grad()
def euler_steps(
    network: HopfieldNetwork, inputs: Tensor, start: Layers, step: float, nudge: Nudge | None = None
) -> Iterator[tuple[Layers, Layers]]:
    """States u and velocities du/dt of the leaky integrators from `start` on, without end: u ← u + step · du/dt."""
    layers = start
    while True:
        velocity = network.force(inputs, layers, nudge)
        yield layers, velocity
        layers = tuple(layer + step * rate for layer, rate in zip(layers, velocity, strict=True))
