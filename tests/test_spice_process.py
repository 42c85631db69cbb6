"""ngspice as a process: whatever it does, Python gets one clear error, and nothing is left behind."""

import itertools
import math
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from analog_ep.errors import (
    CircuitError,
    NgspiceCrashError,
    NgspiceNotFoundError,
    NgspiceResultError,
    NgspiceTimeoutError,
)
from analog_ep.ngspice.engines import find_engine
from analog_ep.ngspice.process import engine_version, find_ngspice, run_ngspice
from analog_ep.support import bounded

OPTIONS = ".options reltol=1e-9 vntol=1e-12 abstol=1e-15 gmin=1e-15\n"
SWEEP = "vidx idx 0 0\n.dc vidx 0 2 1\n.end\n"
DIVIDER = f"* divider\n{OPTIONS}b_x_0 a 0 v=pwl(v(idx),0,1.0,1,2.0,2,4.0)\nr_0 a b 1e3\nr_1 b 0 1e3\n{SWEEP}"


@pytest.fixture
def fake(tmp_path, monkeypatch):
    """Puts a shell script in ngspice's place."""

    def install(body: str, version: str = "** ngspice-39 : Circuit level simulation program") -> Path:
        path = tmp_path / "ngspice_fake"
        path.write_text(f'#!/bin/sh\nif [ "$1" = --version ]; then echo "{version}"; exit 0; fi\n{body}\n')
        path.chmod(0o755)
        monkeypatch.setenv("ANALOG_EP_NGSPICE", str(path))
        engine_version.cache_clear()
        return path

    return install


