"""Why pulsed devices train a network, or do not: what each crossbar made of the changes that were wanted."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields

import torch
from torch import Tensor

from analog_ep.devices.pulses import PulsedArray
from analog_ep.learning.updates.schemes.scheme import PulsedCrossbar


@dataclass(frozen=True)
class DeviceFigures:
    """What the devices of an array are like, whatever is written into them.

    Attributes
    ----------
    symmetry_point, symmetry_spread : float
        Mean and standard deviation over devices of where steps up and down are equal, 0 at g_min and 1 at g_max.
    asymmetry : float
        Mean over devices of (up − down)/(up + down) in the middle of the window: −1 where no pulse potentiates there.
    steps_per_range : float
        Median over devices of the mean steps between their own bounds.
    """

    symmetry_point: float
    symmetry_spread: float
    asymmetry: float
    steps_per_range: float

    @classmethod
    def of(cls, array: PulsedArray) -> DeviceFigures:
        """From an array, which is left as it is."""
        window = array.map
        point = (array.symmetry_conductances - window.g_min).double() / (window.g_max - window.g_min)
        middle = torch.full_like(array.hidden, (window.w_min + window.w_max) / 2) + array.read_offset
        up, down = array.model.potentiation(middle, array.drawn), array.model.depression(middle, array.drawn)
        # A device that is stuck has no steps, and no asymmetry.
        tilt = torch.nan_to_num((up - down) / (up + down)).expand_as(middle).double()
        width = (array.drawn["high"] - array.drawn["low"]).expand_as(middle).double()
        steps = float(width.median()) / array.model.mean_step
        return cls(float(point.mean()), float(point.std(correction=0)), float(tilt.mean()), steps)


@dataclass(frozen=True)
class CrossbarReport(DeviceFigures):
    """What became of one crossbar in an epoch, and up to its end.

    Attributes
    ----------
    parameter : str
        Its name.
    devices : int
        Devices that the network reads.
    cosine, slope : float, optional
        Of the change of its conductances in the epoch against the sum of the wanted ones: 1 and 1 where devices do as
        they are told. None where nothing was wanted.
    at_low, at_high : float
        Share of devices within a mean step of their own lower and upper bound.
    mean_pulses, most_pulses : float
        Of a device that the network reads, so far.
    hidden_pulses : float, optional
        Mean of a device that it does not read, such as Tiki-Taka's fast ones; None without any.
    least_transfers : int, optional
        From the fast array's column that was read the least, so far; None without any.
    lost_pulses : float
        What changes were worth beyond the most pulses, or slots, of an update, all devices, so far.
    reads : int
        Reads of a device that the scheme needed, so far: to verify, and to transfer.
    worn_out : float
        Share of devices that have had as many pulses as they endure.
    energy : float
        Of all pulses so far, those on hidden devices too. [J]
    update_seconds : float
        Mean wall time of an update. [s]
    """

    parameter: str
    devices: int
    cosine: float | None
    slope: float | None
    at_low: float
    at_high: float
    mean_pulses: float
    most_pulses: float
    hidden_pulses: float | None
    least_transfers: int | None
    lost_pulses: float
    reads: int
    worn_out: float
    energy: float
    update_seconds: float


REPORT_COLUMNS = ("epoch", "parameter", *(field.name for field in fields(CrossbarReport) if field.name != "parameter"))
"""Columns of the table of a run's devices."""


class CrossbarWatch:
    """Follows what is wanted of a crossbar, and what it does, from one report to the next.

    Parameters
    ----------
    crossbar : PulsedCrossbar
        What is followed.
    """

    def __init__(self, crossbar: PulsedCrossbar):
        self.crossbar = crossbar
        self._figures: DeviceFigures | None = None
        self.begin()

    def begin(self) -> None:
        """Forget what was wanted before."""
        self._began = self.crossbar.array.conductances.double()
        self._wanted = torch.zeros_like(self._began)
        self._seconds, self._updates = 0.0, 0

    def note(self, change: Tensor, seconds: float) -> None:
        """An update wanted this ΔG [S], and took some time."""
        self._wanted += change
        self._seconds += seconds
        self._updates += 1

    def report(self) -> CrossbarReport:
        """What happened since the last one; the next begins here."""
        array, hidden = self.crossbar.array, self.crossbar.hidden_array
        if self._figures is None:
            self._figures = DeviceFigures.of(array)
        pulses, state = _pulses(array), array.hidden
        near = array.model.mean_step
        transfers = self.crossbar.memory.get("transfers")
        cosine, slope = _agreement(array.conductances.double() - self._began, self._wanted)
        report = CrossbarReport(
            **asdict(self._figures),
            parameter=self.crossbar.layout.label,
            devices=pulses.numel(),
            cosine=cosine,
            slope=slope,
            at_low=_share(state <= array.drawn["low"] + near),
            at_high=_share(state >= array.drawn["high"] - near),
            mean_pulses=float(pulses.double().mean()),
            most_pulses=float(pulses.max()),
            hidden_pulses=None if hidden is None else float(_pulses(hidden).double().mean()),
            least_transfers=None if transfers is None else int(transfers.min()),
            lost_pulses=float(self.crossbar.tally["lost"]),
            reads=int(self.crossbar.tally["reads"]),
            worn_out=_share(array.worn_out),
            energy=sum(float(each.energy) for each in self.crossbar.arrays),
            update_seconds=self._seconds / max(self._updates, 1),
        )
        self.begin()
        return report


def _pulses(array: PulsedArray) -> Tensor:
    return array.potentiations + array.depressions


def _share(which: Tensor) -> float:
    return float(which.double().mean())


def _agreement(done: Tensor, wanted: Tensor) -> tuple[float | None, float | None]:
    """Cosine and slope of what was done against what was wanted."""
    product, size, length = float((done * wanted).sum()), float((wanted**2).sum()), float((done**2).sum())
    if not size:
        return None, None
    return (product / math.sqrt(size * length) if length else 0.0), product / size


def summed(reports: Sequence[dict[str, object]]) -> dict[str, float | None]:
    """Figures of all crossbars of an epoch together: means over devices, and sums of what is counted.

    Parameters
    ----------
    reports : sequence of dict
        Rows of one epoch; nothing comes of none.
    """

    def mean(*names: str) -> float | None:
        pairs = [(row["devices"], [row[name] for name in names]) for row in reports]
        known = [(n, sum(values)) for n, values in pairs if None not in values]  # pyright: ignore
        return sum(n * value for n, value in known) / sum(n for n, _ in known) if known else None  # pyright: ignore

    if not reports:
        return {}
    return {
        "cosine": mean("cosine"),
        "slope": mean("slope"),
        "at_bounds": mean("at_low", "at_high"),
        "worn_out": mean("worn_out"),
        "lost_pulses": float(sum(row["lost_pulses"] for row in reports)),  # pyright: ignore
        "reads": float(sum(row["reads"] for row in reports)),  # pyright: ignore
    }


SUMMED = ("cosine", "slope", "at_bounds", "worn_out", "lost_pulses", "reads")
"""What `summed` gives."""
