"""Tasks on the workers of a Dask cluster, and a loss in one line."""

from __future__ import annotations

import gc
import logging
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import CancelledError
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, TypeVar

from analog_ep.errors import AnalogEPError, StudyError

if TYPE_CHECKING:
    from distributed import Client, Future

Item = TypeVar("Item")

PATIENCE = 10.0
"""How long a scheduler may take to answer, and may be without a worker. [s]"""

GO_ON = "the finished trainings are kept, the same command goes on"

_INTERVAL = 0.1
_LOGGERS = ("distributed", "tornado")


@dataclass(frozen=True)
class Cluster:
    """A scheduler that can be talked to.

    Attributes
    ----------
    address : str
        Of the scheduler.
    client : distributed.Client
        Talks to it.
    """

    address: str
    client: Client

    @classmethod
    @contextmanager
    def connected(cls, address: str) -> Iterator[Cluster]:
        """The cluster of the scheduler at an address. Dask's loggers are silent meanwhile.

        Raises
        ------
        StudyError
            If Dask is not installed, the scheduler cannot be reached or has no worker.
        """
        with _silent_loggers():
            cluster = cls(address, _client(address))
            try:
                if not cluster._has_worker():
                    raise StudyError(
                        f"the scheduler {address} must have at least one worker, found none in {PATIENCE:.0f} s; start "
                        f"one with: dask worker {address}"
                    )
                yield cluster
            finally:
                with suppress(OSError, TimeoutError):
                    cluster.client.close()

    def run(self, task: Callable[[Item], None], items: Iterable[Item]) -> Iterator[None]:
        """Do a task with each item on a worker; gives None after each. What a lost worker did goes on on another.

        Raises
        ------
        StudyError
            If the scheduler or all workers are lost, or a training ends in a way that is not its own.
        """
        ended: SimpleQueue[Future] = SimpleQueue()
        futures = [self._submitted(task, item) for item in items]
        for future in futures:
            future.add_done_callback(ended.put)
        for _ in futures:
            self._require_success(self._next(ended))
            yield

    def _submitted(self, task: Callable[[Item], None], item: Item) -> Future:
        from distributed.client import ClosedClientError

        try:
            return self.client.submit(task, item, pure=False)
        except (ClosedClientError, OSError):
            raise self._lost() from None

    def _next(self, ended: SimpleQueue[Future]) -> Future:
        while True:
            try:
                return ended.get(timeout=PATIENCE)
            except Empty:
                if not self._has_worker():
                    raise StudyError(
                        f"the scheduler {self.address} must keep at least one worker, found all lost for more than "
                        f"{PATIENCE:.0f} s; {GO_ON} when workers are there"
                    ) from None

    def _require_success(self, future: Future) -> None:
        if future.cancelled():
            raise self._lost()
        # What it returned is nothing, and may be lost with its worker: it is not fetched.
        error: BaseException | None = future.exception(timeout=PATIENCE)  # pyright: ignore[reportAssignmentType]
        if isinstance(error, AnalogEPError | OSError):
            raise error
        if error is not None:
            reason = " ".join(str(error).split())
            raise StudyError(
                f"a training must run on a worker to its end, found {type(error).__name__}: {reason}; {GO_ON}"
            ) from error

    def _has_worker(self) -> bool:
        """Whether there is a worker, or comes one soon."""
        deadline = time.monotonic() + PATIENCE
        while not self._threads():
            if time.monotonic() > deadline:
                return False
            time.sleep(_INTERVAL)
        return True

    def _threads(self) -> dict[str, int]:
        """Each worker's."""
        scheduler = self.client.scheduler
        if scheduler is None:
            raise self._lost()
        try:
            return self.client.sync(scheduler.ncores, callback_timeout=PATIENCE)  # pyright: ignore[reportReturnType]
        except (OSError, TimeoutError, CancelledError):
            raise self._lost() from None

    def _lost(self) -> StudyError:
        return StudyError(
            f"the Dask scheduler {self.address} must stay until the study ends, found it lost; {GO_ON} when it is back"
        )


def _client(address: str) -> Client:
    try:
        from distributed import Client  # an extra
    except ImportError:
        raise StudyError("a study on a cluster needs Dask; install analog-ep[dask], or leave scheduler out") from None
    try:
        return Client(address, timeout=PATIENCE, set_as_default=False)
    except (OSError, ValueError) as error:
        reason = " ".join(str(error).split())
    # What is left of it closes itself when it is collected; while another one starts, both would wait for ever.
    gc.collect()
    raise StudyError(f"scheduler must be the address of a running Dask scheduler, found {reason}")


@contextmanager
def _silent_loggers() -> Iterator[None]:
    """Has Dask's own loggers say nothing: what matters of a loss is in our error."""
    names = [name for name in list(logging.root.manager.loggerDict) if name.partition(".")[0] in _LOGGERS]
    loggers = [logging.getLogger(name) for name in {*_LOGGERS, *names}]
    levels = [logger.level for logger in loggers]
    try:
        for logger in loggers:
            logger.setLevel(logging.CRITICAL + 1)
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
