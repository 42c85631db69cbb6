"""The shipped netlists: their text, and what ngspice makes of them."""

import numpy as np
import pytest
import torch
from mna import solve_mna
from plain_ngspice import run_plain
from reference_decks import REFERENCE_DECKS, XOR_FREE_OUTPUT, XOR_SAMPLES, xor_deck, xor_network

from analog_ep.circuit import circuit_energy
from analog_ep.devices import ShockleyDiode
from analog_ep.netlist.deck import save_deck
from analog_ep.support.resources import netlists_folder, specs_folder

QUICK_DECKS = [path for path in netlists_folder().glob("*.cir") if path.name != "xor_learns.cir"]
"""Of the one that learns, half a minute, tests/test_self_learning.py runs the beginning."""


def words(text):
    return [line.split() for line in text.splitlines() if line.strip()]


@pytest.mark.parametrize("path", REFERENCE_DECKS, ids=lambda path: path.name)
def test_generated_decks_are_those_in_the_repository(path):
    assert words(REFERENCE_DECKS[path]()) == words(path.read_text())


@pytest.mark.ngspice
@pytest.mark.parametrize("path", QUICK_DECKS, ids=lambda path: path.name)
def test_every_deck_runs_from_any_folder(path, tmp_path):
    printed = run_plain(path, tmp_path)
    assert printed
    assert all(np.isfinite(values).all() for values in printed.values())


@pytest.mark.ngspice
@pytest.mark.parametrize("sample", XOR_SAMPLES)
def test_xor_deck_computes_xor(sample, tmp_path):
    circuit = xor_network().circuit()
    truth = solve_mna(circuit, np.array(sample))
    path = tmp_path / "xor.cir"
    save_deck(xor_deck(sample), path)
    printed = run_plain(path)
    output = printed["v(o0_p)-v(o0_n)"]
    assert (output[0] > 0) == (sample[0] != sample[1])
    np.testing.assert_allclose(output[0], truth[circuit.node("o0_p")] - truth[circuit.node("o0_n")], rtol=0, atol=2e-9)
    np.testing.assert_allclose(printed["v(energy)"][0], circuit_energy(circuit, truth), rtol=1e-7)


@pytest.mark.ngspice
def test_xor_deck_nudges_towards_its_target(tmp_path):
    printed = run_plain(netlists_folder() / "xor.cir", tmp_path)["v(o0_p)-v(o0_n)"]
    np.testing.assert_allclose(printed[0], XOR_FREE_OUTPUT, rtol=0, atol=1e-9)
    assert printed[0] < printed[1] < 1.0


@pytest.mark.ngspice
def test_library_bench_follows_the_device_equations(tmp_path):
    printed = run_plain(netlists_folder() / "library_bench.cir", tmp_path)
    drive = printed["v-sweep"]
    upper, lower, conductance = 0.1, -0.2, 1e-4
    junction = {1.2: ShockleyDiode(1e-12, ideality=1.2), 1.5: ShockleyDiode(1e-12, ideality=1.5)}

    def current(diode, voltage):
        return diode.current(torch.from_numpy(voltage)).numpy()

    above, below, between = printed["v(above)"], printed["v(below)"], printed["v(between)"]
    surplus = {
        "above": conductance * (drive - above) - current(junction[1.2], above - upper),
        "below": conductance * (drive - below) + current(junction[1.2], lower - below),
        "between": conductance * (drive - between)
        - current(junction[1.2], between - upper)
        + current(junction[1.5], lower - between),
    }
    for clamp, excess in surplus.items():
        # Nine printed digits of a volt, times the largest slope of the junctions here.
        assert np.abs(excess).max() < 2e-11, clamp

    def linear(start, sign):
        return np.where(sign * (drive - start) > 0, (conductance * drive + 0.01 * start) / (conductance + 0.01), drive)

    high, low = linear(0.4, 1), linear(-0.5, -1)
    np.testing.assert_allclose(printed["v(lin_above)"], high, rtol=0, atol=1e-8)
    np.testing.assert_allclose(printed["v(lin_below)"], low, rtol=0, atol=1e-8)
    both = np.where(drive > 0, high, linear(-0.3, -1))
    np.testing.assert_allclose(printed["v(lin_between)"], both, rtol=0, atol=1e-8)

    # A load g on an amplifier's output loads its input with k a g: here with 1e-4 S, the drive's own.
    np.testing.assert_allclose(printed["v(single)"], drive / 2, rtol=0, atol=1e-8)
    np.testing.assert_allclose(printed["v(single_out)"], 2 * drive, rtol=0, atol=1e-8)
    pair = (1e-4 * drive - 0.25 * upper * 2.5e-5) / (1e-4 + 1e-4 + 2.5e-5)
    np.testing.assert_allclose(printed["v(pair)"], pair, rtol=0, atol=1e-8)
    np.testing.assert_allclose(printed["v(pair_n)"], -4 * pair, rtol=0, atol=1e-8)


def test_folders_are_found():
    assert sorted(path.name for path in netlists_folder().glob("*.lib")) == [
        "amplifier.lib",
        "amplifier_dynamics.lib",
        "bidirectional_op_amps.lib",
        "diode_clamp.lib",
        "learning.lib",
        "memristors.lib",
        "operational_amplifier.lib",
        "pulse_devices.lib",
        "sample_hold.lib",
    ]
    assert specs_folder().name == "specs"