def is_running(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


def read_pids(path: Path) -> list[int]:
    for _ in range(1000):
        if path.exists() and path.read_text().endswith("\n"):
            return [int(word) for word in path.read_text().split()]
        time.sleep(0.02)
    raise AssertionError("the fake did not start")


def assert_gone(pids: list[int]) -> None:
    for _ in range(100):
        if not any(is_running(pid) for pid in pids):
            return
        time.sleep(0.02)
    raise AssertionError(f"still running: {pids}")


@pytest.mark.ngspice
def test_a_sweep(scratch):
    result = run_ngspice(DIVIDER, 3)
    assert result.columns(["v(b)"]).ravel().tolist() == [0.5, 1.0, 2.0]


@pytest.mark.ngspice
def test_the_version_is_read():
    assert float(engine_version(find_engine())) >= 34


@pytest.mark.ngspice
def test_results_do_not_depend_on_surroundings(scratch, tmp_path, monkeypatch):
    plain = run_ngspice(DIVIDER, 3).values
    scripts = tmp_path / "home" / "scripts"
    scripts.mkdir(parents=True)
    commands = f"shell touch {tmp_path}/executed\nset ngbehavior=ltps\nset temp=80\noption reltol=0.1\n"
    for path in (scripts / "spinit", scripts.parent / ".spiceinit", scripts.parent / "spice.rc"):
        path.write_text(commands)
    monkeypatch.chdir(scripts.parent)
    surroundings = {
        "HOME": scripts.parent, "SPICE_SCRIPTS": scripts, "SPICE_LIB_DIR": scripts.parent, "SPICE_ASCIIRAWFILE": "1",
        "LC_ALL": "de_DE.UTF-8", "LC_NUMERIC": "de_DE.UTF-8", "LANG": "tr_TR.UTF-8", "NGSPICE_MEAS_PRECISION": "2",
    }  # fmt: skip
    for name, value in surroundings.items():
        monkeypatch.setenv(name, str(value))
    found = list(ThreadPoolExecutor(4).map(lambda _: run_ngspice(DIVIDER, 3).values, range(12)))
    assert all((values == plain).all() for values in found)
    assert not (tmp_path / "executed").exists()
    assert sorted(path.name for path in scripts.parent.iterdir()) == [".spiceinit", "scripts", "spice.rc"]


@pytest.mark.ngspice
def test_start_up_files_and_the_working_directory_are_ignored(scratch, tmp_path, monkeypatch):
    for name in (".spiceinit", "spice.rc"):
        (tmp_path / name).write_text(f"shell touch {tmp_path}/executed\nset ngbehavior=ltps\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("SPICE_ASCIIRAWFILE", "1")
    run_ngspice(DIVIDER, 3)
    assert not (tmp_path / "executed").exists()
    assert not (tmp_path / "out.raw").exists()


@pytest.mark.ngspice
@pytest.mark.parametrize(
    ("cards", "words"),
    [
        ("v_0 a 0 1\nr_0 a 0 1\ni_0 0 b 1e-3\nc_0 b 0 1e-9", "without complaint.*singular matrix: check node b"),
        ("v_0 a 0 1\nr_0 a b 1\ng_0 0 b b 0 1", "singular matrix: check node b"),
        ("v_0 a 0 1\nv_1 a 0 2\nr_0 a 0 1", "status 0, found 1: .*singular matrix: check node v_0#branch"),
        ("v_0 a 0 1\nr_0 a 0", "resistance to low"),
        ("v_0 a 0 1\nr_0 a b 1\nd_0 b 0 nomodel", "can't find model 'nomodel'"),
        ("v_0 a 0 1\nr_0 a 0 1\nb_0 a 0 i=foo(v(a))", "no such function 'foo'"),
        ("v_0 a 0 1\nr_0 a 0 1\nf_0 a 0 v_9 2", "unknown controlling source v_9"),
        ("v_0 a 0 1\nr_0 a 0 1\nr_0 a 0 2", "device already exists"),
        ("b_0 a 0 v=pwl(v(idx),0,1,0,2)\nr_0 a 0 1", "ended by SIGSEGV: .*abscissa of points must be ascending"),
        (
            "v_0 a 0 1\nr_0 a b 1\nb_0 b 0 i=v(idx)>1.5 ? (v(b)>0.5 ? 10 : -10) : 0",
            'Timestep too small; vidx = 2: trouble with node "b"',
        ),
    ],
)
def test_what_ngspice_complains_about(scratch, cards, words):
    with pytest.raises((NgspiceResultError, NgspiceCrashError), match=words) as caught:
        run_ngspice(f"* t\n{OPTIONS}{cards}\n{SWEEP}", 3)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 500


@pytest.mark.ngspice
def test_failed_steps_on_the_way_to_a_solution_are_no_complaint(scratch, tmp_path):
    # Newton cycles around this arctangent; both kinds of gmin stepping fail too, and source stepping succeeds.
    cards = "v_0 a 0 1\nr_0 a b 10\nb_0 b 0 i=0.1*atan(6*(v(b)-0.5))\n"
    deck = f"* t\n{OPTIONS}{cards}{SWEEP}"
    program = [str(find_ngspice()), "-n", "-b", "-r", "o.raw"]
    output = subprocess.run(program, input=deck, text=True, capture_output=True, cwd=tmp_path, check=True).stderr
    assert "Warning: True gmin stepping failed" in output
    voltage = run_ngspice(deck, 3).columns(["v(b)"])[0, 0]
    assert (1 - voltage) / 10 == pytest.approx(0.1 * math.atan(6 * (voltage - 0.5)), rel=1e-9)


@pytest.mark.ngspice
def test_no_analysis_and_another_number_of_points(scratch):
    with pytest.raises(NgspiceResultError, match="must write a result, found none"):
        run_ngspice("* t\nv_0 a 0 1\nr_0 a 0 1\n.end\n", 1)
    with pytest.raises(NgspiceResultError, match="must return 4 points, found 3"):
        run_ngspice(DIVIDER, 4)


def test_a_hang_is_ended_with_all_its_children(scratch, fake, tmp_path):
    fake(f"sleep 60 &\necho $$ $! > {tmp_path}/pids\nwait")
    begin = time.monotonic()
    with pytest.raises(NgspiceTimeoutError, match=r"must end within 0\.5 s, found it still running"):
        run_ngspice(DIVIDER, 3, timeout=0.5)
    assert time.monotonic() - begin < 5
    assert_gone(read_pids(tmp_path / "pids"))


def test_a_child_that_outlives_ngspice_is_ended_too(scratch, fake, tmp_path):
    fake(f"sleep 60 &\necho $! > {tmp_path}/pids\nexit 0")
    with pytest.raises(NgspiceTimeoutError):
        run_ngspice(DIVIDER, 3, timeout=0.5)
    assert_gone(read_pids(tmp_path / "pids"))


def test_an_interrupt_ends_ngspice(scratch, fake, tmp_path):
    fake(f"echo $$ > {tmp_path}/pids\nexec sleep 60")

    def interrupt():
        read_pids(tmp_path / "pids")
        # Before Popen has returned, Python knows no process that it could end.
        time.sleep(0.3)
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=interrupt).start()
    with pytest.raises(KeyboardInterrupt):
        run_ngspice(DIVIDER, 3, timeout=30)
    assert_gone(read_pids(tmp_path / "pids"))


def test_a_kill_from_outside(scratch, fake, tmp_path):
    fake(f"echo $$ > {tmp_path}/pids\nexec sleep 60")
    threading.Thread(target=lambda: os.kill(read_pids(tmp_path / "pids")[0], signal.SIGKILL)).start()
    with pytest.raises(NgspiceCrashError, match="ended by SIGKILL: no words"):
        run_ngspice(DIVIDER, 3, timeout=30)


@pytest.mark.skipif(shutil.which("setpriv") is None, reason="setpriv of util-linux is not on this machine")
def test_a_kill_of_python_ends_ngspice(fake, tmp_path):
    fake(f"echo $$ > {tmp_path}/pids\nexec sleep 60")
    code = f"from analog_ep.ngspice.process import run_ngspice; run_ngspice({DIVIDER!r}, 3, timeout=60)"
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    python = subprocess.Popen([sys.executable, "-c", code], env=environment)
    pids = read_pids(tmp_path / "pids")
    python.kill()
    python.wait()
    assert_gone(pids)


def test_a_crash(scratch, fake):
    fake("echo 'Error: last words' >&2\nkill -SEGV $$")
    with pytest.raises(NgspiceCrashError, match="ended by SIGSEGV: Error: last words"):
        run_ngspice(DIVIDER, 3)


def test_success_without_a_result(scratch, fake):
    fake("cat > /dev/null\nexit 0")
    with pytest.raises(NgspiceResultError, match="must write a result, found none"):
        run_ngspice(DIVIDER, 3)


def test_failure_without_words(scratch, fake):
    fake("exit 3")
    with pytest.raises(NgspiceResultError, match="status 0, found 3: no words"):
        run_ngspice(DIVIDER, 3)


@pytest.mark.ngspice
def test_a_truncated_result(scratch, fake):
    fake(f"{shutil.which('ngspice')} $@ && truncate -s -8 out.raw")
    with pytest.raises(NgspiceResultError, match=r"found \d+; the analysis did not reach its end"):
        run_ngspice(DIVIDER, 3)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("r_0 a 0 1\n\n.control\nquit", ".control"),
        ("  .Control", "  .Control"),
        ("*# shell", "*# shell"),
        ("a1 in out model", "a1 in out model"),
        (".measure tran x", ".measure tran x"),
        ("r_0 a 0 1 ; r_1", ";"),
        ("* caf\u00e9", "\u00e9"),
        ("* \udc80", "\udc80"),
        ("r_0 a 0 1\r", "\r"),
        ("r_0\ta 0 1", "\t"),
    ],
)
def test_what_a_deck_may_not_hold(scratch, fake, text, found):
    fake("exit 3")
    with pytest.raises(CircuitError, match=f"found {re.escape(repr(found))}; take it out"):
        run_ngspice(f"* t\n{text}\n.op\n.end\n", 1)


