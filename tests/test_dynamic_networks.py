"""Circuits of R, L and C under periodic inputs: phasors, transients, gradients, and what is refused."""

# Branches take scalars and lists where the fields, once set, are arrays.
# pyright: reportArgumentType=false

import math
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from vacask import VACASK_CMD

import analog_ep as aep
from analog_ep.circuit import (
    Capacitors,
    Circuit,
    CircuitBuilder,
    Conductances,
    Inductors,
    VoltageControlledCurrentSources,
    VoltageSources,
)
from analog_ep.dynamics.linearised import Linearised
from analog_ep.dynamics.phasor_costs import DecibelError, PhasorError, PowerCrossEntropy
from analog_ep.dynamics.phasors import NgspicePhasors, NodalPhasors, phasor_equilibrium
from analog_ep.dynamics.time_constants import slowest_time_constant
from analog_ep.dynamics.transient import transient
from analog_ep.errors import CircuitError, ConvergenceError, NetworkError, StimulusError
from analog_ep.learning.periodic_propagation import PeriodicPropagation
from analog_ep.learning.phasor_propagation import PhasorPropagation
from analog_ep.netlist import write_deck
from analog_ep.netlist.dialects import DIALECTS
from analog_ep.networks.rlc_network import RLCNetwork
from analog_ep.ngspice.periodic import Period, Tone

FREQUENCIES = torch.tensor([1e3, 1e4, 5e4, 3.3e5, 1e5], dtype=torch.float64)
BOUNDS = {"r": (1e-5, 1e-1), "l": (1e-6, 1.0), "c": (1e-13, 1e-6)}


def parts() -> CircuitBuilder:
    """A ladder with an inductor to ground, a bridge from the source, and two places that share a capacitance."""
    builder = CircuitBuilder("ladder")
    builder.add_nodes(["s", "a", "b", "c"])
    builder.add(VoltageSources("v", "s", "0", 0.5, 0, 2.0))
    builder.add(Conductances("r", ["s", "c"], ["a", "0"], [1e-3, 2e-3], "r", [0, 1]))
    builder.add(Inductors("l", ["a", "b", "b"], ["b", "c", "0"], [1e-3, 2e-3, 5e-3], "l", [0, 1, 2]))
    builder.add(Capacitors("c", ["a", "b", "c"], ["0", "0", "0"], [1e-9, 2e-9, 1e-9], "c", [0, 1, 0]))
    builder.add(Capacitors("bridge", "s", "b", 1e-10, "c", 2))
    return builder


def ladder() -> Circuit:
    builder = parts()
    builder.set_outputs(["c", "b"], ["0", "a"])
    return builder.build()


def series(ohms: float = 50.0, henries: float = 1e-3, farads: float = 1e-9) -> Circuit:
    """R, L and C in series; the output is across C."""
    builder = CircuitBuilder("series")
    builder.add_nodes(["s", "m", "o"])
    builder.add(VoltageSources("v", "s", "0", 0.0, 0))
    builder.add(Conductances("r", "s", "m", 1 / ohms))
    builder.add(Inductors("l", "m", "o", henries))
    builder.add(Capacitors("c", "o", "0", farads))
    builder.set_outputs("o", "0")
    return builder.build()


@pytest.mark.ngspice
@pytest.mark.parametrize("solver", [NodalPhasors(), NgspicePhasors()])
def test_phasors_of_a_series_circuit(solver):
    ones = torch.ones(len(FREQUENCIES), 1)
    found = phasor_equilibrium(series(), FREQUENCIES, ones, solver=solver).outputs[:, 0]
    s = 2j * math.pi * FREQUENCIES
    torch.testing.assert_close(found, 1 / (1 + s * 50 * 1e-9 + s**2 * 1e-12), rtol=1e-12, atol=0)


