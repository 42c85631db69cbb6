"""Decks run by plain `ngspice -b FILE`; what they print is compared with a nodal analysis written for these tests."""

# pyright: reportArgumentType=false

import numpy as np
import pytest
import torch
from deck_circuits import alternating, measured, mixed_circuit, network
from mna import solve_mna
from plain_ngspice import run_plain

from analog_ep.circuit import (
    Chip,
    CircuitBuilder,
    Conductances,
    CurrentSources,
    VoltageControlledVoltageSources,
    VoltageSources,
    circuit_energy,
    energy_weights,
)
from analog_ep.devices import DiodeClamp, HardClamp, IdealDiode, ShockleyDiode
from analog_ep.errors import CircuitError, NodeNameError, StimulusError
from analog_ep.netlist import deck_sections
from analog_ep.netlist.deck import save_deck, write_deck
from analog_ep.stimulus import Cost, CrossEntropy, Nudge, SquaredError
from analog_ep.support.resources import netlists_folder

VOLTAGE_TOLERANCE = 2e-9
"""Printed are nine digits of voltages up to 4 V."""


CASES = {
    "pair": (lambda: network([2, 2, 1], DiodeClamp(ShockleyDiode(), upper=0.3, lower=-0.3)), SquaredError()),
    "transformer": (lambda: network([3, 4, 3], alternating(4), gain=2.5, feedback=2.5), CrossEntropy(0.3)),
    "single": (lambda: network([3, 4, 2], alternating(4), drive="single", gain=2.0), SquaredError()),
    "ideal": (lambda: network([3, 4, 3, 2], IdealDiode(1e-2)), SquaredError()),
    "ideal pair": (
        lambda: network([3, 4, 2], HardClamp(IdealDiode(1e-2, 0.05), upper=0.1, lower=-0.1)),
        SquaredError(),
    ),
    "measured": (lambda: network([3, 4, 2], DiodeClamp(measured(), upper=-0.2, lower=0.2)), SquaredError()),
    "series": (lambda: network([2, 3, 1], ShockleyDiode(series_resistance=50.0)), SquaredError()),
    "no hidden": (lambda: network([3, 2], None), SquaredError()),
    "mixed": (mixed_circuit, SquaredError()),
    "offsets": (lambda: mixed_circuit(offset=[0.02, -0.03]), SquaredError()),
}


def nudged_truth(circuit, inputs, nudge, free):
    """Voltages of the nudged state and the cost's own current law."""
    if nudge.kind == "frozen":
        outputs = torch.from_numpy(free[circuit.outputs[0]] - free[circuit.outputs[1]])
        constant = nudge.current(outputs).numpy()
        return solve_mna(circuit, inputs, lambda o: (constant, np.zeros((len(o), len(o)))))
    return solve_mna(
        circuit,
        inputs,
        lambda o: (
            nudge.current(torch.from_numpy(o)).numpy(),
            -nudge.strength * nudge.cost.hessian(torch.from_numpy(o)).numpy(),
        ),
    )


@pytest.mark.ngspice
@pytest.mark.parametrize("kind", ["frozen", "elastic"])
@pytest.mark.parametrize("case", CASES)
def test_prints_both_phases(case, kind, tmp_path):
    build, cost = CASES[case]
    circuit = build()
    inputs = np.random.default_rng(7).uniform(-2, 2, circuit.n_inputs)
    positive, negative = circuit.outputs
    target = torch.softmax(torch.linspace(0, 1, len(positive), dtype=torch.float64), 0)
    nudge = Nudge(2e-6, target, cost, kind)
    free = solve_mna(circuit, inputs)
    nudged = nudged_truth(circuit, inputs, nudge, free)
    deck = write_deck(circuit, inputs, nudge, free[positive] - free[negative], "both")
    path = tmp_path / "deck.cir"
    save_deck(deck, path)
    printed = run_plain(path)
    np.testing.assert_array_equal(printed["v-sweep"][:2], [0.0, 1.0])
    truth = np.stack([free, nudged])
    names = circuit.node_names
    shown = np.concatenate(list(circuit.layers.values())) if circuit.layers else np.arange(3, circuit.n_nodes)
    for node in shown:
        np.testing.assert_allclose(printed[f"v({names[node]})"], truth[:, node], rtol=0, atol=VOLTAGE_TOLERANCE)
    for p, n in zip(positive, negative, strict=True):
        printed_output = printed[f"v({names[p]})-v({names[n]})"]
        np.testing.assert_allclose(printed_output, truth[:, p] - truth[:, n], rtol=0, atol=VOLTAGE_TOLERANCE)
    np.testing.assert_allclose(printed["v(energy)"], circuit_energy(circuit, truth), rtol=1e-7)


