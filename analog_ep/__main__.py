"""The command `analog-ep`, also as `python -m analog_ep`."""

from __future__ import annotations

import gc
import os
import signal
import sys
from collections.abc import Callable
from types import FrameType

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


def leave(number: int, _: FrameType | None) -> None:
    """Answer a signal with one line and the exit status that shells give it.

    For the time in which there is nothing to tidy up, but much that would print or swallow an exception.
    """
    if _speaks():
        os.write(2, b"analog-ep: interrupted\n")
    os._exit(128 + number)


def interrupt(number: int, _: FrameType | None) -> None:
    """Answer a signal with an exception, so that commands tidy up; where that takes too long a second one leaves.

    Raises
    ------
    KeyboardInterrupt
        With the signal's number.
    SystemExit
        In the processes of `torchrun` that do not talk to the user.
    """
    # torchrun hands on a signal that a terminal has already sent to all.
    _answer(signal.SIG_IGN if "TORCHELASTIC_RUN_ID" in os.environ else leave)
    raise KeyboardInterrupt(number) if _speaks() else SystemExit(128 + number)


def main() -> None:
    """Run the command line."""
    # Also where the command was started in the background by a script, which has it ignore interrupts.
    _answer(leave)
    _require_folder()
    # Takes seconds, in which a user may change their mind. What is imported stays: no collection needs to look at it.
    gc.disable()
    from analog_ep import cli

    cli.load(sys.argv[1:])
    gc.freeze()
    gc.enable()
    try:
        _answer(interrupt)
        cli.main()
    except KeyboardInterrupt as error:
        leave((error.args or _SIGNALS)[0], None)
    finally:
        _answer(leave)


def _require_folder() -> None:
    """Without a working directory libraries end the process with words of their own."""
    try:
        os.getcwd()
    except OSError:
        sys.exit("analog-ep: the working directory must exist, found it deleted; change to another one")


def _speaks() -> bool:
    """Whether this process talks to the user: of those that torchrun started only the first."""
    return "TORCHELASTIC_RUN_ID" not in os.environ or os.environ.get("RANK", "0") == "0"


def _answer(handler: Callable[[int, FrameType | None], None] | signal.Handlers) -> None:
    for number in _SIGNALS:
        signal.signal(number, handler)


if __name__ == "__main__":
    main()
