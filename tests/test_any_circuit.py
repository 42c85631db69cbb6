"""A random graph does by default what layered networks do; one of these as a plain circuit measures alike on a chip."""

import dataclasses
import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from any_circuits import BOUNDS as WIDE
from any_circuits import FAMILIES, any_circuit
from test_circuit_network import BOUNDS, graph, relative, samples

from analog_ep import (
    CircuitNetwork,
    CoupledLearning,
    EquilibriumPropagation,
    ImplicitDifferentiation,
    Newton,
    Ngspice,
    Nudge,
    PulsedUpdate,
    ResistiveNetwork,
    ShockleyDiode,
    SmallSignal,
    SquaredError,
    Update,
    cross_check,
    solve,
    write_netlist,
    write_settling_netlist,
)
from analog_ep.analyses.corners import corners
from analog_ep.analyses.noise import output_noise
from analog_ep.analyses.operating_point import operating_point
from analog_ep.analyses.power import branch_power
from analog_ep.analyses.response import small_signal_gradient
from analog_ep.analyses.settling_report import settling_report
from analog_ep.calibration.chip import calibrate_chip
from analog_ep.checking import check_decks
from analog_ep.circuit import (
    Cells,
    Chip,
    Circuit,
    Converter,
    Converters,
    LearningCircuit,
    draw_faults,
    energy_weights,
)
from analog_ep.circuit.node_capacitance import with_node_capacitance
from analog_ep.datasets import Dataset
from analog_ep.dynamics.time_constants import slowest_time_constant
from analog_ep.errors import CircuitError, DeviceParameterError, UnstableNudgeError
from analog_ep.learning.checkpoint import Checkpoint
from analog_ep.learning.gradients.implicit import implicit_gradients
from analog_ep.learning.training import EpochRecord, Trainer
from analog_ep.learning.updates.cell_update import CellUpdate
from analog_ep.learning.updates.schemes import OneOfPair, TikiTaka
from analog_ep.learning.updates.update import ParameterUpdate
from analog_ep.netlist.conductance_table import read_conductances, write_conductances
from analog_ep.networks import ConductanceNetwork
from analog_ep.ngspice.printed import printed_measurements
from analog_ep.ngspice.process import run_printed

SCHEMES = ["fixed", "sign", "stochastic", "verify", "mixed_precision", "tiki_taka"]


class Quiet:
    def batch_done(self, epoch: int, batch: int, n_batches: int) -> None: ...

    def epoch_done(self, record: EpochRecord) -> None: ...


def network() -> CircuitNetwork:
    return CircuitNetwork(graph(nodes=10), BOUNDS)


def mismatch(circuit: Circuit, seed: int = 0) -> Chip:
    return Chip.draw(circuit, seed, siemens=0.1, saturation_current=0.2)


def faulty(circuit: Circuit) -> Chip:
    faults = draw_faults(circuit, 0, BOUNDS, low=0.1, high=0.1, open_=0.0, open_conductance=1e-9)
    return dataclasses.replace(mismatch(circuit), values=faults, cells=Cells(16, "stochastic", 1e4, 1e-3))


def toy() -> Dataset:
    generator = torch.Generator().manual_seed(0)
    inputs = torch.rand(48, 3, generator=generator, dtype=torch.float64) - 0.5
    # All that the second block sees of the inputs is one node, an average of theirs with positive weights.
    labels = (inputs @ torch.tensor([1.0, 2.0, 0.5], dtype=torch.float64) > 0).long()
    return Dataset("toy", inputs[:32], labels[:32], inputs[32:], labels[32:], 2)


def adam(net: CircuitNetwork) -> torch.optim.Optimizer:
    return torch.optim.Adam(net.parameters(), lr=0.01)


def on_cells(net: CircuitNetwork) -> tuple[ParameterUpdate, Chip]:
    chip = faulty(net.circuit())
    return CellUpdate(Update(adam(net), net), net, chip), chip


def pulsed_on_cells(net: CircuitNetwork) -> tuple[ParameterUpdate, Chip]:
    chip = faulty(net.circuit())
    return PulsedUpdate(adam(net), net, chip=chip), chip


