"""The one module that starts ngspice. A crash, a hang or a kill of it never takes Python along."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import IO, TypeVar

from analog_ep.errors import (
    CircuitError,
    NgspiceCrashError,
    NgspiceNotFoundError,
    NgspiceResultError,
    NgspiceTimeoutError,
)
from analog_ep.spice.raw import RawFile, read_plots, read_raw

ENVIRONMENT_VARIABLE = "ANALOG_EP_NGSPICE"
"""Environment variable with the path of the ngspice to use."""

OLDEST_VERSION = 34
"""Oldest ngspice whose results are accepted."""

_CARDS = "options model func param subckt ends ic nodeset op dc ac tran noise save end"
# Everything else is refused: ``.control`` and ``*#`` lines are commands, ``.include`` and ``.lib`` read files, letters
# beyond these load code models, and ``;``, ``$`` and backticks are comments or commands in the middle of a card.
# The line's end before it lets the search go from line to line; sources in long words make most of a deck.
_REFUSED_LINE = re.compile(
    rf"\n(?! *(\*(?!#)|\+|[rcviedgfhbx]\S+\s|\.({'|'.join(_CARDS.split())})(\s|$)|$))(?P<line>.*)",
    re.IGNORECASE | re.MULTILINE,
)
_ACCEPTED_CHARACTERS = bytes({*b"\n", *range(0x20, 0x7F)} - {*b"`;$"})

_Result = TypeVar("_Result")
_VERSION_TIMEOUT = 30.0
_NOT_EXECUTED = (126, 127)
"""Exit status of the words of `_ends_with_python` where the command cannot be executed."""
_WORDS_LIMIT = 300

# The steps of ngspice's search for an operating point, of which those that fail are followed by others.
_HARMLESS = re.compile(
    r"Note:.*|Circuit:.*|Using (SPARSE|KLU).*|Trying gmin = *\S+|Supplies reduced to *\S+"
    r"|Warning: (Further gmin increment|Last gmin step failed|(Dynamic|True) gmin stepping failed"
    r"|gmin step failed|source stepping failed)"
)
_SUSPICIOUS = re.compile(
    r"warning|error|singular|fail|abort|can't|cannot|could not|undefined|unknown|missing|too small", re.IGNORECASE
)


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
        """Start a process in a process group of its own, with a file as its input and a pipe from its output.

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
                cwd=folder,
                env=_environment(folder),
                start_new_session=True,
            )
            self._running.add(process)
            return process

    def end(self, process: subprocess.Popen[bytes]) -> None:
        """Kill a process's group if it still runs, and forget it."""
        with self._lock:
            # Until it is waited for, the process keeps its number, so that this reaches no other group.
            self._running.discard(process)
            if process.returncode is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()


@lru_cache
def _ends_with_python() -> tuple[str, ...]:
    """Words before a command by which Linux kills it when Python is killed; none where there is no such program.

    A function for the child to call before the program begins would not be safe beside other threads.
    """
    setpriv = shutil.which("setpriv") if sys.platform == "linux" else None
    return () if setpriv is None else (setpriv, "--pdeathsig", "KILL", "--")


def _environment(folder: Path) -> dict[str, str]:
    """The caller's environment but for what changes ngspice's numbers or start-up."""
    ours = {name: value for name, value in os.environ.items() if not name.startswith(("SPICE", "NGSPICE", "LC_"))}
    # Commands in a file `spinit` of that folder are executed, also with `-n`; there is none.
    return {**ours, "LC_ALL": "C", "SPICE_ASCIIRAWFILE": "0", "SPICE_SCRIPTS": str(folder)}


def find_ngspice(executable: str | Path | None = None) -> Path:
    """Path of the ngspice to use.

    Parameters
    ----------
    executable : str or Path, optional
        A path or command; otherwise the environment variable ``ANALOG_EP_NGSPICE``, otherwise ``ngspice``.

    Raises
    ------
    NgspiceNotFoundError
        If it is not there or cannot be executed.
    """
    wanted = str(executable or os.environ.get(ENVIRONMENT_VARIABLE) or "ngspice")
    found = shutil.which(wanted)
    if found is None:
        raise NgspiceNotFoundError(
            f"ngspice must be installed, found no program {wanted!r}; install it (Debian, Ubuntu: apt install ngspice) "
            f"or set {ENVIRONMENT_VARIABLE} to its path"
        )
    return Path(found).absolute()


@lru_cache
def ngspice_version(path: Path) -> int:
    """Major version of the ngspice at `path`.

    Raises
    ------
    NgspiceNotFoundError
        If the program does not say that it is ngspice, or is older than `OLDEST_VERSION`.
    """
    try:
        status, output = _execute([str(path), "--version"], b"", Path(tempfile.gettempdir()), _VERSION_TIMEOUT)
    except (OSError, NgspiceTimeoutError) as error:
        raise NgspiceNotFoundError(f"{path} must be ngspice, found a program that does not run: {error}") from None
    if status in _NOT_EXECUTED:
        raise NgspiceNotFoundError(f"{path} must be ngspice, found a program that does not run: {output.strip()}")
    match = re.search(r"ngspice-(\d+)", output)
    if match is None:
        raise NgspiceNotFoundError(f"{path} must be ngspice, found a program that names no version; check the path")
    version = int(match[1])
    if version < OLDEST_VERSION:
        raise NgspiceNotFoundError(f"ngspice must be version {OLDEST_VERSION} or newer, found {version}; upgrade it")
    return version


