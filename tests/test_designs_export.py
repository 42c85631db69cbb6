"""A layered network, exported as a deck and read back as a foreign netlist, learns alike."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from analog_ep import (
    ImplicitDifferentiation,
    Newton,
    Nudge,
    ResistiveNetwork,
    ShockleyDiode,
    SmallSignal,
    SquaredError,
    Update,
    solve,
    write_netlist,
)
from analog_ep.circuit import Amplifiers, VoltageSources, energy_weights
from analog_ep.designs import Design, read_netlist
from analog_ep.designs.checking import check_design
from analog_ep.errors import NetlistError
from analog_ep.networks import ConductanceNetwork


def layered(sizes: tuple[int, ...] = (8, 6, 3), drive: str = "differential") -> ResistiveNetwork:
    diode = ShockleyDiode(1e-9)
    return ResistiveNetwork(list(sizes), diode=diode, gain=4.0, drive=drive, bias_voltage=1.0, dtype=torch.float64)  # pyright: ignore[reportArgumentType]


def read_back(network: ResistiveNetwork, folder: Path) -> tuple[Design, np.ndarray]:
    """The design of the network's deck, and the sign with which each of its sources follows an input."""
    circuit = network.circuit()
    path = write_netlist(network, torch.zeros(network.n_inputs, dtype=torch.float64), path=folder / "layered.cir")
    sources = next(group for group in circuit.of_kind(VoltageSources) if group.label == "inputs")
    names = [f"v_inputs_{i}" for i in range(len(sources))]
    positive, negative = circuit.outputs or ((), ())
    pairs = [(circuit.node_names[p], circuit.node_names[n]) for p, n in zip(positive, negative, strict=True)]
    stages = [f"r_{group.label}_*" for group in circuit.trainable().values()]
    design = read_netlist(path, trainable=stages, bounds=network.conductance_range, inputs=names, outputs=pairs)
    which = np.zeros((len(names), network.n_inputs))
    which[np.arange(len(names)), np.asarray(sources.input)] = sources.scale
    return design, which


def siemens_by_name(network: ResistiveNetwork) -> dict[str, float]:
    return {
        f"r_{group.label}_{i}": float(g)
        for group in network.circuit().trainable().values()
        for i, g in enumerate(group.siemens)
    }


def train(network: ConductanceNetwork, method, inputs: torch.Tensor, targets: torch.Tensor, steps: int) -> None:
    update = Update(torch.optim.SGD(network.parameters(), lr=1.0), network)
    for _ in range(steps):
        update.zero_grad()
        method.backward(inputs, targets)
        update.step()


@pytest.mark.parametrize("drive", ["differential", "single"])
@pytest.mark.parametrize("method", [SmallSignal, ImplicitDifferentiation])
def test_an_exported_network_learns_as_the_layered_one(drive, method, tmp_path: Path):
    network = layered(drive=drive)
    design, which = read_back(network, tmp_path)
    foreign = design.network()
    generator = torch.Generator().manual_seed(3)
    x = 4 * torch.rand((6, 8), generator=generator, dtype=torch.float64) - 2
    y = 0.1 * torch.rand((6, 3), generator=generator, dtype=torch.float64)
    theirs = x @ torch.from_numpy(which).T
    a, b = solve(network, x, solver=Newton()), solve(foreign, theirs, solver=Newton())
    torch.testing.assert_close(a.outputs, b.outputs, rtol=0, atol=1e-10)
    before = siemens_by_name(network)
    for net, inputs in ((network, x), (foreign, theirs)):
        train(net, method(net, solver=Newton()), inputs, y, 5)
    wanted, found = siemens_by_name(network), design.resistances(foreign)
    assert wanted.keys() == found.keys()
    for name, g in wanted.items():
        assert 1 / found[name] == pytest.approx(g, rel=1e-6), name
    moved = [abs(g / before[name] - 1) for name, g in wanted.items()]
    assert np.median(moved) > 1e-3, np.median(moved)
    # The deck carries what was learnt.
    design.save(tmp_path / "learnt.cir", foreign)
    again = read_netlist(tmp_path / "learnt.cir", trainable=["r_stage*"], bounds=network.conductance_range)
    assert max(abs(1 / part.siemens / found[part.names[0]] - 1) for part in again.trainable) < 1e-12


