"""Diodes fitted to a designer's own subcircuit, and a network with them against ngspice with the subcircuit itself."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import torch

from analog_ep.calibration.solver import fit_solver, read_device, sweep
from analog_ep.calibration.writing import card_of, write_card
from analog_ep.cards import load_card
from analog_ep.cli import main
from analog_ep.devices import Diode, DiodeClamp, PiecewiseLinearDiode, ShockleyDiode
from analog_ep.equilibrium import Relaxation, solve
from analog_ep.errors import AnalogEPError, CircuitError, DataError
from analog_ep.networks import ResistiveNetwork
from analog_ep.spice.process import run_ngspice
from analog_ep.spice.sweep import Batch, Sweep

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
    clamp = DiodeClamp.alternating(diode, 100, upper=0.0, lower=0.0)
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


def test_one_of_several_devices_is_chosen_by_name(tmp_path: Path):
    file = tmp_path / "two.lib"
    file.write_text(".model one D(IS=1e-9)\n.model two D(IS=2e-9)\n")
    assert read_device(file).name == "two"
    assert read_device(file, "ONE").name == "one"
    with pytest.raises(DataError, match="defines one, two, found 'three' asked for"):
        read_device(file, "three")
    with pytest.raises(DataError, match="the swept voltages must span 0, found 1 to 2 V"):
        sweep(read_device(file), (1.0, 2.0))
