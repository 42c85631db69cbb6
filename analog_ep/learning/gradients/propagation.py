"""Equilibrium propagation: the gradient of the cost from the free and the nudged phases alone."""

from __future__ import annotations

import copy
import math
from abc import ABC, abstractmethod
from typing import ClassVar, Literal, Self

import torch
from torch import Tensor

from analog_ep.circuit import Chip, Circuit
from analog_ep.circuit.reading import driven
from analog_ep.equilibrium.equilibrium import Equilibrium, Solver, linear_response, solve
from analog_ep.equilibrium.layered.stability import require_stable_nudge
from analog_ep.equilibrium.solver_of import solver_of
from analog_ep.errors import CheckpointError, ConvergenceError, StimulusError
from analog_ep.learning.checkpoint import restore_generator
from analog_ep.learning.gradients.measured import Measurement
from analog_ep.networks import Network
from analog_ep.networks.needs import conductances_of
from analog_ep.stimulus import Cost, Nudge, NudgeKind, SquaredError, as_number, require_finite, require_strength

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
    def free_solver(self) -> Solver:
        """What finds the free states that it begins with."""
        return solver_of(self.network)

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


class EquilibriumPropagation(PhaseMethod):
    r"""Equilibrium propagation with finite nudges (Scellier & Bengio 2017; Kendall et al. 2020).

    With v the voltage across a conductance of stage s in the phase with nudging β,

    .. math:: \frac{dC}{dg} = \lim_{β→0} \frac{w_s}{w_L} \frac{1}{β} \frac{(v^β)^2 - (v^0)^2}{2}

    and for the weight that joins two units of a Hopfield network, a symmetric pair W_ij = W_ji as one parameter [1]_,

    .. math:: \frac{dC}{dW_{ij}} = -\lim_{β→0} \frac{1}{β} \left[ ρ(u_i^β) ρ(u_j^β) - ρ(u_i^0) ρ(u_j^0) \right]

    The differences are formed from the response, as (v^β − v^0) (v^β + v^0)/2.

    Parameters
    ----------
    network : Network
        What to train.
    nudging : float
        Strength β > 0 of the nudge; [S] for `SquaredError`, [A·V] for `CrossEntropy`. The bias is O(β) for the
        one-sided variants and O(β²) for the centered one.
    cost : Cost, optional
        C; by default `SquaredError`.
    variant : "positive", "negative", "centered" or "random"
        Phases (0, β), (−β, 0), (−β, β), or (0, ±β) with a random sign each batch.
    kind : "frozen" or "elastic"
        Kind of the nudge; see `Nudge`.
    solver : Solver, optional
        By default that of the kind of network, `solver_of`.
    chip : Chip, optional
        The hardware that is trained; the gradient is then formed from what it can measure, see `Measurement`.
    known : Chip, optional
        What is known of the chip, and corrected for.
    seed : int
        Seed of the random signs and of the converters' noise.

    Raises
    ------
    StimulusError
        If `nudging` is not positive or the variant is unknown; on `gradients` if a chip is given for a network that is
        no circuit of conductances.
    UnstableNudgeError
        On `gradients`, if a negative elastic nudge is beyond the stable range.

    References
    ----------
    .. [1] B. Scellier and Y. Bengio, "Equilibrium Propagation," Front. Comput. Neurosci. 11:24, 2017,
       arXiv:1602.05179, Theorem 1.
    .. [2] A. Laborieux et al., "Scaling Equilibrium Propagation to Deep ConvNets," 2021, arXiv:2006.03824, for the
       centered variant.
    """

    follows_cost = True

    def __init__(
        self,
        network: Network,
        nudging: float,
        cost: Cost | None = None,
        variant: Variant = "centered",
        kind: NudgeKind = "frozen",
        solver: Solver | None = None,
        chip: Chip | None = None,
        known: Chip | None = None,
        seed: int = 0,
    ):
        super().__init__(network, cost)
        self.nudging = positive_nudging(network, nudging, "; the variant sets the signs")
        if variant not in SIGNS:
            raise StimulusError(f"variant must be positive, negative, centered or random, found {variant!r}")
        self.variant: Variant = variant
        self.kind: NudgeKind = kind
        self.solver = solver_of(network) if solver is None else solver
        self.chip, self.known = chip, known
        self.generator = torch.Generator().manual_seed(seed)

    def _gradients(
        self, inputs: Tensor, targets: Tensor, free: Equilibrium | None = None
    ) -> tuple[Tensor, dict[str, Tensor]]:
        strengths = self.strengths()
        if self.chip is not None:
            if free is not None:
                raise StimulusError("the free phase of a chip is measured, and cannot be given")
            return self._measurement(self.chip).gradients(inputs, targets, strengths)
        free = solve(self.network, inputs, solver=self.solver) if free is None else free
        total: dict[str, Tensor] = {}
        for strength in strengths:
            nudge = Nudge(strength, targets, self.cost, self.kind)
            require_stable_nudge(self.network, nudge, [free])
            nudged = solve(self.network, inputs, nudge, solver=self.solver, start=free)
            require_stable_nudge(self.network, nudge, [nudged])
            weight = 1 / (strength * len(strengths))
            _accumulate(total, weight, self._contrast(inputs, free, nudged.response(about=free)))
        return self.cost.value(free.outputs, targets.to(free.outputs)).mean(), _mean(self.network, total, inputs)

    def _measurement(self, chip: Chip) -> Measurement:
        need = "a chip needs a ResistiveNetwork or a CircuitNetwork"
        network = conductances_of(self.network, need, "leave the chip out")
        return Measurement(network, chip, self.cost, self.kind, self.solver, self.known, self.generator)

    def _contrast(self, inputs: Tensor, free: Equilibrium, response: tuple[Tensor, ...]) -> dict[str, Tensor]:
        return self.network.contrast(inputs.to(free.layers[0]), free.layers, response)

    def state(self) -> dict[str, Tensor]:
        return {"generator": self.generator.get_state()}

    def load_state(self, state: dict[str, Tensor]) -> None:
        restore_generator(self.generator, state, "the random signs")

    def strengths(self) -> tuple[float, ...]:
        """Signed strengths of the coming batch's nudges; draws the sign of the random variant."""
        signs = SIGNS[self.variant]
        if self.variant == "random":
            signs = (signs[int(torch.rand((), generator=self.generator) < 0.5)],)
        return tuple(sign * self.nudging for sign in signs)


