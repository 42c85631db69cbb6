"""Equilibrium propagation and its relatives on one task: accuracy, and the angle to the gradient of the cost."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass

import numpy as np
import torch
from rich.table import Table
from torch import Tensor

from analog_ep.datasets import Dataset, load_dataset
from analog_ep.equilibrium import HopfieldRelaxation, Solver
from analog_ep.equilibrium.solver_of import solver_of
from analog_ep.errors import ConvergenceError
from analog_ep.learning import (
    AdjointDynamics,
    ContrastiveDivergence,
    ContrastiveHebbian,
    CoupledLearning,
    EquilibriumPropagation,
    GradientMethod,
    RecurrentBackpropagation,
    SmallSignal,
)
from analog_ep.learning.training import EpochRecord, Trainer
from analog_ep.learning.updates.update import update_of
from analog_ep.networks import HopfieldNetwork, Network, Question, UnitNetwork
from analog_ep.runs.building import build_network
from analog_ep.spec import default_spec, with_values
from analog_ep.stimulus import SquaredError
from analog_ep.support.png import png_of
from analog_ep.support.shown import Tabled

HIDDEN = 100
BATCH = 32
HELD_OUT = 300
RATES = (3e-3, 1e-2, 3e-2, 1e-1)
"""Learning rates of Adam among which the held-out accuracy chooses."""

_COSINE_SAMPLES = 256


@dataclass(frozen=True)
class Contender:
    """A gradient method on a kind of network.

    Attributes
    ----------
    name : str
        Of the method.
    network : "Hopfield", "Hopfield, sigmoid" or "resistive"
        What it trains; the first with the hard sigmoid.
    build : callable
        Makes the method for a network, a cost and a seed.
    repeats : int
        Times that the samples are repeated to find its mean direction, where it draws at random.
    """

    name: str
    network: str
    build: Callable[[Network, SquaredError, int], GradientMethod]
    repeats: int = 1


_SOLVER = HopfieldRelaxation(atol=1e-3, response_rtol=1e-2, max_steps=20, strict=False)
"""A few samples a training settle slowly, near a point where two basins meet; they are taken as they are."""

_ADJOINT = AdjointDynamics(0.2, rtol=1e-2, max_steps=300, strict=False)


def _positive(network: Network, cost: SquaredError, seed: int) -> GradientMethod:
    return EquilibriumPropagation(network, 0.5, cost, "positive", "elastic", _SOLVER)


def _centered(network: Network, cost: SquaredError, seed: int) -> GradientMethod:
    return EquilibriumPropagation(network, 0.5, cost, "centered", "elastic", _SOLVER)


def _hebbian(network: Network, cost: SquaredError, seed: int) -> GradientMethod:
    return ContrastiveHebbian(network, cost, _SOLVER)


def _adjoint(network: Network, cost: SquaredError, seed: int) -> GradientMethod:
    return RecurrentBackpropagation(network, cost, _SOLVER, _ADJOINT)


CONTENDERS = (
    Contender("EP, positive, β = 0.5", "Hopfield", _positive),
    Contender("EP, centered, β = 0.5", "Hopfield", _centered),
    Contender("contrastive Hebbian", "Hopfield", _hebbian),
    Contender("recurrent backprop", "Hopfield", _adjoint),
    Contender("CD-1", "Hopfield", lambda n, c, s: ContrastiveDivergence(n, 1, c, seed=s), 20),
    Contender("CD-10", "Hopfield", lambda n, c, s: ContrastiveDivergence(n, 10, c, seed=s), 20),
    Contender("recurrent backprop", "Hopfield, sigmoid", _adjoint),
    Contender("EP, centered, β = 1 µS", "resistive", lambda n, c, s: EquilibriumPropagation(n, 1e-6, c)),
    Contender("coupled learning, η = 0.1", "resistive", lambda n, c, s: CoupledLearning(n, 0.1, c)),
    Contender("contrastive Hebbian, η = 1", "resistive", lambda n, c, s: ContrastiveHebbian(n, c)),
)
"""The methods, in the order of the table."""


@dataclass(frozen=True)
class Outcome:
    """One training.

    Attributes
    ----------
    method, network : str
        Of the contender.
    seed : int
        Of split, network and shuffles.
    learning_rate : float
        Of Adam.
    test_accuracy : list of float
        After each epoch, by the largest output of the free equilibrium.
    train_accuracy : float
        At the end.
    machine_accuracy : float or None
        For contrastive divergence: at the end, by the machine's own class probabilities.
    cosine_before, cosine_after : float or None
        Between the method's direction and the gradient of the squared error, over all parameters.
    seconds : float
        Of an epoch's steps, mean. [s]
    """

    method: str
    network: str
    seed: int
    learning_rate: float
    test_accuracy: list[float]
    train_accuracy: float
    machine_accuracy: float | None
    cosine_before: float | None
    cosine_after: float | None
    seconds: float


def run(contender: Contender, seed: int, learning_rate: float, epochs: int, *, held_out: bool = False) -> Outcome:
    """Train once.

    Parameters
    ----------
    contender : Contender
        What to train.
    seed : int
        Of split, network, shuffles and draws.
    learning_rate : float
        Of Adam, at the beginning; it falls along half a cosine.
    epochs : int
        Passes over the training part.
    held_out : bool
        Whether samples held out of the training part take the place of the test part.
    """
    network, cost, dataset = _prepared(contender, seed)
    dataset = dataset.hold_out(HELD_OUT, seed) if held_out else dataset
    method = contender.build(network, cost, seed)
    before = direction_cosine(method, cost, dataset, contender.repeats)
    trainer = Trainer(
        network,
        method,
        update_of(torch.optim.Adam(network.parameters(), learning_rate), network),
        dataset,
        batch_size=BATCH,
        epochs=epochs,
        schedule="cosine",
        seed=seed,
        solver=_solver_of(network),
    )
    clock = _Clock()
    trainer.train(clock)
    history = trainer.history
    return Outcome(
        method=contender.name,
        network=contender.network,
        seed=seed,
        learning_rate=learning_rate,
        test_accuracy=[record.test_accuracy for record in history],
        train_accuracy=history[-1].train_accuracy,
        machine_accuracy=_machine_accuracy(method, *dataset.part("test")),
        cosine_before=before,
        cosine_after=direction_cosine(method, cost, dataset, contender.repeats),
        seconds=clock.seconds / epochs,
    )


class _Clock:
    """Counts the time of the steps alone. [s]"""

    def __init__(self):
        self.seconds, self._began = 0.0, time.perf_counter()

    def batch_done(self, epoch: int, batch: int, n_batches: int) -> None:
        """Take in an epoch's time at its last batch."""
        if batch == n_batches:
            self.seconds += time.perf_counter() - self._began

    def epoch_done(self, record: EpochRecord) -> None:
        """Begin the next epoch."""
        self._began = time.perf_counter()


