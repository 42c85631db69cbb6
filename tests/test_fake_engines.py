"""Programs in ngspice's place that do what no ngspice should: one clear line, in time, and nothing left behind."""

import random
import signal
import tempfile
import time
from pathlib import Path

import numpy as np
import pytest

from analog_ep import cli
from analog_ep.errors import NgspiceError
from analog_ep.ngspice import process as spice_process
from analog_ep.ngspice.engines import ENGINES
from analog_ep.ngspice.process import engine_version, run_exported, run_ngspice, run_own, run_plots
from analog_ep.runs.choosing import choose_spec
from analog_ep.runs.folder import Run
from analog_ep.support import bounded

CASES = 60
LIMIT = 0.3
ITSELF = 'case "$*" in *--version) echo ngspice-39; exit 0;; -h) echo This is vacask 1.2.; exit 0; esac'
"""How a program answers what it is."""

OWN = "// t\nv_0 (a 0) vsource dc=1\n"
DECK = "* t\nv_0 a 0 1\nr_0 a 0 1\nvidx idx 0 0\n.dc vidx 0 2 1\n.end\n"
HEADER = (
    b"Title: t\nDate: d\nPlotname: p\nFlags: real\nNo. Variables: 2\nNo. Points: 3\nVariables:\n\t0\ta\tv\n\t1\tb\tv\n"
)
SOUND = HEADER + b"Binary:\n" + np.arange(6.0).tobytes()

WORDS = (
    ":", "echo hello", "echo 'Error: no' >&2", "head -c 100000 /dev/urandom", "yes | head -c 3000000",
    "printf '\\033[2J\\a'", "sleep 0.02", "printf '%200000s' x", "exec 2>&-", "cat > /dev/null",
)  # fmt: skip
CHILDREN = (
    ":", "sleep 5 &", "sleep 5 > /dev/null 2>&1 &", "setsid sleep 5 > /dev/null 2>&1 &",
    "(setsid sleep 5 &) > /dev/null 2>&1",
    "mkdir -p a/b; chmod 0 a", "ln -s / link; mkfifo pipe", "rm -rf $PWD", "kill -STOP $(sh -c 'echo $$')",
)  # fmt: skip
ENDS = (
    "exit 0",
    "exit 0",
    "exit 0",
    "exit 1",
    "exit 127",
    "kill -SEGV $$",
    "kill -TERM $$",
    "kill -STOP $$",
    "exec sleep 5",
)


def damaged(generator: random.Random) -> bytes:
    """A result with some of it changed."""
    result = bytearray(SOUND)
    kind = generator.randrange(7)
    if kind == 0:
        del result[generator.randrange(len(result)) :]
    elif kind == 1:
        for _ in range(generator.randrange(1, 20)):
            result[generator.randrange(len(result))] = generator.randrange(256)
    elif kind == 2:
        result[-8:] = np.array([generator.choice([np.nan, np.inf, -np.inf])]).tobytes()
    elif kind == 3:
        count = generator.choice([b"0", b"-3", b"4", b"1e9", b"9" * 5000, b"99999999999", b"", b"three"])
        field = generator.choice([b"No. Points: 3", b"No. Variables: 2"])
        return bytes(result).replace(field, field[:-1] + count)
    elif kind == 4:
        return generator.randbytes(generator.randrange(5000))
    elif kind == 5:
        return b"Title: " + b"x\n" * generator.randrange(10**6) + SOUND
    else:
        return bytes(result) + SOUND[: generator.randrange(1, len(SOUND))]
    return bytes(result)


@pytest.fixture
def scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "scratch"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


def left_over(folder: Path) -> list[str]:
    """Processes that work, or worked, in a folder."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            state = (process / "stat").read_text().rpartition(")")[2].split()[0]
            if state not in "ZX" and str(folder).encode() in (process / "environ").read_bytes():
                found.append((process / "cmdline").read_text())
        except OSError:
            continue
    return found


def outcome(way: int, engine: str, exported: Path) -> str | None:
    """What an error said; any but ours is the test's failure."""
    try:
        if engine == "vacask":
            run_exported(exported, "samples", timeout=LIMIT) if way else run_own(OWN, 3, timeout=LIMIT)
        else:
            run_plots(DECK, timeout=LIMIT) if way else run_ngspice(DECK, 3, timeout=LIMIT)
    except NgspiceError as error:
        return str(error)
    return None


