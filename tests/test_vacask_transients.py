"""The whole cycle in VACASK: what its transient decks measure, against equilibrium propagation and against ngspice."""

import re
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch
import vacask
from deck_circuits import alternating
from hopfield_networks import samples
from test_hopfield_circuit import FAST, in_hardware
from test_transient_deck import NETWORKS, by_propagation, changes, network, stimulus

from analog_ep.circuit.node_capacitance import with_node_capacitance
from analog_ep.equilibrium import Newton, solve
from analog_ep.errors import CircuitError
from analog_ep.export import write_settling_netlist, write_transient_netlist
from analog_ep.netlist.settling_deck import write_settling_deck
from analog_ep.netlist.timing import TwoPhaseTiming
from analog_ep.netlist.transient_deck import write_transient_deck
from analog_ep.networks import ResistiveNetwork
from analog_ep.ngspice.process import find_ngspice
from analog_ep.ngspice.raw import read_plots
from analog_ep.stimulus import Nudge, SquaredError

EXACT = {"weak": 1e-7}
"""Error of a ΔG relative to the largest of its crossbar, by case; 1e-9 in all others. A β of 1e-8 S leaves 1e-7."""


def nudged(case: str) -> tuple[ResistiveNetwork, torch.Tensor, torch.Tensor, Nudge]:
    build, cost, kind, strength = NETWORKS[case]
    net = build()
    inputs, targets = stimulus(net, 1 if case == "iris" else 2)
    return net, inputs, targets, Nudge(strength, targets, cost, kind)  # pyright: ignore[reportArgumentType]


@pytest.mark.vacask
@pytest.mark.parametrize("case", NETWORKS)
def test_every_change_is_that_of_equilibrium_propagation(case: str, tmp_path: Path):
    net, inputs, targets, nudge = nudged(case)
    path = write_transient_netlist(net, inputs, nudge, path=tmp_path / "c.sim", rate=2.0, dialect="vacask")
    found = changes(vacask.printed(path), net, len(inputs))
    twin = network(net.sizes, net.spice_clamps, gain=net.gain, drive=net.drive)
    twin.load_state_dict(net.state_dict())
    expected = by_propagation(twin, inputs, targets, nudge.cost, nudge.kind, nudge.strength)
    for ours, theirs in zip(found, expected, strict=True):
        for name, wanted in theirs.items():
            allowed = EXACT.get(case, 1e-9) * np.abs(wanted).max()
            np.testing.assert_allclose(ours[name] / 2.0, wanted, rtol=0, atol=allowed)


