"""Commands that fit device models to measurements: `calibrate`."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from analog_ep.calibration.amplifier import COLUMNS as AMPLIFIER_COLUMNS
from analog_ep.calibration.amplifier import fit_amplifier
from analog_ep.calibration.diode import COLUMNS as DIODE_COLUMNS
from analog_ep.calibration.diode import fit_diode
from analog_ep.calibration.fit import Fit
from analog_ep.calibration.foundry import ALLOWED, TableRange, read_card, tabulated
from analog_ep.calibration.memristor import COLUMNS as MEMRISTOR_COLUMNS
from analog_ep.calibration.memristor import fit_memristor
from analog_ep.calibration.pulses import fit_pulses
from analog_ep.calibration.regression import Noise
from analog_ep.calibration.solver import LOAD, calibrate_device, read_device
from analog_ep.calibration.step_families import FAMILIES
from analog_ep.calibration.writing import fault_of, fit_table, write_card
from analog_ep.cards.pulse_tables import read_pulses
from analog_ep.cli.common import RunFolder, app, console
from analog_ep.constants import DEFAULT_TEMPERATURE
from analog_ep.devices.foundry_card import save_tables
from analog_ep.measurements import Column, Table, read_table
from analog_ep.runs.chip_calibration import calibrate_run
from analog_ep.runs.folder import CALIBRATION

calibrate = typer.Typer(
    help=(
        "Fit device models to measurements; writes a device card and a picture of the fit. Exit status 3, and no card, "
        "where the model is not adequate (--force writes it all the same) or no device has its parameters; 1 where the "
        "data cannot be used."
    ),
    no_args_is_help=True,
    rich_markup_mode=None,
)
app.add_typer(calibrate, name="calibrate")

UNUSABLE = 3
"""Exit status where the data were read and fitted, but the fit is of no use."""

PulseFamily = StrEnum("PulseFamily", {name: name for name in FAMILIES})

DataFile = Annotated[Path, typer.Argument(metavar="DATA.csv", help="Measurements; the header names columns and units.")]
CardFile = Annotated[Path, typer.Option("-o", "--out", metavar="CARD.toml", help="Device card to write.")]
Columns = Annotated[
    str | None,
    typer.Option(
        metavar="HEADER",
        help="In place of the file's header: columns with their units in order, as in 'voltage [V],,current [mA]'; an "
        "empty one is left alone.",
    ),
]
Source = Annotated[str, typer.Option(metavar="TEXT", help="What the data are and where they come from.")]
Plot = Annotated[Path | None, typer.Option(metavar="FILE.png", help="Picture; by default beside the card.")]
Force = Annotated[bool, typer.Option("--force", help="Write the card of a model that is not adequate too.")]
RelativeNoise = Annotated[
    float | None, typer.Option(help="Noise relative to the value; by default estimated from the residuals.")
]

_Volts = tuple[float, float]
Corners = Annotated[
    list[str] | None, typer.Option(metavar="SECTION", help="Transistor: of the library, nominal first.")
]
Sizes = Annotated[list[str] | None, typer.Option("--set", metavar="NAME=VALUE", help="Transistor: w, l, … [m]")]
Files = Annotated[list[Path] | None, typer.Option("--with", metavar="FILE", help="Transistor: files to read before.")]
GateRange = Annotated[_Volts, typer.Option(metavar="LOW HIGH", help="Transistor: of the gate above its source. [V]")]
DrainRange = Annotated[_Volts, typer.Option(metavar="LOW HIGH", help="Transistor: of the drain. [V]")]
BulkRange = Annotated[_Volts, typer.Option(metavar="LOW HIGH", help="Transistor: of the bulk; 0 0 if tied. [V]")]
Temperatures = Annotated[list[float] | None, typer.Option("--at", help="Transistor: further temperatures. [°C]")]


@calibrate.command("diode")
def calibrate_diode(
    data: DataFile,
    out: CardFile,
    temperature: Annotated[
        float, typer.Option(help="Of the measurement, where the data have no such column. [K]")
    ] = DEFAULT_TEMPERATURE,
    relative_noise: RelativeNoise = None,
    noise_floor: Annotated[float | None, typer.Option(help="Noise at no current; by default estimated. [A]")] = None,
    saturation_exponent: Annotated[float, typer.Option(help="XTI: 3 for silicon, 2 for Schottky diodes.")] = 3.0,
    energy_gap: Annotated[
        float | None,
        typer.Option(help="EG, where known: without it, data of one temperature make a card of that alone. [eV]"),
    ] = None,
    columns: Columns = None,
    source: Source = "",
    plot: Plot = None,
    force: Force = False,
) -> None:
    """Fit IS, n and R_s, with several temperatures EG too. Columns: voltage [V], current [A], temperature [K]."""
    table = _read(data, DIODE_COLUMNS, columns)
    fit = fit_diode(
        table,
        temperature=temperature,
        noise=Noise(relative_noise, noise_floor),
        saturation_exponent=saturation_exponent,
        energy_gap=energy_gap,
    )
    _write(fit, data, out, source, plot, force)


@calibrate.command("pulses")
def calibrate_pulses(
    data: DataFile,
    out: CardFile,
    model: Annotated[PulseFamily | None, typer.Option(help="Model; by default chosen by BIC.")] = None,  # pyright: ignore[reportInvalidTypeForm]
    window: Annotated[
        tuple[float, float] | None,
        typer.Option(
            "--range",
            metavar="G_MIN G_MAX",
            help="Working range; by default that of the data. What 0 and 1 stand for in trains without a unit. [S]",
        ),
    ] = None,
    averages: Annotated[int, typer.Option(min=1, help="Repetitions of which each conductance is the mean.")] = 1,
    columns: Columns = None,
    source: Source = "",
    plot: Plot = None,
    force: Force = False,
) -> None:
    """Fit the steps of a device under pulses, their noise and spread.

    Columns: pulse, conductance [S] or resistance [ohm], device; or up [S] and down [S], a column for each train.
    """
    table = _shown(read_pulses(data, columns, window))
    fit = fit_pulses(table, model=None if model is None else model.value, window=window, averages=averages)
    _write(fit, data, out, source, plot, force)


@calibrate.command("memristor")
def calibrate_memristor(
    data: DataFile,
    out: CardFile,
    model: Annotated[str, typer.Option(metavar="vteam|team|joglekar|…", help="Model of the memristor.")] = "vteam",
    start: Annotated[
        list[str] | None, typer.Option(metavar="NAME=VALUE", help="Parameter to begin from, or, where held, to keep.")
    ] = None,
    relative_noise: RelativeNoise = None,
    noise_floor: Annotated[float | None, typer.Option(help="Noise at no current; by default estimated. [A]")] = None,
    columns: Columns = None,
    source: Source = "",
    plot: Plot = None,
    force: Force = False,
) -> None:
    """Fit a memristor's compact model to a trace. Columns: time [s], voltage [V], current [A]."""
    table = _read(data, MEMRISTOR_COLUMNS, columns)
    given = dict(_assignment(text) for text in start or [])
    fit = fit_memristor(table, model=model, start=given, noise=Noise(relative_noise, noise_floor))
    _write(fit, data, out, source, plot, force)


