"""The command line: what it prints, where it writes, and that every error is one line."""

import csv
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
import typer

from analog_ep import cli
from analog_ep.checking import CrossCheck
from analog_ep.cli.common import COMMANDS
from analog_ep.errors import DataError, NgspiceNotFoundError
from analog_ep.runs import trained as trained_runs
from analog_ep.runs.folder import CHECKPOINT, METRICS, SPEC, saved_epochs
from analog_ep.spec import default_spec, load_spec, parse_spec

Invoke = Callable[..., tuple[int, str, str]]


@pytest.fixture
def spec(tmp_path: Path) -> Path:
    """A spec that trains in well under a second."""
    tables: dict[str, Any] = default_spec("xor").to_dict() | {"diode": {"model": "shockley", "clamp": "alternating"}}
    tables["network"]["sizes"] = [2, 4, 2]
    tables["training"] |= {"epochs": 2, "batch_size": 4}
    path = tmp_path / "tiny.toml"
    path.write_text(parse_spec(tables, "test").to_toml())
    return path


@pytest.fixture
def invoke(capsys) -> Iterator[Invoke]:
    """Runs the command and gives its exit code, standard output and standard error."""
    handler = signal.getsignal(signal.SIGINT)

    def run(*arguments: object) -> tuple[int, str, str]:
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            cli.main([str(argument) for argument in arguments])
        out, err = capsys.readouterr()
        code = ended.value.code
        # The interpreter itself prints a string on standard error, and exits with 1.
        return (1, out, f"{err}{code}\n") if isinstance(code, str) else (int(code or 0), out, err)

    yield run
    signal.signal(signal.SIGINT, handler)


@pytest.fixture
def trained(spec: Path, tmp_path: Path, invoke: Invoke) -> Path:
    code, _, _ = invoke("train", spec, "--out", tmp_path / "run")
    assert code == 0
    return tmp_path / "run"


def test_version(invoke: Invoke):
    assert invoke("--version")[:2] == (0, f"analog-ep {version('analog-ep')}\n")


def test_every_command_and_every_option_has_help(invoke: Invoke):
    commands = typer.main.get_command(cli.app).commands  # pyright: ignore[reportAttributeAccessIssue]
    assert set(commands) >= {"train", "check", "export", "demo", "doctor", "bench", "analyse", "study"}
    benchmarks = {f"bench {name}": command for name, command in commands["bench"].commands.items()}
    for name, command in (commands | benchmarks).items():
        code, out, _ = invoke(*name.split(), "--help")
        assert code == 0
        assert command.help
        assert command.help.split()[0] in out
        for parameter in command.params:
            assert getattr(parameter, "help", None), f"{name}: {parameter.name} has no help"


def test_train_prints_an_epoch_a_line_and_the_folder(spec: Path, tmp_path: Path, invoke: Invoke):
    code, out, err = invoke("train", spec, "--out", tmp_path / "run", "--seed", 5, "--epochs", 3)
    assert (code, err) == (0, "")
    assert [line.split()[:2] for line in out.splitlines()[:3]] == [["epoch", f"{i}/3"] for i in (1, 2, 3)]
    assert out.endswith(f"after 3 epochs, seed 5\nrun folder: {tmp_path / 'run'}\n")
    assert len((tmp_path / "run" / METRICS).read_text().splitlines()) == 4
    assert "seed = 5" in (tmp_path / "run" / SPEC).read_text()


def test_resume_of_a_finished_run_changes_nothing_and_more_epochs_go_on(trained: Path, invoke: Invoke):
    before = (trained / CHECKPOINT).read_bytes()
    code, out, _ = invoke("train", "--out", trained, "--resume")
    assert code == 0
    assert f"{trained} has 2 of 2 epochs" in out
    assert (trained / CHECKPOINT).read_bytes() == before
    assert invoke("train", "--out", trained, "--resume", "--epochs", 3)[0] == 0
    assert saved_epochs(trained) == 3


