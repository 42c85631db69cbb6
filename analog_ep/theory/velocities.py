"""The velocities of the second phase are the error derivatives of backprop through time, step by step.

In the first phase u ← u − ε ∂E/∂u runs to its fixed point; unroll its last K steps, all at that point, with the cost C
of the last state. Then (Ernoult et al. 2019, Theorem 1), as β → 0, for t = 0, 1, …, K − 1,

    (u^β_{t+1} − u^β_t)/(ε β) → −∂C/∂u_{K−t},        (∂E/∂θ(u^β_{t+1}) − ∂E/∂θ(u^β_t))/β → ∂C/∂θ_{K−t},

with θ_{K−t} the parameters as the step to u_{K−t} uses them. The adjoint dynamics of recurrent back-propagation,
stepped alike, have the same velocities (Scellier & Bengio 2019, doi:10.1162/neco_a_01160).

References: M. Ernoult, J. Grollier, D. Querlioz, Y. Bengio and B. Scellier, "Updates of Equilibrium Prop Match
Gradients of Backprop Through Time in an RNN with Static Input," NeurIPS 2019, arXiv:1905.13633.
"""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass
from itertools import islice, pairwise

import torch
from torch import Tensor

from analog_ep.learning.gradients.recurrent_backpropagation import AdjointDynamics, RecurrentBackpropagation
from analog_ep.stimulus import SquaredError
from analog_ep.theory.checks import Check, flattened, relative_difference
from analog_ep.theory.gradient import implicit_gradient
from analog_ep.theory.setting import SOLVER, Layers, Setting, euler_steps

STEPS = 10
"""Steps that are judged."""

STEP = 0.2
NUDGING = 1e-5

BPTT = "backprop through time"
CLAIM = "velocities of the second phase = −∂C/∂u back-propagated"


@dataclass(frozen=True, eq=False)
class VelocityCurves:
    """Derivatives at each step.

    Attributes
    ----------
    propagated, backpropagated : tuple of Tensor (n_steps, n_samples, n_units)
        Velocities of the second phase over β, and −∂C/∂u, by layer.
    differences : dict of str to list of float
        Relative differences at each step: "states" and "parameters" from backprop through time, and "adjoint", the
        states from the adjoint dynamics.
    """

    propagated: Layers
    backpropagated: Layers
    differences: dict[str, list[float]]


def check_velocities(setting: Setting) -> tuple[list[Check], VelocityCurves]:
    """Velocities and updates of the second phase against backprop through time and the adjoint dynamics."""
    states, velocities = _second_phase(setting)
    backward, updates = backprop_through_time(setting, STEPS)
    changes, adjoint = _changes(setting, states), _adjoint_velocities(setting)
    differences = {
        "states": [relative_difference(*_joined(a, b)) for a, b in zip(velocities, backward, strict=True)],
        "parameters": [relative_difference(flattened(a), flattened(b)) for a, b in zip(changes, updates, strict=True)],
        "adjoint": [relative_difference(*_joined(a, b)) for a, b in zip(velocities, adjoint, strict=True)],
    }
    worst = f"worst of {STEPS} steps, against"
    checks = [
        *_layer_checks(velocities, backward),
        Check(CLAIM, f"{worst} {BPTT}", "all units", max(differences["states"]), high=1e-3),
        Check(CLAIM, f"{worst} {BPTT}", "parameters", max(differences["parameters"]), high=1e-3),
        Check(CLAIM, f"{worst} recurrent backprop", "all units", max(differences["adjoint"]), high=1e-3),
        Check(CLAIM, "recurrent backprop, against implicit", "parameters", _settled_gradient(setting), high=1e-9),
    ]
    return checks, VelocityCurves(_stacked(velocities), _stacked(backward), differences)


def _second_phase(setting: Setting) -> tuple[list[Layers], list[Layers]]:
    """States 0 … K of the nudged phase, and their velocities 0 … K − 1 over β."""
    nudge = setting.nudge(NUDGING)
    run = list(islice(euler_steps(setting.network, setting.inputs, setting.free, STEP, nudge), STEPS + 1))
    return [layers for layers, _ in run], [tuple(rate / NUDGING for rate in velocity) for _, velocity in run[:-1]]


def backprop_through_time(setting: Setting, n_steps: int) -> tuple[list[Layers], list[dict[str, Tensor]]]:
    """−∂C/∂u_{K−t} and ∂C/∂θ_{K−t} for t = 0 … K − 1, C summed over the samples, by autograd on the unrolled net."""
    networks = [deepcopy(setting.network) for _ in range(n_steps)]
    states = [tuple(layer.clone().requires_grad_() for layer in setting.free)]
    for network in networks:
        energy = network.energy(setting.inputs, states[-1]).sum()
        slopes = torch.autograd.grad(energy, states[-1], create_graph=True)
        states.append(tuple(layer - STEP * slope for layer, slope in zip(states[-1], slopes, strict=True)))
    cost = 0.5 * (states[-1][-1] - setting.targets).square().sum()
    backward, updates = [], []
    for state, network in zip(reversed(states), reversed(networks), strict=False):
        names, parameters = zip(*network.named_parameters(), strict=True)
        found = torch.autograd.grad(
            cost, [*state, *parameters], retain_graph=True, allow_unused=True, materialize_grads=True
        )
        backward.append(tuple(-value for value in found[: len(state)]))
        updates.append(dict(zip(names, found[len(state) :], strict=True)))
    return backward, updates


def _changes(setting: Setting, states: list[Layers]) -> list[dict[str, Tensor]]:
    """Change of ∂E/∂θ over each step, over β, summed over the samples."""
    changes = []
    for before, after in pairwise(states):
        response = tuple(new - old for new, old in zip(after, before, strict=True))
        contrast = setting.network.contrast(setting.inputs, before, response)
        changes.append({name: value / NUDGING for name, value in contrast.items()})
    return changes


def _adjoint_velocities(setting: Setting) -> list[Layers]:
    """dλ/dt at steps 0 … K − 1 of the adjoint dynamics from rest."""
    error = setting.free[-1] - setting.targets
    steps = AdjointDynamics(STEP).steps(setting.network, setting.inputs, setting.free, error)
    return [velocity for _, velocity in islice(steps, STEPS)]


def _settled_gradient(setting: Setting) -> float:
    """Relative difference of the gradient from the settled adjoint dynamics from that by implicit differentiation."""
    dynamics = AdjointDynamics(STEP, rtol=1e-12)
    method = RecurrentBackpropagation(setting.network, SquaredError(), SOLVER, dynamics)
    _, found = method.gradients(setting.inputs, setting.targets)
    return relative_difference(flattened(found), flattened(implicit_gradient(setting)))


def _layer_checks(velocities: list[Layers], backward: list[Layers]) -> list[Check]:
    """The worst step of each layer, from the one on which the error has reached it; before, "all units" judges it."""
    checks = []
    for k in range(len(velocities[0])):
        pairs = [(found[k], wanted[k]) for found, wanted in zip(velocities, backward, strict=True)]
        worst = max(relative_difference(found, wanted) for found, wanted in pairs if bool(wanted.any()))
        checks.append(Check(CLAIM, f"worst of {STEPS} steps, against {BPTT}", f"layer {k + 1}", worst, high=1e-3))
    return checks


def _joined(*states: Layers) -> tuple[Tensor, ...]:
    """Each state with its layers side by side."""
    return tuple(torch.cat(layers, -1) for layers in states)


def _stacked(states: list[Layers]) -> Layers:
    return tuple(torch.stack(layers) for layers in zip(*states, strict=True))
