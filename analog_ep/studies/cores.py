"""Tasks on the cores of this machine, in processes that end with the one that began them."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from typing import TypeVar

from joblib import Parallel, delayed

from analog_ep.errors import StudyError
from analog_ep.learning.parallel import end_with

Item = TypeVar("Item")
Found = TypeVar("Found")


def on_cores(
    jobs: int | None, task: Callable[[Item], Found], items: Iterable[Item], kept: str = "trainings"
) -> Iterator[Found]:
    """What a task gives of each item, in the order in which they end.

    Parameters
    ----------
    jobs : int or None
        Tasks at a time; None for one a core. A single one runs in this process.
    task : callable
        Of one item; it and what it gives are pickled.
    items : iterable
        What to do it with.
    kept : str
        What of the items that have ended stays where the processes are lost, in the plural.

    Raises
    ------
    StudyError
        If a process is killed.
    """
    # One item a task, handed out as workers become free: they may take minutes, and differ in length.
    parallel = Parallel(
        jobs or os.cpu_count() or 1,
        backend="loky",
        batch_size=1,  # pyright: ignore[reportArgumentType]
        pre_dispatch="n_jobs",
        return_as="generator_unordered",
    )
    try:
        with _interrupts_blocked():
            done = parallel(delayed(_in_child)(os.getpid(), task, item) for item in items)
        yield from done  # pyright: ignore[reportReturnType]: joblib gives None where it has no results
    except BrokenProcessPool:
        raise StudyError(
            f"the processes of a study must stay until it ends, found one killed; the finished {kept} are kept, the "
            "same command goes on"
        ) from None


@contextmanager
def _interrupts_blocked() -> Iterator[None]:
    """Processes that begin meanwhile never get an interrupt: a terminal sends it to all, this one answers it."""
    if sys.platform == "win32":
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _in_child(parent: int, task: Callable[[Item], Found], item: Item) -> Found:
    """One task, in a process that does not outlive the one that began it where it is its child."""
    if os.getppid() == parent:
        end_with(parent)
    return task(item)
