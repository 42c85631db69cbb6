"""Whether PyTorch and ngspice agree on a network: every node, both phases, and the gradient."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import overload

import torch
from torch import Tensor

from analog_ep.checking.agreement import RESOLVED, Classes, CrossCheck, Tolerances
from analog_ep.checking.hopfield_agreement import HopfieldCrossCheck, HopfieldTolerances
from analog_ep.checking.hopfield_check import hopfield_cross_check
from analog_ep.circuit import Chip
from analog_ep.circuit.energy import why_irreciprocal
from analog_ep.equilibrium.equilibrium import Equilibrium, Solver, solve
from analog_ep.equilibrium.layered.resistive_layers import Ladder
from analog_ep.equilibrium.ngspice import Ngspice
from analog_ep.equilibrium.solver_of import solver_of
from analog_ep.errors import StimulusError
from analog_ep.learning.gradients.branch_gradient import Likeness, branch_gradient, likeness, likenesses
from analog_ep.learning.gradients.implicit import ImplicitDifferentiation, implicit_gradients
from analog_ep.learning.gradients.method import GradientMethod, positive_nudging
from analog_ep.learning.gradients.propagation import EquilibriumPropagation
from analog_ep.networks import (
    CrossbarNetwork,
    HardwareNetwork,
    Network,
    Question,
    UnitNetwork,
)
from analog_ep.stimulus import Cost, Nudge, NudgeKind, SquaredError

_CONDUCTS = 0.01
"""A diode counts as conducting where its slope is this share of the other conductances at its node."""


@overload
def cross_check(
    network: UnitNetwork,
    inputs: Tensor,
    targets: Tensor,
    *,
    nudging: float,
    cost: Cost | None = None,
    kind: NudgeKind = "frozen",
    chip: None = None,
    reference: Solver | None = None,
    tolerances: HopfieldTolerances | None = None,
) -> HopfieldCrossCheck: ...


@overload
def cross_check(
    network: HardwareNetwork,
    inputs: Tensor,
    targets: Tensor,
    *,
    nudging: float,
    cost: Cost | None = None,
    kind: NudgeKind = "frozen",
    chip: Chip | None = None,
    reference: Solver | None = None,
    tolerances: Tolerances | None = None,
    method: GradientMethod | None = None,
) -> CrossCheck: ...


def cross_check(
    network: HardwareNetwork,
    inputs: Tensor,
    targets: Tensor,
    *,
    nudging: float,
    cost: Cost | None = None,
    kind: NudgeKind = "frozen",
    chip: Chip | None = None,
    reference: Solver | None = None,
    tolerances: Tolerances | HopfieldTolerances | None = None,
    method: GradientMethod | None = None,
) -> CrossCheck | HopfieldCrossCheck:
    """Compare PyTorch with ngspice node by node, in the free and both nudged phases, and the gradients that follow.

    ngspice starts from nothing of PyTorch's, and forms its own nudges of its own outputs. Voltages and responses are
    compared with those of a copy in float64 with the elements of the netlist, in which piecewise-linear diodes stand
    for ideal ones. The network as it is, in its own dtype and with its own diodes, is then compared with what ngspice
    finds: its free voltages, its classes, and the gradient by the method that trains it. A Hopfield network is compared
    in another way, since its energy has several minima: see `hopfield_cross_check`.

    Parameters
    ----------
    network : HardwareNetwork
        It is not changed.
    inputs, targets : Tensor (n_samples, n_inputs), (n_samples, n_outputs)
        Inputs [V], and targets of the cost; one-hot classes count for predictions.
    nudging, cost, kind : float, Cost, "frozen" or "elastic"
        Strength β > 0 of the phases at −β and +β, what it multiplies, by default `SquaredError`, and how.
    chip : Chip, optional
        Mismatch of the hardware.
    reference : Solver, optional
        By default `Ngspice(forms_nudges=True)`, and `NgspiceSettling()` for a Hopfield network.
    tolerances : Tolerances or HopfieldTolerances, optional
        What counts as agreement.
    method : GradientMethod, optional
        Of `network`, with the solver that trains it; by default `EquilibriumPropagation` with these nudges, and
        `ImplicitDifferentiation` where the network has no energy and its contrast was not asked for. One that does not
        follow the cost's gradient, such as `CoupledLearning`, is compared with itself in float64.

    Raises
    ------
    StimulusError
        If a Hopfield network comes with a chip or a method, or tolerances are those of another kind of network.
    ConvergenceError, NgspiceError
        If a solver finds no state of a sample.
    """
    nudging = positive_nudging(network, nudging)
    inputs, targets = network.stimulus(inputs, targets)
    nudges = Nudges(nudging, SquaredError() if cost is None else cost, kind)
    return network.answer(_Checked(inputs, targets, nudges, chip, reference, tolerances, method))


@dataclass(frozen=True)
class Nudges:
    """A pair of nudges ∓β of one kind."""

    nudging: float
    cost: Cost
    kind: NudgeKind

    def phases(
        self, network: HardwareNetwork, inputs: Tensor, targets: Tensor, chip: Chip | None, solver: Solver
    ) -> list[Equilibrium]:
        """The free state, and those nudged by −β and +β."""
        free = solve(network, inputs, solver=solver, chip=chip)
        return [free] + [
            solve(network, inputs, Nudge(strength, targets, self.cost, self.kind), solver=solver, start=free, chip=chip)
            for strength in (-self.nudging, self.nudging)
        ]

    def method(self, network: HardwareNetwork, chip: Chip | None) -> EquilibriumPropagation:
        """Equilibrium propagation with these nudges, on hardware of which all is known."""
        return EquilibriumPropagation(network, self.nudging, self.cost, kind=self.kind, chip=chip, known=chip)

    def gradients(
        self, network: HardwareNetwork, inputs: Tensor, targets: Tensor, chip: Chip | None, free: Equilibrium
    ) -> dict[str, Tensor]:
        """dC/dp by `method`. [C/S] The free state is known; that of a chip is measured anew."""
        method = self.method(network, chip)
        _, gradients = method.gradients(inputs, targets, free if chip is None else None)
        return {name: gradient / network.parameter_scale for name, gradient in gradients.items()}

    def method_that_trains(self, network: HardwareNetwork, chip: Chip | None) -> GradientMethod:
        """`method`, or implicit differentiation where the network forms no contrast."""
        if network.has_contrast:
            return self.method(network, chip)
        return ImplicitDifferentiation(network, self.cost, chip=chip)


@dataclass(frozen=True, eq=False)
class _Checked(Question[CrossCheck | HopfieldCrossCheck]):
    """The comparison of a network, by the node or by the minimum."""

    inputs: Tensor
    targets: Tensor
    nudges: Nudges
    chip: Chip | None
    reference: Solver | None
    tolerances: Tolerances | HopfieldTolerances | None
    method: GradientMethod | None

    def network(self, network: Network) -> CrossCheck:
        raise StimulusError(f"a cross-check needs a network that is a circuit, found a {type(network).__name__}")

    def circuit(self, network: HardwareNetwork) -> CrossCheck:
        tolerances = Tolerances() if self.tolerances is None else self.tolerances
        if not isinstance(tolerances, Tolerances):
            raise _other_tolerances("Tolerances", tolerances)
        ngspice = Ngspice(forms_nudges=True) if self.reference is None else self.reference
        return _compared(network, self.inputs, self.targets, self.nudges, self.chip, ngspice, tolerances, self.method)

    def units(self, network: UnitNetwork) -> HopfieldCrossCheck:
        tolerances = HopfieldTolerances() if self.tolerances is None else self.tolerances
        if not isinstance(tolerances, HopfieldTolerances):
            raise _other_tolerances("HopfieldTolerances", tolerances)
        if self.chip is not None:
            raise StimulusError("the cross-check of a HopfieldNetwork knows no chip's mismatch; leave the chip out")
        if self.method is not None:
            raise StimulusError(
                "the cross-check of a HopfieldNetwork compares equilibrium propagation with the energy's derivatives; "
                "leave the method out"
            )
        nudging, cost, kind = self.nudges.nudging, self.nudges.cost, self.nudges.kind
        return hopfield_cross_check(
            network,
            self.inputs,
            self.targets,
            strengths=(-nudging, nudging),
            cost=cost,
            kind=kind,
            settling=self.reference,
            tolerances=tolerances,
        )


def _other_tolerances(wanted: str, found: object) -> StimulusError:
    return StimulusError(f"tolerances of this network must be {wanted}, found {type(found).__name__}")


def _compared(
    network: HardwareNetwork,
    inputs: Tensor,
    targets: Tensor,
    nudges: Nudges,
    chip: Chip | None,
    reference: Solver,
    tolerances: Tolerances,
    method: GradientMethod | None,
) -> CrossCheck:
    hardware = _as_read(chip)
    method = nudges.method_that_trains(network, hardware) if method is None else method
    twin, (inputs, targets) = network.as_built().as_measured(), (t.to("cpu", torch.float64) for t in (inputs, targets))
    ours, theirs = (nudges.phases(twin, inputs, targets, chip, solver) for solver in (solver_of(twin), reference))
    free, free_spice = ours[0], theirs[0]
    circuit, nominal = twin.circuit(chip), twin.circuit()
    irreciprocity = why_irreciprocal(circuit, nominal)
    lower, upper = (state.voltages.numpy() for state in theirs[1:])
    found = branch_gradient(nominal, lower, upper, 2 * nudges.nudging)
    exact = implicit_gradients(circuit, nudges.cost, inputs, targets)
    trained = _as_trained(network, inputs, method, chip)
    pairs = likenesses(found, nudges.gradients(twin, inputs, targets, hardware, free)), likenesses(found, exact)
    clamps = network.answer(_ClampFigures(inputs, free_spice, chip))
    return CrossCheck(
        max_voltage_error=max(_largest(a.voltages - b.voltages) for a, b in zip(ours, theirs, strict=True)),
        max_response_error=max(
            _response_error(a.response(free), b.response(free_spice)) for a, b in zip(ours[1:], theirs[1:], strict=True)
        ),
        gradients={name: (pairs[0][name], pairs[1][name]) for name in found},
        method=_judged(method, twin, inputs, targets, exact),
        method_name=type(method).__name__,
        trained_error=max(
            _largest(a.double().cpu() - b) / max(_largest(b), RESOLVED)
            for a, b in zip(trained.layers, free_spice.layers, strict=True)
        ),
        classes=Classes.of(trained.outputs, free_spice.outputs, targets),
        samples=len(inputs),
        nodes=free_spice.voltages.shape[-1] - 1,
        hidden_swing=tuple(float((v.amax(0) - v.amin(0)).median()) for v in free_spice.layers[:-1]),
        conducting=clamps.conducting,
        clamp_distance=max((beyond for beyond, _ in clamps.beyond), default=0.0),
        clamp_share=max((beyond / most for beyond, most in clamps.beyond), default=0.0),
        exact=likeness(found, exact),
        irreciprocity=irreciprocity,
        tolerances=tolerances,
        needs_no_energy=method.needs_no_energy or not method.follows_cost,
        engine=reference.engine,
    )


def _as_read(chip: Chip | None) -> Chip | None:
    """The chip's circuit with exact reads: converters and learning circuits are no part of what is compared."""
    return None if chip is None else replace(chip, converters=None, learning=None, twin=None)


