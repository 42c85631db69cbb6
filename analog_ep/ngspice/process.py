"""The one module that starts engines. A crash, a hang or a kill of one never takes Python along."""

from __future__ import annotations

import re
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import lru_cache, partial
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
from analog_ep.ngspice.engines import ENGINES, Engine, SystemNgspice, find_engine
from analog_ep.ngspice.includes import with_includes
from analog_ep.ngspice.languages import Language
from analog_ep.ngspice.raw import RawFile, read_plots, read_raw
from analog_ep.support.bounded import MACHINE_MEMORY, Stop, run_bounded
from analog_ep.support.files import private_folder

KLU, SPARSE = "KLU", "Sparse 1.3"
"""Sparse solvers."""

_Result = TypeVar("_Result")
_VERSION_TIMEOUT = 30.0
_NOT_EXECUTED = (126, 127)
"""Exit status of the words of `_ends_with_python` where the command cannot be executed."""

_OUT_OF_MEMORY = re.compile(r"can't (re)?allocate|cannot allocate|bad_alloc|out of memory", re.IGNORECASE)


@dataclass(frozen=True)
class EngineReport:
    """What ran a deck.

    Attributes
    ----------
    name, version : str
        The engine, and the version of the ngspice that it is, or its own.
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
            If it is missing, or another program.
        """
        engine = find_engine(executable)
        return cls(engine.name, engine_version(engine), KLU if has_klu(engine) else SPARSE)

    @property
    def program(self) -> str:
        """What messages call it: ngspice, whatever runs that, or another program."""
        return ENGINES[self.name].language.program

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
def engine_version(engine: Engine) -> str:
    """Version of an engine, such as "39" or "45.2" of the ngspice that it is.

    Raises
    ------
    NgspiceNotFoundError
        If the program does not say that it is what it should be, or is too old.
    """
    where, program = engine.path, engine.language.program

    def ask(arguments: Sequence[str], text: bytes) -> tuple[int, str]:
        status, output = _execute(engine, arguments, text)
        if status in _NOT_EXECUTED:
            raise OSError(output.strip())
        return status, output

    try:
        return engine.language.version(where, ask)
    except (OSError, NgspiceTimeoutError) as error:
        raise NgspiceNotFoundError(f"{where} must be {program}, found a program that does not run: {error}") from None


@lru_cache
def has_klu(engine: Engine) -> bool:
    """Whether an engine has the KLU solver, which is faster than ngspice's own on all but tiny circuits."""
    return engine.language.has_klu(partial(_execute, engine))


@lru_cache
def has_osdi(engine: Engine) -> bool:
    """Whether an engine has the command that loads compiled Verilog-A models."""
    return engine.language.has_osdi(partial(_execute, engine))


def run_ngspice(
    deck: str,
    n_points: int,
    executable: str | Path | None = None,
    timeout: float | None = 600.0,
    stop: Stop | None = None,
    memory_limit: int | None = MACHINE_MEMORY,
) -> RawFile:
    """Run ngspice's deck with one analysis of real vectors and return its result if nothing speaks against it.

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
    NgspiceError
        If the engine reads other netlists.
    """
    engine = _reader_of_ngspice(executable)
    return _run(deck, lambda path: read_raw(path, n_points), engine, timeout, stop, memory_limit)


def run_own(
    deck: str,
    n_points: int,
    executable: str | Path | None = None,
    timeout: float | None = 600.0,
    stop: Stop | None = None,
) -> RawFile:
    """The same for a deck in the engine's own language; parameters and errors are those of `run_ngspice`."""
    engine = find_engine(executable)
    return _run(deck, lambda path: read_raw(path, n_points), engine, timeout, stop, MACHINE_MEMORY)


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
    return _run(deck, read_plots, _reader_of_ngspice(executable), timeout, stop, memory_limit)


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
    engine = _reader_of_ngspice(executable)
    engine_version(engine)
    text = with_includes(path).encode()
    with _folder() as folder:
        addresses = _addresses(engine, MACHINE_MEMORY)
        status, output = run_bounded(
            engine.command(*engine.language.exported, size=len(text)), text, folder, timeout, addresses
        )
    _require_success(engine, status, output, MACHINE_MEMORY)
    return output


