"""One training of a study: a run folder of its own, and a result beside it that is whole or not there."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock

from analog_ep.errors import AnalogEPError, StudyError
from analog_ep.learning.updates.pulsed import PulsedUpdate
from analog_ep.learning.updates.report import SUMMED, summed
from analog_ep.runs.choosing import SPEC
from analog_ep.runs.folder import Run
from analog_ep.spec import Spec
from analog_ep.support.files import write_atomically

CELLS = "cells"
"""Folder of the trainings in the folder of a study."""

_LEFT_OUT = ("epoch", "update_seconds")
"""What of a report is that of the last epoch, or another in every run."""


@dataclass(frozen=True)
class CellResult:
    """What one training gave.

    Attributes
    ----------
    train_accuracy, test_accuracy, cost : float, optional
        Of the last epoch; None where the training failed, the accuracies also where samples have targets.
    pulses : int, optional
        Programming pulses of all devices, of those too that the network does not read; None without pulsed devices.
    write_energy : float, optional
        Of these pulses. [J]
    error : str
        Why the training failed; empty where it did not.
    seconds : float
        Wall time of the epochs. [s]
    test_cost : float, optional
        Of the last epoch, where samples have targets in place of classes.
    devices : list of dict
        What the last epoch's report says of each parameter's devices, without wall times; none without pulsed devices.
    """

    train_accuracy: float | None
    test_accuracy: float | None
    cost: float | None
    pulses: int | None
    write_energy: float | None
    error: str
    seconds: float
    test_cost: float | None = None
    devices: list[dict[str, Any]] = field(default_factory=list)

    def figure(self, name: str) -> Any:
        """A field by name, or a figure of all its devices together, None where there is none."""
        return summed(self.devices).get(name) if name in SUMMED else getattr(self, name)


def digest(spec: Spec) -> str:
    """Name of the training of a spec: trainings of one spec are one training."""
    return hashlib.sha256(spec.to_toml().encode()).hexdigest()[:16]


def read_result(folder: Path, spec: Spec) -> CellResult | None:
    """The result of a spec's training in the folder of a study, None where it is not complete."""
    path = _result_path(folder, spec)
    if not path.is_file():
        return None
    try:
        return CellResult(**json.loads(path.read_text(encoding="utf-8")))
    except (ValueError, TypeError):
        raise StudyError(f"{path} must hold the result of a training, found something else; remove it") from None


def train_cell(folder: Path, spec: Spec) -> None:
    """Train what is left of a spec's training and write its result.

    A lock makes two processes that want the same training wait for each other: one that outlives a killed study
    is not run into by the next.

    Parameters
    ----------
    folder : Path
        Folder of the study.
    spec : Spec
        What to train.
    """
    torch.set_num_threads(1)
    if not (folder / CELLS).is_dir():
        raise StudyError(f"{folder} must be a folder that every worker shares, found no {CELLS} in it")
    with FileLock(folder / CELLS / f"{digest(spec)}.lock"):
        if read_result(folder, spec) is None:
            text = json.dumps(asdict(_trained(folder, spec)), indent=1)
            write_atomically(_result_path(folder, spec), f"{text}\n")


def _trained(folder: Path, spec: Spec) -> CellResult:
    path = folder / CELLS / digest(spec)
    try:
        run = Run.resume(path, spec) if (path / SPEC).is_file() else Run.create(path, spec)
        run.train()
    except AnalogEPError as error:
        return CellResult(None, None, None, None, None, " ".join(str(error).split()), 0.0)
    last, update = run.trainer.history[-1], run.trainer.update
    pulses, energy = None, None
    if isinstance(update, PulsedUpdate):
        pulses, energy = update.total_pulses, update.energy
    seconds = sum(record.seconds for record in run.trainer.history)
    scores = (last.train_accuracy, last.test_accuracy) if last.test_cost is None else (None, None)
    rows = [row for row in run.trainer.devices if row["epoch"] == last.epoch]
    devices = [{name: value for name, value in row.items() if name not in _LEFT_OUT} for row in rows]
    return CellResult(*scores, last.cost, pulses, energy, "", seconds, last.test_cost, devices)


def _result_path(folder: Path, spec: Spec) -> Path:
    return folder / CELLS / f"{digest(spec)}.json"
