"""Cards load by name and by path, in a spec and in a netlist, and say what is wrong with them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from resistive import resistive_network

from analog_ep.cards import Card, Quantity, card_names, load_card
from analog_ep.devices import PiecewiseLinearDiode, ShockleyDiode
from analog_ep.errors import CardError, SpecError
from analog_ep.spec import load_spec, parse_spec
from analog_ep.spice.netlist import NetlistWriter, constant_drive

NETWORK = {"sizes": [4, 3, 2]}


def test_every_shipped_card_loads_and_names_its_source():
    assert {"nxp_1n4148", "nxp_prll5819"} <= set(card_names())
    for name in card_names():
        card = load_card(name)
        assert card.name == name
        assert card.source["description"]
        build = {"diode": card.diode, "pulses": card.pulse_model}
        assert build[card.kind]() if card.kind in build else card.values(card.kind)


def test_a_card_survives_its_file(tmp_path: Path):
    card = load_card("nxp_1n4148")
    path = tmp_path / "copy.toml"
    path.write_text(card.to_toml(), encoding="utf-8")
    assert load_card(path) == card


@pytest.mark.parametrize("by_path", [False, True])
def test_a_spec_names_a_card_and_the_netlist_has_its_model(tmp_path: Path, by_path: bool):
    path = tmp_path / "mine.toml"
    path.write_text(load_card("nxp_1n4148").to_toml(), encoding="utf-8")
    spec = tmp_path / "spec.toml"
    card = str(path) if by_path else "nxp_1n4148"
    spec.write_text(f'[network]\nsizes = [4, 3, 2]\n[diode]\ncard = "{card}"\ntemperature = 323.15\n')
    network = resistive_network(load_spec(spec))
    device = network.clamps[0].diode
    assert isinstance(device, ShockleyDiode)
    assert device.temperature == 323.15
    writer = NetlistWriter(network.circuit(), constant_drive(np.zeros(4)))
    (model,) = writer.model_cards()
    assert f"IS={device.saturation_current!r} N={device.ideality!r}" in model
    cards = list(writer.element_cards())
    assert "TEMP=50.0 TNOM=27.0" in writer.options_card()
    assert any(
        line.endswith(f" {device.series_resistance!r}") for line in cards if line.startswith("r_clamp1_upper_rs")
    )


def test_the_run_keeps_the_card_in_its_spec():
    spec = parse_spec({"network": NETWORK, "diode": {"card": "nxp_1n4148"}}, "here")
    assert 'card = "nxp_1n4148"' in spec.to_toml()
    assert parse_spec(spec.to_dict(), "again") == spec


@pytest.mark.parametrize(
    ("tables", "words"),
    [
        (
            {"diode": {"card": "zener"}},
            r"diode.card: a card must be one of .* or the path of a .toml file, found 'zener'",
        ),
        ({"diode": {"card": "no/such.toml"}}, r"diode.card: the card no/such.toml must be a readable file"),
        ({"diode": {"card": 3}}, "diode.card must be a string, found 3"),
        (
            {"diode": {"card": "nxp_1n4148", "ideality": 1}},
            "diode.ideality is not a known key; known are .*temperature",
        ),
        (
            {"update": {"device": "flash"}},
            "update.device must be one of .*, a card .* or the path of one, found 'flash'",
        ),
        (
            {"update": {"device": "nxp_1n4148"}},
            r"update.device: the card nxp_1n4148 is of kind diode \(shockley\), where pulses was asked for",
        ),
    ],
)
def test_a_spec_with_a_wrong_card_is_refused(tables: dict[str, Any], words: str):
    with pytest.raises(SpecError, match=words):
        parse_spec({"network": NETWORK, **tables}, "spec.toml")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("name = 3\n", "name must be a string, found 3"),
        ('name = "a"\nkind = "valve"\nmodel = "b"\n', "kind must be one of diode, pulses, .*, found 'valve'"),
        ('name = "a"\nkind = "diode"\nmodel = "b"\n', "model must be one of shockley, piecewise, found 'b'"),
        ('name = "A b"\nkind = "diode"\nmodel = "shockley"\n', "name must be lower-case letters.*found 'A b'; rename"),
        (
            'name = "a"\nkind = "diode"\nmodel = "shockley"\n[odd]\n',
            "a card has the tables parameters, .*, found 'odd'",
        ),
        (
            'name = "a"\nkind = "diode"\nmodel = "shockley"\n[parameters]\nideality = 1.0\n',
            "parameters.ideality must have value, unit and perhaps uncertainty, found 1.0",
        ),
        (
            'name = "a"\nkind = "diode"\nmodel = "shockley"\n[parameters.ideality]\nvalue = "one"\n',
            "parameters.ideality.value must be a number or a list of them, found 'one'",
        ),
        ("name = \n", "must be TOML in UTF-8"),
    ],
)
def test_a_broken_card_is_refused(tmp_path: Path, text: str, words: str):
    path = tmp_path / "card.toml"
    path.write_text(text)
    with pytest.raises(CardError, match=words):
        load_card(path)


def test_parameters_that_no_device_has_are_refused():
    card = Card("odd", "diode", "shockley", {"breakdown": Quantity(3.0)})
    with pytest.raises(CardError, match=r"the card odd: .*breakdown"):
        card.diode()
    with pytest.raises(CardError, match="the card odd: ShockleyDiode: ideality must be positive, found -1"):
        Card("odd", "diode", "shockley", {"ideality": Quantity(-1.0)}).diode()


def test_a_piecewise_card_holds_at_its_own_temperature():
    parameters = {"thresholds": Quantity([0.3]), "increments": Quantity([1e-3]), "leakage": Quantity(1e-9)}
    card = Card("bent", "diode", "piecewise", parameters)
    assert card.diode() == PiecewiseLinearDiode((0.3,), (1e-3,), leakage=1e-9)
    with pytest.raises(CardError, match="the card bent holds at its own temperature alone, found 350 K asked for"):
        card.diode(350.0)
