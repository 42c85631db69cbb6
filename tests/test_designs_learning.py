"""Designs that learn, and the designer's own text with what they learnt."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

import analog_ep as aep
from analog_ep.designs import Design, read_netlist
from analog_ep.errors import NetlistError
from tests.learning_decks import lattice_deck, xor_deck
from tests.read_by_ngspice import plain_voltages
from tests.test_designs import VOLTS, write


def trained(design: Design, inputs: torch.Tensor, targets: torch.Tensor, steps: int, rate: float):
    """The network, and the cost before and after."""
    network = design.network()
    update = aep.Update(torch.optim.Adam(network.parameters(), lr=rate), network)
    method = aep.SmallSignal(network)
    costs = []
    for _ in range(steps):
        update.zero_grad()
        costs.append(float(method.backward(inputs, targets)))
        update.step()
    costs.append(float(method.gradients(inputs, targets)[0]))
    return network, costs[0], costs[-1]


def outputs_in_plain_ngspice(design: Design, text: str, sources: dict[str, str], sample: list[float]) -> list[float]:
    """Outputs of one sample; `sources` are the inputs' cards up to their values. [V]"""
    lines = text.split("\n")
    for (name, card), value in zip(sources.items(), sample, strict=True):
        at = next(i for i, line in enumerate(lines) if line.lower().startswith(name.lower() + " "))
        lines[at] = f"{card} {value!r}"
    found = plain_voltages({"main.cir": "\n".join(lines)})
    assert found is not None
    return [found.get(p, 0.0) - found.get(n, 0.0) for p, n in design.outputs]


def test_xor_learns_and_ngspice_agrees_on_the_text_written_back(tmp_path: Path):
    design = read_netlist(write(tmp_path, {"main.cir": xor_deck()}))
    assert len(design.trainable) == 4 * 6 + 8
    assert design.inputs == ("va", "van", "vb", "vbn")
    x = torch.tensor([[-1.0, -1.0], [-1.0, 1.0], [1.0, -1.0], [1.0, 1.0]], dtype=torch.float64)
    inputs = torch.stack([x[:, 0], -x[:, 0], x[:, 1], -x[:, 1]], 1)
    targets = 0.1 * torch.tensor([[-1.0], [1.0], [1.0], [-1.0]], dtype=torch.float64)
    network, before, after = trained(design, inputs, targets, 60, 0.03)
    assert after < 0.01 * before
    learnt = design.text(network)
    found = aep.solve(network, inputs, solver=aep.Newton()).outputs
    assert (found.sign() == targets.sign()).all()
    cards = {"va": "Va x1 0", "van": "Van x1n 0", "vb": "Vb x2 0", "vbn": "Vbn x2n 0"}
    for sample, expected in zip(inputs.tolist(), found.tolist(), strict=True):
        theirs = outputs_in_plain_ngspice(design, learnt, cards, sample)
        assert theirs == pytest.approx(expected, abs=VOLTS, rel=0)


def test_a_lattice_regression_learns_with_marks_given_as_arguments(tmp_path: Path):
    path = write(tmp_path, {"main.cir": lattice_deck()})
    design = read_netlist(
        path, trainable=["rw_*"], bounds=(1e-6, 1e-3), inputs=["V1", "v2"], outputs=["n2_2", ("n3_3", "n1_1")]
    )
    assert len(design.trainable) == 24
    inputs = torch.tensor([[a, b] for a in (0.2, 0.6, 1.0) for b in (-0.5, 0.0, 0.5)], dtype=torch.float64)
    teacher = write(tmp_path / "teacher", {"main.cir": lattice_deck(seed=2)})
    teaching = read_netlist(teacher, inputs=["v1", "v2"], outputs=["n2_2", ("n3_3", "n1_1")])
    targets = aep.solve(teaching.circuit, inputs, solver=aep.Newton()).outputs
    network, before, after = trained(design, inputs, targets, 60, 0.005)
    assert after < 0.01 * before
    learnt = design.text(network)
    found = aep.solve(network, inputs, solver=aep.Newton()).outputs
    for sample, expected in list(zip(inputs.tolist(), found.tolist(), strict=True))[::4]:
        theirs = outputs_in_plain_ngspice(design, learnt, {"v1": "V1 n0_0 0", "v2": "V2 n3_0 0"}, sample)
        assert theirs == pytest.approx(expected, abs=VOLTS, rel=0)


