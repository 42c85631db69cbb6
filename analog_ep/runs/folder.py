"""A run folder: the spec, the newest checkpoint, the metrics and the learning curve of one training."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from pathlib import Path

from analog_ep.circuit import Chip
from analog_ep.errors import CheckpointError, SpecError, StimulusError
from analog_ep.learning.checkpoint import Checkpoint
from analog_ep.learning.parallel import Ranks
from analog_ep.learning.training import EpochRecord, Trainer, TrainingObserver, record_columns
from analog_ep.netlist.conductance_table import read_conductances
from analog_ep.networks import HardwareNetwork
from analog_ep.networks.needs import conductances_of
from analog_ep.runs.building import (
    augmentation_of,
    build_dataset,
    build_gradient,
    build_network,
    build_solver,
    build_update,
    require_device,
)
from analog_ep.runs.chips import build_chip, require_chip_of
from analog_ep.runs.choosing import CHECKPOINT, SPEC, stored_spec
from analog_ep.runs.devices import device_curves, devices_table
from analog_ep.runs.progress import learning_curve
from analog_ep.runs.teaching import trainer_of
from analog_ep.spec import Spec
from analog_ep.support.files import draft_folder, is_utf8, remove_abandoned, write_atomically

METRICS, CURVE, CHIP = "metrics.csv", "learning_curve.png", "chip.safetensors"
DEVICES, DEVICE_CURVES = "devices.csv", "devices.png"
"""Files of a run folder beside spec and checkpoint; a chip's where there is one, devices' where they are pulsed."""

START = "start.csv"
"""Conductances that a run began from, where it was given some."""

CALIBRATION = "calibration.safetensors"
"""What is known of the chip, where it was calibrated; trainings that go on correct for it."""

_FILE_KEYS = ("network.netlist", "data.table")
"""Keys of files that a run folder has copies of."""


class Run:
    """One training and its folder. Made by `create` or `resume`.

    Attributes
    ----------
    path : Path
        The folder.
    spec : Spec
        What is trained.
    trainer : Trainer
        Its state after the last complete epoch.
    own_netlist : list of Path
        The user's own netlist with what was learnt and the files that it includes, once `train` has ended.
    """

    def __init__(self, path: Path, spec: Spec, trainer: Trainer):
        self.path, self.spec, self.trainer = path, spec, trainer
        self.own_netlist: list[Path] = []

    @classmethod
    def opened(
        cls,
        path: Path,
        spec: Spec,
        *,
        resume: bool,
        device: str = "cpu",
        start: Path | None = None,
        ranks: Ranks | None = None,
    ) -> Run:
        """The run in its folder, new or as it was interrupted; see `create` and `resume`."""
        if resume:
            return cls.resume(path, spec, device=device, ranks=ranks)
        return cls.create(path, spec, device=device, start=start, ranks=ranks)

    @classmethod
    def create(
        cls,
        path: Path,
        spec: Spec,
        *,
        device: str = "cpu",
        start: Path | None = None,
        ranks: Ranks | None = None,
    ) -> Run:
        """Make a new folder, with a checkpoint of the initial state.

        Parameters
        ----------
        path : Path
            Must not exist.
        spec : Spec
            What to train.
        device : str
            Device of the tensors, such as "cpu" or "cuda".
        start : Path, optional
            Conductance table to begin from, as `write_conductances` makes it.
        ranks : Ranks, optional
            Processes that train together; the first of them writes the folder.

        Raises
        ------
        CheckpointError
            If the path exists.
        DataError, NetworkError, DeviceParameterError
            If data, network or table cannot be as they are described; no folder is left then.
        """
        if not is_utf8(path):
            raise CheckpointError(f"the path of a run folder must be UTF-8, found {str(path)!r}; choose another")
        if path.exists():
            raise CheckpointError(f"the run folder {path} must be new, found it there; add --resume or choose another")
        trainer = build_trainer(spec, device, ranks=ranks)
        if start is not None:
            start_from(trainer, start, device)
        run = cls(path, spec, trainer)
        # No process may look for the folder when another has made it already.
        trainer.ranks.wait()
        if trainer.ranks.first:
            run._make_folder(start)
        return run

    @classmethod
    def resume(cls, path: Path, spec: Spec | None = None, *, device: str = "cpu", ranks: Ranks | None = None) -> Run:
        """Go on with a training at its last complete epoch.

        Parameters
        ----------
        path : Path
            The run folder.
        spec : Spec, optional
            What the caller believes to be trained; may differ from the stored one in the number of epochs alone.
        device : str
            Device of the tensors.
        ranks : Ranks, optional
            As for `create`; their number may be another than before.

        Raises
        ------
        CheckpointError
            If the folder has no usable checkpoint, or was made from another spec.
        """
        stored, checkpoint = stored_spec(path), Checkpoint.load(path / CHECKPOINT)
        spec = stored if spec is None else spec
        different = [key for key in spec.differences(stored) if key != "training.epochs"]
        if set(different) <= set(_FILE_KEYS) and spec.same_files(stored):
            different = []
        if different:
            raise CheckpointError(
                f"{path} must be resumed with the spec it began with, found another {', '.join(different)}; "
                "leave these options out or begin another run"
            )
        # The files that count from now on are the folder's own copies.
        spec = stored.model_copy(update={"training": spec.training})
        run = cls(path, spec, build_trainer(spec, device, path, ranks))
        run.trainer.restore(checkpoint)
        run.trainer.ranks.wait()
        if run.trainer.ranks.first:
            remove_abandoned(path)
            remove_abandoned(path.parent, path.name)
            run._write_spec()
            run._write_metrics()
        return run

    def train(self, observers: Sequence[TrainingObserver] = ()) -> None:
        """Run the epochs that are left, each ending in a checkpoint; draw the learning curve, and write the user's own
        netlist with what it learnt, where there is one.

        Parameters
        ----------
        observers : sequence of TrainingObserver
            Told in this order of every batch, and of every epoch when it is saved.
        """
        self.trainer.train(_Saving(self, observers))
        if self.trainer.history and self.trainer.ranks.first:
            write_atomically(self.path / CURVE, learning_curve(self.trainer.history, self.path.name))
            if self.trainer.devices:
                picture = device_curves(self.trainer.devices, self.trainer.update.pulses_by_device(), self.path.name)
                write_atomically(self.path / DEVICE_CURVES, picture)
            self.own_netlist = self.spec.network.save_own(self.trainer.network, self.path)

    def save(self) -> None:
        """Write checkpoint and metrics, in the first of several processes."""
        if not self.trainer.ranks.first:
            return
        self.trainer.checkpoint().save(self.path / CHECKPOINT)
        self._write_metrics()

    def _write_spec(self) -> None:
        _write_spec(self.spec, self.path)

    def _write_metrics(self) -> None:
        # From the checkpoint's own history, so that an interruption between the two files leaves no gap or double.
        columns = record_columns(self.trainer.has_classes)
        rows = [",".join(columns)]
        rows += [",".join(repr(getattr(record, name)) for name in columns) for record in self.trainer.history]
        write_atomically(self.path / METRICS, "\n".join(rows) + "\n")
        if self.trainer.devices:
            write_atomically(self.path / DEVICES, devices_table(self.trainer.devices))

    def _make_folder(self, start: Path | None) -> None:
        """Fill a folder beside the path, then give it its name: a run folder is complete or not there."""
        target = self.path
        target.parent.mkdir(parents=True, exist_ok=True)
        with draft_folder(target) as self.path:
            self.path.chmod(0o755)
            self.spec = self.spec.keep(self.path)
            self._write_spec()
            if self.trainer.chip is not None:
                self.trainer.chip.save(self.path / CHIP)
            if start is not None:
                shutil.copyfile(start, self.path / START)
            self.save()
            os.rename(self.path, target)
        self.path = target
        self.spec = self.spec.with_files(lambda name: str(target.absolute() / name))


class _Saving:
    """Saves the run before the others hear of a finished epoch."""

    def __init__(self, run: Run, observers: Sequence[TrainingObserver]):
        self._run, self._observers = run, observers

    def batch_done(self, epoch: int, batch: int, n_batches: int) -> None:
        for observer in self._observers:
            observer.batch_done(epoch, batch, n_batches)

    def epoch_done(self, record: EpochRecord) -> None:
        self._run.save()
        for observer in self._observers:
            observer.epoch_done(record)


def _write_spec(spec: Spec, path: Path) -> None:
    # With the paths of the folder's own copies from there, so that it can be moved.
    folder = path.absolute()
    text = spec.with_files(lambda name: os.path.relpath(folder / name, folder)).to_toml()
    write_atomically(path / SPEC, text)


def save_on_chip(path: Path, target: Path, spec: Spec, chip: Chip) -> None:
    """Write a run folder with the conductances of another one, on a chip of its own.

    Parameters
    ----------
    path : Path
        The folder of the run that was trained.
    target : Path
        The new folder; one that is there is replaced.
    spec : Spec
        That run's, with what draws the chip.
    chip : Chip
        Of the new folder.
    """
    with draft_folder(target) as folder:
        folder.chmod(0o755)
        _write_spec(spec.keep(folder), folder)
        chip.save(folder / CHIP)
        write_atomically(folder / CHECKPOINT, (path / CHECKPOINT).read_bytes())
        if target.exists():
            shutil.rmtree(target)
        os.rename(folder, target)


def saved_epochs(path: Path) -> int:
    """Number of complete epochs in the checkpoint of a run folder."""
    return len(Checkpoint.load(path / CHECKPOINT).facts["history"])


def start_from(trainer: Trainer, table: Path, device: str = "cpu") -> None:
    """Set the conductances that a training begins from.

    Parameters
    ----------
    trainer : Trainer
        Before its first step.
    table : Path
        As `write_conductances` makes it.
    device : str
        Of the tensors.

    Raises
    ------
    SpecError
        If the network has no conductances.
    DataError, NetworkError
        If the table is none of this network.
    """
    need = "a table of conductances to begin from needs a resistive network"
    try:
        conductances = conductances_of(trainer.network, need, "leave --start out")
    except StimulusError as error:
        raise SpecError(str(error)) from None
    conductances.set_conductances(
        {name: value.to(device) for name, value in read_conductances(conductances, table).items()}
    )
    trainer.update.follow()


def stored_chip(path: Path, spec: Spec, network: HardwareNetwork) -> Chip | None:
    """The chip of a run folder; None where its spec has none.

    Raises
    ------
    CheckpointError
        If it is missing or damaged, or of another kind than the spec's.
    CircuitError
        If it was drawn for another network.
    """
    if spec.chip is None and spec.converters is None:
        return None
    circuit = network.circuit()
    chip = Chip.load(path / CHIP, circuit)
    chip.check(circuit)
    require_chip_of(spec, network, chip)
    return chip


def stored_calibration(path: Path | None, network: HardwareNetwork) -> Chip | None:
    """What is known of the chip of a run folder; None where it was not calibrated.

    Raises
    ------
    CheckpointError
        If it is damaged.
    CircuitError
        If it is of another network.
    """
    if path is None or not (path / CALIBRATION).is_file():
        return None
    circuit = network.circuit()
    known = Chip.load(path / CALIBRATION, circuit)
    known.check(circuit)
    return known


def build_trainer(spec: Spec, device: str, path: Path | None = None, ranks: Ranks | None = None) -> Trainer:
    """The spec's trainer, on the chip of the run folder `path` where there is one.

    Raises
    ------
    SpecError, DataError, NetworkError, DeviceParameterError
        If data, network, device or chip cannot be as they are described.
    """
    require_device(device)
    if ranks is not None and ranks.size > 1 and (spec.chip is not None or spec.converters is not None):
        raise SpecError(f"training on a chip must be one process, found {ranks.size}; start it without torchrun")
    network = build_network(spec).to(device)
    dataset = build_dataset(spec, network)
    chip = build_chip(spec, network) if path is None else stored_chip(path, spec, network)
    training = spec.training
    believed = network if spec.wires is None else spec.wires.believed(network)
    return trainer_of(spec, network)(
        network,
        build_gradient(spec, believed, chip, stored_calibration(path, network)),
        build_update(spec, network, chip),
        dataset,
        batch_size=training.batch_size,
        epochs=training.epochs,
        schedule=training.schedule,
        input_noise=training.input_noise * spec.data.input_voltage,
        augmentation=augmentation_of(spec),
        seed=training.seed,
        solver=build_solver(spec),
        chip=chip,
        ranks=ranks,
        persistent_states=spec.relaxation is not None and spec.relaxation.persistent_states,
    )