@calibrate.command("amplifier")
def calibrate_amplifier(
    data: DataFile,
    out: CardFile,
    noise: Annotated[float | None, typer.Option(help="Noise of the output; by default estimated. [V]")] = None,
    columns: Columns = None,
    source: Source = "",
    plot: Plot = None,
    force: Force = False,
) -> None:
    """Fit gain, input offset and rails of a transfer curve. Columns: input [V], output [V]."""
    fit = fit_amplifier(_read(data, AMPLIFIER_COLUMNS, columns), noise=Noise(0.0, noise))
    _write(fit, data, out, source, plot, force)


@calibrate.command("solver")
def calibrate_solver(
    netlist: Annotated[
        Path,
        typer.Argument(
            metavar="DEVICE.lib",
            help="A .model of a diode, a two-pin .subckt, or, with -o FILE.npz, a transistor's cards.",
        ),
    ],
    out: CardFile,
    name: Annotated[
        str | None, typer.Option(help="Which, where the file defines several; the last by default.")
    ] = None,
    voltages: Annotated[
        tuple[float, float], typer.Option("--range", metavar="LOW HIGH", help="Voltages of the sweep. [V]")
    ] = (-2.0, 1.0),
    celsius: Annotated[float, typer.Option(help="Temperature of the card. [°C]")] = 27.0,
    between: Annotated[
        tuple[float, float],
        typer.Option("--temperatures", metavar="LOW HIGH", help="Temperatures to hold at, by EG and XTI. [°C]"),
    ] = (-40.0, 125.0),
    largest_current: Annotated[float, typer.Option(help="Where the fit ends. [A]")] = 0.01,
    load: Annotated[float, typer.Option(help="Smallest conductance beside the diode in your networks. [S]")] = LOAD,
    corner: Corners = None,
    size: Sizes = None,
    also: Files = None,
    gate: GateRange = (0.0, 1.8),
    drain: DrainRange = (-0.4, 1.8),
    bulk: BulkRange = (0.0, 0.0),
    other_celsius: Temperatures = None,
    allowed: Annotated[float, typer.Option(help="Transistor: largest error of the current.")] = ALLOWED,
    plot: Plot = None,
    force: Force = False,
) -> None:
    """Fit the fast solver's diode to what ngspice makes of your own model card or subcircuit; with -o FILE.npz make
    tables of a transistor's current, which are kept for the next time.
    """
    if out.suffix == ".npz":
        ranges = TableRange(gate, drain, bulk if bulk[0] != bulk[1] else bulk[0])
        given = dict(_assignment(text, "--set") for text in size or [])
        cards = [read_card(netlist, name or "", given, each, also or []) for each in corner or [""]]
        tables = tabulated(cards, ranges, [celsius, *(other_celsius or [])], allowed=allowed, say=typer.echo)
        save_tables(tables, out)
        typer.echo(f"wrote {out}: {len(tables)} tables of {cards[0].name}")
        return
    device = read_device(netlist, name)
    fit = calibrate_device(
        device, voltages, celsius=celsius, between=between, largest_current=largest_current, load=load
    )
    _write(fit, netlist, out, f"{device.name} of {netlist.name}, swept in ngspice at {celsius:g} °C", plot, force)