def test_the_text_is_the_designers_byte_for_byte_but_for_the_numbers(tmp_path: Path):
    text = xor_deck()
    design = read_netlist(write(tmp_path, {"main.cir": text}))
    assert design.text({}) == text
    learnt = design.text({"r_wp0": 12345.0, "XH2.R_W3": 54321.5})
    differing = [(a, b) for a, b in zip(text.split("\n"), learnt.split("\n"), strict=True) if a != b]
    assert len(differing) == 2
    assert any("g3=54321.5" in b for _, b in differing)
    assert any(b.endswith(" 12345.0") for _, b in differing)


STYLED = (
    "\ufefftitle µ\r\n"
    ".PARAM  rw = 10kOhm  other=3 ; comment\r\n"
    "V1 a 0 1\r\n"
    "Rw1 a b\r\n"
    "* between\r\n"
    "+ {rw} $ comment\r\n"
    "\tRw2\tb\tgnd\t4.7k // end\r\n"
    "Rw3 b c 1e4OHM tc1=0\r\n"
    ".subckt cell p\r\nRw p 0 '20k'\r\n.ends\r\n"
    "X1 c cell\r\nX2 b cell\r\n"
    ".include 'deep/more.inc'\r\n"
)


def test_numbers_are_found_wherever_they_stand(tmp_path: Path):
    files: dict[str, str | bytes] = {"main.cir": STYLED, "deep/more.inc": "Rw9 c 0 1meg\nR8 c 0 5k\n"}
    design = read_netlist(write(tmp_path, files), trainable=["rw*"], bounds=(1e-7, 1e-3))
    assert [part.names for part in design.trainable] == [("rw1",), ("rw2",), ("rw3",), ("x1.rw", "x2.rw"), ("rw9",)]
    with pytest.raises(NetlistError, match=r"more.inc, line 1: the text of the netlist alone must hold all"):
        design.text({})
    written = design.save(
        tmp_path / "out" / "learnt.cir", {"rw1": 11e3, "rw2": 12e3, "rw3": 13e3, "x2.rw": 14e3, "rw9": 15e3}
    )
    assert [path.name for path in written] == ["learnt.cir", "more.inc"]
    expected = (
        STYLED.replace("10kOhm", "11000.0")
        .replace("4.7k", "12000.0")
        .replace("1e4OHM", "13000.0")
        .replace("20k", "14000.0")
    )
    assert (tmp_path / "out" / "learnt.cir").read_bytes() == expected.encode()
    assert (tmp_path / "out" / "deep" / "more.inc").read_text() == "Rw9 c 0 15000.0\nR8 c 0 5k\n"
    assert (tmp_path / "main.cir").read_bytes() == STYLED.encode()
    again = read_netlist(tmp_path / "out" / "learnt.cir", trainable=["rw*"], bounds=(1e-7, 1e-3))
    assert again.resistances({}) == pytest.approx(
        {"rw1": 11e3, "rw2": 12e3, "rw3": 13e3, "x1.rw": 14e3, "x2.rw": 14e3, "rw9": 15e3}
    )


def test_an_included_file_is_kept(tmp_path: Path):
    files: dict[str, str | bytes] = {"main.cir": "title\nV1 a 0 1\n.include more.inc\n", "more.inc": "Rw9 a 0 1meg\n"}
    design = read_netlist(write(tmp_path, files), trainable=["rw*"], bounds=(1e-7, 1e-3))
    with pytest.raises(NetlistError, match="an included file must be kept as it was read"):
        design.save(tmp_path / "learnt.cir", {"rw9": 15e3})
    assert (tmp_path / "more.inc").read_text() == "Rw9 a 0 1meg\n"
    assert not (tmp_path / "learnt.cir").exists()


