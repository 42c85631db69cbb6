"""Runs the trainings of a study that are left, on the local cores or on the workers of a Dask cluster."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from analog_ep.errors import StudyError
from analog_ep.spec import Spec
from analog_ep.spec.study import Study
from analog_ep.studies.cell import CELLS, CellResult, digest, read_result, train_cell
from analog_ep.studies.cluster import Cluster
from analog_ep.studies.cores import on_cores
from analog_ep.studies.results import StudyResults
from analog_ep.support.files import is_utf8

_BETWEEN_TABLES = 2.0
"""Least time between two tables of what is complete. [s]"""

_Train = Callable[[Path, Sequence[Spec]], Iterator[None]]


def run_study(
    study: Study, folder: Path, jobs: int | None = None, progress: Callable[[int, int], None] | None = None
) -> StudyResults:
    """Train what is left of a study and assemble the results.

    Each training is a run folder with a checkpoint after every epoch, and its result one file: after a kill, the same
    call goes on where it was, and what it assembles is to the bit what an uninterrupted study gives. Meanwhile
    `results.csv` has the trainings that are complete. A study that has
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
    written = time.monotonic()
    for _ in train(folder, left):
        done += 1
        if time.monotonic() - written > _BETWEEN_TABLES:
            StudyResults(study, [read_result(folder, cell.spec) for cell in study.cells]).write_rows(folder)
            written = time.monotonic()
        if progress is not None:
            progress(done, len(wanted))


@contextmanager
def _workers(study: Study, jobs: int | None) -> Iterator[_Train]:
    """What trains specs in a folder, giving None after each."""
    if study.spec.scheduler is None:
        yield partial(_train_here, jobs)
    else:
        with Cluster.connected(study.spec.scheduler) as cluster:
            yield partial(_train_there, cluster)


def _train_here(jobs: int | None, folder: Path, specs: Sequence[Spec]) -> Iterator[None]:
    """Train on the cores of this machine."""
    return on_cores(jobs, partial(train_cell, folder), specs)


def _train_there(cluster: Cluster, folder: Path, specs: Sequence[Spec]) -> Iterator[None]:
    """Train on the workers of a cluster."""
    return cluster.run(partial(train_cell, folder), specs)


def _result(folder: Path, spec: Spec) -> CellResult:
    result = read_result(folder, spec)
    if result is None:
        raise StudyError(
            f"{folder} must be a folder that every worker shares under this path, found no result of "
            f"{digest(spec)} after its training"
        )
    return result
