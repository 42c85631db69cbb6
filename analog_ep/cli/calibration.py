"""Commands that fit device models to measurements: `calibrate`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from analog_ep.calibration.diode import COLUMNS as DIODE_COLUMNS
from analog_ep.calibration.diode import fit_diode
from analog_ep.calibration.fit import Fit
from analog_ep.calibration.regression import Noise
from analog_ep.calibration.table import read_table
from analog_ep.calibration.writing import fit_table, write_card
from analog_ep.cli.app import app, console
from analog_ep.constants import DEFAULT_TEMPERATURE

calibrate = typer.Typer(
    help="Fit device models to measurements; writes a device card and a picture of the fit.",
    no_args_is_help=True,
    rich_markup_mode=None,
)
app.add_typer(calibrate, name="calibrate")

DataFile = Annotated[Path, typer.Argument(metavar="DATA.csv", help="Measurements; the header names columns and units.")]
CardFile = Annotated[Path, typer.Option("-o", "--out", metavar="CARD.toml", help="Device card to write.")]
Source = Annotated[str, typer.Option(metavar="TEXT", help="What the data are and where they come from.")]
Plot = Annotated[Path | None, typer.Option(metavar="FILE.png", help="Picture; by default beside the card.")]
RelativeNoise = Annotated[
    float | None, typer.Option(help="Noise relative to the value; by default estimated from the residuals.")
]


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
    source: Source = "",
    plot: Plot = None,
) -> None:
    """Fit IS, n and R_s, with several temperatures EG too. Columns: voltage [V], current [A], temperature [K]."""
    table = read_table(data, DIODE_COLUMNS)
    fit = fit_diode(
        table,
        temperature=temperature,
        noise=Noise(relative_noise, noise_floor),
        saturation_exponent=saturation_exponent,
    )
    _write(fit, data, out, source, plot)


def _write(fit: Fit, data: Path, out: Path, source: str, plot: Path | None) -> None:
    write_card(fit, out, data, source, plot)
    console.print(fit_table(fit))
    typer.echo(f"noise: {fit.noise}")
    for note in fit.notes:
        typer.echo(note)
    typer.echo(fit.sentence())
    typer.echo(f"wrote {out}")
