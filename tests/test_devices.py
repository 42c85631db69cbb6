"""Everything follows the tensors' device: the same figures as on the CPU, and found where the tensors are.

Each test runs on a second device that any machine has, and on CUDA where there is one. The second device has neither
generators nor autograd: what needs them runs on CUDA alone.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
import second_device
import torch
from hopfield_networks import network as hopfield_network
from hopfield_networks import samples as hopfield_samples
from torch import Tensor

from analog_ep.checking import cross_check
from analog_ep.circuit import Chip
from analog_ep.devices import DiodeClamp, IdealDiode, PiecewiseLinearDiode, ShockleyDiode
from analog_ep.devices.pulses import PRESETS, ConstantStep, PulsedArray, pulse_model
from analog_ep.dynamics import Langevin
from analog_ep.equilibrium import HopfieldRelaxation, Newton, Ngspice, Relaxation, Solver, solve
from analog_ep.equilibrium.layered.resistive_layers import Ladder
from analog_ep.errors import CheckpointError
from analog_ep.export import write_netlist
from analog_ep.learning import (
    ContrastiveDivergence,
    ContrastiveHebbian,
    CoupledLearning,
    EquilibriumPropagation,
    FusedStep,
    GradientMethod,
    ImplicitDifferentiation,
    NgspiceSmallSignal,
    PulsedUpdate,
    RecurrentBackpropagation,
    SmallSignal,
    StochasticEquilibriumPropagation,
    Update,
)
from analog_ep.learning.updates.cell_update import CellUpdate
from analog_ep.learning.updates.schemes import SCHEMES, FixedStep, ProgramAndVerify, Scheme, SignStep, update_scheme
from analog_ep.networks import Network, ResistiveNetwork
from analog_ep.runs.chips import build_chip
from analog_ep.runs.folder import CHECKPOINT, Run
from analog_ep.spec import default_spec, with_values
from analog_ep.stimulus import CrossEntropy, Nudge, SquaredError

DIODES = {
    "ideal": IdealDiode(),
    "shockley": ShockleyDiode(),
    "piecewise": PiecewiseLinearDiode((0.3, 0.6), (1e-3, 1e-2)),
}
CUDA = pytest.param("cuda", marks=pytest.mark.cuda)
on_cuda = pytest.mark.parametrize("device", [CUDA], indirect=True)
COST = CrossEntropy(0.1)


@pytest.fixture(params=["second", CUDA])
def device(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> torch.device:
    if request.param == "cuda":
        return torch.device("cuda", 0)
    if not second_device.AVAILABLE:
        pytest.skip("this PyTorch has no devices written in Python")
    second_device.install(monkeypatch)
    return second_device.second_device()


def agree(device: torch.device, found: Callable[[torch.device], Sequence[Tensor]], rtol: float = 1e-11) -> None:
    """What is found on the device is on it, and what is found on the CPU."""
    here, there = found(torch.device("cpu")), found(device)
    assert len(here) == len(there) > 0
    for expected, actual in zip(here, there, strict=True):
        assert actual.device == device
        # Before the comparison: gradients of parameters are parts of a graph.
        expected, actual = expected.detach(), actual.detach().cpu()
        scale = float(expected.double().abs().max()) if expected.numel() else 0.0
        torch.testing.assert_close(actual, expected, rtol=rtol, atol=rtol * scale)


def resistive(diode: str = "ideal", device: torch.device | None = None, sizes=(6, 7, 5, 3)) -> ResistiveNetwork:
    network = ResistiveNetwork(sizes, diode=DIODES[diode], bias_voltage=1.0, seed=1, dtype=torch.float64)
    return network.to(device)


def batch(device: torch.device) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    inputs = 5 * torch.rand(4, 6, generator=generator, dtype=torch.float64)
    return inputs.to(device), torch.eye(3, dtype=torch.float64)[[0, 1, 2, 0]].to(device)


def chip_of(network: ResistiveNetwork) -> Chip:
    spreads = {"conductance_spread": 0.1, "saturation_current_spread": 0.1, "amplifier_offset": 1e-3, "stuck": 0.1}
    spec = with_values(default_spec("iris"), network={"sizes": list(network.sizes)}, chip=spreads)
    chip = build_chip(spec, copy.deepcopy(network).cpu())
    assert chip is not None
    return chip


def gradients(network: Network, method: GradientMethod, inputs: Tensor, targets: Tensor):
    cost = method.backward(inputs, targets)
    return [cost, *(parameter.grad for parameter in network.parameters() if parameter.grad is not None)]


@pytest.mark.parametrize("diode", DIODES)
@pytest.mark.parametrize("kind", [None, "frozen", "elastic"])
def test_layers_relax(device: torch.device, diode: str, kind):
    def found(where: torch.device) -> Sequence[Tensor]:
        inputs, targets = batch(where)
        nudge = None if kind is None else Nudge(1e-6, targets, COST, kind)
        state = solve(resistive(diode, where), inputs, nudge, solver=Relaxation())
        assert state.residual.device == state.converged.device == where
        return [*state.layers, state.voltages, state.outputs]

    agree(device, found, 1e-10)


def test_wide_layers_relax(device: torch.device, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(Ladder, "wide", True)
    agree(device, lambda where: solve(resistive("ideal", where), batch(where)[0], solver=Relaxation()).layers)


@pytest.mark.parametrize("solver", [Relaxation(), Newton()], ids=["relaxation", "newton"])
def test_a_chip_relaxes(device: torch.device, solver: Solver):
    def found(where: torch.device) -> Sequence[Tensor]:
        network = resistive("shockley", where)
        return solve(network, batch(where)[0], solver=solver, chip=chip_of(network)).layers

    agree(device, found, 1e-9)


@pytest.mark.parametrize("diode", DIODES)
@pytest.mark.parametrize(
    "method",
    [
        lambda network: SmallSignal(network, COST),
        lambda network: EquilibriumPropagation(network, 1e-6, COST, variant="positive"),
        lambda network: EquilibriumPropagation(network, 1e-6, COST, variant="negative"),
        lambda network: EquilibriumPropagation(network, 1e-6, COST, variant="centered"),
        lambda network: EquilibriumPropagation(network, 1e-6, COST, variant="random", seed=1),
        lambda network: EquilibriumPropagation(network, 1e-6, COST, kind="elastic"),
        lambda network: CoupledLearning(network, 0.1),
        lambda network: ContrastiveHebbian(network),
    ],
    ids=["small signal", "positive", "negative", "centered", "random", "elastic", "coupled", "hebbian"],
)
def test_gradients(device: torch.device, diode: str, method: Callable[[ResistiveNetwork], GradientMethod]):
    def found(where: torch.device) -> Sequence[Tensor]:
        network = resistive(diode, where)
        return gradients(network, method(network), *batch(where))

    agree(device, found, 1e-7)


def test_implicit_differentiation_takes_tensors_of_any_device(device: torch.device):
    def found(where: torch.device) -> Sequence[Tensor]:
        network = resistive("shockley", where)
        return gradients(network, ImplicitDifferentiation(network, COST), *batch(where))

    agree(device, found)


@pytest.mark.parametrize("method", [SmallSignal, lambda n, cost: EquilibriumPropagation(n, 1e-6, cost)])
@pytest.mark.parametrize("diode", DIODES)
def test_fused_steps(device: torch.device, diode: str, method):
    def found(where: torch.device) -> Sequence[Tensor]:
        network = resistive(diode, where)
        step = FusedStep(method(network, COST), 0.1)
        return [step.step(*batch(where)), step.step(*batch(where)), *network.parameters()]

    agree(device, found, 1e-8)


@pytest.mark.parametrize("optimizer", [torch.optim.SGD, torch.optim.Adam, torch.optim.RMSprop])
def test_updates(device: torch.device, optimizer):
    def found(where: torch.device) -> Sequence[Tensor]:
        network = resistive("ideal", where)
        update, method = Update(optimizer(network.parameters(), lr=0.1), network), SmallSignal(network, COST)
        for _ in range(3):
            update.zero_grad()
            method.backward(*batch(where))
            update.step()
        return list(network.parameters())

    agree(device, found, 1e-8)


@pytest.mark.parametrize("solver", [HopfieldRelaxation()])
@pytest.mark.parametrize("activation", ["hard_sigmoid", "tanh"])
def test_hopfield_networks(device: torch.device, solver, activation: str):
    def found(where: torch.device) -> Sequence[Tensor]:
        network = hopfield_network(activation)
        inputs, targets = (values.to(where) for values in hopfield_samples(network, 4))
        network.to(where)
        state = solve(network, inputs, solver=solver)
        method = EquilibriumPropagation(network, 1e-3, SquaredError(), solver=solver)
        return [*state.layers, *gradients(network, method, inputs, targets)]

    agree(device, found, 1e-7)


@on_cuda
@pytest.mark.parametrize("method", [RecurrentBackpropagation, ContrastiveDivergence])
def test_relatives_on_hopfield_networks(device: torch.device, method):
    def found(where: torch.device) -> Sequence[Tensor]:
        network = hopfield_network("hard_sigmoid")
        inputs, targets = (values.to(where) for values in hopfield_samples(network, 4))
        network.to(where)
        return gradients(network, method(network), inputs, targets)

    agree(device, found, 1e-7)


@on_cuda
def test_langevin_dynamics(device: torch.device):
    network = resistive("shockley", device)
    langevin = Langevin(1e-6, chains=64, burn_in=20, steps=20)
    estimate = StochasticEquilibriumPropagation(network, langevin, 1e-6)
    for gradient in estimate.gradients(*batch(device))[1].values():
        assert gradient.device == device
        assert bool(torch.isfinite(gradient).all())


@pytest.mark.parametrize("scheme", [FixedStep(rounding="nearest"), SignStep(), ProgramAndVerify()], ids=repr)
def test_pulses_without_noise(device: torch.device, scheme: Scheme, monkeypatch: pytest.MonkeyPatch):
    # Nothing here draws from the generator that an array has on its device.
    monkeypatch.setattr(torch, "Generator", lambda *_: torch._C.Generator())
    even = ConstantStep(w_min=0.0, w_max=1.0, step=0.01)

    def found(where: torch.device) -> Sequence[Tensor]:
        network = resistive("ideal", where)
        optimizer = torch.optim.SGD(network.parameters(), lr=1.0)
        update = PulsedUpdate(optimizer, network, device=even, scheme=scheme)
        SmallSignal(network, COST).backward(*batch(where))
        update.step()
        return [*network.parameters(), *update.pulse_counts.values()]

    agree(device, found)


@on_cuda
@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("preset", ["ReRamES", "EcRam"])
def test_pulses_with_noise(device: torch.device, scheme: str, preset: str):
    network = resistive("ideal", device)
    optimizer = torch.optim.SGD(network.parameters(), lr=10.0)
    update = PulsedUpdate(optimizer, network, device=pulse_model(preset), scheme=update_scheme(scheme))
    for _ in range(2):
        update.zero_grad()
        SmallSignal(network, COST).backward(*batch(device))
        update.step()
    assert all(counts.device == device for counts in update.pulse_counts.values())
    assert sum(int(counts.sum()) for counts in update.pulse_counts.values()) > 0
    assert all(bool(torch.isfinite(parameter).all()) for parameter in network.parameters())


@on_cuda
@pytest.mark.parametrize("preset", PRESETS)
def test_pulsed_arrays(device: torch.device, preset: str):
    """As many pulses as on the CPU move the devices as far, up to the noise's own spread."""
    model, start = pulse_model(preset), torch.full((1000, 400), 3e-5, dtype=torch.float64)

    def moved(where: torch.device) -> float:
        array = PulsedArray.over(model, start.to(where), (1e-6, 1e-4), seed=0)
        before = array.conductances.mean()
        array.pulse(torch.full(array.shape, 5, device=where))
        assert array.conductances.device == where
        return float(array.conductances.mean() - before)

    assert moved(device) == pytest.approx(moved(torch.device("cpu")), rel=0.05)