def test_errors_are_one_line_on_standard_error(spec: Path, trained: Path, tmp_path: Path, invoke: Invoke):
    broken = tmp_path / "broken.toml"
    broken.write_text("[network]\nsizes = [2, 2]\ngian = 3\n")
    (tmp_path / "empty").mkdir()
    new = tmp_path / "new"
    cases = [
        (("train", spec, "--out", trained), "must be new, found it there; add --resume"),
        (("train", spec, "--out", trained, "--resume", "--seed", 9), "found another training.seed"),
        (("train", "--out", new, "--resume"), "must be a run folder, found no spec.toml"),
        (("train", "--out", new, "--data", "digit"), "found 'digit'"),
        (("train", "--out", new, "--data", tmp_path / "empty"), "must hold train-images-idx3-ubyte.gz"),
        (("train", tmp_path / "none.toml", "--out", new), "must be a readable file, found: No such file"),
        (("train", broken, "--out", new), "network.gian is not a known key; known are kind, sizes"),
        (("train", spec, "--out", new, "--epochs", 0), "training.epochs must be greater than 0, found 0"),
        (("train", spec, "--out", new, "--device", "abacus"), "device must be one that PyTorch can use here"),
        (("train", spec, "--out", new, "--start", tmp_path / "none.csv"), "must be a readable file"),
        (("train", spec, "--out", "/proc/none/run"), "No such file or directory"),
        (("check", new), "must be a run folder, found no spec.toml"),
        (("check", trained, "--samples", 5), "has test samples 0…3, found 0…4 asked for"),
        (("export", trained, "--sample", 4, "-o", tmp_path / "x.cir"), "has test samples 0…3, found 4…4 asked for"),
        (("analyse", trained, "corners", "--samples", 5), "has test samples 0…3, found 0…4 asked for"),
        (("export", trained, "-o", tmp_path / "none" / "x.cir"), "No such file or directory"),
    ]
    before = sorted(tmp_path.rglob("*"))
    for arguments, words in cases:
        code, out, err = invoke(*arguments)
        assert (code, out) == (1, ""), arguments
        assert words in err
        assert err.startswith("analog-ep: ")
        assert err.count("\n") == 1
    assert sorted(tmp_path.rglob("*")) == before


def test_usage_errors_exit_with_two(trained: Path, tmp_path: Path, invoke: Invoke):
    for arguments, words in [
        (("train",), "Missing option '--out'"),
        (("train", "--out", "x", "--epochs", "many"), "Invalid value for '--epochs'"),
        (("train", "--out", trained, "--resume", "--start", "x.csv"), "goes on from its own conductances"),
        (("export", trained), "give -o FILE, --conductances FILE.csv, or both"),
        (("export", trained, "--phase", "half", "-o", tmp_path / "x.cir"), "'half' is not one of"),
        (("export", trained, "--samples", 2, "-o", tmp_path / "x.cir"), "a meaning only with --phase transient"),
        (("export", trained, "--capacitance", 1, "-o", tmp_path / "x.cir"), "a meaning only with --phase transient"),
        (("analyse", trained, "power", "--samples", 2), "has a meaning only with corners"),
        (("chek", trained), "No such command 'chek'"),
    ]:
        code, _, err = invoke(*arguments)
        assert code == 2, arguments
        assert words in err


def test_a_truncated_checkpoint(trained: Path, invoke: Invoke):
    path = trained / CHECKPOINT
    path.write_bytes(path.read_bytes()[:200])
    for arguments in (("train", "--out", trained, "--resume"), ("check", trained), ("export", trained, "-o", "x")):
        code, _, err = invoke(*arguments)
        assert code == 1
        assert "must be a whole checkpoint, found a damaged one" in err


def test_exported_conductances_begin_another_training(spec: Path, trained: Path, tmp_path: Path, invoke: Invoke):
    table = tmp_path / "g.csv"
    code, out, _ = invoke("export", trained, "--conductances", table)
    assert (code, out) == (0, f"wrote {table}: {6 * 4 + 10 * 4} conductances\n")
    with table.open() as file:
        assert list(next(csv.DictReader(file))) == ["branch", "parameter", "index", "positive", "negative", "siemens"]
    assert invoke("train", spec, "--out", tmp_path / "second", "--start", table)[0] == 0


def test_export_writes_a_deck(trained: Path, tmp_path: Path, invoke: Invoke):
    for phase in ("free", "nudged", "both"):
        path = tmp_path / f"{phase}.cir"
        code, out, _ = invoke("export", trained, "--sample", 2, "--phase", phase, "-o", path)
        assert (code, out) == (0, f"wrote {path}\n")
        assert path.read_text().endswith(".end\n")