def test_latin_1_and_shared_parameters(tmp_path: Path):
    text = "latin \xb5\nV1 a 0 1\n.param w=10k\nRw1 a b {w}\nRw2 b 0 {w} m=2\n* 5 \xb0C\n".encode("latin-1")
    path = write(tmp_path, {"main.cir": text})
    with pytest.raises(
        NetlistError, match="resistors that share a number must be equal, found rw1, rw2 with different"
    ):
        read_netlist(path, trainable=["rw*"], bounds=(1e-7, 1e-3))
    path.write_bytes(text.replace(b" m=2", b""))
    design = read_netlist(path, trainable=["rw*"], bounds=(1e-7, 1e-3))
    design.save(tmp_path / "learnt.cir", torch.tensor([1 / 20e3], dtype=torch.float64))
    assert (tmp_path / "learnt.cir").read_bytes() == text.replace(b" m=2", b"").replace(b"w=10k", b"w=20000.0")


def test_factors_are_taken_out_of_what_is_written(tmp_path: Path):
    text = "title\nV1 a 0 1\nRw1 a 0 10k m=2 tc1=1m\n.temp 127\n"
    design = read_netlist(write(tmp_path, {"main.cir": text}), trainable=["rw1"], bounds=(1e-7, 1e-3))
    assert design.trainable[0].siemens == pytest.approx(2 / 11e3, rel=1e-12)
    learnt = design.text({"rw1": 5.5e3 * 2})
    assert "Rw1 a 0 20000.0" in learnt.replace("20000.000000000004", "20000.0").replace("19999.999999999996", "20000.0")


def test_values_that_cannot_be_written_are_refused(tmp_path: Path):
    design = read_netlist(
        write(tmp_path, {"main.cir": STYLED.replace(".include 'deep/more.inc'\r\n", "")}),
        trainable=["rw*"],
        bounds=(1e-7, 1e-3),
    )
    for values, words in (
        ({"nope": 1.0}, "found 1 for 'nope'"),
        ({"rw1": -1.0}, "a positive resistance, found -1 for 'rw1'"),
        ({"x1.rw": 1e3, "x2.rw": 2e3}, "x1.rw, x2.rw share one number, found several"),
        (torch.ones(2), "must have shape \\(4,\\), found \\(2,\\)"),
    ):
        with pytest.raises(NetlistError, match=words):
            design.text(values)


def test_ranges_in_ohms_and_marks_as_commands(tmp_path: Path):
    text = "title\n*# train r2 1k 1meg ohm\n*# input v1\n*# output b a,b\nV1 a 0 1\nR1 a b 1k\nR2 b 0 2k\n"
    design = read_netlist(write(tmp_path, {"main.cir": text}))
    assert design.ranges["weights"] == pytest.approx((1e-6, 1e-3))
    assert design.outputs == (("b", "0"), ("a", "b"))
    assert sum("write *@" in note for note in design.notes) == 3
    assert design.network().sizes == (1, 2)


def test_what_is_missing_for_a_network_is_named(tmp_path: Path):
    path = write(tmp_path, {"main.cir": "title\nV1 a 0 1\nR1 a b 1k\nR2 b 0 2k\n"})
    with pytest.raises(NetlistError, match="a part must be trainable, found none; mark it"):
        read_netlist(path).network()
    with pytest.raises(NetlistError, match="a node must be an output, found none; mark it"):
        read_netlist(path, trainable=["r1"], bounds=(1e-6, 1e-2)).network()
    with pytest.raises(NetlistError, match="must have a range, found none; give bounds"):
        read_netlist(path, trainable=["r1"])
    with pytest.raises(NetlistError, match="bounds must be 0 < g_min < g_max"):
        read_netlist(path, trainable=["r1"], bounds=(1e-2, 1e-6))
