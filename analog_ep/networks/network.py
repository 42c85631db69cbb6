"""What every trainable network gives, whatever its energy."""

from __future__ import annotations

import copy
import operator
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Self

import torch
from torch import Tensor

from analog_ep.circuit import Chip, Circuit
from analog_ep.errors import NetworkError
from analog_ep.stimulus import Nudge, as_inputs, as_targets, require_finite, require_samples

_PRECISIONS = (torch.float32, torch.float64)
_MOST_LAYERS = 256
_MOST_PARAMETERS = 2**30
"""Of one network: 8 GiB in float64."""


def checked_sizes(sizes: Sequence[int]) -> tuple[int, ...]:
    """Units of the layers as a network keeps them.

    Raises
    ------
    NetworkError
        If they are not at least two positive whole numbers, or too many for memory.
    """
    try:
        found = tuple(operator.index(size) for size in sizes)
    except TypeError:
        raise NetworkError(f"sizes must be whole numbers, found {sizes}") from None
    if len(found) < 2 or min(found) < 1:
        raise NetworkError(f"sizes must be at least two positive numbers, found {list(sizes)}")
    if len(found) > _MOST_LAYERS:
        raise NetworkError(f"sizes must be those of at most {_MOST_LAYERS} layers, found {len(found)}")
    # Rows for +u and −u, columns for v₊ and v₋ of an output.
    if sum(4 * a * b for a, b in pairwise(found)) > 4 * _MOST_PARAMETERS:
        raise NetworkError(f"sizes must make at most 2^30 pairs of units, found {list(sizes)}")
    return found


def require_precision(dtype: object) -> None:
    """Raise `NetworkError` for a type of parameters in which no equilibrium is solved."""
    if dtype not in _PRECISIONS:
        raise NetworkError(f"parameters must be torch.float32 or torch.float64, found {dtype}")


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

    def precision(self) -> Tensor:
        """A tensor in the type and on the device of the parameters.

        Raises
        ------
        NetworkError
            If no equilibrium is solved in that type.
        """
        like = next(self.parameters(), None)
        if like is None:
            return torch.empty(0, dtype=torch.float64)
        require_precision(like.dtype)
        return like

    def stimulus(self, inputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """Inputs `(*batch, n_inputs)` and targets `(*batch, n_outputs)` as the network takes them.

        Arrays and numbers of any real type are taken in its own precision; nothing is broadcast.

        Raises
        ------
        StimulusError
            If they do not fit the network or each other, there is no sample, or a target is not finite.
        """
        inputs, targets = self.shaped_stimulus(inputs, targets)
        require_finite("targets", targets)
        return inputs, targets

    def shaped_stimulus(self, inputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """As `stimulus`, for a caller that sees for itself what is not finite."""
        like = self.precision()
        inputs = as_inputs(inputs, self.n_inputs, like.dtype, like.device)
        require_samples(inputs)
        return inputs, as_targets(targets, inputs, self.n_outputs)

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


class HardwareNetwork(Network):
    """A network that is a circuit; its parameters are named as in the circuit.

    Attributes
    ----------
    nudge_scale : float
        What a nudging strength of 1 stands for in the circuit, whose unit of it is that of `Nudge`.
    """

    nudge_scale: float = 1.0

    def as_built(self) -> Self:
        """A float64 copy on the CPU whose elements are those of its netlist, where its own have no card."""
        return copy.deepcopy(self).double().cpu()

    def note_projection(self, parameters: Iterable[Tensor]) -> None:
        """Say that these parameters have just been put into their range."""

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