UPDATES = {
    "written": lambda net: (Update(adam(net), net), None),
    "cells of a chip": on_cells,
    "pulses on a chip": pulsed_on_cells,
} | {f"pulses, {s}": lambda net, s=s: (PulsedUpdate(adam(net), net, scheme=s), None) for s in SCHEMES}


def trainer(update: str, epochs: int) -> Trainer:
    net = network()
    made, chip = UPDATES[update](net)
    method = EquilibriumPropagation(net, 1e-5, SquaredError(0.1), variant="random", chip=chip)
    return Trainer(net, method, made, toy(), batch_size=8, epochs=epochs, input_noise=0.01, chip=chip)


@pytest.mark.parametrize("update", UPDATES)
def test_a_training_that_is_resumed_comes_to_the_same_bits(update, tmp_path: Path):
    whole, first, second = (trainer(update, epochs) for epochs in (3, 1, 3))
    start = {name: theta.detach().clone() for name, theta in whole.network.named_parameters()}
    whole.train(Quiet())
    # The schedule is constant, so that a training of one epoch is the beginning of one of three.
    first.train(Quiet())
    first.checkpoint().save(tmp_path / "checkpoint.safetensors")
    second.restore(Checkpoint.load(tmp_path / "checkpoint.safetensors"))
    second.train(Quiet())
    for name, theta in whole.network.named_parameters():
        assert torch.equal(theta, second.network.get_parameter(name)), name
        assert not torch.equal(theta, start[name]), name
    assert [r.cost for r in whole.history] == [r.cost for r in second.history]
    low, high = BOUNDS
    assert isinstance(whole.network, ConductanceNetwork)
    for siemens in whole.network.conductances.values():
        assert bool(((siemens > 0.999 * low) & (siemens < 1.001 * high)).all())


def test_a_graph_learns_a_task():
    net = network()
    method, update = SmallSignal(net, SquaredError(0.1)), Update(torch.optim.Adam(net.parameters(), lr=0.05), net)
    training = Trainer(net, method, update, toy(), batch_size=8, epochs=20)
    training.train(Quiet())
    assert training.history[-1].test_accuracy >= 0.9
    assert training.history[-1].cost < 0.8 * training.history[0].cost


def test_pulses_are_told_branch_by_branch():
    net = network()
    update = PulsedUpdate(adam(net), net)
    before = {name: counts.clone() for name, counts in update.pulse_counts.items()}
    SmallSignal(net).backward(*samples())
    update.step()
    told = {name: np.zeros(theta.numel()) for name, theta in net.named_parameters()}
    names = {"g_near": "near", "g_far": "far"}
    for pulse in update.pulses():
        assert pulse.branch == f"r_{names[pulse.parameter]}_{pulse.index}"
        told[pulse.parameter][pulse.index] += pulse.count
    for name, counts in update.pulse_counts.items():
        np.testing.assert_array_equal(told[name], counts - before[name])
    assert sum(counts.sum() for counts in told.values()) > 0


def test_what_single_devices_cannot_do_is_said():
    net = network()
    with pytest.raises(DeviceParameterError, match="one of a pair can be held only where rows come in pairs"):
        PulsedUpdate(adam(net), net, scheme=OneOfPair(TikiTaka()))
    update = PulsedUpdate(adam(net), net, scheme="stochastic")
    with pytest.raises(DeviceParameterError, match="of a crossbar, found 32 single elements in g_near"):
        update.coincide("g_near", torch.ones(3), torch.ones(4))


def layered_pair() -> tuple[ResistiveNetwork, CircuitNetwork]:
    layered = ResistiveNetwork([3, 4, 2], diode=ShockleyDiode(1e-9), gain=3.0, dtype=torch.float64)
    return layered, CircuitNetwork(layered.circuit(), layered.conductance_range)


def chips() -> dict[str, Chip]:
    circuit = layered_pair()[0].circuit()
    plain = Chip.draw(circuit, 3, siemens=0.1, gain=0.05, offset=5e-3, saturation_current=0.2)
    read = Converters.draw(circuit, 4, Converter(12, 4.0), [Converter(20, 2.0), Converter(22, 1.0)], 1e-3, 2e-3)
    learning = LearningCircuit.draw(circuit, 5, 1e-6, 1e-7)
    return {
        "mismatch": plain,
        "converters": dataclasses.replace(plain, converters=read),
        "learning circuits": dataclasses.replace(plain, learning=learning),
        "comparators": dataclasses.replace(plain, learning=dataclasses.replace(learning, comparator=True)),
        "twin": dataclasses.replace(plain, twin=Chip.draw(circuit, 6, siemens=0.1, gain=0.05)),
    }


