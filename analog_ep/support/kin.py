"""Processes that a process started, and those that they did, wherever they went."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time
from pathlib import Path

_ROUNDS = 100
_PROC = Path("/proc")


def end_kin(pid: int, folder: Path) -> None:
    """Kill a process that has not been waited for, and its kin.

    Kin is its process group; on Linux also its session, its children and theirs, and every process that began after it
    and has `folder` in its environment or is working there: one that left session and parent behind is found by that.

    Parameters
    ----------
    pid : int
        Leader of a session of its own.
    folder : Path
        Belongs to this process alone.
    """
    # Of a group of which only the leader is left, which has ended, some systems say that it may not be killed.
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)
    if sys.platform != "linux":
        return
    for _ in range(_ROUNDS):
        living = _living_kin(pid, os.fsencode(folder))
        if not living:
            return
        for each in living:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(each, signal.SIGKILL)
        time.sleep(1e-3)


def _living_kin(pid: int, folder: bytes) -> set[int]:
    kin = {pid}
    living: set[int] = set()
    for candidate in _younger(pid):
        # It may end while it is looked at.
        with contextlib.suppress(OSError):
            state, parent, session = _status(candidate)
            if parent in kin or session in kin or _belongs(candidate, folder):
                kin.add(candidate)
                living |= {candidate} if state not in "ZX" else set()
    return living


def _younger(pid: int) -> list[int]:
    """Processes that may have begun after `pid`, in order."""
    last = int((_PROC / "loadavg").read_text(encoding="ascii").split()[-1])
    if last == pid:
        return []
    numbers = sorted(int(name) for name in os.listdir(_PROC) if name.isdecimal())
    # Numbers begin again at the largest; then any may be younger.
    return [number for number in numbers if number > pid or (last < pid and number != pid)]


def _status(pid: int) -> tuple[str, int, int]:
    """State, parent and session."""
    fields = (_PROC / str(pid) / "stat").read_bytes().rpartition(b")")[2].split()
    return fields[0].decode(), int(fields[1]), int(fields[3])


def _belongs(pid: int, folder: bytes) -> bool:
    place = os.fsencode(os.readlink(_PROC / str(pid) / "cwd"))
    return place.startswith(folder) or folder in (_PROC / str(pid) / "environ").read_bytes()
