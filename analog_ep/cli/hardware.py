"""Commands on the hardware of a run: `check` and `export`; and `doctor`."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from analog_ep.checking.doctor import examine
from analog_ep.cli.app import JsonOption, RunFolder, app, console, show
from analog_ep.cli.designs import check_netlist, export_design, is_design
from analog_ep.designs.run import is_design_run
from analog_ep.netlist.conductance_table import write_conductances
from analog_ep.runs.progress import sample_bar
from analog_ep.runs.trained import cross_checked, export_deck, export_transient, trained_network


class Phase(StrEnum):
    """Phases that a netlist can hold."""

    free = "free"
    nudged = "nudged"
    both = "both"
    transient = "transient"


class DialectChoice(StrEnum):
    """Simulators that a netlist can be written for."""

    ngspice = "ngspice"
    xyce = "xyce"
    ltspice = "ltspice"
    hspice = "hspice"
    spectre = "spectre"
    gnucap = "gnucap"


class ArrayChoice(StrEnum):
    """Arrays of a chip."""

    first = "first"
    twin = "twin"


ArrayOption = Annotated[ArrayChoice, typer.Option(help="Array of a chip that has twin arrays.")]


@app.command()
def check(
    run: Annotated[Path, typer.Argument(metavar="RUN|NETLIST.cir", help="Folder that `train` made, or a netlist.")],
    samples: Annotated[
        int | None, typer.Option(min=1, help="Number of test samples; 100 if not given, or all where there are fewer.")
    ] = None,
    array: ArrayOption = ArrayChoice.first,
    processes: Annotated[int, typer.Option(min=1, help="Runs of ngspice at a time.")] = 1,
    accuracy: Annotated[
        bool, typer.Option("--accuracy", help="Also let ngspice classify the whole test part.")
    ] = False,
    json: JsonOption = False,
) -> None:
    """Compare PyTorch with ngspice, node by node, and run the exported netlists of a sample.

    A netlist of your own is compared at its operating point, as you wrote it and as it is written of the circuit. Exits
    with 1 where they differ by more than the tolerance.
    """
    if is_design(run):
        check_netlist(run)
        return
    with sample_bar(console, "samples in ngspice") as progress:
        result = cross_checked(run, samples, progress, array.value, processes, accuracy)
    show(result, json)
    if not result.passed:
        raise typer.Exit(1)


@app.command()
def export(
    run: RunFolder,
    sample: Annotated[int, typer.Option(min=0, metavar="K", help="Index of the test sample.")] = 0,
    phase: Annotated[
        Phase,
        typer.Option(
            help="What the netlist solves; `transient` is the whole cycle, with each ΔG, or of a Hopfield network the "
            "settling from rest."
        ),
    ] = Phase.both,
    samples: Annotated[
        int | None, typer.Option(min=1, help="Samples from K on that a transient presents; 1 if not given.")
    ] = None,
    capacitance: Annotated[
        float | None, typer.Option(help="Capacitance of each node in a transient, 1e-12 if not given. [F]")
    ] = None,
    rate: Annotated[
        float | None,
        typer.Option(
            help="Factor from -dC/dg to ΔG in a transient; by default the largest ΔG is 1 % of the conductance range."
        ),
    ] = None,
    dialect: Annotated[DialectChoice, typer.Option(help="Simulator to write for.")] = DialectChoice.ngspice,
    array: ArrayOption = ArrayChoice.first,
    out: Annotated[Path | None, typer.Option("-o", "--out", metavar="FILE", help="Netlist to write.")] = None,
    conductances: Annotated[
        Path | None, typer.Option(metavar="FILE.csv", help="Table of the conductances to write.")
    ] = None,
) -> None:
    """Write a netlist or the conductances of a run. The netlist runs without Python: `ngspice -b FILE`."""
    if out is None and conductances is None:
        raise typer.BadParameter("give -o FILE, --conductances FILE.csv, or both")
    if phase is Phase.transient and dialect is not DialectChoice.ngspice:
        raise typer.BadParameter("a transient netlist is for ngspice alone; leave --dialect out")
    for option, value in (("--samples", samples), ("--capacitance", capacitance), ("--rate", rate)):
        if value is not None and phase is not Phase.transient:
            raise typer.BadParameter("has a meaning only with --phase transient", param_hint=option)
    if out is not None and is_design_run(run):
        export_design(run, out)
    elif out is not None:
        if phase is Phase.transient:
            export_transient(run, slice(sample, sample + (samples or 1)), out, capacitance, rate)
        else:
            export_deck(run, sample, phase.value, out, dialect.value, array.value)
        typer.echo(f"wrote {out}")
    if conductances is not None:
        rows = write_conductances(trained_network(run)[1], conductances)
        typer.echo(f"wrote {conductances}: {rows} conductances")


@app.command()
def doctor(json: JsonOption = False) -> None:
    """Print what was found, ngspice and packages, and solve a small network. Exits with 1 where it does not work."""
    diagnosis = examine()
    show(diagnosis, json)
    if not diagnosis.healthy:
        raise typer.Exit(1)