def test_blank_lines_comments_and_continued_lines_are_let_through(scratch, fake):
    fake("exit 3")
    with pytest.raises(NgspiceResultError, match="status 0, found 3"):
        run_ngspice("* t\n\n   \n  R_0 a 0\n+ 1\n*\n.OP\n.end\n", 1)


def test_a_large_deck_reaches_a_program_that_reads_it_late(scratch, fake):
    fake("sleep 0.2\n[ $(wc -c) = 3000003 ] || exit 4\nexit 3")
    with pytest.raises(NgspiceResultError, match="status 0, found 3"):
        run_ngspice("* t\n" + 299999 * "* comment\n" + ".op\n.end\n", 1)


def assert_refused(words: str, **limits) -> None:
    """One line with `words`, within five seconds."""
    begin = time.monotonic()
    with pytest.raises(NgspiceResultError, match=words) as caught:
        run_ngspice(DIVIDER, 3, **limits)
    assert time.monotonic() - begin < 5
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 500


@pytest.mark.ngspice
def test_memory_is_limited_while_a_deck_is_read(scratch):
    towers = "".join(f".subckt s{i + 1} a\n" + 10 * f"x_% a s{i}\n" + ".ends\n" for i in range(6))
    cards = f".subckt s0 a\nr_0 a 0 1\n.ends\n{towers}v_0 a 0 1\nx_0 a s6\n.op\n.end\n"
    number = itertools.count()
    deck = "* t\n" + re.sub("%", lambda _: str(next(number)), cards)
    with pytest.raises(NgspiceResultError, match="must do with 48 MB of memory, found it asking for more; run fewer"):
        run_ngspice(deck, 1, timeout=60, memory_limit=48 * 2**20)
    with pytest.raises(NgspiceTimeoutError):
        run_ngspice(deck, 1, timeout=0.5, memory_limit=None)


