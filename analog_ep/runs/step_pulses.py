"""The pulses of one update of a run: what the drivers of its crossbars do, and what all other devices see of it."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from rich.table import Table
from torch import Tensor

from analog_ep.cards import given_parameters
from analog_ep.devices.memristors.writing import WriteSchedule, WriteVoltages
from analog_ep.devices.pulses import PulsedArray, PulseModel
from analog_ep.devices.pulses.memristor_steps import READ
from analog_ep.devices.selection import Exposure, WriteScheme, exposures
from analog_ep.errors import CheckpointError, SpecError, StimulusError
from analog_ep.learning.checkpoint import Checkpoint
from analog_ep.learning.training import EpochRecord, Trainer
from analog_ep.learning.updates.pulsed import DevicePulses
from analog_ep.ngspice.pulse_deck import pulse_write_deck
from analog_ep.runs.choosing import CHECKPOINT, stored_spec
from analog_ep.runs.folder import CALIBRATION, START, build_trainer, start_from
from analog_ep.spec import Spec
from analog_ep.support.files import write_atomically
from analog_ep.support.shown import Tabled

PULSE_COLUMNS = (
    "array", "row", "column", "sign", "count", "amplitude [V]", "width [s]", "start [s]", "write scheme",
)  # fmt: skip
"""Of the table of pulses: amplitude is that of row against column, start when the first pulse begins to rise."""

EXPOSURE_COLUMNS = ("array", "row", "column", "voltage [V]", "count")
"""Of the table of what devices see of pulses for others."""

Progress = Callable[[int, int], object]
"""Told how many of how many steps are done."""


_MOST_CORNERS = 200_000
"""Pulses times lines of a deck: with V/3 all lines have corners in every pulse."""


@dataclass(frozen=True, eq=False)
class ArrayPulses:
    """What one array gets in a step.

    Attributes
    ----------
    label : str
        Of the array: that of its parameter, with ", fast" behind it where the network does not read its devices.
    array : PulsedArray
        The devices, after the step.
    before : Tensor (n_devices,)
        Their states before it.
    up, down : Tensor (n_rows, n_columns)
        Pulses of each device, int64. Elements that stand alone are a column of them, each with lines of its own.
    energy : float
        Of these pulses. [J]
    """

    label: str
    array: PulsedArray
    before: Tensor
    up: Tensor
    down: Tensor
    energy: float

    @property
    def is_crossbar(self) -> bool:
        """Whether its devices share lines."""
        return len(self.array.shape) == 2

    @property
    def n_pulses(self) -> int:
        """Of all devices."""
        return int(self.up.sum() + self.down.sum())

    @property
    def seconds(self) -> float:
        """From the first slot to the last: a pulse takes twice its width. [s]"""
        return 2 * self.array.model.pulse_width * self.n_pulses

    def orders(self) -> Iterator[tuple[int, int, int, int]]:
        """Row, column, sign and count of every device's pulses, row by row, in the order in which they are given."""
        signed = torch.stack([self.up, self.down], dim=2).cpu().numpy()
        for row, column, down in np.argwhere(signed):
            yield int(row), int(column), -1 if down else 1, int(signed[row, column, down])

    def schedule(self, scheme: WriteScheme) -> WriteSchedule:
        """What the lines do over time, with a read of every row behind it.

        Raises
        ------
        StimulusError
            If the devices do not share lines, or there are too many pulses for a deck.
        """
        n_rows, n_columns = self.up.shape
        if not self.is_crossbar:
            raise StimulusError(
                f"a deck writes a crossbar, found single elements in {self.label}; choose another array"
            )
        if self.n_pulses * (n_rows + n_columns) > _MOST_CORNERS:
            raise StimulusError(
                f"a deck must have at most {_MOST_CORNERS:,} pulses times lines, found {self.n_pulses} pulses on "
                f"{n_rows + n_columns} lines of {self.label}; choose a step or an array with fewer"
            )
        orders = [
            DevicePulses(f"x_{row}_{column}", self.label, row * n_columns + column, sign, count)
            for row, column, sign, count in self.orders()
        ]
        model = self.array.model
        up, down = model.voltages
        return WriteSchedule.of(
            orders, (n_rows, n_columns), WriteVoltages(up, down, READ * up, model.pulse_width, scheme)
        )

    def exposures(self, scheme: WriteScheme) -> list[Exposure]:
        """What devices see of pulses for others; nothing where each has lines of its own."""
        return exposures(self.up, self.down, scheme) if self.is_crossbar else []

    def seen(self, scheme: WriteScheme) -> dict[float, np.ndarray]:
        """Pulses for others that each device sees, `(n_rows, n_columns)`, by their voltage across it. [V]"""
        found: dict[float, np.ndarray] = {}
        for each in self.exposures(scheme):
            voltage = each.fraction * self.array.model.voltages[0 if each.up else 1]
            found[voltage] = found.get(voltage, 0) + each.counts.cpu().numpy()
        return found

    def seen_energy(self, scheme: WriteScheme) -> float:
        """Of the devices that see pulses for others, at the conductances before the step. [J]"""
        window, model = self.array.map, self.array.model
        states = (self.before - self.array.read_offset).clamp(window.w_min, window.w_max)
        siemens = window.conductance(states).double().cpu().numpy().reshape(self.up.shape)
        return sum(float((n * siemens).sum()) * v * v * model.pulse_width for v, n in self.seen(scheme).items())