@on_cuda
def test_noise_goes_on_where_it_was_drawn(device: torch.device):
    start = torch.full((4, 3), 3e-5)
    here, there = (
        PulsedArray.over(pulse_model("ReRamES"), start.to(where), (1e-6, 1e-4), seed=0) for where in ("cpu", device)
    )
    again = PulsedArray.over(pulse_model("ReRamES"), start.to(device), (1e-6, 1e-4), seed=0)
    again.load_state_dict(there.state_dict())
    for array in (there, again):
        array.pulse(torch.ones(4, 3, dtype=torch.int64, device=device))
    assert torch.equal(again.conductances, there.conductances)
    with pytest.raises(CheckpointError, match="noise must go on where it was drawn"):
        there.load_state_dict(here.state_dict())


@on_cuda
def test_updates_of_cells(device: torch.device):
    network = resistive("shockley", device)
    chip = chip_of(network)
    update = CellUpdate(Update(torch.optim.SGD(network.parameters(), lr=1.0), network), network, chip)
    SmallSignal(network, COST, chip=chip).backward(*batch(device))
    update.step()
    assert all(parameter.device == device for parameter in network.parameters())


def test_diodes_described_on_a_device_make_the_same_netlist(device: torch.device, tmp_path: Path):
    def written(where: torch.device) -> str:
        spread = torch.tensor([1.0, 1.1, 1.2, 1.3, 1.4, 1.5, 1.6], dtype=torch.float64).to(where)
        bias = torch.linspace(0.1, 0.7, 7, dtype=torch.float64).to(where)
        clamp = DiodeClamp(ShockleyDiode(ideality=spread), bias, -bias, ShockleyDiode(ideality=2 * spread))
        network = ResistiveNetwork((6, 7, 3), diode=clamp, seed=1, dtype=torch.float64).to(where)
        chip = Chip.draw(network.circuit(), 1, ideality=0.1)
        write_netlist(network, batch(where)[0][0], path=tmp_path / where.type, chip=chip)
        return (tmp_path / where.type).read_text()

    assert written(device) == written(torch.device("cpu"))