@pytest.mark.parametrize("known", [False, True])
@pytest.mark.parametrize("kind", chips())
def test_a_layered_network_as_a_circuit_measures_alike_on_a_chip(kind, known):
    (layered, net), chip = layered_pair(), chips()[kind]
    generator = torch.Generator().manual_seed(7)
    x, y = (torch.rand((5, n), generator=generator, dtype=torch.float64) for n in (3, 2))
    found, wanted = (
        EquilibriumPropagation(
            n, 1e-4, kind="frozen", solver=Newton(), chip=chip, known=chip if known else None
        ).gradients(x, y)
        for n in (net, layered)
    )
    torch.testing.assert_close(found[0], wanted[0], rtol=1e-9, atol=0)
    for name, gradient in found[1].items():
        assert relative(gradient, wanted[1][name].reshape(-1)) < 1e-9, name


def test_mismatch_is_learnt_around_and_offsets_bias():
    net, (x, y) = network(), samples()
    chip = mismatch(net.circuit())
    exact = implicit_gradients(net.circuit(chip), SquaredError(), x, y)
    for method in (EquilibriumPropagation(net, 1e-7, chip=chip), SmallSignal(net, chip=chip)):
        for name, gradient in method.gradients(x, y)[1].items():
            assert relative(gradient, exact[name] * net.reference_conductance) < 1e-3, name
    offset = Chip.draw(net.circuit(), 1, offset=0.05)
    exact = implicit_gradients(net.circuit(offset), SquaredError(), x, y)["g_far"] * net.reference_conductance
    blind, seeing = (
        EquilibriumPropagation(net, 1e-7, chip=offset, known=known).gradients(x, y)[1]["g_far"]
        for known in (None, offset)
    )
    assert relative(seeing, exact) < 1e-3
    assert relative(blind, exact) > 10 * relative(seeing, exact)


def test_converters_read_the_layers_that_a_circuit_names():
    net, (x, y) = network(), samples()
    circuit = net.circuit()
    converters = Converters.draw(circuit, 0, adc=[Converter(8, 2.0)])
    with pytest.raises(CircuitError, match="converters read layers of nodes, found none in 'graph'; name them with"):
        EquilibriumPropagation(net, 1e-4, chip=Chip({}, converters=converters)).gradients(x, y)
    positive, negative = circuit.outputs or ((), ())
    named = dataclasses.replace(circuit, layers={"read": np.concatenate([positive, negative])})
    net = CircuitNetwork(named, BOUNDS)
    chip = Chip({}, converters=Converters.draw(named, 0, adc=[Converter(8, 2.0)]))
    layers = solve(net, x, solver=Newton()).layers
    step = 2.0 / 2**7
    read = net.read(layers, chip)
    torch.testing.assert_close(read[0][:, positive], torch.round(layers[0][:, positive] / step) * step)
    others = np.setdiff1d(np.arange(named.n_nodes), np.concatenate([positive, negative]))
    assert torch.equal(read[0][:, others], layers[0][:, others])


def test_learning_circuits_of_a_graph_calibrate_themselves():
    net = network()
    chip = Chip({}, learning=LearningCircuit.draw(net.circuit(), 0, 1e-6, 1e-7))
    found = calibrate_chip(net, chip)
    assert found.known.learning is not None
    assert chip.learning is not None
    for name, bias in chip.learning.bias.items():
        np.testing.assert_allclose(found.known.learning.bias[name], bias, rtol=1e-9)
    assert "offsets of amplifiers that lie behind no layer" in found.sentence()