@pytest.mark.ngspice
def test_large_circuits_ask_for_klu_with_the_nodes_of_amplifiers_first(monkeypatch, tmp_path):
    circuit = network([2, 3, 2], alternating(3))
    usual, large = tmp_path / "usual.cir", tmp_path / "large.cir"
    save_deck(write_deck(circuit, [1.0, -0.5]), usual)
    monkeypatch.setattr(deck_sections, "LARGE", 10)
    save_deck(write_deck(circuit, [1.0, -0.5]), large)
    added = [line for line in large.read_text().splitlines() if line not in usual.read_text().splitlines()]
    assert {".options klu", "i_first_0 a1_0_p 0 0", "i_first_5 a1_2_n 0 0"} <= set(added)
    assert not any("klu" in line for line in write_deck(circuit, [1.0, -0.5], dialect="ltspice").splitlines())
    printed, expected = run_plain(large), run_plain(usual)
    assert printed.keys() == expected.keys()
    for heading, values in printed.items():
        np.testing.assert_allclose(values, expected[heading], rtol=0, atol=1e-9)


@pytest.mark.ngspice
@pytest.mark.parametrize(("phase", "row"), [("free", 0), ("nudged", 1)])
def test_prints_one_phase(phase, row, tmp_path):
    circuit = network([2, 2, 1], alternating(2))
    inputs, nudge = torch.tensor([1.0, -0.5]), Nudge(1e-5, torch.tensor([1.0]), SquaredError(), "elastic")
    both, one = tmp_path / "both.cir", tmp_path / "one.cir"
    save_deck(write_deck(circuit, inputs, nudge, phase="both"), both)
    save_deck(write_deck(circuit, inputs, nudge, phase=phase), one)
    printed, expected = run_plain(one), run_plain(both)
    assert printed["v-sweep"].tolist() == [row]
    for heading, values in printed.items():
        np.testing.assert_allclose(values, expected[heading][row : row + 1], rtol=0, atol=1e-9)


@pytest.mark.ngspice
def test_mismatch_reaches_the_subcircuits(tmp_path):
    circuit = network([3, 4, 2], DiodeClamp(ShockleyDiode(1e-10), upper=0.1, lower=-0.1))
    chip = Chip.draw(circuit, seed=2, siemens=0.1, saturation_current=0.5, ideality=0.05).apply(circuit)
    truth = solve_mna(chip, np.array([1.0, -1.0, 0.5]))
    path = tmp_path / "chip.cir"
    save_deck(write_deck(chip, np.array([1.0, -1.0, 0.5])), path)
    printed = run_plain(path)
    for node in chip.layers["h1"]:
        name = chip.node_names[node]
        np.testing.assert_allclose(printed[f"v({name})"], truth[node], rtol=0, atol=VOLTAGE_TOLERANCE)
    np.testing.assert_allclose(printed["v(energy)"], circuit_energy(chip, truth), rtol=1e-7)


@pytest.mark.ngspice
def test_units_between_held_rows_may_have_weights_of_their_own(tmp_path):
    circuit = network([2, 3, 1], alternating(3))
    mismatched = Chip.draw(circuit, seed=1, gain=0.1, feedback=0.1).apply(circuit)
    truth = solve_mna(mismatched, np.array([1.0, -1.0]))
    path = tmp_path / "weights.cir"
    save_deck(write_deck(mismatched, np.array([1.0, -1.0])), path)
    np.testing.assert_allclose(run_plain(path)["v(energy)"], circuit_energy(mismatched, truth), rtol=1e-7)


@pytest.mark.ngspice
def test_a_current_source_between_blocks_of_different_weight(tmp_path):
    plain = network([2, 2, 1], alternating(2))
    # From an output, in a block of weight k/a, to a hidden node, in one of weight 1.
    source = CurrentSources("bridge", plain.node("o0_p"), plain.node("h1_0"), 2e-6)
    circuit = plain.with_groups([*plain.groups, source])
    truth = solve_mna(circuit, np.array([1.0, -1.0]))
    path = tmp_path / "bridge.cir"
    save_deck(write_deck(circuit, np.array([1.0, -1.0])), path)
    np.testing.assert_allclose(run_plain(path)["v(energy)"], circuit_energy(circuit, truth), rtol=1e-7)


@pytest.mark.ngspice
@pytest.mark.parametrize("drive", [-1.0, -0.2, -0.1, -0.05, 0.02, 0.1])
def test_energy_has_the_reverse_tail_of_the_junction(drive, tmp_path):
    builder = CircuitBuilder("leaky diode")
    top, anode = builder.add_nodes(["top", "anode"])
    builder.add(VoltageSources("v", top, 0, drive))
    builder.add(Conductances("r", top, anode, 0.1))
    builder.add_diodes("d", anode, 0, ShockleyDiode(1e-3))
    circuit = builder.build()
    path = tmp_path / "leaky.cir"
    save_deck(write_deck(circuit, np.zeros(0)), path)
    energy = circuit_energy(circuit, solve_mna(circuit, np.zeros(0)))
    np.testing.assert_allclose(run_plain(path)["v(energy)"], energy, rtol=1e-7)


