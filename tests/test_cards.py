"""Cards load by name and by path, in a spec and in a netlist, and say what is wrong with them."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from resistive import resistive_network

from analog_ep.cards import Card, Quantity, card_names, load_card
from analog_ep.devices import PiecewiseLinearDiode, ShockleyDiode
from analog_ep.errors import AnalogEPError, CardError, SpecError
from analog_ep.netlist.netlist import NetlistWriter, constant_drive
from analog_ep.spec import load_spec, parse_spec

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


DIODE = 'name = "a"\nkind = "diode"\nmodel = "shockley"\n[parameters]\n'


def diode_card(tmp_path: Path, parameters: str) -> Path:
    path = tmp_path / "card.toml"
    path.write_text(DIODE + parameters, encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("entry", "value"),
    [
        ('saturation_current = {value = 2.5, unit = "nA"}', 2.5e-9),
        ('saturation_current = {value = 2.5e-9, unit = "A"}', 2.5e-9),
        ("saturation_current = {value = 2.5e-9}", 2.5e-9),
        ('series_resistance = {value = 3, unit = "mΩ"}', 3e-3),
        ('series_resistance = {value = 3, unit = "kohm"}', 3e3),
        ('temperature = {value = 26.85, unit = "°C"}', 300.0),
        ('gmin = {value = 1, unit = "pS"}', 1e-12),
    ],
)
def test_a_unit_may_have_a_prefix(tmp_path: Path, entry: str, value: float):
    device = load_card(diode_card(tmp_path, entry)).diode()
    assert getattr(device, entry.split(" ")[0]) == pytest.approx(value, rel=1e-12)


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        ('series_resistance = {value = 5, unit = "mV"}', "series_resistance must be in ohm, .*, found the unit 'mV'"),
        ('saturation_current = {value = 5, unit = "nV"}', "saturation_current must be in A, .* found the unit 'nV'"),
        ('ideality = {value = 5, unit = "A"}', "ideality must be a plain number, found the unit 'A'"),
        ('energy_gap = {value = 5, unit = "1"}', "energy_gap must be in eV, .* found the unit '1'"),
        ("ideality = {value = true}", "ideality must be a number, found True"),
        ("ideality = {value = [1.0, 2.0]}", r"ideality must be a number, found \[1.0, 2.0\]"),
        (f"ideality = {{value = 1{'0' * 400}}}", "parameters.ideality.value must be a number or a list of them"),
        (f"ideality = {{value = 1{'0' * 5000}}}", "must be TOML in UTF-8, found: Exceeds the limit"),
        ("ideality = {value = nan}", "parameters.ideality.value must be a number or a list of them, found nan"),
        (f"ideality = {{value = {'[' * 1000}{']' * 1000}}}", "must be a card in TOML, found lists in one another by"),
        ("ideality = {value = 1, uncertainty = 'wide'}", "ideality.uncertainty must be a number of at least 0, found"),
        ("ideality = {value = 1, uncertainty = [1]}", "ideality.uncertainty must be a number of at least 0, found"),
        ("ideality = {value = 1, uncertainty = {a = 1}}", "ideality.uncertainty must be a number of at least 0, found"),
        ("ideality = {value = 1, uncertainty = -1}", "ideality.uncertainty must be a number of at least 0, found -1"),
        ("ideality = {value = 1, unit = 3}", "ideality.unit must be a string, found 3"),
        ("ideality = {value = 1}\n[validity]\nvoltage_V = 3", "validity.voltage_V must be two numbers, found 3"),
    ],
)
def test_values_units_and_uncertainties_that_no_parameter_has_are_refused(tmp_path: Path, entry: str, words: str):
    with pytest.raises(CardError, match=f"card.*{words}"):
        load_card(diode_card(tmp_path, entry)).diode()


def test_a_pipe_is_no_card(tmp_path: Path):
    os.mkfifo(tmp_path / "pipe.toml")
    with pytest.raises(CardError, match=r"pipe\.toml must be a readable file, found: no regular file"):
        load_card(tmp_path / "pipe.toml")


VALUES = st.sampled_from(
    ["nan", "inf", "-inf", "-1", "0", "1e400", "1" + "0" * 400, "9" * 5000, "true", '"x"', "[]", "[1]", "[[1, 2], [3]]",
     "{}", "{a = 1}", "[" * 1000 + "]" * 1000, "[" * 90 + "]" * 90, "1979-05-27", "0x10", "", '""', '"mV"', '"°C"']
)  # fmt: skip
CARDS = {name: load_card(name).to_toml() for name in card_names()}


@given(st.sampled_from(sorted(CARDS)), st.integers(0, 60), VALUES, st.booleans(), st.text(max_size=3))
@settings(
    max_examples=250, deadline=None, derandomize=True, database=None, phases=[Phase.explicit, Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)  # fmt: skip
def test_a_changed_card_is_a_device_or_refused_in_one_line(
    tmp_path: Path, name: str, at: int, value: str, drop: bool, text: str
):
    lines = CARDS[name].split("\n")
    at %= len(lines)
    lines[at] = text if drop else re.sub(r"= .*", lambda _: f"= {value}", lines[at]) + (text if at % 3 == 0 else "")
    path = tmp_path / "changed.toml"
    path.write_bytes("\n".join(lines).encode("utf-8", "surrogatepass"))
    try:
        card = load_card(path)
        build = {"diode": card.diode, "pulses": card.pulse_model, "memristor": card.memristor}
        build[card.kind]() if card.kind in build else card.values(card.kind)
        assert not card.to_toml().startswith("\n")
    except AnalogEPError:
        return


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
            'diode.ideality has a meaning only with model = "shockley", found 1 beside model = "card"; leave it out',
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


def test_a_junction_holds_where_its_gap_is_known():
    own = {"saturation_current": Quantity(1e-9), "temperature": Quantity(310.0), "nominal_temperature": Quantity(310.0)}
    assert Card("cold", "diode", "shockley", own).diode(310.0) == ShockleyDiode(
        1e-9, temperature=310.0, nominal_temperature=310.0
    )
    with pytest.raises(CardError, match="the card cold holds at its own temperature alone, found 320 K asked for"):
        Card("cold", "diode", "shockley", own).diode(320.0)
    known = {**own, "energy_gap": Quantity(0.69)}
    device = Card("known", "diode", "shockley", known, {"temperature_K": [310.0, 310.0]}).diode(320.0)
    assert isinstance(device, ShockleyDiode)
    assert (device.temperature, device.energy_gap) == (320.0, 0.69)
    measured = Card("seen", "diode", "shockley", known, {"temperature_K": [290.0, 330.0]})
    measured.diode(330.0)
    with pytest.raises(CardError, match="the card seen holds between 290 and 330 K, found 340 K asked for"):
        measured.diode(340.0)


def test_a_chip_at_a_temperature_of_which_its_card_knows_nothing_is_refused(tmp_path: Path):
    path = diode_card(tmp_path, "saturation_current = {value = 1e-9}")
    tables = {"network": NETWORK, "diode": {"card": str(path)}, "chip": {"temperature": 323.15}}
    with pytest.raises(SpecError, match=r"chip\.temperature must be one of the diode's: the card a holds at its own"):
        parse_spec(tables, "here")
    path = diode_card(tmp_path, "saturation_current = {value = 1e-9}\nenergy_gap = {value = 0.69}")
    parse_spec(tables, "here")
