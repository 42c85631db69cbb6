"""A run folder: the spec, the newest checkpoint, the metrics and the learning curve of one training."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from analog_ep.runs.building import (
    build_dataset,
    build_gradient,
    build_network,
    build_solver,
    build_update,
    require_device,
)
from analog_ep.runs.chips import build_chip, require_chip_of
from analog_ep.circuit import Chip
from analog_ep.datasets import BUILT_IN
from analog_ep.errors import CheckpointError, SpecError, StimulusError
from analog_ep.support.files import draft_folder, is_utf8, remove_abandoned, write_atomically
from analog_ep.learning.checkpoint import Checkpoint
from analog_ep.learning.parallel import Ranks
from analog_ep.learning.training import EpochRecord, Trainer, TrainingObserver
from analog_ep.networks import HardwareNetwork, Network
from analog_ep.networks.needs import conductances_of
from analog_ep.runs.progress import learning_curve
from analog_ep.spec import Spec, default_spec, load_spec, load_stored_spec, with_values
from analog_ep.netlist.conductance_table import read_conductances

SPEC, CHECKPOINT, METRICS, CURVE = "spec.toml", "checkpoint.safetensors", "metrics.csv", "learning_curve.png"
CHIP = "chip.safetensors"
"""Files of a run folder; the last one where the spec has a chip."""

CALIBRATION = "calibration.safetensors"
"""What is known of the chip, where it was calibrated; trainings that go on correct for it."""

_METRICS_COLUMNS = ("epoch", "train_accuracy", "test_accuracy", "cost", "seconds")


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
    """

    def __init__(self, path: Path, spec: Spec, trainer: Trainer):
        self.path, self.spec, self.trainer = path, spec, trainer

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
        trainer = _trainer(spec, device, ranks=ranks)
        if start is not None:
            _start_from(trainer.network, start, device)
            trainer.update.follow()
        run = cls(path, spec, trainer)
        # No process may look for the folder when another has made it already.
        trainer.ranks.wait()
        if trainer.ranks.first:
            run._make_folder()
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
        if different:
            raise CheckpointError(
                f"{path} must be resumed with the spec it began with, found another {', '.join(different)}; "
                "leave these options out or begin another run"
            )
        run = cls(path, spec, _trainer(spec, device, path, ranks))
        run.trainer.restore(checkpoint)
        run.trainer.ranks.wait()
        if run.trainer.ranks.first:
            remove_abandoned(path)
            remove_abandoned(path.parent, path.name)
            if spec != stored:
                write_atomically(path / SPEC, spec.to_toml())
            run._write_metrics()
        return run

    def train(self, observers: Sequence[TrainingObserver] = ()) -> None:
        """Run the epochs that are left, each ending in a checkpoint, and draw the learning curve."""
        self.trainer.train(_Saving(self, observers))
        if self.trainer.history and self.trainer.ranks.first:
            write_atomically(self.path / CURVE, learning_curve(self.trainer.history, self.path.name))

    def save(self) -> None:
        """Write checkpoint and metrics, in the first of several processes."""
        if not self.trainer.ranks.first:
            return
        self.trainer.checkpoint().save(self.path / CHECKPOINT)
        self._write_metrics()

    def _write_metrics(self) -> None:
        # From the checkpoint's own history, so that an interruption between the two files leaves no gap or double.
        rows = [",".join(_METRICS_COLUMNS)]
        rows += [",".join(repr(getattr(record, name)) for name in _METRICS_COLUMNS) for record in self.trainer.history]
        write_atomically(self.path / METRICS, "\n".join(rows) + "\n")

    def _make_folder(self) -> None:
        """Fill a folder beside the path, then give it its name: a run folder is complete or not there."""
        target = self.path
        target.parent.mkdir(parents=True, exist_ok=True)
        with draft_folder(target) as self.path:
            self.path.chmod(0o755)
            write_atomically(self.path / SPEC, self.spec.to_toml())
            if self.trainer.chip is not None:
                self.trainer.chip.save(self.path / CHIP)
            self.save()
            os.rename(self.path, target)
        self.path = target


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