def test_export_writes_for_other_simulators(trained: Path, tmp_path: Path, invoke: Invoke):
    for dialect, card in [
        ("xyce", ".options device temp=27.0"), ("ltspice", ".save v(h1_0)"), ("hspice", ".option tnom=27.0"),
        ("spectre", "simulator lang=spectre"), ("gnucap", ".options numdgt=12"),
    ]:  # fmt: skip
        path = tmp_path / f"{dialect}.cir"
        assert invoke("export", trained, "--dialect", dialect, "-o", path)[0] == 0
        assert card in path.read_text()
    code, _, err = invoke("export", trained, "--dialect", "eldo", "-o", tmp_path / "eldo.cir")
    assert code == 2
    assert "'eldo' is not one of" in err


@pytest.mark.ngspice
def test_export_of_the_whole_cycle(trained: Path, tmp_path: Path, invoke: Invoke):
    path = tmp_path / "cycle.cir"
    code, out, _ = invoke("export", trained, "--phase", "transient", "--sample", 1, "--samples", 2, "-o", path)
    assert (code, out) == (0, f"wrote {path}\n")
    result = subprocess.run(["ngspice", "-n", "-b", path.name], cwd=tmp_path, capture_output=True, text=True)
    assert result.returncode == 0
    assert len(re.findall(r"^delta_stage\d_\d+_[01] +=", result.stdout, re.MULTILINE)) == 2 * (6 * 4 + 10 * 4)
    # The spec's conductance range ends at 1e-4 S.
    largest = max(abs(float(m[1])) for m in re.finditer(r"^delta_\S+ += +(\S+)", result.stdout, re.MULTILINE))
    assert 0.9e-6 < largest <= 1e-6
    rated = ("export", trained, "--phase", "transient", "--rate", "2e-9", "-o", path)
    assert invoke(*rated)[0] == 0
    assert "\n.param rate=2e-09\n" in path.read_text()
    code, _, err = invoke("export", trained, "--rate", "2e-9", "-o", path)
    assert code == 2
    assert "has a meaning only with --phase transient" in err
    code, _, err = invoke("export", trained, "--phase", "transient", "--dialect", "xyce", "-o", path)
    assert code == 2
    assert "a transient netlist is for ngspice or vacask, found xyce" in err
    code, _, err = invoke("export", trained, "--phase", "transient", "--samples", 9, "-o", path)
    assert code == 1
    assert "found 0…8 asked for" in err


@pytest.mark.ngspice
def test_exported_decks_run_in_plain_ngspice(trained: Path, tmp_path: Path, invoke: Invoke):
    path = tmp_path / "both.cir"
    invoke("export", trained, "-o", path)
    result = subprocess.run(["ngspice", "-n", "-b", path.name], cwd=tmp_path, capture_output=True, text=True)
    assert result.returncode == 0
    assert "h1_0" in result.stdout


@pytest.mark.ngspice
def test_check_prints_a_table_or_json(trained: Path, invoke: Invoke):
    code, out, err = invoke("check", trained, "--samples", 4)
    assert (code, err) == (0, "")
    assert "largest node voltage error" in out
    code, out, _ = invoke("check", trained, "--samples", 4, "--json")
    found = json.loads(out)
    assert code == 0
    assert found["passed"] is True
    assert found["samples"] == 4
    assert found.keys() >= {"max_voltage_error", "max_response_error", "min_gradient_cosine", "predictions_identical"}
    assert found["nodes"] > 0


@pytest.mark.ngspice
def test_check_compares_all_samples_where_there_are_fewer_than_it_takes_by_default(trained: Path, invoke: Invoke):
    code, out, err = invoke("check", trained, "--json")
    assert (code, err) == (0, "")
    assert json.loads(out)["samples"] == 4


def test_check_takes_a_hundred_samples_where_there_are_more(spec: Path, monkeypatch, tmp_path: Path, invoke: Invoke):
    tables = load_spec(spec).to_dict()
    tables["data"]["source"], tables["network"]["sizes"] = "digits", [64, 4, 10]
    spec.write_text(parse_spec(tables, "test").to_toml())
    assert invoke("train", spec, "--out", tmp_path / "run", "--epochs", 1)[0] == 0
    asked: list[slice] = []
    original = trained_runs.test_samples

    def seen(spec, network, which, chip):
        asked.append(which)
        original(spec, network, which, chip)
        raise DataError("seen enough")

    monkeypatch.setattr(trained_runs, "test_samples", seen)
    assert "seen enough" in invoke("check", tmp_path / "run")[2]
    assert asked == [slice(0, 100)]


