"""The command that runs a grid of trainings: `study`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from analog_ep.cli.common import app, console, interrupted
from analog_ep.cli.progress import CountProgress
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
        with CountProgress(console, "trainings") as progress:
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
