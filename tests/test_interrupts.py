"""The command answers an interrupt with one line and exit status 130, whenever it comes."""

import os
import signal
import subprocess
import sys
import time

import pytest

from analog_ep import __main__, cli
from analog_ep.cli import hardware

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


def test_the_signals_answer(monkeypatch: pytest.MonkeyPatch):
    said, codes = [], []
    monkeypatch.setattr(os, "write", lambda *words: said.append(words))
    monkeypatch.setattr(os, "_exit", codes.append)
    __main__.leave(signal.SIGINT, None)
    assert (said, codes) == ([(2, b"analog-ep: interrupted\n")], [130])
