"""The gradient of the objective is the contrast of the two phases, in the limit of small nudges."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass

import torch
from torch import Tensor

from analog_ep.equilibrium import solve
from analog_ep.learning import EnergyImplicitDifferentiation, EquilibriumPropagation
from analog_ep.learning.gradients.method import Variant
from analog_ep.stimulus import SquaredError
from analog_ep.theory.checks import Check, cosine, flattened, order, relative_difference
from analog_ep.theory.setting import SOLVER, Setting

NUDGINGS = (0.2, 0.1, 0.05, 0.02, 0.01, 0.005, 0.002, 0.001)
"""Strengths β of the sweep; the last is the one that is judged."""

_STEP = 1e-5
"""Step of the central differences: truncation is near 1e-10 and rounding near 1e-11."""

_ORDERS: dict[Variant, float] = {"positive": 1.0, "centered": 2.0}
"""Power of β in the bias of each variant; the cosines are those of the last."""

CLAIM = "gradient of the objective = contrast of the phases"


@dataclass(frozen=True, eq=False)
class GradientCurves:
    """Relative error of the contrast over β, all parameters together, by variant."""

    nudgings: tuple[float, ...]
    errors: dict[str, list[float]]


def check_gradient(setting: Setting) -> tuple[list[Check], GradientCurves]:
    """The contrast against implicit differentiation and finite differences, and its bias over β."""
    exact = implicit_gradient(setting)
    curves: dict[str, list[float]] = {variant: [] for variant in _ORDERS}
    found: dict[str, Tensor] = {}
    for beta in NUDGINGS:
        for variant in _ORDERS:
            found = _estimate(setting, beta, variant)
            curves[variant].append(relative_difference(flattened(found), flattened(exact)))
    checks = [
        Check(CLAIM, f"cosine, centered, β = {NUDGINGS[-1]:g}", name, cosine(found[name], wanted), low=0.9999)
        for name, wanted in exact.items()
    ]
    for variant, wanted in _ORDERS.items():
        slope = order(NUDGINGS, curves[variant])
        checks.append(Check(CLAIM, "order of the bias in β", variant, slope, wanted - 0.1, wanted + 0.1))
    for name, slope in finite_differences(setting, exact).items():
        checks.append(Check(CLAIM, "implicit against finite differences", name, slope, high=1e-6))
    return checks, GradientCurves(NUDGINGS, curves)


def _estimate(setting: Setting, beta: float, variant: Variant) -> dict[str, Tensor]:
    method = EquilibriumPropagation(
        setting.network, beta, SquaredError(), variant=variant, kind="elastic", solver=SOLVER
    )
    return method.gradients(setting.inputs, setting.targets)[1]


def implicit_gradient(setting: Setting) -> dict[str, Tensor]:
    """dC/dθ, mean over the samples, by dense implicit differentiation of the energy with autograd."""
    method = EnergyImplicitDifferentiation(setting.network, SquaredError())
    return method.gradients(setting.inputs, setting.targets, setting.equilibrium)[1]


def finite_differences(setting: Setting, exact: dict[str, Tensor]) -> dict[str, float]:
    """Relative difference of each parameter's gradient, along a random direction, from that of the settled cost."""
    generator = torch.Generator().manual_seed(0)
    found = {}
    for name, gradient in exact.items():
        direction = torch.randn(gradient.shape, generator=generator, dtype=gradient.dtype)
        costs = [_cost_beside(setting, name, sign * _STEP * direction) for sign in (1, -1)]
        slope = (costs[0] - costs[1]) / (2 * _STEP)
        found[name] = abs(float((gradient * direction).sum()) - slope) / float(gradient.norm() * direction.norm())
    return found


@torch.no_grad()
def _cost_beside(setting: Setting, name: str, change: Tensor) -> float:
    """Mean cost of the network with one parameter changed."""
    network = deepcopy(setting.network)
    network.get_parameter(name).add_(change)
    outputs = solve(network, setting.inputs, solver=SOLVER, start=setting.equilibrium).outputs
    return float(SquaredError().value(outputs, setting.targets).mean())
