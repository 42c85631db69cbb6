"""Amplifier cards in specs: gain of a network, gains and offsets of a chip, and what the netlist makes of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from analog_ep.calibration import Table, fit_amplifier, write_card
from analog_ep.cards import Card, Quantity
from analog_ep.cli import main
from analog_ep.equilibrium import Newton, Ngspice, solve
from analog_ep.errors import CardError, SpecError
from analog_ep.netlist.netlist import NetlistWriter, constant_drive
from analog_ep.runs.building import build_resistive
from analog_ep.runs.chips import build_chip
from analog_ep.spec import parse_spec

GAIN, OFFSET = 3.875, 2.5e-3
NETWORK: dict[str, Any] = {"sizes": [4, 5, 3, 2]}


@pytest.fixture
def card(tmp_path: Path) -> str:
    path = tmp_path / "opamp.toml"
    path.write_text(opamp().to_toml(), encoding="utf-8")
    return str(path)


def opamp(model: str = "linear", **changed: float) -> Card:
    values = {"gain": GAIN, "offset": OFFSET} | changed
    return Card("opamp", "amplifier", model, {name: Quantity(value) for name, value in values.items()})


def test_a_network_takes_its_gain_from_a_card_and_so_does_the_netlist(card: str):
    spec = parse_spec({"network": {**NETWORK, "amplifier": card}}, "here")
    network = build_resistive(spec, torch.float64)
    assert network.gain == GAIN
    assert network.feedback == 1 / GAIN
    assert parse_spec(spec.to_dict(), "again") == spec
    cards = list(NetlistWriter(network.circuit(), constant_drive(np.zeros(4))).element_cards())
    sources = [line for line in cards if line.startswith("e_amplifier1")]
    assert len(sources) == 10
    assert all(abs(float(line.split()[-1])) == GAIN for line in sources)


def test_a_chip_takes_gain_and_offset_from_a_card_and_draws_on_top(card: str):
    tables = {"network": NETWORK, "chip": {"amplifier": card, "amplifier_offset": 1e-3, "gain_spread": 0.01, "seed": 3}}
    spec = parse_spec(tables, "here")
    network = build_resistive(spec, torch.float64)
    chip = build_chip(spec, network)
    drawn = build_chip(parse_spec({**tables, "chip": {**tables["chip"], "amplifier": None}}, "here"), network)
    assert chip is not None
    assert drawn is not None
    for label in ("amplifier1", "amplifier2"):
        np.testing.assert_allclose(chip.values[f"{label}.offset"], OFFSET + drawn.values[f"{label}.offset"], rtol=1e-12)
        np.testing.assert_allclose(chip.values[f"{label}.gain"], GAIN * drawn.factors[f"{label}.gain"], rtol=1e-12)


@pytest.mark.ngspice
def test_ngspice_and_newton_agree_on_the_chip_of_a_card(card: str):
    spec = parse_spec({"network": NETWORK, "chip": {"amplifier": card}}, "here")
    network = build_resistive(spec, torch.float64)
    chip = build_chip(spec, network)
    inputs = torch.tensor([[0.3, -0.8, 0.5, 0.1]], dtype=torch.float64)
    theirs, ours = (solve(network, inputs, solver=solver, chip=chip).outputs for solver in (Ngspice(), Newton()))
    plain = solve(network, inputs, solver=Newton()).outputs
    torch.testing.assert_close(theirs, ours, rtol=0, atol=1e-8)
    assert (ours - plain).abs().max() > 1e-4


def test_the_card_of_a_measured_curve_is_one_that_a_spec_takes(tmp_path: Path):
    x = np.linspace(-0.5, 0.5, 40)
    y = GAIN * (x + OFFSET) + 1e-3 * np.random.default_rng(0).standard_normal(40)
    write_card(fit_amplifier(Table("curve.csv", {"input": x, "output": y})), tmp_path / "mine.toml", Path("curve.csv"))
    spec = parse_spec({"network": {**NETWORK, "amplifier": str(tmp_path / "mine.toml")}}, "here")
    assert build_resistive(spec).gain == pytest.approx(GAIN, rel=1e-2)


@pytest.mark.parametrize("table", ["network", "chip"])
@pytest.mark.parametrize(
    ("found", "words"),
    [
        ("741", r"amplifier: a card must be one of .* or the path of a .toml file, found '741'"),
        ("no/such.toml", "amplifier: the card no/such.toml must be a readable file"),
        ("nxp_1n4148", r"amplifier: the card nxp_1n4148 is of kind diode \(shockley\), where amplifier was asked for"),
        (3, "amplifier must be a string, found 3"),
    ],
)
def test_a_spec_with_a_wrong_card_is_refused(tmp_path: Path, table: str, found: Any, words: str):
    tables: dict[str, Any] = {"network": dict(NETWORK)}
    tables[table] = {**tables.get(table, {}), "amplifier": found}
    with pytest.raises(SpecError, match=rf"^here: {table}\.{words}"):
        parse_spec(tables, "here")
    spec = tmp_path / "spec.toml"
    sizes = f"sizes = {NETWORK['sizes']}\n"
    line = f"amplifier = {found!r}\n"
    spec.write_text(f"[network]\n{sizes}{line if table == 'network' else ''}[chip]\n{line if table == 'chip' else ''}")
    with pytest.raises(SystemExit, match=rf"{table}\.{words}"):
        main(["train", str(spec), "--out", str(tmp_path / "run")])
    assert not (tmp_path / "run").exists()


def test_another_gain_beside_the_card_is_refused(card: str):
    with pytest.raises(
        SpecError, match=r"network\.gain must be left out beside amplifier, whose card has 3.875, found 4"
    ):
        parse_spec({"network": {**NETWORK, "amplifier": card, "gain": 4.0}}, "here")


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (opamp("rails", low=-1.0, high=1.2), "must be linear, found rails at -1.0 and 1.2 V; calibrate the part"),
        (opamp(gain=-10.0), "gain must be positive, found -10"),
        (opamp(bandwidth=1e6), "must have gain and offset alone, found bandwidth amiss"),
    ],
)
def test_amplifiers_that_no_network_has_are_refused(wrong: Card, words: str):
    with pytest.raises(CardError, match=f"the card opamp: .*{words}"):
        wrong.amplifier()


def test_a_network_without_amplifiers_takes_none(card: str):
    spec = parse_spec({"network": {"sizes": [4, 2]}, "chip": {"amplifier": card}}, "here")
    with pytest.raises(SpecError, match=r"chip\.amplifier must act on amplifiers, found a network without any"):
        build_chip(spec, build_resistive(spec))
