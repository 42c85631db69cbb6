"""Studies: the same table whatever interrupts, on local cores and on a Dask cluster."""

import csv
import gc
import json
import os
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from joblib.externals.loky.process_executor import TerminatedWorkerError
from scipy import stats

from analog_ep import cli
from analog_ep.cli import studies
from analog_ep.errors import SpecError, StudyError
from analog_ep.runs.folder import Run
from analog_ep.spec import NetworkSpec
from analog_ep.spec.study import Study, load_study
from analog_ep.studies import cluster, cores, grid
from analog_ep.studies.cell import CELLS, digest, train_cell
from analog_ep.studies.grid import run_study
from analog_ep.studies.results import DEVICES, PICTURE, RESULTS, SUMMARY, TIMES

STUDY = """
base = "xor"
epochs = 6
seeds = [3, 4]

[axes.device]
ideal = {}
SoftBounds = { update.device = "SoftBounds" }

[axes.gain]
"gain 4" = {}
"gain 3" = { network.gain = 3.0 }
"""


@pytest.fixture(autouse=True)
def _interrupt_handler() -> Iterator[None]:
    """The command sets one."""
    handler = signal.getsignal(signal.SIGINT)
    yield
    signal.signal(signal.SIGINT, handler)


def written(folder: Path, text: str = STUDY, name: str = "study") -> Path:
    path = folder / f"{name}.toml"
    path.write_text(text)
    return path


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return written(tmp_path_factory.mktemp("spec"))


@pytest.fixture(scope="module")
def study(path: Path) -> Study:
    return load_study(path)