@pytest.mark.ngspice
def test_pytorch_and_ngspice_transfer_alike():
    """The frequencies are in no order, which ngspice keeps in another one; a constant source has no phasor."""
    ours, theirs = (solver.transfer(ladder(), FREQUENCIES) for solver in (NodalPhasors(), NgspicePhasors()))
    for one, other in ((ours.inputs, theirs.inputs), (ours.outputs, theirs.outputs)):
        assert float((one - other).abs().max()) < 1e-13 * float(one.abs().max())


@pytest.mark.ngspice
@pytest.mark.parametrize(
    ("solver", "cost"),
    [
        (NodalPhasors(), PhasorError()),
        (NodalPhasors(), DecibelError()),
        (NodalPhasors(), PowerCrossEntropy(0.3)),
        (NgspicePhasors(), DecibelError()),
    ],
    ids=lambda each: type(each).__name__,
)
def test_gradients_are_central_differences(solver, cost):
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(3, 5, 1, dtype=torch.complex128, generator=generator)
    targets = torch.randn(3, 5, 2, dtype=torch.complex128, generator=generator)
    goals = {"PhasorError": targets, "DecibelError": -10 * targets.abs()}.get(
        type(cost).__name__, torch.tensor([[1.0, 0.0], [0.3, 0.7], [0.0, 1.0]], dtype=torch.float64)
    )
    network = RLCNetwork(ladder(), BOUNDS)
    method = PhasorPropagation(network, cost, FREQUENCIES, solver)
    value, found = method.gradients(inputs, goals)
    wanted = {name: torch.zeros_like(theta) for name, theta in network.named_parameters()}
    for name, theta in network.named_parameters():
        for i in range(len(theta)):
            sides = []
            for n in (2, 1, -1, -2):
                with torch.no_grad():
                    theta[i] = 1 + 1e-4 * n
                sides.append(float(cost.value(method.free(inputs).outputs, goals).mean()))
            with torch.no_grad():
                theta[i] = 1
            wanted[name][i] = (-sides[0] + 8 * sides[1] - 8 * sides[2] + sides[3]) / 12e-4
    assert {name: len(gradient) for name, gradient in found.items()} == {"c": 3, "l": 3, "r": 2}
    ours, theirs = (torch.cat([each[name] for name in found]) for each in (found, wanted))
    assert float((ours - theirs).norm() / theirs.norm()) < 1e-8
    assert float(((ours - theirs) / theirs).abs().max()) < 1e-7
    assert float(value) == pytest.approx(float(cost.value(method.free(inputs).outputs, goals).mean()))


@pytest.mark.ngspice
def test_a_filter_learns_its_response():
    """From up to 15 dB off to 0.5 dB, as ngspice's .ac sees it at frequencies between those of the lesson."""
    corner, ohms = 1e4, 1e3
    builder = CircuitBuilder("filter")
    builder.add_nodes(["s", "in", "mid", "out"])
    builder.add(VoltageSources("v", "s", "0", 0.0, 0))
    builder.add(Conductances("r", ["s", "out"], ["in", "0"], 1 / ohms, "r", [0, 1]))
    builder.add(Inductors("l", ["in", "mid"], ["mid", "out"], [8e-3, 4e-2], "l", [0, 1]))
    builder.add(Capacitors("c", ["mid", "out"], ["0", "0"], [2.6e-8, 2.2e-8], "c", [0, 1]))
    builder.set_outputs("out", "0")
    network = RLCNetwork(builder.build(), {"r": (1e-4, 1e-2), "l": (1e-4, 1.0), "c": (1e-10, 1e-6)})

    def level(frequencies: torch.Tensor) -> torch.Tensor:
        return -20 * math.log10(2) - 10 * torch.log10(1 + (frequencies / corner) ** 8)

    lesson, between = (torch.logspace(3, math.log10(4e4), n, dtype=torch.float64) for n in (24, 67))

    def off() -> float:
        ones = torch.ones(len(between), 1)
        found = phasor_equilibrium(network.circuit(), between, ones, solver=NgspicePhasors()).outputs[:, 0]
        return float((20 * found.abs().log10() - level(between)).abs().max())

    assert off() > 3
    method = PhasorPropagation(network, DecibelError(), lesson)
    optimizer = torch.optim.Adam(network.parameters(), lr=0.05)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 120)
    for _ in range(120):
        optimizer.zero_grad()
        method.backward(torch.ones(len(lesson), 1), level(lesson)[:, None])
        optimizer.step()
        schedule.step()
        network.clip()
    assert off() < 0.5