def _physical(method: GradientMethod, inputs: Tensor, targets: Tensor) -> dict[str, Tensor]:
    like = next(method.network.parameters())
    _, gradients = method.gradients(inputs.to(like), targets.to(like))
    return {name: gradient / method.network.parameter_scale for name, gradient in gradients.items()}


def _judged(
    method: GradientMethod,
    twin: HardwareNetwork,
    inputs: Tensor,
    targets: Tensor,
    exact: dict[str, Tensor],
) -> dict[str, Likeness]:
    """The gradient of a method and the exact one, or, where it follows none, the method's own in float64."""
    if not method.follows_cost:
        exact = _physical(method.on(twin, solver_of(twin)), inputs, targets)
    return likenesses(_physical(method, inputs, targets), exact)


def _as_trained(network: HardwareNetwork, inputs: Tensor, method: GradientMethod, chip: Chip | None) -> Equilibrium:
    """Free states of the network in its own dtype, with its own diodes, by the solver that trains it."""
    solver = method.free_solver or solver_of(network)
    return solve(network, inputs.to(next(network.parameters())), solver=solver, chip=chip)


def _largest(difference: Tensor) -> float:
    return float(difference.abs().max())


def _response_error(response: tuple[Tensor, ...], other: tuple[Tensor, ...]) -> float:
    return max(_largest(a - b) / max(_largest(a), RESOLVED) for a, b in zip(response, other, strict=True))


