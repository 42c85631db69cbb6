"""What a chip's cells make of the conductances that are written into them."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from analog_ep.circuit import Cells, Chip
from analog_ep.circuit.places import n_places
from analog_ep.networks import ConductanceNetwork


class HeldCells:
    """Levels and stuck cells of the crossbars of a network on a chip.

    Parameters
    ----------
    network : ConductanceNetwork
        Gives the ranges.
    chip : Chip
        Of this network.
    seed : int
        Of the rounding, and of what else is drawn from `generator`.

    Attributes
    ----------
    cells : Cells
        Levels, retention and diffusion.
    stuck : dict of str to Tensor
        Conductances, in the shape of θ, of the cells that no array can move, NaN for the others; no entry where all
        move. With twin arrays, a cell that is sound in one of them moves there. [S]
    generator : torch.Generator
        Its random numbers.
    """

    def __init__(self, network: ConductanceNetwork, chip: Chip, seed: int = 0):
        self.network = network
        self.cells = Cells() if chip.cells is None else chip.cells
        found = _stuck(network, chip)
        self.stuck = {name: stuck for name, stuck in found.items() if not bool(torch.isnan(stuck).all())}
        self.generator = torch.Generator().manual_seed(int(np.random.default_rng([seed, 2]).integers(2**62)))

    def levelled(self, label: str, wanted: Tensor) -> Tensor:
        """Levels that a parameter's cells take for wanted θ, rounded as the cells say; these θ where there are none."""
        if self.cells.levels is None:
            return wanted
        low, high = self.network.theta_range(label)
        spacing = (high - low) / (self.cells.levels - 1)
        place = (wanted - low) / spacing
        if self.cells.rounding == "stochastic":
            chance = torch.rand(wanted.shape, generator=self.generator, dtype=torch.float64).to(wanted)
            level = torch.floor(place + chance)
        else:
            level = torch.round(place)
        return low + spacing * level.clamp(0, self.cells.levels - 1)

    def held(self, label: str, theta: Tensor) -> Tensor:
        """θ of one crossbar with its stuck cells where they are; an open one's stands at the end of the range."""
        if label not in self.stuck:
            return theta
        stuck = (self.stuck[label] / self.network.reference_conductance).clamp(*self.network.theta_range(label))
        return torch.where(torch.isnan(stuck), theta, stuck)


def _stuck(network: ConductanceNetwork, chip: Chip) -> dict[str, Tensor]:
    """Conductances of stuck cells by parameter, NaN where any branch of an element, in any array, can be moved. [S]"""
    like = {name: theta.detach() for name, theta in network.named_parameters()}
    values = {name: np.full(theta.numel(), np.nan) for name, theta in like.items()}
    movable = {name: np.zeros(theta.numel(), dtype=bool) for name, theta in like.items()}
    for group, name, index in network.circuit().trained_groups():
        sound = np.full(n_places(group), np.nan)
        first, later = (array.values.get(f"{group.label}.siemens", sound) for array in (chip, chip.later))
        stuck = np.where(np.isnan(later), np.nan, first)[index]
        held = ~np.isnan(stuck)
        values[name][index[held]] = stuck[held]
        movable[name][index[~held]] = True
    return {
        name: torch.from_numpy(np.where(movable[name], np.nan, values[name])).reshape(theta.shape).to(theta)
        for name, theta in like.items()
    }
