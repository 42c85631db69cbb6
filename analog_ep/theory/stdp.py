r"""Spike-timing-dependent plasticity over the second phase gives the contrast of the two fixed points.

A synapse from i to j that follows :math:`dW_{ij}/dt ∝ ρ(u_i) \, dρ(u_j)/dt` (Scellier & Bengio 2017,
arXiv:1602.05179) and the one back from j to i change their symmetric weight together by

.. math:: \int ρ(u_i) \, dρ(u_j) + ρ(u_j) \, dρ(u_i) = Δ[ρ(u_i) ρ(u_j)] .

The path is stepped by Euler's rule, on which the integral is a sum with an error O(dt). There are two forms of it: with
dρ = ρ'(u) du, as a synapse that sees the postsynaptic velocity has it, and with the increments of ρ themselves, the
symmetric form, which is exact where one end is an input. Either direction alone is not the contrast.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

from analog_ep.equilibrium import solve
from analog_ep.theory.checks import Check, order, relative_difference
from analog_ep.theory.setting import SOLVER, Layers, Setting, euler_steps

TIME_STEPS = (0.4, 0.2, 0.1, 0.05, 0.02, 0.01, 0.005)
"""In time constants of the leak; the last is the one that is judged."""

NUDGING = 0.2
"""Large enough for the path to be curved, and small enough for its end to be the free state's neighbour."""

_SETTLED = 1e-10
"""Speed of the fastest unit at which the second phase ends."""

CLAIM = "STDP integrated over the second phase = contrast"


@dataclass(frozen=True, eq=False)
class PlasticityCurves:
    """Relative error of the integral over dt, by form and weight; and what one direction alone leaves out."""

    time_steps: tuple[float, ...]
    errors: dict[str, dict[str, list[float]]]


def check_plasticity(
    setting: Setting, time_steps: Sequence[float] = TIME_STEPS
) -> tuple[list[Check], PlasticityCurves]:
    """The integral in both forms against the contrast of the two fixed points, over dt."""
    nudged = solve(setting.network, setting.inputs, setting.nudge(NUDGING), solver=SOLVER, start=setting.equilibrium)
    response = nudged.response(setting.equilibrium)
    contrast = setting.network.contrast(setting.inputs, setting.free, response)
    wanted = {name: value for name, value in contrast.items() if name.startswith("weight")}
    errors: dict[str, dict[str, list[float]]] = {form: {name: [] for name in wanted} for form in FORMS}
    for step in time_steps:
        for form, integral in integrals(setting, step).items():
            for name, value in zip(wanted, integral, strict=True):
                errors[form][name].append(relative_difference(value, wanted[name]))
    return _checks(time_steps, errors), PlasticityCurves(tuple(time_steps), errors)


FORMS = ("velocity", "symmetric", "one direction")


def _checks(time_steps: Sequence[float], errors: dict[str, dict[str, list[float]]]) -> list[Check]:
    checks = []
    for form in FORMS[:2]:
        for name, found in errors[form].items():
            label = f"{name}, {form} form"
            checks.append(Check(CLAIM, f"relative error at dt = {time_steps[-1]:g}", label, found[-1], high=1e-3))
            if (name, form) != ("weight1", "symmetric"):
                checks.append(Check(CLAIM, "order in dt", label, order(time_steps, found), 0.9, 1.1))
    return checks


@torch.no_grad()
def integrals(setting: Setting, step: float) -> dict[str, list[Tensor]]:
    """Change of each weight over the second phase, as a gradient: of opposite sign; summed over the samples."""
    by_velocity, by_increment = (_pairs(total, setting.network.sizes) for total in _path_integrals(setting, step))
    return {
        "velocity": [-(ahead + back.T) for ahead, back in by_velocity],
        "symmetric": [-(ahead + back.T) for ahead, back in by_increment],
        "one direction": [-ahead for ahead, _ in by_velocity],
    }


def _path_integrals(setting: Setting, step: float) -> tuple[Tensor, Tensor]:
    """∫ ρ(u_i) dρ(u_j) for all pairs of units, inputs included, with dρ = ρ'(u) du and with the increments of ρ."""
    network = setting.network
    still = torch.zeros_like(setting.inputs)
    by_velocity = by_increment = torch.zeros((), dtype=still.dtype)
    path = euler_steps(network, setting.inputs, setting.free, step, setting.nudge(NUDGING))
    rates = _rates(setting, setting.free)
    for (layers, velocity), (ends, speed) in pairwise(path):
        moved = [network.activation.slope(layer) * rate for layer, rate in zip(layers, velocity, strict=True)]
        after = _rates(setting, ends)
        by_velocity = by_velocity + step * rates.T @ torch.cat([still, *moved], -1)
        by_increment = by_increment + rates.T @ (after - rates)
        rates = after
        if max(float(rate.abs().max()) for rate in speed) <= _SETTLED:
            break
    return by_velocity, by_increment


def _rates(setting: Setting, layers: Layers) -> Tensor:
    """Rates of the inputs and of all units, `(n_samples, n_inputs + n_units)`."""
    return torch.cat([setting.inputs, *(setting.network.activation.value(layer) for layer in layers)], -1)


def _pairs(total: Tensor, sizes: Sequence[int]) -> list[tuple[Tensor, Tensor]]:
    """For each weight its block of an all-pairs matrix, `(n_before, n_after)`, and that of the way back."""
    blocks = [rows.split(list(sizes), 1) for rows in total.split(list(sizes), 0)]
    return [(blocks[k][k + 1], blocks[k + 1][k]) for k in range(len(sizes) - 1)]
