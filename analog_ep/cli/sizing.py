"""The command that finds a design of a technology: `size`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import torch
import typer

from analog_ep.cli.common import JsonOption, app, console, interrupted, show
from analog_ep.cli.progress import CountProgress
from analog_ep.errors import BudgetError
from analog_ep.sizing.candidates import Workers
from analog_ep.sizing.size import REPORT, size
from analog_ep.sizing.task import Task
from analog_ep.spec.technology import load_technology
from analog_ep.support.files import write_atomically
from analog_ep.support.shown import plain_table


@app.command("size")
def size_design(
    technology: Annotated[Path, typer.Argument(metavar="TECHNOLOGY.toml", help="Supply, conductances, junctions, …")],
    out: Annotated[Path, typer.Option(metavar="DIR", help="Folder of the design; one that is there is gone on from.")],
    data: Annotated[str, typer.Option(metavar="digits|iris|mnist|DIR", help="What is learnt.")] = "digits",
    target: Annotated[float, typer.Option(help="Test accuracy that is wanted, 0 to 1.")] = 0.97,
    hidden: Annotated[
        int | None, typer.Option(metavar="N", help="Hidden units; twice the inputs, 10 to 128, if not given.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of the split and of the trainings.")] = 0,
    jobs: Annotated[int | None, typer.Option(min=1, help="Trainings at a time; by default one a core.")] = None,
    scheduler: Annotated[
        str | None, typer.Option(metavar="tcp://…", help="Dask scheduler whose workers train the candidates.")
    ] = None,
    json: JsonOption = False,
) -> None:
    """Find a design: DIR gets a spec that `train` takes, a trained run, and what binds by how much.

    Rules propose gains, input scale, clamps, logit scale, nudging and learning rate; a few short trainings try them.
    The same command goes on where it was interrupted. Exits with 1 where a limit is not kept.
    """
    torch.set_num_threads(1)
    wanted, task = load_technology(technology), Task.of(data, hidden, seed)

    def say(line: str) -> None:
        typer.echo(line, err=True)

    try:
        with CountProgress(console, "trainings") as progress:
            report = size(task, wanted, target, out, workers=Workers(jobs, scheduler, progress), say=say)
    except KeyboardInterrupt as error:
        typer.echo(f"analog-ep: interrupted; the same command goes on in {out}", err=True)
        raise interrupted(error) from None
    write_atomically(out / f"{REPORT}.txt", plain_table(report.table(), 140))
    show(report, json)
    if not json:
        typer.echo(f"wrote {report.spec}, {report.run}")
    if not report.kept:
        raise BudgetError(f"the design does not keep every limit: {report.sentence}")
