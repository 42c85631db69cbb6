"""From a spec to the lesson of a network that learns by itself."""

from __future__ import annotations

from functools import partial

import numpy as np
import torch
from torch import Tensor

from analog_ep.checking.agreement import Tolerances
from analog_ep.circuit import Chip
from analog_ep.datasets import targets_of
from analog_ep.errors import SpecError
from analog_ep.learning.learnt import Learnt
from analog_ep.learning.ngspice_learning import learn_in_ngspice
from analog_ep.learning.self_learning import SelfLearner, Teacher, predict_learning
from analog_ep.learning.settled import require_time_to_settle
from analog_ep.learning.training import Trainer
from analog_ep.netlist.lesson import Lesson
from analog_ep.networks import ConductanceNetwork, HardwareNetwork, Network, Question
from analog_ep.runs.building import build_cost, build_dataset
from analog_ep.spec import Spec
from analog_ep.spec.self_learning import SelfLearningSpec
from analog_ep.stimulus import Nudge


def trainer_of(spec: Spec, network: HardwareNetwork) -> type[Trainer] | partial[SelfLearner]:
    """What trains a spec's network: a trainer, or one whose steps are those of the network's own circuits.

    Raises
    ------
    SpecError
        If a network shall learn by itself that has no conductances.
    """
    if spec.self_learning is None:
        return Trainer
    conductances_that_learn(network)
    return partial(SelfLearner, teacher=teacher_of(spec, spec.self_learning), lesson=partial(_of_an_epoch, spec))


def conductances_that_learn(network: HardwareNetwork) -> ConductanceNetwork:
    """The network, or `SpecError` where it has no conductances."""
    return network.answer(_Conductances())


def teacher_of(spec: Spec, table: SelfLearningSpec) -> Teacher:
    """What holds the lessons: ngspice, or a prediction by equilibria."""
    if spec.gradient.solver == "ngspice-learning":
        return partial(learn_in_ngspice, capacitance=table.node_capacitance)
    return partial(_predicted, capacitance=table.node_capacitance)


def _predicted(network: ConductanceNetwork, lesson: Lesson, chip: Chip | None, capacitance: float) -> Learnt:
    """A prediction by equilibria, which circuits that have the time for it come to."""
    require_time_to_settle(network, lesson, chip, capacitance)
    return predict_learning(network, lesson, chip)


def tolerances_of(spec: Spec) -> Tolerances:
    """What counts as agreement in a check of the spec's run.

    Circuits that learn by themselves are nudged strongly on purpose: the bias of it is told, and hardly judged.
    """
    return Tolerances() if spec.self_learning is None else Tolerances(cosine=0.99, bias=0.5)


def whole_lesson(spec: Spec, network: ConductanceNetwork, epochs: int) -> Lesson:
    """Training samples for some epochs, in the order of a training, and then all samples, the test part last."""
    dataset = build_dataset(spec, network)
    like = next(network.parameters())
    inputs = torch.cat([dataset.train_inputs, dataset.test_inputs]).to(like)
    labels = torch.cat([dataset.train_labels, dataset.test_labels])
    targets = targets_of(labels, build_cost(spec), network.n_outputs, like=inputs)
    learned = len(dataset.train_labels)
    order = [np.random.default_rng([spec.training.seed, epoch]).permutation(learned) for epoch in range(epochs)]
    return _lesson(spec, inputs, targets, np.array(order))


def _of_an_epoch(spec: Spec, inputs: Tensor, targets: Tensor, order: np.ndarray) -> Lesson:
    return _lesson(spec, inputs, targets, order, np.zeros(0, dtype=np.int64))


def _lesson(
    spec: Spec, inputs: Tensor, targets: Tensor, order: np.ndarray, examined: np.ndarray | None = None
) -> Lesson:
    table = SelfLearningSpec() if spec.self_learning is None else spec.self_learning
    nudge = Nudge(spec.gradient.nudging, targets.double().cpu(), build_cost(spec), spec.gradient.kind)
    (rate,) = spec.training.learning_rate
    given = {} if examined is None else {"examined": examined}
    return Lesson(
        inputs.double().cpu().numpy(), nudge, order, table.timing, rate, table.cells(spec.training.seed), **given
    )


class _Conductances(Question[ConductanceNetwork]):
    def network(self, network: Network) -> ConductanceNetwork:
        raise SpecError(f"self_learning needs a network of conductances, found a {type(network).__name__}")

    def conductances(self, network: ConductanceNetwork) -> ConductanceNetwork:
        return network
