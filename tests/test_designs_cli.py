"""The commands on a designer's netlist: train, check, export."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from analog_ep.cli import app, main
from analog_ep.designs import read_netlist
from analog_ep.designs.checking import check_design, own_deck
from analog_ep.designs.run import DesignRun, require_new, trained_design
from analog_ep.designs.spec import load_design_spec, parse_design_spec
from analog_ep.errors import CheckpointError, DataError, NetlistError, SpecError
from tests.design_decks import DECKS
from tests.learning_decks import xor_deck
from tests.read_by_ngspice import plain_voltages
from tests.test_designs import write

pytestmark = pytest.mark.ngspice

DECK = """my sum
*@ train rw* 1e-6 1e-2
*@ input v1 v2
*@ output out
V1 a 0 1
V2 b 0 1
Rw1 a out 10k
Rw2 b out 10k ; keep me
Rw3 out 0 10k
.op
.end
"""
ROWS = [(a, b) for a in (0.0, 1.0, 2.0) for b in (0.0, 0.5, -1.0)]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with a netlist and a table."""
    monkeypatch.chdir(tmp_path)
    Path("mine.cir").write_text(DECK)
    lines = [f"{a},{1e3 * b},{0.3 * a + 0.5 * b}" for a, b in ROWS]
    Path("table.csv").write_text("a [V],b [mV],y [V]\n" + "\n".join(lines) + "\n")
    return tmp_path


def run(*arguments: str):
    """Run a command."""
    return CliRunner().invoke(app, arguments)


def test_a_netlist_is_trained_checked_and_exported(folder: Path):
    options = [
        "--data",
        "table.csv",
        "--inputs",
        "a,b",
        "--outputs",
        "y",
        "--epochs",
        "100",
        "--learning-rate",
        "0.003",
    ]
    done = run("train", "mine.cir", *options, "--out", "RUN")
    assert done.exit_code == 0, done.output
    assert "your netlist with what it learnt: RUN/mine.cir" in done.output.replace("\n", " ")
    learnt = Path("RUN/mine.cir").read_text()
    assert [line for line in learnt.split("\n") if not line.startswith("Rw")] == [
        line for line in DECK.split("\n") if not line.startswith("Rw")
    ]
    theirs = plain_voltages({"main.cir": learnt})
    assert theirs is not None
    assert theirs["out"] == pytest.approx(0.8, abs=1e-3)
    assert Path("RUN/design/mine.cir").read_text() == DECK
    assert len(Path("RUN/metrics.csv").read_text().splitlines()) == 101

    checked = run("check", "RUN")
    assert checked.exit_code == 0
    assert checked.output.count("agrees, 3 nodes") == 2
    exported = run("export", "RUN", "-o", "new.cir")
    assert exported.exit_code == 0
    assert Path("new.cir").read_text() == learnt
    with pytest.raises(SystemExit, match="the run folder RUN must be new, found it there"):
        main(["train", "mine.cir", *options, "--out", "RUN"])


def test_columns_name_sources_and_nodes_where_nothing_is_marked(folder: Path):
    Path("plain.cir").write_text("\n".join(line for line in DECK.split("\n") if not line.startswith("*@")))
    Path("named.csv").write_text("v1 [V],v2 [V],out [V]\n1,0,0.3\n0,1,0.5\n")
    options = ["--data", "named.csv", "--inputs", "v1,v2", "--outputs", "out", "--trainable", "rw*", "--epochs", "3"]
    assert run("train", "plain.cir", *options, "--bounds", "1e-6,1e-2", "--out", "RUN").exit_code == 0
    assert load_design_spec(Path("RUN/spec.toml")).network.inputs == ["v1", "v2"]


def test_classes_are_trained_from_a_spec(folder: Path):
    Path("xor.cir").write_text(xor_deck().replace("*@ output out+ out-", "*@ output out+,out- out-,out+"))
    rows = "\n".join(f"{a},{-a},{b},{-b},{int(a * b < 0)}" for a in (-1, 1) for b in (-1, 1))
    Path("xor.csv").write_text(f"a [V],an [V],b [V],bn [V],c\n{rows}\n")
    Path("spec.toml").write_text(
        '[network]\nkind = "circuit"\nnetlist = "xor.cir"\n'
        '[data]\ntable = "xor.csv"\ninputs = ["a", "an", "b", "bn"]\nlabels = "c"\n'
        '[cost]\nfunction = "cross_entropy"\nlogit_scale = 0.05\n'
        '[gradient]\nmethod = "small_signal"\n[training]\nepochs = 40\nlearning_rate = 0.03\n'
    )
    done = run("train", "spec.toml", "--out", "RUN")
    assert done.exit_code == 0, done.output
    assert "accuracy 100.00% on the table" in done.output
    _, ohms = trained_design(Path("RUN"))
    assert len(ohms) == 32
    assert read_netlist("RUN/xor.cir").resistances({}) == pytest.approx(ohms)


