"""Commands on noise and on large nudges: `stationary` and `amplitudes`."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from analog_ep.cli.common import JsonOption, app, console, show
from analog_ep.runs.progress import sample_bar
from analog_ep.support.files import write_atomically
from analog_ep.theory.amplitude import harmonic_study, holomorphic_study
from analog_ep.theory.stationary import stochastic_study
from analog_ep.theory.thermal import thermal_study
from analog_ep.theory.transient_gradient import transient_study

PlotOption = Annotated[Path | None, typer.Option(metavar="FILE.png", help="Where to write the plot.")]


class StationaryStudy(StrEnum):
    """Distributions that are looked at."""

    thermal = "thermal"
    contrast = "contrast"
    covariance = "covariance"
    ngspice = "ngspice"


class AmplitudeStudyName(StrEnum):
    """Ways to take the derivative from large nudges."""

    holomorphic = "holomorphic"
    harmonic = "harmonic"


@app.command()
def stationary(
    study: Annotated[
        StationaryStudy,
        typer.Argument(
            help="thermal: Johnson noise against k_B T/C, in PyTorch and ngspice; contrast, covariance: the "
            "stochastic rule in PyTorch; ngspice: the rule in transients."
        ),
    ],
    networks: Annotated[int | None, typer.Option(min=1, help="Random networks; 2, 20, 20 and 4 by default.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of networks and noise.")] = 0,
    plot: PlotOption = None,
    json: JsonOption = False,
) -> None:
    """Compare stationary distributions with theory. Exits with 1 beyond 2 %, or where χ² is too large at 1 %."""
    if study is StationaryStudy.thermal:
        report = thermal_study(networks or 2, seed=seed + 1)
    else:
        with sample_bar(console, "networks") as progress:
            if study is StationaryStudy.ngspice:
                report = transient_study(networks or 4, seed=seed, progress=progress)
            else:
                report = stochastic_study(networks or 20, study.value, seed=seed, progress=progress)
    show(report, json)
    if plot is not None:
        write_atomically(plot, report.plot())
    if not report.passed:
        raise typer.Exit(1)


@app.command()
def amplitudes(
    study: Annotated[
        AmplitudeStudyName,
        typer.Argument(help="holomorphic: complex nudges; harmonic: a sinusoidal one, in PyTorch and ngspice."),
    ],
    plot: PlotOption = None,
    json: JsonOption = False,
) -> None:
    """Compare gradients with the exact one as the nudge grows."""
    report = holomorphic_study() if study is AmplitudeStudyName.holomorphic else harmonic_study()
    show(report, json)
    if plot is not None:
        write_atomically(plot, report.plot())