@pytest.mark.ngspice
def test_memory_limits_leave_room_for_what_fits(scratch):
    assert (run_ngspice(DIVIDER, 3, memory_limit=10**9).values == run_ngspice(DIVIDER, 3).values).all()


@pytest.mark.skipif(shutil.which("prlimit") is None, reason="prlimit of util-linux is not on this machine")
def test_limits_hold_for_children_too(scratch, fake, tmp_path):
    fake(f"sh -c 'ulimit -v; ulimit -f; ulimit -c' > {tmp_path}/limits\nexit 3")
    assert_refused("found 3", memory_limit=2**30)
    address_space, blocks, core = map(int, (tmp_path / "limits").read_text().split())
    assert (address_space, core) == (2**20, 0)
    assert 0 < blocks * 512 <= 8 * 2**30


@pytest.mark.skipif(shutil.which("prlimit") is None, reason="prlimit of util-linux is not on this machine")
def test_a_result_that_grows_without_end(scratch, fake, monkeypatch):
    monkeypatch.setattr(bounded, "LONGEST_FILE", 2**20)
    fake("exec yes > out.raw")
    assert_refused("must write files of at most 1 MB, found it writing more and stopped it; run fewer samples")


@pytest.mark.parametrize(
    "flood", ["exec yes", "exec yes $(printf '\\033[31m')", "exec cat /dev/zero", "yes & yes & yes"]
)
def test_a_flood_of_words_is_ended(scratch, fake, flood):
    fake(flood)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(NgspiceResultError, match="must say less than 4 MB, found it still talking") as caught:
        run_ngspice(DIVIDER, 3, timeout=60)
    assert str(caught.value).isprintable()
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100e3


@pytest.mark.parametrize(
    ("result", "words"),
    [
        ("mkfifo out.raw", "must be a file, found a device, pipe or folder"),
        ("mkdir out.raw", "must be a file, found a device, pipe or folder"),
        ("ln -s /dev/zero out.raw", "must be a file, found none to read: Too many levels of symbolic links"),
        ("ln -s ../../../real.raw out.raw", "must be a file, found none to read"),
        ("truncate -s 1G out.raw", "must be a binary raw file, found no binary data"),
        ("yes | head -c 1000000 > out.raw", "must be a binary raw file, found no binary data"),
        (": > out.raw", "must be a binary raw file, found no binary data"),
    ],
)
def test_a_result_that_is_no_file_of_its_own(scratch, fake, result, words):
    fake(f"{result}\nexit 0")
    assert_refused(words)