@pytest.mark.ngspice
@pytest.mark.parametrize(
    "method",
    [NgspiceSmallSignal, lambda n, cost: EquilibriumPropagation(n, 1e-6, cost, solver=Ngspice())],
    ids=["small signal", "finite nudges"],
)
def test_gradients_from_ngspice(device: torch.device, method):
    def found(where: torch.device) -> Sequence[Tensor]:
        network = resistive("shockley", where)
        return gradients(network, method(network, COST), *batch(where))

    agree(device, found)


@pytest.mark.ngspice
def test_a_network_on_a_device_agrees_with_ngspice(device: torch.device):
    inputs, targets = batch(device)
    check = cross_check(resistive("shockley", device), inputs, targets, nudging=1e-6)
    assert check.max_voltage_error < 1e-8


@on_cuda
@pytest.mark.parametrize("spec", ["digits", "iris", "digits-chip", "digits-hopfield"])
def test_a_run_moves_between_devices(device: torch.device, spec: str, tmp_path: Path):
    """Begun on one device and resumed on another; a run on the CPU alone tells what should come of it."""
    short = with_values(default_spec(spec), training={"epochs": 2, "dtype": "float64", "schedule": "constant"})
    whole = Run.create(tmp_path / "cpu", short)
    whole.train()
    half = with_values(short, training={"epochs": 1})
    Run.create(tmp_path / "both", half, device=str(device)).train()
    resumed = Run.resume(tmp_path / "both", short)
    resumed.train()
    assert (tmp_path / "both" / CHECKPOINT).is_file()
    for ours, theirs in zip(whole.trainer.network.parameters(), resumed.trainer.network.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-7)
