"""A program that runs within bounds of time, memory, words and files, and leaves no process behind."""

from __future__ import annotations

import contextlib
import math
import os
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from functools import lru_cache
from pathlib import Path
from typing import IO

from analog_ep.errors import NgspiceCrashError, NgspiceError, NgspiceResultError, NgspiceTimeoutError
from analog_ep.support.kin import end_kin

if sys.platform != "win32":
    import resource

MACHINE_MEMORY = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") if sys.platform != "win32" else None
"""Memory that this machine has; None where it does not say. [bytes]"""

LONGEST_FILE = min(8 * 2**30, (MACHINE_MEMORY or 2**34) // 2)
"""Largest file that a run may write, where half of the disk's free space is not less. [bytes]"""

MOST_WORDS = 4 * 2**20
"""What a run may say. [bytes]"""

_SHORTEST_PAUSE, _LONGEST_PAUSE = 1e-4, 0.05
_GRACE = 1.0
"""How long children that outlive ngspice may still hold its output. [s]"""

_PAGE = 2**16
_SHOWN = 80
_PRINTABLE = bytes(code if 0x20 <= code < 0x7F or code in b"\n\r\t" else 0x3F for code in range(256))


class Stop:
    """Ends all runs that share it, from another thread; once set it also keeps new ones from beginning."""

    def __init__(self):
        self._lock = threading.Lock()
        self._running: set[subprocess.Popen[bytes]] = set()
        self._is_set = False

    def set(self) -> None:
        """Kill every run with its children."""
        with self._lock:
            self._is_set = True
            for process in self._running:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)

    def start(self, command: list[str], folder: Path, text: IO[bytes]) -> subprocess.Popen[bytes]:
        """Start a process in a session of its own, with a file as its input and a pipe from its output.

        Where util-linux is there it ends with the thread that starts it, even if that is killed.
        """
        with self._lock:
            if self._is_set:
                raise NgspiceCrashError("ngspice must run to its end, found the batch stopped")
            process = subprocess.Popen(
                [*_ends_with_python(), *command],
                stdin=text,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                bufsize=0,
                cwd=folder,
                env=_environment(folder),
                start_new_session=True,
            )
            self._running.add(process)
            return process

    def end(self, process: subprocess.Popen[bytes], folder: Path) -> None:
        """Kill whatever still runs of a process, its children and theirs, and forget it."""
        with self._lock:
            # Until it is waited for, the process keeps its number, so that a kill reaches no other group.
            self._running.discard(process)
        if process.returncode is None:
            end_kin(process.pid, folder)
        process.wait()
        if process.stdout is not None:
            process.stdout.close()


@lru_cache
def _program(name: str) -> str | None:
    """Path of a program of util-linux, where it is there."""
    return shutil.which(name) if sys.platform == "linux" else None


def _ends_with_python() -> list[str]:
    """Words before a command by which Linux kills it when Python is killed; none where util-linux is not there.

    A function for the child to call before the program begins would not be safe beside other threads.
    """
    setpriv = _program("setpriv")
    return [] if setpriv is None else [setpriv, "--pdeathsig", "KILL", "--"]


def _environment(folder: Path) -> dict[str, str]:
    """The caller's environment but for what changes an engine's numbers or start-up, or node's."""
    others = ("SPICE", "NGSPICE", "LC_", "NODE_", "SIM_")
    ours = {name: value for name, value in os.environ.items() if not name.startswith(others)}
    # Commands in a file `spinit` of that folder are executed, also with `-n`; there is none.
    return {**ours, "LC_ALL": "C", "SPICE_ASCIIRAWFILE": "0", "SPICE_SCRIPTS": str(folder)}


