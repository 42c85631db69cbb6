"""The command `analyse`: studies of the hardware of a run."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from analog_ep.analyses.analyse import Conditions, analyse, write_report
from analog_ep.analyses.response import SmallSignalGradient
from analog_ep.circuit.real_amplifiers import AmplifierModel
from analog_ep.cli.app import EngineOption, JsonOption, RunFolder, app, show


class StudyName(StrEnum):
    """Studies of a run."""

    operating_point = "operating-point"
    gradient = "gradient"
    settling = "settling"
    noise = "noise"
    transient_noise = "transient-noise"
    power = "power"
    corners = "corners"
    wires = "wires"


class IntegratorName(StrEnum):
    """What follows the settling."""

    ngspice = "ngspice"
    torch = "torch"


@app.command("analyse")
def analyse_run(
    run: RunFolder,
    study: Annotated[StudyName, typer.Argument(help="What to look at.")],
    sample: Annotated[int, typer.Option(min=0, metavar="K", help="Index of the test sample.")] = 0,
    samples: Annotated[
        int | None, typer.Option(min=1, help="Samples at the corners, from K on; 1 if not given.")
    ] = None,
    capacitance: Annotated[float, typer.Option(help="Capacitance of each node. [F]")] = 1e-12,
    lsb: Annotated[float, typer.Option(help="Step of the converter at the outputs. [V]")] = 1e-3,
    bandwidth: Annotated[
        float | None, typer.Option(help="Bandwidth of the amplifiers; without it they are ideal. [Hz]")
    ] = None,
    output_resistance: Annotated[float, typer.Option(help="Of the amplifiers, with --bandwidth. [Ω]")] = 100.0,
    rail: Annotated[float | None, typer.Option(help="Largest output of the amplifiers, with --bandwidth. [V]")] = None,
    integrator: Annotated[IntegratorName, typer.Option(help="What follows the settling.")] = IntegratorName.ngspice,
    save: Annotated[bool, typer.Option(help="Write JSON, table and plot into the folder RUN/analysis.")] = True,
    engine: EngineOption = None,
    json: JsonOption = False,
) -> None:
    """Study the hardware of a run in ngspice: operating point, gradient, settling, noise, power, corners, or wires.

    Exits with 1 where a gradient is not that of implicit differentiation in direction and size.
    """
    if bandwidth is None and rail is not None:
        raise typer.BadParameter("has a meaning only with --bandwidth", param_hint="--rail")
    if samples is not None and study is not StudyName.corners:
        raise typer.BadParameter("has a meaning only with corners", param_hint="--samples")
    amplifiers = None if bandwidth is None else AmplifierModel(bandwidth, output_resistance, rail)
    conditions = Conditions(capacitance, lsb, amplifiers, integrator.value, samples or 1)
    report = analyse(run, study.value, sample, conditions)
    show(report, json)
    if save:
        files = write_report(run, study.value, sample, report)
        if not json:
            typer.echo(f"wrote {', '.join(map(str, files))}")
    if isinstance(report, SmallSignalGradient) and not report.passed:
        raise typer.Exit(1)