def test_a_time_limit_holds_where_the_output_is_closed_or_the_process_stopped(scratch, fake, tmp_path):
    for body in ("exec >&- 2>&-\nexec sleep 60", "kill -STOP $$", "trap '' TERM INT HUP\nwhile :; do sleep 1; done"):
        fake(f"echo $$ > {tmp_path}/pids\n{body}")
        begin = time.monotonic()
        with pytest.raises(NgspiceTimeoutError):
            run_ngspice(DIVIDER, 3, timeout=0.3)
        assert time.monotonic() - begin < 5
        assert_gone(read_pids(tmp_path / "pids"))
        (tmp_path / "pids").unlink()


DAEMON = """
import os, sys, time
if os.fork():
    os._exit(0)
os.setsid()
if os.fork():
    os._exit(0)
os.chdir("/")
os.closerange(0, 3)
with open(sys.argv[1], "w") as file:
    file.write(f"{os.getpid()}\\n")
time.sleep(60)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells which processes there are")
@pytest.mark.parametrize("end", ["exit 0", "exec sleep 60"])
@pytest.mark.parametrize(
    "child",
    [
        "sleep 60 > /dev/null 2>&1 &\necho $! > {pids}",
        "nohup sleep 60 > /dev/null 2>&1 &\necho $! > {pids}",
        "setsid sleep 60 > /dev/null 2>&1 &\necho $! > {pids}",
        "cd /; setsid sh -c 'sleep 60 & echo $$ $! > {pids}; wait' > /dev/null 2>&1 &",
        "env -i setsid sh -c 'sleep 60 & echo $$ $! > {pids}; wait' > /dev/null 2>&1 &",
        "{python} -S {daemon} {pids}",
    ],
)
def test_no_child_is_left_wherever_it_went(scratch, fake, tmp_path, child, end):
    daemon, pids = tmp_path / "daemon.py", tmp_path / "pids"
    daemon.write_text(DAEMON)
    begun = f"while [ ! -s {pids} ]; do sleep 0.02; done"
    fake("\n".join([child.format(pids=pids, python=sys.executable, daemon=daemon), begun, end]))
    with pytest.raises((NgspiceResultError, NgspiceTimeoutError)):
        run_ngspice(DIVIDER, 3, timeout=60 if end == "exit 0" else 0.5)
    assert_gone(read_pids(pids))


def test_no_ngspice(monkeypatch, tmp_path):
    monkeypatch.setenv("ANALOG_EP_NGSPICE", str(tmp_path / "absent"))
    with pytest.raises(NgspiceNotFoundError, match=r"apt install ngspice.* or set ANALOG_EP_NGSPICE"):
        run_ngspice(DIVIDER, 3)
    monkeypatch.delenv("ANALOG_EP_NGSPICE")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(NgspiceNotFoundError, match="must be installed, found no program 'ngspice'"):
        find_ngspice()
    assert find_ngspice(sys.executable) == Path(sys.executable).absolute()


@pytest.mark.parametrize(
    ("version", "message"),
    [("** ngspice-30 : old", "version 34 or newer, found 30"), ("python 3", "a program that names no version")],
)
def test_another_program_or_version(fake, version, message):
    fake("exit 0", version)
    with pytest.raises(NgspiceNotFoundError, match=message):
        run_ngspice(DIVIDER, 3)


def test_a_program_that_does_not_run(fake):
    fake("exit 0").write_text("\x7fELF broken")
    with pytest.raises(NgspiceNotFoundError, match="must be ngspice, found a program that does not run"):
        run_ngspice(DIVIDER, 3)
