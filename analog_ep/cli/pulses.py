"""The command that lists the pulses of an update: `pulses`."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import torch
import typer

from analog_ep.cli.common import JsonOption, RunFolder, app, console, show
from analog_ep.cli.progress import CountProgress
from analog_ep.runs.step_pulses import step_pulses
from analog_ep.support.files import write_atomically


class WriteSchemeChoice(StrEnum):
    """Voltages of the lines while one device is written."""

    half = "V/2"
    third = "V/3"


@app.command()
def pulses(
    run: RunFolder,
    step: Annotated[int, typer.Option(min=1, metavar="K", help="Number of the update, from 1.")] = 1,
    write_scheme: Annotated[
        WriteSchemeChoice | None,
        typer.Option(help="Voltages of lines that are not selected; the spec's if not given, or V/2."),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option("-o", "--out", metavar="FILE.csv", help="Pulses to write; FILE.exposure.csv beside them."),
    ] = None,
    deck: Annotated[
        Path | None, typer.Option(metavar="FILE.cir", help="Netlist that gives a crossbar's pulses to its devices.")
    ] = None,
    array: Annotated[
        str | None, typer.Option(metavar="NAME", help="Crossbar of the netlist; the first one if not given.")
    ] = None,
    threads: Annotated[int, typer.Option(min=1, help="Threads of PyTorch: those of the training.")] = 1,
    json: JsonOption = False,
) -> None:
    """Say which pulses the drivers of a run's crossbars give in one update, and what the other devices see of them.

    The spec has an `[update]`; its device's card, or `parameters`, says amplitude and width. A step that the run has
    made is made again from its beginning; one that it would make next goes on from its checkpoint.
    """
    if array is not None and deck is None:
        raise typer.BadParameter("has a meaning only with --deck", param_hint="--array")
    torch.set_num_threads(threads)
    with CountProgress(console, "steps") as progress:
        found = step_pulses(run, step, None if write_scheme is None else write_scheme.value, progress)
    text = None if deck is None else found.deck(found.arrays[0].label if array is None else array)
    show(found, json)
    written = [] if out is None else found.save(out)
    if deck is not None and text is not None:
        write_atomically(deck, text)
        written.append(deck)
    for path in written:
        typer.echo(f"wrote {path}", err=json)
