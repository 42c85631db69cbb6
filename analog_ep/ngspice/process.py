"""The one module that starts engines. A crash, a hang or a kill of one never takes Python along."""

from __future__ import annotations

import re
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Self, TypeVar

from analog_ep.errors import (
    CircuitError,
    NgspiceCrashError,
    NgspiceError,
    NgspiceNotFoundError,
    NgspiceResultError,
    NgspiceTimeoutError,
)
from analog_ep.ngspice.engines import Engine, SystemNgspice, find_engine
from analog_ep.ngspice.includes import with_includes
from analog_ep.ngspice.raw import RawFile, read_plots, read_raw
from analog_ep.support.bounded import MACHINE_MEMORY, Stop, run_bounded
from analog_ep.support.files import private_folder

KLU, SPARSE = "KLU", "Sparse 1.3"
"""Sparse solvers."""

OLDEST_VERSION = 34
"""Oldest ngspice whose results are accepted."""

ELEMENTS = "rcvliekdqjmsgfhbxw"
"""Letters that names of elements may begin with; others load code models."""

_CARDS = "options model func param subckt ends ic nodeset op dc ac tran noise save end"
# Everything else is refused: ``.control`` and ``*#`` lines are commands, ``.include`` and ``.lib`` read files, and
# ``;``, ``$`` and backticks are comments or commands in the middle of a card.
# The line's end before it lets the search go from line to line; sources in long words make most of a deck.
_REFUSED_LINE = re.compile(
    rf"\n(?! *(\*(?!#)|\+|[{ELEMENTS}]\S+\s|\.({'|'.join(_CARDS.split())})(\s|$)|$))(?P<line>.*)",
    re.IGNORECASE | re.MULTILINE,
)
_ACCEPTED_CHARACTERS = bytes({*b"\n", *range(0x20, 0x7F)} - {*b"`;$"})

_Result = TypeVar("_Result")
_BATCH = ("-n", "-b", "-r", "out.raw")
_VERSION_TIMEOUT = 30.0
_NOT_EXECUTED = (126, 127)
"""Exit status of the words of `_ends_with_python` where the command cannot be executed."""
_WORDS_LIMIT = 300

# The steps of ngspice's search for an operating point, of which those that fail are followed by others.
_HARMLESS = re.compile(
    r"Note:.*|Circuit:.*|Using (SPARSE|KLU).*|Trying gmin = *\S+|Supplies reduced to *\S+"
    r"|Warning: can't find the initialization file spinit\."
    r"|Warning: (Further gmin increment|Last gmin step failed|(Dynamic|True) gmin stepping failed"
    r"|gmin step failed|source stepping failed|Nesting of subcircuits with parameters is only marginally supported!)"
)
_SUSPICIOUS = re.compile(
    r"warning|error|singular|fail|abort|can't|cannot|could not|undefined|unknown|missing|too small", re.IGNORECASE
)
_OUT_OF_MEMORY = re.compile(r"can't (re)?allocate|cannot allocate|bad_alloc|out of memory", re.IGNORECASE)


@dataclass(frozen=True)
class EngineReport:
    """What ran a deck.

    Attributes
    ----------
    name, version : str
        The engine, and its version of ngspice.
    sparse_solver : str
        What factorises its matrices.
    """

    name: str
    version: str
    sparse_solver: str

    @classmethod
    def of(cls, executable: str | Path | None = None) -> Self:
        """Of the engine that `find_engine` finds.

        Raises
        ------
        NgspiceNotFoundError
            If it is missing, or no ngspice.
        """
        engine = find_engine(executable)
        return cls(engine.name, ngspice_version(engine), KLU if has_klu(engine) else SPARSE)

    def to_dict(self) -> dict[str, str]:
        """By the names that it has in JSON."""
        return {"engine": self.name, "engine_version": self.version, "sparse_solver": self.sparse_solver}

    def __str__(self) -> str:
        return f"{self.name} {self.version}, {self.sparse_solver}"


def find_ngspice(executable: str | Path | None = None) -> Path:
    """Path of the system's ngspice.

    Parameters
    ----------
    executable : str or Path, optional
        A path or command; otherwise the environment variable ``ANALOG_EP_NGSPICE``, otherwise ``ngspice``.

    Raises
    ------
    NgspiceNotFoundError
        If it is not there or cannot be executed.
    """
    return (SystemNgspice.at(executable) if executable else SystemNgspice.find()).path


@lru_cache
def ngspice_version(engine: Engine) -> str:
    """Version of the ngspice that an engine is, such as "39" or "45.2".

    Raises
    ------
    NgspiceNotFoundError
        If the program does not say that it is ngspice, or is older than `OLDEST_VERSION`.
    """
    where = engine.path
    try:
        status, output = _execute(engine, ["--version"], b"", _VERSION_TIMEOUT)
    except (OSError, NgspiceTimeoutError) as error:
        raise NgspiceNotFoundError(f"{where} must be ngspice, found a program that does not run: {error}") from None
    if status in _NOT_EXECUTED:
        raise NgspiceNotFoundError(f"{where} must be ngspice, found a program that does not run: {output.strip()}")
    match = re.search(r"ngspice-(\d{1,4}(?:\.\d{1,4})?)", output)
    if match is None:
        raise NgspiceNotFoundError(f"{where} must be ngspice, found a program that names no version; check the path")
    if float(match[1]) < OLDEST_VERSION:
        raise NgspiceNotFoundError(f"ngspice must be version {OLDEST_VERSION} or newer, found {match[1]}; upgrade it")
    return match[1]


