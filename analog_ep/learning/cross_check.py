"""Whether PyTorch and ngspice agree on a network: every node, both phases, and the gradient."""

from __future__ import annotations

import copy
import json
from dataclasses import dataclass
from typing import overload

import numpy as np
import torch
from rich.table import Table
from torch import Tensor

from analog_ep.circuit import Chip, Circuit, energy_weights
from analog_ep.devices import DiodeClamp, IdealDiode
from analog_ep.equilibrium.equilibrium import Equilibrium, Solver, solve
from analog_ep.equilibrium.ladder import Ladder
from analog_ep.equilibrium.ngspice import Ngspice
from analog_ep.equilibrium.relaxation import Relaxation
from analog_ep.errors import StimulusError
from analog_ep.learning.hopfield_check import HopfieldCrossCheck, HopfieldTolerances, hopfield_cross_check
from analog_ep.learning.implicit import ImplicitDifferentiation
from analog_ep.learning.propagation import positive_nudging
from analog_ep.networks import HopfieldNetwork, ResistiveNetwork
from analog_ep.stimulus import Cost, Nudge, NudgeKind, SquaredError

_CONDUCTS = 0.01
"""A diode counts as conducting where its slope is this share of the other conductances at its node."""


@dataclass(frozen=True)
class Tolerances:
    """What counts as agreement.

    Attributes
    ----------
    voltage : float
        Largest difference of a node voltage, in any phase. [V]
    response : float
        Largest difference of a response, relative to the largest response of its layer.
    cosine : float
        Smallest cosine between the gradients of a crossbar.
    """

    voltage: float = 1e-8
    response: float = 1e-3
    cosine: float = 0.9999


@dataclass(frozen=True)
class CrossCheck:
    """How far PyTorch and ngspice agree.

    Attributes
    ----------
    max_voltage_error : float
        Over all nodes, samples and phases. [V]
    max_response_error : float
        Of the responses, relative to the largest response of their layer.
    cosines : dict of str to (float, float)
        Per crossbar, the cosine of ngspice's gradient with PyTorch's and with implicit differentiation.
    predictions_identical : bool
        Whether both give every sample the same class.
    accuracy : float
        Share of the samples whose class ngspice gets right.
    samples, nodes : int
        How many were compared.
    hidden_swing : tuple of float
        Per hidden layer, the median over its nodes of the peak-to-peak voltage over the samples. [V]
    conducting : tuple of float
        Per hidden layer, the share of nodes and samples at which a diode conducts.
    clamp_distance : float
        Largest distance of a node from where an ideal diode would clamp it, 0 for other diodes. [V]
    reciprocal : bool
        Whether the circuit has the energy whose weights the contrast uses. A chip whose amplifiers differ has another
        one or none: then the phases do not give the exact gradient, and the cosines with implicit differentiation say
        how far they are from it.
    tolerances : Tolerances
        What `passed` asks for.
    """

    max_voltage_error: float
    max_response_error: float
    cosines: dict[str, tuple[float, float]]
    predictions_identical: bool
    accuracy: float
    samples: int
    nodes: int
    hidden_swing: tuple[float, ...]
    conducting: tuple[float, ...]
    clamp_distance: float
    reciprocal: bool
    tolerances: Tolerances

    @property
    def min_gradient_cosine(self) -> float:
        """Smallest of all cosines."""
        return min(min(pair) for pair in self.cosines.values())

    @property
    def passed(self) -> bool:
        """Whether everything is within tolerance."""
        judged = [pair if self.reciprocal else pair[:1] for pair in self.cosines.values()]
        return (
            self.max_voltage_error <= self.tolerances.voltage
            and self.max_response_error <= self.tolerances.response
            and min(min(cosines) for cosines in judged) >= self.tolerances.cosine
            and self.predictions_identical
        )

    def to_json(self) -> str:
        """The figures as a JSON object."""
        return json.dumps(
            {
                "max_voltage_error": self.max_voltage_error,
                "max_response_error": self.max_response_error,
                "min_gradient_cosine": self.min_gradient_cosine,
                "predictions_identical": self.predictions_identical,
                "samples": self.samples,
                "nodes": self.nodes,
                "passed": self.passed,
                "reciprocal": self.reciprocal,
                "accuracy": self.accuracy,
                "hidden_swing": list(self.hidden_swing),
                "conducting": list(self.conducting),
                "clamp_distance": self.clamp_distance,
                "cosines": {name: list(pair) for name, pair in self.cosines.items()},
            }
        )

    def table(self) -> Table:
        """The figures as a table for a terminal."""
        table = Table("PyTorch against ngspice", "found", "allowed", title="Cross-check")
        limits = self.tolerances
        table.add_row("samples, nodes compared", f"{self.samples}, {self.nodes}", "")
        table.add_row("largest node voltage error", f"{self.max_voltage_error:.2e} V", f"{limits.voltage:.0e} V")
        table.add_row("largest response error", f"{self.max_response_error:.2e}", f"{limits.response:.0e}")
        for name, (against_torch, against_implicit) in self.cosines.items():
            table.add_row(f"gradient cosine, {name}: EP", f"{against_torch:.8f}", f"{limits.cosine}")
            wanted = f"{limits.cosine}" if self.reciprocal else "amplifiers differ"
            table.add_row(f"gradient cosine, {name}: implicit", f"{against_implicit:.8f}", wanted)
        table.add_row("predictions identical", "yes" if self.predictions_identical else "no", "yes")
        table.add_row("accuracy of ngspice", f"{self.accuracy:.2%}", "")
        for layer, (swing, share) in enumerate(zip(self.hidden_swing, self.conducting, strict=True), start=1):
            table.add_row(f"hidden layer {layer}: swing, diodes conducting", f"{swing:.3f} V, {share:.1%}", "")
        if self.clamp_distance:
            table.add_row("largest distance from an ideal clamp", f"{self.clamp_distance:.2e} V", "")
        table.add_row("agreement", "yes" if self.passed else "NO", "")
        return table


