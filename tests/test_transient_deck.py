"""The whole cycle in plain ngspice: every ΔG that a transient deck prints, against equilibrium propagation in torch."""

# pyright: reportArgumentType=false

import re
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch
from deck_circuits import alternating, measured
from mna import solve_mna
from reference_decks import XOR_SAMPLES, xor_network

from analog_ep.circuit import (
    Amplifiers,
    Capacitors,
    Chip,
    Circuit,
    CircuitBuilder,
    Conductances,
    VoltageControlledVoltageSources,
    VoltageSources,
)
from analog_ep.circuit.node_capacitance import with_node_capacitance
from analog_ep.devices import DiodeClamp, IdealDiode, ShockleyDiode
from analog_ep.dynamics.time_constants import slowest_node, slowest_time_constant
from analog_ep.errors import CircuitError, ConvergenceError, EnergyUnavailableError, StimulusError
from analog_ep.export import write_transient_netlist
from analog_ep.learning import EquilibriumPropagation
from analog_ep.netlist.timing import TwoPhaseTiming
from analog_ep.netlist.transient_deck import write_transient_deck
from analog_ep.networks import ResistiveNetwork
from analog_ep.ngspice.process import find_ngspice
from analog_ep.stimulus import Cost, CrossEntropy, Nudge, SquaredError
from analog_ep.support.resources import netlists_folder

FLOOR = 1e-5
"""ΔG relative to the largest of its crossbar above which its sign and size must be right."""


def network(sizes, diode, **options) -> ResistiveNetwork:
    return ResistiveNetwork(sizes, diode=diode, dtype=torch.float64, **{"seed": 5, **options})


NETWORKS = {
    "iris": (lambda: network([10, 10, 6], alternating(10)), SquaredError(), "frozen", 2e-5),
    "softmax": (lambda: network([3, 4, 3], DiodeClamp(ShockleyDiode(), 0.3, -0.3)), CrossEntropy(0.3), "frozen", 2e-6),
    "weak": (lambda: network([3, 5, 3], alternating(5)), CrossEntropy(0.1), "frozen", 1e-8),
    "elastic": (lambda: network([3, 4, 3], alternating(4), gain=2.5), SquaredError(), "elastic", 1e-5),
    "single": (lambda: network([3, 4, 2], alternating(4), drive="single", gain=2.0), SquaredError(), "frozen", 1e-5),
    "two layers": (lambda: network([3, 4, 3, 2], IdealDiode(1e-2)), SquaredError(), "frozen", 1e-5),
    "negative": (lambda: network([3, 4, 2], DiodeClamp(measured(), -0.2, 0.2)), SquaredError(), "frozen", -1e-5),
    "no hidden": (lambda: network([3, 2], None), CrossEntropy(0.3), "elastic", 2e-6),
}


def stimulus(net: ResistiveNetwork, n_samples: int = 2) -> tuple[torch.Tensor, torch.Tensor]:
    random = torch.Generator().manual_seed(7)
    inputs = 2 * torch.rand(n_samples, net.n_inputs, dtype=torch.float64, generator=random) - 1
    return inputs, torch.eye(net.n_outputs, dtype=torch.float64)[torch.arange(n_samples) % net.n_outputs]