def deck(lines: str) -> str:
    return f"amplifiers\nVin x 0 1\nR1 x u 10k\nR2 p y 10k\nR3 y 0 10k\n{lines}\n.end\n"


def amplifiers_of(lines: str, tmp_path: Path, **named) -> list[Amplifiers]:
    (tmp_path / "deck.cir").write_text(deck(lines))
    return read_netlist(tmp_path / "deck.cir", **named).circuit.of_kind(Amplifiers)


PLAIN = "E1 s 0 u 0 3\nV1 s p 0\nF1 u 0 V1 0.5"


@pytest.mark.parametrize(
    "lines",
    [
        PLAIN,
        "E1 0 s u 0 -3\nV1 s p 0\nF1 0 u V1 -0.5",
        "E1 s 0 0 u -3\nV1 s p 0\nF1 u 0 V1 0.5",
        ".subckt amp u p\nE1 s 0 u 0 3\nV1 s p 0\nF1 u 0 V1 0.5\n.ends\nX1 u p amp",
    ],
)
def test_an_amplifier_is_known_however_it_is_written(lines, tmp_path: Path):
    (amp,) = amplifiers_of(lines, tmp_path)
    assert (amp.gain.tolist(), amp.feedback.tolist(), amp.inverted.tolist()) == ([3.0], [0.5], [-1])


def test_two_outputs_are_one_amplifier(tmp_path: Path):
    (amp,) = amplifiers_of(f"{PLAIN}\nE2 t 0 u 0 -3\nV2 t q 0\nF2 0 u V2 0.5\nR4 q 0 1k", tmp_path)
    assert len(amp) == 1
    assert amp.inverted[0] > 0


@pytest.mark.parametrize(
    "lines",
    [
        "E1 s 0 u 0 3\nV1 s p 0.1\nF1 u 0 V1 0.5",
        "E1 s 0 u 0 3\nV1 s p 0\nF1 x 0 V1 0.5",
        "E1 s 0 u 0 3\nV1 s p 0\nF1 u 0 V1 0.5\nR4 s 0 1k",
        "E1 s 0 u 0 3\nV1 s p 0\nF1 u 0 V1 0.5\nF2 y 0 V1 0.1",
        "E1 s 0 u 0 3\nV1 s p 0\nF1 u 0 V1 0.5\nB2 y 0 i=i(V1)/10",
        "E1 s 0 u x 3\nV1 s p 0\nF1 u 0 V1 0.5",
        "E1 s 0 u 0 3\nV1 s p 0\nF1 0 u V1 0.5",
        "E1 s 0 u 0 3\nV1 p s 0\nF1 u 0 V1 0.5",
    ],
)
def test_what_only_resembles_one_stays_as_it_is(lines, tmp_path: Path):
    assert amplifiers_of(lines, tmp_path) == []
    assert "one-way" in energy_weights(read_netlist(tmp_path / "deck.cir").circuit).reason


OBSERVED = "B1 0 e1 v=v(u)*i(Vin)\nB2 0 e2 i=exp(v(e1))\nR4 e2 0 1k\nE3 e3 0 y 0 2\nR5 e3 0 1k"


def test_what_only_reads_the_circuit_is_left_out_and_noted(tmp_path: Path):
    path = tmp_path / "deck.cir"
    path.write_text(deck(OBSERVED + "\nR6 u y 10k"))
    design = read_netlist(path, outputs=["y"])
    assert set(design.nodes) == {"0", "x", "u", "p", "y"}
    assert energy_weights(design.circuit).nodes is not None
    assert any("act on no output and are left out, such as" in note for note in design.notes)
    # As an output, or where nothing is one, it counts; what feeds back counts too.
    assert "e1" in read_netlist(path, outputs=["e2"]).nodes
    assert "e2" in read_netlist(path).nodes
    path.write_text(deck(OBSERVED + "\nR6 u y 10k\nG7 u 0 e2 0 1u"))
    assert {"e1", "e2"} <= set(read_netlist(path, outputs=["y"]).nodes)


