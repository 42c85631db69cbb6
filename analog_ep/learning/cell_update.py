"""Updates of a chip whose cells are stuck, have finite levels, or forget."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from analog_ep.circuit import Cells, Chip
from analog_ep.errors import CheckpointError
from analog_ep.learning.update import ConductanceUpdate
from analog_ep.networks import ResistiveNetwork

_OWN = "cells."


class CellUpdate(ConductanceUpdate):
    """An update whose result the cells of a chip hold as well as they can.

    After each step of the wrapped update the wanted conductances become levels; then the cells rest for one step,
    decaying and diffusing; and stuck cells stay where they are. Where there are twin arrays, a cell that is sound in
    one of them goes on moving there.

    Parameters
    ----------
    update : ConductanceUpdate
        What makes the step.
    network : ResistiveNetwork
        Whose conductances; those of stuck cells are set here, and so is every one to its level.
    chip : Chip
        Of this network.
    seed : int
        Of the rounding and of the diffusion.
    """

    def __init__(self, update: ConductanceUpdate, network: ResistiveNetwork, chip: Chip, seed: int = 0):
        super().__init__(update.optimizer, network)
        self.update = update
        self.cells = Cells() if chip.cells is None else chip.cells
        low, high = network.conductance_range
        self._low, self._high = low / network.reference_conductance, high / network.reference_conductance
        self._labels = [layout.label for layout in network.layouts]
        self._stuck = {label: stuck for label in self._labels if (stuck := self._stuck_thetas(label, chip)) is not None}
        self._generator = torch.Generator().manual_seed(int(np.random.default_rng([seed, 2]).integers(2**62)))
        self._carried: dict[str, Tensor] = {}
        with torch.no_grad():
            for label in self._labels:
                self._write(label)
                self._hold(label)

    def _stuck_thetas(self, label: str, chip: Chip) -> Tensor | None:
        """θ of the cells that no array can move, NaN for the others; an open cell's stands at the end of the range."""
        theta, key = self.network.theta(label).detach(), f"{label}.siemens"
        first, later = (array.value(key, theta) for array in (chip, chip.later))
        stuck = torch.where(torch.isnan(later), torch.nan, first)
        if bool(torch.isnan(stuck).all()):
            return None
        return (stuck / self.network.reference_conductance).clamp(self._low, self._high)

    @torch.no_grad()
    def step(self) -> None:
        for label, carried in self._carried.items():
            self.network.theta(label).add_(carried)
        self.update.step()
        for label in self._labels:
            self._write(label)
            self._rest(label)
            self._hold(label)

    def _write(self, label: str) -> None:
        """Wanted conductances become levels."""
        if self.cells.levels is None:
            return
        theta = self.network.theta(label)
        spacing = (self._high - self._low) / (self.cells.levels - 1)
        wanted = (theta - self._low) / spacing
        if self.cells.rounding == "stochastic":
            chance = torch.rand(theta.shape, generator=self._generator, dtype=torch.float64).to(theta)
            level = torch.floor(wanted + chance)
        else:
            level = torch.round(wanted)
        written = self._low + spacing * level.clamp(0, self.cells.levels - 1)
        if self.cells.rounding == "carried":
            self._carried[label] = theta - written
        theta.copy_(written)

    def _rest(self, label: str) -> None:
        theta, cells = self.network.theta(label), self.cells
        if math.isfinite(cells.retention):
            theta.sub_(self._low).mul_(math.exp(-1 / cells.retention)).add_(self._low)
        if cells.diffusion:
            walk = torch.randn(theta.shape, generator=self._generator, dtype=torch.float64).to(theta)
            theta.add_(cells.diffusion * (self._high - self._low) * walk).clamp_(self._low, self._high)

    def _hold(self, label: str) -> None:
        if label not in self._stuck:
            return
        theta, stuck = self.network.theta(label), self._stuck[label]
        theta.copy_(torch.where(torch.isnan(stuck), theta, stuck))
        if label in self._carried:
            self._carried[label].masked_fill_(~torch.isnan(stuck), 0.0)

    def hardware_state(self) -> dict[str, Tensor]:
        own = {f"{_OWN}generator": self._generator.get_state()}
        own |= {f"{_OWN}carried.{label}": carried for label, carried in self._carried.items()}
        return own | self.update.hardware_state()

    def load_hardware_state(self, state: dict[str, Tensor]) -> None:
        own = {name: value for name, value in state.items() if name.startswith(_OWN)}
        wanted = {name for name in self.hardware_state() if name.startswith(_OWN)}
        if own.keys() != wanted:
            raise CheckpointError(f"the state must be of these cells, found another {min(own.keys() ^ wanted)}")
        self.update.load_hardware_state({name: value for name, value in state.items() if name not in own})
        self._generator.set_state(own[f"{_OWN}generator"])
        for label, carried in self._carried.items():
            carried.copy_(own[f"{_OWN}carried.{label}"])