def test_a_negative_nudge_is_stable_up_to_where_the_circuit_is_singular():
    net, (x, y) = network(), samples(1)

    def smallest(strength: float) -> float:
        """Smallest singular value of do/di⁻¹ + β, by responses of Newton's to finite currents."""
        free = solve(net, x, solver=Newton())
        columns = []
        for error in torch.eye(2, dtype=torch.float64):
            nudged = [
                solve(net, x, Nudge(sign * 1e-9, free.outputs + error, SquaredError()), solver=Newton(), start=free)
                for sign in (-1, 1)
            ]
            columns.append((nudged[1].outputs - nudged[0].outputs)[0] / 2e-9)
        impedance = torch.stack(columns, 1)
        return float(torch.linalg.eigvals(torch.linalg.inv(impedance)).real.min()) + strength

    method = EquilibriumPropagation(net, 1.0, variant="negative", kind="elastic")
    with pytest.raises(UnstableNudgeError, match="must be weaker than") as refused:
        method.gradients(x, y)
    found = re.search(r"weaker than (\S+) here", str(refused.value))
    assert found is not None
    assert smallest(-float(found[1])) == pytest.approx(0, abs=2e-3 * float(found[1]))
    weak = EquilibriumPropagation(net, 1e-7, variant="centered", kind="elastic")
    exact = implicit_gradients(net.circuit(), SquaredError(), x, y)
    for name, gradient in weak.gradients(x, y)[1].items():
        assert relative(gradient, exact[name] * net.reference_conductance) < 1e-4


@pytest.mark.ngspice
@pytest.mark.parametrize("on_chip", [False, True])
def test_ngspice_agrees_whatever_trains_it(on_chip):
    net, (x, y) = network(), samples(2)
    chip = mismatch(net.circuit()) if on_chip else None
    methods = [
        EquilibriumPropagation(net, 1e-6, kind="elastic", chip=chip),
        SmallSignal(net, chip=chip),
        CoupledLearning(net, chip=chip),
        ImplicitDifferentiation(net, chip=chip),
    ]
    for method in methods:
        check = cross_check(net, x, y, nudging=1e-6, kind="elastic", chip=chip, method=method)
        assert check.passed, (type(method).__name__, json.loads(check.to_json()))


@pytest.mark.ngspice
@pytest.mark.parametrize("on_chip", [False, True])
def test_exported_decks_print_what_pytorch_finds(on_chip):
    net, (x, y) = network(), samples(1)
    chip = mismatch(net.circuit()) if on_chip else None
    found = check_decks(net, x[0], Nudge(1e-5, y[0], SquaredError()), chip)
    assert found.keys() == {"free", "nudged", "both", "transient"}
    assert all(deck.error < (1e-3 if kind == "transient" else 1e-6) for kind, deck in found.items()), found


@pytest.mark.ngspice
def test_a_graph_settles_from_rest_in_plain_ngspice(tmp_path: Path):
    net, (x, y) = network(), samples(1)
    nudge = Nudge(1e-4, y[0], SquaredError())
    path = write_settling_netlist(net, x[0], nudge, path=tmp_path / "settling.cir")
    printed = printed_measurements(run_printed(path))
    free = solve(net, x, solver=Newton())
    nudged = solve(net, x, Nudge(1e-4, y, SquaredError()), solver=Newton(), start=free)
    for phase, state in (("free", free), ("nudged", nudged)):
        for node in ("a0", "b1", "b7"):
            volts = float(state.voltages[0, net.circuit().node(node)])
            assert printed[f"{phase}_{node}"] == pytest.approx(volts, abs=1e-6), (phase, node)


@pytest.mark.parametrize("dialect", ["ngspice", "xyce", "ltspice", "hspice", "spectre", "gnucap"])
def test_every_dialect_is_written(dialect, tmp_path: Path):
    net, (x, y) = network(), samples(1)
    nudge = Nudge(1e-5, y[0], SquaredError())
    path = write_netlist(net, x[0], nudge, path=tmp_path / "graph.cir", dialect=dialect)
    text = path.read_text()
    assert all(f"near_{i}" in text for i in range(len(net.conductances["g_near"])))


def test_the_table_of_a_graph_comes_back(tmp_path: Path):
    net = network()
    wanted = {name: siemens.clone() for name, siemens in net.conductances.items()}
    write_conductances(net, tmp_path / "table.csv")
    with torch.no_grad():
        for theta in net.parameters():
            theta.mul_(0.5)
    net.set_conductances(read_conductances(net, tmp_path / "table.csv"))
    for name, siemens in net.conductances.items():
        torch.testing.assert_close(siemens, wanted[name], rtol=1e-15, atol=0)


