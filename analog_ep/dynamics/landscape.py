"""The nudged energy of a network at states away from equilibrium: what Langevin dynamics walks on."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor

from analog_ep.equilibrium.layered.resistive_layers import Ladder
from analog_ep.equilibrium.layered.stability import output_impedance
from analog_ep.errors import StimulusError, UnstableNudgeError
from analog_ep.networks import CrossbarNetwork, Network, Question, UnitNetwork
from analog_ep.stimulus import Cost


class Landscape(ABC):
    r"""F = E + w_L β C of one network, for fixed inputs and targets.

    States are flat, `(*chains, n_units)`, the layers one after the other; `chains` broadcasts with
    `(n_phases, n_samples, n_chains)`.

    Parameters
    ----------
    network : Network
        What has the energy.
    inputs : Tensor (n_samples, n_inputs)
        Inputs.
    targets : Tensor (n_samples, n_outputs)
        Targets of the cost.
    cost : Cost
        C.
    nudging : Tensor (n_phases,)
        β of each phase; the nudge is elastic.

    Attributes
    ----------
    sizes : list of int
        Units of each layer.
    mobility : Tensor (n_units,)
        m in du/dt = −m ∂F/∂u: 1 over the layer's weight, and over the capacitance, which is 1 here.
    stiffness : float
        A scale for m ∂²F/∂u², from which a step begins.
    """

    sizes: list[int]
    mobility: Tensor
    stiffness: float

    def __init__(self, network: Network, inputs: Tensor, targets: Tensor, cost: Cost, nudging: Tensor):
        self.network, self.cost = network, cost
        self.inputs, self.targets = inputs[:, None], targets[:, None].to(inputs)
        self.nudging = nudging.to(inputs)[:, None, None]

    def layers(self, state: Tensor) -> tuple[Tensor, ...]:
        """The state by layers."""
        return state.split(self.sizes, -1)

    def costs(self, state: Tensor) -> Tensor:
        """C, `(*chains,)`."""
        return self.cost.value(self.network.outputs_of(self.layers(state)), self.targets)

    @torch.no_grad()
    def energy(self, state: Tensor) -> Tensor:
        """F, `(*chains,)`."""
        return self.network.energy(self.inputs, self.layers(state)) + self.output_weight * self.nudging * self.costs(
            state
        )

    @abstractmethod
    def force(self, state: Tensor) -> Tensor:
        """−∂F/∂u, `(*chains, n_units)`."""

    @property
    def output_weight(self) -> float:
        """w_L, the factor between β C and the energy."""
        return 1.0

    def _pull(self, layers: tuple[Tensor, ...]) -> Tensor:
        """−β ∂C/∂o."""
        return -self.nudging[..., None] * self.cost.gradient(self.network.outputs_of(layers), self.targets)


class ResistiveLandscape(Landscape):
    """Of a `ResistiveNetwork` whose diodes have a finite current at every voltage. Energies in watts.

    Raises
    ------
    StimulusError
        If the diodes are ideal: their energy is infinite beyond the clamp.
    UnstableNudgeError
        If a negative nudge leaves the energy without a lower bound.
    """

    def __init__(self, network: CrossbarNetwork, inputs: Tensor, targets: Tensor, cost: Cost, nudging: Tensor):
        super().__init__(network, inputs, targets, cost, nudging)
        self.stages = network.stages()
        self.clamps = network.layer_clamps(inputs)
        if any(clamp is not None and not clamp.has_current for clamp in self.clamps):
            raise StimulusError(
                "Langevin dynamics needs diodes with a finite current, found ideal ones; "
                "use ShockleyDiode or PiecewiseLinearDiode"
            )
        self.sizes = [len(stage.total) for stage in self.stages]
        self.weights = [ratio / network.weight_ratios[0] for ratio in network.weight_ratios]
        weight = torch.cat([torch.full_like(s.total, w) for s, w in zip(self.stages, self.weights, strict=True)])
        self.mobility = 1 / weight
        self.stiffness = max(float(stage.total.max()) for stage in self.stages)
        self._require_bounded(network)

    def _require_bounded(self, network: CrossbarNetwork) -> None:
        strongest = float(-self.nudging.min())
        if strongest <= 0:
            return
        ladder = Ladder.of(network, self.inputs[0].double())
        impedance = float(torch.linalg.eigvals(output_impedance(ladder)).real.max())
        critical = 1 / (impedance * self.cost.curvature_bound)
        if strongest >= critical:
            raise UnstableNudgeError(
                f"a negative nudge of a stationary distribution must be weaker than {critical:.3g}, "
                f"found {strongest:.3g}: beyond it nothing holds the outputs; lower the nudging"
            )

    @property
    def output_weight(self) -> float:
        return self.weights[-1]

    def force(self, state: Tensor) -> Tensor:
        layers = self.layers(state)
        parts = [weight * self._current(k, layers) for k, weight in enumerate(self.weights)]
        pull = self.output_weight * self._pull(layers)
        parts[-1] = parts[-1] + torch.cat([pull, -pull], -1)
        return torch.cat(parts, -1)

    def _current(self, k: int, layers: tuple[Tensor, ...]) -> Tensor:
        """Net current into the nodes of layer k. [A]"""
        stage, layer, clamp = self.stages[k], layers[k], self.clamps[k]
        current = stage.forward(layers[k - 1] if k else self.inputs) - stage.total * layer
        if k + 1 < len(layers):
            after = self.stages[k + 1]
            current = current + after.backward(layers[k + 1]) - after.input_load * layer
        return current if clamp is None else current - clamp.current(layer)


class HopfieldLandscape(Landscape):
    """Of a `HopfieldNetwork` with a smooth activation, whose states are free.

    Raises
    ------
    StimulusError
        If the activation keeps states within bounds, where the dynamics would have to be reflected.
    UnstableNudgeError
        If a negative nudge is not weaker than the leak of the outputs.
    """

    def __init__(self, network: UnitNetwork, inputs: Tensor, targets: Tensor, cost: Cost, nudging: Tensor):
        super().__init__(network, inputs, targets, cost, nudging)
        if network.activation.bounds is not None or network.activation.clamp is not None:
            raise StimulusError(
                f"Langevin dynamics needs states without bounds, found {type(network.activation).__name__}; "
                "use sigmoid or tanh"
            )
        self.hopfield = network
        self.sizes = list(network.sizes[1:])
        self.mobility = torch.ones(sum(self.sizes)).to(inputs)
        self.stiffness = 1.0 + float(self.nudging.max().clamp(min=0)) * cost.curvature_bound
        strongest = float(-self.nudging.min()) * cost.curvature_bound
        if strongest >= 1:
            raise UnstableNudgeError(
                f"a negative nudge of a stationary distribution must be weaker than {1 / cost.curvature_bound:.3g}, "
                f"found {float(-self.nudging.min()):.3g}: beyond it nothing holds the outputs; lower the nudging"
            )

    @torch.no_grad()
    def force(self, state: Tensor) -> Tensor:
        layers = self.layers(state)
        forces = list(self.hopfield.force(self.inputs, layers))
        forces[-1] = forces[-1] + self._pull(layers)
        return torch.cat(forces, -1)


def landscape_of(network: Network, inputs: Tensor, targets: Tensor, cost: Cost, nudging: Tensor) -> Landscape:
    """The landscape of a network, see `Landscape`.

    Raises
    ------
    StimulusError
        If there is none for this kind of network.
    """
    return network.answer(_LandscapeOf(inputs, targets, cost, nudging))


@dataclass(frozen=True, eq=False)
class _LandscapeOf(Question[Landscape]):
    inputs: Tensor
    targets: Tensor
    cost: Cost
    nudging: Tensor

    def network(self, network: Network) -> Landscape:
        raise StimulusError(
            f"Langevin dynamics needs a ResistiveNetwork or HopfieldNetwork, found a {type(network).__name__}; any "
            "other circuit fluctuates in ngspice alone: transient_noise"
        )

    def crossbars(self, network: CrossbarNetwork) -> Landscape:
        return ResistiveLandscape(network, self.inputs, self.targets, self.cost, self.nudging)

    def units(self, network: UnitNetwork) -> Landscape:
        return HopfieldLandscape(network, self.inputs, self.targets, self.cost, self.nudging)
