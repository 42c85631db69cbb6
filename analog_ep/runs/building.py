"""From the words of a spec to the objects that they stand for."""

from __future__ import annotations

import torch

from analog_ep.cards import pulsed_device
from analog_ep.circuit import Chip
from analog_ep.datasets import Dataset, load_dataset
from analog_ep.devices import Clamp, Diode, IdealDiode, PiecewiseLinearDiode, ShockleyDiode
from analog_ep.equilibrium.equilibrium import Solver
from analog_ep.equilibrium.layered.euler import EulerRelaxation
from analog_ep.equilibrium.layered.hopfield_relaxation import HopfieldRelaxation
from analog_ep.equilibrium.ngspice import Ngspice
from analog_ep.equilibrium.layered.relaxation import Relaxation
from analog_ep.errors import DataError, SpecError
from analog_ep.learning.updates.cell_update import CellUpdate
from analog_ep.learning.gradients.propagation import GradientMethod
from analog_ep.learning.updates.pulsed import PulsedUpdate
from analog_ep.learning.updates.schemes import OneOfPair, update_scheme
from analog_ep.learning.updates.update import ParameterUpdate, Update, WeightUpdate
from analog_ep.networks import HopfieldNetwork, LeakyIntegrators, Network, ResistiveNetwork
from analog_ep.spec import (
    CardSpec,
    CrossEntropySpec,
    DiodeSpec,
    HopfieldSpec,
    IdealSpec,
    PiecewiseSpec,
    RelaxationSpec,
    Spec,
    UpdateSpec,
)
from analog_ep.spec.gradients import Parts
from analog_ep.stimulus import Cost, CrossEntropy, Nudge, SquaredError


def build_dataset(spec: Spec) -> Dataset:
    """The spec's samples, scaled, in volts.

    Raises
    ------
    DataError
        If the data cannot be loaded, or does not fit the ends of the network.
    """
    sizes = spec.network.sizes
    dataset = load_dataset(spec.data.source, spec.training.seed, n_classes=sizes[-1])
    if dataset.n_features != sizes[0]:
        raise DataError(
            f"{dataset.name} has {dataset.n_features} features a sample, network.sizes begins with {sizes[0]}; "
            "give a spec whose sizes fit"
        )
    if dataset.n_classes > sizes[-1]:
        raise DataError(
            f"{dataset.name} has {dataset.n_classes} classes, network.sizes ends with {sizes[-1]}; "
            "give a spec whose sizes fit"
        )
    if spec.data.validation:
        dataset = dataset.hold_out(spec.data.validation, spec.training.seed)
    return dataset.scaled(spec.data.scaling).in_volts(spec.data.input_voltage)


def build_network(spec: Spec, dtype: torch.dtype | None = None) -> ResistiveNetwork | HopfieldNetwork:
    """The spec's network with its initial parameters, in the spec's dtype or another.

    Raises
    ------
    DeviceParameterError
        If a diode cannot be as described.
    NetworkError
        If the network cannot.
    """
    if isinstance(spec.network, HopfieldSpec):
        network, scales = spec.network, spec.network.initial_scale
        return HopfieldNetwork(
            network.sizes,
            activation=network.activation,
            initial_scale=scales[0] if len(scales) == 1 else scales,
            seed=spec.training.seed,
            dtype=_dtype(spec, dtype),
            hardware=LeakyIntegrators(network.leak_conductance, network.capacitance, network.clamp_conductance),
        )
    return build_resistive(spec, dtype)


def build_resistive(spec: Spec, dtype: torch.dtype | None = None) -> ResistiveNetwork:
    """The spec's resistive network, as `build_network`.

    Raises
    ------
    SpecError
        If the spec has another kind of network.
    """
    network = spec.network
    if isinstance(network, HopfieldSpec):
        raise SpecError(f'network.kind must be "resistive" for this, found "{network.kind}"')
    low, high = network.conductance_range
    hidden = network.sizes[1:-1]
    diodes = spec.diode * len(hidden) if len(spec.diode) == 1 else spec.diode
    return ResistiveNetwork(
        network.sizes,
        diode=[_clamp(diode, size) for diode, size in zip(diodes, hidden, strict=True)],
        gain=network.gain,
        feedback=network.feedback,
        drive=network.drive,
        bias_voltage=network.bias_voltage if network.bias else None,
        conductance_range=(low, high),
        reference_conductance=network.reference_conductance,
        initial_range=None if network.initial_range is None else (network.initial_range[0], network.initial_range[1]),
        seed=spec.training.seed,
        dtype=_dtype(spec, dtype),
    )


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
    if isinstance(spec.cost, CrossEntropySpec):
        return CrossEntropy(spec.cost.logit_scale)
    return SquaredError(spec.cost.target_voltage)


