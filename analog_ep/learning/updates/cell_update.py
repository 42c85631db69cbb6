"""Updates of a chip whose cells are stuck, have finite levels, or forget."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from analog_ep.circuit import Chip
from analog_ep.errors import CheckpointError, CircuitError
from analog_ep.learning.updates.held_cells import HeldCells
from analog_ep.learning.updates.update import ConductanceUpdate, ParameterUpdate
from analog_ep.networks import ConductanceNetwork

_OWN = "cells."


class CellUpdate(ConductanceUpdate):
    """An update whose result the cells of a chip hold as well as they can.

    After each step of the wrapped update the wanted conductances become levels; then the cells rest for one step,
    decaying and diffusing; and stuck cells stay where they are. Where there are twin arrays, a cell that is sound in
    one of them goes on moving there. Devices that are pulsed have states of their own: `PulsedUpdate` takes the chip.

    Parameters
    ----------
    update : ParameterUpdate
        What makes the step; its conductances can be written at once.
    network : ConductanceNetwork
        Whose conductances; those of stuck cells are set here, and so is every one to its level.
    chip : Chip
        Of this network.
    seed : int
        Of the rounding and of the diffusion.

    Raises
    ------
    CircuitError
        If the update's conductances are states of devices.
    """

    def __init__(self, update: ParameterUpdate, network: ConductanceNetwork, chip: Chip, seed: int = 0):
        super().__init__(update.optimizer, network)
        if update.hardware_state():
            raise CircuitError(
                "cells hold conductances that are written at once, found devices with states of their own; "
                "use PulsedUpdate(…, chip=chip)"
            )
        self.update, self.held_cells = update, HeldCells(network, chip, seed)
        self.cells = self.held_cells.cells
        self._labels = [layout.label for layout in network.arrays]
        self._carried: dict[str, Tensor] = {}
        self._held: dict[str, Tensor] = {}
        with torch.no_grad():
            for label in self._labels:
                self._write(label)
                self._hold(label)

    @torch.no_grad()
    def step(self) -> None:
        self.follow()
        for label, carried in self._carried.items():
            self.network.get_parameter(label).add_(carried)
        self.update.step()
        for label in self._labels:
            self._write(label)
            self._rest(label)
            self._hold(label)

    @torch.no_grad()
    def follow(self) -> None:
        for label in self._labels:
            theta, held = self.network.get_parameter(label), self._held[label]
            moved, carried = theta != held, self._carried.get(label)
            if not bool(moved.any()):
                continue
            self._write(label)
            theta.copy_(torch.where(moved, theta, held))
            if carried is not None:
                self._carried[label] = torch.where(moved, self._carried[label], carried)
            self._hold(label)

    def _write(self, label: str) -> None:
        """Wanted conductances become levels."""
        theta = self.network.get_parameter(label)
        written = self.held_cells.levelled(label, theta)
        if self.cells.levels is not None and self.cells.rounding == "carried":
            self._carried[label] = theta - written
        theta.copy_(written)

    def _rest(self, label: str) -> None:
        theta, cells = self.network.get_parameter(label), self.cells
        low, high = self.network.theta_range(label)
        if math.isfinite(cells.retention):
            theta.sub_(low).mul_(math.exp(-1 / cells.retention)).add_(low)
        if cells.diffusion:
            walk = torch.randn(theta.shape, generator=self.held_cells.generator, dtype=torch.float64).to(theta)
            theta.add_(cells.diffusion * (high - low) * walk).clamp_(low, high)

    def _hold(self, label: str) -> None:
        theta = self.network.get_parameter(label)
        theta.copy_(self.held_cells.held(label, theta))
        if label in self._carried and label in self.held_cells.stuck:
            self._carried[label].masked_fill_(~torch.isnan(self.held_cells.stuck[label]), 0.0)
        self._held[label] = theta.detach().clone()

    def hardware_state(self) -> dict[str, Tensor]:
        own = {f"{_OWN}generator": self.held_cells.generator.get_state()}
        own |= {f"{_OWN}carried.{label}": carried for label, carried in self._carried.items()}
        return own | self.update.hardware_state()

    def load_hardware_state(self, state: dict[str, Tensor]) -> None:
        own = {name: value for name, value in state.items() if name.startswith(_OWN)}
        wanted = {name for name in self.hardware_state() if name.startswith(_OWN)}
        if own.keys() != wanted:
            raise CheckpointError(f"the state must be of these cells, found another {min(own.keys() ^ wanted)}")
        self.update.load_hardware_state({name: value for name, value in state.items() if name not in own})
        self.held_cells.generator.set_state(own[f"{_OWN}generator"])
        for label, carried in self._carried.items():
            carried.copy_(own[f"{_OWN}carried.{label}"])
        self._held = {label: self.network.get_parameter(label).detach().clone() for label in self._labels}
