"""A batch in parts, on several processes, with what went wrong told by sample."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Protocol, TypeVar

import numpy as np
from joblib import Parallel, delayed
from joblib.parallel import ThreadingBackend

from analog_ep.circuit import Circuit
from analog_ep.errors import NgspiceCrashError, NgspiceError, NgspiceResultError, NgspiceTimeoutError
from analog_ep.ngspice.process import Stop
from analog_ep.ngspice.sweep import Batch

_Item = TypeVar("_Item")
_Outcome = TypeVar("_Outcome")

Progress = Callable[[int, int], None]
"""Is told how many samples of how many are done, solved or not."""

Solved = Callable[[int, np.ndarray], None]
"""Is given the first of some consecutive samples and their voltages `(n_samples, n_nodes)` [V]."""

_HOPELESS = 4
"""Samples of a part that fail one by one, with none solved, after which the circuit is to blame."""

_MOST_FAILURES = 32
"""Samples of a part that may fail before the rest of it is given up."""


class Runner(Protocol):
    """What solves a part of a batch in one run of ngspice, such as a `Sweep`."""

    @property
    def circuit(self) -> Circuit:
        """What is solved."""
        ...

    def run(self, batch: Batch, stop: Stop | None = None) -> np.ndarray:
        """Voltages `(n_samples, n_nodes)`. [V]"""
        ...


@dataclass(frozen=True, eq=False)
class BatchResult:
    """Voltages of a batch, and why some are missing.

    Attributes
    ----------
    voltages : ndarray (n_samples, n_nodes)
        NaN for samples that failed. [V]
    failures : dict of int to NgspiceError
        Why, by the index of the sample.
    """

    voltages: np.ndarray
    failures: dict[int, NgspiceError]


def run_batch(
    runner: Runner,
    batch: Batch,
    max_points: int,
    processes: int = 1,
    progress: Progress | None = None,
    solved: Solved | None = None,
) -> BatchResult:
    """Solve every sample that ngspice can solve; the order is that of the samples.

    A killed ngspice is started once more. A part of the batch in which ngspice complains is halved until the samples
    that it cannot solve stand alone.

    Parameters
    ----------
    runner : Runner
        The circuit.
    batch : Batch
        Samples and nudges.
    max_points : int
        Samples a run.
    processes : int
        Runs at a time.
    progress : callable, optional
        Called after each run, by one thread at a time.
    solved : callable, optional
        Called with what each run returns while other runs go on, by their own threads.

    Raises
    ------
    StimulusError
        If currents or targets do not fit the circuit's outputs.
    NgspiceError
        If ngspice is missing.
    """
    count = _Count(len(batch), progress)

    def solve(bounds: tuple[int, int], stop: Stop) -> BatchResult:
        nothing = np.full((bounds[1] - bounds[0], circuit.n_nodes), np.nan)
        part = _Part(runner, batch, stop, count, solved, bounds[0], nothing)
        part.solve(*bounds)
        return BatchResult(part.voltages, part.failures)

    circuit = runner.circuit
    parts = run_parallel(solve, _bounds(len(batch), max_points, processes), processes)
    voltages = np.concatenate([np.zeros((0, circuit.n_nodes)), *(part.voltages for part in parts)])
    failures = {index: error for part in parts for index, error in part.failures.items()}
    return BatchResult(voltages, failures)


def run_parallel(function: Callable[[_Item, Stop], _Outcome], items: Sequence[_Item], processes: int) -> list[_Outcome]:
    """Results of `function` in the order of the items; an error or an interrupt ends what still runs."""
    stop, errors = Stop(), []

    def run(item: _Item) -> _Outcome:
        try:
            return function(item, stop)
        except BaseException as error:
            errors.append(error)
            stop.set()
            raise

    try:
        # ngspice is a process of its own, so that threads suffice to run several.
        jobs = (delayed(run)(item) for item in items)
        return list(Parallel(n_jobs=processes, backend=_WaitingThreads(), batch_size=1)(jobs))  # pyright: ignore
    except Exception as error:
        # The first one stopped the others, whose own errors say no more than that.
        raise next(iter(errors), error) from None
    except BaseException:
        stop.set()
        raise


class _WaitingThreads(ThreadingBackend):
    """joblib's threads, whose results are waited for; joblib's own looks for them every 10 ms."""

    supports_retrieve_callback = False

    def retrieve_result(self, out, timeout=None):
        return self.retrieve_result_callback(out.get(timeout))


def run_twice(function: Callable[[], _Outcome]) -> _Outcome:
    """The result of a run that is started once more where ngspice was killed."""
    try:
        return function()
    except NgspiceCrashError:
        return function()


def _bounds(n_samples: int, max_points: int, processes: int) -> list[tuple[int, int]]:
    """Equal parts, as many for each process, so that none is left to run alone at the end."""
    n_parts = -(-n_samples // max_points)
    n_parts = max(min(-(-n_parts // processes) * processes, n_samples), 1)
    edges = np.linspace(0, n_samples, n_parts + 1).round().astype(int).tolist()
    return list(pairwise(edges))


class _Count:
    """Samples that are done, told to the observer by one thread at a time."""

    def __init__(self, total: int, progress: Progress | None):
        self._total, self._progress = total, progress
        self._done, self._lock = 0, threading.Lock()

    def add(self, samples: int) -> None:
        with self._lock:
            self._done += samples
            if self._progress is not None:
                self._progress(self._done, self._total)


@dataclass
class _Part:
    """Samples of one worker, with what is known of them so far."""

    runner: Runner
    batch: Batch
    stop: Stop
    count: _Count
    solved: Solved | None
    first: int
    voltages: np.ndarray
    failures: dict[int, NgspiceError] = field(default_factory=dict)
    n_solved: int = 0

    def solve(self, begin: int, end: int) -> None:
        """Solve samples `begin`…`end` − 1, or write down why they are not."""
        try:
            voltages = self._run(begin, end)
            self.voltages[begin - self.first : end - self.first] = voltages
            self.n_solved += end - begin
            if self.solved is not None:
                self.solved(begin, voltages)
            self.count.add(end - begin)
        except (NgspiceCrashError, NgspiceTimeoutError) as error:
            self._fail(begin, end, error)
        except NgspiceResultError as error:
            if end - begin == 1 or self._given_up():
                self._fail(begin, end, error)
            else:
                for half in _halves(begin, end):
                    self.solve(*half)

    def _run(self, begin: int, end: int) -> np.ndarray:
        part = self.batch.part(begin, end)
        return run_twice(lambda: self.runner.run(part, self.stop))

    def _given_up(self) -> bool:
        return len(self.failures) >= (_MOST_FAILURES if self.n_solved else _HOPELESS)

    def _fail(self, begin: int, end: int, error: NgspiceError) -> None:
        self.failures.update(dict.fromkeys(range(begin, end), error))
        self.count.add(end - begin)


def _halves(begin: int, end: int) -> Iterator[tuple[int, int]]:
    middle = (begin + end) // 2
    yield begin, middle
    yield middle, end
