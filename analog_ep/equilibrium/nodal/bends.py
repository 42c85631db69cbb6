"""How far the currents of nonlinear branches leave their tangents where the controls move."""

from __future__ import annotations

from itertools import product

import numpy as np
import torch

from analog_ep.equilibrium.nodal.reduction import ReducedSystem
from analog_ep.stimulus import Nudge

_CORNERS = 8
"""Controls of a branch up to which the slopes are taken at every corner of a move; the corners double with each."""


def bends(system: ReducedSystem, volts: np.ndarray, moved: np.ndarray) -> np.ndarray:
    """Change of the slopes over a move, times the move, at the worst corner of it, `(n_samples, n_nonlinear)`. [A]

    Parameters
    ----------
    system : ReducedSystem
        Whose branches.
    volts, moved : ndarray (n_samples, n_controls)
        Voltages that control them, and how far each moves at most. [V]
    """
    here, bend = system.currents(volts)[1], np.zeros((len(volts), system.n_nonlinear))
    few = [group for group in system.groups if len(group.controls) <= _CORNERS]
    for corner in product((-1.0, 1.0), repeat=max((len(group.controls) for group in few), default=0)):
        side = np.zeros(volts.shape[1])
        for group in few:
            for place, sign in zip(group.controls, corner, strict=False):
                side[place] = sign
        bend = np.maximum(bend, _bend(system, np.abs(system.currents(volts + side * moved)[1] - here), moved))
    many = [group.controls for group in system.groups if len(group.controls) > _CORNERS]
    return np.maximum(bend, _bend(system, _changes(system, volts, moved, here, many), moved)) if many else bend


def _bend(system: ReducedSystem, change: np.ndarray, moved: np.ndarray) -> np.ndarray:
    found = np.zeros((len(change), system.n_nonlinear))
    np.add.at(found.T, system.controlled, np.where(moved > 0, change * moved, 0.0).T)
    return found


def _changes(
    system: ReducedSystem, volts: np.ndarray, moved: np.ndarray, here: np.ndarray, groups: list[tuple[slice, ...]]
) -> np.ndarray:
    """Most that the slopes of these groups of controls change, by moves of one control after the other. [S]"""
    # A move to a corner is one of each control in turn, while the others are here or at the corner already. That
    # is looked at with all of them here, at either end, and where the slopes point up or down; what a mixed
    # setting adds is of second order in the move, and an enclosure needs a small one: twice the sum is enough.
    chosen = np.zeros(volts.shape[1])
    for place in (place for controls in groups for place in controls):
        chosen[place] = 1.0
    up = np.sign(here) * chosen
    settings = [0.0 * up, chosen, -chosen, up, -up]
    corners = [np.abs(system.currents(volts + setting * moved)[1] - here) * chosen for setting in settings[1:]]
    total = np.zeros_like(volts)
    for number in range(max(map(len, groups))):
        own = np.zeros(volts.shape[1], dtype=bool)
        for controls in groups:
            own[controls[number] if number < len(controls) else slice(0)] = True
        worst = np.zeros_like(volts)
        for setting in settings:
            middle, *ends = (
                system.currents(volts + np.where(own, side, setting) * moved)[1] for side in (0.0, -1.0, 1.0)
            )
            worst = np.maximum(worst, np.max([np.abs(end - middle) for end in ends], axis=0))
        total += worst * chosen
    return 2 * np.max([total, *corners], axis=0)


def nudge_bends(nudge: Nudge, outputs: np.ndarray, moved: np.ndarray) -> np.ndarray:
    """The same of a nudge's currents, where the outputs `(n_samples, n_outputs)` [V] move by `moved` at most. [A]"""
    volts, reach = (torch.from_numpy(np.ascontiguousarray(values)) for values in (outputs, moved))
    here = nudge.cost.hessian(volts)
    below, above = ((nudge.cost.hessian(volts + side * reach) - here).abs() for side in (-1, 1))
    return (abs(nudge.strength) * torch.maximum(below, above) @ reach[..., None])[..., 0].numpy()
