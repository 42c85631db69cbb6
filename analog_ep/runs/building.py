"""From the words of a spec to the objects that they stand for."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from analog_ep.cards import pulsed_device
from analog_ep.circuit import Chip
from analog_ep.datasets import Augmentation, Dataset
from analog_ep.equilibrium.equilibrium import Solver
from analog_ep.errors import SpecError
from analog_ep.learning.gradients.method import GradientMethod
from analog_ep.learning.updates.cell_update import CellUpdate
from analog_ep.learning.updates.pulsed import PulsedUpdate
from analog_ep.learning.updates.schemes import OneOfPair, update_scheme
from analog_ep.learning.updates.update import ParameterUpdate, update_of
from analog_ep.networks import ConductanceNetwork, CrossbarNetwork, HardwareNetwork, Network, Question
from analog_ep.spec import RelaxationSpec, Spec
from analog_ep.spec.gradients import Parts
from analog_ep.stimulus import Cost, Nudge


def build_dataset(spec: Spec, network: Network | None = None) -> Dataset:
    """The spec's samples, scaled, in volts; `network` spares building it to know its ends.

    Raises
    ------
    DataError
        If the data cannot be loaded, or does not fit the ends of the network.
    """
    sizes = spec.network.sizes if network is None else network.sizes
    dataset = spec.data.load(tuple(sizes), spec.network.unit, spec.training.seed, spec.network.image_shape)
    if spec.data.validation:
        dataset = dataset.hold_out(spec.data.validation, spec.training.seed)
    return dataset.scaled(spec.data.scaling).in_volts(spec.data.input_voltage)


def build_network(spec: Spec, dtype: torch.dtype | None = None) -> HardwareNetwork:
    """The spec's network with its initial parameters, in the spec's dtype or another.

    Raises
    ------
    DeviceParameterError
        If a diode cannot be as described.
    NetworkError
        If the network cannot.
    """
    network = spec.network.build(spec.diode, spec.training.seed, _dtype(spec, dtype))
    return network if spec.wires is None else spec.wires.laid(network)


def build_conductances(spec: Spec, dtype: torch.dtype | None = None) -> ConductanceNetwork:
    """The spec's network of conductances, as `build_network`.

    Raises
    ------
    SpecError
        If the spec has another kind of network.
    """
    return build_network(spec, dtype).answer(_Conductances(spec.network.kind))


def build_resistive(spec: Spec, dtype: torch.dtype | None = None) -> CrossbarNetwork:
    """The spec's resistive network, as `build_network`.

    Raises
    ------
    SpecError
        If the spec has another kind of network.
    """
    network = build_network(spec, dtype)
    return network.answer(_Resistive(spec.network.kind))


@dataclass(frozen=True)
class _Conductances(Question[ConductanceNetwork]):
    kind: str

    def network(self, network: Network) -> ConductanceNetwork:
        raise SpecError(f'network.kind must be "resistive", "convolutional" or "circuit" for this, found "{self.kind}"')

    def conductances(self, network: ConductanceNetwork) -> ConductanceNetwork:
        return network


@dataclass(frozen=True)
class _Resistive(Question[CrossbarNetwork]):
    kind: str

    def network(self, network: Network) -> CrossbarNetwork:
        raise SpecError(f'network.kind must be "resistive" or "convolutional" for this, found "{self.kind}"')

    def crossbars(self, network: CrossbarNetwork) -> CrossbarNetwork:
        return network


def require_device(device: str) -> None:
    """Refuse a device that PyTorch cannot use here.

    Raises
    ------
    SpecError
        If it cannot hold a tensor.
    """
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise SpecError(f"device must be one that PyTorch can use here, found {device!r} ({reason}); try cpu") from None


def _dtype(spec: Spec, dtype: torch.dtype | None) -> torch.dtype:
    return getattr(torch, spec.training.dtype) if dtype is None else dtype


def build_cost(spec: Spec) -> Cost:
    """The spec's cost."""
    return spec.cost.build()


def build_gradient(
    spec: Spec, network: HardwareNetwork, chip: Chip | None = None, known: Chip | None = None
) -> GradientMethod:
    """The spec's gradient method on a network, and on a chip where there is one.

    What is `known` of the chip is corrected for by equilibrium propagation, the method that runs real phases.

    Raises
    ------
    SpecError
        If the network cannot learn by it.
    """
    spec.network.refuse_gradient(spec.gradient, network)
    return spec.gradient.build(
        Parts(network, build_cost(spec), build_solver(spec), chip, known, seed=spec.training.seed)
    )


def build_solver(spec: Spec) -> Solver:
    """The spec's solver; ngspice runs reduced netlists, which have the same voltages."""
    relaxation = RelaxationSpec() if spec.relaxation is None else spec.relaxation
    return spec.network.build_solver(relaxation, spec.gradient.solver)


def augmentation_of(spec: Spec) -> Augmentation | None:
    """How the spec moves its training images; None for not at all."""
    shape, training = spec.network.image_shape, spec.training
    if shape is None or not (training.shift or training.flip):
        return None
    return Augmentation(shape, training.shift, training.flip)


def build_nudge(spec: Spec, targets: torch.Tensor) -> Nudge:
    """The spec's nudge towards targets `(*batch, n_outputs)`."""
    return Nudge(spec.gradient.nudging, targets, build_cost(spec), spec.gradient.kind)


def build_update(spec: Spec, network: HardwareNetwork, chip: Chip | None = None) -> ParameterUpdate:
    """The spec's optimiser on a network, one parameter group a stage, and the devices and cells that it writes.

    Raises
    ------
    DeviceParameterError
        If device or scheme cannot be as described.
    """
    return network.answer(_SpecUpdate(spec, _optimizer(spec, network), chip))


@dataclass(frozen=True, eq=False)
class _SpecUpdate(Question[ParameterUpdate]):
    spec: Spec
    optimizer: torch.optim.Optimizer
    chip: Chip | None

    def network(self, network: Network) -> ParameterUpdate:
        return update_of(self.optimizer, network)

    def conductances(self, network: ConductanceNetwork) -> ParameterUpdate:
        seed, table = self.spec.training.seed, self.spec.update
        if table is None:
            update = update_of(self.optimizer, network)
            return update if self.chip is None else CellUpdate(update, network, self.chip, seed)
        device = pulsed_device(table.device, **table.parameters)
        scheme = update_scheme(table.scheme, **table.options)
        scheme = scheme if table.held is None else OneOfPair(scheme, table.held)
        vectors = self.spec.training.batch_size or len(build_dataset(self.spec, network).train_labels)
        return PulsedUpdate(self.optimizer, network, device, scheme, seed, self.chip, vectors, table.write_scheme)


def _optimizer(spec: Spec, network: Network) -> torch.optim.Optimizer:
    training = spec.training
    stages = network.stage_parameters()
    rates = training.learning_rate * len(stages) if len(training.learning_rate) == 1 else training.learning_rate
    if len(rates) != len(stages):
        raise SpecError(f"training.learning_rate must be one rate or {len(stages)}, one per parameter, found {rates}")
    groups = [{"params": parameters, "lr": rate} for parameters, rate in zip(stages, rates, strict=True)]
    if training.optimizer == "sgd":
        return torch.optim.SGD(
            groups, lr=rates[0], momentum=training.momentum, weight_decay=training.weight_decay, fused=True
        )
    if training.weight_decay:
        return torch.optim.AdamW(groups, lr=rates[0], weight_decay=training.weight_decay, fused=True)
    return torch.optim.Adam(groups, lr=rates[0], fused=True)