def in_place_of(engine: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A program that is asked where `engine` is: in ngspice's place, or in that of the node that runs it."""
    program, module = folder / "fake", folder / "node_modules" / "eecircuit-engine" / "dist" / "eecircuit-engine.mjs"
    program.touch(0o755)
    module.parent.mkdir(parents=True)
    module.touch()
    variables = {"ngspice": "ANALOG_EP_NGSPICE", "ngspice-wasm": "ANALOG_EP_NODE", "vacask": "ANALOG_EP_VACASK"}
    monkeypatch.setenv(variables[engine], str(program))
    monkeypatch.setenv("ANALOG_EP_ENGINES", str(folder))
    monkeypatch.setenv("ANALOG_EP_ENGINE", engine)
    return program


@pytest.mark.parametrize("engine", ENGINES)
def test_whatever_a_program_does_there_is_one_line_in_time_and_nothing_left(
    engine: str, scratch: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    program, result = in_place_of(engine, tmp_path, monkeypatch), tmp_path / "result"
    exported = tmp_path / "exported.sim"
    exported.write_text(OWN)
    # Most of the wall time is waiting for children that hold the output; that it ends does not depend on how long.
    monkeypatch.setattr(bounded, "_GRACE", 0.1)
    generator, sound = random.Random(5), 0
    for _ in range(CASES):
        result.write_bytes(SOUND if generator.random() < 0.3 else damaged(generator))
        words, child, end = (generator.choice(choice) for choice in (WORDS, CHILDREN, ENDS))
        body = f"{words}\ncp {result} out.raw; cp {result} samples.raw\n{child}\n{end}\n"
        program.write_text(f"#!/bin/sh\n{ITSELF}\n{body}")
        engine_version.cache_clear()
        begin = time.monotonic()
        said = outcome(generator.randrange(2), engine, exported)
        sound += said is None
        assert said is None or (said.isprintable() and len(said) < 600), body
        assert time.monotonic() - begin < LIMIT + 5, body
        assert list(scratch.iterdir()) == [], body
    assert 0 < sound < CASES
    assert left_over(scratch) == []
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


CARD = ".model d d(is=1e-9 n=1.5)\n"
ANSWERS = {
    "nothing": "exit 0",
    "status": "echo 'Error: no memory of it'; exit 3",
    "crash": "kill -SEGV $$",
    "short": "printf 'Title: t\\nPlotname: p\\nFlags: real\\nNo. Variables: 1\\nNo. Points: 3\\nBinary:\\n' | "
    "tee out.raw > samples.raw",
    "noise": "head -c 20000 /dev/urandom | tee out.raw > samples.raw; setsid sleep 60 > /dev/null 2>&1 &",
    "flood": "exec yes",
    "no ngspice": None,
}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("runs") / "run"
    Run.create(path, choose_spec(None, "xor", epochs=1)).train()
    return path


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("answer", ANSWERS)
def test_whole_commands_with_such_a_program(
    answer: str, engine: str, run: Path, scratch: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
):  # fmt: skip
    program, out = in_place_of(engine, tmp_path, monkeypatch), ["--out", str(tmp_path / "out")]
    body, itself = ANSWERS[answer], ITSELF if ANSWERS[answer] else "echo hello"
    program.write_text(f"#!/bin/sh\n{itself}\n{body}\n")
    (tmp_path / "card.lib").write_text(CARD)
    for arguments in (
        ["check", str(run), "--samples", "2"],
        ["train", "--data", "xor", "--solver", "ngspice", "--epochs", "1", *out],
        ["calibrate", "solver", str(tmp_path / "card.lib"), "--out", str(tmp_path / "card.toml")],
        ["export", str(run), "--phase", "transient", "--out", str(tmp_path / "deck.cir")],
        # It looks at much else, which takes seconds.
        *([["doctor"]] if answer == "crash" else []),
    ):
        engine_version.cache_clear()
        spice_process.has_klu.cache_clear()
        begin = time.monotonic()
        with pytest.raises(SystemExit) as ended:
            cli.main(arguments)
        said, code = capsys.readouterr(), ended.value.code
        words = code if isinstance(code, str) else said.err.strip()
        assert time.monotonic() - begin < 20, arguments
        assert arguments[0] == "export" or code not in (0, None), arguments
        assert "Traceback" not in said.out + said.err
        assert words.isprintable(), arguments
        assert arguments[0] in ("export", "doctor") or (words.startswith("analog-ep: ") and len(words) < 800), arguments
        assert list(scratch.iterdir()) == [], arguments
    assert left_over(scratch) == []
    assert not (tmp_path / "card.toml").exists()
    engine_version.cache_clear()
    spice_process.has_klu.cache_clear()