@lru_cache
def has_klu(path: Path) -> bool:
    """Whether the ngspice at `path` has the KLU solver, which is faster than its own on all but tiny circuits."""
    deck = b"* klu\n.options klu\nv_0 a 0 1.0\nr_0 a 0 1.0\n.op\n.end\n"
    with tempfile.TemporaryDirectory(prefix="analog_ep_") as folder:
        status, output = _execute([str(path), "-n", "-b", "-r", "out.raw"], deck, Path(folder), _VERSION_TIMEOUT)
    return status == 0 and "Using KLU" in output


def run_ngspice(
    deck: str,
    n_points: int,
    executable: str | Path | None = None,
    timeout: float | None = 600.0,
    stop: Stop | None = None,
) -> RawFile:
    """Run a deck with one analysis of real vectors and return its result if nothing speaks against it.

    Accepted is a run that ends with exit status 0, no suspicious message, and a complete and finite result. No process
    and no file is left behind in any case, an interrupt included.

    Parameters
    ----------
    deck : str
        Text of the netlist: elements, and cards that neither run commands nor read files.
    n_points : int
        Points that the analysis must have.
    executable : str or Path, optional
        See `find_ngspice`.
    timeout : float, optional
        Time limit; None for none. [s]
    stop : Stop, optional
        Ends the run from another thread, which is then a crash.

    Raises
    ------
    CircuitError
        If the deck holds anything else.
    NgspiceNotFoundError, NgspiceTimeoutError, NgspiceCrashError, NgspiceResultError
        Each with the cause and ngspice's last words.
    """
    return _run(deck, lambda path: read_raw(path, n_points), executable, timeout, stop)


def run_plots(
    deck: str, executable: str | Path | None = None, timeout: float | None = 600.0, stop: Stop | None = None
) -> list[RawFile]:
    """Run a deck with analyses of any kind, such as ``.ac`` or ``.noise``, and return their plots in order.

    Parameters and errors are those of `run_ngspice`; how many points there are is the caller's to check.
    """
    return _run(deck, read_plots, executable, timeout, stop)


def _run(
    deck: str, read: Callable[[Path], _Result], executable: str | Path | None, timeout: float | None, stop: Stop | None
) -> _Result:
    text = _checked(deck)
    path = find_ngspice(executable)
    ngspice_version(path)
    with tempfile.TemporaryDirectory(prefix="analog_ep_") as folder:
        status, output = _execute([str(path), "-n", "-b", "-r", "out.raw"], text, Path(folder), timeout, stop)
        _require_success(status, output)
        return read(Path(folder) / "out.raw")


def _checked(deck: str) -> bytes:
    """The deck's text if it holds nothing but elements and accepted cards."""
    text = deck.encode("utf-8", "surrogatepass")
    refused = text.translate(None, _ACCEPTED_CHARACTERS).decode("utf-8", "surrogatepass")[:1]
    if not refused and (line := _REFUSED_LINE.search("\n" + deck)):
        refused = line["line"][:40]
    if refused:
        raise CircuitError(
            f"a deck may hold elements and the cards .{', .'.join(_CARDS.split())} in plain ASCII, "
            f"found {refused!r}; take it out"
        )
    return text


def _execute(
    command: list[str], text: bytes, folder: Path, timeout: float | None, stop: Stop | None = None
) -> tuple[int, str]:
    """Exit status and output of a command in a process group of its own, which does not outlive this call."""
    stop = Stop() if stop is None else stop
    # Through a pipe the text would go page by page, and each page wait for the other threads of Python.
    with tempfile.TemporaryFile() as deck:
        deck.write(text)
        deck.seek(0)
        process = stop.start(command, folder, deck)
        with process:
            try:
                output, _ = process.communicate(timeout=timeout)
                return process.wait(), output.decode("ascii", "replace")
            except subprocess.TimeoutExpired:
                raise NgspiceTimeoutError(
                    f"ngspice must end within {timeout:g} s, found it still running and stopped it; "
                    f"raise the time limit or run fewer samples"
                ) from None
            finally:
                stop.end(process)


def _require_success(status: int, output: str) -> None:
    words = _last_words(output)
    if status < 0:
        raise NgspiceCrashError(
            f"ngspice must run to its end, found it ended by {signal.Signals(-status).name}: {words or 'no words'}"
        )
    if status:
        raise NgspiceResultError(f"ngspice must end with status 0, found {status}: {words or 'no words'}")
    if words:
        raise NgspiceResultError(f"ngspice must run without complaint, found: {words}")


def _last_words(output: str) -> str:
    """What ngspice complains about, on one line: from the first complaint on, each line once."""
    lines = [re.sub(r"\s+", " ", _HARMLESS.sub("", line)).strip() for line in output.splitlines()]
    first = next((i for i, line in enumerate(lines) if _SUSPICIOUS.search(line)), len(lines))
    text = "; ".join(dict.fromkeys(line for line in lines[first:] if line))
    return text if len(text) <= _WORDS_LIMIT else text[: _WORDS_LIMIT - 1] + "…"
