"""A designer's netlist on the road of every other network: methods, chips, resuming, studies, analyses, exports."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from analog_ep import Newton, solve
from analog_ep.cli import main
from analog_ep.designs import read_netlist
from analog_ep.errors import CheckpointError, DataError, SpecError
from analog_ep.networks import CircuitNetwork
from analog_ep.runs.building import build_cost, build_dataset, build_gradient, build_network
from analog_ep.runs.chips import build_chip
from analog_ep.runs.choosing import CHECKPOINT, SPEC, stored_spec
from analog_ep.runs.folder import METRICS, Run
from analog_ep.runs.trained import trained_conductances
from analog_ep.spec import Spec, load_spec, parse_spec
from tests.learning_decks import lattice_deck, xor_deck
from tests.read_by_ngspice import plain_voltages
from tests.test_parallel import free_port
from tests.test_resume import Killed, Killer, assert_same, killed_in_every_epoch

HIDDEN = 2
COLUMNS = ["a", "an", "b", "bn"]
CORNERS = [(a, b) for a in (-1, 1) for b in (-1, 1)]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with exclusive or and the lattice as netlists, and tables; runs without pictures."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("analog_ep.runs.folder.learning_curve", lambda *_: b"")
    Path("xor.cir").write_text(xor_deck(hidden=HIDDEN))
    rows = [f"{a},{-a},{b},{-b},{-0.05 * a * b},{int(a * b < 0)}" for a, b in CORNERS]
    Path("xor.csv").write_text("\n".join(["a [V],an [V],b [V],bn [V],y [V],c", *rows]) + "\n")
    Path("lattice.cir").write_bytes(lattice_deck().encode())
    Path("teacher.cir").write_bytes(lattice_deck(seed=2).encode())
    inputs = torch.tensor([[a, b] for a in (0.2, 0.6, 1.0) for b in (-0.5, 0.0, 0.5)], dtype=torch.float64)
    teacher = read_netlist("teacher.cir", inputs=["v1", "v2"], outputs=["n2_2", ("n3_3", "n1_1")])
    wanted = solve(teacher.circuit, inputs, solver=Newton()).outputs
    lines = [",".join(repr(float(x)) for x in (*v, *y)) for v, y in zip(inputs, wanted, strict=True)]
    Path("lattice.csv").write_text("\n".join(["p [V],q [V],y [V],z [V]", *lines]) + "\n")
    return tmp_path


def xor(classes: bool = False, **tables: Any) -> Spec:
    """The spec of exclusive or in the working directory."""
    data = {"table": "xor.csv", "inputs": COLUMNS, **({"labels": "c"} if classes else {"outputs": ["y"]})}
    network: dict[str, Any] = {"kind": "circuit", "netlist": "xor.cir"}
    if classes:
        network["outputs"] = ["out-,out+", "out+,out-"]
    given = {"network": network, "data": data, "training": {"epochs": 3, "batch_size": 2, "learning_rate": 0.02}}
    for name, table in tables.items():
        given[name] = given.get(name, {}) | table
    return parse_spec(given, "test").with_files(lambda name: str(Path(name).absolute()))


def call(*arguments: object) -> None:
    """Run a command that must succeed."""
    with pytest.raises(SystemExit) as ended:
        main([str(a) for a in arguments])
    assert not ended.value.code, ended.value.code


METHODS: list[dict[str, Any]] = [
    *({"method": "ep", "variant": variant} for variant in ("centered", "positive", "negative", "random")),
    {"method": "ep", "kind": "elastic"},
    {"method": "harmonic", "nudging": 1e-5, "harmonics": 3},
    {"method": "small_signal"},
    {"method": "implicit"},
]


@pytest.mark.parametrize("method", METHODS, ids=str)
def test_every_method_gives_the_gradient_of_the_cost(folder: Path, method: dict[str, Any]):
    spec = xor(gradient={"nudging": 1e-7} | method)
    network = build_network(spec)
    data = build_dataset(spec, network)
    _, found = build_gradient(spec, network).gradients(data.train_inputs, data.train_labels)
    theta, gradient = network.get_parameter("weights").detach(), found["weights"]

    def cost(place: int, step: float) -> float:
        theta[place] += step
        outputs = solve(network, data.train_inputs, solver=Newton()).outputs
        theta[place] -= step
        return float(build_cost(spec).value(outputs, data.train_labels).mean())

    for place in (0, 5, len(theta) - 1):
        step = 1e-4 * float(theta[place])
        difference = (cost(place, step) - cost(place, -step)) / (2 * step)
        assert float(gradient[place]) == pytest.approx(difference, rel=1e-3, abs=1e-6 * float(gradient.abs().max()))


@pytest.mark.parametrize(
    "method", [{"method": "coupled", "amplitude": 0.2}, {"method": "contrastive_hebbian"}], ids=str
)
def test_methods_that_hold_the_outputs_learn(folder: Path, method: dict[str, Any]):
    run = Run.create(
        folder / "RUN", xor(gradient=method, training={"epochs": 3, "batch_size": 0, "learning_rate": 0.02})
    )
    run.train()
    costs = [record.cost for record in run.trainer.history]
    assert costs[-1] < 0.9 * costs[0]


@pytest.mark.parametrize("method", ["ep", "small_signal", "coupled", "contrastive_hebbian", "harmonic"])
def test_a_circuit_without_an_energy_is_told_what_to_use(folder: Path, method: str):
    Path("xor.cir").write_text(xor_deck(hidden=HIDDEN).replace(".op\n", "Gx h0 0 h1 0 1u\n.op\n"))
    words = rf'gradient.method = "{method}" needs a circuit with an energy, .*; use gradient.method = "adjoint", "asymm'
    with pytest.raises(SpecError, match=words):
        Run.create(folder / "RUN", xor(gradient={"method": method}))
    assert not Path("RUN").exists()
    for learnable, network in (("implicit", {}), (method, {"reciprocal": False})):
        spec = xor(gradient={"method": learnable}, network=network)
        network = build_network(spec)
        data = build_dataset(spec, network)
        build_gradient(spec, network).gradients(data.train_inputs, data.train_labels)


@pytest.mark.ngspice
def test_ngspice_trains_what_pytorch_does(folder: Path):
    training = {"epochs": 1, "batch_size": 0, "learning_rate": 0.02}
    runs = []
    for solver in ("torch", "ngspice"):
        run = Run.create(folder / solver, xor(gradient={"method": "small_signal", "solver": solver}, training=training))
        run.train()
        runs.append(run.trainer.network.get_parameter("weights").detach())
    assert not torch.equal(runs[0], build_network(xor()).get_parameter("weights"))
    torch.testing.assert_close(runs[0], runs[1], rtol=1e-6, atol=1e-9)


UPDATES: list[dict[str, Any]] = [
    {"training": {"epochs": 3, "batch_size": 2, "optimizer": "sgd", "momentum": 0.9, "learning_rate": 1.0}},
    {"update": {"device": "reram_gong2018"}, "chip": {"stuck": 0.2, "open": 0.1, "conductance_spread": 0.05}},
    {"update": {"device": "SoftBounds", "scheme": "stochastic"}, "gradient": {"method": "ep", "variant": "random"}},
    {
        "chip": {"levels": 64, "rounding": "stochastic", "retention": 50.0, "stuck": 0.1, "twin": True},
        "converters": {"adc_bits": 10, "adc_range": 1.0, "adc_noise": 1e-4, "dac_noise": 1e-4},
        "gradient": {"method": "ep"},
    },
]


@pytest.mark.parametrize("tables", UPDATES, ids=str)
def test_killed_in_every_epoch_and_resumed_to_the_same_bits(
    folder: Path,
    tables: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
):
    spec = xor(classes=True, **({"gradient": {"nudging": 1e-6}} | tables))
    whole = Run.create(folder / "whole", spec)
    before = whole.trainer.network.get_parameter("weights").detach().clone()
    whole.train()
    assert not torch.equal(before, whole.trainer.network.get_parameter("weights"))
    assert_same(whole, killed_in_every_epoch(folder / "killed", spec, monkeypatch))
    assert (folder / "whole" / "xor.cir").read_bytes() == (folder / "killed" / "xor.cir").read_bytes()


def test_a_run_killed_in_an_epoch_and_moved_goes_on_from_the_command_line(folder: Path):
    spec = xor(classes=True, chip={"levels": 64, "rounding": "stochastic"})
    Path("spec.toml").write_text(spec.to_toml())
    with pytest.raises(Killed):
        Run.create(Path("KILLED"), load_spec(Path("spec.toml"))).train([Killer(2, 1)])
    # The originals are gone: the folder has all that it needs, wherever it is moved.
    for name in ("xor.cir", "xor.csv"):
        Path(name).unlink()
    Path("KILLED").rename("MOVED")
    call("train", "--resume", "--out", "MOVED")
    Path("xor.cir").write_text(xor_deck(hidden=HIDDEN))
    Path("xor.csv").write_bytes(Path("MOVED/data/xor.csv").read_bytes())
    call("train", "spec.toml", "--out", "WHOLE")
    first, second = (load_file(Path(name) / CHECKPOINT) for name in ("MOVED", "WHOLE"))
    assert all(torch.equal(value, second[name]) for name, value in first.items())


def test_what_is_resumed_must_be_the_same_netlist_and_table(folder: Path):
    Run.create(folder / "RUN", xor())
    assert Run.resume(folder / "RUN", xor()).trainer.epoch == 0
    longer = xor(training={"epochs": 5, "batch_size": 2, "learning_rate": 0.02})
    assert Run.resume(folder / "RUN", longer).spec.training.epochs == 5
    assert stored_spec(folder / "RUN").training.epochs == 5
    assert 'netlist = "design/xor.cir"' in (folder / "RUN" / SPEC).read_text()
    for name in ("xor.cir", "xor.csv"):
        text = Path(name).read_text()
        Path(name).write_text(text + ("* more\n" if name == "xor.cir" else "1,-1,1,-1,0,1\n"))
        with pytest.raises(CheckpointError, match=r"another data.table, network.netlist"):
            Run.resume(folder / "RUN", longer)
        Path(name).write_text(text)
    with pytest.raises(CheckpointError, match=r"another .*training.seed"):
        Run.resume(folder / "RUN", xor(training={"epochs": 5, "batch_size": 2, "learning_rate": 0.02, "seed": 1}))


def test_includes_are_kept_beside_the_netlist(folder: Path):
    text = xor_deck(hidden=HIDDEN)
    at = text.index(".MODEL")
    Path("parts").mkdir()
    Path("parts/diode.lib").write_text(text[at:].replace(".op\n.end\n", ""))
    Path("xor.cir").write_text(text[:at] + ".include parts/diode.lib\n.op\n.end\n")
    run = Run.create(folder / "RUN", xor())
    run.train()
    assert (folder / "RUN/design/parts/diode.lib").read_bytes() == Path("parts/diode.lib").read_bytes()
    assert [path.relative_to(folder / "RUN").as_posix() for path in run.own_netlist] == ["xor.cir", "parts/diode.lib"]


MARK = "*@ train r_w* 1e-6 1e-3"


def test_ranges_of_groups_are_kept_by_every_update(folder: Path):
    text = xor_deck(hidden=HIDDEN)
    Path("two.cir").write_text(text.replace(MARK, "*@ train xh*.r_w* 1e-6 5e-4\n*@ train r_w* 2k 500k ohm"))
    with pytest.raises(SystemExit, match="must have one range, found"):
        main(["check", "two.cir"])
    Path("xor.cir").write_text(text.replace(MARK, "*@ train xh*.r_w* 1e-6 5e-4\n*@ train r_wp* r_wm* 2.5k 500k ohm"))
    strong = {"epochs": 3, "batch_size": 2, "learning_rate": 0.5}
    for name, tables in {
        "plain": {"training": strong | {"learning_rate": [0.5, 0.5]}},
        "pulses": {"update": {"device": "EcRam"}, "training": strong},
        "levels": {"chip": {"levels": 8}, "training": strong},
    }.items():
        run = Run.create(folder / name, xor(**tables))
        network = run.trainer.network
        assert isinstance(network, CircuitNetwork)
        assert network.range_of("weights") == (1e-6, 5e-4)
        assert network.range_of("weights2") == pytest.approx((2e-6, 4e-4))
        run.train()
        for label, siemens in network.conductances.items():
            low, high = network.range_of(label)
            assert bool(((siemens >= low * (1 - 1e-9)) & (siemens <= high * (1 + 1e-9))).all()), (name, label)
            # Nothing but its own range stops the largest of each.
            assert name == "pulses" or bool((siemens > 0.999 * high).any()), (name, label)
            if name == "levels":
                levels = (siemens - low) / (high - low) * 7
                assert float((levels - levels.round()).abs().max()) < 1e-9
    with pytest.raises(SpecError, match=r"learning_rate must be one rate or 2, one per parameter, found \[0.1, 0.2, 0"):
        Run.create(folder / "RUN", xor(training={"learning_rate": [0.1, 0.2, 0.3]}))
    spec = xor(chip={"stuck_low": 1.0})
    chip = build_chip(spec, build_network(spec))
    assert chip is not None
    stuck = {name: np.unique(values).tolist() for name, values in chip.values.items()}
    assert stuck == {"weights.siemens": pytest.approx([1e-6]), "weights2.siemens": pytest.approx([2e-6])}
    run = Run.create(folder / "stuck", spec)
    run.train()
    held = {name: siemens.unique().tolist() for name, siemens in trained_conductances(run.path)[1].conductances.items()}
    assert held == {"weights": pytest.approx([1e-6]), "weights2": pytest.approx([2e-6])}


def test_ranges_of_a_spec(folder: Path):
    bounds = [[1e-6, 1e-3], [2e-6, 5e-4], [1e-6, 1e-3]]
    network = {"trainable": ["xh*.r_w*", "r_wp*", "r_wm*"], "bounds": bounds}
    built = build_network(xor(network=network))
    assert {name: theta.numel() for name, theta in built.named_parameters()} == {"weights": 14, "weights2": 2}
    Path("spec.toml").write_text(xor(network=network | {"bounds": bounds[:2]}).to_toml())
    with pytest.raises(SystemExit, match="bounds must be one range or 3, one for each name that learns"):
        main(["train", "spec.toml", "--out", "RUN"])


SHARED = """two of one
*@ train rw* 1e-6 1e-2
*@ input v1
*@ output b c
.param w=10k
V1 a 0 1
Rw1 a b {w}
Rw2 a c {w}
Rw3 b 0 10k
R4 c 0 10k
.op
.end
"""


def test_a_table_of_conductances_with_shared_parameters_is_read_back(folder: Path):
    Path("shared.cir").write_text(SHARED)
    Path("shared.csv").write_text("a [V],y [V],z [V]\n1,0.4,0.3\n-1,-0.4,-0.3\n")
    command = ["train", "shared.cir", "--data", "shared.csv", "--inputs", "a", "--outputs", "y,z", "--epochs"]
    call(*command, 3, "--out", "RUN")
    call("export", "RUN", "--conductances", "g.csv")
    rows = list(csv.DictReader(Path("g.csv").read_text().splitlines()))
    assert [row["index"] for row in rows] == ["0", "0", "1"]
    call(*command, 1, "--learning-rate", "1e-12", "--start", "g.csv", "--out", "AGAIN")
    first, again = (trained_conductances(Path(name))[1].conductances["weights"] for name in ("RUN", "AGAIN"))
    assert float((first - 1e-4).abs().min()) > 1e-6
    torch.testing.assert_close(again, first, rtol=1e-9, atol=0)
    Path("g.csv").write_text(Path("g.csv").read_text().replace(rows[1]["siemens"], "1e-4", 1))
    with pytest.raises(SystemExit, match="each conductance must have one value, found weights 0 again"):
        main([*command, "3", "--start", "g.csv", "--out", "NEVER"])


STUDY = """
base = "spec.toml"
seeds = [0]
[axes.rate]
slow = { training = { learning_rate = 0.001 } }
fast = { training = { learning_rate = 0.02 } }
[axes.deck]
own = {}
other = { network = { netlist = "sub/other.cir" } }
"""


@pytest.mark.pictures
def test_a_study_over_keys_of_a_netlists_spec(folder: Path):
    Path("spec.toml").write_text(xor(training={"epochs": 3, "batch_size": 2}).to_toml())
    Path("sub").mkdir()
    Path("sub/other.cir").write_text(xor_deck(seed=5, hidden=HIDDEN))
    Path("study.toml").write_text(STUDY)
    call("study", "study.toml", "--jobs", "1", "--out", "OUT")
    rows = list(csv.DictReader(Path("OUT/results.csv").read_text().splitlines()))
    assert len(rows) == 4
    assert not any(row["error"] for row in rows)
    assert ("test_cost" in rows[0], "test_accuracy" in rows[0]) == (True, False)
    own = {row["rate"]: float(row["cost"]) for row in rows if row["deck"] == "own"}
    assert own["fast"] < own["slow"]
    assert "| rate | deck | test cost | seeds |" in Path("OUT/summary.md").read_text()
    assert Path("OUT/accuracy.png").stat().st_size > 1000


def test_two_processes_train_alike(folder: Path):
    Path("spec.toml").write_text(xor(True, training={"epochs": 2, "batch_size": 4}).to_toml())
    alone = Run.create(folder / "ALONE", load_spec(folder / "spec.toml"))
    alone.train()
    launcher = ["-m", "torch.distributed.run", "--nproc-per-node=2", f"--master-port={free_port()}"]
    command = [sys.executable, *launcher, "--master-addr=127.0.0.1", "-m", "analog_ep", "train", "spec.toml"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run([*command, "--out", "BOTH"], capture_output=True, text=True, timeout=240, env=environment)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("run folder:") == 1
    both = load_file(Path("BOTH") / CHECKPOINT)
    for name, value in load_file(alone.path / CHECKPOINT).items():
        torch.testing.assert_close(both[name], value, rtol=1e-9, atol=1e-12)
    assert Path("BOTH/xor.cir").is_file()


LATTICE = {
    "network": {
        "kind": "circuit",
        "netlist": "lattice.cir",
        "trainable": ["rw_*"],
        "bounds": [1e-6, 1e-3],
        "inputs": ["v1", "v2"],
        "outputs": ["n2_2", "n3_3,n1_1"],
    },
    "data": {"table": "lattice.csv", "inputs": ["p", "q"], "outputs": ["y", "z"]},
    "training": {"epochs": 2, "learning_rate": 0.005},
}
ANALYSES = ("operating-point", "gradient", "settling", "noise", "transient-noise", "power", "corners")
DIALECTS = ("ngspice", "xyce", "ltspice", "hspice", "spectre")


@pytest.fixture(scope="module")
def lattice(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of the lattice."""
    home = tmp_path_factory.mktemp("lattice")
    (home / "lattice.cir").write_bytes(lattice_deck().encode())
    (home / "lattice.csv").write_text("p [V],q [V],y [V],z [V]\n0.2,-0.5,0.1,0.05\n1,0.5,0.3,0.1\n0.6,0,0.2,0.0\n")
    (home / "spec.toml").write_text(parse_spec(LATTICE, "test").to_toml())
    run = Run.create(home / "RUN", load_spec(home / "spec.toml"))
    run.train()
    return home / "RUN"