def _prepared(contender: Contender, seed: int) -> tuple[Network, SquaredError, Dataset]:
    dataset = load_dataset("digits", seed).scaled("unit")
    if contender.network != "resistive":
        activation = "sigmoid" if contender.network.endswith("sigmoid") else "hard_sigmoid"
        # Stronger weights make the network bistable before it has learnt anything.
        network = HopfieldNetwork([64, HIDDEN, 10], activation=activation, initial_scale=0.5, seed=seed)
        return network, SquaredError(), dataset
    spec = default_spec("digits")
    spec = with_values(spec, network={"sizes": [64, HIDDEN, 10]}, training={"seed": seed})
    return build_network(spec), SquaredError(2.0), dataset.in_volts(spec.data.input_voltage)


def direction_cosine(method: GradientMethod, cost: SquaredError, dataset: Dataset, repeats: int = 1) -> float | None:
    """Cosine between a method's direction and the gradient of the cost, on the first training samples.

    None where the gradient is nothing, as with all outputs on a bound.
    """
    inputs, labels = (part[:_COSINE_SAMPLES] for part in dataset.part("train"))
    targets = cost.encode(labels, method.network.n_outputs, inputs)
    _, found = method.gradients(inputs.repeat(repeats, 1), targets.repeat(repeats, 1))
    _, wanted = SmallSignal(method.network, cost, _solver_of(method.network)).gradients(inputs, targets)
    a, b = (torch.cat([part[name].flatten() for name in wanted]).double() for part in (found, wanted))
    return float(a @ b / (a.norm() * b.norm())) if bool(b.any()) else None


class _StudySolver(Question[Solver]):
    def network(self, network: Network) -> Solver:
        return solver_of(network)

    def units(self, network: UnitNetwork) -> Solver:
        return _SOLVER


def _solver_of(network: Network) -> Solver:
    return network.answer(_StudySolver())


def _machine_accuracy(method: GradientMethod, inputs: Tensor, labels: Tensor) -> float | None:
    scores = method.class_scores(inputs)
    return None if scores is None else float((scores.argmax(-1) == labels).double().mean())


