"""Networks that learn by circuits of their own: what a deck comes to, predicted by equilibria, and a trainer of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from analog_ep.circuit import Chip
from analog_ep.datasets import targets_of
from analog_ep.equilibrium import Equilibrium, solve
from analog_ep.equilibrium.solver_of import solver_of
from analog_ep.errors import ConvergenceError
from analog_ep.learning.learnt import Learnt
from analog_ep.learning.settled import require_plain_cells
from analog_ep.learning.training import Trainer, TrainingObserver
from analog_ep.netlist.lesson import Lesson
from analog_ep.networks import ConductanceNetwork
from analog_ep.stimulus import Nudge

Teacher = Callable[[ConductanceNetwork, Lesson, Chip | None], Learnt]
"""Holds a lesson; the network, on a chip where there is one, is where learning begins, and stays as it is."""


def predict_learning(network: ConductanceNetwork, lesson: Lesson, chip: Chip | None = None) -> Learnt:
    r"""Learn as `write_learning_deck` has it, each phase at its equilibrium; see `UpdateCells` for the update.

    Of twins, the nudged state is that of the chip's twin array where it has one.
    What a transient has beside that is left out: phases that do not settle, and, where charges leak, that a frozen
    nudge takes its error from outputs before they leaked.

    Parameters
    ----------
    network : ConductanceNetwork
        Where learning begins; it is not changed.
    lesson : Lesson
        What is learnt from.
    chip : Chip, optional
        The hardware that learns.

    Raises
    ------
    StimulusError
        If the lesson does not fit the network.
    CircuitError
        If the chip has converters, cells or a twin array: see `require_plain_cells`.
    EnergyUnavailableError
        If it has no energy.
    ConvergenceError
        If a phase has no equilibrium that is found.
    """
    at_once = lesson.timing.at_once
    require_plain_cells(chip, at_once)
    later = None if chip is None else chip.later
    twin = network.as_built().as_measured()
    cells, solver = _Cells(twin, lesson), solver_of(twin)
    inputs, targets, nudge = torch.from_numpy(lesson.inputs), lesson.nudge.target.double(), lesson.nudge
    costs, right = (np.zeros(lesson.order.shape) for _ in range(2))
    for at, sample in np.ndenumerate(lesson.order):
        shown, target = inputs[int(sample)], targets[int(sample)]
        here = Nudge(nudge.strength, target, nudge.cost, nudge.kind)
        cells.leak(lesson.timing.free)
        free = solve(twin, shown, solver=solver, chip=chip)
        # What leaks between the phases changes the voltages, too, and the circuits cannot tell it from the nudge.
        leaked = not at_once and cells.leak(lesson.timing.nudged)
        settled = solve(twin, shown, solver=solver, chip=later) if leaked or later is not chip else free
        if at_once and here.kind == "frozen":
            # Its error is that of the other twin's outputs; an elastic one follows its own.
            settled = replace(settled, outputs=free.outputs)
        nudged = solve(twin, shown, here, solver=solver, start=settled, chip=later)
        cells.leak(lesson.timing.write)
        costs[at] = float(nudge.cost.value(free.outputs, target))
        right[at] = float(_is_right(free.outputs, target))
        cells.write(free, nudged)
    examined = solve(twin, inputs[torch.from_numpy(lesson.examined)], solver=solver, chip=chip).outputs
    return Learnt(costs.mean(1), right.mean(1), examined.numpy(), cells.weights)


class SelfLearner(Trainer):
    """A trainer whose epochs are lessons: sample by sample, by the update circuits of the network itself.

    Parameters
    ----------
    teacher : callable
        `predict_learning`, or what runs a deck in ngspice.
    lesson : callable
        Makes the lesson of inputs `(n_samples, n_inputs)` [V], targets and an order of samples.
    network, *arguments, **options
        See `Trainer`; the gradient is there for its cost alone.
    """

    def __init__(
        self,
        network: ConductanceNetwork,
        *arguments,
        teacher: Teacher,
        lesson: Callable[[Tensor, Tensor, np.ndarray], Lesson],
        **options,
    ):
        super().__init__(network, *arguments, **options)
        self._learner, self._teacher, self._lesson = network, teacher, lesson

    def _train_epoch(self, observer: TrainingObserver) -> float:
        inputs, labels = self._train
        targets = targets_of(labels, self.gradient.cost, self.network.n_outputs, like=inputs)
        order = torch.cat(list(self._shuffled())).cpu().numpy()[None]
        learnt = self._teacher(self._learner, self._lesson(inputs, targets, order), self.chip)
        cost = float(learnt.costs[0])
        if not np.isfinite(cost):
            raise ConvergenceError(f"the cost must stay finite, found {cost} in epoch {self.epoch + 1}; learn slower")
        learnt.set(self._learner)
        observer.batch_done(self.epoch + 1, 1, 1)
        return cost


class _Cells:
    """The charges of a network, which follow its equilibria."""

    def __init__(self, network: ConductanceNetwork, lesson: Lesson):
        self.network, self.cells = network, lesson.cells
        self.groups = (circuit := network.circuit()).trained_groups()
        self.ranges = {name: network.range_of(name) for name in network.conductances}
        self.gains = lesson.gains(circuit, self.ranges)
        self.weights = {name: self._weights_of(name) for name in self.ranges}

    def leak(self, seconds: float) -> bool:
        """Let every charge leak; whether it does."""
        if np.isinf(self.cells.leak_time):
            return False
        for weights in self.weights.values():
            weights *= np.exp(-seconds / self.cells.leak_time)
        self._set()
        return True

    def write(self, free: Equilibrium, nudged: Equilibrium) -> None:
        """Change every charge by the phases of a presentation, and the network's conductances with them."""
        before, after = free.voltages.numpy(), nudged.voltages.numpy()
        for group, name, index in self.groups:
            v, w = (state[group.positive] - state[group.negative] for state in (before, after))
            gains = self.gains[group.label] * self.cells.gains(group.label, len(group))
            change = gains * (w - v + self.cells.offsets(group.label, len(group))) * (w + v)
            np.subtract.at(self.weights[name], index, change)
        for weights in self.weights.values():
            weights.clip(0, 1, out=weights)
        self._set()

    def _set(self) -> None:
        Learnt(np.zeros(0), np.zeros(0), np.zeros(0), self.weights).set(self.network)

    def _weights_of(self, name: str) -> np.ndarray:
        low, high = self.ranges[name]
        siemens = self.network.conductances[name].detach().numpy().ravel()
        return ((siemens - low) / (high - low)).clip(0, 1)


def _is_right(outputs: Tensor, targets: Tensor) -> Tensor:
    """Whether the largest output is that of the largest target; of a single one, whether it has the target's sign."""
    if outputs.shape[-1] == 1:
        return (outputs * targets)[..., 0] > 0
    return outputs.argmax(-1) == targets.argmax(-1)
