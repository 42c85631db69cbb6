"""Whether PyTorch and ngspice agree on a Hopfield network, whose energy has more than one minimum."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from rich.table import Table
from torch import Tensor

from analog_ep.equilibrium.equilibrium import Equilibrium, Solver, solve
from analog_ep.equilibrium.layered.hopfield_relaxation import HopfieldRelaxation
from analog_ep.equilibrium.ngspice import Ngspice
from analog_ep.equilibrium.ngspice_settling import NgspiceSettling
from analog_ep.learning.gradients.propagation import EquilibriumPropagation, Variant
from analog_ep.networks import HopfieldNetwork
from analog_ep.stimulus import Cost, Nudge, NudgeKind

_SHOWN = 5


@dataclass(frozen=True)
class HopfieldTolerances:
    """What counts as agreement.

    Attributes
    ----------
    state : float
        Largest difference of a state, in any phase, and largest distance of another minimum from where it is. [V]
    contrast : float
        Largest difference of a parameter's contrast.
    ratio : float
        Largest distance from 1 of the ratio of the norms of a parameter's gradients.
    """

    state: float = 1e-6
    contrast: float = 1e-6
    ratio: float = 1e-2


@dataclass(frozen=True)
class HopfieldCrossCheck:
    """How far PyTorch and ngspice agree on a Hopfield network's units. A state of 1 is 1 V.

    ngspice lets the circuit settle from rest, and the nudged phases from its own free state. A sample that comes to
    another minimum of the energy than PyTorch's is no error of either; it is counted in `other_basins`, and left out of
    the errors. What is no minimum counts as an error.

    Attributes
    ----------
    max_state_error : float
        Of the settled states, over the units, the phases and the samples in the same basin. [V]
    max_operating_point_error : float
        Of ngspice's operating points that begin at PyTorch's states, over all samples, units and phases. [V]
    other_basins : dict of str to tuple of int
        Samples that settle in another basin than PyTorch's, by the phase: "free", or the nudging strength.
    max_contrast_error : float
        Of the contrast by each parameter, not over β; the mean over the samples that are in the same basin in all
        phases. Absolute: where the outputs are pressed on the clamps at their targets, there is no contrast left.
    gradient_norm_ratio : float or None
        Of ngspice's gradient, that of the energy's derivatives at its states, and PyTorch's by equilibrium propagation:
        the one by any parameter that is farthest from 1; 1 where the contrasts are within their tolerance of 0, None
        where no sample lies in the same basins in every phase.
    predictions_identical : bool
        Whether both give every sample the same class, those in other basins included.
    accuracy : float
        Share of the samples whose class ngspice gets right.
    samples, units : int
        How many were compared.
    clamp_distance : float
        Largest distance beyond 0 V or 1 V at which a clamp's current I holds a state, I/g_on; 0 without clamps. [V]
    clamped : tuple of float
        Per layer, the share of units and samples at which a clamp conducts in the free phase.
    max_net_current : float
        Largest current that is left over at a node of a settled state: how far from rest it is. [A]
    tolerances : HopfieldTolerances
        What `passed` asks for.
    """

    max_state_error: float
    max_operating_point_error: float
    other_basins: dict[str, tuple[int, ...]]
    max_contrast_error: float
    gradient_norm_ratio: float | None
    predictions_identical: bool
    accuracy: float
    samples: int
    units: int
    clamp_distance: float
    clamped: tuple[float, ...]
    max_net_current: float
    tolerances: HopfieldTolerances

    @property
    def n_other_basins(self) -> int:
        """Samples in another basin in any phase."""
        return len({sample for found in self.other_basins.values() for sample in found})

    @property
    def passed(self) -> bool:
        """Whether everything is within tolerance; other basins are no failure, unless a prediction differs."""
        limits = self.tolerances
        return (
            self.max_state_error <= limits.state
            and self.max_operating_point_error <= limits.state
            and self.max_contrast_error <= limits.contrast
            and (self.gradient_norm_ratio is None or abs(self.gradient_norm_ratio - 1) <= limits.ratio)
            and self.predictions_identical
        )

    def to_json(self) -> str:
        """The figures as a JSON object."""
        return json.dumps(
            {
                "max_state_error": self.max_state_error,
                "max_operating_point_error": self.max_operating_point_error,
                "other_basins": {phase: list(found) for phase, found in self.other_basins.items()},
                "max_contrast_error": self.max_contrast_error,
                "gradient_norm_ratio": self.gradient_norm_ratio,
                "predictions_identical": self.predictions_identical,
                "samples": self.samples,
                "units": self.units,
                "passed": self.passed,
                "accuracy": self.accuracy,
                "clamp_distance": self.clamp_distance,
                "clamped": list(self.clamped),
                "max_net_current": self.max_net_current,
            }
        )

    def table(self) -> Table:
        """The figures as a table for a terminal."""
        table = Table("PyTorch against ngspice", "found", "allowed", title="Cross-check")
        limits = self.tolerances
        table.add_row("samples, units compared", f"{self.samples}, {self.units}", "")
        table.add_row("largest error of a settled state", f"{self.max_state_error:.2e} V", f"{limits.state:.0e} V")
        operating = f"{self.max_operating_point_error:.2e} V"
        table.add_row("largest error of an operating point", operating, f"{limits.state:.0e} V")
        for phase, found in self.other_basins.items():
            table.add_row(f"in another basin, {phase}", _listed(found), "")
        table.add_row("largest error of a contrast", f"{self.max_contrast_error:.2e}", f"{limits.contrast:.0e}")
        ratio = "no sample" if self.gradient_norm_ratio is None else f"{self.gradient_norm_ratio:.6f}"
        table.add_row("ratio of the gradients' norms", ratio, f"1 ±{limits.ratio:.0e}")
        table.add_row("predictions identical", "yes" if self.predictions_identical else "no", "yes")
        table.add_row("accuracy of ngspice", f"{self.accuracy:.2%}", "")
        for layer, share in enumerate(self.clamped, start=1):
            table.add_row(f"layer {layer}: clamps conducting", f"{share:.1%}", "")
        table.add_row("largest distance beyond a clamp", f"{self.clamp_distance:.2e} V", "")
        table.add_row("largest net current at rest", f"{self.max_net_current:.1e} A", "")
        table.add_row("agreement", "yes" if self.passed else "NO", "")
        return table


def hopfield_cross_check(
    network: HopfieldNetwork,
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
    network : HopfieldNetwork
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
    settling : Solver, optional
        By default `NgspiceSettling()`.
    operating_point : Solver, optional
        By default `Ngspice(nodeset=True, forms_nudges=True)`.
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
    theirs = _phases(network, inputs, nudges, NgspiceSettling() if settling is None else settling)
    names = ["free", *(f"nudged by {strength:g}" for strength in strengths)]
    pairs = list(zip(ours, theirs, strict=True))
    elsewhere = [_elsewhere(network, a, b, theirs[0], limits.state) for a, b in pairs]
    everywhere = ~torch.stack(elsewhere).any(0)
    contrasts = _contrasts(network, ours, everywhere), _energy_contrasts(network, theirs, everywhere)
    method = EquilibriumPropagation(network, abs(strengths[0]), cost, _variant(strengths), kind, HopfieldRelaxation())
    ratio = None
    if bool(everywhere.any()):
        _, gradients = method.gradients(inputs[everywhere], targets[everywhere])
        ratio = _ratio(contrasts[1], strengths, gradients, limits.contrast)
    predicted = theirs[0].outputs.argmax(-1)
    points = Ngspice(nodeset=True, forms_nudges=True) if operating_point is None else operating_point
    return HopfieldCrossCheck(
        max_state_error=max(_largest(_error(*pair)[~o]) for pair, o in zip(pairs, elsewhere, strict=True)),
        max_operating_point_error=_operating_point_error(network, ours, points),
        other_basins={n: tuple(torch.nonzero(o)[:, 0].tolist()) for n, o in zip(names, elsewhere, strict=True)},
        max_contrast_error=max(
            (_largest((a[n] - b[n]).abs()) for a, b in zip(*contrasts, strict=True) for n in a), default=0.0
        ),
        gradient_norm_ratio=ratio,
        predictions_identical=bool((ours[0].outputs.argmax(-1) == predicted).all()),
        accuracy=float((predicted == targets.argmax(-1)).double().mean()),
        samples=len(inputs),
        units=sum(network.sizes[1:]),
        clamp_distance=max(_largest(_beyond(network, layer)) for state in theirs for layer in state.layers),
        clamped=tuple(float((_beyond(network, layer) > 0).double().mean()) for layer in theirs[0].layers),
        max_net_current=max(float(state.residual.max()) for state in theirs),
        tolerances=limits,
    )


def _phases(network: HopfieldNetwork, inputs: Tensor, nudges: list[Nudge], solver: Solver) -> list[Equilibrium]:
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
    network: HopfieldNetwork, ours: Equilibrium, theirs: Equilibrium, their_free: Equilibrium, atol: float
) -> Tensor:
    """Samples whose two states are minima of their own, bool `(n_samples,)`."""
    found = _error(ours, theirs) > atol
    for sample in torch.nonzero(found)[:, 0].tolist():
        # The frozen nudge of each side has the error of its own free state.
        found[sample] = distance_to_minimum(network, theirs, sample, their_free.outputs[sample]) <= atol
    return found


def distance_to_minimum(network: HopfieldNetwork, state: Equilibrium, sample: int, free_outputs: Tensor) -> float:
    """Newton's step from one sample's state of any solver, by PyTorch's derivatives of the energy: its largest part.

    Infinite where the energy has no positive definite Hessian, which no minimum lacks.

    Parameters
    ----------
    network : HopfieldNetwork
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
    hessian = torch.autograd.functional.jacobian(slope, at)
    assert isinstance(hessian, Tensor)
    factor, failed = torch.linalg.cholesky_ex(0.5 * (hessian + hessian.T))
    if int(failed):
        return float("inf")
    return float(torch.cholesky_solve(slope(at).detach()[:, None], factor).abs().max())


