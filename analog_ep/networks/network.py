"""What every trainable network gives, whatever its energy."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor

from analog_ep.circuit import Chip, Circuit


class Network(torch.nn.Module, ABC):
    """A layered network that is a circuit; its parameters are dimensionless and named as in the circuit."""

    n_inputs: int
    n_outputs: int
    reference_conductance: float

    @abstractmethod
    def circuit(self, chip: Chip | None = None) -> Circuit:
        """The hardware, with the parameters as they are now, and with a chip's mismatch where one is given."""

    @abstractmethod
    def node_voltages(self, inputs: Tensor, layers: tuple[Tensor, ...], chip: Chip | None = None) -> Tensor:
        """Voltages of all nodes of `circuit()`, ground first, `(*batch, n_nodes)`, from those of the layers. [V]"""

    @abstractmethod
    def layers_of(self, voltages: Tensor) -> tuple[Tensor, ...]:
        """Layer voltages, each `(*batch, n_units)`, from those of all nodes. [V]"""

    @abstractmethod
    def outputs_of(self, layers: tuple[Tensor, ...]) -> Tensor:
        """Differential outputs `(*batch, n_outputs)` from the layers. [V]"""

    @abstractmethod
    def energy(self, inputs: Tensor, layers: tuple[Tensor, ...]) -> Tensor:
        """Energy of a state, `(*batch,)`. [W]"""

    @abstractmethod
    def contrast(
        self,
        inputs: Tensor,
        layers: tuple[Tensor, ...],
        response: tuple[Tensor, ...],
        *,
        linear: bool = False,
        known: Chip | None = None,
    ) -> dict[str, Tensor]:
        """Sum over the batch of (w_s/w_L) ½ [(v + d)² − v²] for every branch, by parameter. [V²]

        `response` d is the change of the layer voltages; the difference of squares is formed as d (v + d/2), or, where
        `linear` is set, its derivative d v. The amplifiers' outputs follow from the layer voltages by the gains and
        offsets of the chip `known`; by the nominal ones without it.
        """