def in_both(folder: Path, ngspice: str, native: str) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Points of a transient in ngspice and in VACASK, nodes by name."""
    (folder / "cycle.cir").write_text(ngspice)
    command = [str(find_ngspice()), "-b", "-r", "cycle.raw", "cycle.cir"]
    subprocess.run(command, cwd=folder, capture_output=True, timeout=60, check=True)
    (plot,) = read_plots(folder / "cycle.raw")
    names = [re.sub(r"^v\((.*)\)$", r"\1", name) for name in plot.names]
    (native_points,) = vacask.run(native, folder, "transient")
    return dict(zip(names, plot.values.T, strict=True)), native_points


def finer(deck: str, step: float) -> str:
    """A deck with another longest step, and a tolerance of time steps that goes with it."""
    deck = re.sub(r"^\.tran \S+ (\S+) 0 \S+", rf".tran {step!r} \1 0 {step!r}", deck, flags=re.MULTILINE)
    deck = re.sub(r"step=\S+ stop=(\S+) maxstep=\S+", rf"step={step!r} stop=\1 maxstep={step!r}", deck)
    return deck.replace("trtol=1000", "trtol=1").replace("tran_lteratio=500000", "tran_lteratio=500")


@pytest.mark.ngspice
@pytest.mark.vacask
def test_waveforms_are_ngspices(tmp_path: Path):
    net, inputs, _, nudge = nudged("elastic")
    circuit, timing = with_node_capacitance(net.circuit(), 1e-12), TwoPhaseTiming(2e-6, 1.5e-6)
    spice, native = (
        write_transient_deck(circuit, inputs, nudge, timing, rate=1.0, dialect=name) for name in ("ngspice", "vacask")
    )
    nodes = [*circuit.node_names[1:]]
    nodes += [f"_hold_{circuit.node_names[node]}" for layer in circuit.layers.values() for node in layer]

    def worst(one: dict[str, np.ndarray], other: dict[str, np.ndarray], at: np.ndarray) -> float:
        volts = [[np.interp(at, points["time"], points[node]) for node in nodes] for points in (one, other)]
        return float(np.abs(np.diff(volts, axis=0)).max())

    starts = np.arange(len(inputs)) * timing.period
    free, ended = starts + timing.free - 2 * timing.edge, starts + timing.period - timing.edge
    on_the_way = (starts[:, None] + np.array([0.02, 0.05, 0.1, 0.2]) * timing.free).ravel()
    coarse = in_both(tmp_path, spice, native)
    assert max(worst(*coarse, free), worst(*coarse, ended)) < 1e-12
    fine = in_both(tmp_path, *(finer(deck, timing.free / 1000) for deck in (spice, native)))
    assert max(worst(*fine, free), worst(*fine, ended)) < 1e-12
    # What steps of 30 ns cost on the way is gone with steps of 2 ns.
    assert worst(*fine, on_the_way) < 2e-5 < 1e-3 < worst(*coarse, on_the_way) < 2e-2


@pytest.mark.vacask
def test_a_large_deck_prints_what_the_changes_follow_from(tmp_path: Path):
    net = network([3, 4, 2], alternating(4))
    inputs, targets = stimulus(net)
    nudge, timing = Nudge(1e-5, targets, SquaredError()), TwoPhaseTiming(1e-6, 1e-6)
    circuit = with_node_capacitance(net.circuit(), 1e-12)
    path = tmp_path / "large.sim"
    path.write_text(write_transient_deck(circuit, inputs, nudge, timing, rate=1.0, most_branches=10, dialect="vacask"))
    found = vacask.printed(path)
    assert not any(name.startswith("delta_") for name in found)
    free = solve(net, inputs, solver=Newton())
    after = solve(net, inputs, nudge, solver=Newton(), start=free)
    for i, name in enumerate(net.circuit().node_names):
        for sample in range(2):
            if f"free_{name}_{sample}" in found:
                before, then = (float(state.voltages[sample, i]) for state in (free, after))
                assert found[f"free_{name}_{sample}"] == pytest.approx(before, abs=1e-11)
                assert found[f"response_{name}_{sample}"] == pytest.approx(then - before, abs=1e-11)
    assert len(found) == 2 * 2 * (4 + 8 + 4)


@pytest.mark.vacask
def test_a_hopfield_circuit_settles_from_rest(tmp_path: Path):
    net = in_hardware(3, 2, 2)
    inputs, targets = (values[0] for values in samples(net, 1))
    nudge = Nudge(0.5, targets, SquaredError(), "elastic")
    path = write_settling_netlist(net, inputs, nudge, path=tmp_path / "h.sim", dialect="vacask")
    found = vacask.printed(path)
    free = solve(net, inputs, solver=FAST)
    states = {"free": free, "nudged": solve(net, inputs, nudge, solver=FAST, start=free)}
    for phase, state in states.items():
        for j in range(2):
            assert found[f"{phase}_o{j}"] == pytest.approx(float(state.outputs[j]), abs=1e-11)


def test_what_has_no_transients_is_refused():
    net, inputs, _, nudge = nudged("elastic")
    circuit = with_node_capacitance(net.circuit(), 1e-12)
    words = "a transient netlist is written for ngspice and vacask alone, found xyce; choose one of them"
    with pytest.raises(CircuitError, match=words):
        write_transient_deck(circuit, inputs, nudge, TwoPhaseTiming(1e-6, 1e-6), rate=1.0, dialect="xyce")
    with pytest.raises(CircuitError, match=words):
        write_settling_deck(circuit, inputs[0], duration=1e-6, dialect="xyce")
