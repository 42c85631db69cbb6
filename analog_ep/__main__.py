"""The command `analog-ep`, also as `python -m analog_ep`."""

from __future__ import annotations

import os
import signal
from types import FrameType


def leave(number: int, _: FrameType | None) -> None:
    """Answer a signal with one line and the exit status that shells give it.

    For the time in which there is nothing to tidy up, but much that would print or swallow an exception.
    """
    os.write(2, b"analog-ep: interrupted\n")
    os._exit(128 + number)


def main() -> None:
    """Run the command line."""
    # Also where the command was started in the background by a script, which has it ignore interrupts.
    signal.signal(signal.SIGINT, leave)
    # Takes seconds, in which a user may change their mind.
    from analog_ep.cli import main as run

    try:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        run()
    except KeyboardInterrupt:
        leave(signal.SIGINT, None)
    finally:
        signal.signal(signal.SIGINT, leave)


if __name__ == "__main__":
    main()
