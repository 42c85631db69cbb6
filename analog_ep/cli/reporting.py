"""The command that writes a page on a run or a study: `report`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from analog_ep.cli.common import EngineOption, JsonOption, app, console
from analog_ep.cli.progress import CountProgress
from analog_ep.reporting.composing import report


@app.command("report")
def write_report(
    folder: Annotated[Path, typer.Argument(metavar="RUN|STUDY", help="Folder that `train` or `study` made.")],
    out: Annotated[Path, typer.Option("-o", "--out", metavar="FILE.html", help="Page to write.")] = Path("report.html"),
    sample: Annotated[int, typer.Option(min=0, metavar="K", help="Index of the test sample that is shown.")] = 0,
    samples: Annotated[int, typer.Option(min=1, help="Number of test samples to compare with ngspice.")] = 10,
    engine: EngineOption = None,
    json: JsonOption = False,
) -> None:
    """Write all that can be told of a run or a study into one HTML file that needs no other.

    Of a run: spec, diagram, learning curve, accuracy by class, voltage maps of the crossbars, conductances, diodes,
    settling, noise, power, comparison with ngspice, hardware. Of a study: means with confidence intervals, and paired
    differences. What cannot be had is said in the page.
    """
    with CountProgress(console, "sections") as progress:
        page = report(folder, sample, samples, progress)
    page.save(out)
    if json:
        typer.echo(page.to_json())
        return
    for title, why in page.left_out.items():
        typer.echo(f"not shown, {title}: {why}", err=True)
    typer.echo(f"wrote {out}")