@overload
def cross_check(
    network: ResistiveNetwork,
    inputs: Tensor,
    targets: Tensor,
    *,
    nudging: float,
    cost: Cost | None = None,
    kind: NudgeKind = "frozen",
    chip: Chip | None = None,
    reference: Solver | None = None,
    tolerances: Tolerances | None = None,
) -> CrossCheck: ...


@overload
def cross_check(
    network: HopfieldNetwork,
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


def cross_check(
    network: ResistiveNetwork | HopfieldNetwork,
    inputs: Tensor,
    targets: Tensor,
    *,
    nudging: float,
    cost: Cost | None = None,
    kind: NudgeKind = "frozen",
    chip: Chip | None = None,
    reference: Solver | None = None,
    tolerances: Tolerances | HopfieldTolerances | None = None,
) -> CrossCheck | HopfieldCrossCheck:
    """Compare PyTorch with ngspice node by node, in the free and both nudged phases, and the gradients that follow.

    ngspice starts from nothing of PyTorch's and computes its own frozen nudge. Both sides run in float64; ideal diodes
    are replaced on both sides by the piecewise-linear diode that stands for them in SPICE. A Hopfield network is
    compared in another way, since its energy has several minima: see `hopfield_cross_check`.

    Parameters
    ----------
    network : ResistiveNetwork or HopfieldNetwork
        What to check; it is not changed.
    inputs : Tensor (n_samples, n_inputs)
        Inputs. [V]
    targets : Tensor (n_samples, n_outputs)
        Targets of the cost; one-hot classes count for predictions.
    nudging : float
        Strength β > 0; nudged phases at −β and +β.
    cost : Cost, optional
        By default `SquaredError`.
    kind : "frozen" or "elastic"
        Kind of the nudge.
    chip : Chip, optional
        Mismatch of the hardware.
    reference : Solver, optional
        What PyTorch is compared with; by default `Ngspice()`, and `NgspiceSettling()` for a Hopfield network.
    tolerances : Tolerances or HopfieldTolerances, optional
        What counts as agreement.

    Raises
    ------
    StimulusError
        If a Hopfield network comes with a chip.
    ConvergenceError, NgspiceError
        If a solver finds no state of a sample.
    """
    cost = SquaredError() if cost is None else cost
    nudging = positive_nudging(network, nudging)
    inputs, targets = network.stimulus(inputs, targets)
    if isinstance(network, HopfieldNetwork):
        if chip is not None:
            raise StimulusError("the cross-check of a HopfieldNetwork knows no chip's mismatch; leave the chip out")
        assert not isinstance(tolerances, Tolerances)
        strengths = (-nudging, nudging)
        return hopfield_cross_check(
            network,
            inputs,
            targets,
            strengths=strengths,
            cost=cost,
            kind=kind,
            settling=reference,
            tolerances=tolerances,
        )
    assert not isinstance(tolerances, HopfieldTolerances)
    clamps = network.clamps
    network, (inputs, targets) = spice_equivalent(network), (t.to("cpu", torch.float64) for t in (inputs, targets))
    pairs = [
        _phases(network, inputs, targets, nudging, cost, kind, chip, solver)
        for solver in (Relaxation(), Ngspice() if reference is None else reference)
    ]
    ours, theirs = pairs
    free, free_spice = ours[0], theirs[0]
    gradients = [_gradient(network, phases, nudging, chip) for phases in pairs]
    circuit = network.circuit(chip)
    exact = ImplicitDifferentiation(circuit, cost).gradients(inputs, targets)
    predicted = free_spice.outputs.argmax(-1)
    return CrossCheck(
        max_voltage_error=max(_largest(a.voltages - b.voltages) for a, b in zip(ours, theirs, strict=True)),
        max_response_error=max(
            _response_error(a.response(free), b.response(free_spice)) for a, b in zip(ours[1:], theirs[1:], strict=True)
        ),
        cosines={
            name: (_cosine(gradient, gradients[0][name]), _cosine(gradient, exact[name]))
            for name, gradient in gradients[1].items()
        },
        predictions_identical=bool((free.outputs.argmax(-1) == predicted).all()),
        accuracy=float((predicted == targets.argmax(-1)).double().mean()),
        samples=len(inputs),
        nodes=free_spice.voltages.shape[-1] - 1,
        hidden_swing=tuple(float((v.amax(0) - v.amin(0)).median()) for v in free_spice.layers[:-1]),
        conducting=_conducting(network, inputs, free_spice, chip),
        clamp_distance=_clamp_distance(clamps, free_spice),
        reciprocal=_has_nominal_weights(circuit, network.circuit()),
        tolerances=Tolerances() if tolerances is None else tolerances,
    )


def spice_equivalent(network: ResistiveNetwork) -> ResistiveNetwork:
    """A float64 copy of the network with the clamps of its circuit: piecewise-linear diodes stand for ideal ones."""
    twin = copy.deepcopy(network).double().cpu()
    twin.clamps = network.spice_clamps
    return twin


def _phases(
    network: ResistiveNetwork,
    inputs: Tensor,
    targets: Tensor,
    nudging: float,
    cost: Cost,
    kind: NudgeKind,
    chip: Chip | None,
    solver: Solver,
) -> list[Equilibrium]:
    """The free state, and those nudged by −β and +β."""
    free = solve(network, inputs, solver=solver, chip=chip)
    return [free] + [
        solve(network, inputs, Nudge(strength, targets, cost, kind), solver=solver, start=free, chip=chip)
        for strength in (-nudging, nudging)
    ]


def _gradient(
    network: ResistiveNetwork, phases: list[Equilibrium], nudging: float, chip: Chip | None
) -> dict[str, Tensor]:
    free, *nudged = phases
    contrasts = [network.contrast(free.inputs, free.layers, state.response(free), known=chip) for state in nudged]
    return {name: (contrasts[1][name] - contrasts[0][name]) / (2 * nudging) for name in contrasts[0]}


def _has_nominal_weights(circuit: Circuit, nominal: Circuit) -> bool:
    found, wanted = energy_weights(circuit).nodes, energy_weights(nominal).nodes
    return found is not None and wanted is not None and np.allclose(found, wanted, rtol=1e-9)


def _largest(difference: Tensor) -> float:
    return float(difference.abs().max())


def _response_error(response: tuple[Tensor, ...], other: tuple[Tensor, ...]) -> float:
    return max(_largest(a - b) / _largest(a) for a, b in zip(response, other, strict=True))


def _cosine(gradient: Tensor, other: Tensor) -> float:
    return float(torch.nn.functional.cosine_similarity(gradient.flatten(), other.flatten(), dim=0))


def _conducting(network: ResistiveNetwork, inputs: Tensor, free: Equilibrium, chip: Chip | None) -> tuple[float, ...]:
    ladder = Ladder.of(network, inputs, chip)
    return tuple(
        float((clamp.conductance(layer) > _CONDUCTS * total).double().mean())
        for clamp, layer, total in zip(ladder.clamps, free.layers, ladder.totals, strict=True)
        if clamp is not None
    )


def _clamp_distance(clamps: tuple[DiodeClamp, ...], free: Equilibrium) -> float:
    """How far the nodes lie beyond the limits that ideal diodes would hold. [V]"""
    distance = 0.0
    for clamp, layer in zip(clamps, free.layers, strict=False):
        if isinstance(clamp.diode, IdealDiode):
            low, high = clamp.limits_like(layer)
            distance = max(distance, float(torch.maximum(layer - high, low - layer).clamp(min=0).max()))
    return distance