def run_exported(
    path: Path, analysis: str, executable: str | Path | None = None, timeout: float | None = 600.0
) -> tuple[str, RawFile]:
    """Run a netlist that the package has written itself, in the language of an engine, as its user would.

    Parameters
    ----------
    path : Path
        The netlist.
    analysis : str
        Whose result is read.
    executable, timeout
        See `run_ngspice`, whose errors these are.

    Returns
    -------
    str, RawFile
        What was said, by programs that run behind the analysis, too; and the result.
    """
    engine = find_engine(executable)
    engine_version(engine)
    with _in_the_name_of(engine.language), _folder() as folder:
        given = _handed_over(path.read_bytes(), engine.language, folder)
        addresses, command = _addresses(engine, MACHINE_MEMORY), engine.command(*engine.language.exported)
        status, output = run_bounded(command, given, folder, timeout, addresses)
        _require_success(engine, status, output, MACHINE_MEMORY)
        plots = read_plots(folder / f"{analysis}.raw")
        if len(plots) != 1:
            raise NgspiceResultError(f"ngspice must write one plot for the analysis {analysis}, found {len(plots)}")
        return output, plots[0]


def _reader_of_ngspice(executable: str | Path | None) -> Engine:
    """The engine to use, if it reads ngspice's netlists."""
    engine = find_engine(executable)
    if engine.language.dialect != SystemNgspice.language.dialect:
        raise NgspiceError(
            f"this needs an engine that reads ngspice's netlists, found {engine.name}, which is given sweeps of "
            f"operating points alone; choose --engine {SystemNgspice.name}, or another one that is an ngspice"
        )
    return engine


def _run(
    deck: str,
    read: Callable[[Path], _Result],
    engine: Engine,
    timeout: float | None,
    stop: Stop | None,
    memory_limit: int | None,
) -> _Result:
    language = engine.language
    text = _checked(deck, language)
    engine_version(engine)
    with _in_the_name_of(language), _folder() as folder:
        addresses = _addresses(engine, memory_limit)
        command, given = engine.command(*language.batch, size=len(text)), _handed_over(text, language, folder)
        status, output = run_bounded(command, given, folder, timeout, addresses, stop)
        _require_success(engine, status, output, memory_limit)
        return read(folder / language.result)


def _handed_over(text: bytes, language: Language, folder: Path) -> bytes:
    """A netlist as an engine takes it, in files or as its input, which is returned."""
    if not language.netlist:
        return text
    try:
        for name, content in {**language.files, language.netlist: text}.items():
            (folder / name).write_bytes(content)
    except OSError as error:
        raise NgspiceError(
            f"ngspice needs a folder for temporary files with room for a deck of {len(text)} bytes, found none: "
            f"{error.strerror}; free some disk or set TMPDIR to another folder"
        ) from None
    return b""


@contextmanager
def _in_the_name_of(language: Language) -> Iterator[None]:
    """Errors of a run that say which program it was: what bounds and reads it speaks of ngspice."""
    try:
        yield
    except NgspiceError as error:
        if language.program == SystemNgspice.language.program:
            raise
        raise type(error)(str(error).replace(SystemNgspice.language.program, language.program)) from None


def _execute(engine: Engine, arguments: Sequence[str], text: bytes) -> tuple[int, str]:
    with _folder() as folder:
        addresses = _addresses(engine, MACHINE_MEMORY)
        return run_bounded(engine.command(*arguments), text, folder, _VERSION_TIMEOUT, addresses)


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


def _checked(deck: str, language: Language) -> bytes:
    """The deck's text if it holds nothing but what its language allows."""
    text = deck.encode("utf-8", "surrogatepass")
    if refused := language.refused(deck, text):
        raise CircuitError(f"a deck may hold {language.allowed} in plain ASCII, found {refused!r}; take it out")
    return text


def _require_success(engine: Engine, status: int, output: str, memory_limit: int | None) -> None:
    words = engine.language.last_words(output)
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