@pytest.mark.ngspice
def test_check_of_a_run_compares_the_circuit_its_decks_and_the_designers_own(
    lattice: Path, capsys: pytest.CaptureFixture[str]
):
    call("check", lattice, "--json")
    said = capsys.readouterr()
    found = json.loads(said.out)
    assert found["passed"]
    assert found["samples"] == 3
    assert "accuracy" not in found
    assert set(found["decks"]) == {"free", "nudged", "both", "transient"}
    assert said.err.count("agrees, 16 nodes") == 2, said.err
    with pytest.raises(SystemExit, match="an accuracy needs classes"):
        main(["check", str(lattice), "--accuracy"])


@pytest.mark.ngspice
@pytest.mark.parametrize("study", ANALYSES)
def test_every_analysis_of_a_run(lattice: Path, study: str, capsys: pytest.CaptureFixture[str]):
    call("analyse", lattice, study, "--json")
    found = json.loads(capsys.readouterr().out)
    assert found
    assert (lattice / "analysis" / f"{study}_0.png").is_file()
    if study == "gradient":
        assert min(found["cosines"].values()) == pytest.approx(1, abs=1e-6)


def test_exports_of_a_run(lattice: Path, tmp_path: Path):
    own = tmp_path / "own.cir"
    call("export", lattice, "-o", own)
    learnt, original = (path.read_bytes().split(b"\r\n") for path in (own, lattice.parent / "lattice.cir"))
    changed = [a for a, b in zip(learnt, original, strict=True) if a != b]
    assert len(changed) == 24
    assert all(line.startswith(b"Rw_") for line in changed)
    assert own.read_bytes() == (lattice / "lattice.cir").read_bytes()
    for dialect in DIALECTS:
        call("export", lattice, "--dialect", dialect, "-o", tmp_path / dialect)
        assert b"Rw_h00" not in (tmp_path / dialect).read_bytes()
    call("export", lattice, "--phase", "free", "-o", tmp_path / "free")
    assert b"Rw_h00" not in (tmp_path / "free").read_bytes()
    call("export", lattice, "--dialect", "gnucap", "--phase", "free", "-o", tmp_path / "gnucap")
    call("export", lattice, "--phase", "transient", "--samples", 2, "-o", tmp_path / "cycle.cir")
    said = " ".join((tmp_path / "cycle.cir").read_text().replace("*", "").split())
    assert "1% of the conductance range, 1e-06 to 0.001 S" in said


