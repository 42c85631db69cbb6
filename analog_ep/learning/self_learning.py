"""What a deck that learns by itself comes to: the same presentations, with equilibria in place of transients."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from analog_ep.equilibrium import Equilibrium, solve
from analog_ep.equilibrium.solver_of import solver_of
from analog_ep.netlist.learning_deck import Lesson
from analog_ep.networks import ConductanceNetwork
from analog_ep.stimulus import Nudge


@dataclass(frozen=True, eq=False)
class Learnt:
    """What came of a lesson.

    Attributes
    ----------
    costs, right : ndarray (n_epochs,)
        Mean cost, and share of right answers, of the free phases of every epoch.
    outputs : ndarray (n_samples, n_outputs)
        Of all samples, after learning. [V]
    weights : dict of str to ndarray
        The charges w by parameter, at the parameter's flat index. [V]
    """

    costs: np.ndarray
    right: np.ndarray
    outputs: np.ndarray
    weights: dict[str, np.ndarray]


def predict_learning(network: ConductanceNetwork, lesson: Lesson) -> Learnt:
    r"""Learn as `write_learning_deck` has it, each phase at its equilibrium; see `UpdateCells` for the update.

    What a transient has beside that is left out: phases that do not settle, conductances that change while they are
    written, and what leaks within a presentation.

    Parameters
    ----------
    network : ConductanceNetwork
        In float64, where learning begins; it holds what it learnt afterwards.
    lesson : Lesson
        Its learning goes on in the cells' order of samples.

    Raises
    ------
    StimulusError
        If the lesson does not fit the network.
    ConvergenceError
        If a phase has no equilibrium that is found.
    """
    cells = _Cells(network, lesson)
    inputs, targets = torch.from_numpy(lesson.inputs), lesson.nudge.target.double()
    nudge, solver = lesson.nudge, solver_of(network)
    costs, right = (np.zeros(lesson.order.shape) for _ in range(2))
    for at, sample in np.ndenumerate(lesson.order):
        sample = int(sample)
        free = solve(network, inputs[sample], solver=solver)
        here = Nudge(nudge.strength, targets[sample], nudge.cost, nudge.kind)
        nudged = solve(network, inputs[sample], here, solver=solver, start=free)
        costs[at] = float(nudge.cost.value(free.outputs, targets[sample]))
        right[at] = float(is_right(free.outputs, targets[sample]))
        cells.write(free, nudged)
    outputs = solve(network, inputs, solver=solver).outputs
    return Learnt(costs.mean(1), right.mean(1), outputs.numpy(), cells.weights)


def is_right(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Whether the largest output is that of the largest target; of a single one, whether it has the target's sign."""
    if outputs.shape[-1] == 1:
        return (outputs * targets)[..., 0] > 0
    return outputs.argmax(-1) == targets.argmax(-1)


class _Cells:
    """The charges of a network, which follow its equilibria."""

    def __init__(self, network: ConductanceNetwork, lesson: Lesson):
        self.network, self.cells = network, lesson.cells
        self.groups = (circuit := network.circuit()).trained_groups()
        self.ranges = {name: network.range_of(name) for name, _ in network.named_parameters()}
        self.gains = lesson.gains(circuit, self.ranges)
        self.kept = float(np.exp(-lesson.timing.period / lesson.cells.leak_time))
        self.weights = {name: self._weights_of(name) for name in self.ranges}

    def write(self, free: Equilibrium, nudged: Equilibrium) -> None:
        """Change every charge by the phases of a presentation, and the network's conductances with them."""
        before, after = free.voltages.numpy(), nudged.voltages.numpy()
        for weights in self.weights.values():
            weights *= self.kept
        for group, name, index in self.groups:
            v, w = (state[group.positive] - state[group.negative] for state in (before, after))
            gains = self.gains[group.label] * self.cells.gains(group.label, len(group))
            change = gains * (w - v + self.cells.offsets(group.label, len(group))) * (w + v)
            np.subtract.at(self.weights[name], index, change)
        for name, weights in self.weights.items():
            weights.clip(0, 1, out=weights)
        self._set()

    def _weights_of(self, name: str) -> np.ndarray:
        low, high = self.ranges[name]
        siemens = self.network.conductances[name].detach().double().numpy().ravel()
        return (siemens - low) / (high - low)

    def _set(self) -> None:
        found = {}
        for name, weights in self.weights.items():
            low, high = self.ranges[name]
            found[name] = torch.from_numpy(low + (high - low) * weights).reshape(self.network.conductances[name].shape)
        self.network.set_conductances(found)

