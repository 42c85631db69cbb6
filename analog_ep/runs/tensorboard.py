"""Figures of a training for TensorBoard."""

from __future__ import annotations

import time
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from analog_ep.errors import SpecError
from analog_ep.learning.training import EpochRecord, TrainingObserver, record_columns
from analog_ep.runs.folder import Run

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

FOLDER = "tensorboard"
"""Folder of a run's event files, in its own."""

_TIMES = {"epoch", "seconds"}


def require_tensorboard() -> type[SummaryWriter]:
    """What writes event files.

    Raises
    ------
    SpecError
        If TensorBoard is not installed.
    """
    try:
        from torch.utils.tensorboard import SummaryWriter  # an extra
    except ImportError:
        raise SpecError(
            "event files need the package tensorboard, found none; "
            "install it, pip install 'analog-ep[tensorboard]', or train without --tensorboard"
        ) from None
    return SummaryWriter


class TensorBoard(TrainingObserver):
    """Writes a run's figures as event files; a context manager around `Run.train`.

    Every column of metrics.csv is a scalar of that name at the number of the epoch, every column of devices.csv one
    named `devices/PARAMETER/COLUMN`. The spec is a text, its keys are the hyper-parameters, the scores their metrics.

    Epochs that the run has already are written first, and TensorBoard drops what earlier files of the folder say: it
    shows every epoch of the checkpoint once, wherever a training was interrupted. The hours of such epochs are
    reckoned from their lengths, as if nothing had lain between.

    Parameters
    ----------
    run : Run
        What is trained.
    folder : Path, optional
        Where the files go; "tensorboard" in the run folder by default. It must hold no other run's.

    Raises
    ------
    SpecError
        If TensorBoard is not installed.

    Examples
    --------
    ::

        with TensorBoard(run) as board:
            run.train([board])
    """

    def __init__(self, run: Run, folder: Path | None = None):
        self._make = require_tensorboard()
        self._run, self.folder = run, run.path / FOLDER if folder is None else folder

    def __enter__(self) -> Self:
        # Whatever stands in files that are there, from the first step on, is void.
        self._writer = self._make(str(self.folder), purge_step=0)
        self._end = self._describe()
        history = self._run.trainer.history
        began = time.time() - sum(record.seconds for record in history)
        for record in history:
            began += record.seconds
            self._write(record, began)
        self._writer.flush()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if kind is None:
            self._file.add_summary(self._end)
        self._writer.close()

    def epoch_done(self, record: EpochRecord) -> None:
        """Write what the epoch gave, for TensorBoard to see at once."""
        self._write(record, time.time())
        self._writer.flush()

    @property
    def _file(self) -> Any:
        return self._writer.file_writer

    @property
    def _columns(self) -> tuple[str, ...]:
        return record_columns(self._run.trainer.has_classes)

    def _describe(self) -> Any:
        """Write the spec and its keys as hyper-parameters; the message that ends a session of them."""
        # The writer's own `add_hparams` makes a run of its own of them, when all is over.
        from torch.utils.tensorboard.summary import hparams

        spec = self._run.spec
        self._writer.add_text("spec", "".join(f"    {line}\n" for line in spec.to_toml().splitlines()), 0)
        scores = dict.fromkeys((name for name in self._columns if name not in _TIMES), 0.0)
        experiment, start, end = hparams(_flat(spec.to_dict()), scores)
        self._file.add_summary(experiment)
        self._file.add_summary(start)
        return end

    def _write(self, record: EpochRecord, when: float) -> None:
        for name in self._columns[1:]:
            self._writer.add_scalar(name, getattr(record, name), record.epoch, when)
        for row in self._run.trainer.devices:
            if row["epoch"] == record.epoch:
                for name, value in row.items():
                    if name != "epoch" and isinstance(value, int | float):
                        self._writer.add_scalar(f"devices/{row['parameter']}/{name}", value, record.epoch, when)


def _flat(tables: dict[str, Any], place: str = "") -> dict[str, bool | int | float | str]:
    """Plain values by dotted names, those of several tables by number; a list of several values as text."""
    flat: dict[str, bool | int | float | str] = {}
    for name, value in tables.items():
        if isinstance(value, list) and all(isinstance(each, dict) for each in value):
            value = {str(number): each for number, each in enumerate(value)}
        if isinstance(value, list) and len(value) == 1:
            (value,) = value
        if isinstance(value, dict):
            flat |= _flat(value, f"{place}{name}.")
        else:
            flat[place + name] = value if isinstance(value, bool | int | float | str) else str(value)
    return flat