def run_bounded(
    command: list[str],
    text: bytes,
    folder: Path,
    time_limit: float | None,
    memory_limit: int | None,
    stop: Stop | None = None,
) -> tuple[int, str]:
    """Exit status and output of a command; no process that it started outlives this call.

    Processes that give up the command's group, session and parent are found by the folder, as long as it is their
    working directory or stands in their environment.

    Parameters
    ----------
    command : list of str
        Program and arguments.
    text : bytes
        Its input.
    folder : Path
        Working directory, of this run alone.
    time_limit : float or None
        From the start to the last word. [s]
    memory_limit : int or None
        Address space of each process of the run; holds where util-linux is there. [bytes]
    stop : Stop, optional
        Ends the run from another thread.

    Raises
    ------
    NgspiceTimeoutError, NgspiceResultError
        If it takes longer, or says or writes more than it may.
    NgspiceCrashError
        If it was stopped before it began.
    """
    stop = Stop() if stop is None else stop
    # Through a pipe the text would go page by page, and each page wait for the other threads of Python.
    longest_file = min(LONGEST_FILE, shutil.disk_usage(folder).free // 2)
    with tempfile.TemporaryFile() as deck:
        _fill(deck, text)
        process = stop.start([*_limited(memory_limit, longest_file), *command], folder, deck)
        try:
            output = _words(process, time_limit)
        finally:
            stop.end(process, folder)
    _require_short_files(process, longest_file)
    return process.returncode, output


def _require_short_files(process: subprocess.Popen[bytes], longest: int) -> None:
    if process.returncode == -signal.SIGXFSZ:
        raise NgspiceResultError(
            f"ngspice must write files of at most {longest / 2**20:.0f} MB, found it writing more and stopped it; "
            "run fewer samples or points, or free some disk"
        )


def _fill(deck: IO[bytes], text: bytes) -> None:
    try:
        deck.write(text)
        deck.seek(0)
    except OSError as error:
        raise NgspiceError(
            f"ngspice needs a folder for temporary files with room for a deck of {len(text)} bytes, found none: "
            f"{error.strerror}; free some disk or set TMPDIR to another folder"
        ) from None


def _limited(memory: int | None, longest_file: int) -> list[str]:
    """Words before a command by which Linux holds it and its children to limits; none where util-linux is not there.

    Set from outside, they could come after the first children.
    """
    prlimit = _program("prlimit")
    if prlimit is None:
        return []
    limits = {"as": (resource.RLIMIT_AS, memory), "fsize": (resource.RLIMIT_FSIZE, longest_file)}
    return [prlimit, "--core=0", *(_limit(name, *limit) for name, limit in limits.items()), "--"]


def _limit(name: str, kind: int, wanted: int | None) -> str:
    """An option of prlimit: no caller may raise the limits that it has itself."""
    _, hard = resource.getrlimit(kind)
    allowed = [limit for limit in (wanted, hard) if limit not in (None, resource.RLIM_INFINITY)]
    return f"--{name}={min(allowed, default='unlimited')}"


def _words(process: subprocess.Popen[bytes], time_limit: float | None) -> str:
    """What a process says until it ends; of children that outlive it, what they say soon after."""
    assert process.stdout is not None
    deadline = math.inf if time_limit is None else time.monotonic() + time_limit
    os.set_blocking(process.stdout.fileno(), False)
    poll = select.poll()
    poll.register(process.stdout, select.POLLIN)
    said, listening, pause, last_word = bytearray(), True, _SHORTEST_PAUSE, math.inf
    while listening or last_word == math.inf:
        now = time.monotonic()
        if last_word == math.inf and _has_ended(process):
            last_word = now + _GRACE
        if now > deadline:
            raise NgspiceTimeoutError(
                f"ngspice must end within {time_limit:g} s, found it still running and stopped it; "
                f"raise the time limit or run fewer samples"
            )
        if now > last_word:
            break
        if listening:
            poll.poll(1e3 * _LONGEST_PAUSE)
            listening = _hear(process.stdout, said)
        else:
            # It has closed its output, most often because it is about to end.
            time.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE)
    return _text(said)


def _hear(pipe: IO[bytes], said: bytearray) -> bool:
    """Add what a pipe holds; false where nothing can follow."""
    while part := pipe.read(_PAGE):
        said += part
        if len(said) > MOST_WORDS:
            raise NgspiceResultError(
                f"ngspice must say less than {MOST_WORDS / 2**20:.0f} MB, found it still talking and stopped it; it "
                f"began with {' '.join(_text(said[:_PAGE]).split())[:_SHOWN]!r}"
            )
    return part is None


def _text(said: bytearray) -> str:
    """Words without what could steer a terminal."""
    return said.translate(_PRINTABLE).decode("ascii")


def _has_ended(process: subprocess.Popen[bytes]) -> bool:
    """Whether a process is over; it keeps its number all the same where the system can tell without taking it."""
    if sys.platform != "linux":
        return process.poll() is not None
    try:
        return os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
    except ChildProcessError:
        # Where the caller ignores SIGCHLD nothing is left of it.
        return True
