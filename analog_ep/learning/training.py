"""The training loop: seeded shuffles, a schedule, accuracies after each epoch."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Literal, Protocol

import numpy as np
import torch
from torch import Tensor

from analog_ep.circuit import Chip
from analog_ep.circuit.reading import driven
from analog_ep.datasets import Augmentation, Dataset, targets_of
from analog_ep.equilibrium.equilibrium import Solver, solve
from analog_ep.equilibrium.solver_of import solver_of
from analog_ep.errors import CheckpointError, ConvergenceError
from analog_ep.learning.checkpoint import Checkpoint, require_optimizer_state, under
from analog_ep.learning.gradients.method import GradientMethod
from analog_ep.learning.gradients.persistent import PersistentStates
from analog_ep.learning.parallel import DataParallel, Ranks
from analog_ep.learning.updates.update import ParameterUpdate
from analog_ep.networks import Network
from analog_ep.stimulus import Cost

Schedule = Literal["constant", "cosine"]

_EVALUATION_BATCH = 1024


@dataclass(frozen=True)
class EpochRecord:
    """What one epoch gave.

    Attributes
    ----------
    epoch : int
        Number of the epoch, from 1.
    train_accuracy, test_accuracy : float
        Share of samples whose largest output is their class, after the epoch; NaN where samples have targets.
    cost : float
        Mean cost of the training samples, each as it was met, before the step that used it.
    seconds : float
        Wall time of the epoch, evaluation included. [s]
    test_cost : float, optional
        Mean cost of the test part after the epoch, where samples have targets in place of classes.
    """

    epoch: int
    train_accuracy: float
    test_accuracy: float
    cost: float
    seconds: float
    test_cost: float | None = None

    @property
    def verdict(self) -> str:
        """What the test part says."""
        return (
            f"test accuracy {self.test_accuracy:.2%}" if self.test_cost is None else f"test cost {self.test_cost:.4g}"
        )

    @property
    def scores(self) -> str:
        """What both parts say, in a line."""
        if self.test_cost is None:
            return f"train {self.train_accuracy:7.2%}  test {self.test_accuracy:7.2%}  cost {self.cost:.4g}"
        return f"cost {self.cost:.4g}  test cost {self.test_cost:.4g}"


def record_columns(classes: bool) -> tuple[str, ...]:
    """Figures of an epoch in the order of a table: of samples with classes, or with targets."""
    return ("epoch", "train_accuracy", "test_accuracy", "cost", "seconds") if classes else (
        "epoch", "test_cost", "cost", "seconds"
    )  # fmt: skip


class TrainingObserver(Protocol):
    """Is told what happens in a training; by itself it does nothing.

    Derive from it and give it the method that you need; a class of your own that has both will do as well. What it does
    while it is told is part of the training: the next step begins when it returns, a parameter that it changes is
    changed, and an exception that it raises ends the training and reaches the caller of `Trainer.train`, after the
    checkpoint of the last complete epoch in a `analog_ep.runs.folder.Run`. `Trainer.stop` ends it in order.
    """

    def batch_done(self, epoch: int, batch: int, n_batches: int) -> None:
        """A batch has been learnt: the update has made its step.

        Parameters
        ----------
        epoch : int
            Number of the epoch that it belongs to, from 1.
        batch, n_batches : int
            Number of the batch in its epoch, from 1, and how many an epoch has. A network that learns by itself has one
            lesson an epoch, which counts as one batch.
        """

    def epoch_done(self, record: EpochRecord) -> None:
        """An epoch is complete and, in a run folder, saved.

        Parameters
        ----------
        record : EpochRecord
            What it gave.
        """


class Trainer:
    """Trains a network sample by sample batch; its state after every epoch is a `Checkpoint`.

    Everything random comes from `seed` and the number of the epoch, or from a generator whose state is part of the
    checkpoint: a restored trainer goes on to the very bits of one that never stopped, on the same machine and number
    of threads.

    Parameters
    ----------
    network : Network
        What to train.
    gradient : GradientMethod
        Fills `.grad`.
    update : ParameterUpdate
        Makes the step.
    dataset : Dataset
        Samples in volts.
    batch_size : int
        Samples a step, 0 for all; the last batch of an epoch may be smaller.
    epochs : int
        Length of the training, and of the schedule.
    schedule : "constant" or "cosine"
        Factor on the learning rates: 1, or ½ (1 + cos πt), t from 0 to 1 over all steps.
    input_noise : float
        Standard deviation of the Gaussian noise added to every training input at every step. [V]
    augmentation : Augmentation, optional
        How images are moved at every step.
    seed : int
        Seed of the shuffles, of the noise and of the moves.
    solver : Solver, optional
        Of the accuracies; by default that of the kind of network.
    chip : Chip, optional
        The hardware whose accuracies are meant; that of the gradient is the method's own.
    ranks : Ranks, optional
        Processes that share every batch and the accuracies; each has a trainer of its own, made alike.
    persistent_states : bool
        Whether free phases begin where the sample's last one ended; see `PersistentStates`.

    Attributes
    ----------
    history : list of EpochRecord
        Complete epochs.
    devices : list of dict
        What the update reports after each epoch, a row a parameter with the number of the epoch.

    Raises
    ------
    StimulusError
        If states shall be kept by another method than one of free and nudged phases on a Hopfield network.
    """

    def __init__(
        self,
        network: Network,
        gradient: GradientMethod,
        update: ParameterUpdate,
        dataset: Dataset,
        *,
        batch_size: int,
        epochs: int,
        schedule: Schedule = "constant",
        input_noise: float = 0.0,
        augmentation: Augmentation | None = None,
        seed: int = 0,
        solver: Solver | None = None,
        chip: Chip | None = None,
        ranks: Ranks | None = None,
        persistent_states: bool = False,
    ):
        self.ranks = Ranks() if ranks is None else ranks
        self.network, self.update = network, update
        self.gradient = gradient if self.ranks.size == 1 else DataParallel(gradient, self.ranks)
        self.epochs, self.schedule, self.seed = epochs, schedule, seed
        self.input_noise, self.augmentation = input_noise, augmentation
        self.solver = solver_of(network) if solver is None else solver
        self.chip = chip
        self.history: list[EpochRecord] = []
        self.devices: list[dict[str, object]] = []
        self._rates = [group["lr"] for group in update.param_groups]
        like = next(network.parameters())
        self._train, self._test = (
            (inputs.to(like), labels.to(like if labels.is_floating_point() else like.device))
            for inputs, labels in map(dataset.part, ("train", "test"))
        )
        self.batch_size = batch_size or len(self._train[1])
        self.states = self._persistent() if persistent_states else None
        self._stopped = False

    def _persistent(self) -> PersistentStates:
        return PersistentStates(self.gradient.free_phases(), len(self._train[1]))

    @property
    def epoch(self) -> int:
        """Number of complete epochs."""
        return len(self.history)

    @property
    def n_batches(self) -> int:
        """Steps of one epoch."""
        return math.ceil(len(self._train[1]) / self.batch_size)

    def stop(self) -> None:
        """Have `train` return after the epoch that runs, or that has just been told of, as after the last one.

        The next call of `train` runs the epochs that are left. Of several processes all must stop in the same epoch;
        the records that they are told are equal, but for the seconds.
        """
        self._stopped = True

    def train(self, observer: TrainingObserver) -> None:
        """Run the epochs that are left, or until `stop`.

        Parameters
        ----------
        observer : TrainingObserver
            Is told of every batch and epoch.

        Raises
        ------
        ConvergenceError
            If an equilibrium is not reached, or the cost is no longer finite.
        """
        self._stopped = False
        while self.epoch < self.epochs and not self._stopped:
            began = time.perf_counter()
            cost = self._train_epoch(observer)
            scores, test_cost = self._scores()
            self.history.append(EpochRecord(self.epoch + 1, *scores, cost, time.perf_counter() - began, test_cost))
            self.devices += [{"epoch": self.epoch, **row} for row in self.update.report()]
            observer.epoch_done(self.history[-1])

    @property
    def has_classes(self) -> bool:
        """Whether samples have classes, and not targets."""
        return not self._train[1].is_floating_point()

    def _scores(self) -> tuple[tuple[float, float], float | None]:
        """Accuracies of both parts, or, of samples with targets, the cost of the test part."""
        how = self.solver, self.chip, self.ranks
        if not self.has_classes:
            return (math.nan, math.nan), mean_cost(self.network, *self._test, self.gradient.cost, *how)
        train, test = (accuracy(self.network, *part, *how) for part in (self._train, self._test))
        return (train, test), None

    def _train_epoch(self, observer: TrainingObserver) -> float:
        inputs, labels = self._train
        total = torch.zeros((), dtype=torch.float64, device=inputs.device)
        noise, moves = (
            torch.Generator().manual_seed(int(np.random.default_rng([self.seed, self.epoch, n]).integers(2**62)))
            for n in (1, 2)
        )
        for batch, index in enumerate(self._shuffled()):
            self._set_rates(batch)
            targets = targets_of(labels[index], self.gradient.cost, self.network.n_outputs, like=inputs)
            self.update.zero_grad()
            images = inputs[index] if self.augmentation is None else self.augmentation(inputs[index], moves)
            total += len(index) * self._backward(index, self._noisy(images, noise), targets)
            self.update.step()
            observer.batch_done(self.epoch + 1, batch + 1, self.n_batches)
        cost = float(total) / len(labels)
        if not math.isfinite(cost):
            raise ConvergenceError(f"the cost must stay finite, found {cost} in epoch {self.epoch + 1}; learn slower")
        return cost

    def _backward(self, index: Tensor, inputs: Tensor, targets: Tensor) -> Tensor:
        if self.states is None:
            return self.gradient.backward(inputs, targets)
        return self.states.backward(index, inputs, targets)

    def _shuffled(self) -> Iterator[Tensor]:
        """Indices of each batch of the coming epoch."""
        n_samples = len(self._train[1])
        order = np.random.default_rng([self.seed, self.epoch]).permutation(n_samples)
        return iter(torch.from_numpy(order).to(self._train[1].device).split(self.batch_size))

    def _noisy(self, inputs: Tensor, generator: torch.Generator) -> Tensor:
        if not self.input_noise:
            return inputs
        return inputs + self.input_noise * torch.randn(inputs.shape, generator=generator, dtype=inputs.dtype).to(inputs)

    def _set_rates(self, batch: int) -> None:
        done = (self.epoch * self.n_batches + batch) / (self.epochs * self.n_batches)
        factor = 1.0 if self.schedule == "constant" else 0.5 * (1 + math.cos(math.pi * done))
        for group, rate in zip(self.update.param_groups, self._rates, strict=True):
            group["lr"] = rate * factor

    def checkpoint(self) -> Checkpoint:
        """Everything that the next epoch depends on; the hardware has taken up what was set from elsewhere."""
        self.update.follow()
        tensors = {f"parameter.{name}": value for name, value in self.network.state_dict().items()}
        for index, state in self.update.state_dict()["state"].items():
            tensors |= {f"optimizer.{index}.{key}": value for key, value in state.items() if value is not None}
        tensors |= {f"hardware.{name}": value for name, value in self.update.hardware_state().items()}
        tensors |= {f"gradient.{name}": value for name, value in self.gradient.state().items()}
        if self.states is not None:
            tensors |= {f"state.{name}": value for name, value in self.states.state().items()}
        facts = {"history": [asdict(record) for record in self.history], "devices": self.devices}
        return Checkpoint(tensors, facts)

    def restore(self, checkpoint: Checkpoint) -> None:
        """Take up where `checkpoint` was made.

        Raises
        ------
        CheckpointError
            If it is another network's, or of another kind of training.
        """
        history = _history(checkpoint)
        checkpoint.load_parameters(self.network)
        self.gradient.load_state(under(checkpoint.tensors, "gradient"))
        self._restore_optimizer(under(checkpoint.tensors, "optimizer"), began=bool(history))
        self.update.load_hardware_state(under(checkpoint.tensors, "hardware"))
        if self.states is not None:
            self.states.load_state(under(checkpoint.tensors, "state"))
        self.history = history
        self.devices = list(checkpoint.facts.get("devices", []))

    def _restore_optimizer(self, tensors: dict[str, Tensor], began: bool) -> None:
        state: dict[int, dict[str, Tensor]] = {}
        for name, value in tensors.items():
            index, _, key = name.partition(".")
            if not index.isdecimal():
                raise CheckpointError(f"the optimiser's state must go by the number of a parameter, found {name!r}")
            state.setdefault(int(index), {})[key] = value
        require_optimizer_state(self.update.optimizer, state, began)
        self.update.load_state_dict({**self.update.state_dict(), "state": state})


def _history(checkpoint: Checkpoint) -> list[EpochRecord]:
    try:
        history = [EpochRecord(**record) for record in checkpoint.facts["history"]]
        for number, record in enumerate(history, start=1):
            values = [getattr(record, name) for name in ("train_accuracy", "test_accuracy", "cost", "seconds")]
            values += [] if record.test_cost is None else [record.test_cost]
            if record.epoch != number or not all(isinstance(value, (int, float)) for value in values):
                raise TypeError(f"another record of epoch {number}")
        return history
    except (KeyError, TypeError) as error:
        raise CheckpointError(f"the checkpoint must hold the history of its epochs, found none ({error!r})") from None


def predictions(network: Network, inputs: Tensor, solver: Solver | None = None, chip: Chip | None = None) -> Tensor:
    """Index of the largest output of each sample, `(n_samples,)`, for inputs `(n_samples, n_inputs)` [V].

    On a chip the outputs are those that its converters read; their noise is the same in every call.
    """
    return torch.cat([read.argmax(-1) for _, read in outputs_and_reads(network, inputs, solver, chip)])


def outputs_and_reads(
    network: Network, inputs: Tensor, solver: Solver | None = None, chip: Chip | None = None
) -> Iterator[tuple[Tensor, Tensor]]:
    """Outputs of parts of the samples, and what a chip's converters read of them, each `(n, n_outputs)`. [V]

    The noise of the converters is the same in every call.
    """
    solver = solver_of(network) if solver is None else solver
    noise = torch.Generator().manual_seed(0)
    for batch in inputs.split(_EVALUATION_BATCH):
        state = solve(network, driven(batch, chip, noise), solver=solver, chip=chip)
        yield state.outputs, network.outputs_of(network.read(state.layers, chip, noise))


def mean_cost(
    network: Network,
    inputs: Tensor,
    targets: Tensor,
    cost: Cost,
    solver: Solver | None = None,
    chip: Chip | None = None,
    ranks: Ranks | None = None,
) -> float:
    """Mean cost of samples with targets `(n_samples, n_outputs)`; several processes each solve a part of them."""
    ranks = Ranks() if ranks is None else ranks
    own, total = ranks.share(len(targets)), torch.zeros((), dtype=torch.float64, device=inputs.device)
    if own.stop > own.start:
        outputs = torch.cat([read for _, read in outputs_and_reads(network, inputs[own], solver, chip)])
        total += cost.value(outputs, targets[own].to(outputs)).double().sum()
    ranks.add(total)
    return float(total) / len(targets)


def accuracy(
    network: Network,
    inputs: Tensor,
    labels: Tensor,
    solver: Solver | None = None,
    chip: Chip | None = None,
    ranks: Ranks | None = None,
) -> float:
    """Share of samples that are classified as their label; several processes each classify a part of them."""
    ranks = Ranks() if ranks is None else ranks
    own, hits = ranks.share(len(labels)), torch.zeros((), dtype=torch.float64, device=inputs.device)
    if own.stop > own.start:
        hits += (predictions(network, inputs[own], solver, chip) == labels[own]).sum()
    ranks.add(hits)
    return float(hits) / len(labels)
