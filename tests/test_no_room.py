"""A full disk, a deleted working directory and no folder for temporary files: one line, and nothing half written."""

import os
import resource
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from analog_ep import cli
from analog_ep.errors import NgspiceError
from analog_ep.ngspice.process import run_ngspice
from analog_ep.runs.choosing import choose_spec
from analog_ep.runs.folder import Run
from analog_ep.support.files import write_atomically

STUDY = 'base = "xor"\nepochs = 1\n[axes.gain]\n"gain 4" = {}\n'


@contextmanager
def longest_file(size: int) -> Iterator[None]:
    """Has the system refuse longer files, as a full disk does."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("runs") / "run"
    Run.create(path, choose_spec(None, "xor", epochs=1)).train()
    return path


def files(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file() and path.suffix != ".lock"}


def test_a_file_that_has_no_room_stays_what_it_was(tmp_path: Path):
    path = tmp_path / "file"
    write_atomically(path, "before")
    with longest_file(100), pytest.raises(OSError, match=rf"^\[Errno 27\] File too large: '{path}'$"):
        write_atomically(path, 101 * "x")
    assert files(tmp_path) == {path: b"before"}


@pytest.mark.parametrize("command", ["train", "resume", "export", "study", "check"])
def test_a_full_disk_is_one_line(command: str, run: Path, tmp_path: Path):
    (tmp_path / "s.toml").write_text(STUDY)
    out = ["--out", str(tmp_path / "out")]
    arguments = {
        "train": ["train", "--data", "xor", *out],
        "resume": ["train", "--resume", "--epochs", "2", "--out", str(run)],
        "export": ["export", str(run), *out],
        "study": ["study", str(tmp_path / "s.toml"), "--jobs", "1", *out],
        "check": ["check", str(run), "--samples", "2"],
    }[command]
    before = files(tmp_path) | files(run)
    with longest_file(300), pytest.raises(SystemExit) as ended:
        cli.main(arguments)
    words = str(ended.value.code)
    assert words.startswith("analog-ep: ")
    assert "File too large" in words
    assert words.isprintable()
    assert files(tmp_path) | files(run) == before


def test_no_folder_for_temporary_files(tmp_path: Path, run: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "none"))
    with pytest.raises(
        NgspiceError, match=r"needs a folder for temporary files, found none to write to: .*; set TMPDIR"
    ):
        run_ngspice("* t\nv_0 a 0 1\nr_0 a 0 1\n.op\n.end\n", 1)
    with pytest.raises(SystemExit) as ended:
        cli.main(["check", str(run), "--samples", "2"])
    assert "needs a folder for temporary files, found none to write to" in str(ended.value.code)


def test_a_deleted_working_directory(tmp_path: Path):
    gone = tmp_path / "gone"
    gone.mkdir()
    code = "import os; os.rmdir(os.getcwd()); from analog_ep.__main__ import main; main()"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, "-c", code], cwd=gone, env=environment, capture_output=True, text=True)
    words = "analog-ep: the working directory must exist, found it deleted; change to another one\n"
    assert (done.returncode, done.stdout, done.stderr) == (1, "", words)
