"""Commands on the hardware of a run: `check` and `export`; and `doctor`."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from analog_ep.checking.doctor import examine
from analog_ep.cli.common import EngineOption, JsonOption, RunFolder, app, console, show
from analog_ep.cli.notices import warn_of_weak_responses_of
from analog_ep.designs import read_netlist
from analog_ep.designs.checking import Comparison, check_design
from analog_ep.errors import StimulusError
from analog_ep.netlist.conductance_table import write_conductances
from analog_ep.netlist.dialects import with_transients
from analog_ep.runs.choosing import is_netlist
from analog_ep.runs.learning_export import export_learning
from analog_ep.runs.progress import sample_bar
from analog_ep.runs.samples_export import export_samples
from analog_ep.runs.trained import (
    check_own_netlist,
    cross_checked,
    export_deck,
    export_own_netlist,
    export_transient,
    export_transposed,
    trained_conductances,
)


class Phase(StrEnum):
    """Phases that a netlist can hold."""

    free = "free"
    nudged = "nudged"
    both = "both"
    transient = "transient"
    learning = "learning"
    adjoint = "adjoint"
    asymmetric = "asymmetric"


class DialectChoice(StrEnum):
    """Simulators that a netlist can be written for."""

    ngspice = "ngspice"
    xyce = "xyce"
    ltspice = "ltspice"
    hspice = "hspice"
    spectre = "spectre"
    gnucap = "gnucap"
    vacask = "vacask"


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
    judge: Annotated[
        bool, typer.Option("--judge", help="Also compare the gradient with that of neospice's adjoint network.")
    ] = False,
    engine: EngineOption = None,
    json: JsonOption = False,
) -> None:
    """Compare PyTorch with ngspice, node by node, and run the exported netlists of a sample.

    A netlist of your own, and that of a run with what it learnt, is compared at its operating point, as you wrote it
    and as it is written of the circuit. Exits with 1 where they differ by more than the tolerance.
    """
    if is_netlist(run) and not run.is_dir():
        if json or judge or accuracy or samples is not None:
            raise StimulusError(
                "a netlist is compared at its operating point alone: --json, --judge, --accuracy and --samples need "
                "the folder of a run; train the netlist first, or leave them out"
            )
        design = read_netlist(run)
        for note in design.notes:
            console.print(f"note: {note}", highlight=False, markup=False, soft_wrap=True)
        _require_agreement(check_design(design), err=False)
        return
    own = check_own_netlist(run)
    warn_of_weak_responses_of(run)
    with sample_bar(console, "samples in ngspice") as progress:
        result = cross_checked(run, samples, progress, array.value, processes, accuracy, judge)
    show(result, json)
    _require_agreement(own, err=json)
    if not result.passed:
        raise typer.Exit(1)


def _require_agreement(results: list[Comparison], err: bool) -> None:
    for result in results:
        typer.echo(str(result), err=err)
    if not all(result.agrees for result in results):
        raise typer.Exit(1)


@app.command()
def export(
    run: RunFolder,
    sample: Annotated[int, typer.Option(min=0, metavar="K", help="Index of the test sample.")] = 0,
    phase: Annotated[
        Phase | None,
        typer.Option(
            help="What the netlist solves, both if not given; `transient` is the whole cycle, with each ΔG, or of a "
            "Hopfield network the settling from rest; `adjoint` is the adjoint network, with the exact gradient, "
            "and `asymmetric` both phases with the correction of asymmetric EP; `learning` is a netlist that learns by "
            "itself, from the spec's first conductances on."
        ),
    ] = None,
    samples: Annotated[
        int | None, typer.Option(min=1, help="Samples from K on that a transient or a free phase shows in turn.")
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
    epochs: Annotated[
        int | None, typer.Option(min=1, help="Epochs that a learning netlist learns; the spec's if not given.")
    ] = None,
    dialect: Annotated[DialectChoice | None, typer.Option(help="Simulator to write for, ngspice if not given.")] = None,
    array: ArrayOption = ArrayChoice.first,
    out: Annotated[Path | None, typer.Option("-o", "--out", metavar="FILE", help="Netlist to write.")] = None,
    conductances: Annotated[
        Path | None, typer.Option(metavar="FILE.csv", help="Table of the conductances to write.")
    ] = None,
) -> None:
    """Write a netlist or the conductances of a run. The netlist runs without Python: `ngspice -b FILE`.

    Of a netlist of your own, your text with what it learnt, unless a phase or a simulator is asked for.
    """
    if out is None and conductances is None:
        raise typer.BadParameter("give -o FILE, --conductances FILE.csv, or both")
    simulator = (dialect or DialectChoice.ngspice).value
    if phase is Phase.transient and simulator not in with_transients():
        raise typer.BadParameter(f"a transient netlist is for {' or '.join(with_transients())}, found {simulator}")
    if phase is Phase.learning and simulator != "ngspice":
        raise typer.BadParameter(f"a netlist that learns is for ngspice alone, found {simulator}; leave --dialect out")
    if sample and phase is Phase.learning:
        raise typer.BadParameter("a netlist that learns presents all samples; leave it out", param_hint="--sample")
    if epochs is not None and phase is not Phase.learning:
        raise typer.BadParameter("has a meaning only with --phase learning", param_hint="--epochs")
    if samples is not None and phase not in (Phase.transient, Phase.free):
        raise typer.BadParameter("has a meaning only with --phase transient or free", param_hint="--samples")
    if samples is not None and phase is Phase.free and simulator != "ngspice":
        raise typer.BadParameter(f"free phases in turn are for ngspice alone, found {simulator}; leave --samples out")
    for option, value in (("--capacitance", capacitance), ("--rate", rate)):
        if value is not None and phase is not Phase.transient:
            raise typer.BadParameter("has a meaning only with --phase transient", param_hint=option)
    if out is not None:
        own = export_own_netlist(run, out) if phase is None and dialect is None else []
        if phase is Phase.transient:
            export_transient(run, slice(sample, sample + (samples or 1)), out, capacitance, rate, simulator)
        elif phase is Phase.free and samples is not None:
            export_samples(run, slice(sample, sample + samples), out, array.value)
        elif phase is Phase.learning:
            seconds = export_learning(run, out, epochs, array.value)
            typer.echo(f"ngspice will take about {_lasting(seconds)} for it", err=True)
        elif phase is Phase.adjoint or phase is Phase.asymmetric:
            export_transposed(run, sample, phase.value, out, simulator, array.value)
        elif not own:
            export_deck(run, sample, (phase or Phase.both).value, out, simulator, array.value)
        for path in own or [out]:
            typer.echo(f"wrote {path}")
    if conductances is not None:
        rows = write_conductances(trained_conductances(run)[1], conductances)
        typer.echo(f"wrote {conductances}: {rows} conductances")


def _lasting(seconds: float) -> str:
    for unit, name in ((3600, "h"), (60, "min")):
        if seconds >= 2 * unit:
            return f"{seconds / unit:.0f} {name}"
    return f"{max(seconds, 1):.0f} s"


@app.command()
def doctor(json: JsonOption = False) -> None:
    """Print what was found, engines and packages, and solve small circuits. Exits with 1 where it does not work."""
    diagnosis = examine()
    show(diagnosis, json)
    if not diagnosis.healthy:
        raise typer.Exit(1)
