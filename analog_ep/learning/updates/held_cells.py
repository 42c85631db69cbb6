"""What a chip's cells make of the conductances that are written into them."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from analog_ep.circuit import Cells, Chip
from analog_ep.networks import ConductanceNetwork


class HeldCells:
    """Levels and stuck cells of the crossbars of a network on a chip.

    Parameters
    ----------
    network : ConductanceNetwork
        Gives the range.
    chip : Chip
        Of this network.
    seed : int
        Of the rounding, and of what else is drawn from `generator`.

    Attributes
    ----------
    cells : Cells
        Levels, retention and diffusion.
    low, high : float
        Ends of the range of θ.
    stuck : dict of str to Tensor
        Conductances, in the shape of θ, of the cells that no array can move, NaN for the others; no entry where all
        move. With twin arrays, a cell that is sound in one of them moves there. [S]
    generator : torch.Generator
        Its random numbers.
    """

    def __init__(self, network: ConductanceNetwork, chip: Chip, seed: int = 0):
        self.network = network
        self.cells = Cells() if chip.cells is None else chip.cells
        low, high = network.conductance_range
        self.low, self.high = low / network.reference_conductance, high / network.reference_conductance
        self.stuck: dict[str, Tensor] = {}
        for layout in network.arrays:
            theta, key = network.get_parameter(layout.label).detach(), f"{layout.label}.siemens"
            first, later = (array.value(key, theta) for array in (chip, chip.later))
            stuck = torch.where(torch.isnan(later), torch.nan, first)
            if not bool(torch.isnan(stuck).all()):
                self.stuck[layout.label] = stuck
        self.generator = torch.Generator().manual_seed(int(np.random.default_rng([seed, 2]).integers(2**62)))

    def levelled(self, wanted: Tensor) -> Tensor:
        """Levels that cells take for wanted θ, rounded as the cells say; these themselves where there are no levels."""
        if self.cells.levels is None:
            return wanted
        spacing = (self.high - self.low) / (self.cells.levels - 1)
        place = (wanted - self.low) / spacing
        if self.cells.rounding == "stochastic":
            chance = torch.rand(wanted.shape, generator=self.generator, dtype=torch.float64).to(wanted)
            level = torch.floor(place + chance)
        else:
            level = torch.round(place)
        return self.low + spacing * level.clamp(0, self.cells.levels - 1)

    def held(self, label: str, theta: Tensor) -> Tensor:
        """θ of one crossbar with its stuck cells where they are; an open one's stands at the end of the range."""
        if label not in self.stuck:
            return theta
        stuck = (self.stuck[label] / self.network.reference_conductance).clamp(self.low, self.high)
        return torch.where(torch.isnan(stuck), theta, stuck)
