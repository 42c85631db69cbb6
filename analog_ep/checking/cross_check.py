"""Whether PyTorch and ngspice agree on a network: every node, both phases, and the gradient."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import replace
from typing import overload

import numpy as np
import torch
from torch import Tensor

from analog_ep.checking.agreement import Classes, CrossCheck, Tolerances
from analog_ep.checking.hopfield_check import HopfieldCrossCheck, HopfieldTolerances, hopfield_cross_check
from analog_ep.circuit import Chip, Circuit, energy_weights
from analog_ep.equilibrium.equilibrium import Equilibrium, Solver, solve
from analog_ep.equilibrium.layered.resistive_layers import Ladder
from analog_ep.equilibrium.ngspice import Ngspice
from analog_ep.equilibrium.solver_of import solver_of
from analog_ep.errors import StimulusError
from analog_ep.learning.gradients.branch_gradient import Likeness, branch_gradient, likenesses
from analog_ep.learning.gradients.implicit import implicit_gradients
from analog_ep.learning.gradients.ngspice_small_signal import NgspiceSmallSignal
from analog_ep.learning.gradients.propagation import (
    EquilibriumPropagation,
    GradientMethod,
    PhaseMethod,
    SmallSignal,
    positive_nudging,
)
from analog_ep.networks import CircuitNetwork, HardwareNetwork, HopfieldNetwork, ResistiveNetwork
from analog_ep.stimulus import Cost, Nudge, NudgeKind, SquaredError

_RESOLVED = 1e-9
"""Voltage below which a difference of two of ngspice's solutions is its rounding. [V]"""

_CONDUCTS = 0.01
"""A diode counts as conducting where its slope is this share of the other conductances at its node."""