def measurements(path: Path) -> dict[str, float]:
    """What plain ngspice measures."""
    done = subprocess.run(
        [find_ngspice(), "-b", path.name], cwd=path.parent, capture_output=True, text=True, timeout=90, check=False
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    assert "failed" not in done.stdout.lower()
    return {m[1]: float(m[2]) for m in re.finditer(r"^(\w+)\s+=\s+(\S+)$", done.stdout, re.MULTILINE)}


def changes(found: dict[str, float], net: ResistiveNetwork, n_samples: int) -> list[dict[str, np.ndarray]]:
    """ΔG by sample and crossbar, in the order of the crossbar's parameter."""
    tables = []
    for sample in range(n_samples):
        table = {}
        for name, group in net.circuit().trainable().items():
            values = np.zeros(len(group))
            values[group.index] = [found[f"delta_{group.label}_{i}_{sample}"] for i in range(len(group))]
            table[name] = values
        tables.append(table)
    return tables


def by_propagation(net: ResistiveNetwork, inputs, targets, cost: Cost, kind: str, strength: float):
    """−∂C/∂g by equilibrium propagation in PyTorch, sample by sample."""
    variant = "positive" if strength > 0 else "negative"
    method = EquilibriumPropagation(net, abs(strength), cost, variant, kind)
    for sample in range(len(inputs)):
        _, gradients = method.gradients(inputs[sample : sample + 1], targets[sample : sample + 1])
        yield {name: -value.numpy().ravel() / net.reference_conductance for name, value in gradients.items()}


@pytest.mark.ngspice
@pytest.mark.parametrize("case", NETWORKS)
def test_every_change_is_that_of_equilibrium_propagation(case, tmp_path):
    build, cost, kind, strength = NETWORKS[case]
    net = build()
    inputs, targets = stimulus(net, 1 if case == "iris" else 2)
    path = write_transient_netlist(
        net, inputs, Nudge(strength, targets, cost, kind), path=tmp_path / "cycle.cir", rate=1.0
    )
    found = changes(measurements(path), net, len(inputs))
    twin = network(net.sizes, net.spice_clamps, gain=net.gain, drive=net.drive)
    twin.load_state_dict(net.state_dict())
    for ours, theirs in zip(found, by_propagation(twin, inputs, targets, cost, kind, strength), strict=True):
        for name, expected in theirs.items():
            above = np.abs(expected) > FLOOR * np.abs(expected).max()
            assert above.mean() > 0.8
            assert (np.sign(ours[name]) == np.sign(expected))[above].all()
            np.testing.assert_allclose(ours[name][above], expected[above], rtol=2e-3)
            # What lies below is right to the floor.
            np.testing.assert_allclose(ours[name], expected, rtol=0.01, atol=FLOOR * np.abs(expected).max())


@pytest.mark.ngspice
def test_phases_that_are_too_short_show(tmp_path):
    net = network([3, 4, 2], alternating(4))
    inputs, targets = stimulus(net, 1)
    nudge, timing = Nudge(1e-5, targets, SquaredError()), TwoPhaseTiming(1e-9, 1e-9)
    path = write_transient_netlist(net, inputs, nudge, path=tmp_path / "short.cir", timing=timing, rate=1.0)
    (found,) = changes(measurements(path), net, 1)
    (expected,) = by_propagation(net, inputs, targets, SquaredError(), "frozen", 1e-5)
    wrong = np.abs(found["stage1"] / expected["stage1"] - 1)
    assert np.median(wrong) > 0.05


@pytest.mark.ngspice
def test_a_chip_learns_from_its_own_voltages(tmp_path):
    net = network([3, 4, 2], alternating(4))
    chip = Chip.draw(net.circuit(), seed=3, siemens=0.1, saturation_current=0.3, ideality=0.05)
    inputs, targets = stimulus(net, 1)
    path = write_transient_netlist(
        net, inputs, Nudge(1e-5, targets, SquaredError()), path=tmp_path / "chip.cir", chip=chip, rate=0.5
    )
    (found,) = changes(measurements(path), net, 1)
    circuit, x = chip.apply(net.circuit()), inputs[0].numpy()
    free = solve_mna(circuit, x)
    assert circuit.outputs is not None
    positive, negative = circuit.outputs
    error = targets[0].numpy() - (free[positive] - free[negative])
    nudged = solve_mna(circuit, x, lambda o: (1e-5 * error, np.zeros((len(o), len(o)))))
    group = circuit.trainable()["stage2"]
    before, after = (v[group.positive] - v[group.negative] for v in (free, nudged))
    expected = np.zeros(len(group))
    expected[group.index] = -0.5 / 1e-5 * 0.5 * (after - before) * (after + before)
    np.testing.assert_allclose(found["stage2"], expected, rtol=0.01, atol=FLOOR * np.abs(expected).max())


@pytest.mark.ngspice
def test_a_large_deck_prints_what_the_changes_follow_from(tmp_path):
    net = network([3, 4, 2], alternating(4))
    inputs, targets = stimulus(net)
    circuit = with_node_capacitance(net.circuit(), 1e-12)
    timing = TwoPhaseTiming(2e-7, 2e-7)
    nudge = Nudge(1e-5, targets, SquaredError())
    deck = write_transient_deck(circuit, inputs, nudge, timing, rate=1.0, most_branches=10)
    assert "delta_" not in deck.replace("delta_<branch>", "")
    path = tmp_path / "large.cir"
    path.write_text(deck)
    found = measurements(path)
    stated = re.findall(r"^\* (stage\d): w/\(w_L beta\) = (\S+)\.$", deck, re.MULTILINE)
    factors = {name: float(value) for name, value in stated}
    assert factors == {"stage1": pytest.approx(16e5), "stage2": pytest.approx(1e5)}
    for sample, expected in enumerate(by_propagation(net, inputs, targets, SquaredError(), "frozen", 1e-5)):
        free = {name: found.get(f"free_{name}_{sample}", np.nan) for name in circuit.node_names}
        for i, name in enumerate(("x0", "x1", "x2")):
            free |= {f"{name}_p": float(inputs[sample, i]), f"{name}_n": -float(inputs[sample, i])}
        free |= {"bias_p": 1.0, "bias_n": -1.0}
        volts = np.array(list(free.values()))
        response = np.array([found.get(f"response_{name}_{sample}", 0.0) for name in circuit.node_names])
        for name, group in circuit.trainable().items():
            across, change = (v[group.positive] - v[group.negative] for v in (volts, response))
            delta = np.zeros(len(group))
            delta[group.index] = -factors[name] * change * (across + change / 2)
            np.testing.assert_allclose(delta, expected[name], rtol=0.01, atol=FLOOR * np.abs(expected[name]).max())


@pytest.mark.ngspice
@pytest.mark.parametrize("case", ["xor", "iris", "softmax", "circuit"])
def test_the_usual_changes_are_a_hundredth_of_the_range(case, tmp_path):
    cost, strength = (CrossEntropy(0.3), 2e-6) if case == "softmax" else (SquaredError(), 1e-6)
    if case == "xor":
        net, inputs = xor_network(), torch.tensor(XOR_SAMPLES, dtype=torch.float64)
        targets, span = torch.tensor([[-1.0], [1.0], [1.0], [-1.0]], dtype=torch.float64), 1e-4 - 1e-7
    else:
        net = NETWORKS["iris" if case == "iris" else "softmax"][0]()
        inputs, targets = stimulus(net, 1)
        span = net.circuit().trainable()["stage1"].siemens.max() if case == "circuit" else 1e-4 - 1e-7
    if case == "circuit":
        span = max(group.siemens.max() for group in net.circuit().trainable().values())
    system = net.circuit() if case == "circuit" else net
    path = write_transient_netlist(system, inputs, Nudge(strength, targets, cost), path=tmp_path / "cycle.cir")
    found = measurements(path)
    largest = max(abs(value) for name, value in found.items() if name.startswith("delta_"))
    # Two digits of the rate are told, rounded down: a tenth at most is lost.
    assert 0.9 * 0.01 * span < largest < 1.001 * 0.01 * span
    header = re.sub(r"\n\*   ", " ", path.read_text())
    unit = re.escape("S^2" if case == "softmax" else "S^2/V^2")
    stated = re.search(
        rf"^\* The rate from -dC/dg to a change, in {unit}: (\S+), with which .* is 1% of (.*)\.$", header, re.M
    )
    assert stated is not None
    assert stated[2].startswith(
        "the largest trainable" if case == "circuit" else "the conductance range, 1e-07 to 0.0001 S"
    )
    assert f".param rate={stated[1]}\n" in header
    if case != "circuit":
        for ours, theirs in zip(
            changes(found, net, len(inputs)),
            by_propagation(net, inputs, targets, cost, "frozen", strength),
            strict=True,
        ):
            for name, expected in theirs.items():
                floor = FLOOR * np.abs(expected).max()
                np.testing.assert_allclose(ours[name] / float(stated[1]), expected, rtol=0.01, atol=floor)


def test_a_rate_must_be_positive(tmp_path):
    net = network([2, 1], None)
    inputs, targets = stimulus(net, 1)
    for rate in (0.0, -1.0, float("inf"), float("nan")):
        with pytest.raises(StimulusError, match="rate from -dC/dg to a change must be positive and finite, found"):
            write_transient_netlist(
                net, inputs, Nudge(1e-5, targets, SquaredError()), path=tmp_path / "c.cir", rate=rate
            )
    path = write_transient_netlist(
        net, inputs, Nudge(1e-5, targets, SquaredError()), path=tmp_path / "c.cir", rate=2.5e-12
    )
    assert "S^2/V^2: 2.5e-12, as it was asked for." in path.read_text()
    assert "\n.param rate=2.5e-12\n" in path.read_text()


HOLD = """* sample and hold
.include {library}
v_ramp in 0 pwl(0 0 1e-6 1)
r_in in node 1e6
v_track track 0 pwl(0 1 4e-7 1 4.01e-7 0)
x_ideal node ideal track sample_hold r_on=10
x_droop node droop track sample_hold r_on=10 leak=1e-7 offset=0.1
.options reltol=1e-6
.meas tran loaded find v(node) at=3e-7
.meas tran early find v(ideal) at=4.1e-7
.meas tran late find v(ideal) at=9.9e-7
.meas tran droop_early find v(droop) at=4.1e-7
.meas tran droop_late find v(droop) at=9.9e-7
.tran 1e-9 1e-6 0 1e-9 uic
.end
"""


@pytest.mark.ngspice
def test_a_store_follows_holds_and_droops(tmp_path):
    path = tmp_path / "hold.cir"
    path.write_text(HOLD.format(library=netlists_folder() / "sample_hold.lib"))
    found = measurements(path)
    # Behind 1 MΩ the node has the ramp's own voltage: nothing loads it.
    assert found["loaded"] == pytest.approx(0.3, abs=1e-6)
    # The ramp at 0.4 µs, held to the end; the switch opens within 1 ns.
    assert found["early"] == pytest.approx(0.4, abs=1e-3)
    assert found["late"] == pytest.approx(found["early"], abs=1e-9)
    assert found["droop_early"] == pytest.approx(0.5, abs=2e-3)
    # 1 pF and 0.1 µS: 10 µs.
    assert found["droop_late"] == pytest.approx(found["droop_early"] * np.exp(-0.058), rel=1e-3)


def chain(coupling: float = 1e-3) -> Circuit:
    """Two equal nodes with 1 mS to a source each, coupled."""
    builder = CircuitBuilder("chain")
    x, a, b = builder.add_nodes(["x", "a", "b"]).tolist()
    builder.add(VoltageSources("x", x, 0, 0.0, 0))
    builder.add(Conductances("r", [x, x, a], [a, b, b], [1e-3, 1e-3, coupling]))
    builder.add(Capacitors("c", [a, 0], [0, b], 1e-9))
    return builder.build()


def test_time_constants_in_closed_form():
    # The common mode of both nodes decays with C/g, whatever couples them; the difference with C/(g + 2 g_ab).
    at_rest = np.zeros((1, 4))
    assert slowest_time_constant(chain(), np.zeros((1, 1)), at_rest) == pytest.approx(1e-6)
    # An amplifier of gain 4 with feedback 1/4 loads its input with the conductance at its output.
    builder = CircuitBuilder("amplified")
    x, y, b = builder.add_nodes(["x", "y", "b"]).tolist()
    builder.add(VoltageSources("x", x, 0, 0.0, 0))
    builder.add(Conductances("r", [x, y], [b, 0], [1e-3, 1e-3]))
    builder.add(Amplifiers("amplifier", b, y, 4.0, 0.25))
    builder.add(Capacitors("c", b, 0, 1e-9))
    assert slowest_time_constant(builder.build(), np.zeros((1, 1)), at_rest) == pytest.approx(0.5e-6)


def test_time_constants_that_cannot_be():
    with pytest.raises(CircuitError, match="time constants need capacitors, found none in 'resistive network 2-2-1'"):
        slowest_time_constant(network([2, 2, 1], None).circuit(), np.zeros((1, 2)), np.zeros((1, 17)))
    floating = chain().with_groups([*chain().groups, Capacitors("d", 2, 3, 1e-9)])
    with pytest.raises(CircuitError, match="d: time constants need capacitors to ground, found one between two nodes"):
        slowest_time_constant(floating, np.zeros((1, 1)), np.zeros((1, 4)))


@pytest.mark.parametrize("capacitance", [1e-15, 1e-9, 1.0])
def test_a_state_that_drifts_away_has_no_time_constant(capacitance: float):
    builder = CircuitBuilder("runaway")
    x, a, y = builder.add_nodes(["x", "a", "y"]).tolist()
    builder.add(VoltageSources("x", x, 0, 1.0))
    builder.add(Conductances("r", [x, y], [a, a], 1e-3))
    builder.add(VoltageControlledVoltageSources("e", y, 0, a, 0, 3.0))
    builder.add(Capacitors("c", a, 0, capacitance))
    with pytest.raises(ConvergenceError, match="must settle, found a state that drifts away"):
        slowest_time_constant(builder.build(), np.zeros((1, 0)), np.zeros((1, 4)))


def test_the_slowest_node_is_none_but_the_ground():
    """C/g of 3 nF and 1 mS beside 2 nF and 1.01 mS; that of the ground, 5 nF and 10 µS, is no node's."""
    builder = CircuitBuilder("two")
    a, b = builder.add_nodes(["a", "b"]).tolist()
    builder.add(Conductances("r", [a, b], [b, 0], [1e-3, 1e-5]))
    builder.add(Capacitors("c", [a, b], [0, 0], [3e-9, 2e-9]))
    assert slowest_node(builder.build()) == pytest.approx(3e-6, rel=1e-12)


def test_refuses_what_makes_no_cycle():
    net = network([2, 2, 1], alternating(2))
    circuit = with_node_capacitance(net.circuit(), 1e-12)
    inputs, targets = stimulus(net)
    nudge, timing = Nudge(1e-5, targets, SquaredError()), TwoPhaseTiming(1e-6, 1e-6)
    with pytest.raises(
        StimulusError, match=r"inputs must have shape \(n_samples, 2\) with a sample at least, found \(2,\)"
    ):
        write_transient_deck(circuit, inputs[0], nudge, timing, rate=1.0)
    with pytest.raises(StimulusError, match="inputs must be finite, found NaN"):
        write_transient_deck(circuit, inputs * torch.nan, nudge, timing, rate=1.0)
    with pytest.raises(StimulusError, match=r"targets of the nudge must have shape \(1, 1\), found \(2, 1\)"):
        write_transient_deck(circuit, inputs[:1], nudge, timing, rate=1.0)
    with pytest.raises(StimulusError, match="strength must not be zero"):
        write_transient_deck(circuit, inputs, nudge.scaled(0.0), timing, rate=1.0)
    with pytest.raises(StimulusError, match="needs node capacitances, found none"):
        write_transient_deck(net.circuit(), inputs, nudge, timing, rate=1.0)
    with pytest.raises(StimulusError, match="the nudged phase must last a positive and finite time, found 0 s"):
        TwoPhaseTiming(1e-6, 0)
    two = network([2, 2, 2, 1], alternating(2))
    mismatched = Chip.draw(two.circuit(), seed=1, gain=0.1).apply(with_node_capacitance(two.circuit(), 1e-12))
    with pytest.raises(EnergyUnavailableError, match="ΔG needs the weights of the energy, found none: "):
        write_transient_deck(mismatched, inputs, nudge, timing, rate=1.0)


def test_decks_are_deterministic_and_plain():
    net = network([2, 2, 1], alternating(2))
    circuit = with_node_capacitance(net.circuit(), 1e-12)
    inputs, targets = stimulus(net)
    arguments = (circuit, inputs, Nudge(1e-5, targets, SquaredError()), TwoPhaseTiming(1e-6, 1e-6))
    deck = write_transient_deck(*arguments, rate=1.0)
    assert deck == write_transient_deck(*arguments, rate=1.0)
    assert deck.isascii()
    assert ".control" not in deck
    assert max(map(len, deck.splitlines())) < 1000
    assert ".subckt sample_hold" in deck
    assert ".include lib/sample_hold.lib" in write_transient_deck(*arguments, rate=1.0, include_from="lib")