@pytest.mark.ngspice
def test_the_designers_text_gives_the_outputs_of_the_trained_network(folder: Path):
    options = ["--data", "xor.csv", "--inputs", "a,an,b,bn", "--outputs", "y", "--epochs", "3"]
    call("train", "xor.cir", *options, "--out", "RUN")
    spec, network = trained_conductances(Path("RUN"))
    sample = build_dataset(spec, network).test_inputs[2]
    wanted = solve(network, sample, solver=Newton()).outputs
    own = Path("RUN/xor.cir").read_text()
    assert own != Path("xor.cir").read_text()
    cards = {"Va x1 0": 0, "Van x1n 0": 1, "Vb x2 0": 2, "Vbn x2n 0": 3}
    lines = [
        next((f"{card} {float(sample[i])!r}" for card, i in cards.items() if line.startswith(card)), line)
        for line in own.split("\n")
    ]
    found = plain_voltages({"main.cir": "\n".join(lines)})
    assert found is not None
    assert found["out+"] - found["out-"] == pytest.approx(float(wanted[0]), abs=1e-8)


def test_a_table_trains_a_layered_network_too(folder: Path):
    tables = {
        "network": {"sizes": [4, 3, 1], "bias": False},
        "cost": {"function": "squared_error"},
        "training": {"epochs": 6, "batch_size": 0, "learning_rate": 0.05, "dtype": "float64"},
    }
    Path("spec.toml").write_text(parse_spec(tables, "test").to_toml())
    options = ["--data", "xor.csv", "--inputs", "a,an,b,bn", "--outputs", "y"]
    call("train", "spec.toml", *options, "--out", "RUN")
    rows = list(csv.DictReader((Path("RUN") / METRICS).read_text().splitlines()))
    assert list(rows[0]) == ["epoch", "test_cost", "cost", "seconds"]
    assert float(rows[-1]["test_cost"]) < float(rows[0]["test_cost"])
    assert load_spec(Path("RUN") / SPEC).data.table == str(folder / "RUN/data/xor.csv")
    spec, network = trained_conductances(Path("RUN"))
    data = build_dataset(spec, network)
    outputs = solve(network, data.test_inputs, solver=Newton()).outputs
    cost = float(0.5 * (outputs - data.test_labels).square().sum(1).mean())
    assert float(rows[-1]["test_cost"]) == pytest.approx(cost)
    with pytest.raises(SystemExit, match="network's 4 inputs, found 2"):
        main(["train", "spec.toml", *options[:3], "a,b", *options[4:], "--out", "NEVER"])


