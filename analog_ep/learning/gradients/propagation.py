"""Equilibrium propagation: the gradient of the cost from the free and the nudged phases alone."""

from __future__ import annotations

import torch
from torch import Tensor

from analog_ep.circuit import Chip
from analog_ep.circuit.reading import driven
from analog_ep.equilibrium.equilibrium import Equilibrium, Solver, linear_response, solve
from analog_ep.equilibrium.layered.stability import require_stable_nudge
from analog_ep.equilibrium.solver_of import solver_of
from analog_ep.errors import StimulusError
from analog_ep.learning.checkpoint import restore_generator
from analog_ep.learning.gradients.measured import Measurement
from analog_ep.learning.gradients.method import (
    SIGNS,
    PhaseMethod,
    Variant,
    accumulate,
    mean_gradients,
    positive_nudging,
)
from analog_ep.networks import Network
from analog_ep.networks.needs import ranged_of
from analog_ep.stimulus import Cost, Nudge, NudgeKind


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
        no circuit of conductances or gates.
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
            accumulate(total, weight, self._contrast(inputs, free, nudged.response(about=free)))
        return self.cost.value(free.outputs, targets.to(free.outputs)).mean(), mean_gradients(
            self.network, total, inputs
        )

    def _measurement(self, chip: Chip) -> Measurement:
        need = "a chip needs a ResistiveNetwork, a CircuitNetwork or a GateNetwork"
        network = ranged_of(self.network, need, "leave the chip out")
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
        return self.cost.value(free.outputs, targets).mean(), mean_gradients(network, contrast, inputs)
