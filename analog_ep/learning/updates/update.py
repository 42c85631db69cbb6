"""How a wanted change of the conductances becomes a real one."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from analog_ep.devices.pulses import PulsedArray
from analog_ep.errors import CheckpointError
from analog_ep.networks import ConductanceNetwork, Network, Question, RangedNetwork


class ParameterUpdate(ABC):
    """An optimiser whose parameters stay what the network can hold.

    Parameters
    ----------
    optimizer : torch.optim.Optimizer
        Any.
    """

    def __init__(self, optimizer: torch.optim.Optimizer):
        self.optimizer = optimizer

    @abstractmethod
    def step(self) -> None:
        """One step of the optimiser, as far as the hardware follows it."""

    def follow(self) -> None:  # noqa: B027 - hardware without a state of its own has nothing to follow with
        """Take up parameters that were set from elsewhere, as the hardware can hold them; no step is made."""

    def report(self) -> list[dict[str, object]]:
        """What became of the steps since the last report, a row a parameter; none where there is nothing to tell."""
        return []

    def pulses_by_device(self) -> dict[str, Tensor]:
        """Pulses of each device so far, by array; none where nothing is pulsed."""
        return {}

    def pulsed_arrays(self) -> dict[str, PulsedArray]:
        """Pulsed devices by array; none where nothing is pulsed."""
        return {}

    def zero_grad(self) -> None:
        """Forget the gradients."""
        self.optimizer.zero_grad(set_to_none=True)

    @property
    def param_groups(self) -> list[dict[str, Any]]:
        """The optimiser's parameter groups."""
        return self.optimizer.param_groups

    def state_dict(self) -> dict[str, Any]:
        """The optimiser's state."""
        return self.optimizer.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what `state_dict` gave."""
        self.optimizer.load_state_dict(state)

    @abstractmethod
    def hardware_state(self) -> dict[str, Tensor]:
        """State of the hardware beyond the network's parameters, by dotted name."""

    @abstractmethod
    def load_hardware_state(self, state: dict[str, Tensor]) -> None:
        """Restore what `hardware_state` gave.

        Raises
        ------
        CheckpointError
            If it is of other hardware; nothing is restored then.
        """


class ConductanceUpdate(ParameterUpdate):
    """An optimiser whose conductances stay what hardware can hold.

    Parameters
    ----------
    optimizer : torch.optim.Optimizer
        Any; its parameters are those of `network`.
    network : ConductanceNetwork
        Whose conductances.
    """

    def __init__(self, optimizer: torch.optim.Optimizer, network: ConductanceNetwork):
        super().__init__(optimizer)
        self.network = network


class WeightUpdate(ParameterUpdate):
    """An optimiser whose parameters may have any value, such as a Hopfield network's weights."""

    def step(self) -> None:
        self.optimizer.step()

    def hardware_state(self) -> dict[str, Tensor]:
        return {}

    def load_hardware_state(self, state: dict[str, Tensor]) -> None:
        if state:
            raise CheckpointError(f"weights have no state of hardware, found {min(state)}")


class Update(ParameterUpdate):
    """An optimiser whose conductances, or gate voltages, stay in their range.

    After each step the parameters are projected on [p_min, p_max]; where one stands at a bound, a first moment that
    pushes outward is set to zero, so that it does not hold the conductance there after the gradient has turned.

    Parameters
    ----------
    optimizer : torch.optim.Optimizer
        Any; its parameters are those of `network`.
    network : RangedNetwork
        Gives the range.
    """

    _FIRST_MOMENTS = ("exp_avg", "momentum_buffer")

    def __init__(self, optimizer: torch.optim.Optimizer, network: RangedNetwork):
        super().__init__(optimizer)
        self.network = network
        self._ranges = {parameter: network.theta_range(name) for name, parameter in network.named_parameters()}
        optimizer.register_step_post_hook(lambda *_: self.project())

    def step(self) -> None:
        self.optimizer.step()

    def hardware_state(self) -> dict[str, Tensor]:
        return {}

    def load_hardware_state(self, state: dict[str, Tensor]) -> None:
        if state:
            raise CheckpointError(f"conductances without pulsed devices have no state, found {min(state)}")

    @torch.no_grad()
    def project(self) -> None:
        """Put every parameter back into the range and stop first moments that push outward."""
        for group in self.optimizer.param_groups:
            for parameter in group["params"]:
                low, high = self._ranges[parameter]
                parameter.clamp_(low, high)
                for moment in self._first_moments(parameter):
                    # Optimisers step against the moment: a positive one lowers the conductance. Where a step of 1 ends
                    # where it began, the moment pushes outward. This takes a fifth of the time of four comparisons.
                    moved = torch.sub(parameter, moment.sign()).clamp_(low, high)
                    moment.mul_(moved.ne_(parameter))
            self.network.note_projection(group["params"])

    def _first_moments(self, parameter: Tensor) -> list[Tensor]:
        state = self.optimizer.state.get(parameter, {})
        return [state[key] for key in self._FIRST_MOMENTS if isinstance(state.get(key), Tensor)]


def update_of(optimizer: torch.optim.Optimizer, network: Network) -> ParameterUpdate:
    """The update that leaves parameters what the network holds: `Update` of those with a range, else `WeightUpdate`."""
    return network.answer(_UpdateOf(optimizer))


@dataclass(frozen=True, eq=False)
class _UpdateOf(Question[ParameterUpdate]):
    optimizer: torch.optim.Optimizer

    def network(self, network: Network) -> ParameterUpdate:
        return WeightUpdate(self.optimizer)

    def ranged(self, network: RangedNetwork) -> ParameterUpdate:
        return Update(self.optimizer, network)