@dataclass(frozen=True, eq=False)
class StepPulses(Tabled):
    """The pulses of one step; each array has drivers of its own, which begin at 0 s and give one pulse after the other.

    Attributes
    ----------
    step, epoch, batch : int
        Number of the step, from 1, and where in the training it is.
    write_scheme : "V/2" or "V/3"
        Voltages of the lines.
    arrays : tuple of ArrayPulses
        One for each array of devices.
    defaults : tuple of str
        Amplitudes and width that neither the device's card nor the spec gives.
    notes : tuple of str
        What the list does not show of the step.
    """

    step: int
    epoch: int
    batch: int
    write_scheme: WriteScheme
    arrays: tuple[ArrayPulses, ...]
    defaults: tuple[str, ...]
    notes: tuple[str, ...]

    def rows(self) -> Iterator[tuple[str, int, int, int, int, float, float, float, str]]:
        """A row for each device and sign, in the order of `PULSE_COLUMNS`."""
        for each in self.arrays:
            model, slot = each.array.model, 0
            for row, column, sign, count in each.orders():
                amplitude = model.voltages[0 if sign > 0 else 1]
                # Without the last digits of the product, which a table would show.
                start = float(f"{(2 * slot + 0.5) * model.pulse_width:.12g}")
                yield each.label, row, column, sign, count, amplitude, model.pulse_width, start, self.write_scheme
                slot += count

    def exposure_rows(self) -> Iterator[tuple[str, int, int, float, int]]:
        """A row for each device and voltage that it sees, in the order of `EXPOSURE_COLUMNS`."""
        for each in self.arrays:
            for voltage, counts in each.seen(self.write_scheme).items():
                for row, column in np.argwhere(counts):
                    yield each.label, int(row), int(column), voltage, int(counts[row, column])

    def save(self, path: Path) -> list[Path]:
        """Write the pulses, and beside them, with ".exposure" before the suffix, what devices see of those for others.

        Each file is written whole or not at all.
        """
        beside = path.with_name(f"{path.stem}.exposure{path.suffix}")
        write_atomically(path, _csv(PULSE_COLUMNS, self.rows()))
        write_atomically(beside, _csv(EXPOSURE_COLUMNS, self.exposure_rows()))
        return [path, beside]

    def deck(self, label: str) -> str:
        """A deck for plain ``ngspice -b`` that gives the pulses of a crossbar to its devices; see `pulse_write_deck`.

        Parameters
        ----------
        label : str
            Of the array.

        Raises
        ------
        StimulusError
            If there is no such crossbar, or its pulses are too many.
        DeviceParameterError
            If the devices have no subcircuit.
        """
        named = {each.label: each for each in self.arrays}
        if label not in named:
            raise StimulusError(f"the array must be one of {', '.join(named)}, found {label!r}")
        return pulse_write_deck(named[label].array, named[label].before, named[label].schedule(self.write_scheme))

    def to_json(self) -> str:
        """All rows and figures as a JSON object."""
        figures = {
            "step": self.step,
            "epoch": self.epoch,
            "batch": self.batch,
            "write_scheme": self.write_scheme,
            "defaults": list(self.defaults),
            "notes": list(self.notes),
            "arrays": [self._figures(each) for each in self.arrays],
            "pulses": [dict(zip(PULSE_COLUMNS, row, strict=True)) for row in self.rows()],
            "exposures": [dict(zip(EXPOSURE_COLUMNS, row, strict=True)) for row in self.exposure_rows()],
        }
        return json.dumps(figures)

    def _figures(self, each: ArrayPulses) -> dict[str, object]:
        seen = sum(each.seen(self.write_scheme).values(), np.zeros(each.up.shape, dtype=np.int64))
        return {
            "array": each.label,
            "rows": each.up.shape[0],
            "columns": each.up.shape[1],
            "pulsed_devices": int(((each.up + each.down) > 0).sum()),
            "potentiating": int(each.up.sum()),
            "depressing": int(each.down.sum()),
            "seconds": each.seconds,
            "energy": each.energy,
            "most_seen": int(seen.max(initial=0)),
            "seen_energy": each.seen_energy(self.write_scheme),
        }

    def table(self) -> Table:
        """A column for each array."""
        figures = [self._figures(each) for each in self.arrays]
        title = f"step {self.step} (epoch {self.epoch}, batch {self.batch}), {self.write_scheme}"
        table = Table("", *(each.label for each in self.arrays), title=title)
        table.add_row("devices", *(f"{each['rows']}×{each['columns']}" for each in figures))
        for key, name in _SHOWN.items():
            table.add_row(name, *(f"{each[key]:.4g}" for each in figures))
        table.caption = "\n".join(self.told())
        return table

    def told(self) -> list[str]:
        """Amplitudes and width with where they are from, and the notes, a line each."""
        lines = []
        if self.arrays:
            model = self.arrays[0].array.model
            up, down = model.voltages
            lines.append(f"pulses of {up:+g} V up and {down:+g} V down, {model.pulse_width:g} s")
        if self.defaults:
            lines.append(f"defaults, neither in the device's card nor in the spec: {', '.join(self.defaults)}")
        return [*lines, *self.notes]