def _contrasts(network: HopfieldNetwork, phases: list[Equilibrium], samples: Tensor) -> list[dict[str, Tensor]]:
    """Contrast by each parameter in each nudged phase, the mean over the samples, as training forms it."""
    free, *nudged = phases
    inputs, layers = free.inputs[samples], tuple(layer[samples] for layer in free.layers)
    responses = [tuple(change[samples] for change in state.response(free)) for state in nudged]
    sums = [network.contrast(inputs, layers, response) for response in responses]
    return [{name: value / max(len(inputs), 1) for name, value in contrast.items()} for contrast in sums]


def _energy_contrasts(network: HopfieldNetwork, phases: list[Equilibrium], samples: Tensor) -> list[dict[str, Tensor]]:
    """The same by the derivatives of the energy at both states, which share no formula with the contrast."""
    free, *nudged = (_energy_slopes(network, state, samples) for state in phases)
    return [{name: slopes[name] - free[name] for name in free} for slopes in nudged]


def _energy_slopes(network: HopfieldNetwork, state: Equilibrium, samples: Tensor) -> dict[str, Tensor]:
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
        found = sum(contrast[name] / strength for contrast, strength in zip(contrasts, strengths, strict=True))
        assert isinstance(found, Tensor)
        # The contrasts are known to their tolerance: below a hundred times as much a ratio says nothing.
        if float(found.norm()) * abs(strengths[0]) > 100 * resolved:
            ratios.append(float(found.norm()) / len(strengths) / max(float(gradient.norm()), 1e-300))
    return max(ratios, key=lambda ratio: abs(ratio - 1))


def _operating_point_error(network: HopfieldNetwork, ours: list[Equilibrium], solver: Solver) -> float:
    errors = []
    for state in ours:
        # A frozen nudge takes its error from the state that it is given.
        start = ours[0] if state.nudge is not None and state.nudge.kind == "frozen" else state
        found = solve(network, state.inputs, state.nudge, solver=solver, start=start)
        errors.append(_largest(_error(state, found)))
    return max(errors)


def _beyond(network: HopfieldNetwork, layer: Tensor) -> Tensor:
    """How far states lie beyond their clamps; 0 within, and without clamps. [V]"""
    if network.activation.clamp is None:
        return torch.zeros_like(layer)
    return torch.maximum(layer - 1, -layer).clamp(min=0)


def _listed(samples: tuple[int, ...]) -> str:
    """How many, and the first of them."""
    shown = ", ".join(map(str, samples[:_SHOWN])) + ("…" if len(samples) > _SHOWN else "")
    return f"{len(samples)}: samples {shown}" if samples else "0"