def test_a_share_of_a_table_is_held_out(folder: Path):
    columns = {"table": "lattice.csv", "inputs": ["p", "q"], "outputs": ["y", "z"], "test_share": 0.34}
    tables = {"network": {"sizes": [2, 2]}, "data": columns}
    data = build_dataset(parse_spec(tables, "test"))
    assert (len(data.train_labels), len(data.test_labels)) == (6, 3)
    both = torch.cat([data.train_inputs, data.test_inputs])
    assert len(torch.unique(both, dim=0)) == 9
    other = build_dataset(parse_spec(tables | {"training": {"seed": 4}}, "test"))
    assert not torch.equal(other.test_inputs, data.test_inputs)
    held = build_dataset(parse_spec(tables | {"data": columns | {"validation": 2}}, "test"))
    assert (len(held.train_labels), len(held.test_labels)) == (4, 2)
    with pytest.raises(DataError, match="both parts must hold rows, found 9 and 0"):
        build_dataset(parse_spec(tables | {"data": columns | {"test_share": 0.01}}, "test"))


@pytest.mark.ngspice
def test_an_exported_deck_is_trained_and_checked_without_what_only_prints(
    folder: Path, capsys: pytest.CaptureFixture[str]
):
    layered = {"data": {"source": "xor"}, "network": {"sizes": [2, 2, 2]}, "gradient": {"method": "small_signal"}}
    Run.create(folder / "LAYERED", parse_spec(layered, "test"))
    call("export", "LAYERED", "--phase", "free", "-o", "deck.cir")
    assert "energy" in Path("deck.cir").read_text()
    network = {
        "kind": "circuit",
        "netlist": "deck.cir",
        "trainable": ["r_stage*"],
        "bounds": [1e-7, 1e-4],
        "inputs": [f"v_inputs_{i}" for i in range(4)],
    }
    circuit = trained_conductances(Path("LAYERED"))[1].circuit()
    positive, negative = circuit.outputs or ((), ())
    names = circuit.node_names
    network["outputs"] = [f"{names[p]},{names[n]}" for p, n in zip(positive, negative, strict=True)]
    data = {"table": "xor.csv", "inputs": COLUMNS, "labels": "c"}
    spec = {"network": network, "data": data, "gradient": {"method": "small_signal"}, "training": {"epochs": 2}}
    Path("spec.toml").write_text(parse_spec(spec, "test").to_toml())
    call("train", "spec.toml", "--out", "RUN")
    capsys.readouterr()
    call("check", "RUN")
    assert capsys.readouterr().out.count("agrees") == 2


def test_a_study_of_nudging_needs_crossbars(lattice: Path):
    with pytest.raises(SystemExit, match="a study of nudging needs a ResistiveNetwork, found a"):
        main(["analyse", str(lattice), "nudging"])
