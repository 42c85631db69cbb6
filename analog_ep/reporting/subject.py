"""A run that is reported on: what its folder holds, each part read when it is first asked for."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from analog_ep.circuit import Chip
from analog_ep.circuit.reading import driven
from analog_ep.datasets import targets_of
from analog_ep.equilibrium.equilibrium import solve
from analog_ep.equilibrium.solver_of import solver_of
from analog_ep.learning.checkpoint import Checkpoint
from analog_ep.learning.training import EpochRecord
from analog_ep.networks import ConductanceNetwork, HardwareNetwork, Network, Question
from analog_ep.networks.needs import conductances_of
from analog_ep.runs.building import build_cost, build_dataset, build_gradient, build_network
from analog_ep.runs.choosing import CHECKPOINT
from analog_ep.runs.folder import stored_chip
from analog_ep.runs.trained import test_samples
from analog_ep.spec import Spec

_STEP_SAMPLES = 256
"""Most training samples of the step that is shown."""


@dataclass(frozen=True)
class RunSubject:
    """A run folder whose spec could be read.

    Attributes
    ----------
    path : Path
        The folder.
    spec : Spec
        Its spec.
    sample : int
        Test sample that circuits are shown at.
    samples : int
        Test samples that are compared with ngspice.
    """

    path: Path
    spec: Spec
    sample: int
    samples: int

    @cached_property
    def checkpoint(self) -> Checkpoint:
        """The newest one."""
        return Checkpoint.load(self.path / CHECKPOINT)

    @cached_property
    def history(self) -> list[EpochRecord]:
        """What the complete epochs gave."""
        return [EpochRecord(**record) for record in self.checkpoint.facts["history"]]

    @cached_property
    def begun(self) -> HardwareNetwork:
        """The network as it was before the training, in float64."""
        return build_network(self.spec, torch.float64)

    @cached_property
    def network(self) -> HardwareNetwork:
        """The network as it is in the checkpoint, in float64."""
        network = build_network(self.spec, torch.float64)
        self.checkpoint.load_parameters(network)
        return network

    @cached_property
    def chip(self) -> Chip | None:
        """The chip of the folder; its converters have driven the inputs already."""
        return stored_chip(self.path, self.spec, self.network)

    @cached_property
    def test(self) -> tuple[Tensor, Tensor]:
        """Inputs, as a chip's DACs drive them, and targets of the whole test part."""
        return test_samples(self.spec, self.network, slice(0, None), self.chip)

    @property
    def one(self) -> Tensor:
        """Inputs of the sample that is shown, `(n_inputs,)`. [V]"""
        inputs, _ = test_samples(self.spec, self.network, slice(self.sample, self.sample + 1), self.chip)
        return inputs[0]

    @cached_property
    def outputs(self) -> Tensor:
        """Outputs of the whole test part, `(n_samples, n_outputs)`."""
        return solve(self.network, self.test[0], solver=solver_of(self.network), chip=self.chip).outputs

    def step(self) -> tuple[dict[str, np.ndarray], int]:
        """ΔG of one plain gradient step at the spec's rate, by parameter, and over how many training samples. [S]

        Raises
        ------
        StimulusError
            If the parameters are no conductances.
        """
        network = conductances_of(self.network, "a step of conductances needs some", "look at the weights")
        inputs, labels = build_dataset(self.spec, network).part("train")
        inputs, labels = inputs[:_STEP_SAMPLES], labels[:_STEP_SAMPLES]
        cost = build_cost(self.spec)
        inputs = driven(inputs.double(), self.chip)
        targets = targets_of(labels, cost, network.n_outputs, like=inputs)
        method = build_gradient(self.spec, network, self.chip)
        _, gradients = method.gradients(inputs, targets)
        return _moved(network, gradients, self.spec.training.learning_rate), len(inputs)


def _moved(network: HardwareNetwork, gradients: dict[str, Tensor], rates: list[float]) -> dict[str, np.ndarray]:
    """−η g_ref dC/dθ, with one rate for all stages, or one each."""
    stages = network.stage_parameters()
    rates = rates * len(stages) if len(rates) == 1 else rates
    rate_of = {id(p): rate for stage, rate in zip(stages, rates, strict=True) for p in stage}
    return {
        name: (-rate_of[id(theta)] * network.parameter_scale * gradients[name]).numpy()
        for name, theta in network.named_parameters()
    }


@dataclass(frozen=True)
class ConductancesOf(Question[dict[str, np.ndarray]]):
    """Conductances by parameter [S]; none where parameters are something else."""

    def network(self, network: Network) -> dict[str, np.ndarray]:
        return {}

    def conductances(self, network: ConductanceNetwork) -> dict[str, np.ndarray]:
        return {name: siemens.numpy() for name, siemens in network.conductances.items()}
