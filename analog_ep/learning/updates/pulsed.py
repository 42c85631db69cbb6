"""Training as pulsed devices do it: the changes an optimiser proposes become whole pulses."""

from __future__ import annotations

import csv
import io
import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from analog_ep.circuit import Cells, Chip
from analog_ep.devices.pulses import PulsedArray, PulseModel, pulse_model
from analog_ep.devices.selection import WriteScheme, exposures
from analog_ep.errors import CheckpointError, DeviceParameterError
from analog_ep.learning.updates.held_cells import HeldCells
from analog_ep.learning.updates.report import CrossbarWatch
from analog_ep.learning.updates.schemes import FixedStep, PulsedCrossbar, Scheme, update_scheme
from analog_ep.learning.updates.update import ConductanceUpdate
from analog_ep.netlist.form_cards import element_names
from analog_ep.networks import ConductanceNetwork
from analog_ep.support.files import write_atomically

PULSE_COLUMNS = ("branch", "parameter", "index", "sign", "count")
"""Name in the netlist; parameter and flat index into it; +1 to potentiate, −1 to depress; number of pulses."""

_GENERATOR, _LEVEL = "cells.generator", "cells.level."
"""Names in the state of the hardware on a chip."""


@dataclass(frozen=True)
class DevicePulses:
    """Pulses of one sign that one device got in a step; fields as in `PULSE_COLUMNS`."""

    branch: str
    parameter: str
    index: int
    sign: int
    count: int