@pytest.mark.ngspice
def test_the_documentation_runs():
    text = (Path(__file__).parent.parent / "docs" / "dynamic-networks.md").read_text(encoding="utf-8")
    (code,) = re.findall(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    exec(compile(code, "dynamic-networks.md", "exec"), {"__name__": "documentation"})


@pytest.mark.ngspice
def test_inductors_are_shorts_at_rest():
    circuit = ladder()
    free = aep.solve(circuit, torch.tensor([[1.0]], dtype=torch.float64), solver=aep.Newton())
    assert free.voltages[0].tolist() == pytest.approx([0, 2.5, 0, 0, 0], abs=1e-12)
    for engine in (None, "vacask") if VACASK_CMD else (None,):
        found = aep.solve(circuit, torch.tensor([[1.0]], dtype=torch.float64), solver=aep.Ngspice(engine))
        torch.testing.assert_close(found.voltages, free.voltages, rtol=0, atol=1e-9)


def test_a_transient_rings_as_its_closed_form():
    circuit = series(ohms=200.0)
    found = transient(circuit, np.array([1.0]), 2e-5, rtol=1e-8, atol=1e-11)
    rate, omega = 200 / 2e-3, math.sqrt(1e12 - (200 / 2e-3) ** 2)
    t = found.times[1:]
    step = 1 - np.exp(-rate * t) * (np.cos(omega * t) + rate / omega * np.sin(omega * t))
    # Between the ends of steps stand cubic interpolants.
    np.testing.assert_allclose(found.voltages[1:, circuit.node("o")], step, rtol=0, atol=2e-5)


def test_a_linearised_circuit_has_inductors():
    circuit = ladder()
    state = Linearised(circuit, np.array([0.3]), np.zeros(circuit.n_nodes))
    into = state.into_outputs(np.array([0.0, 1.0]))[:, None]
    wanted = NodalPhasors().transfer(circuit, FREQUENCIES[:1]).outputs[0, :, 1]
    np.testing.assert_allclose(state.response(into, 1e3)[:, 0], wanted.numpy(), rtol=1e-12)


@pytest.mark.parametrize("dialect", sorted(DIALECTS))
def test_inductors_in_every_dialect(dialect):
    text = write_deck(series(), [1.0], dialect=dialect)
    if dialect in ("spectre", "vacask"):
        assert "l_l_0 (m o) inductor l=0.001" in text
        assert ('load "inductor.osdi"' in text) == (dialect == "vacask")
    else:
        assert "l_l_0 m o 0.001" in text


def diode_detector(farads: float) -> RLCNetwork:
    builder = CircuitBuilder("detector")
    builder.add_nodes(["s", "hold", "out"])
    builder.add(VoltageSources("v", "s", "0", 0.2, 0))
    builder.add_diodes("d", "s", "hold", aep.ShockleyDiode(1e-9))
    builder.add(Conductances("r", ["hold", "hold", "out"], ["0", "out", "0"], 1e-4, "r", [0, 1, 2]))
    builder.add(Capacitors("c", ["hold", "out"], ["0", "0"], farads, "c", [0, 1]))
    builder.set_outputs("out", "0")
    return RLCNetwork(builder.build(), {"r": (1e-7, 1e-2), "c": (1e-14, 1e-6)})


@pytest.mark.ngspice
@pytest.mark.parametrize(("farads", "nudged"), [(5e-9, False), (5e-13, True)])
def test_waveforms_learn_with_diodes(farads, nudged):
    """The adjoint rule against differences of ngspice's transients; nudges in forward time where inputs are slow."""
    network, period = diode_detector(farads), Period(1e-3, points=512)
    tones = [Tone(0, 4e3, 3.0), Tone(0, 3e3, 0.6j)]
    targets = 0.9 + 0.3 * np.cos(2 * np.pi * period.times / period.seconds)[:, None]
    method = PeriodicPropagation(network, period)
    cost, found = method.gradients(tones, targets)
    wanted = {name: torch.zeros_like(theta) for name, theta in network.named_parameters()}
    for name, theta in network.named_parameters():
        for i in range(len(theta)):
            sides = []
            for sign in (1, -1):
                with torch.no_grad():
                    theta[i] = 1 + 0.01 * sign
                sides.append(0.5 * np.square(method.outputs(method.free(tones)) - targets).sum(1).mean())
            with torch.no_grad():
                theta[i] = 1
            wanted[name][i] = (sides[0] - sides[1]) / 0.02
    assert float(cost) == pytest.approx(0.5 * np.square(method.outputs(method.free(tones)) - targets).sum(1).mean())
    plain = PeriodicPropagation(network, period, "nudged").gradients(tones, targets)[1]
    assert alike(found, wanted) > 0.9999
    assert float(found["r"].norm() / wanted["r"].norm()) == pytest.approx(1, abs=0.01)
    assert (alike(plain, wanted) > 0.9999) == nudged


def alike(found: dict[str, torch.Tensor], wanted: dict[str, torch.Tensor]) -> float:
    ours, theirs = (torch.cat([each[name] for name in wanted]) for each in (found, wanted))
    return float(ours @ theirs / (ours.norm() * theirs.norm()))


@pytest.mark.ngspice
def test_what_is_no_periodic_state():
    network = diode_detector(1e-6)
    with pytest.raises(StimulusError, match=r"must have a periodic steady state, found two periods .* more to settle"):
        PeriodicPropagation(network, Period(1e-4, points=64, settle=1)).free([Tone(0, 1e4, 3.0)])
    for tone in (Tone(0, 1.5e4, 1.0), Tone(1, 1e4, 1.0), Tone(0, 0.0, 1.0)):
        with pytest.raises(StimulusError, match=r"have whole cycles in 0\.0001 s, found"):
            PeriodicPropagation(network, Period(1e-4)).free([tone])
    with pytest.raises(StimulusError, match=r"targets must be finite and of shape \(64, 1\), found shape \(3, 1\)"):
        PeriodicPropagation(diode_detector(1e-12), Period(1e-3, 64)).gradients([Tone(0, 1e3, 1.0)], np.ones((3, 1)))
    with pytest.raises(StimulusError, match="a period needs a positive time, 8 points and a period to settle"):
        Period(-1.0)
    with pytest.raises(StimulusError, match="a rule must be adjoint, or nudged with a positive β"):
        PeriodicPropagation(network, Period(1e-4), nudging=0.0)


def test_what_phasors_refuse():
    circuit, ones = ladder(), torch.ones(5, 1)
    with pytest.raises(StimulusError, match="phasors need a list of positive frequencies, found"):
        phasor_equilibrium(circuit, torch.tensor([0.0]), torch.ones(1, 1))
    with pytest.raises(StimulusError, match=r"must be finite and end in shape \(5, 1\), found \(4, 1\)"):
        phasor_equilibrium(circuit, FREQUENCIES, torch.ones(4, 1))
    with pytest.raises(CircuitError, match="d: phasors need linear elements, found Diodes; follow its transients"):
        phasor_equilibrium(diode_detector(1e-9).circuit(), FREQUENCIES, ones)
    with pytest.raises(CircuitError, match="phasors need outputs, found none in 'ladder'"):
        phasor_equilibrium(parts().build(), FREQUENCIES, ones)
    builder = parts()
    builder.set_outputs("c", "0")
    builder.add(VoltageControlledCurrentSources("g", "a", "0", "c", "0", 1e-3))
    with pytest.raises(
        CircuitError, match=r"g: nudges of phasors need a reciprocal circuit of .* found VoltageControlled"
    ):
        PhasorPropagation(RLCNetwork(builder.build(), BOUNDS), PhasorError(), FREQUENCIES)
    method = PhasorPropagation(RLCNetwork(circuit, BOUNDS), PhasorError(), FREQUENCIES)
    with pytest.raises(StimulusError, match=r"targets must have the batch \(2,\), found shape \(3, 5, 2\)"):
        method.gradients(torch.ones(2, 5, 1), torch.ones(3, 5, 2))


def test_inductors_in_a_loop_with_a_source():
    builder = CircuitBuilder("loop")
    builder.add_nodes(["a"])
    builder.add(VoltageSources("v", "a", "0", 0.0, 0))
    builder.add(Inductors("l", "a", "0", 1e-3))
    builder.set_outputs("a", "0")
    words = (
        "voltage sources, and inductors, which are shorts at rest, must not form a loop, found one through l between"
    )
    with pytest.raises(CircuitError, match=words):
        phasor_equilibrium(builder.build(), FREQUENCIES, torch.ones(5, 1))


def test_a_resonance_without_losses():
    builder = CircuitBuilder("tank")
    builder.add_nodes(["s", "a"])
    builder.add(VoltageSources("v", "s", "0", 0.0, 0))
    builder.add(Capacitors("c", "s", "a", 1.0))
    builder.add(Inductors("l", "a", "0", 1.0))
    builder.set_outputs("a", "0")
    with pytest.raises(ConvergenceError, match="'tank' must have losses, found a resonance without any at"):
        phasor_equilibrium(builder.build(), torch.tensor([1 / (2 * math.pi)], dtype=torch.float64), torch.ones(1, 1))


def test_time_constants_are_of_circuits_without_inductors():
    circuit = series()
    with pytest.raises(CircuitError, match="time constants need a circuit without inductors, found some in 'series'"):
        slowest_time_constant(circuit, np.zeros((1, 1)), np.zeros((1, circuit.n_nodes)))


def test_what_an_rlc_network_refuses():
    with pytest.raises(NetworkError, match=r"found parameters \['c', 'l', 'r'\] and bounds of \['r'\]"):
        RLCNetwork(ladder(), {"r": (1e-5, 1e-1)})
    with pytest.raises(NetworkError, match="r: bounds must be a positive range about the first values, found"):
        RLCNetwork(ladder(), BOUNDS | {"r": (1e-5, 1e-4)})
    builder = parts()
    builder.set_outputs("c", "0")
    builder.add(Capacitors("more", "a", "c", 1e-9, "l", 3))
    with pytest.raises(NetworkError, match="l: one parameter must stand for elements of one kind, found several"):
        RLCNetwork(builder.build(), BOUNDS)
    builder = parts()
    builder.set_outputs("c", "0")
    builder.add(Capacitors("more", "a", "c", 3e-9, "c", 0))
    with pytest.raises(NetworkError, match="c: indices must run without a gap, with one value each, found"):
        RLCNetwork(builder.build(), BOUNDS)


def test_clipping():
    network = RLCNetwork(ladder(), BOUNDS)
    with torch.no_grad():
        network.get_parameter("l").copy_(torch.tensor([1e-9, 1.0, 1e9]))
    network.clip()
    assert network.values()["l"].tolist() == pytest.approx([1e-6, 2e-3, 1.0])
    assert network.circuit().group("l").parameters()["henries"].tolist() == pytest.approx([1e-6, 2e-3, 1.0])