def chosen_rate(contender: Contender, epochs: int, seed: int = 100) -> float:
    """The learning rate of `RATES` with the highest held-out accuracy, the smallest of equals."""
    accuracies = [_held_out_accuracy(contender, seed, rate, epochs) for rate in RATES]
    return RATES[int(np.argmax(accuracies))]


def _held_out_accuracy(contender: Contender, seed: int, rate: float, epochs: int) -> float:
    """The machine's own accuracy where there is one; 0 where the training meets a state that does not settle."""
    try:
        outcome = run(contender, seed, rate, epochs, held_out=True)
    except ConvergenceError:
        return 0.0
    return outcome.test_accuracy[-1] if outcome.machine_accuracy is None else outcome.machine_accuracy


@dataclass(frozen=True)
class Comparison(Tabled):
    """All trainings."""

    outcomes: list[Outcome]

    def to_json(self) -> str:
        """The trainings as a JSON list."""
        return json.dumps([asdict(outcome) for outcome in self.outcomes], indent=1, allow_nan=False)

    def rows(self) -> list[tuple[str, ...]]:
        """A row a contender: network, method, rate, accuracies, cosines and seconds."""
        rows = []
        for network, method in dict.fromkeys((o.network, o.method) for o in self.outcomes):
            found = [o for o in self.outcomes if (o.network, o.method) == (network, method)]
            machine = [o.machine_accuracy for o in found if o.machine_accuracy is not None]
            rows.append(
                (
                    network,
                    method,
                    f"{found[0].learning_rate:g}",
                    _percent([o.test_accuracy[-1] for o in found]),
                    _percent([o.train_accuracy for o in found]),
                    _percent(machine) if machine else "",
                    _mean([o.cosine_before for o in found]),
                    _mean([o.cosine_after for o in found]),
                    f"{np.median([o.seconds for o in found]):.2f}",
                )
            )
        return rows

    def table(self) -> Table:
        """The rows for a terminal."""
        table = Table(*COLUMNS)
        for row in self.rows():
            table.add_row(*row)
        return table

    def markdown(self) -> str:
        """The rows for a page."""
        lines = [COLUMNS, ("---",) * len(COLUMNS), *self.rows()]
        return "".join(f"| {' | '.join(line)} |\n" for line in lines)

    def plot(self) -> bytes:
        """Test error over the epochs, mean of the seeds, a panel a network, as a PNG."""
        from matplotlib.figure import Figure
        from matplotlib.ticker import MaxNLocator

        figure = Figure(figsize=(10, 3.8), layout="constrained")
        networks = list(dict.fromkeys(o.network for o in self.outcomes))
        panels = figure.subplots(1, len(networks), sharey=True, squeeze=False)[0]
        for axes, network in zip(panels, networks, strict=True):
            for method in dict.fromkeys(o.method for o in self.outcomes if o.network == network):
                curves = [o.test_accuracy for o in self.outcomes if (o.network, o.method) == (network, method)]
                errors = 100 * (1 - np.mean(curves, 0))
                axes.semilogy(range(1, len(errors) + 1), errors, label=method)
            axes.set(xlabel="epoch", title=network)
            axes.xaxis.set_major_locator(MaxNLocator(integer=True))
            axes.set_yticks([1, 2, 5, 10, 20, 50], labels=["1", "2", "5", "10", "20", "50"])
            axes.minorticks_off()
            axes.legend(fontsize="x-small", loc="upper right")
        panels[0].set_ylabel("test error [%]")
        return png_of(figure)


COLUMNS = (
    "network",
    "method",
    "rate",
    "test [%]",
    "train [%]",
    "own [%]",
    "cos before",
    "cos after",
    "s an epoch",
)


def _mean(values: Sequence[float | None]) -> str:
    known = [value for value in values if value is not None]
    return f"{np.mean(known):.3f}" if known else "none"


def _percent(values: Sequence[float]) -> str:
    spread = f" ± {100 * np.std(values, ddof=1):.1f}" if len(values) > 1 else ""
    return f"{100 * np.mean(values):.1f}{spread}"


def compare(
    seeds: Sequence[int], epochs: int, rates: Sequence[float], observe: Callable[[Outcome], None] = lambda _: None
) -> Comparison:
    """Train every contender from every seed.

    Parameters
    ----------
    seeds : sequence of int
        Seeds.
    epochs : int
        Passes over the training part.
    rates : sequence of float
        Learning rate of each of `CONTENDERS`.
    observe : callable
        Is given each outcome as it comes.
    """
    outcomes = []
    for contender, rate in zip(CONTENDERS, rates, strict=True):
        for seed in seeds:
            outcomes.append(run(contender, seed, rate, epochs))
            observe(outcomes[-1])
    return Comparison(outcomes)