def test_an_input_stays_a_source(tmp_path: Path):
    assert amplifiers_of(PLAIN, tmp_path, inputs=["v1"]) == []


@pytest.mark.ngspice
def test_voltages_of_the_node_that_an_amplifier_drives_are_told(tmp_path: Path):
    (tmp_path / "deck.cir").write_text(deck(PLAIN))
    design = read_netlist(tmp_path / "deck.cir")
    for comparison in check_design(design):
        assert comparison.agrees, comparison
        assert comparison.n_nodes == 5


@pytest.mark.ngspice
@pytest.mark.parametrize("phase", ["free", "nudged", "both"])
def test_our_decks_with_targets_are_checked_like_any_netlist(phase, tmp_path: Path):
    """Their cards of the energy divide by a thermal voltage that a source of an expression makes: 0 V at the start."""
    network, inputs = layered((4, 6, 2)), torch.rand(4, dtype=torch.float64)
    nudge = Nudge(1e-6, torch.tensor([0.1, -0.1], dtype=torch.float64), SquaredError())
    path = write_netlist(network, inputs, nudge, path=tmp_path / "deck.cir", phase=phase)
    design = read_netlist(path)
    comparison = check_design(design)[0]
    assert comparison.agrees, comparison
    assert comparison.n_nodes > 30
    # What the cards sum up to is the energy of the network; so small a nudge does not change it.
    state = solve(design.circuit, design.default_inputs[None], solver=Newton())
    free = solve(network, inputs[None], solver=Newton())
    expected = network.energy(inputs[None], free.layers)
    assert design.voltages(state.node_voltages())["energy"].item() == pytest.approx(expected.item(), rel=1e-6)


HOLES = {
    "quotients": "B1 a 0 v=2*v(in)\nB2 b 0 v=1/v(a)\nB3 c 0 v=v(in)/v(b)\nR1 c 0 1k\nB4 0 d i=1m/v(c)\nR2 d 0 1k",
    "roots": "B1 a 0 v=v(in)+1\nR1 a b 1k\nR2 b 0 1k\nB2 b 0 i=1m*sqrt(v(b))",
    "logarithm": "R1 in a 1k\nR2 a 0 1k\nB1 b 0 v=ln(v(a))/v(a)\nR3 b 0 1k",
}


@pytest.mark.ngspice
@pytest.mark.parametrize("lines", HOLES.values(), ids=HOLES.keys())
def test_an_expression_without_a_value_at_rest_is_solved(lines, tmp_path: Path):
    (tmp_path / "deck.cir").write_text(f"* holes\nV1 in 0 0.7\n{lines}\n.end\n")
    ours = check_design(read_netlist(tmp_path / "deck.cir"))[0]
    assert ours.agrees, ours


def test_an_expression_that_has_no_value_anywhere_is_told(tmp_path: Path):
    (tmp_path / "deck.cir").write_text(
        "* a hole\nV1 in 0 1\nR1 in a 1k\nR2 a 0 1k\nB1 0 b i=v(in)/(v(a)-v(a))\nR3 b 0 1\n"
    )
    with pytest.raises(NetlistError, match="an operating point must be found"):
        check_design(read_netlist(tmp_path / "deck.cir"))


def test_a_source_of_its_own_voltage_leaves_no_node_open(tmp_path: Path):
    """A hold's switch is an expression; the node that it charges has no other way to ground."""
    text = "* a switch\nV1 t 0 {}\nV2 in 0 0.3\nB1 0 s i=v(t)*(v(in)-v(s))/1k\n.end\n"
    (tmp_path / "deck.cir").write_text(text.format(1))
    design = read_netlist(tmp_path / "deck.cir")
    state = solve(design.circuit, design.default_inputs[None], solver=Newton())
    assert design.voltages(state.node_voltages())["s"].item() == pytest.approx(0.3, rel=1e-12)
    (tmp_path / "deck.cir").write_text(text.format(0))
    with pytest.raises(NetlistError, match="an operating point must be found"):
        check_design(read_netlist(tmp_path / "deck.cir"))
