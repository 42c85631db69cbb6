"""Diodes fitted to a designer's own subcircuit, and a network with them against ngspice with the subcircuit itself."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import torch

from analog_ep.calibration.solver import calibrate_device, fit_solver, read_device, sweep
from analog_ep.calibration.writing import card_of, write_card
from analog_ep.cards import load_card
from analog_ep.cli import main
from analog_ep.devices import Clamp, Diode, PiecewiseLinearDiode, ShockleyDiode
from analog_ep.equilibrium import Relaxation, solve
from analog_ep.errors import AnalogEPError, CardError, CircuitError, DataError, NgspiceError
from analog_ep.netlist.netlist import NetlistWriter, constant_drive
from analog_ep.networks import ResistiveNetwork
from analog_ep.ngspice.process import run_ngspice
from analog_ep.ngspice.sweep import Batch, Sweep

RESISTIVE = """* lead resistance inside
.subckt resistive anode cathode
r1 anode mid 12.5
d1 mid cathode inner
.model inner D(IS=3e-12 N=1.35 RS=2.0 EG=1.05 XTI=2.5)
.ends resistive
"""
TWO_JUNCTIONS = """.subckt twofold a k
d1 a k fast
d2 a m slow
r2 m k 2000
.model fast D(IS=1e-12 N=1.2)
.model slow D(IS=1e-8 N=2)
.ends
"""


def network(diode: Diode) -> ResistiveNetwork:
    clamp = Clamp.alternating(diode, 100, upper=0.0, lower=0.0)
    return ResistiveNetwork([64, 100, 10], diode=clamp, gain=4.0, seed=3, dtype=torch.float64)


def voltages_in_ngspice(text: str, name: str, celsius: float, inputs: torch.Tensor) -> np.ndarray:
    """Node voltages of the network in ngspice with an instance of the subcircuit in place of every diode."""
    twin = Sweep(network(ShockleyDiode()).circuit())
    batch = Batch(inputs.numpy())
    deck = twin.deck(batch, ["vidx idx 0 0.0", f".dc vidx 0 {len(batch) - 1} 1"])
    deck, count = re.subn(r"^d_(\S+) (\S+) (\S+) .*$", rf"x_\1 \2 \3 {name}", deck, flags=re.MULTILINE)
    assert count == 100
    deck = re.sub(r"^\.model .*$", text.strip(), deck, flags=re.MULTILINE)
    deck = deck.replace("TEMP=27.0 ", f"TEMP={celsius} ")
    return run_ngspice(deck, len(batch)).columns(twin.saved)


def largest_difference(path: Path, text: str, name: str, celsius: float) -> tuple[float, np.ndarray]:
    file = path / "device.lib"
    file.write_text(text)
    write_card(fit_solver(sweep(read_device(file), (-2.0, 1.0), celsius)), path / "fitted.toml", file)
    inputs = 5 * torch.rand(10, 64, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    inputs[5:] *= 0.1
    ours = network(load_card(path / "fitted.toml").diode())
    twin = Sweep(network(ShockleyDiode()).circuit())
    names = [name.removeprefix("v(").removesuffix(")") for name in twin.saved]
    state = solve(ours, inputs, solver=Relaxation())
    index = [ours.circuit().node_names.index(name) for name in names]
    theirs = voltages_in_ngspice(text, name, celsius, inputs)
    return float(np.abs(state.voltages[:, index].numpy() - theirs).max()), theirs


@pytest.mark.ngspice
@pytest.mark.parametrize(
    ("text", "name", "kind"),
    [(RESISTIVE, "resistive", ShockleyDiode), (TWO_JUNCTIONS, "twofold", PiecewiseLinearDiode)],
)
def test_a_network_with_the_fitted_card_agrees_with_ngspice_running_the_subcircuit(
    tmp_path: Path, text: str, name: str, kind: type[Diode]
):
    difference, voltages = largest_difference(tmp_path, text, name, 50.0)
    assert difference < 1e-4
    assert np.ptp(voltages) > 1.0
    assert isinstance(load_card(tmp_path / "fitted.toml").diode(), kind)


@pytest.mark.ngspice
def test_what_is_no_shockley_diode_becomes_piecewise_linear(tmp_path: Path):
    file = tmp_path / "device.lib"
    file.write_text(TWO_JUNCTIONS)
    table = sweep(read_device(file), (-1.0, 0.8))
    fit = fit_solver(table)
    device = card_of(fit, "twofold", "device.lib", "").diode()
    assert isinstance(device, PiecewiseLinearDiode)
    assert fit.adequacy.adequate
    assert "piecewise is adequate: within" in fit.sentence()
    # Between the points of that sweep, beside 1 µS.
    fine = sweep(read_device(file), (-0.9971, 0.7983), points=777)
    error = np.abs(device.current(torch.from_numpy(fine["voltage"])).numpy() - fine["current"])
    assert (error / (np.gradient(fine["current"], fine["voltage"]) + 1e-6)).max() < 1e-4


@pytest.mark.ngspice
def test_a_model_card_alone_is_a_device(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    file = tmp_path / "card.lib"
    file.write_text(".model mine D(IS=2e-9\n+ N=1.8 RS=0.5)\n")
    with pytest.raises(SystemExit) as ended:
        main(["calibrate", "solver", str(file), "-o", str(tmp_path / "mine.toml")])
    assert ended.value.code == 0
    assert "shockley is adequate: within" in capsys.readouterr().out
    device = load_card(tmp_path / "mine.toml").diode()
    assert isinstance(device, ShockleyDiode)
    assert device.saturation_current == pytest.approx(2e-9, rel=1e-6)
    assert device.series_resistance == pytest.approx(0.5, rel=1e-4)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (".include /etc/passwd\n", r"line 1: a device file may hold .model, .* found '.include /etc/passwd'"),
        (".control\nshell touch pwned\n.endc\n", "line 1: a device file may hold .*'.control'"),
        ("r1 a 0 1\n.model m D()\n", "line 1: a device file may hold .*'r1 a 0 1'"),
        (".model m D()\n.dc v1 0 1 1\n", "line 2: a device file may hold"),
        (".subckt s a b\nr1 a b 1\n", "every .subckt must have its .ends, found 1 without"),
        (".model m NPN()\n", "must define a .model NAME D.* or a .subckt NAME ANODE CATHODE, found neither"),
        (".subckt s a b c\nr1 a b 1\n.ends\n", "must define a .model NAME D"),
        (".model m D(IS=1e-9)\n.model é D()\n", "must be a netlist in plain ASCII"),
    ],
)
def test_files_that_could_do_anything_else_are_refused(tmp_path: Path, text: str, words: str):
    file = tmp_path / "bad.lib"
    file.write_text(text, encoding="utf-8")
    with pytest.raises((DataError, CircuitError), match=words):
        read_device(file)
    with pytest.raises(SystemExit, match=words):
        main(["calibrate", "solver", str(file), "-o", str(tmp_path / "card.toml")])
    assert [path.name for path in tmp_path.iterdir()] == ["bad.lib"]


@pytest.mark.ngspice
@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("b1 a b i=v(a,b)*shell('x')`id`", "a deck may hold elements"),
        ("v1 a m 0.1\nr1 m b 1", "must carry no current at 0 V, found"),
        ("b1 a b i=sin(10*v(a,b))", "must not fall with the voltage, found that it does near"),
        ("a1 a b thing", "a deck may hold elements"),
    ],
)
def test_devices_that_no_diode_stands_for_are_refused(tmp_path: Path, body: str, words: str):
    file = tmp_path / "bad.lib"
    file.write_text(f".subckt s a b\n{body}\n.ends\n")
    with pytest.raises(AnalogEPError, match=words):
        sweep(read_device(file), (-1.0, 1.0))


CASES = {
    # A diode as LTspice's libraries have it, with the maker's ratings.
    "ltspice": "* small-signal diode\n.model D1 D(Is=2.52n Rs=.568 N=1.752 Cjo=4p\n"
    "+ M=.4 Iave=200m Vpk=75 mfg=Acme type=silicon)\n",
    "byte order mark": "\ufeff.model D1 D(Is=2.52n Rs=.568 N=1.752)\n",
    "comment in another coding": "* trr = 3µs, Ω, 25°C\n.MODEL D1 D ( IS=2.52n RS=568m N=1.752 )\n",
    "micro": ".MODEL D1 D ( IS=2.52e-3µ RS=568m N=1.752 )\n",
    "comments behind": ".MODEL D1 D ( IS=2.52nA ; typical\n* or so\n\n+ RS=568m $ ohm\n+\tN = 1.752) // end\n.end\n",
    "quoted": ".param one = 1.752\n.model D1 D(IS={2.52*1n} N='one' RS=568m)\n",
    "upper case": ".SUBCKT D1 A K PARAMS: R=568m\nD1 A K DX\n.MODEL DX D IS=2.52N N=1.752 RS={R}\n.ENDS*\n",
    "a kind of": ".model base D(IS=2.52n N=1 RS=568m)\n.model D1 AKO: base D(N=1.752)\n",
    "lead inductance": ".subckt D1 a k\nl1 a m 2n\nd1 m k dx\n.model dx D(IS=2.52n RS=.568 N=1.752)\n.ends\n",
    "TNOM": ".model D1 D(Is=2.52n Rs=.568 N=1.752 TNOM=27 EG=1.11 XTI=3)\n",
}  # fmt: skip


@pytest.mark.ngspice
@pytest.mark.parametrize(("name", "coding"), [*((name, "utf-8") for name in CASES), ("ltspice", "utf-16"),
                                              ("comments behind", "utf-16-le"), ("micro", "latin-1")])  # fmt: skip
def test_files_of_vendors_are_read_as_ngspice_reads_them(tmp_path: Path, name: str, coding: str):
    file = tmp_path / "vendor.lib"
    file.write_bytes(CASES[name].replace("Ω, ", "" if coding == "latin-1" else "Ω, ").encode(coding))
    fit = fit_solver(sweep(read_device(file), (-1.0, 1.0), points=301))
    assert fit.values["saturation_current"] == pytest.approx(2.52e-9, rel=1e-5)
    assert fit.values["ideality"] == pytest.approx(1.752, rel=1e-6)
    assert fit.values["series_resistance"] == pytest.approx(0.568, rel=1e-4)


BAS116H = ".MODEL LOWLEAKH D\n+ IS=805.84E-18\n+ N=1.0246\n+ RS=50.000E-3\n.ENDS\n"
TWO_PARTS = ".model GOODX D(IS=10.4n)\n.include evil\n.SUBCKT OTHER 1 2\nD1 1 2 DO\n.MODEL DO D(IS=1n)\n.ENDS*\n"


def test_what_has_nothing_to_do_with_a_name_is_passed_over(tmp_path: Path):
    file = tmp_path / "library.lib"
    file.write_text(BAS116H)
    with pytest.raises(DataError, match=r"library.lib, line 5: .ends must stand behind a .subckt, found it alone"):
        read_device(file)
    assert read_device(file, "LowLeakH").text == ".MODEL LOWLEAKH D IS=805.84E-18 N=1.0246 RS=50.000E-3"
    file.write_text(TWO_PARTS)
    with pytest.raises(CircuitError, match=r"library\.lib, line 2: a device file may hold"):
        read_device(file)
    assert read_device(file, "goodx").text == ".model GOODX D(IS=10.4n)"
    assert read_device(file, "other").text.endswith("\n.ends")


def test_a_model_that_is_a_kind_of_another_is_what_that_one_is(tmp_path: Path):
    file = tmp_path / "library.lib"
    file.write_text(
        ".model base D(IS=2n)\n.model likeit AKO:base (N=1.7)\n.model q NPN(IS=1f)\n"
        ".model likeq AKO:q (BF=10)\n.model last D(IS=3n)\n"
    )
    assert read_device(file, "likeit").text.splitlines()[-1] == ".model likeit d(is=2n n=1.7)"
    with pytest.raises(DataError, match=r"library\.lib defines base, likeit, last, found 'likeq' asked for"):
        read_device(file, "likeq")
    file.write_text(".model base D(IS=2n)\n.model likeit AKO:base (N=1.7)\n.model q NPN(IS=1f)\n")
    assert read_device(file).name == "likeit"


@pytest.mark.ngspice
@pytest.mark.parametrize(
    ("text", "words"),
    [
        (".model m D(IS=1n\n* odd\n+ nosuch=3)\n", "bad.lib, line 3: parameters must be ones .*, found 'nosuch'"),
        (".subckt s a k\nx1 a k part\n.ends\n", "bad.lib, line 2: 'part' must be a .subckt of this file"),
        (".subckt s a k\nd1 a k part\n.ends\n", "bad.lib: ngspice must be able to use s, found:"),
        (".subckt s a k\nr1 a 0 1k\n.ends\n", "s must have its current from pin to pin, .* a path to ground"),
        (".subckt s a k\nr1 k 0 1k\nd1 a k dd\n.model dd D()\n.ends\n", "s must have its current from pin to pin"),
        (".subckt s a k\n.ends\n", "s must carry a current, .* nothing conducts between its pins"),
        (".subckt s a k\nc1 a k 1n\n.ends\n", "s must carry a current, .* nothing conducts between its pins"),
        (".model m ako:m D()\n", "line 1: the model m must be a kind of another, found 'm', itself"),
        (
            ".model m ako:x D()\n",
            "line 1: the model m must be a kind of another, found 'x', one that the file does not",
        ),
        (".model m D()\n.model m D(IS=1n)\n", "line 2: a .model must stand once, found 'm' in line 1 too"),
        ("+ IS=1n\n.model m D()\n", r"line 1: a \+ must continue a card above it, found none"),
        (".model m D(IS=\n+ é)\n", "line 2: must be a netlist in plain ASCII but for its comments, found 'é'"),
        (f".model m D({'a' * 200000})\n", "line 1: a card must be of at most 20000 characters, found 200012"),
        (f".subckt m a k {'=' * 200000}\nr1 a k 1\n.ends\n", "line 1: a card must be of at most|found neither"),
        (".subckt s a k\nx1 a k s\n.ends\n", "line 2: a subcircuit must not call itself, found that 's' does"),
        (".func f(x)={f(x)}\n.subckt s a k\nb1 a k i=f(v(a,k))\n.ends\n", "line 1: a function must not call itself"),
    ],
)
def test_the_line_of_the_file_at_fault_is_named(tmp_path: Path, text: str, words: str):
    file = tmp_path / "bad.lib"
    file.write_text(text)
    with pytest.raises(AnalogEPError, match=words):
        sweep(read_device(file), (-1.0, 1.0), points=101)


TOWER = ".func f0(x)={x+x}\n" + "".join(f".func f{k}(x)={{f{k - 1}(x)+f{k - 1}(x)}}\n" for k in range(1, 28))
TEN = ["x{0} a k s{1}\n".replace("{0}", str(j)) for j in range(10)]


@pytest.mark.parametrize(
    "text",
    [
        TOWER + ".subckt s a k\nb1 a k i=f27(v(a,k))\n.ends\n",
        f".func f(x)={{x+x}}\n.subckt s a k\nb1 a k i={'f(' * 40}v(a,k){')' * 40}\n.ends\n",
        ".subckt s0 a k\nr1 a k 1\n.ends\n"
        + "".join(f".subckt s{k} a k\n{''.join(TEN).replace('{1}', str(k - 1))}.ends\n" for k in range(1, 9)),
        "".join(f".subckt s{k} a k\n" for k in range(8, 0, -1))
        + "r1 a k 1\n"
        + "".join(f".ends\n{''.join(TEN).replace('{1}', str(k))}" for k in range(1, 8))
        + ".ends\n",
    ],
)
def test_what_would_become_huge_is_refused_before_ngspice_sees_it(tmp_path: Path, text: str):
    file = tmp_path / "bomb.lib"
    file.write_text(text)
    with pytest.raises(CircuitError, match=r"bomb.lib, line \d+: a device, .* must be of at most \d+ "):
        read_device(file)


@pytest.mark.ngspice
def test_memory_of_ngspice_is_limited():
    deck = "* t\nv1 a 0 1\nr1 a 0 1\n.dc v1 0 1 1\n.end\n"
    run_ngspice(deck, 2, memory_limit=2 << 30)
    with pytest.raises(NgspiceError):
        run_ngspice(deck, 2, memory_limit=5 << 20)


SCHOTTKY = ".model SCHOT D(Is=1.042e-8 N=1.029 RS=5.567 EG=0.69 XTI=2)\n"


def card_at(tmp_path: Path, text: str, kelvin: float) -> ShockleyDiode:
    file = tmp_path / "vendor.lib"
    file.write_text(text)
    write_card(calibrate_device(read_device(file)), tmp_path / "card.toml", file)
    device = load_card(tmp_path / "card.toml").diode(kelvin)
    assert isinstance(device, ShockleyDiode)
    return device


@pytest.mark.ngspice
@pytest.mark.parametrize("text", [SCHOTTKY, SCHOTTKY.replace(")", " TNOM=50)"), RESISTIVE.replace("3e-12", "3e-9")])
def test_a_card_follows_its_model_to_another_temperature(tmp_path: Path, text: str):
    device = card_at(tmp_path, text, 323.15)
    file = read_device(tmp_path / "vendor.lib")
    deck = f"* t\n.options temp=50 tnom=27 reltol=1e-9\n{file.text}\nva a 0 0\n{file.instance('x', 'a', '0')}\n"
    theirs = -run_ngspice(deck + ".dc va 0.1 0.31 0.1\n.save i(va)\n.end\n", 3).columns(["i(va)"])[:, 0]
    if text == SCHOTTKY:
        assert theirs[1] == pytest.approx(8.05e-5, rel=1e-3)
    voltage = torch.tensor([0.1, 0.2, 0.3], dtype=torch.float64)
    np.testing.assert_allclose(device.current(voltage).numpy(), theirs, rtol=1e-5)
    # What is exported has the same law.
    circuit = network(device).circuit()
    (model,) = NetlistWriter(circuit, constant_drive(np.zeros(64))).model_cards()
    name = model.split()[1]
    elements = f"va a 0 0\nrs a b {device.series_resistance}\nd1 b 0 {name}\n"
    deck = f"* t\n.options temp=50 tnom=27 reltol=1e-9\n{model}\n{elements}"
    exported = -run_ngspice(deck + ".dc va 0.1 0.31 0.1\n.save i(va)\n.end\n", 3).columns(["i(va)"])[:, 0]
    np.testing.assert_allclose(exported, theirs, rtol=1e-5)


@pytest.mark.ngspice
def test_a_card_refuses_temperatures_that_other_parameters_shape(tmp_path: Path):
    with pytest.raises(CardError, match=r"holds at its own temperature alone, found 323\.15 K asked for"):
        card_at(tmp_path, ".model m D(IS=1n N=2 RS=100 TRS=5e-3)\n", 323.15)
    with pytest.raises(CardError, match=r"holds between 233.15 and 398.15 K, found 420 K asked for"):
        card_at(tmp_path, SCHOTTKY, 420.0)


@pytest.mark.ngspice
@pytest.mark.parametrize("text", [".model BBB D(Is=1n N=2)\n", ".model D D\n", ".model D D(RS=100u)\n"])
def test_a_resistance_that_is_not_there_is_0(tmp_path: Path, text: str):
    device = card_at(tmp_path, text, 300.15)
    assert device.series_resistance == 0
    assert not device.has_series_resistance


@pytest.mark.ngspice
def test_the_card_says_where_a_breakdown_begins(tmp_path: Path):
    file = tmp_path / "zener.lib"
    file.write_text(".model z D(IS=1n N=2 RS=1 BV=17 IBV=1m)\n")
    fit = calibrate_device(read_device(file))
    assert -17 < fit.validity["voltage_V"][0] < -14
    assert any("the device leaves the card, as in a breakdown" in note for note in fit.notes)
    # Within the sweep it is part of the card.
    fit = fit_solver(sweep(read_device(file), (-18.0, 1.0)))
    assert fit.model == "piecewise"
    assert {entry.uncertainty for entry in fit.constants.values()} == {0.0}


def test_one_of_several_devices_is_chosen_by_name(tmp_path: Path):
    file = tmp_path / "two.lib"
    file.write_text(".model one D(IS=1e-9)\n.model two D(IS=2e-9)\n")
    assert read_device(file).name == "two"
    assert read_device(file, "ONE").name == "one"
    with pytest.raises(DataError, match="defines one, two, found 'three' asked for"):
        read_device(file, "three")
    with pytest.raises(DataError, match="the swept voltages must span 0, found 1 to 2 V"):
        sweep(read_device(file), (1.0, 2.0))
