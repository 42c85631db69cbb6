"""Whether PyTorch and ngspice agree on a Hopfield network, whose energy has more than one minimum."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import cast

import torch
from torch import Tensor

from analog_ep.checking.hopfield_agreement import HopfieldCrossCheck, HopfieldTolerances
from analog_ep.dynamics.ngspice_settling import NgspiceSettling
from analog_ep.equilibrium.equilibrium import Equilibrium, Solver, solve
from analog_ep.equilibrium.layered.hopfield_relaxation import HopfieldRelaxation
from analog_ep.equilibrium.ngspice import Ngspice
from analog_ep.learning.gradients.method import Variant
from analog_ep.learning.gradients.propagation import EquilibriumPropagation
from analog_ep.networks import UnitNetwork
from analog_ep.stimulus import Cost, Nudge, NudgeKind


def hopfield_cross_check(
    network: UnitNetwork,
    inputs: Tensor,
    targets: Tensor,
    *,
    strengths: Sequence[float],
    cost: Cost,
    kind: NudgeKind = "elastic",
    settling: Solver | None = None,
    operating_point: Solver | None = None,
    tolerances: HopfieldTolerances | None = None,
) -> HopfieldCrossCheck:
    """Compare PyTorch with ngspice unit by unit, in the free phase and in nudged ones.

    Both sides run in float64 and have clamps of the same finite conductance in place of hard bounds. ngspice settles
    from rest, which shares nothing with PyTorch but the network; its operating points begin at PyTorch's states and
    show whether these are equilibria of the circuit.

    Parameters
    ----------
    network : UnitNetwork
        What to check; it is not changed.
    inputs : Tensor (n_samples, n_inputs)
        Inputs.
    targets : Tensor (n_samples, n_outputs)
        Targets of the cost; one-hot classes count for predictions.
    strengths : sequence of float
        β of each nudged phase.
    cost : Cost
        C.
    kind : "frozen" or "elastic"
        Kind of the nudge.
    settling, operating_point : Solver, optional
        By default `NgspiceSettling()`, and `Ngspice(nodeset=True, forms_nudges=True)`.
    tolerances : HopfieldTolerances, optional
        What counts as agreement.

    Raises
    ------
    ConvergenceError, NgspiceError
        If a solver finds no state of a sample.
    """
    limits = HopfieldTolerances() if tolerances is None else tolerances
    inputs, targets = (values.double().cpu() for values in network.stimulus(inputs, targets))
    network = network.as_built()
    nudges = [Nudge(strength, targets, cost, kind) for strength in strengths]
    ours = _phases(network, inputs, nudges, HopfieldRelaxation())
    settling = NgspiceSettling() if settling is None else settling
    theirs = _phases(network, inputs, nudges, settling)
    points = Ngspice(nodeset=True, forms_nudges=True) if operating_point is None else operating_point
    return replace(_compared(network, targets, nudges, ours, theirs, points, limits), engine=settling.engine)


def _compared(
    network: UnitNetwork,
    targets: Tensor,
    nudges: list[Nudge],
    ours: list[Equilibrium],
    theirs: list[Equilibrium],
    points: Solver,
    limits: HopfieldTolerances,
) -> HopfieldCrossCheck:
    """The figures of the phases of both sides, the free one first."""
    pairs = list(zip(ours, theirs, strict=True))
    elsewhere = [_elsewhere(network, a, b, theirs[0], limits.state) for a, b in pairs]
    names = ["free", *(f"nudged by {nudge.strength:g}" for nudge in nudges)]
    everywhere = ~torch.stack(elsewhere).any(0)
    contrasts = _contrasts(network, ours, everywhere), _energy_contrasts(network, theirs, everywhere)
    predicted = theirs[0].outputs.argmax(-1)
    return HopfieldCrossCheck(
        max_state_error=max(_largest(_error(*pair)[~o]) for pair, o in zip(pairs, elsewhere, strict=True)),
        max_operating_point_error=_operating_point_error(network, ours, points),
        other_basins={n: tuple(torch.nonzero(o)[:, 0].tolist()) for n, o in zip(names, elsewhere, strict=True)},
        max_contrast_error=max(
            (_largest((a[n] - b[n]).abs()) for a, b in zip(*contrasts, strict=True) for n in a), default=0.0
        ),
        gradient_norm_ratio=_gradient_ratio(network, ours[0].inputs, nudges, contrasts[1], everywhere, limits.contrast),
        predictions_identical=bool((ours[0].outputs.argmax(-1) == predicted).all()),
        accuracy=float((predicted == targets.argmax(-1)).double().mean()),
        samples=len(targets),
        units=sum(network.sizes[1:]),
        clamp_distance=max(_largest(_beyond(network, layer)) for state in theirs for layer in state.layers),
        clamped=tuple(float((_beyond(network, layer) > 0).double().mean()) for layer in theirs[0].layers),
        max_net_current=max(float(state.residual.max()) for state in theirs),
        tolerances=limits,
    )


def _gradient_ratio(
    network: UnitNetwork,
    inputs: Tensor,
    nudges: list[Nudge],
    contrasts: list[dict[str, Tensor]],
    samples: Tensor,
    resolved: float,
) -> float | None:
    """Of ngspice's gradient and that of equilibrium propagation, on `samples`; None where there is none."""
    if not bool(samples.any()):
        return None
    first, strengths = nudges[0], [float(nudge.strength) for nudge in nudges]
    variant = _variant(strengths)
    method = EquilibriumPropagation(
        network, abs(first.strength), first.cost, variant, first.kind, solver=HopfieldRelaxation()
    )
    _, gradients = method.gradients(inputs[samples], first.target[samples])
    return _ratio(contrasts, strengths, gradients, resolved)