@pytest.mark.ngspice
def test_without_energy_it_says_why_and_still_runs(tmp_path):
    circuit = network([2, 2, 2, 1], [alternating(2), alternating(2)])
    mismatched = Chip.draw(circuit, seed=1, gain=0.1).apply(circuit)
    deck = write_deck(mismatched, np.array([1.0, -1.0]))
    assert f"* no energy is printed: {energy_weights(mismatched).reason}" in deck
    assert "energy 0" not in deck
    path = tmp_path / "mismatched.cir"
    save_deck(deck, path)
    printed = run_plain(path)
    assert "v(energy)" not in printed
    truth = solve_mna(mismatched, np.array([1.0, -1.0]))
    np.testing.assert_allclose(printed["v(h1_0)"], truth[mismatched.node("h1_0")], rtol=0, atol=VOLTAGE_TOLERANCE)


@pytest.mark.ngspice
def test_included_libraries_give_the_same_numbers(tmp_path):
    circuit = network([2, 2, 1], alternating(2))
    inputs = np.array([1.0, -0.5])
    (tmp_path / "lib").mkdir()
    for file in netlists_folder().glob("*.lib"):
        (tmp_path / "lib" / file.name).write_text(file.read_text())
    deck = write_deck(circuit, inputs, include_from="lib")
    assert ".include lib/amplifier.lib" in deck
    assert ".subckt" not in deck
    save_deck(deck, tmp_path / "included.cir")
    save_deck(write_deck(circuit, inputs), tmp_path / "inlined.cir")
    included, inlined = run_plain(tmp_path / "included.cir"), run_plain(tmp_path / "inlined.cir")
    assert included.keys() == inlined.keys()
    for heading, values in included.items():
        np.testing.assert_array_equal(values, inlined[heading])


def test_deck_is_deterministic_and_explicit():
    circuit = network([2, 2, 1], alternating(2))
    deck = write_deck(circuit, np.array([1.0, -1.0]))
    assert deck == write_deck(network([2, 2, 1], alternating(2)), torch.tensor([1.0, -1.0]))
    assert "TEMP=27.0 TNOM=27.0" in deck
    assert "gmin=1e-15" in deck
    assert "ngspice -b FILE" in deck
    assert ".control" not in deck
    assert deck.isascii()
    assert max(map(len, deck.splitlines())) < 1000


def test_one_way_sources_have_no_energy():
    builder = CircuitBuilder("one way")
    x, y = builder.add_nodes(["x", "y"])
    builder.add(VoltageSources("v", x, 0, 1.0))
    builder.add(VoltageControlledVoltageSources("e", y, 0, x, 0, 2.0))
    builder.add(Conductances("r", y, 0, 1e-3))
    deck = write_deck(builder.build(), np.zeros(0))
    assert "* no energy is printed: e is a one-way controlled source" in deck


def test_refuses_what_makes_no_deck():
    other_cost = type("OtherCost", (Cost,), dict.fromkeys(Cost.__abstractmethods__))()
    circuit = network([2, 2, 1], alternating(2))
    inputs, target = np.array([1.0, -1.0]), torch.tensor([1.0])
    nudge = Nudge(1e-5, target, SquaredError())
    with pytest.raises(StimulusError, match=r"inputs must have shape \(2,\), found \(3,\)"):
        write_deck(circuit, np.zeros(3))
    with pytest.raises(StimulusError, match="inputs must be finite, found NaN"):
        write_deck(circuit, np.array([1.0, np.nan]))
    with pytest.raises(StimulusError, match="the phase 'both' needs a nudge, found none"):
        write_deck(circuit, inputs, phase="both")
    with pytest.raises(StimulusError, match="a frozen nudge needs the outputs of the free phase, found none"):
        write_deck(circuit, inputs, nudge, phase="both")
    with pytest.raises(StimulusError, match=r"free_outputs must be 1 finite values, found \[nan\]"):
        write_deck(circuit, inputs, nudge, np.array([np.nan]), phase="both")
    with pytest.raises(StimulusError, match=r"its target must have shape \(1,\), found \(2,\)"):
        write_deck(circuit, inputs, Nudge(1e-5, torch.zeros(2), SquaredError()), np.zeros(2), phase="both")
    with pytest.raises(StimulusError, match='phase must be "free", "nudged" or "both", found \'all\''):
        write_deck(circuit, inputs, phase="all")
    with pytest.raises(StimulusError, match="elastic nudges of SquaredError and CrossEntropy, found OtherCost"):
        write_deck(circuit, inputs, Nudge(1e-5, target, other_cost, "elastic"), phase="both")
    with pytest.raises(NodeNameError, match="include_from may hold letters, digits"):
        write_deck(circuit, inputs, include_from="lib\n.control")
    floating = circuit.with_groups(group for group in circuit.groups if group.label != "stage2")
    with pytest.raises(CircuitError, match="o0_p"):
        write_deck(floating, inputs)


def test_a_failed_write_leaves_the_old_file(tmp_path):
    path = tmp_path / "deck.cir"
    save_deck("old\n", path)
    with pytest.raises(UnicodeEncodeError):
        save_deck("β\n", path)
    assert path.read_text() == "old\n"
    assert list(tmp_path.iterdir()) == [path]
