"""The command itself, and what all its commands share."""

from __future__ import annotations

import codecs
import io
import signal
import sys
from collections.abc import Sequence
from enum import StrEnum
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any, Protocol

import typer
from rich.console import Console
from rich.table import Table
from typer.core import TyperGroup

from analog_ep.errors import AnalogEPError
from analog_ep.ngspice.engines import SystemNgspice, Vacask, WasmNgspice, choice_kept, choose_engine

COMMANDS = {
    "analyse": "analyses",
    "check": "hardware",
    "export": "hardware",
    "doctor": "hardware",
    "pulses": "pulses",
    "report": "reporting",
    "size": "sizing",
    "stationary": "stationary",
    "amplitudes": "stationary",
    "study": "studies",
    "theory": "theory",
    "train": "training",
    "demo": "training",
    "bench": "benchmarks",
    "calibrate": "calibration",
}
"""The module of each command, in the order in which `--help` has them."""


class _InOrder(TyperGroup):
    """Commands in one order, whichever module was imported first."""

    def list_commands(self, ctx: Any) -> list[str]:
        return sorted(super().list_commands(ctx), key=[*COMMANDS].index)


app = typer.Typer(
    cls=_InOrder,
    name="analog-ep",
    help="Train resistive crossbar networks by equilibrium propagation, and check them against ngspice.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
console = Console()

RunFolder = Annotated[Path, typer.Argument(metavar="RUN", help="Folder that `train` made.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON in place of the table.")]


class EngineName(StrEnum):
    """Engines that netlists can be run with."""

    ngspice = SystemNgspice.name
    wasm = WasmNgspice.name
    vacask = Vacask.name


def _choose(name: EngineName | None) -> EngineName | None:
    """Make an engine that of the whole command; one that is missing ends it here."""
    if name is not None:
        choose_engine(name.value)
    return name


EngineOption = Annotated[
    EngineName | None,
    typer.Option("--engine", callback=_choose, help="What runs the netlists; `doctor` lists those that are found."),
]


class Report(Protocol):
    """Figures that can be shown."""

    def to_json(self) -> str: ...
    def table(self) -> Table: ...


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line; an error of the library becomes one line and exit code 1, a signal one and its own."""
    for stream in (sys.stdout, sys.stderr):
        # A narrow stream, or a path that is no UTF-8, must not end a training: what it cannot show is spelt out.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors=_SPELT)
    try:
        with choice_kept():
            app(args=None if arguments is None else list(arguments), prog_name="analog-ep")
    except SystemExit as end:
        # Typer's words for an interrupt that no command has answered itself.
        cause = getattr(end.__context__, "__cause__", None)
        if isinstance(cause, KeyboardInterrupt):
            typer.echo("analog-ep: interrupted", err=True)
            sys.exit(interrupted(cause).exit_code)
        raise
    except (AnalogEPError, OSError) as error:
        sys.exit(f"analog-ep: {' '.join(str(error).split())}")


def _spelt(error: UnicodeError) -> tuple[str, int]:
    """What stands for characters that a stream has not."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    text = error.object[error.start : error.end]
    return "".join(_PLAIN.get(c) or c.encode("ascii", "backslashreplace").decode() for c in text), error.end


_SPELT = "analog_ep.spelt"
_PLAIN = {"…": "...", "−": "-", "·": "*", "²": "^2", "³": "^3", "±": "+-", "√": "sqrt ", "≤": "<=", "≥": ">=", "×": "x"}
_PLAIN |= {"Ω": "Ohm", "µ": "u", "μ": "u", "θ": "theta", "β": "beta", "Δ": "Delta", "σ": "sigma", "°": "deg ", "–": "-"}
codecs.register_error(_SPELT, _spelt)


def interrupted(error: KeyboardInterrupt) -> typer.Exit:
    """The end of a command that a signal interrupted: 128 and the signal's number, that of an interrupt by default."""
    return typer.Exit(128 + (error.args or (signal.SIGINT,))[0])


def _print_version(wanted: bool) -> None:
    if wanted:
        console.print(f"analog-ep {version('analog-ep')}", highlight=False)
        raise typer.Exit


@app.callback()
def _options(
    _: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    pass


def show(report: Report, json: bool) -> None:
    """Print a report's table, or its JSON."""
    if json:
        typer.echo(report.to_json())
    else:
        console.print(report.table())


def layer_sizes(text: str) -> list[int]:
    """Units of layers written as 64-100-10."""
    try:
        return [int(size) for size in text.split("-")]
    except ValueError:
        raise typer.BadParameter(f"must be numbers joined by dashes, found {text!r}", param_hint="--sizes") from None