def stored_spec(path: Path) -> Spec:
    """The spec of a run folder.

    Raises
    ------
    CheckpointError
        If the path is no run folder.
    """
    if not path.exists():
        raise CheckpointError(
            f"{path} must be a run folder, found no {SPEC} in it, nor itself; train with --out {path} first"
        )
    if not path.is_dir():
        raise CheckpointError(f"{path} must be a run folder, found {_kind_of_file(path)}; {_meant(path)}")
    if not (path / SPEC).is_file():
        raise CheckpointError(
            f"{path} must be a run folder, found no {SPEC} in it; name the folder that train wrote by --out"
        )
    return load_stored_spec(path / SPEC)


def _named_spec(path: Path) -> Spec:
    """The spec of a file, which may be that of a run folder."""
    return stored_spec(path.parent) if path.name == SPEC and (path.parent / CHECKPOINT).is_file() else load_spec(path)


_KINDS = {
    ".cir": "a netlist",
    ".sp": "a netlist",
    ".toml": "a spec or a card",
    ".safetensors": "a file of tensors",
    ".csv": "a table",
}


def _kind_of_file(path: Path) -> str:
    return _KINDS.get(path.suffix.lower(), "a file") if path.is_file() else "a pipe or a device"


def _meant(path: Path) -> str:
    """What a user who names this file in place of a run folder probably wants."""
    if (path.parent / SPEC).is_file():
        return f"its folder {path.parent} is one"
    if path.suffix.lower() == ".toml":
        return f"train it with: analog-ep train {path} --out RUN, then name RUN"
    return "name the folder that train wrote by --out; files are written from there by export"


def saved_epochs(path: Path) -> int:
    """Number of complete epochs in the checkpoint of a run folder."""
    return len(Checkpoint.load(path / CHECKPOINT).facts["history"])


def choose_spec(
    path: Path | None,
    source: str | None = None,
    seed: int | None = None,
    epochs: int | None = None,
    stored: Spec | None = None,
    solver: str | None = None,
) -> Spec:
    """The spec that a command asks for.

    Parameters
    ----------
    path : Path, optional
        A spec in TOML. Without it: `stored`, or the shipped spec of `source`, that of MNIST where it is a folder.
    source : str, optional
        Data in place of the spec's; a folder is stored as an absolute path.
    seed, epochs : int, optional
        In place of the spec's.
    stored : Spec, optional
        Spec of the run that goes on.
    solver : str, optional
        In place of the spec's.

    Raises
    ------
    SpecError
        If the spec is missing or broken, or a value is not allowed.
    """
    if path is not None:
        spec = _named_spec(path)
    elif stored is not None:
        spec = stored
    else:
        spec = default_spec("digits" if source is None else source if source in BUILT_IN else "mnist")
    source = spec.data.source if source is None else source
    if not is_utf8(source):
        raise SpecError(f"the path of the data must be UTF-8, found {source!r}; choose another")
    if source not in BUILT_IN and Path(source).is_dir():
        source = str(Path(source).absolute())
    return with_values(
        spec,
        data={"source": source},
        gradient=_given(solver=solver),
        training=_given(seed=seed, epochs=epochs),
    )


def _given(**values: object) -> dict[str, object]:
    return {name: value for name, value in values.items() if value is not None}


def _start_from(network: Network, table: Path, device: str) -> None:
    need = "a table of conductances to begin from needs a resistive network"
    try:
        conductances = conductances_of(network, need, "leave --start out")
    except StimulusError as error:
        raise SpecError(str(error)) from None
    conductances.set_conductances(
        {name: value.to(device) for name, value in read_conductances(conductances, table).items()}
    )


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


def _trainer(spec: Spec, device: str, path: Path | None = None, ranks: Ranks | None = None) -> Trainer:
    """The spec's trainer, on the chip of the run folder `path` where there is one."""
    require_device(device)
    if ranks is not None and ranks.size > 1 and (spec.chip is not None or spec.converters is not None):
        raise SpecError(f"training on a chip must be one process, found {ranks.size}; start it without torchrun")
    dataset = build_dataset(spec)
    network = build_network(spec).to(device)
    chip = build_chip(spec, network) if path is None else stored_chip(path, spec, network)
    training = spec.training
    return Trainer(
        network,
        build_gradient(spec, network, chip, stored_calibration(path, network)),
        build_update(spec, network, chip),
        dataset,
        batch_size=training.batch_size,
        epochs=training.epochs,
        schedule=training.schedule,
        input_noise=training.input_noise * spec.data.input_voltage,
        seed=training.seed,
        solver=build_solver(spec),
        chip=chip,
        ranks=ranks,
        persistent_states=spec.relaxation is not None and spec.relaxation.persistent_states,
    )
