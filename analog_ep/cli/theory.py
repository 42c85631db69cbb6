"""The command that checks the theory: `theory`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from analog_ep.cli.common import JsonOption, app, layer_sizes, show
from analog_ep.theory import check_theory


@app.command()
def theory(
    sizes: Annotated[str, typer.Option(metavar="N-N-…", help="Units of the network's layers.")] = "10-12-8-5",
    seed: Annotated[int, typer.Option(min=0, help="Seed of weights, inputs and targets.")] = 0,
    out: Annotated[Path | None, typer.Option(metavar="DIR", help="Folder for the plots and the figures.")] = None,
    json: JsonOption = False,
) -> None:
    """Check equilibrium propagation against gradients, backprop through time and STDP; exit code 1 where it fails."""
    report = check_theory(layer_sizes(sizes), seed)
    show(report, json)
    if out is not None:
        for path in report.write(out):
            typer.echo(path, err=json)
    if not report.passed:
        raise typer.Exit(1)