@pytest.mark.ngspice
def test_check_with_accuracy_classifies_the_whole_test_part(trained: Path, invoke: Invoke):
    code, out, _ = invoke("check", trained, "--samples", 2, "--accuracy", "--json")
    found = json.loads(out)
    assert code == 0
    assert found["accuracy_samples"] > 2
    assert found["accuracy_torch"] == found["accuracy_ngspice"]
    assert found["classes_differ"] == 0
    assert abs(found["gradient_norm_ratio"] - 1) < 1e-2
    assert set(found["decks"]) == {"free", "nudged", "both", "transient"}


@pytest.mark.ngspice
def test_check_exits_with_one_over_tolerance(trained: Path, monkeypatch, invoke: Invoke):
    monkeypatch.setattr(CrossCheck, "passed", False)
    assert invoke("check", trained, "--samples", 2)[0] == 1


@pytest.fixture
def tiny_demo(spec: Path, monkeypatch) -> None:
    """The demonstration on the tiny spec in place of the digits'."""
    monkeypatch.setattr(cli.training, "choose_spec", lambda *_: load_spec(spec))


@pytest.mark.ngspice
def test_demo_trains_checks_and_exports(tiny_demo: None, tmp_path: Path, invoke: Invoke):
    for name in ("demo", "demo-2"):
        code, out, _ = invoke("demo", "--out", tmp_path / "demo", "--samples", 2)
        assert code == 0
        assert "test accuracy" in out
        assert "largest node voltage error" in out
        for phase in ("free", "nudged"):
            assert f"netlist, {phase} phase: {tmp_path / name / phase}.cir" in out
            assert (tmp_path / name / f"{phase}.cir").is_file()


def test_demo_without_ngspice_goes_on_and_says_so(tiny_demo: None, tmp_path: Path, monkeypatch, invoke: Invoke):
    def missing(*_):
        raise NgspiceNotFoundError("ngspice must be installed, found none; apt install ngspice")

    monkeypatch.setattr(cli.training, "cross_checked", missing)
    code, out, err = invoke("demo", "--out", tmp_path / "demo")
    assert code == 0
    assert "netlist, nudged phase" in out
    assert err == (
        "the comparison with ngspice is left out: ngspice must be installed, found none; apt install ngspice\n"
    )


def test_ctrl_c_leaves_a_checkpoint_that_resumes(spec: Path, tmp_path: Path, invoke: Invoke):
    run = tmp_path / "run"
    command = [sys.executable, "-m", "analog_ep", "train", str(spec), "--epochs", "100000", "--out", str(run)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if line.startswith("epoch      2/"):
                break
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=30)
    epochs = saved_epochs(run)
    assert process.returncode == 130
    assert err == (
        f"analog-ep: interrupted; {run / CHECKPOINT} holds {epochs} of 100000 epochs, "
        f"continue with: analog-ep train --resume --out {run}\n"
    )
    assert epochs >= 2
    assert not [path for path in run.iterdir() if path.name.startswith(".")]
    assert invoke("train", "--resume", "--out", run, "--epochs", epochs + 1)[0] == 0
    assert saved_epochs(run) == epochs + 1


def test_module_and_command_are_one():
    result = subprocess.run([sys.executable, "-m", "analog_ep", "--version"], capture_output=True, text=True)
    assert result.stdout == f"analog-ep {version('analog-ep')}\n"


def test_a_command_imports_its_own_module_and_help_has_them_in_order():
    for name, module in COMMANDS.items():
        command = typer.main.get_command(cli.app).commands[name]  # pyright: ignore[reportAttributeAccessIssue]
        callbacks = [each.callback for each in getattr(command, "commands", {"": command}).values()]
        assert {callback.__module__ for callback in callbacks} == {f"analog_ep.cli.{module}"}
    assert [*typer.main.get_command(cli.app).list_commands(None)] == [*COMMANDS]  # pyright: ignore
    code = "import sys; from analog_ep.cli import load; load(['--quiet', 'pulses', 'x']); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = {name for name in done.stdout.split() if name.startswith("analog_ep.cli.")}
    assert "analog_ep.cli.pulses" in loaded
    assert not loaded & {f"analog_ep.cli.{name}" for name in {*COMMANDS.values()} - {"pulses"}}