class SmallSignal(PhaseMethod):
    """Equilibrium propagation in the limit β → 0: the response linearised at the free state.

    One linear solve takes the place of the nudged phases, and there is no bias in β.

    Parameters
    ----------
    network : Network
        What to train.
    cost : Cost, optional
        C; by default `SquaredError`.
    solver : Solver, optional
        By default that of the kind of network, `solver_of`; `Newton` linearises by its Jacobian, `Ngspice` by ``.ac``.
    chip : Chip, optional
        Mismatch of the hardware that is trained.
    """

    follows_cost = True

    def __init__(
        self,
        network: Network,
        cost: Cost | None = None,
        solver: Solver | None = None,
        chip: Chip | None = None,
    ):
        super().__init__(network, cost)
        self.solver = solver_of(network) if solver is None else solver
        self.chip = chip

    def _gradients(
        self, inputs: Tensor, targets: Tensor, free: Equilibrium | None = None
    ) -> tuple[Tensor, dict[str, Tensor]]:
        network = self.network
        inputs = driven(inputs, self.chip)
        free = solve(network, inputs, solver=self.solver, chip=self.chip) if free is None else free
        targets = targets.to(free.outputs)
        response = linear_response(free, -self.cost.gradient(free.outputs, targets), solver=self.solver)
        contrast = network.contrast(inputs.to(free.outputs), free.layers, response, linear=True)
        return self.cost.value(free.outputs, targets).mean(), _mean(network, contrast, inputs)


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


def _accumulate(total: dict[str, Tensor], weight: float, contrast: dict[str, Tensor]) -> None:
    for name, value in contrast.items():
        value.mul_(weight)
        total[name] = total[name].add_(value) if name in total else value


def _mean(network: Network, total: dict[str, Tensor], inputs: Tensor) -> dict[str, Tensor]:
    """Per sample, and by the dimensionless parameter, in the parameters' own dtype."""
    scale = network.parameter_scale / max(inputs.shape[:-1].numel(), 1)
    return {name: value.mul_(scale).to(network.get_parameter(name)) for name, value in total.items()}
