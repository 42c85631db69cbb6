"""From a fit to a card, its picture, and its netlist; all of it or nothing is written."""

from __future__ import annotations

import datetime
import math
import re
from pathlib import Path

import numpy as np
from rich.table import Table as ConsoleTable

from analog_ep.calibration.figure import fit_figure
from analog_ep.calibration.fit import Estimate, Fit
from analog_ep.cards import Card, Quantity
from analog_ep.errors import CardError
from analog_ep.support.files import write_atomically


def card_of(fit: Fit, name: str, data: str, description: str, date: datetime.date | None = None) -> Card:
    """The card of a fit.

    Parameters
    ----------
    fit : Fit
        What was found.
    name : str
        Name of the card.
    data : str
        Name of the file that holds the data.
    description : str
        What the data are and where they come from.
    date : date, optional
        Of the calibration; today by default.
    """
    entries = {**fit.constants, **fit.estimates}
    return Card(
        name,
        fit.kind,
        fit.model,
        {
            # Without a number an uncertainty is not 0, as of what is exact.
            key: Quantity(e.value, math.inf if math.isnan(e.uncertainty) else e.uncertainty, e.unit)
            for key, e in entries.items()
        },
        {key: [float(low), float(high)] for key, (low, high) in fit.validity.items()},
        {"data": data, "description": description, "date": str(date or datetime.date.today())},
        {
            "points": fit.n_points,
            "noise": fit.noise,
            "adequate": fit.adequacy.adequate,
            "report": fit.sentence(),
            "cannot_tell": list(fit.untold),
            "fitted": list(fit.estimates),
            "correlation": np.round(fit.correlation, 6).tolist(),
        },
    )


def card_name(path: Path) -> str:
    """The name that a card gets from the file it is written to."""
    return re.sub(r"[^a-z0-9_]+", "_", path.stem.lower()).strip("_") or "card"


def write_card(fit: Fit, path: Path, data: Path, description: str = "", plot: Path | None = None) -> Card:
    """Write the card and its picture, `plot` or the card's path with ``.png``.

    Raises
    ------
    CardError
        If the card's path does not end in ``.toml``, or its folder is missing; nothing is written then.
    """
    if path.suffix != ".toml":
        raise CardError(f"a card is written to a .toml file, found {path}")
    plot = path.with_suffix(".png") if plot is None else plot
    for target in (path, plot):
        if not target.parent.is_dir():
            raise CardError(f"the folder of {target} must exist, found none; make it first")
    card = card_of(fit, card_name(path), data.name, description or f"measurements in {data.name}")
    text, image = card.to_toml(), fit_figure(fit, card.name)
    write_atomically(plot, image)
    write_atomically(path, text)
    return card


def fault_of(fit: Fit, path: Path) -> str | None:
    """Why a fit is of no use: no device has its parameters, or the data tell none of them; None where it is of use."""
    if fit.estimates and not any(e.uncertainty < abs(e.value) for e in fit.estimates.values()):
        return f"the data tell none of the parameters of {fit.model} to better than its size"
    card = card_of(fit, card_name(path), "", "")
    build = {"diode": card.diode, "pulses": card.pulse_model, "memristor": card.memristor}
    try:
        build.get(card.kind, lambda: card.values(card.kind))()
    except CardError as error:
        return str(error)
    return None


def fit_table(fit: Fit) -> ConsoleTable:
    """The parameters for a terminal."""
    table = ConsoleTable("parameter", "value", "1 σ", "unit", title=f"{fit.kind}: {fit.model}, {fit.n_points} points")
    for name, entry in fit.estimates.items():
        table.add_row(name, f"{entry.value:.6g}", _uncertainty(entry), entry.unit)
    for name, entry in fit.constants.items():
        value = entry.value
        text = f"{len(value)} values" if isinstance(value, list) else f"{value:.6g}"
        table.add_row(name, text, "given", entry.unit)
    return table


def _uncertainty(entry: Estimate) -> str:
    return f"{entry.uncertainty:.2g}" if math.isfinite(entry.uncertainty) else "not told"
