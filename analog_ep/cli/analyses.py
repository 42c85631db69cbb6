"""The command `analyse`: studies of the hardware of a run."""

from __future__ import annotations

import math
from collections.abc import Sequence
from enum import StrEnum
from typing import Annotated

import typer

from analog_ep.analyses.analyse import analyse
from analog_ep.analyses.conditions import FOLDER, PARAMETERS, Conditions, Workplace
from analog_ep.analyses.writing import write_report
from analog_ep.circuit.real_amplifiers import AmplifierModel
from analog_ep.cli.common import EngineOption, JsonOption, RunFolder, app, console, show
from analog_ep.cli.notices import warn_of_weak_responses_of
from analog_ep.cli.progress import CountProgress


class StudyName(StrEnum):
    """Studies of a run."""

    operating_point = "operating-point"
    gradient = "gradient"
    settling = "settling"
    noise = "noise"
    transient_noise = "transient-noise"
    power = "power"
    corners = "corners"
    monte_carlo = "monte-carlo"
    wires = "wires"
    nudging = "nudging"
    lock_in = "lock-in"


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
        typer.Option(
            min=1, help="Samples from K on: of corners, monte-carlo all, nudging, lock-in a batch by default."
        ),
    ] = None,
    chips: Annotated[int | None, typer.Option(metavar="N", help="Chips of monte-carlo.")] = None,
    check_chips: Annotated[
        int | None, typer.Option(min=0, metavar="M", help="How many of these chips ngspice solves too.")
    ] = None,
    jobs: Annotated[
        int | None, typer.Option(min=1, help="Processes of monte-carlo and noise; by default one a core.")
    ] = None,
    temperature: Annotated[
        str | None, typer.Option(metavar="T,T", help="Temperatures of corners, 0,27,85 if not given. [°C]")
    ] = None,
    supply: Annotated[
        str | None, typer.Option(metavar="F,F", help="Factors on the supply at the corners, such as 0.9,1,1.1.")
    ] = None,
    temperature_coefficients: Annotated[
        str | None,
        typer.Option(metavar="TC1,TC2", help="Of the resistors at the corners; by default [chip]'s. [1/K, 1/K²]"),
    ] = None,
    capacitance: Annotated[float | None, typer.Option(help="Capacitance of each node, 1e-12 if not given. [F]")] = None,
    lsb: Annotated[
        float | None, typer.Option(help="Step of the converter at the outputs, 1e-3 if not given. [V]")
    ] = None,
    bandwidth: Annotated[
        float | None, typer.Option(help="Bandwidth of the amplifiers; without it they are ideal. [Hz]")
    ] = None,
    output_resistance: Annotated[float, typer.Option(help="Of the amplifiers, with --bandwidth. [Ω]")] = 100.0,
    rail: Annotated[float | None, typer.Option(help="Largest output of the amplifiers, with --bandwidth. [V]")] = None,
    supply_voltage: Annotated[
        float | None, typer.Option(help="VDD of power; the least that the nodes need if not given. [V]")
    ] = None,
    amplifier_current: Annotated[
        float | None, typer.Option(help="Quiescent current of an amplifier's output; class A if not given. [A]")
    ] = None,
    energy_per_step: Annotated[
        float | None, typer.Option(help="Walden's figure of merit of converters, 1e-14 if not given. [J]")
    ] = None,
    write_energy: Annotated[float | None, typer.Option(help="Of one change of one cell. [J]")] = None,
    frequency: Annotated[
        float | None, typer.Option(help="Of the sinusoidal nudge of lock-in, 1e3 if not given. [Hz]")
    ] = None,
    snr: Annotated[float | None, typer.Option(help="Of the gradient that lock-in reads, 10 if not given.")] = None,
    integrator: Annotated[
        IntegratorName | None, typer.Option(help="What follows the settling; ngspice if not given.")
    ] = None,
    save: Annotated[bool, typer.Option(help="Write JSON, table and plot into the folder RUN/analysis.")] = True,
    engine: EngineOption = None,
    json: JsonOption = False,
) -> None:
    """Study a run's hardware: operating point, gradient, settling, noise, power, corners, yield, wires, nudges, reads.

    monte-carlo tries chips that are drawn from the spec's [chip] and hold what the run learnt, and makes a run folder
    of the worst; the same command goes on where it was interrupted. Conditions stand in the names of the files in
    RUN/analysis. Exits with 1 where a gradient is not that of implicit differentiation in direction and size.
    """
    if bandwidth is None and rail is not None:
        raise typer.BadParameter("has a meaning only with --bandwidth", param_hint="--rail")
    given = {
        "samples": samples,
        "chips": chips,
        "check_chips": check_chips,
        "temperature": _numbers("--temperature", temperature),
        "supply": _numbers("--supply", supply),
        "temperature_coefficients": _coefficients(temperature_coefficients),
        "capacitance": capacitance,
        "lsb": lsb,
        "amplifiers": None if bandwidth is None else AmplifierModel(bandwidth, output_resistance, rail),
        "integrator": None if integrator is None else integrator.value,
        "supply_voltage": supply_voltage,
        "amplifier_current": amplifier_current,
        "energy_per_step": energy_per_step,
        "write_energy": write_energy,
        "frequency": frequency,
        "snr": snr,
        "engine": None if engine is None else engine.value,
    }
    asked = {name: value for name, value in given.items() if value is not None}
    _require_meaning(study, [*asked, *(["jobs"] if jobs is not None else [])])
    if study is StudyName.monte_carlo and chips is None:
        raise typer.BadParameter("give the number of chips to draw, such as 200", param_hint="--chips")
    conditions = Conditions(**asked)
    if study in _OF_RESPONSES:
        warn_of_weak_responses_of(run)
    with CountProgress(console, "chips") as progress:
        workplace = Workplace(run / FOLDER if save else None, jobs, progress)
        report = analyse(run, study.value, sample, conditions, workplace)
    show(report, json)
    if save:
        files = write_report(run, study.value, sample, report, conditions)
        if not json:
            typer.echo(f"wrote {', '.join(map(str, files))}")
    if not getattr(report, "passed", True):
        raise typer.Exit(1)


_OPTIONS = {"amplifiers": "--bandwidth"}
"""Options that are called otherwise than what they set."""


def _require_meaning(study: StudyName, asked: Sequence[str]) -> None:
    """Refuse options that would change nothing."""
    for name in asked:
        own = [each for each, conditions in PARAMETERS.items() if name in conditions]
        studies = ["monte-carlo", "noise"] if name == "jobs" else own
        if study.value not in studies:
            option = _OPTIONS.get(name, f"--{name.replace('_', '-')}")
            raise typer.BadParameter(f"has a meaning only with {', '.join(sorted(studies))}", param_hint=option)


def _numbers(option: str, text: str | None) -> tuple[float, ...] | None:
    try:
        found = None if text is None else tuple(float(word) for word in text.split(","))
    except ValueError:
        found = ()
    if found is not None and (not found or not all(map(math.isfinite, found)) or len(set(found)) < len(found)):
        raise typer.BadParameter(f"must be different numbers such as 0.9,1,1.1, found {text!r:.40}", param_hint=option)
    return found


def _coefficients(text: str | None) -> tuple[float, float] | None:
    if text is None:
        return None
    try:
        first, *others = (float(word) for word in text.split(","))
        (second,) = others or (0.0,)
        return first, second
    except ValueError:
        hint = "--temperature-coefficients"
        raise typer.BadParameter(
            f"must be TC1 or TC1,TC2 such as 1e-3,1e-6, found {text!r:.40}", param_hint=hint
        ) from None
