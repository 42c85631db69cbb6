"""Runs the trainings of a study that are left, on the local cores or on the workers of a Dask cluster."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from joblib import Parallel, delayed

from analog_ep.errors import StudyError
from analog_ep.learning.parallel import end_with
from analog_ep.spec import Spec
from analog_ep.spec.study import Study
from analog_ep.studies.cell import CELLS, CellResult, digest, read_result, train_cell
from analog_ep.studies.cluster import GO_ON, Cluster
from analog_ep.studies.results import StudyResults
from analog_ep.support.files import is_utf8

_Train = Callable[[Path, Sequence[Spec]], Iterator[None]]


def run_study(
    study: Study, folder: Path, jobs: int | None = None, progress: Callable[[int, int], None] | None = None
) -> StudyResults:
    """Train what is left of a study and assemble the results.

    Each training is a run folder with a checkpoint after every epoch, and its result one file: after a kill, the same
    call goes on where it was, and what it assembles is to the bit what an uninterrupted study gives. A study that has
    grown keeps what it had. A training that fails is a row with its error.

    Parameters
    ----------
    study : Study
        What to train.
    folder : Path
        New, or that of the same study; workers on other machines must see it under the same path.
    jobs : int, optional
        Trainings at a time, one thread each; by default one for each local core. Not for a cluster.
    progress : callable, optional
        Told the number of complete trainings and of all, at the beginning and after each.

    Returns
    -------
    StudyResults
        Also written to the folder: see `StudyResults.write`.

    Raises
    ------
    StudyError
        If the scheduler cannot be reached or has no workers, nothing being written then; if it or the workers are lost
        later, the trainings that are complete being kept; or if the workers do not share the folder.
    """
    if not is_utf8(folder):
        raise StudyError(f"the path of a study's folder must be UTF-8, found {str(folder)!r}; choose another")
    folder = folder.absolute()
    with _workers(study, jobs) as train:
        (folder / CELLS).mkdir(parents=True, exist_ok=True)
        _train(study, folder, train, progress)
    results = StudyResults(study, [_result(folder, cell.spec) for cell in study.cells])
    results.write(folder)
    return results


def _train(study: Study, folder: Path, train: _Train, progress: Callable[[int, int], None] | None) -> None:
    wanted = {digest(cell.spec): cell.spec for cell in study.cells}
    left = [spec for spec in wanted.values() if read_result(folder, spec) is None]
    done = len(wanted) - len(left)
    if progress is not None:
        progress(done, len(wanted))
    for _ in train(folder, left):
        done += 1
        if progress is not None:
            progress(done, len(wanted))


@contextmanager
def _workers(study: Study, jobs: int | None) -> Iterator[_Train]:
    """What trains specs in a folder, giving None after each."""
    if study.spec.scheduler is None:
        yield partial(_train_here, jobs or os.cpu_count() or 1)
    else:
        with Cluster.connected(study.spec.scheduler) as cluster:
            yield cluster.train


def _train_here(n_jobs: int, folder: Path, specs: Sequence[Spec]) -> Iterator[None]:
    """Train on the cores of this machine."""
    # One training a task, handed out as workers become free: they take minutes, and differ in length.
    parallel = Parallel(
        n_jobs,
        backend="loky",
        batch_size=1,  # pyright: ignore[reportArgumentType]
        pre_dispatch="n_jobs",
        return_as="generator_unordered",
    )
    try:
        with _interrupts_blocked():
            done = parallel(delayed(_train_cell)(os.getpid(), folder, spec) for spec in specs)
        yield from done
    except BrokenProcessPool:
        raise StudyError(f"the processes of a study must stay until it ends, found one killed; {GO_ON}") from None


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


def _train_cell(study: int, folder: Path, spec: Spec) -> None:
    """One training, in a process that does not outlive that of the study where it is its child."""
    if os.getppid() == study:
        end_with(study)
    train_cell(folder, spec)


def _result(folder: Path, spec: Spec) -> CellResult:
    result = read_result(folder, spec)
    if result is None:
        raise StudyError(
            f"{folder} must be a folder that every worker shares under this path, found no result of "
            f"{digest(spec)} after its training"
        )
    return result
