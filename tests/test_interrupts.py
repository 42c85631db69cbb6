"""The command answers an interrupt with one line and exit status 130, whenever it comes."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from analog_ep import __main__, cli
from analog_ep.cli import hardware
from analog_ep.runs.folder import CHECKPOINT

SLOW = """
import sys, time
class Slow:
    def find_spec(self, name, path=None, target=None):
        if name == {name!r}:
            print(flush=True)
            try:
                time.sleep(60)
            except BaseException:
                pass
sys.meta_path.insert(0, Slow())
sys.argv[:] = ["analog-ep", "--version"]
from analog_ep.__main__ import main
main()
"""


@pytest.mark.parametrize("name", ["analog_ep.cli", "torch", "numpy"])
def test_an_interrupt_while_modules_are_loaded(name: str):
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    pipe = subprocess.PIPE
    code = SLOW.format(name=name)
    process = subprocess.Popen([sys.executable, "-c", code], stdout=pipe, stderr=pipe, env=environment, text=True)
    assert process.stdout is not None
    process.stdout.readline()
    begin = time.monotonic()
    process.send_signal(signal.SIGINT)
    assert process.communicate() == ("", "analog-ep: interrupted\n")
    assert process.returncode == 130
    assert time.monotonic() - begin < 10


def test_an_interrupt_of_a_command_without_an_answer_of_its_own(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    def interrupted() -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(hardware, "examine", interrupted)
    with pytest.raises(SystemExit) as ended:
        cli.main(["doctor"])
    assert ended.value.code == 130
    assert capsys.readouterr().err == "analog-ep: interrupted\n"


STUDY = 'base = "xor"\nepochs = 100000\nseeds = [3, 4]\n[axes.gain]\n"gain 4" = {}\n'
SLOW_ENGINE = """#!/bin/sh
if [ "$1" = --version ]; then echo ngspice-39; exit 0; fi
touch "$MARK/began"
exec sleep 60
"""


def living(mark: str) -> list[str]:
    """Processes that have a word in their environment."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            state = (process / "stat").read_text().rpartition(")")[2].split()[0]
            if state not in "ZX" and mark.encode() in (process / "environ").read_bytes():
                found.append((process / "cmdline").read_text())
    return found


def answer(folder: Path, number: signal.Signals, begun: str, *arguments: str) -> tuple[int, str, str]:
    """Exit status and words of a command; when there is a file of a pattern all its process group gets a signal."""
    scratch = folder / "scratch"
    scratch.mkdir()
    environment = {"MARK": str(folder), "TMPDIR": str(scratch), "PYTHONPATH": os.pathsep.join(sys.path)}
    environment["ANALOG_EP_NGSPICE"] = str(folder / "engine")
    command, pipe = [sys.executable, "-m", "analog_ep", *arguments], subprocess.PIPE
    process = subprocess.Popen(
        command, env={**os.environ, **environment}, stdout=pipe, stderr=pipe, text=True, start_new_session=True
    )
    deadline = time.monotonic() + 100
    while not list(folder.glob(begun)):
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.01)
    os.killpg(process.pid, number)
    said = process.communicate(timeout=60)
    while living(str(folder)):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert list(scratch.glob("analog_ep-*")) == []
    return process.returncode, *said


def test_a_terminals_interrupt_of_a_study_and_its_processes(tmp_path: Path):
    (tmp_path / "s.toml").write_text(STUDY)
    out = tmp_path / "out"
    arguments = ("study", str(tmp_path / "s.toml"), "--out", str(out), "--jobs", "2")
    words = f"analog-ep: interrupted; the same command goes on in {out}\n"
    assert answer(tmp_path, signal.SIGINT, "out/cells/*.lock", *arguments) == (130, "", words)


def test_an_end_of_a_training_by_ngspice(tmp_path: Path):
    (tmp_path / "engine").write_text(SLOW_ENGINE)
    (tmp_path / "engine").chmod(0o755)
    run = tmp_path / "run"
    arguments = ("train", "--data", "xor", "--solver", "ngspice", "--out", str(run))
    words = f"analog-ep: interrupted; {run / CHECKPOINT} holds 0 of "
    status, said, error = answer(tmp_path, signal.SIGTERM, "began", *arguments)
    assert (status, said, error[: len(words)], error.count("\n")) == (143, "", words, 1)
    assert not [left for left in run.iterdir() if left.name.startswith(".")]


@pytest.mark.parametrize(
    ("environment", "spoken", "raised"),
    [
        ({}, True, KeyboardInterrupt),
        ({"TORCHELASTIC_RUN_ID": "1", "RANK": "0"}, True, KeyboardInterrupt),
        ({"TORCHELASTIC_RUN_ID": "1", "RANK": "1"}, False, SystemExit),
    ],
)
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_signals_answer(
    number: signal.Signals, environment: dict[str, str], spoken: bool, raised: type[BaseException],
    monkeypatch: pytest.MonkeyPatch,
):  # fmt: skip
    said, codes, handlers = [], [], {}
    monkeypatch.setattr(os, "write", lambda *words: said.append(words))
    monkeypatch.setattr(os, "_exit", codes.append)
    monkeypatch.setattr(signal, "signal", handlers.__setitem__)
    for name in ("TORCHELASTIC_RUN_ID", "RANK"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    __main__.leave(number, None)
    assert (said, codes) == ([(2, b"analog-ep: interrupted\n")] * spoken, [128 + number])
    with pytest.raises(raised) as ended:
        __main__.interrupt(number, None)
    assert ended.value.args == (number if spoken else 128 + number,)
    # What torchrun hands on once more does not keep a process from tidying up.
    assert set(handlers) == {signal.SIGINT, signal.SIGTERM}
    assert set(handlers.values()) == {signal.SIG_IGN if environment else __main__.leave}
