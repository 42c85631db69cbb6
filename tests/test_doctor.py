"""What `doctor` and the benchmark say, and training in ngspice from the command line."""

import json

import pytest

from analog_ep import cli
from analog_ep.benchmarking.spice import benchmark_spice
from analog_ep.checking import doctor
from analog_ep.errors import StimulusError
from analog_ep.ngspice.process import engine_version
from analog_ep.runs.choosing import choose_spec, stored_spec
from analog_ep.runs.folder import METRICS, Run
from analog_ep.spec import parse_spec

KEYS = {"torch_ms_per_sample", "ngspice_fresh_ms_per_sample", "ngspice_batched_ms_per_sample", "max_voltage_error"}


def call(capsys, *arguments: str) -> tuple[int, str]:
    capsys.readouterr()
    with pytest.raises(SystemExit) as ended:
        cli.main(arguments)
    return int(ended.value.code or 0), capsys.readouterr().out


@pytest.mark.ngspice
def test_a_healthy_machine(capsys, monkeypatch):
    code, out = call(capsys, "doctor", "--json")
    found = {finding["name"]: finding for finding in json.loads(out)["findings"]}
    assert code == 0
    assert found["ngspice"]["value"].endswith("ngspice")
    assert int(found["ngspice version"]["value"]) >= 34
    assert "PyTorch and ngspice differ by" in found["self-test"]["value"]
    assert {"KLU", "PySpice", "torch", "threads", "CUDA device"} <= set(found)
    # Every verdict comes from something that was run.
    assert {name for name, finding in found.items() if finding["good"] is None} <= {
        "ngspice", "KLU", "threads", "CUDA device"
    }  # fmt: skip
    monkeypatch.setattr(doctor, "_PROBES", {})
    assert "self-test" in call(capsys, "doctor")[1]


def test_a_machine_without_ngspice_or_pyspice(capsys, monkeypatch, tmp_path):
    monkeypatch.setenv("ANALOG_EP_NGSPICE", str(tmp_path / "absent"))
    monkeypatch.setattr(doctor, "_PROBES", {"numpy": "", "no_such_package": ""})
    code, out = call(capsys, "doctor", "--json")
    bad = {finding["name"]: finding["value"] for finding in json.loads(out)["findings"] if finding["good"] is False}
    assert code == 1
    assert set(bad) == {"ngspice", "no_such_package", "self-test"}
    assert "ngspice must be installed, found no program" in bad["ngspice"]
    assert bad["no_such_package"] == "not installed"


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("raise OSError('cannot load library')", "a small test of it failed: OSError: cannot load library"),
        ("import os; os.abort()", "a small test of it was ended by SIGABRT"),
        ("import time; time.sleep(60)", "a small test of it did not end within 1 s"),
    ],
)
def test_a_package_that_is_there_and_does_not_work(monkeypatch, code, words):
    monkeypatch.setattr(doctor, "_PROBES", {"numpy": code})
    monkeypatch.setattr(doctor, "_PATIENCE", 1.0)
    finding = doctor._package("numpy")
    assert finding.good is False
    assert finding.value.endswith(f": {words}")


def test_pyspice_is_not_good_without_a_library_that_loads(monkeypatch):
    monkeypatch.setenv("NGSPICE_LIBRARY_PATH", "/no/such/libngspice.so")
    finding = doctor._package("PySpice")
    assert finding.good is False
    assert "libngspice" in finding.value


def test_an_ngspice_with_klu(monkeypatch, tmp_path):
    script = tmp_path / "ngspice"
    script.write_text('#!/bin/sh\ncat > /dev/null\necho "** ngspice-44 :"\necho "Using KLU as Direct Linear Solver"\n')
    script.chmod(0o755)
    monkeypatch.setenv("ANALOG_EP_NGSPICE", str(script))
    engine_version.cache_clear()
    monkeypatch.setattr(doctor, "_PROBES", {})
    found = {finding.name: finding for finding in doctor.examine().findings}
    assert found["KLU"].value == "used"
    assert found["ngspice version"].value == "44"
    assert "ngspice must write a result, found none" in found["self-test"].value


@pytest.mark.ngspice
def test_the_benchmark_of_a_small_network(capsys):
    code, out = call(capsys, "bench", "spice", "--sizes", "3-4-2", "--samples", "5", "--rounds", "1", "--json")
    figures = json.loads(out)
    assert code == 0
    assert set(figures) >= KEYS
    assert min(figures[key] for key in KEYS) > 0
    assert figures["max_voltage_error"] < 1e-8
    assert figures["sizes"] == [3, 4, 2]
    assert "ngspice, fresh" in call(capsys, "bench", "spice", "--sizes", "2-2", "--samples", "2", "--rounds", "1")[1]


def test_benchmarks_that_cannot_be(capsys):
    assert call(capsys, "bench", "spice", "--sizes", "3-four")[0] == 2
    with pytest.raises(StimulusError, match="needs samples and rounds, found 0 and 3"):
        benchmark_spice([2, 2], samples=0)


@pytest.mark.ngspice
@pytest.mark.parametrize("method", ["ep", "small_signal"])
def test_training_in_ngspice_takes_the_steps_of_torch(tmp_path, method):
    tables = choose_spec(None, "xor").to_dict()
    tables["network"]["sizes"] = [2, 4, 2]
    tables["gradient"] = {"method": method, "nudging": 1e-8}
    tables["training"] |= {"epochs": 2, "batch_size": 4, "dtype": "float64"}
    rows = {}
    for solver in ("torch", "ngspice"):
        tables["gradient"]["solver"] = solver
        run = Run.create(tmp_path / solver, parse_spec(tables, "test"))
        run.train()
        rows[solver] = (tmp_path / solver / METRICS).read_text().splitlines()
        assert stored_spec(tmp_path / solver).gradient.solver == solver
    for ours, theirs in zip(rows["torch"][1:], rows["ngspice"][1:], strict=True):
        assert ours.split(",")[1:3] == theirs.split(",")[1:3]
        assert float(ours.split(",")[3]) == pytest.approx(float(theirs.split(",")[3]), rel=1e-4)


@pytest.mark.ngspice
def test_the_solver_is_an_option_of_train(capsys, tmp_path):
    arguments = ["train", "--data", "xor", "--epochs", "1", "--solver", "ngspice", "--out", str(tmp_path / "run")]
    assert call(capsys, *arguments)[0] == 0
    assert stored_spec(tmp_path / "run").gradient.solver == "ngspice"
