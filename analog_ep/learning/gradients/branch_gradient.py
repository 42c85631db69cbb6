"""The gradient that two nudged states give, by a circuit's own branches and energy weights: what judges others.

It shares with `EquilibriumPropagation` neither the weights of the stages nor the division by β and the batch: the
weights are those that the circuit's amplifiers ask for, and every branch is looked at by itself.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from analog_ep.circuit import Circuit
from analog_ep.circuit.energy import branch_weights, contrast_weights, held_nodes, output_weight
from analog_ep.errors import StimulusError

_CHUNK = 2**22

NEGLIGIBLE = 1e-7
"""Norm of a crossbar's gradient, relative to the largest one, below which it is the rounding of a zero."""


def branch_gradient(circuit: Circuit, lower: np.ndarray, upper: np.ndarray, between: float) -> dict[str, Tensor]:
    r"""Mean over the samples of :math:`(w/w_L) [(v^+)^2 - (v^-)^2] / 2 (β^+ - β^-)` of every trainable conductance.

    Parameters
    ----------
    circuit : Circuit
        With outputs; its conductances and diodes do not count. Without an energy the weights are the nearest ones, and
        the gradient is not the cost's.
    lower, upper : ndarray (n_samples, n_nodes)
        Node voltages at the lower and the upper nudging strength. [V]
    between : float
        β⁺ − β⁻ > 0.

    Returns
    -------
    dict of str to Tensor (n_parameters,)
        By the name of the parameter, in its flat order.

    Raises
    ------
    StimulusError
        If it has no outputs.
    """
    if circuit.outputs is None:
        raise StimulusError(f"a nudged gradient needs outputs, found none in {circuit.title!r}; see set_outputs")
    weights, held = contrast_weights(circuit), held_nodes(circuit)
    output = output_weight(circuit, weights)
    gradients: dict[str, Tensor] = {}
    for group, name, index in circuit.trained_groups():
        squares, step = np.zeros(len(group)), max(1, _CHUNK // max(1, len(group)))
        for begin in range(0, len(lower), step):
            low, high = (
                states[begin : begin + step, group.positive] - states[begin : begin + step, group.negative]
                for states in (lower, upper)
            )
            squares += ((high - low) * (high + low)).sum(0)
        share = 0.5 * branch_weights(group, weights, held) / output
        own = torch.from_numpy(np.bincount(index, share * squares / (between * len(lower))))
        so_far = gradients.get(name, own.new_zeros(0))
        # Groups that share a parameter add up; either may end before the other's last element.
        total = own.new_zeros(max(len(own), len(so_far)))
        total[: len(own)] += own
        total[: len(so_far)] += so_far
        gradients[name] = total
    return gradients


@dataclass(frozen=True)
class Likeness:
    """How alike two gradients are in direction and in size.

    Attributes
    ----------
    cosine : float
        Of the angle between them.
    ratio : float
        Norm of the first over that of the second.
    """

    cosine: float
    ratio: float


def likenesses(found: dict[str, Tensor], wanted: dict[str, Tensor]) -> dict[str, Likeness]:
    """By crossbar. Where both are zero, but for rounding, they are alike."""
    floor = NEGLIGIBLE * max(float(gradient.norm()) for gradient in wanted.values())
    return {name: _likeness(gradient.flatten(), wanted[name].flatten(), floor) for name, gradient in found.items()}


def likeness(found: dict[str, Tensor], wanted: dict[str, Tensor]) -> Likeness:
    """Of the whole gradients, all parameters together."""
    ours, theirs = (torch.cat([g[name].double().cpu().flatten() for name in found]) for g in (found, wanted))
    return likenesses({"": ours}, {"": theirs})[""]


def _likeness(found: Tensor, wanted: Tensor, floor: float) -> Likeness:
    found, wanted = found.double().cpu(), wanted.double().cpu()
    ours, theirs = float(found.norm()), float(wanted.norm())
    if ours <= floor and theirs <= floor:
        return Likeness(1.0, 1.0)
    if not ours or not theirs:
        return Likeness(0.0, 0.0 if not ours else float("inf"))
    return Likeness(float((found / ours) @ (wanted / theirs)), ours / theirs)
