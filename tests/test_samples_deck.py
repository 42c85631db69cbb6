"""Decks that show samples in turn: plain ngspice prints the outputs that PyTorch solves for, a row a sample."""

from pathlib import Path

import numpy as np
import pytest
import torch

import analog_ep as aep
from analog_ep.circuit import CircuitBuilder, Conductances, VoltageSources
from analog_ep.errors import StimulusError
from analog_ep.netlist.samples_deck import write_samples_deck
from tests.plain_ngspice import run_plain

CORNERS = torch.tensor([[-1, -1], [-1, 1], [1, -1], [1, 1]], dtype=torch.float64)


def layered() -> aep.ResistiveNetwork:
    torch.manual_seed(3)
    return aep.ResistiveNetwork([2, 3, 2], diode=aep.ShockleyDiode(1e-9), gain=4.0, dtype=torch.float64)


def clamped() -> aep.CircuitNetwork:
    """An output to ground, a source that two inputs do not move, and one whose current an amplifier's input draws."""
    builder = CircuitBuilder("clamped")
    builder.add_nodes(["a", "b", "vdd", "out"])
    builder.add(VoltageSources("v", ["a", "b"], "0", 0.0, [0, 1]))
    builder.add(VoltageSources("supply", "vdd", "0", 0.5))
    builder.add(Conductances("r", ["a", "b", "vdd"], ["out", "out", "out"], [1e-4, 2e-4, 5e-5], "r", range(3)))
    builder.add_diodes("d", "out", "0", aep.ShockleyDiode(1e-8))
    builder.set_outputs("out", "0")
    return aep.CircuitNetwork(builder.build(), bounds=(1e-6, 1e-3))


@pytest.mark.ngspice
@pytest.mark.parametrize("network", [layered(), clamped()], ids=["layered", "circuit"])
@pytest.mark.parametrize("samples", [1, 4])
def test_ngspice_prints_a_row_of_outputs_for_each_sample(network, samples, tmp_path: Path):
    inputs = 1.5 * CORNERS[:samples]
    path = aep.write_samples_netlist(network, inputs, path=tmp_path / "samples.cir", targets=CORNERS[:samples])
    table = run_plain(path)
    outputs = aep.solve(network, inputs, solver=aep.Newton()).outputs.detach().numpy()
    columns = [values for name, values in table.items() if name not in ("Index", "v-sweep")]
    np.testing.assert_allclose(np.transpose(columns), outputs, atol=1e-8)
    np.testing.assert_array_equal(table["v-sweep"], np.arange(samples))


def test_the_header_names_samples_and_targets():
    deck = write_samples_deck(clamped().circuit(), CORNERS, CORNERS[:, :1])
    assert "* 1: -1 1 -> -1\n" in deck
    assert "v_supply_0 vdd 0 0.5\n" in deck  # what no input moves stays as it is
    many = write_samples_deck(clamped().circuit(), np.tile(CORNERS, (20, 1)))
    assert "* 31: 1 1\n" in many
    assert "* 32: " not in many
    assert "* and so on, on the cards below.\n" in many
    assert max(map(len, many.splitlines())) <= 132


@pytest.mark.parametrize(
    ("inputs", "targets", "message"),
    [
        (CORNERS[0], None, r"inputs must be \(n_samples, 2\), found \(2,\)"),
        (CORNERS[:0], None, r"inputs must be \(n_samples, 2\), found \(0, 2\)"),
        (CORNERS[:, :1], None, r"inputs must be \(n_samples, 2\), found \(4, 1\)"),
        (CORNERS, CORNERS[:2], r"targets must be \(4, n_targets\), found \(2, 2\)"),
    ],
)
def test_shapes_that_do_not_fit_are_told(inputs, targets, message):
    with pytest.raises(StimulusError, match=message):
        write_samples_deck(clamped().circuit(), inputs, targets)


def test_a_circuit_without_outputs_or_with_several_minima_is_refused(tmp_path: Path):
    builder = CircuitBuilder("none")
    builder.add_nodes(["a", "b"])
    builder.add(VoltageSources("v", ["a", "b"], "0", 0.0, [0, 1]))
    with pytest.raises(StimulusError, match="found a circuit that has none"):
        write_samples_deck(builder.build(), CORNERS)
    hopfield = aep.HopfieldNetwork([2, 3, 2], dtype=torch.float64)
    with pytest.raises(StimulusError, match="several minima"):
        aep.write_samples_netlist(hopfield, CORNERS, path=tmp_path / "no.cir")
    assert not (tmp_path / "no.cir").exists()