@dataclass(frozen=True)
class _Clamps:
    """Of each hidden layer, the share of diodes that conduct; where they are ideal, how far its nodes lie beyond what
    these would hold, and the largest voltage [V].
    """

    conducting: tuple[float | None, ...] = ()
    beyond: tuple[tuple[float, float], ...] = ()


@dataclass(frozen=True, eq=False)
class _ClampFigures(Question[_Clamps]):
    """What the diodes of layers do at ngspice's free states."""

    inputs: Tensor
    free: Equilibrium
    chip: Chip | None

    def network(self, network: Network) -> _Clamps:
        return _Clamps()

    def crossbars(self, network: CrossbarNetwork) -> _Clamps:
        ladder = Ladder.of(network.as_built(), self.inputs, self.chip)
        conducting = tuple(
            None if clamp is None else float((clamp.conductance(layer) > _CONDUCTS * total).double().mean())
            for clamp, layer, total in zip(ladder.clamps[:-1], self.free.layers, ladder.totals, strict=False)
        )
        return _Clamps(conducting, tuple(self._beyond(network)))

    def _beyond(self, network: CrossbarNetwork) -> Iterator[tuple[float, float]]:
        for clamp, layer in zip(network.layer_clamps(self.free.inputs, self.chip), self.free.layers, strict=True):
            if clamp is not None and not clamp.has_current:
                yield float(clamp.beyond(layer).max()), max(_largest(layer), RESOLVED)