@pytest.mark.ngspice
def test_the_analyses_of_any_circuit_take_a_graph():
    net, (x, y) = network(), samples(1)
    free = solve(net, x, solver=Newton())
    circuit, currents = with_node_capacitance(net.circuit(), 1e-12), np.full(2, 1e-8)
    assert small_signal_gradient(net, SquaredError(), x, y).passed
    point = operating_point(net.circuit(), x[0].numpy(), solver=Ngspice())
    volts = free.voltages[0].numpy()
    assert all(volts[circuit.node(name)] == pytest.approx(found, abs=1e-9) for name, found in point.nodes.items())
    power = branch_power(net.circuit(), free.voltages.numpy())
    assert sum(power.dissipated.values()) == pytest.approx(sum(power.delivered.values()), rel=1e-6)
    report = settling_report(circuit, x[0].numpy(), volts, currents, capacitance=1e-12, lsb=1e-3, integrator="torch")
    slowest = slowest_time_constant(circuit, x.numpy(), free.voltages.numpy())
    assert 0 < report.output_time("free") < 10 * slowest
    # k_B T/C bounds the noise of a node of a passive network; the amplifier's gain of 3 raises it.
    noise = output_noise(circuit, x[0].numpy())
    assert all(0 < rms < 3 * (2 * 4.15e-21 / 1e-12) ** 0.5 for rms in noise.rms)
    assert corners(net.circuit(), x, solver=Newton()).table().row_count > 0


DRIVE = torch.tensor([[0.6, -0.3], [-0.5, 0.8]], dtype=torch.float64)


def cost_in_ngspice(net: CircuitNetwork, siemens: dict[str, torch.Tensor], targets: torch.Tensor) -> float:
    """½|o − y|², mean over the samples, of ngspice's outputs. [V²]"""
    net.set_conductances(siemens)
    outputs = solve(net, DRIVE, solver=Ngspice()).outputs
    return 0.5 * float((outputs - targets).square().sum(-1).mean())


@pytest.mark.ngspice
@pytest.mark.parametrize("seed", range(100))
def test_a_hundred_circuits_without_layers(seed):
    circuit = any_circuit(seed)
    reciprocal = FAMILIES[seed % len(FAMILIES)] != "controlled sources"
    assert (energy_weights(circuit).nodes is not None) == reciprocal
    assert 4 < circuit.n_nodes < 25
    net = CircuitNetwork(circuit, WIDE)
    y = torch.full((2, net.n_outputs), 0.05, dtype=torch.float64)
    free = solve(net, DRIVE, solver=Newton())
    assert float((free.voltages - solve(net, DRIVE, solver=Ngspice()).voltages).abs().max()) < 1e-8
    _, exact = ImplicitDifferentiation(net).gradients(DRIVE, y, free)
    found = [exact]
    if reciprocal:
        found.append(SmallSignal(net, solver=Newton()).gradients(DRIVE, y, free)[1])
        # A block that no path joins to the outputs has a gradient of exactly 0.
        for name, wanted in exact.items():
            assert float((found[1][name] - wanted).norm()) <= 1e-9 * float(wanted.norm()), name
    check = cross_check(net, DRIVE, y, nudging=1e-7, method=SmallSignal(net) if reciprocal else None)
    assert check.passed, check.to_json()
    assert check.reciprocal == reciprocal
    # Along a random direction of ln g, the cost itself.
    generator, start = torch.Generator().manual_seed(seed), net.conductances
    along = {name: torch.randn(g.shape, generator=generator, dtype=torch.float64) for name, g in start.items()}
    step = 2e-4
    up, down = (
        cost_in_ngspice(net, {name: g * torch.exp(sign * step * along[name]) for name, g in start.items()}, y)
        for sign in (1, -1)
    )
    for gradients in found:
        slopes = [(g * along[name] * start[name]).sum() / net.reference_conductance for name, g in gradients.items()]
        assert (up - down) / (2 * step) == pytest.approx(float(sum(slopes)), rel=1e-5, abs=0)