@overload
def cross_check(
    network: ResistiveNetwork | CircuitNetwork,
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
    network : ResistiveNetwork, CircuitNetwork or HopfieldNetwork
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
        What PyTorch is compared with; by default `Ngspice(forms_nudges=True)`, and `NgspiceSettling()` for a Hopfield
        network.
    tolerances : Tolerances or HopfieldTolerances, optional
        What counts as agreement.
    method : GradientMethod, optional
        Of `network`, with the solver that trains it; by default `EquilibriumPropagation` with these nudges. One that
        does not follow the cost's gradient, such as `CoupledLearning`, is compared with itself in float64.

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
    hardware = _as_read(chip)
    if method is None:
        method = EquilibriumPropagation(network, nudging, cost, kind=kind, chip=hardware, known=hardware)
    twin, (inputs, targets) = network.as_built(), (t.to("cpu", torch.float64) for t in (inputs, targets))
    ours, theirs = (
        _phases(twin, inputs, targets, nudging, cost, kind, chip, solver)
        for solver in (solver_of(twin), Ngspice(forms_nudges=True) if reference is None else reference)
    )
    free, free_spice = ours[0], theirs[0]
    circuit, nominal = twin.circuit(chip), twin.circuit()
    reciprocal = _has_nominal_weights(circuit, nominal)
    lower, upper = (state.voltages.numpy() for state in theirs[1:])
    found = branch_gradient(circuit if reciprocal else nominal, lower, upper, 2 * nudging)
    exact = implicit_gradients(circuit, cost, inputs, targets)
    by_torch = _propagated(twin, inputs, targets, nudging, cost, kind, hardware)
    trained = _as_trained(network, inputs, method, chip)
    pairs = likenesses(found, by_torch), likenesses(found, exact)
    return CrossCheck(
        max_voltage_error=max(_largest(a.voltages - b.voltages) for a, b in zip(ours, theirs, strict=True)),
        max_response_error=max(
            _response_error(a.response(free), b.response(free_spice)) for a, b in zip(ours[1:], theirs[1:], strict=True)
        ),
        gradients={name: (pairs[0][name], pairs[1][name]) for name in found},
        method=_judged(method, twin, inputs, targets, exact),
        method_name=type(method).__name__,
        trained_error=max(
            _largest(a.double().cpu() - b) / max(_largest(b), _RESOLVED)
            for a, b in zip(trained.layers, free_spice.layers, strict=True)
        ),
        classes=Classes.of(trained.outputs, free_spice.outputs, targets),
        samples=len(inputs),
        nodes=free_spice.voltages.shape[-1] - 1,
        hidden_swing=tuple(float((v.amax(0) - v.amin(0)).median()) for v in free_spice.layers[:-1]),
        conducting=_conducting(twin, inputs, free_spice, chip),
        clamp_distance=max((beyond for beyond, _ in _beyond_clamps(network, free_spice, chip)), default=0.0),
        clamp_share=max((beyond / most for beyond, most in _beyond_clamps(network, free_spice, chip)), default=0.0),
        reciprocal=reciprocal,
        tolerances=Tolerances() if tolerances is None else tolerances,
    )


def _phases(
    network: HardwareNetwork,
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


def _as_read(chip: Chip | None) -> Chip | None:
    """The chip's circuit with exact reads: converters and learning circuits are no part of what is compared."""
    return None if chip is None else replace(chip, converters=None, learning=None, twin=None)


def _propagated(
    network: HardwareNetwork,
    inputs: Tensor,
    targets: Tensor,
    nudging: float,
    cost: Cost,
    kind: NudgeKind,
    chip: Chip | None,
) -> dict[str, Tensor]:
    """dC/dg as training by equilibrium propagation forms it."""
    method = EquilibriumPropagation(network, nudging, cost, "centered", kind, chip=chip, known=chip)
    return _physical(method, inputs, targets)


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
    if not isinstance(method, (EquilibriumPropagation, SmallSignal, NgspiceSmallSignal)):
        precise = copy.copy(method)
        precise.network = twin
        if isinstance(precise, PhaseMethod):
            precise.solver = solver_of(twin)
        exact = _physical(precise, inputs, targets)
    return likenesses(_physical(method, inputs, targets), exact)


def _as_trained(network: HardwareNetwork, inputs: Tensor, method: GradientMethod, chip: Chip | None) -> Equilibrium:
    """Free states of the network in its own dtype, with its own diodes, by the solver that trains it."""
    solver = method.solver if isinstance(method, (PhaseMethod, NgspiceSmallSignal)) else solver_of(network)
    return solve(network, inputs.to(next(network.parameters())), solver=solver, chip=chip)


def _has_nominal_weights(circuit: Circuit, nominal: Circuit) -> bool:
    found, wanted = energy_weights(circuit).nodes, energy_weights(nominal).nodes
    return found is not None and wanted is not None and np.allclose(found, wanted, rtol=1e-9)


def _largest(difference: Tensor) -> float:
    return float(difference.abs().max())


def _response_error(response: tuple[Tensor, ...], other: tuple[Tensor, ...]) -> float:
    return max(_largest(a - b) / max(_largest(a), _RESOLVED) for a, b in zip(response, other, strict=True))


def _conducting(network: HardwareNetwork, inputs: Tensor, free: Equilibrium, chip: Chip | None) -> tuple[float, ...]:
    if not isinstance(network, ResistiveNetwork):
        return ()
    ladder = Ladder.of(network, inputs, chip)
    return tuple(
        float((clamp.conductance(layer) > _CONDUCTS * total).double().mean())
        for clamp, layer, total in zip(ladder.clamps, free.layers, ladder.totals, strict=True)
        if clamp is not None
    )


def _beyond_clamps(network: HardwareNetwork, free: Equilibrium, chip: Chip | None) -> Iterator[tuple[float, float]]:
    """How far the nodes of each layer lie beyond what ideal diodes would hold, and their largest voltage. [V]"""
    if not isinstance(network, ResistiveNetwork):
        return
    for clamp, layer in zip(network.layer_clamps(free.inputs, chip), free.layers, strict=True):
        if clamp is not None and not clamp.has_current:
            yield float(clamp.beyond(layer).max()), max(_largest(layer), _RESOLVED)
