"""Files are whole or not there, and what a killed process left goes away."""

import os
import signal
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

import pytest

from analog_ep.support import files
from analog_ep.support.files import draft_folder, private_folder, remove_abandoned, write_atomically

HELD = """
import os, signal, sys
from pathlib import Path
from analog_ep.support import files

def stop(*_):
    print(flush=True)
    signal.pause()

if sys.argv[1] == "file":
    os.replace = stop
    files.write_atomically(Path(sys.argv[2]), "new")
else:
    with files.draft_folder(Path(sys.argv[2])) if sys.argv[1] == "folder" else files.private_folder() as folder:
        (folder / "part").write_text("half")
        stop()
"""


def held(kind: str, path: Path) -> subprocess.Popen:
    """A process in the middle of its work."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "TMPDIR": str(path.parent)}
    process = subprocess.Popen([sys.executable, "-c", HELD, kind, str(path)], env=environment, stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == b"\n"
    return process


def kill(process: subprocess.Popen) -> None:
    process.send_signal(signal.SIGKILL)
    process.communicate()


@pytest.fixture(autouse=True)
def _fresh(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    files._remove_abandoned_once.cache_clear()


def again(kind: str, path: Path) -> None:
    if kind == "file":
        write_atomically(path, "again")
    elif kind == "folder":
        with draft_folder(path) as folder:
            folder.rename(path)
    else:
        with private_folder() as folder:
            assert list(folder.iterdir()) == []


@pytest.mark.parametrize("kind", ["file", "folder", "private"])
def test_what_a_killed_process_left_is_removed_and_what_a_living_one_has_is_not(tmp_path: Path, kind: str):
    path = tmp_path / ("x" * 250)
    living, killed = held(kind, path), held(kind, path)
    assert len(list(tmp_path.iterdir())) == 2
    kill(killed)
    again(kind, path)
    left = [entry for entry in tmp_path.iterdir() if entry != path]
    assert len(left) == 1
    kill(living)
    remove_abandoned(tmp_path) if kind != "private" else again(kind, path)
    files._remove_abandoned_once.cache_clear()
    again(kind, path) if kind == "private" else None
    assert [entry for entry in tmp_path.iterdir() if entry != path] == []


def test_files_of_others_are_kept(tmp_path: Path):
    names = (".net.cir.original", ".net.cir.a1b2c3d4", ".analog_ep.toml", "analog_ep_notes")
    for name in names:
        (tmp_path / name).write_text("mine")
    write_atomically(tmp_path / "net.cir", "* t\n")
    again("private", tmp_path)
    assert {entry.name for entry in tmp_path.iterdir()} == {*names, "net.cir"}


def test_links_are_followed_and_devices_written(tmp_path: Path):
    (tmp_path / "deep").mkdir()
    link = tmp_path / "link"
    link.symlink_to("deep/file")
    for text in ("first", "second"):
        write_atomically(link, text)
        assert (tmp_path / "deep" / "file").read_text() == text
    assert link.is_symlink()
    before = os.stat("/dev/null")
    write_atomically(Path("/dev/null"), "gone")
    assert os.stat("/dev/null").st_ino == before.st_ino
    pipe, told = tmp_path / "pipe", []
    os.mkfifo(pipe)
    reader = threading.Thread(target=lambda: told.append(pipe.read_text()))
    reader.start()
    write_atomically(pipe, "through")
    reader.join()
    assert told == ["through"]
    with pytest.raises(IsADirectoryError):
        write_atomically(tmp_path / "deep", "x")


def test_many_writers_of_one_file(tmp_path: Path):
    path = tmp_path / "file"
    errors: list[BaseException] = []

    def write(number: int) -> None:
        try:
            for _ in range(30):
                write_atomically(path, 1000 * str(number))
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=write, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert len(set(path.read_text())) == 1
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_system_without_locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def refuse(*_):
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(files.fcntl, "flock", refuse)
    for kind in ("file", "folder", "private"):
        again(kind, tmp_path / kind)
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["file", "folder"]