_SHOWN = {
    "pulsed_devices": "devices with pulses",
    "potentiating": "pulses up",
    "depressing": "pulses down",
    "seconds": "time \\[s]",
    "energy": "energy [J]",
    "most_seen": "most that a device sees of others",
    "seen_energy": "energy in those that see them [J]",
}


def step_pulses(
    path: Path, step: int = 1, write_scheme: WriteScheme | None = None, progress: Progress | None = None
) -> StepPulses:
    """The pulses of an update of a run: of one that it made, or of one that it would make next.

    Up to the checkpoint the training is run again from its beginning, in memory; beyond it, it goes on from there. The
    run folder is left as it is.

    Parameters
    ----------
    path : Path
        The run folder, of a spec with an `update` table.
    step : int
        Number of the update, from 1.
    write_scheme : "V/2" or "V/3", optional
        Voltages of the lines, see `analog_ep.devices.selection`; by default the spec's, or V/2.
    progress : callable, optional
        Told of every step.

    Raises
    ------
    CheckpointError
        If the folder has no usable checkpoint, or the training, run again, does not go as the run went.
    SpecError
        If its spec has no `update` table.
    StimulusError
        If the training has no such step.
    """
    spec, checkpoint = stored_spec(path), Checkpoint.load(path / CHECKPOINT)
    if spec.update is None:
        raise SpecError(
            f"pulses need a run whose devices are pulsed, found no [update] in the spec of {path}; see "
            "docs/device-updates.md"
        )
    trainer = build_trainer(spec, "cpu", path)
    trainer.restore(checkpoint)
    history, last = list(trainer.history), trainer.epochs * trainer.n_batches
    if not 1 <= step <= last:
        raise StimulusError(f"the run has steps 1…{last}, {trainer.n_batches} an epoch, found {step} asked for")
    if step <= len(history) * trainer.n_batches:
        trainer = _from_the_beginning(spec, path)
    watch = _Watch(trainer, step, history, progress)
    with suppress(_Reached):
        trainer.train(watch)
    write_scheme = write_scheme or spec.update.write_scheme or "V/2"
    arrays = watch.pulses()
    epoch, batch = divmod(step - 1, trainer.n_batches)
    return StepPulses(
        step, epoch + 1, batch + 1, write_scheme, arrays, _defaults(spec, arrays[0].array.model), _notes(spec)
    )


