"""The command line: parse, call the library, print. A module registers its commands when it is imported.

What one command needs takes two thirds of the time of what all need, so that `main` imports the module of the one that
is asked for; `app` has them all.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import import_module
from typing import TYPE_CHECKING, Any

from analog_ep.cli import common
from analog_ep.cli.common import COMMANDS

if TYPE_CHECKING:
    from analog_ep.cli.common import app

__all__ = ["app", "load", "main"]


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line; an error of the library becomes one line and exit code 1, a signal one and its own."""
    load(sys.argv[1:] if arguments is None else arguments)
    common.main(arguments)


def load(arguments: Sequence[str]) -> None:
    """Import the module of the command that is asked for; where there is none of that name, those of all."""
    command = next((word for word in arguments if not word.startswith("-")), "")
    for module in [COMMANDS[command]] if command in COMMANDS else dict.fromkeys(COMMANDS.values()):
        import_module(f"analog_ep.cli.{module}")


def __getattr__(name: str) -> Any:
    if name != "app":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    load(())
    return common.app
