"""The command that runs a grid of trainings: `study`."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType
from typing import Annotated, Self

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from analog_ep.cli.app import app, console, interrupted
from analog_ep.spec.study import load_study
from analog_ep.studies.grid import run_study


@app.command()
def study(
    spec: Annotated[Path, typer.Argument(metavar="SPEC.toml", help="Study: base spec, axes of variants, seeds.")],
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Folder of the study; by default runs/ and the spec's name.")
    ] = None,
    jobs: Annotated[int | None, typer.Option(min=1, help="Trainings at a time; by default one a core.")] = None,
) -> None:
    """Train every cell of a grid with every seed. DIR gets a CSV of the results, a summary and a picture.

    The same command goes on where it was interrupted.
    """
    wanted = load_study(spec)
    folder = Path("runs") / wanted.name if out is None else out
    try:
        with _StudyProgress() as progress:
            results = run_study(wanted, folder, jobs, progress)
    except KeyboardInterrupt as error:
        typer.echo(f"analog-ep: interrupted; the same command goes on in {folder}", err=True)
        raise interrupted(error) from None
    console.print(results.table())
    for cell, error in results.failures():
        typer.echo(f"failed: {', '.join(cell.labels.values())}, seed {cell.seed}: {error}", err=True)
    typer.echo(f"study folder: {folder}")
    if results.failures():
        raise typer.Exit(1)


class _StudyProgress:
    """A bar over the trainings; a context manager. It shows on a terminal only."""

    def __init__(self) -> None:
        columns = (
            TextColumn("trainings"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
        )
        self._progress = Progress(*columns, console=console, transient=True, disable=not console.is_terminal)
        self._task = self._progress.add_task("trainings")

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._progress.stop()

    def __call__(self, done: int, total: int) -> None:
        self._progress.update(self._task, completed=done, total=total)