@calibrate.command("chip")
def calibrate_chip(
    run: RunFolder,
    reads: Annotated[int, typer.Option(min=1, help="Reads that are averaged.")] = 4,
    bits: Annotated[int, typer.Option(min=1, help="Halvings of a comparator's trim.")] = 12,
) -> None:
    """Measure offsets and learning bias of a run's chip; `train --resume` then corrects for them."""
    found = calibrate_run(run, reads=reads, bits=bits)
    console.print(found.table())
    typer.echo(found.sentence())
    typer.echo(f"wrote {run / CALIBRATION}; go on with: analog-ep train --resume --out {run} --epochs N")


def _read(data: Path, wanted: tuple[Column, ...], header: str | None) -> Table:
    return _shown(read_table(data, wanted, header))


def _shown(table: Table) -> Table:
    """The table, after what was understood of it is printed."""
    console.print(table.understood())
    return table


def _assignment(text: str, option: str = "--start") -> tuple[str, float]:
    name, _, value = text.partition("=")
    try:
        return name.strip(), float(value)
    except ValueError:
        raise typer.BadParameter(f"must be NAME=NUMBER, found {text!r}", param_hint=option) from None


def _write(fit: Fit, data: Path, out: Path, source: str, plot: Path | None, force: bool) -> None:
    fault = fault_of(fit, out)
    usable = fault is None and (force or fit.adequacy.adequate)
    if usable:
        write_card(fit, out, data, source, plot)
    console.print(fit_table(fit))
    typer.echo(f"noise: {fit.noise}")
    for note in fit.notes:
        typer.echo(note)
    typer.echo(fit.sentence())
    if not usable:
        why = "the model is not adequate; --force writes it all the same" if fault is None else fault
        typer.echo(f"analog-ep: no card was written: {why}", err=True)
        raise typer.Exit(UNUSABLE)
    typer.echo(f"wrote {out}")
