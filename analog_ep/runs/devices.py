"""What became of the pulsed devices of a run: a table of every epoch, and its picture."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence

import numpy as np
from torch import Tensor

from analog_ep.learning.updates.report import REPORT_COLUMNS
from analog_ep.support.png import png_of

_BINS = 40


def devices_table(rows: Sequence[Mapping[str, object]]) -> str:
    """Rows of all epochs as CSV, in the order of `REPORT_COLUMNS`."""
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(REPORT_COLUMNS)
    table.writerows([_cell(row[name]) for name in REPORT_COLUMNS] for row in rows)
    return text.getvalue()


def device_curves(rows: Sequence[Mapping[str, object]], pulses: Mapping[str, Tensor], title: str) -> bytes:
    """Agreement with what was wanted and share at the bounds over the epochs, and pulses of the devices, as a PNG.

    Parameters
    ----------
    rows : sequence of dict
        What a training's `devices` holds.
    pulses : mapping of str to Tensor
        Pulses of each device, by array.
    title : str
        Of the picture.
    """
    # Loaded where it is drawn: no other command waits for it.
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 3.5), layout="constrained")
    agreement, bounds, histogram = figure.subplots(1, 3)
    for number, parameter in enumerate(dict.fromkeys(row["parameter"] for row in rows)):
        own = [row for row in rows if row["parameter"] == parameter]
        epochs = [row["epoch"] for row in own]
        marker, color = "o" if len(epochs) == 1 else "", f"C{number}"
        for name, style in (("cosine", "-"), ("slope", ":")):
            values = [np.nan if row[name] is None else row[name] for row in own]
            agreement.plot(epochs, values, style, color=color, marker=marker, label=f"{parameter}, {name}")
        for name, style in (("at_low", "-"), ("at_high", ":")):
            values = [100 * float(str(row[name])) for row in own]
            bounds.plot(epochs, values, style, color=color, marker=marker, label=f"{parameter}, {name[3:]}")
    agreement.set(xlabel="epoch", ylabel="ΔG of an epoch against what was wanted")
    bounds.set(xlabel="epoch", ylabel="devices at their bounds [%]")
    counts = {name: each.flatten().cpu().numpy() for name, each in pulses.items()}
    edges = np.linspace(0, max(max(int(each.max()) for each in counts.values()), 1), _BINS)
    for name, each in counts.items():
        histogram.hist(each, edges, histtype="step", label=name)
    histogram.set(xlabel="pulses of a device", ylabel="devices")
    for panel in (agreement, bounds, histogram):
        panel.grid(alpha=0.3)
        panel.legend(fontsize="small")
    figure.suptitle(title)
    return png_of(figure)


def _cell(value: object) -> str:
    return "" if value is None else value if isinstance(value, str) else repr(value)