class PulsedUpdate(ConductanceUpdate):
    """An optimiser whose steps are written with pulses on device models.

    The optimiser, any of `torch.optim`, makes its step; the difference ΔG of the conductances is what it proposes;
    the scheme turns ΔG into whole pulses; the devices rest once; and the parameters become what the devices are read
    as. Nothing but pulses and rests changes a device: at the beginning the devices are put as near to the network's
    conductances as their own bounds allow, and so are those whose conductance has been set from elsewhere.

    On a chip, cells that are stuck or open are devices that no pulse moves; the chip's retention and diffusion act on
    the devices' states after the model's own rest; and a chip's levels are those in which the circuit has the
    conductances: the level of a device that moved is found anew from its state, which they leave as it is. So a carried
    rest needs no memory beside the device. All this concerns the devices that the network reads, not Tiki-Taka's fast
    ones.

    Parameters
    ----------
    optimizer : torch.optim.Optimizer
        Its parameters are those of `network`.
    network : ConductanceNetwork
        The range of each parameter stands for the model's nominal bounds.
    device : PulseModel or str
        Model, or name of a model or preset; see `analog_ep.devices.pulses`.
    scheme : Scheme or str
        Scheme or its name in `analog_ep.learning.updates.schemes.SCHEMES`; by default `FixedStep()`.
    seed : int
        Of the drawn devices, their noise and the scheme's random numbers; every crossbar has streams of its own.
    chip : Chip, optional
        Whose cells the devices are.
    vectors : int
        Samples whose gradients a step sums up: what schemes count that go by vectors.
    write_scheme : "V/2" or "V/3", optional
        How devices of a crossbar are selected: after the pulses of a step the others move by what they have seen of
        them, see `PulsedArray.disturb`. Without it pulses leave them alone.

    Attributes
    ----------
    crossbars : dict of str to PulsedCrossbar
        Devices by parameter.

    Raises
    ------
    DeviceParameterError
        If device or scheme is unknown, or the scheme cannot be used with the network.
    """

    def __init__(
        self,
        optimizer: torch.optim.Optimizer,
        network: ConductanceNetwork,
        device: PulseModel | str = "SoftBounds",
        scheme: Scheme | str | None = None,
        seed: int = 0,
        chip: Chip | None = None,
        vectors: int = 1,
        write_scheme: WriteScheme | None = None,
    ):
        super().__init__(optimizer, network)
        self.write_scheme: WriteScheme | None = write_scheme
        self.held_cells = None if chip is None else HeldCells(network, chip, seed)
        self.device = pulse_model(device) if isinstance(device, str) else device
        self.scheme = update_scheme(scheme) if isinstance(scheme, str) else scheme or FixedStep()
        self.crossbars: dict[str, PulsedCrossbar] = {}
        self._watches: dict[str, CrossbarWatch] = {}
        for layout in network.arrays:
            own_seed = int(np.random.default_rng([seed, len(self.crossbars)]).integers(2**62))
            conductances = network.conductances[layout.label]
            array = PulsedArray.over(self.device, conductances, network.range_of(layout.label), own_seed)
            if self.held_cells is not None and layout.label in self.held_cells.stuck:
                array.stick(self.held_cells.stuck[layout.label])
            crossbar = PulsedCrossbar(layout, array, vectors=vectors)
            self.scheme.prepare(crossbar)
            self.crossbars[layout.label] = crossbar
            self._watches[layout.label] = CrossbarWatch(crossbar)
        self._read_last: dict[str, Tensor] = {}
        self._shown: dict[str, Tensor] = {}
        for label in self.crossbars:
            self._read(label)
        self._before_step = self._counts()

    @torch.no_grad()
    def step(self) -> None:
        self.follow()
        self._before_step = self._counts()
        self.optimizer.step()
        for label, crossbar in self.crossbars.items():
            change = (self.network.get_parameter(label) - self._shown[label]) * self.network.reference_conductance
            began = time.perf_counter()
            with self._disturbing(crossbar):
                self.scheme.write(crossbar, change)
            self._watches[label].note(change, time.perf_counter() - began)
            self._rest(crossbar)
            self._read(label)

    @torch.no_grad()
    def follow(self) -> None:
        for label, crossbar in self.crossbars.items():
            theta = self.network.get_parameter(label)
            moved = theta != self._shown[label]
            if bool(moved.any()):
                crossbar.array.set_conductances(theta * self.network.reference_conductance, moved)
                self._read(label, moved)

    @torch.no_grad()
    def coincide(self, label: str, rows: Tensor, columns: Tensor) -> None:
        """Write ΔG = x δᵀ on one crossbar with trains of pulses, past the optimiser.

        Parameters
        ----------
        label : str
            Parameter of the crossbar, such as "stage1".
        rows, columns : Tensor (n_rows,), (n_columns,)
            x and δ; a product is in [S].

        Raises
        ------
        DeviceParameterError
            If the scheme is another than `StochasticCoincidence`, or the crossbar is unknown, or of another shape.
        """
        if label not in self.crossbars:
            raise DeviceParameterError(f"the crossbar must be one of {', '.join(self.crossbars)}, found {label!r}")
        crossbar = self.crossbars[label]
        shape = crossbar.layout.shape
        if len(shape) != 2:
            raise DeviceParameterError(
                f"pulses coincide on the rows and columns of a crossbar, found {shape[0]} single elements in {label}; "
                "let the optimiser propose the change"
            )
        if (*rows.shape, *columns.shape) != shape:
            raise DeviceParameterError(
                f"{label} needs factors of {shape[0]} rows and {shape[1]} columns, found "
                f"{tuple(rows.shape)} and {tuple(columns.shape)}"
            )
        self.follow()
        with self._disturbing(crossbar):
            self.scheme.write_outer(crossbar, rows, columns)
        self._read(label)

    @property
    def energy(self) -> float:
        """Of all pulses so far. [J]"""
        return sum(float(array.energy) for crossbar in self.crossbars.values() for array in crossbar.arrays)

    @property
    def total_pulses(self) -> int:
        """Pulses of all devices so far, of those too that the network does not read."""
        arrays = [array for crossbar in self.crossbars.values() for array in crossbar.arrays]
        return sum(int(array.potentiations.sum() + array.depressions.sum()) for array in arrays)

    def pulsed_arrays(self) -> dict[str, PulsedArray]:
        found = {label: each.array for label, each in self.crossbars.items()}
        hidden = {f"{label}, fast": each.hidden_array for label, each in self.crossbars.items()}
        return found | {name: array for name, array in hidden.items() if array is not None}

    def pulses_by_device(self) -> dict[str, Tensor]:
        return {name: array.potentiations + array.depressions for name, array in self.pulsed_arrays().items()}

    @torch.no_grad()
    def report(self) -> list[dict[str, object]]:
        return [asdict(watch.report()) for watch in self._watches.values()]

    @property
    def pulse_counts(self) -> dict[str, Tensor]:
        """Pulses that each device the network reads has had, by parameter, int64."""
        return {label: up + down for label, (up, down) in self._counts().items()}

    @property
    def worn_out(self) -> dict[str, Tensor]:
        """Which devices have had as many pulses as they endure, by parameter."""
        return {label: crossbar.array.worn_out for label, crossbar in self.crossbars.items()}

    def pulses(self) -> list[DevicePulses]:
        """Pulses of the last step, in the order of the netlist; what a programmer of the chip is told to do.

        Under program-and-verify a device may have pulses of both signs; their order is not kept.
        """
        counts, rows = self._counts(), []
        for group, label, indices in self.network.circuit().trained_groups():
            given = [
                (after - before).flatten().tolist()
                for after, before in zip(counts[label], self._before_step[label], strict=True)
            ]
            for branch, index in zip(element_names(group), indices.tolist(), strict=True):
                for sign, each in zip((1, -1), given, strict=True):
                    if each[index]:
                        rows.append(DevicePulses(branch, label, index, sign, each[index]))
        return rows

    def write_pulses(self, path: Path) -> int:
        """Write `pulses` as a CSV file of `PULSE_COLUMNS`, atomically; returns the number of rows."""
        text, rows = io.StringIO(), self.pulses()
        table = csv.writer(text, lineterminator="\n")
        table.writerow(PULSE_COLUMNS)
        table.writerows([getattr(row, name) for name in PULSE_COLUMNS] for row in rows)
        write_atomically(path, text.getvalue())
        return len(rows)

    def hardware_state(self) -> dict[str, Tensor]:
        state: dict[str, Tensor] = {}
        for label, crossbar in self.crossbars.items():
            for name, array in zip(("array", "hidden_array"), crossbar.arrays, strict=False):
                state |= {f"{label}.{name}.{key}": value for key, value in array.state_dict().items()}
            state |= {f"{label}.memory.{key}": value.clone() for key, value in crossbar.memory.items()}
            state |= {f"{label}.tally.{key}": value.clone() for key, value in crossbar.tally.items()}
        if self.held_cells is not None:
            state[_GENERATOR] = self.held_cells.generator.get_state()
        if self._has_levels:
            state |= {f"{_LEVEL}{label}": shown.clone() for label, shown in self._shown.items()}
        return state

    def load_hardware_state(self, state: dict[str, Tensor]) -> None:
        found = {name: tuple(value.shape) for name, value in state.items()}
        wanted = {name: tuple(value.shape) for name, value in self.hardware_state().items()}
        if found != wanted:
            different = sorted(name for name in found.keys() | wanted.keys() if found.get(name) != wanted.get(name))
            raise CheckpointError(f"the state must be of these devices and this scheme, found another {different[0]}")
        for label, crossbar in self.crossbars.items():
            for name, array in zip(("array", "hidden_array"), crossbar.arrays, strict=False):
                array.load_state_dict(_under(state, f"{label}.{name}."))
            for key, value in crossbar.memory.items():
                crossbar.memory[key] = state[f"{label}.memory.{key}"].to(value, copy=True)
            for key, value in crossbar.tally.items():
                crossbar.tally[key] = state[f"{label}.tally.{key}"].to(value, copy=True)
            self._watches[label].begin()
            self._show(label, self._theta(crossbar), state.get(f"{_LEVEL}{label}"))
        if self.held_cells is not None:
            self.held_cells.generator.set_state(state[_GENERATOR])
        self._before_step = self._counts()

    @contextmanager
    def _disturbing(self, crossbar: PulsedCrossbar) -> Iterator[None]:
        """Let the devices see what pulses for others are given meanwhile; single elements have lines of their own."""
        if self.write_scheme is None or len(crossbar.layout.shape) != 2:
            yield
            return
        before = [(array.potentiations.clone(), array.depressions.clone()) for array in crossbar.arrays]
        yield
        for array, (up, down) in zip(crossbar.arrays, before, strict=True):
            array.disturb(exposures(array.potentiations - up, array.depressions - down, self.write_scheme))

    def _rest(self, crossbar: PulsedCrossbar) -> None:
        for array in crossbar.arrays:
            array.rest()
        cells = Cells() if self.held_cells is None else self.held_cells.cells
        if math.isfinite(cells.retention) or cells.diffusion:
            crossbar.array.forget(math.exp(-1 / cells.retention), cells.diffusion)

    def _read(self, label: str, moved: Tensor | None = None) -> None:
        """The circuit has what devices are read as; in levels, only those that moved, all of them at the beginning."""
        read, shown, cells = self._theta(self.crossbars[label]), None, self.held_cells
        if cells is not None and self._has_levels:
            shown = cells.levelled(label, read)
            if label in self._shown:
                changed = read != self._read_last[label]
                changed = changed if moved is None else changed | moved
                shown = torch.where(changed, shown, self._shown[label])
        self._show(label, read, shown)

    @torch.no_grad()
    def _show(self, label: str, read: Tensor, shown: Tensor | None) -> None:
        shown = read if shown is None else shown.to(read, copy=True)
        if self.held_cells is not None:
            shown = self.held_cells.held(label, shown)
        self._read_last[label], self._shown[label] = read, shown
        self.network.get_parameter(label).copy_(shown)

    @property
    def _has_levels(self) -> bool:
        return self.held_cells is not None and self.held_cells.cells.levels is not None

    def _theta(self, crossbar: PulsedCrossbar) -> Tensor:
        return crossbar.array.conductances / self.network.reference_conductance

    def _counts(self) -> dict[str, tuple[Tensor, Tensor]]:
        return {
            label: (crossbar.array.potentiations.clone(), crossbar.array.depressions.clone())
            for label, crossbar in self.crossbars.items()
        }


def _under(state: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}