def test_check_compares_a_netlist_as_it_was_written(folder: Path):
    done = run("check", "mine.cir")
    assert done.exit_code == 0
    assert "your netlist: agrees, 3 nodes" in done.output


def test_check_says_what_cannot_be_compared(folder: Path):
    Path("vendor.cir").write_text("t\nV1 a 0 1\nR1 a b 1k\nD1 b 0 DV\n.model DV D(IS=1n mfg=Acme Iave=2)\n")
    done = run("check", "vendor.cir")
    assert done.exit_code == 1
    assert "your netlist: not compared, ngspice must" in done.output
    assert "written of the circuit: agrees" in done.output
    assert "mfg, Iave, without effect at rest" in done.output


@pytest.mark.parametrize("name", ["nested cells", "recombination and knee", "includes", "warm junctions", "style"])
def test_the_netlist_written_of_a_circuit_agrees_too(name: str, tmp_path: Path):
    own, rewritten = check_design(read_netlist(write(tmp_path, DECKS[name])))
    assert own.agrees, str(own)
    assert rewritten.agrees, str(rewritten)


def test_a_fault_in_the_reading_is_seen(folder: Path, monkeypatch: pytest.MonkeyPatch):
    design = read_netlist("mine.cir")
    wrong = own_deck(design).replace("Rw2 b out 10k", "Rw2 b out 10.001k")
    monkeypatch.setattr("analog_ep.designs.checking.own_deck", lambda design: wrong)
    own, rewritten = check_design(design)
    assert not own.agrees
    assert own.node == "out"
    assert "DIFFERS" in str(own)
    assert rewritten.agrees


def test_the_deck_for_ngspice_runs_nothing(tmp_path: Path):
    text = "t\nV1 a 0 1\nR1 a 0 1k\n.control\nshell touch executed\n.endc\n*#shell touch executed\n"
    text += ".tran 1n 1u\n.options reltol=1\n"
    deck = own_deck(read_netlist(write(tmp_path, {"main.cir": text})))
    assert deck.splitlines()[1:3] == ["V1 a 0 1", "R1 a 0 1k"]
    assert "shell" not in deck
    assert ".tran" not in deck


def test_what_does_not_fit_is_named(folder: Path):
    spec = parse_design_spec(
        {
            "network": {"kind": "circuit", "netlist": "mine.cir"},
            "data": {"table": "table.csv", "inputs": ["a"], "outputs": ["y"]},
        },
        "here",
    )
    with pytest.raises(
        DataError, match=r"data\.inputs must name one column for each of the netlist's 2 inputs, found 1"
    ):
        DesignRun.of(spec, folder)
    Path("classes.csv").write_text("a [V],b [V],c\n1,2,0\n1,2,3\n")
    labels = spec.data.model_copy(update={"table": "classes.csv", "inputs": ["a", "b"], "outputs": None, "labels": "c"})
    with pytest.raises(DataError, match=r"classes.csv, line 3: a class must be one of 0…0, .* found 3"):
        DesignRun.of(spec.model_copy(update={"data": labels}), folder)
    with pytest.raises(NetlistError, match="must be a readable netlist"):
        read_netlist(folder / "none.cir")
    with pytest.raises(CheckpointError, match="must be made in a folder that exists"):
        require_new(folder / "no" / "RUN")


@pytest.mark.parametrize(
    ("tables", "words"),
    [
        ({"network": {"kind": "circuit"}}, "network.netlist is required, found nothing"),
        ({"network": {"kind": "circuit", "netlist": "x", "gain": 3}}, "network.gain is not a known key"),
        ({"network": {"kind": "circuit", "netlist": 3}}, "network.netlist must be a valid string, found '3'"),
        (
            {"network": {"kind": "circuit", "netlist": "x"}, "data": {"table": "t", "inputs": ["a"]}},
            "data: outputs or labels",
        ),
    ],
)
def test_a_broken_spec_is_one_line(tables, words: str):
    with pytest.raises(SpecError, match=words):
        parse_design_spec(tables, "spec.toml")


def test_options_of_netlists_and_of_others_are_not_mixed(folder: Path):
    assert "a netlist needs --data TABLE.csv" in run("train", "mine.cir", "--out", "RUN").output
    done = run("train", "--data", "xor", "--inputs", "a", "--out", "RUN")
    assert done.exit_code == 2
    assert "only with a netlist" in done.output
    options = ["--data", "table.csv", "--inputs", "a,b", "--outputs", "y", "--out", "RUN"]
    with pytest.raises(SystemExit, match="--bounds must be two conductances"):
        main(["train", "mine.cir", *options, "--bounds", "1,x"])