def build_gradient(
    spec: Spec, network: ResistiveNetwork | HopfieldNetwork, chip: Chip | None = None, known: Chip | None = None
) -> GradientMethod:
    """The spec's gradient method on a network, and on a chip where there is one.

    What is `known` of the chip is corrected for by equilibrium propagation, the method that runs real phases.
    """
    return spec.gradient.build(
        Parts(network, build_cost(spec), build_solver(spec), chip, known, seed=spec.training.seed)
    )


def build_solver(spec: Spec) -> Solver:
    """The spec's solver; ngspice runs reduced netlists, which have the same voltages."""
    relaxation = RelaxationSpec() if spec.relaxation is None else spec.relaxation
    if isinstance(spec.network, HopfieldSpec):
        return _hopfield_solver(relaxation)
    if spec.gradient.solver == "ngspice":
        return Ngspice(reduced=True)
    return Relaxation(relaxation.rtol, relaxation.response_rtol, relaxation.max_steps)


def _hopfield_solver(spec: RelaxationSpec) -> Solver:
    if spec.method == "euler":
        return EulerRelaxation(spec.step_size, spec.max_steps, spec.atol)
    return HopfieldRelaxation(spec.atol, spec.response_rtol, spec.max_steps, spec.strict, spec.over_relaxation)


def build_nudge(spec: Spec, targets: torch.Tensor) -> Nudge:
    """The spec's nudge towards targets `(*batch, n_outputs)`."""
    return Nudge(spec.gradient.nudging, targets, build_cost(spec), spec.gradient.kind)


def build_update(spec: Spec, network: ResistiveNetwork | HopfieldNetwork, chip: Chip | None = None) -> ParameterUpdate:
    """The spec's optimiser on a network, one parameter group a stage, and the devices and cells that it writes.

    Raises
    ------
    DeviceParameterError
        If device or scheme cannot be as described.
    """
    optimizer = _optimizer(spec, network)
    if isinstance(network, HopfieldNetwork):
        return WeightUpdate(optimizer)
    if spec.update is not None:
        return _pulsed(spec, spec.update, optimizer, network, chip)
    update = Update(optimizer, network)
    return update if chip is None else CellUpdate(update, network, chip, spec.training.seed)


def _pulsed(
    spec: Spec, update: UpdateSpec, optimizer: torch.optim.Optimizer, network: ResistiveNetwork, chip: Chip | None
) -> PulsedUpdate:
    device = pulsed_device(update.device, **update.parameters)
    scheme = update_scheme(update.scheme, **update.options)
    if update.held is not None:
        scheme = OneOfPair(scheme, update.held)
    return PulsedUpdate(optimizer, network, device=device, scheme=scheme, seed=spec.training.seed, chip=chip)


def _optimizer(spec: Spec, network: Network) -> torch.optim.Optimizer:
    training = spec.training
    stages = network.stage_parameters()
    rates = training.learning_rate * len(stages) if len(training.learning_rate) == 1 else training.learning_rate
    groups = [{"params": parameters, "lr": rate} for parameters, rate in zip(stages, rates, strict=True)]
    if training.optimizer == "sgd":
        return torch.optim.SGD(groups, lr=rates[0], momentum=training.momentum, fused=True)
    return torch.optim.Adam(groups, lr=rates[0], fused=True)


def _clamp(spec: DiodeSpec, n_nodes: int) -> Clamp:
    diode = _diode(spec)
    if spec.clamp == "alternating":
        return Clamp.alternating(diode, n_nodes, upper=spec.upper, lower=spec.lower)
    upper = None if spec.clamp == "lower" else spec.upper
    lower = None if spec.clamp == "upper" else spec.lower
    return diode.clamp(upper=upper, lower=lower)


def _diode(spec: DiodeSpec) -> Diode | IdealDiode:
    if isinstance(spec, CardSpec):
        return spec.diode()
    if isinstance(spec, IdealSpec):
        return IdealDiode(on_conductance=spec.on_conductance, forward_voltage=spec.forward_voltage)
    if isinstance(spec, PiecewiseSpec):
        return PiecewiseLinearDiode(tuple(spec.thresholds), tuple(spec.increments), leakage=spec.leakage)
    return ShockleyDiode(
        saturation_current=spec.saturation_current,
        ideality=spec.ideality,
        temperature=spec.temperature,
        series_resistance=spec.series_resistance,
    )
