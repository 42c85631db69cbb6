"""Exact gradients of circuits without an energy: asymmetric equilibrium propagation, and the adjoint network."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor

from analog_ep.circuit import Chip
from analog_ep.circuit.adjoint import asymmetric_shares, asymmetric_weights
from analog_ep.circuit.reading import driven
from analog_ep.equilibrium.equilibrium import (
    Equilibrium,
    Solver,
    adjoint_response,
    asymmetric_response,
    solve,
)
from analog_ep.equilibrium.layered.stability import require_stable_nudge
from analog_ep.equilibrium.solver_of import solver_of
from analog_ep.errors import StimulusError
from analog_ep.learning.checkpoint import restore_generator
from analog_ep.learning.gradients.method import SIGNS, PhaseMethod, positive_nudging
from analog_ep.networks import CrossbarNetwork, Network, Question, RangedNetwork
from analog_ep.networks.needs import ranged_of
from analog_ep.stimulus import Cost, Nudge, NudgeKind

AsymmetricVariant = Literal["centered", "positive", "negative", "random", "vanishing"]


class TransposedMethod(PhaseMethod):
    """A free phase, and a second one that obeys the transposed equations of the hardware.

    Parameters
    ----------
    network : RangedNetwork
        A circuit that learns.
    cost, solver, chip
        As of `AdjointNetwork`.

    Raises
    ------
    StimulusError
        If the network is another one.
    """

    follows_cost = True
    needs_no_energy = True

    def __init__(self, network: Network, cost: Cost | None, solver: Solver | None, chip: Chip | None):
        need = f"{type(self).__name__} needs a ResistiveNetwork, a CircuitNetwork or a GateNetwork"
        ranged_of(network, need, "use EquilibriumPropagation, which is exact where there is an energy")
        super().__init__(network, cost)
        self.solver = solver_of(network) if solver is None else solver
        self.chip = chip

    @torch.no_grad()
    def _gradients(
        self, inputs: Tensor, targets: Tensor, free: Equilibrium | None = None
    ) -> tuple[Tensor, dict[str, Tensor]]:
        inputs = driven(inputs, self.chip)
        free = solve(self.network, inputs, solver=self.solver, chip=self.chip) if free is None else free
        targets = targets.to(free.outputs)
        total = self._total(inputs.to(free.layers[0]), targets, free)
        scale = self.network.parameter_scale / max(inputs.shape[:-1].numel(), 1)
        gradients = {
            name: (scale * value).reshape(parameter.shape).to(parameter)
            for name, value in total.items()
            for parameter in (self.network.get_parameter(name),)
        }
        return self.cost.value(free.outputs, targets).mean(), gradients

    @abstractmethod
    def _total(self, inputs: Tensor, targets: Tensor, free: Equilibrium) -> dict[str, Tensor]:
        """Sum over the batch of dC/dp of every physical parameter."""

    def _products(
        self, inputs: Tensor, free: Equilibrium, response: tuple[Tensor, ...], weighted: bool, linear: bool
    ) -> dict[str, Tensor]:
        return self.network.answer(_Products(inputs, free.layers, response, self.chip, weighted, linear))


class AdjointNetwork(TransposedMethod):
    r"""The gradient by the adjoint (inter-reciprocal) network of Director and Rohrer (1969).

    The free phase runs on the hardware, the second one in another circuit of the same graph: `adjoint_network`. The
    currents :math:`-∂C/∂o` into its outputs give the branch voltages μ, and with v those of the free phase

    .. math:: \frac{dC}{dg} = μ v, \qquad \frac{dC}{dp} = \frac{∂i}{∂p} μ

    of a conductance, and of another quantity that learns, such as a gate voltage. No energy is asked for, and there is
    no nudge whose size would count. The hardware has to be two circuits: in the second all amplifiers' gains and
    feedbacks are exchanged, controlled sources run the other way, and its nonlinear branches are conductances set to
    the slopes of the first one.

    Parameters
    ----------
    network : ResistiveNetwork, CircuitNetwork or GateNetwork
        What to train.
    cost : Cost, optional
        C; by default `SquaredError`.
    solver : Solver, optional
        Of both networks; by default that of the kind of network, `solver_of`. `Ngspice` runs the adjoint network as a
        netlist, a run a sample.
    chip : Chip, optional
        Mismatch of the hardware that is trained; the adjoint network has it, too.

    Raises
    ------
    StimulusError
        If the network is another one, or the solver has no adjoint network of it.
    ConvergenceError
        On `gradients`, if the free equilibrium was not reached or its Jacobian is singular.

    References
    ----------
    .. [1] S. W. Director and R. A. Rohrer, "The generalized adjoint network and network sensitivities," IEEE Trans.
       Circuit Theory 16, 318, 1969, doi:10.1109/TCT.1969.1082965.
    """

    def __init__(
        self,
        network: Network,
        cost: Cost | None = None,
        solver: Solver | None = None,
        chip: Chip | None = None,
    ):
        super().__init__(network, cost, solver, chip)

    def _total(self, inputs: Tensor, targets: Tensor, free: Equilibrium) -> dict[str, Tensor]:
        error = self.cost.gradient(free.outputs, targets)
        response = adjoint_response(free, -error, solver=self.solver)
        return self._products(inputs, free, response, weighted=False, linear=True)


class AsymmetricEquilibriumPropagation(TransposedMethod):
    r"""Asymmetric equilibrium propagation (Scurria et al. 2026): exact where there is no energy.

    With f(x) = 0 Kirchhoff's equations, J their Jacobian at the free state x⁰, w the nearest weights of an energy and
    :math:`\tilde J` = diag(w) J, the nudged phase is corrected by the part that is not symmetric,

    .. math:: \operatorname{diag}(w) f(x) + (\tilde J^T - \tilde J)(x - x^0) + w_L β \frac{∂C}{∂x} = 0 ,

    so that its response obeys the transposed Jacobian, and the contrast
    :math:`\frac{w}{w_L} \frac{1}{β} \frac{(v^β)^2 - (v^0)^2}{2}` of equilibrium propagation is the gradient. Where
    there is an energy the correction vanishes; where gains are 1 % off, it is 1 %.

    The hardware has to hold the free state, and to know the part that is not symmetric, element by element: gain and
    feedback of each amplifier, the gain of each one-way source, the slopes of a transistor's current at the free state.
    Conductances and diodes need not be known.

    Parameters
    ----------
    network : ResistiveNetwork, CircuitNetwork or GateNetwork
        What to train.
    nudging : float
        Strength β > 0 of the nudge, as of `EquilibriumPropagation`; the bias is O(β), of the centered variant O(β²).
    cost : Cost, optional
        C; by default `SquaredError`.
    variant : "centered", "positive", "negative", "random" or "vanishing"
        Phases as of `EquilibriumPropagation`; "vanishing" is the limit β → 0, linearised at the free state.
    kind : "frozen" or "elastic"
        Kind of the nudge; see `Nudge`.
    solver : Solver, optional
        By default that of the kind of network, `solver_of`. `Newton` and `Ngspice` solve a circuit of its own for
        every sample.
    chip : Chip, optional
        Mismatch of the hardware that is trained, which the correction knows.
    seed : int
        Seed of the random signs.

    Raises
    ------
    StimulusError
        If the network is another one, `nudging` is not positive, the variant is unknown, or the solver has no such
        phase.
    ConvergenceError
        On `gradients`, if an equilibrium was not reached or is singular, or a nudged one is none of the free state's.
    UnstableNudgeError
        On `gradients`, if a negative elastic nudge is beyond the stable range.

    References
    ----------
    .. [1] A. E. Scurria, D. Vanden Abeele, B. M. Mognetti and S. Massar, "Equilibrium Propagation for Non-Conservative
       Systems," 2026, arXiv:2602.03670.
    """

    def __init__(
        self,
        network: Network,
        nudging: float = 1e-6,
        cost: Cost | None = None,
        variant: AsymmetricVariant = "centered",
        kind: NudgeKind = "frozen",
        solver: Solver | None = None,
        chip: Chip | None = None,
        seed: int = 0,
    ):
        super().__init__(network, cost, solver, chip)
        self.nudging = positive_nudging(network, nudging, "; the variant sets the signs")
        if variant not in get_args(AsymmetricVariant):
            raise StimulusError(f"variant must be one of {', '.join(get_args(AsymmetricVariant))}, found {variant!r}")
        if kind not in get_args(NudgeKind):
            raise StimulusError(f"a nudge is {' or '.join(get_args(NudgeKind))}, found {kind!r}")
        self.variant: AsymmetricVariant = variant
        self.kind: NudgeKind = kind
        self.generator = torch.Generator().manual_seed(seed)

    def _total(self, inputs: Tensor, targets: Tensor, free: Equilibrium) -> dict[str, Tensor]:
        error = -self.cost.gradient(free.outputs, targets)
        if self.variant == "vanishing":
            response = asymmetric_response(free, error, solver=self.solver)
            return self._products(inputs, free, response, weighted=True, linear=True)
        total: dict[str, Tensor] = {}
        strengths = self.strengths()
        for strength in strengths:
            nudge = Nudge(strength, targets, self.cost, self.kind)
            require_stable_nudge(self.network, nudge, [free], self.chip)
            response = asymmetric_response(free, error, nudge, solver=self.solver)
            found = self.network.answer(
                _Products(inputs, free.layers, response, self.chip, weighted=True, linear=False)
            )
            for name, value in found.items():
                value = value / (strength * len(strengths))
                total[name] = total[name] + value if name in total else value
        return total

    def state(self) -> dict[str, Tensor]:
        return {"generator": self.generator.get_state()}

    def load_state(self, state: dict[str, Tensor]) -> None:
        restore_generator(self.generator, state, "the random signs")

    def strengths(self) -> tuple[float, ...]:
        """Signed strengths of the coming batch's nudges; draws the sign of the random variant."""
        if self.variant == "vanishing":
            return ()
        signs = SIGNS[self.variant]
        if self.variant == "random":
            signs = (signs[int(torch.rand((), generator=self.generator) < 0.5)],)
        return tuple(sign * self.nudging for sign in signs)