def _from_the_beginning(spec: Spec, path: Path) -> Trainer:
    if (path / CALIBRATION).exists():
        raise CheckpointError(
            f"a run is run again only where its chip was not calibrated, found {CALIBRATION} in {path}; ask for a step "
            "beyond its checkpoint"
        )
    trainer = build_trainer(spec, "cpu", path)
    if (path / START).exists():
        start_from(trainer, path / START)
    return trainer


class _Reached(Exception):  # noqa: N818 - it is no error
    """The step has been made."""


class _Watch:
    """Keeps the devices before a step, and ends the training after it."""

    def __init__(self, trainer: Trainer, step: int, history: list[EpochRecord], progress: Progress | None):
        self._trainer, self._step, self._history, self._progress = trainer, step, history, progress
        self._first = trainer.epoch * trainer.n_batches
        if step == self._first + 1:
            self._keep()

    def _keep(self) -> None:
        self._trainer.update.follow()
        self._before = {
            name: (array.hidden.clone(), array.potentiations.clone(), array.depressions.clone(), float(array.energy))
            for name, array in self._trainer.update.pulsed_arrays().items()
        }

    def batch_done(self, epoch: int, batch: int, n_batches: int) -> None:
        done = (epoch - 1) * n_batches + batch
        if self._progress is not None:
            self._progress(done - self._first, self._step - self._first)
        if done == self._step - 1:
            self._keep()
        if done == self._step:
            raise _Reached

    def epoch_done(self, record: EpochRecord) -> None:
        if record.epoch > len(self._history):
            return
        was, found = (f"{each.cost!r}" for each in (self._history[record.epoch - 1], record))
        if was != found:
            raise CheckpointError(
                f"the training, run again, must go as it went, found a cost of {found} in epoch {record.epoch} where "
                f"the run has {was}; use the machine, threads and processes of the run, or a step beyond its checkpoint"
            )

    def pulses(self) -> tuple[ArrayPulses, ...]:
        found = []
        for name, array in self._trainer.update.pulsed_arrays().items():
            hidden, up, down, energy = self._before[name]
            shape = (array.shape[0], -1) if len(array.shape) > 1 else (-1, 1)
            rises, falls = (array.potentiations - up).reshape(shape), (array.depressions - down).reshape(shape)
            found.append(ArrayPulses(name, array, hidden, rises, falls, float(array.energy) - energy))
        return tuple(found)


def _defaults(spec: Spec, model: PulseModel) -> tuple[str, ...]:
    assert spec.update is not None
    given = {*spec.update.parameters, *given_parameters(spec.update.device)}
    return tuple(name for name in model.electrical if name not in given)


def _notes(spec: Spec) -> tuple[str, ...]:
    assert spec.update is not None
    notes = {
        "stochastic": "coincidences of trains are listed as pulses of single devices, one after the other",
        "verify": "pulses of both signs that a device got in turn are listed as those up, then those down",
    }
    return (notes[spec.update.scheme],) if spec.update.scheme in notes else ()


def _csv(header: tuple[str, ...], rows: Iterator[tuple[object, ...]]) -> str:
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(header)
    table.writerows(rows)
    return text.getvalue()