@pytest.fixture(scope="module")
def whole(study: Study, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a study that nothing interrupted, one training after the other in this process."""
    folder = tmp_path_factory.mktemp("whole") / "out"
    seen: list[tuple[int, int]] = []
    run_study(study, folder, 1, lambda *progress: seen.append(progress))
    assert seen == [(done, 8) for done in range(9)]
    return folder


def rows(folder: Path) -> list[dict[str, str]]:
    return list(csv.DictReader((folder / RESULTS).read_text().splitlines()))


def test_a_row_is_what_its_spec_gives_when_it_is_trained_alone(study: Study, whole: Path, tmp_path: Path):
    table = rows(whole)
    labels = [(row["device"], row["gain"], row["seed"]) for row in table]
    devices, gains = ("ideal", "SoftBounds"), ("gain 4", "gain 3")
    assert labels == [(device, gain, seed) for device in devices for gain in gains for seed in ("3", "4")]
    cell = study.cells[7]
    assert isinstance(cell.spec.network, NetworkSpec)
    assert (cell.spec.network.gain, cell.spec.training.seed, cell.spec.training.epochs) == (3.0, 4, 6)
    run = Run.create(tmp_path / "alone", cell.spec)
    run.train()
    last = run.trainer.history[-1]
    assert [table[7][name] for name in ("train_accuracy", "test_accuracy", "cost")] == [
        repr(last.train_accuracy),
        repr(last.test_accuracy),
        repr(last.cost),
    ]
    assert int(table[7]["pulses"]) > 0
    assert float(table[7]["write_energy"]) > 0
    assert table[0]["pulses"] == table[0]["error"] == ""


@pytest.mark.pictures
def test_summary_and_picture(study: Study, whole: Path):
    # A complete one is summed up anew, and drawn here.
    run_study(study, whole, 1, lambda *progress: None)
    table, lines = rows(whole), (whole / SUMMARY).read_text().splitlines()
    assert lines[0] == "| device | gain | test accuracy [%] | seeds |"
    for number, line in enumerate(lines[2:6]):
        pair = [100 * float(row["test_accuracy"]) for row in table[2 * number : 2 * number + 2]]
        assert f"| {statistics.mean(pair):.2f} ± {statistics.stdev(pair):.2f} | 2 |" in line
    scores = [[100 * float(row["test_accuracy"]) for row in table[2 * n : 2 * n + 2]] for n in range(4)]
    assert "95% confidence interval of a mean by Student's t" in lines[7]
    for own, line in zip(scores, lines[11:15], strict=True):
        half = stats.t.ppf(0.975, 1) * statistics.stdev(own) / 2**0.5
        assert f"| {statistics.mean(own):.2f} ± {half:.2f} |" in line
        less = [value - first for value, first in zip(own, scores[0], strict=True)]
        assert own is scores[0] or f"| {statistics.mean(less):.2f} ± " in line
    (pulsed,) = [line for line in lines[16:] if line.startswith("| SoftBounds | gain 3 |")]
    cosines = [float(row["cosine"]) for row in table if (row["device"], row["gain"]) == ("SoftBounds", "gain 3")]
    assert f"| {statistics.mean(cosines):.3g} |" in pulsed
    assert table[0]["cosine"] == ""
    assert (whole / PICTURE).read_bytes().startswith(b"\x89PNG")
    assert len((whole / TIMES).read_text().splitlines()) == 9


def test_devices_have_a_row_a_crossbar(study: Study, whole: Path):
    """The figures of a training are those of its crossbars, by their devices."""
    found = list(csv.DictReader((whole / DEVICES).read_text().splitlines()))
    assert [(row["device"], row["seed"], row["parameter"]) for row in found[:3]] == [
        ("SoftBounds", "3", "stage1"),
        ("SoftBounds", "3", "stage2"),
        ("SoftBounds", "4", "stage1"),
    ]
    own = found[:2]
    devices = [int(row["devices"]) for row in own]
    for name, parts in (("at_bounds", ("at_low", "at_high")), ("worn_out", ("worn_out",)), ("slope", ("slope",))):
        values = [sum(float(row[part]) for part in parts) for row in own]
        mean = sum(n * value for n, value in zip(devices, values, strict=True)) / sum(devices)
        assert float(rows(whole)[4][name]) == pytest.approx(mean)
    assert float(rows(whole)[4]["pulses"]) == pytest.approx(
        sum(n * float(row["mean_pulses"]) for n, row in zip(devices, own, strict=True))
    )
    assert float(rows(whole)[4]["write_energy"]) == pytest.approx(sum(float(row["energy"]) for row in own))


def test_the_table_grows_with_the_trainings(study: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(grid, "_BETWEEN_TABLES", 0.0)
    lengths = []

    def seen(done: int, total: int) -> None:
        if done:
            lengths.append((done, len(rows(tmp_path / "out"))))

    run_study(study, tmp_path / "out", 1, seen)
    assert lengths == [(done, done) for done in range(1, 9)]


def test_killed_in_the_middle_and_run_again_gives_the_same_table(
    path: Path, whole: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
):
    arguments = ["study", str(path), "--out", str(tmp_path / "out"), "--jobs"]
    command = [sys.executable, "-m", "analog_ep", *arguments]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    first = subprocess.Popen([*command, "2"], env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        results = _wait_for(lambda: list((tmp_path / "out" / CELLS).glob("*.json")), first)
        workers = Path(f"/proc/{first.pid}/task/{first.pid}/children").read_text().split()
    finally:
        # Its workers outlive it for a moment: they hold the locks of what they train.
        first.send_signal(signal.SIGKILL)
        first.wait()
    deadline = time.monotonic() + 30
    while any("train_cell" in _command(pid) or "loky" in _command(pid) for pid in workers):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert not (tmp_path / "out" / RESULTS).exists()
    before = {result: result.stat().st_mtime_ns for result in results}
    with pytest.raises(SystemExit) as ended:
        cli.main([*arguments, "1"])
    again = capfd.readouterr()
    assert (ended.value.code, again.err) == (0, "")
    assert f"study folder: {tmp_path / 'out'}" in again.out
    assert (tmp_path / "out" / RESULTS).read_bytes() == (whole / RESULTS).read_bytes()
    assert (tmp_path / "out" / SUMMARY).read_bytes() == (whole / SUMMARY).read_bytes()
    assert {result: result.stat().st_mtime_ns for result in results} == before


def _command(pid: str) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text()
    except OSError:
        return ""


def _wait_for(found, process: subprocess.Popen, seconds: float = 120):
    deadline = time.monotonic() + seconds
    while not found():
        assert time.monotonic() < deadline
        assert process.poll() is None
        time.sleep(0.005)
    return found()


def test_a_training_goes_on_from_its_last_epoch(study: Study, whole: Path, tmp_path: Path):
    spec = study.cells[5].spec
    (tmp_path / CELLS).mkdir()
    run = Run.create(tmp_path / CELLS / digest(spec), spec)

    class Kill:
        def batch_done(self, epoch: int, batch: int, n_batches: int) -> None:
            if epoch == 4:
                raise KeyboardInterrupt

        def epoch_done(self, record: object) -> None:
            assert run.trainer.epoch <= 3

    with pytest.raises(KeyboardInterrupt):
        run.train([Kill()])
    train_cell(tmp_path, spec)
    own, other = (json.loads((folder / CELLS / f"{digest(spec)}.json").read_text()) for folder in (tmp_path, whole))
    assert own | {"seconds": 0} == other | {"seconds": 0}
    assert json.loads((tmp_path / CELLS / f"{digest(spec)}.json").read_text())["pulses"] > 0


def test_a_grown_study_keeps_what_it_had_and_a_finished_one_trains_nothing(
    whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    trained: list[str] = []
    monkeypatch.setattr(grid, "train_cell", lambda folder, spec: trained.append(digest(spec)))
    before = (whole / RESULTS).read_bytes()
    run_study(load_study(written(tmp_path)), whole, 1)
    assert (trained, (whole / RESULTS).read_bytes()) == ([], before)
    grown = load_study(written(tmp_path, STUDY.replace("[3, 4]", "[3, 4, 5]")))
    with pytest.raises(StudyError, match=r"must be a folder that every worker shares under this path, found no result"):
        run_study(grown, whole, 1)
    assert trained == [digest(cell.spec) for cell in grown.cells if cell.seed == 5]


def test_one_at_a_time(tmp_path: Path):
    study = load_study(
        written(tmp_path, 'design = "one_at_a_time"' + STUDY.replace('"gain 3" =', '"gain 2" = {}\nx ='))
    )
    assert [tuple(cell.labels.values()) for cell in study.cells[::2]] == [
        ("ideal", "gain 4"),
        ("SoftBounds", "gain 4"),
        ("ideal", "gain 2"),
        ("ideal", "x"),
    ]
    # Two names of one training are one training.
    assert digest(study.cells[0].spec) == digest(study.cells[4].spec)


def test_tables_of_another_model_replace_the_base_and_lists_are_merged_entry_by_entry(tmp_path: Path):
    axes = '[axes.diode]\nideal = { diode = { model = "ideal" } }\nwarm = { diode.temperature = 330.0 }\n'
    ideal, warm = (cell.spec.diode[0] for cell in load_study(written(tmp_path, 'base = "xor"\n' + axes)).cells)
    assert ideal.model_dump(exclude_defaults=True) == {"model": "ideal"}
    assert warm.model_dump()["temperature"] == 330.0
    assert warm.model_dump()["saturation_current"] == 1e-9


def test_a_failed_training_is_a_row_with_its_error(tmp_path: Path):
    axes = "[axes.data]\ngood = {}\nbad = { network.sizes = [3, 8, 2] }\n"
    results = run_study(load_study(written(tmp_path, 'base = "xor"\nepochs = 1\n' + axes)), tmp_path / "out", 1)
    good, bad = rows(tmp_path / "out")
    assert good["error"] == ""
    assert bad["error"].startswith("xor has 2 features a sample, network.sizes begins with 3")
    assert bad["test_accuracy"] == ""
    assert "| bad | failed | 0, 1 failed |" in (tmp_path / "out" / SUMMARY).read_text()
    assert len(results.failures()) == 1


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('base = "xor"\n', "axes is required, found nothing"),
        ('base = "xor"\n[axes]\n', "axes must have at least one entry, found none: the grid is empty"),
        ('base = "xor"\n[axes.a]\n', "axes.a must have at least one entry, found none: the grid is empty"),
        ('base = "xor"\nseeds = []\n[axes.a]\nb = {}\n', "seeds must have at least one entry, found none"),
        ('base = "xor"\nseeds = [1, 1]\n[axes.a]\nb = {}\n', r"seeds must differ, found \[1, 1\]"),
        ('base = "xor"\n[axes.seed]\nb = {}\n', "axes.seed must have another name"),
        ('base = "xor"\nepoch = 3\n[axes.a]\nb = {}\n', "epoch is not a known key; known are base, epochs"),
        ('base = "xor"\n[axes.a]\nb = 3\n', "axes.a.b must be a valid dictionary, found 3"),
        ('base = "no.toml"\n[axes.a]\nb = {}\n', "no.toml must be a readable file, found: No such file"),
        (
            'base = "xor"\n[axes.device]\nb = { update.device = "HardBounds" }\n',
            r"study.toml, device = b: update.device must be one of ConstantStep, .*found 'HardBounds'",
        ),
        (
            'base = "xor"\n[axes.a]\nb = { update = { device = "PCM", scheme = "guess" } }\n',
            "update.scheme must be one of fixed, sign, .*found 'guess'",
        ),
        ('base = "xor"\n[axes.a]\nb = { network.gian = 3.0 }\n', "a = b: network.gian is not a known key; known are"),
    ],
)
def test_bad_studies_are_refused(text: str, message: str, tmp_path: Path):
    with pytest.raises(SpecError, match=message):
        load_study(written(tmp_path, text))


def test_an_unreachable_scheduler_is_refused_and_nothing_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(cluster, "PATIENCE", 0.5)
    for address, message in [
        ("tcp://127.0.0.1:9", "scheduler must be the address of a running Dask scheduler, found Timed out"),
        (
            "carrier://pigeon:9",
            "scheduler must be the address of a running Dask scheduler, found unknown address scheme",
        ),
    ]:
        study = load_study(written(tmp_path, f'scheduler = "{address}"' + STUDY))
        with pytest.raises(StudyError, match=message):
            run_study(study, tmp_path / "out")
        # One that is collected while another starts waits for it, and the other for it.
        assert not any(type(left).__name__ == "Client" for left in gc.get_objects())
    assert not (tmp_path / "out").exists()


def test_an_error_is_one_line_of_the_command_and_nothing_is_written(tmp_path: Path):
    bad = written(tmp_path, STUDY.replace("SoftBounds", "HardBounds"))
    slow = written(tmp_path, 'scheduler = "carrier://pigeon:9"' + STUDY, "slow")
    before = sorted(tmp_path.rglob("*"))
    for path, words in [(bad, "update.device must be one of"), (slow, "scheduler must be the address")]:
        with pytest.raises(SystemExit) as ended:
            cli.main(["study", str(path), "--out", str(tmp_path / "out")])
        message = str(ended.value.code)
        assert message.startswith("analog-ep: ")
        assert words in message
        assert "\n" not in message
    assert sorted(tmp_path.rglob("*")) == before


@pytest.fixture
def scheduler(tmp_path: Path) -> Iterator[tuple[str, list[subprocess.Popen]]]:
    """Address of a Dask scheduler, and its processes: itself; workers may be added."""
    told = tmp_path / "scheduler.json"
    processes = [_dask("scheduler", "--scheduler-file", told, "--host", "127.0.0.1", "--port", "0", "--no-dashboard")]
    try:
        text = _wait_for(lambda: told.read_text() if told.exists() else "", processes[0])
        yield json.loads(text)["address"], processes
    finally:
        for process in reversed(processes):
            process.terminate()
            process.wait()


def _dask(kind: str, *arguments: object) -> subprocess.Popen:
    command = [sys.executable, "-m", f"distributed.cli.dask_{kind}", *map(str, arguments)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    return subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def _workers(address: str, count: int, scratch: Path) -> list[subprocess.Popen]:
    options = ("--nthreads", "1", "--no-dashboard", "--no-nanny", "--local-directory", scratch)
    return [_dask("worker", address, *options) for _ in range(count)]


def test_a_study_goes_on_whatever_its_dask_cluster_loses(
    scheduler: tuple[str, list[subprocess.Popen]], whole: Path, tmp_path: Path,
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch,
):  # fmt: skip
    (address, processes), table = scheduler, (whole / RESULTS).read_bytes()
    losses: dict[int, subprocess.Popen] = {}

    class Loss(studies.CountProgress):
        def __call__(self, done: int, total: int) -> None:
            if done in losses:
                losses.pop(done).kill()
                monkeypatch.setattr(cluster, "PATIENCE", 10 if losses else 1)

    monkeypatch.setattr(studies, "CountProgress", Loss)
    written(tmp_path, f'scheduler = "{address}"' + STUDY)

    def said(out: str) -> str:
        with pytest.raises(SystemExit) as ended:
            cli.main(["study", str(tmp_path / "study.toml"), "--out", str(tmp_path / out)])
        return str(ended.value.code)

    monkeypatch.setattr(cluster, "PATIENCE", 1)
    words = f"analog-ep: the scheduler {address} must have at least one worker, found none in 1 s; start one with: dask"
    assert said("out") == f"{words} worker {address}"
    assert not (tmp_path / "out").exists()
    monkeypatch.setattr(cluster, "PATIENCE", 10)
    processes += _workers(address, 2, tmp_path / "scratch")
    losses |= {1: processes[1], 3: processes[2]}
    words = f"analog-ep: the scheduler {address} must keep at least one worker, found all lost for more than 1 s; the "
    assert said("out") == f"{words}finished trainings are kept, the same command goes on when workers are there"
    assert [process.wait() for process in processes[1:]] == 2 * [-signal.SIGKILL]
    assert 3 <= len(list((tmp_path / "out" / CELLS).glob("*.json"))) < 8
    monkeypatch.setattr(cluster, "PATIENCE", 10)
    processes += _workers(address, 1, tmp_path / "scratch")
    run_study(load_study(tmp_path / "study.toml"), tmp_path / "out")
    assert (tmp_path / "out" / RESULTS).read_bytes() == table
    losses |= {1: processes[0]}
    words = f"analog-ep: the Dask scheduler {address} must stay until the study ends, found it lost; the finished "
    assert said("other") == f"{words}trainings are kept, the same command goes on when it is back"
    assert capfd.readouterr() == ("", "")
    assert 1 <= len(list((tmp_path / "other" / CELLS).glob("*.json"))) < 8
    run_study(load_study(written(tmp_path)), tmp_path / "other", 1)
    assert (tmp_path / "other" / RESULTS).read_bytes() == table


def test_a_local_process_that_is_killed_is_one_line(study: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def killed(*_: object, **__: object):
        raise TerminatedWorkerError("A worker process managed by the executor was unexpectedly terminated.")

    monkeypatch.setattr(cores.Parallel, "__call__", killed)
    with pytest.raises(StudyError, match=r"^the processes of a study must stay until it ends, found one killed; the"):
        run_study(study, tmp_path / "out", 2)
