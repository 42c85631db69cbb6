"""The command `analyse`: studies of the hardware of a run."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from analog_ep.analyses.analyse import Conditions, analyse, write_report
from analog_ep.analyses.response import SmallSignalGradient
from analog_ep.circuit.real_amplifiers import AmplifierModel
from analog_ep.cli.app import EngineOption, JsonOption, RunFolder, app, show
from analog_ep.cli.notices import warn_of_weak_responses_of


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
    nudging = "nudging"


class IntegratorName(StrEnum):
    """What follows the settling."""

    ngspice = "ngspice"
    torch = "torch"


_OF_RESPONSES = (StudyName.settling, StudyName.noise, StudyName.power)
"""Studies whose figures mean little where converters do not see the responses."""


@app.command("analyse")
def analyse_run(
    run: RunFolder,
    study: Annotated[StudyName, typer.Argument(help="What to look at.")],
    sample: Annotated[int, typer.Option(min=0, metavar="K", help="Index of the test sample.")] = 0,
    samples: Annotated[
        int | None,
        typer.Option(min=1, help="Samples of corners, 1 if not given, or nudging, a batch; from K on."),
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
    """Study the hardware of a run: operating point, gradient, settling, noise, power, corners, wires, or nudging.

    Exits with 1 where a gradient is not that of implicit differentiation in direction and size.
    """
    if bandwidth is None and rail is not None:
        raise typer.BadParameter("has a meaning only with --bandwidth", param_hint="--rail")
    if samples is not None and study not in (StudyName.corners, StudyName.nudging):
        raise typer.BadParameter("has a meaning only with corners and nudging", param_hint="--samples")
    amplifiers = None if bandwidth is None else AmplifierModel(bandwidth, output_resistance, rail)
    conditions = Conditions(capacitance, lsb, amplifiers, integrator.value, samples)
    if study in _OF_RESPONSES:
        warn_of_weak_responses_of(run)
    report = analyse(run, study.value, sample, conditions)
    show(report, json)
    if save:
        files = write_report(run, study.value, sample, report)
        if not json:
            typer.echo(f"wrote {', '.join(map(str, files))}")
    if isinstance(report, SmallSignalGradient) and not report.passed:
        raise typer.Exit(1)
