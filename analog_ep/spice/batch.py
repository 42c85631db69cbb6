"""A batch in parts, on several processes, with what went wrong told by sample."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TypeVar

import numpy as np
from joblib import Parallel, delayed

from analog_ep.errors import NgspiceCrashError, NgspiceError, NgspiceResultError, NgspiceTimeoutError
from analog_ep.spice.process import Stop
from analog_ep.spice.sweep import Batch, Sweep

_Item = TypeVar("_Item")
_Outcome = TypeVar("_Outcome")

_HOPELESS = 4
"""Samples of a part that fail one by one, with none solved, after which the circuit is to blame."""

_MOST_FAILURES = 32
"""Samples of a part that may fail before the rest of it is given up."""


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


def run_batch(sweep: Sweep, batch: Batch, max_points: int, processes: int = 1) -> BatchResult:
    """Solve every sample that ngspice can solve; the order is that of the samples.

    A killed ngspice is started once more. A part of the batch in which ngspice complains is halved until the samples
    that it cannot solve stand alone.

    Parameters
    ----------
    sweep : Sweep
        The circuit.
    batch : Batch
        Samples and nudges.
    max_points : int
        Samples a run.
    processes : int
        Runs at a time.

    Raises
    ------
    StimulusError
        If currents or targets do not fit the circuit's outputs.
    NgspiceError
        If ngspice is missing, or no sample at all was solved.
    """
    parts = run_parallel(
        lambda bounds, stop: _solve(sweep, batch, *bounds, stop), _bounds(len(batch), max_points, processes), processes
    )
    voltages = np.concatenate([np.zeros((0, sweep.circuit.n_nodes)), *(part.voltages for part in parts)])
    failures = {index: error for part in parts for index, error in part.failures.items()}
    if failures and len(failures) == len(batch):
        error = next(iter(failures.values()))
        raise type(error)(f"samples 0…{len(batch) - 1}: {error}")
    return BatchResult(voltages, failures)


def run_parallel(function: Callable[[_Item, Stop], _Outcome], items: Sequence[_Item], processes: int) -> list[_Outcome]:
    """Results of `function` in the order of the items; an error or an interrupt ends what still runs."""
    stop = Stop()
    try:
        # ngspice is a process of its own, so that threads suffice to run several.
        jobs = (delayed(function)(item, stop) for item in items)
        return list(Parallel(n_jobs=processes, require="sharedmem")(jobs))  # pyright: ignore
    except BaseException:
        stop.set()
        raise


def run_twice(function: Callable[[], _Outcome]) -> _Outcome:
    """The result of a run that is started once more where ngspice was killed."""
    try:
        return function()
    except NgspiceCrashError:
        return function()


def _bounds(n_samples: int, max_points: int, processes: int) -> list[tuple[int, int]]:
    """Equal parts, at least one a process where there are samples enough."""
    n_parts = max(-(-n_samples // max_points), min(processes, n_samples), 1)
    edges = np.linspace(0, n_samples, n_parts + 1).round().astype(int).tolist()
    return list(pairwise(edges))


def _solve(sweep: Sweep, batch: Batch, begin: int, end: int, stop: Stop) -> BatchResult:
    part = _Part(sweep, batch, stop, begin, np.full((end - begin, sweep.circuit.n_nodes), np.nan))
    part.solve(begin, end)
    return BatchResult(part.voltages, part.failures)


@dataclass
class _Part:
    """Samples of one worker, with what is known of them so far."""

    sweep: Sweep
    batch: Batch
    stop: Stop
    first: int
    voltages: np.ndarray
    failures: dict[int, NgspiceError] = field(default_factory=dict)
    n_solved: int = 0

    def solve(self, begin: int, end: int) -> None:
        """Solve samples `begin`…`end` − 1, or write down why they are not."""
        try:
            self.voltages[begin - self.first : end - self.first] = self._run(begin, end)
            self.n_solved += end - begin
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
        return run_twice(lambda: self.sweep.run(part, self.stop))

    def _given_up(self) -> bool:
        return len(self.failures) >= (_MOST_FAILURES if self.n_solved else _HOPELESS)

    def _fail(self, begin: int, end: int, error: NgspiceError) -> None:
        self.failures.update(dict.fromkeys(range(begin, end), error))


def _halves(begin: int, end: int) -> Iterator[tuple[int, int]]:
    middle = (begin + end) // 2
    yield begin, middle
    yield middle, end
