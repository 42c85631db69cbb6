"""What a gradient method is: it finds dC/dθ of a network, most of them from phases of the hardware."""

from __future__ import annotations

import copy
import math
from abc import ABC, abstractmethod
from typing import ClassVar, Literal, Self

from torch import Tensor

from analog_ep.circuit import Circuit
from analog_ep.equilibrium.equilibrium import Equilibrium, Solver
from analog_ep.errors import CheckpointError, ConvergenceError, StimulusError
from analog_ep.networks import Network
from analog_ep.stimulus import Cost, NudgeKind, SquaredError, as_number, require_finite, require_strength

Variant = Literal["positive", "negative", "centered", "random"]

SIGNS: dict[Variant, tuple[int, ...]] = {
    "positive": (1,),
    "negative": (-1,),
    "centered": (-1, 1),
    "random": (-1, 1),
}
"""Signs of a variant's nudges; "random" draws one of its two for each batch."""


class GradientMethod(ABC):
    """Finds dC/dθ of a network and leaves it in `.grad`, so that any optimiser of `torch.optim` works on top."""

    def __init__(self, network: Network, cost: Cost | None = None):
        if not isinstance(network, Network):
            advice = "make one of it: CircuitNetwork(circuit, bounds)" if isinstance(network, Circuit) else "give one"
            raise StimulusError(f"a gradient method needs a network, found a {type(network).__name__}; {advice}")
        self.network = network
        self.cost = SquaredError() if cost is None else cost

    def gradients(self, inputs: Tensor, targets: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Mean cost over the batch, and the gradient of it by every dimensionless parameter, by name.

        Arrays and numbers of any real type are taken in the network's precision; nothing is broadcast.

        Parameters
        ----------
        inputs : Tensor (*batch, n_inputs)
            Inputs. [V]
        targets : Tensor (*batch, n_outputs)
            Targets of the cost, of each sample; `Cost.encode` makes them of classes.

        Raises
        ------
        StimulusError
            If inputs or targets are not finite, do not fit the network or each other, or hold no sample.
        ConvergenceError
            If an equilibrium was not reached, or the cost is beyond the range of the numbers.
        """
        return _finite(self._gradients(*self.network.stimulus(inputs, targets)))

    @abstractmethod
    def _gradients(self, inputs: Tensor, targets: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """`gradients`, of inputs and targets that fit the network and are in its precision."""

    follows_cost: ClassVar[bool] = False
    """Whether it tends to the cost's own gradient as nudges vanish, so that the exact one judges it."""

    needs_no_energy: ClassVar[bool] = False
    """Whether it does so where there is no energy, too."""

    def on(self, network: Network, solver: Solver) -> Self:
        """The same method on another network, with another solver where it takes any."""
        twin = copy.copy(self)
        twin.network = network
        return twin

    @property
    def free_solver(self) -> Solver | None:
        """What finds the free states that it begins with; None for the network's own."""
        return None

    def free_phases(self) -> PhaseMethod:
        """Itself, as a method whose free phase can be given.

        Raises
        ------
        StimulusError
            If it is none.
        """
        raise StimulusError(f"persistent states need free and nudged phases, found {type(self).__name__}")

    def class_scores(self, inputs: Tensor) -> Tensor | None:
        """Scores of the classes by a model of its own, `(n_samples, n_classes)`; None where the outputs are these."""
        return None

    def state(self) -> dict[str, Tensor]:
        """What the next gradient depends on beyond the network, by name: none unless a method says otherwise."""
        return {}

    def load_state(self, state: dict[str, Tensor]) -> None:
        """Restore what `state` gave.

        Raises
        ------
        CheckpointError
            If something is missing, or is another method's.
        """
        if state:
            raise CheckpointError(f"{type(self).__name__} has no state of its own, found {min(state)}")

    def backward(self, inputs: Tensor, targets: Tensor) -> Tensor:
        """Add the gradient to each parameter's `.grad` and return the mean cost, a scalar."""
        cost, gradients = self.gradients(inputs, targets)
        self._add(gradients)
        return cost

    def _add(self, gradients: dict[str, Tensor]) -> None:
        for name, gradient in gradients.items():
            parameter = self.network.get_parameter(name)
            parameter.grad = gradient if parameter.grad is None else parameter.grad + gradient


class PhaseMethod(GradientMethod):
    """A method that begins with the free phase, which can also be given."""

    solver: Solver
    kind: NudgeKind = "frozen"
    """Of the nudges that it gives."""

    def strengths(self) -> tuple[float, ...]:
        """Signed strengths of the coming batch's nudges; none in the limit of vanishing ones."""
        return ()

    def on(self, network: Network, solver: Solver) -> Self:
        twin = super().on(network, solver)
        twin.solver = solver
        return twin

    @property
    def free_solver(self) -> Solver:
        return self.solver

    def free_phases(self) -> PhaseMethod:
        return self

    def gradients(
        self, inputs: Tensor, targets: Tensor, free: Equilibrium | None = None
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """As `GradientMethod.gradients`; `free` is the free equilibrium, where it is known."""
        inputs, targets = self.network.stimulus(inputs, targets)
        if free is not None:
            require_finite("inputs", inputs)
            if free.outputs.shape != targets.shape:
                shapes = f"shape {tuple(targets.shape)}, found {tuple(free.outputs.shape)}"
                raise StimulusError(f"the free state must be that of these samples, with outputs of {shapes}")
        return _finite(self._gradients(inputs, targets, free))

    @abstractmethod
    def _gradients(
        self, inputs: Tensor, targets: Tensor, free: Equilibrium | None = None
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """`gradients`, of inputs and targets that fit the network and are in its precision."""

    def backward(self, inputs: Tensor, targets: Tensor, free: Equilibrium | None = None) -> Tensor:
        """As `GradientMethod.backward`; `free` is the free equilibrium, where it is known."""
        cost, gradients = self.gradients(inputs, targets, free)
        self._add(gradients)
        return cost


def positive_nudging(network: Network, nudging: float, advice: str = "") -> float:
    """A strength β > 0 whose response the network's precision can hold, or `StimulusError`."""
    number = as_number("nudging", nudging)
    if not 0 < number < math.inf:
        raise StimulusError(f"nudging must be positive and finite, found {nudging}{advice}")
    require_strength(number, network.precision().dtype)
    return number


def _finite(found: tuple[Tensor, dict[str, Tensor]]) -> tuple[Tensor, dict[str, Tensor]]:
    """Cost and gradients, or `ConvergenceError` where the cost is beyond the range of the numbers."""
    cost = float(found[0])
    if not math.isfinite(cost):
        raise ConvergenceError(
            f"the cost must stay finite, found {cost} in {found[0].dtype}; lower inputs and targets, or learn slower"
        )
    return found


def accumulate(total: dict[str, Tensor], weight: float, contrast: dict[str, Tensor]) -> None:
    """Add a weighted contrast, which is overwritten, to a sum by parameter."""
    for name, value in contrast.items():
        value.mul_(weight)
        total[name] = total[name].add_(value) if name in total else value


def mean_gradients(network: Network, total: dict[str, Tensor], inputs: Tensor) -> dict[str, Tensor]:
    """Per sample, and by the dimensionless parameter, in the parameters' own dtype."""
    scale = network.parameter_scale / max(inputs.shape[:-1].numel(), 1)
    return {name: value.mul_(scale).to(network.get_parameter(name)) for name, value in total.items()}
