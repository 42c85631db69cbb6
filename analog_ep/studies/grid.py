"""Runs the trainings of a study that are left, on the local cores or on the workers of a Dask cluster."""

from __future__ import annotations

import gc
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from joblib import Parallel, delayed, parallel_config

from analog_ep.errors import StudyError
from analog_ep.files import is_utf8
from analog_ep.learning.parallel import end_with
from analog_ep.spec import Spec
from analog_ep.spec.study import Study
from analog_ep.studies.cell import CELLS, CellResult, digest, read_result, train_cell
from analog_ep.studies.results import StudyResults

PATIENCE = 10.0
"""How long a scheduler may take to answer, and to have a worker. [s]"""


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
        If the scheduler cannot be reached or has no workers, nothing being written then; or if the workers do not
        share the folder.
    """
    if not is_utf8(folder):
        raise StudyError(f"the path of a study's folder must be UTF-8, found {str(folder)!r}; choose another")
    folder = folder.absolute()
    with _backend(study, jobs) as n_jobs:
        (folder / CELLS).mkdir(parents=True, exist_ok=True)
        _train(study, folder, n_jobs, progress)
    results = StudyResults(study, [_result(folder, cell.spec) for cell in study.cells])
    results.write(folder)
    return results


def _train(study: Study, folder: Path, n_jobs: int, progress: Callable[[int, int], None] | None) -> None:
    wanted = {digest(cell.spec): cell.spec for cell in study.cells}
    left = [spec for spec in wanted.values() if read_result(folder, spec) is None]
    done = len(wanted) - len(left)
    if progress is not None:
        progress(done, len(wanted))
    for _ in _in_parallel(folder, left, n_jobs):
        done += 1
        if progress is not None:
            progress(done, len(wanted))


def _in_parallel(folder: Path, specs: Sequence[Spec], n_jobs: int) -> Iterator[None]:
    # One training a task, handed out as workers become free: they take minutes, and differ in length.
    parallel = Parallel(n_jobs, batch_size=1, pre_dispatch="n_jobs", return_as="generator_unordered")  # pyright: ignore
    return iter(parallel(delayed(_train_cell)(os.getpid(), folder, spec) for spec in specs))


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


@contextmanager
def _backend(study: Study, jobs: int | None) -> Iterator[int]:
    """Sets joblib's backend; gives the number of trainings at a time, −1 for all that there are workers for."""
    address = study.spec.scheduler
    if address is None:
        with parallel_config(backend="loky"):
            yield jobs or os.cpu_count() or 1
    else:
        with _client(address), parallel_config(backend="dask"):
            yield -1


@contextmanager
def _client(address: str) -> Iterator[None]:
    try:
        from distributed import Client  # an extra
    except ImportError:
        raise StudyError("a study on a cluster needs Dask; install analog-ep[dask], or leave scheduler out") from None
    client, reason = None, ""
    try:
        client = Client(address, timeout=PATIENCE, set_as_default=True)
    except (OSError, ValueError) as error:
        reason = " ".join(str(error).split())
    if client is None:
        # What is left of it closes itself when it is collected; while another one starts, both would wait for ever.
        gc.collect()
        raise StudyError(f"scheduler must be the address of a running Dask scheduler, found {reason}")
    with client:
        try:
            client.wait_for_workers(1, timeout=PATIENCE)
        except TimeoutError:
            raise StudyError(
                f"the scheduler {address} must have at least one worker, found none in {PATIENCE:.0f} s; start one "
                f"with: dask worker {address}"
            ) from None
        yield
