"""What every trainable network gives, whatever its energy."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

import torch
from torch import Tensor

from analog_ep.circuit import Chip, Circuit
from analog_ep.errors import NetworkError
from analog_ep.stimulus import Nudge


def checked_sizes(sizes: Sequence[int]) -> tuple[int, ...]:
    """Units of the layers as a network keeps them.

    Raises
    ------
    NetworkError
        If they are not at least two positive numbers.
    """
    found = tuple(int(size) for size in sizes)
    if len(found) < 2 or min(found) < 1:
        raise NetworkError(f"sizes must be at least two positive numbers, found {list(sizes)}")
    return found


class Network(torch.nn.Module, ABC):
    """A layered network whose equilibria minimise an energy; its parameters are dimensionless.

    Attributes
    ----------
    sizes : tuple of int
        Units of the inputs, the hidden layers and the outputs.
    parameter_scale : float
        Physical value that a parameter of 1 stands for: g_ref [S] for conductances, 1 for plain weights.
    """

    sizes: tuple[int, ...]
    parameter_scale: float

    @property
    def n_inputs(self) -> int:
        """Number of inputs."""
        return self.sizes[0]

    @property
    def n_outputs(self) -> int:
        """Number of outputs; in circuits these are differential."""
        return self.sizes[-1]

    @property
    def n_stages(self) -> int:
        """Number of connections between layers: one less than there are layers, inputs included."""
        return len(self.sizes) - 1

    @abstractmethod
    def outputs_of(self, layers: tuple[Tensor, ...]) -> Tensor:
        """Outputs `(*batch, n_outputs)` from the layers. [V] in circuits"""

    @abstractmethod
    def energy(self, inputs: Tensor, layers: tuple[Tensor, ...]) -> Tensor:
        """Energy of a state, `(*batch,)`. [W] in circuits"""

    @abstractmethod
    def contrast(
        self, inputs: Tensor, layers: tuple[Tensor, ...], response: tuple[Tensor, ...], *, linear: bool = False
    ) -> dict[str, Tensor]:
        """Sum over the batch of ∂E/∂p at the state u + d less that at u, for every parameter, by name.

        p is the physical parameter, `parameter_scale` times the dimensionless one, and E is counted in units of the
        output stage's weight. `response` d is the change of the layers; the difference is formed without cancellation,
        or, where `linear` is set, to first order in d.
        """

    def stage_parameters(self) -> list[list[torch.nn.Parameter]]:
        """The parameters of each stage, from the inputs on: what a learning rate for each stage applies to."""
        return [[parameter] for parameter in self.parameters()]


class CircuitNetwork(Network):
    """A network that is a circuit; its parameters are named as in the circuit.

    Attributes
    ----------
    nudge_scale : float
        What a nudging strength of 1 stands for in the circuit, whose unit of it is that of `Nudge`.
    """

    nudge_scale: float = 1.0

    def in_circuit(self, nudge: Nudge) -> Nudge:
        """The nudge with the strength that it has in the circuit."""
        return nudge.scaled(self.nudge_scale * nudge.strength)

    @abstractmethod
    def circuit(self, chip: Chip | None = None) -> Circuit:
        """The hardware, with the parameters as they are now, and with a chip's mismatch where one is given."""

    @abstractmethod
    def node_voltages(self, inputs: Tensor, layers: tuple[Tensor, ...], chip: Chip | None = None) -> Tensor:
        """Voltages of all nodes of `circuit()`, ground first, `(*batch, n_nodes)`, from those of the layers. [V]"""

    @abstractmethod
    def layers_of(self, voltages: Tensor) -> tuple[Tensor, ...]:
        """Layer voltages, each `(*batch, n_units)`, from those of all nodes. [V]"""
