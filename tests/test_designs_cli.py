"""The commands on a designer's netlist: train, check, export."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from analog_ep.cli import app, main
from analog_ep.designs import read_netlist
from analog_ep.designs.checking import check_design, own_deck
from analog_ep.errors import DataError, NetlistError, SpecError
from analog_ep.runs.building import build_dataset
from analog_ep.runs.choosing import stored_spec
from analog_ep.runs.trained import trained_conductances
from analog_ep.spec import CircuitSpec, load_spec, parse_spec
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
    assert "accuracy" not in checked.output
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
    network = stored_spec(Path("RUN")).network
    assert isinstance(network, CircuitSpec)
    assert network.inputs == ["v1", "v2"]


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
    assert "test accuracy 100.00% after 40 epochs" in done.output
    _, network = trained_conductances(Path("RUN"))
    learnt = read_netlist("RUN/xor.cir")
    assert len(learnt.resistances({})) == 32
    assert learnt.resistances({}) == pytest.approx(learnt.resistances(network))


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
    data = {"table": "table.csv", "inputs": ["a"], "outputs": ["y"]}
    tables = {"network": {"kind": "circuit", "netlist": "mine.cir"}, "data": data}
    with pytest.raises(
        DataError, match=r"data\.inputs must name one column for each of the network's 2 inputs, found 1"
    ):
        build_dataset(parse_spec(tables, "here"))
    Path("classes.csv").write_text("a [V],b [V],c\n1,2,0\n1,2,3\n")
    labels = {"table": "classes.csv", "inputs": ["a", "b"], "labels": "c"}
    with pytest.raises(DataError, match=r"classes.csv, line 3: a class must be one of 0…0, .* found 3"):
        build_dataset(parse_spec(tables | {"data": labels}, "here"))
    with pytest.raises(NetlistError, match="must be a readable netlist"):
        read_netlist(folder / "none.cir")


def test_a_run_of_an_earlier_version_says_what_to_do(folder: Path):
    Path("OLD").mkdir()
    Path("OLD/spec.toml").write_text('[network]\nkind = "circuit"\nnetlist = "design/mine.cir"\n')
    Path("OLD/resistances.csv").write_text("name,resistance [ohm]\nrw1,1.0\n")
    for command in (["check", "OLD"], ["export", "OLD", "-o", "x.cir"], ["train", "--resume", "--out", "OLD"]):
        with pytest.raises(SystemExit, match=r"OLD is a netlist's run of an earlier version.* train that anew with"):
            main(command)


CIRCUIT = {"kind": "circuit", "netlist": "x"}
TABLE = {"table": "t", "inputs": ["a"], "outputs": ["y"]}


@pytest.mark.parametrize(
    ("tables", "words"),
    [
        ({"network": {"kind": "circuit"}}, "network.netlist is required, found nothing"),
        (
            {"network": CIRCUIT | {"gain": 3.0}},
            'network.gain has a meaning only with kind = "resistive" or "convolutional" or "transistors", found 3.0',
        ),
        ({"network": CIRCUIT | {"netlist": 3}}, "network.netlist must be a string, found 3"),
        ({"network": CIRCUIT, "data": {"table": "t", "inputs": ["a"]}}, "data.outputs or labels must be given"),
        ({"network": CIRCUIT, "data": {"table": "t", "labels": "c"}}, "data.inputs must name the columns"),
        ({"network": CIRCUIT, "data": TABLE | {"labels": "c"}}, "data.outputs or labels must be given, one of them"),
        ({"network": CIRCUIT, "data": TABLE | {"source": "xor"}}, "data.source must be left out beside a table"),
        ({"network": CIRCUIT, "data": {"test_share": 0.5}}, "data.test_share has a meaning only with a table"),
        (
            {"network": CIRCUIT, "data": TABLE, "cost": {"function": "cross_entropy"}},
            'cost.function must be "squared_error" with data.outputs, found "cross_entropy"',
        ),
        ({"network": CIRCUIT, "diode": {"model": "ideal"}}, 'diode has no meaning with network.kind = "circuit"'),
        ({"network": CIRCUIT, "relaxation": {}}, 'relaxation has no meaning with network.kind = "circuit"'),
        (
            {"network": CIRCUIT, "gradient": {"method": "recurrent_backprop"}},
            'gradient.method = "recurrent_backprop" needs network.kind = "hopfield", found "circuit"; methods that fit',
        ),
        (
            {"network": CIRCUIT, "gradient": {"method": "stochastic", "nudging": 0.1, "temperature": 1.0}},
            'gradient.method = "stochastic" needs network.kind = "resistive" or "convolutional" or "hopfield", found '
            '"circuit"',
        ),
        ({"network": CIRCUIT, "update": {"device": "EcRam", "held": "negative"}}, "update.held has no meaning with"),
        ({"network": CIRCUIT | {"bounds": [1.0]}}, "network.bounds"),
    ],
)
def test_a_broken_spec_is_one_line(tables, words: str):
    with pytest.raises(SpecError, match=words):
        parse_spec(tables, "spec.toml")


def test_options_that_do_not_fit_are_one_line(folder: Path):
    options = ["--data", "table.csv", "--inputs", "a,b", "--outputs", "y", "--out", "RUN"]
    for arguments, words in (
        (["mine.cir", "--out", "RUN"], "a netlist needs --data TABLE.csv, --inputs and --outputs or --labels"),
        (["--data", "xor", "--inputs", "a", "--out", "RUN"], "data.inputs has a meaning only with a table"),
        (
            ["--data", "xor", "--bounds", "1,2", "--out", "RUN"],
            'network.bounds has a meaning only with kind = "circuit"',
        ),
        (["mine.cir", *options, "--bounds", "1,x"], "--bounds must be two conductances"),
        (options, "a table needs a spec or a netlist that fits it"),
    ):
        with pytest.raises(SystemExit, match=words):
            main(["train", *arguments])
    assert not Path("RUN").exists()


def test_the_spec_of_a_netlist_names_files_from_its_own_folder(folder: Path):
    Path("specs").mkdir()
    Path("specs/spec.toml").write_text(
        '[network]\nkind = "circuit"\nnetlist = "../mine.cir"\n'
        '[data]\ntable = "../table.csv"\ninputs = ["a", "b"]\noutputs = ["y"]\n'
    )
    spec = load_spec(Path("specs/spec.toml"))
    assert len(build_dataset(spec).train_labels) == len(ROWS)
    # What such a network takes for granted where it is left out.
    assert (spec.cost.function, spec.gradient.method, spec.training.dtype) == ("squared_error", "implicit", "float64")
    assert spec.training.batch_size == 0