def _phases(network: UnitNetwork, inputs: Tensor, nudges: list[Nudge], solver: Solver) -> list[Equilibrium]:
    """The free state, and the nudged ones from there."""
    free = solve(network, inputs, solver=solver)
    return [free, *(solve(network, inputs, nudge, solver=solver, start=free) for nudge in nudges)]


def _error(ours: Equilibrium, theirs: Equilibrium) -> Tensor:
    """Largest difference over the units, `(n_samples,)`. [V]"""
    pairs = zip(ours.layers, theirs.layers, strict=True)
    return torch.stack([(a - b).abs().amax(-1) for a, b in pairs]).amax(0)


def _largest(values: Tensor) -> float:
    return float(values.max()) if values.numel() else 0.0


def _elsewhere(
    network: UnitNetwork, ours: Equilibrium, theirs: Equilibrium, their_free: Equilibrium, atol: float
) -> Tensor:
    """Samples whose two states are minima of their own, bool `(n_samples,)`."""
    found = _error(ours, theirs) > atol
    for sample in torch.nonzero(found)[:, 0].tolist():
        # The frozen nudge of each side has the error of its own free state.
        found[sample] = distance_to_minimum(network, theirs, sample, their_free.outputs[sample]) <= atol
    return found


def distance_to_minimum(network: UnitNetwork, state: Equilibrium, sample: int, free_outputs: Tensor) -> float:
    """Newton's step from one sample's state of any solver, by PyTorch's derivatives of the energy: its largest part.

    Infinite where the energy has no positive definite Hessian, which no minimum lacks.

    Parameters
    ----------
    network : UnitNetwork
        With clamps of the conductance that the state was found with.
    state : Equilibrium
        A state of a batch of samples, `(n_samples, n_units)` a layer.
    sample : int
        Which of them.
    free_outputs : Tensor (n_outputs,)
        Where a frozen nudge takes its error.
    """
    nudge = state.nudge
    if nudge is not None:
        nudge = Nudge(nudge.strength, nudge.target[sample], nudge.cost, nudge.kind)

    def slope(units: Tensor) -> Tensor:
        layers = units.split(network.sizes[1:])
        return -torch.cat(network.force(state.inputs[sample], layers, nudge, free_outputs))

    at = torch.cat([layer[sample] for layer in state.layers])
    hessian = cast(Tensor, torch.autograd.functional.jacobian(slope, at))
    factor, failed = torch.linalg.cholesky_ex(0.5 * (hessian + hessian.T))
    if int(failed):
        return float("inf")
    return float(torch.cholesky_solve(slope(at).detach()[:, None], factor).abs().max())


def _contrasts(network: UnitNetwork, phases: list[Equilibrium], samples: Tensor) -> list[dict[str, Tensor]]:
    """Contrast by each parameter in each nudged phase, the mean over the samples, as training forms it."""
    free, *nudged = phases
    inputs, layers = free.inputs[samples], tuple(layer[samples] for layer in free.layers)
    responses = [tuple(change[samples] for change in state.response(free)) for state in nudged]
    sums = [network.contrast(inputs, layers, response) for response in responses]
    return [{name: value / max(len(inputs), 1) for name, value in contrast.items()} for contrast in sums]


def _energy_contrasts(network: UnitNetwork, phases: list[Equilibrium], samples: Tensor) -> list[dict[str, Tensor]]:
    """The same by the derivatives of the energy at both states, which share no formula with the contrast."""
    free, *nudged = (_energy_slopes(network, state, samples) for state in phases)
    return [{name: slopes[name] - free[name] for name in free} for slopes in nudged]


def _energy_slopes(network: UnitNetwork, state: Equilibrium, samples: Tensor) -> dict[str, Tensor]:
    names = [name for name, _ in network.named_parameters()]
    layers = tuple(layer[samples] for layer in state.layers)
    energy = network.energy(state.inputs[samples], layers).sum() / max(int(samples.sum()), 1)
    slopes = torch.autograd.grad(energy, [network.get_parameter(name) for name in names])
    return dict(zip(names, slopes, strict=True))


def _variant(strengths: Sequence[float]) -> Variant:
    """The variant of equilibrium propagation whose phases these are; the two signs of "random" are both shown."""
    return "centered" if len(strengths) > 1 else "positive" if strengths[0] > 0 else "negative"


def _ratio(
    contrasts: list[dict[str, Tensor]], strengths: Sequence[float], gradients: dict[str, Tensor], resolved: float
) -> float:
    ratios = [1.0]
    for name, gradient in gradients.items():
        shares = [contrast[name] / strength for contrast, strength in zip(contrasts, strengths, strict=True)]
        found = torch.stack(shares).sum(0)
        # The contrasts are known to their tolerance: below a hundred times as much a ratio says nothing.
        if float(found.norm()) * abs(strengths[0]) > 100 * resolved:
            ratios.append(float(found.norm()) / len(strengths) / max(float(gradient.norm()), 1e-300))
    return max(ratios, key=lambda ratio: abs(ratio - 1))


def _operating_point_error(network: UnitNetwork, ours: list[Equilibrium], solver: Solver) -> float:
    errors = []
    for state in ours:
        # A frozen nudge takes its error from the state that it is given.
        start = ours[0] if state.nudge is not None and state.nudge.kind == "frozen" else state
        found = solve(network, state.inputs, state.nudge, solver=solver, start=start)
        errors.append(_largest(_error(state, found)))
    return max(errors)


def _beyond(network: UnitNetwork, layer: Tensor) -> Tensor:
    """How far states lie beyond their clamps; 0 within, and without clamps. [V]"""
    if network.activation.clamp is None:
        return torch.zeros_like(layer)
    return torch.maximum(layer - 1, -layer).clamp(min=0)