@dataclass(frozen=True, eq=False)
class _Products(Question[dict[str, Tensor]]):
    """Sum over the batch, by parameter, of what the free and the second phase give for each branch.

    Of a conductance (v + d/2) d, or v d where `linear` is set, v being the free voltage and d that of the second phase;
    times w/w_L where `weighted`. Rows follow their amplifiers: those of the second phase by the exchanged gains.
    """

    inputs: Tensor
    layers: tuple[Tensor, ...]
    response: tuple[Tensor, ...]
    chip: Chip | None
    weighted: bool
    linear: bool

    def network(self, network: Network) -> dict[str, Tensor]:
        raise StimulusError(f"branch products need a circuit that learns, found a {type(network).__name__}")

    def ranged(self, network: RangedNetwork) -> dict[str, Tensor]:
        nominal, shares = network.circuit(), {}
        if self.weighted:
            shares = asymmetric_shares(nominal, asymmetric_weights(nominal))
        volts, change = (
            state[0].reshape(-1, state[0].shape[-1]).to("cpu", torch.float64).numpy()
            for state in (self.layers, self.response)
        )
        total = {name: torch.zeros(theta.numel(), dtype=torch.float64) for name, theta in network.named_parameters()}
        for group in network.circuit(self.chip).learning_groups():
            own, moved = ([state[:, p] - state[:, n] for p, n in group.controls()] for state in (volts, change))
            each = group.contrast(own, moved, self.linear).sum(0) * shares.get(group.label, 1.0)
            total[str(group.parameter)].index_add_(0, torch.tensor(group.index), torch.from_numpy(each))
        return total

    def crossbars(self, network: CrossbarNetwork) -> dict[str, Tensor]:
        shares = network.weight_ratios if self.weighted else (1.0,) * network.n_stages
        half = 0.0 if self.linear else 0.5
        rows, moved, total = self.inputs, None, {}
        for s, (layout, stage) in enumerate(zip(network.layouts, network.stages(self.chip), strict=True)):
            if s:
                _, offset = network.amplifiers(s, self.chip, self.layers[s - 1])
                gain, feedback = network.couplings[s]
                moved = stage.feedback / (feedback / gain if self.weighted else 1.0) * self.response[s - 1]
                rows = stage.gain * (self.layers[s - 1] + offset) + half * moved
            change = shares[s] * self.response[s]
            middle = self.layers[s] + half * self.response[s]
            driven_change = None if moved is None else shares[s] * moved
            if layout.learns:
                total[layout.label] = network.crossbar(s, self.chip).contrast(rows, driven_change, middle, change)
        return total