@lru_cache
def has_klu(engine: Engine) -> bool:
    """Whether an engine has the KLU solver, which is faster than ngspice's own on all but tiny circuits."""
    deck = b"* klu\n.options klu\nv_0 a 0 1.0\nr_0 a 0 1.0\n.op\n.end\n"
    status, output = _execute(engine, _BATCH, deck, _VERSION_TIMEOUT)
    return status == 0 and "Using KLU" in output


@lru_cache
def has_osdi(engine: Engine) -> bool:
    """Whether an engine has the command that loads compiled Verilog-A models."""
    deck = b"* osdi\nv_0 a 0 1.0\n.control\nosdi absent.osdi\n.endc\n.end\n"
    return "Error opening osdi lib" in _execute(engine, ("-n", "-b"), deck, _VERSION_TIMEOUT)[1]


def run_ngspice(
    deck: str,
    n_points: int,
    executable: str | Path | None = None,
    timeout: float | None = 600.0,
    stop: Stop | None = None,
    memory_limit: int | None = MACHINE_MEMORY,
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
        An engine's name, or the path of an ngspice; see `find_engine`.
    timeout : float, optional
        Time limit from the first line of the deck to the last of the result; None for none. [s]
    stop : Stop, optional
        Ends the run from another thread, which is then a crash.
    memory_limit : int, optional
        Address space of the process, without what an engine only reserves; held to where util-linux is there; by
        default what the machine has, None for no limit. [bytes]

    Raises
    ------
    CircuitError
        If the deck holds anything else.
    NgspiceNotFoundError, NgspiceTimeoutError, NgspiceCrashError, NgspiceResultError
        Each with the cause and ngspice's last words.
    """
    return _run(deck, lambda path: read_raw(path, n_points), executable, timeout, stop, memory_limit)


def run_plots(
    deck: str,
    executable: str | Path | None = None,
    timeout: float | None = 600.0,
    stop: Stop | None = None,
    memory_limit: int | None = MACHINE_MEMORY,
) -> list[RawFile]:
    """Run a deck with analyses of any kind, such as ``.ac`` or ``.noise``, and return their plots in order.

    Parameters and errors are those of `run_ngspice`; how many points there are is the caller's to check.
    """
    return _run(deck, read_plots, executable, timeout, stop, memory_limit)


def run_printed(
    path: Path,
    executable: str | Path | None = None,
    timeout: float | None = 600.0,
) -> str:
    """What ``ngspice -b FILE`` prints for a netlist that the package has written itself.

    Parameters
    ----------
    path : Path
        The netlist.
    executable, timeout
        See `run_ngspice`, whose errors these are.
    """
    engine = find_engine(executable)
    ngspice_version(engine)
    text = with_includes(path).encode()
    with _folder() as folder:
        addresses = _addresses(engine, MACHINE_MEMORY)
        status, output = run_bounded(engine.command("-n", "-b", size=len(text)), text, folder, timeout, addresses)
    _require_success(status, output, MACHINE_MEMORY)
    return output


def _run(
    deck: str,
    read: Callable[[Path], _Result],
    executable: str | Path | None,
    timeout: float | None,
    stop: Stop | None,
    memory_limit: int | None,
) -> _Result:
    text = _checked(deck)
    engine = find_engine(executable)
    ngspice_version(engine)
    with _folder() as folder:
        addresses = _addresses(engine, memory_limit)
        status, output = run_bounded(engine.command(*_BATCH, size=len(text)), text, folder, timeout, addresses, stop)
        _require_success(status, output, memory_limit)
        return read(folder / "out.raw")


def _execute(engine: Engine, arguments: Sequence[str], text: bytes, timeout: float) -> tuple[int, str]:
    with _folder() as folder:
        addresses = _addresses(engine, MACHINE_MEMORY)
        return run_bounded(engine.command(*arguments), text, folder, timeout, addresses)


def _addresses(engine: Engine, memory_limit: int | None) -> int | None:
    return None if memory_limit is None else memory_limit + engine.address_space


@contextmanager
def _folder() -> Iterator[Path]:
    """A temporary folder for one run."""
    with ExitStack() as stack:
        try:
            folder = stack.enter_context(private_folder())
        except OSError as error:
            raise NgspiceError(
                f"ngspice needs a folder for temporary files, found none to write to: {error}; set TMPDIR to one"
            ) from None
        yield folder


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


def _require_success(status: int, output: str, memory_limit: int | None) -> None:
    words = _last_words(output)
    if status and memory_limit is not None and _OUT_OF_MEMORY.search(output):
        raise NgspiceResultError(
            f"ngspice must do with {memory_limit / 2**20:.0f} MB of memory, found it asking for more; run fewer "
            "samples, simplify the netlist or raise the memory limit"
        )
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
    lines = [re.sub(r"\s+", " ", _HARMLESS.sub("", line)).strip() for line in dict.fromkeys(output.splitlines())]
    first = next((i for i, line in enumerate(lines) if _SUSPICIOUS.search(line)), len(lines))
    text = "; ".join(dict.fromkeys(line for line in lines[first:] if line))
    return text if len(text) <= _WORDS_LIMIT else text[: _WORDS_LIMIT - 1] + "…"
