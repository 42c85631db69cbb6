"""A deck that writes a crossbar with the pulses of an update, and reads the conductances back."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch

from analog_ep.constants import DEFAULT_TEMPERATURE
from analog_ep.devices.memristors.writing import WriteSchedule, WrittenCrossbar
from analog_ep.errors import NgspiceResultError, StimulusError
from analog_ep.netlist.dialects import NGSPICE, analyses_of
from analog_ep.netlist.dialects.analyses import folded
from analog_ep.netlist.texts import in_celsius, number
from analog_ep.ngspice.process import run_plots

_ANALYSES = analyses_of(NGSPICE)
_OPTIONS = {"TNOM": "27", "reltol": "1e-6", "vntol": "1e-9", "abstol": "1e-15", "chgtol": "1e-18", "gmin": "1e-15"}
_WIDTH = 110


@dataclass(frozen=True, eq=False)
class DeviceCards:
    """What a deck has of a crossbar's devices.

    Attributes
    ----------
    what : str
        The devices in words, in the plural.
    shape : (int, int)
        Rows and columns.
    definition : tuple of str
        Cards of their subcircuit, or of what makes it known.
    instance : callable
        Cards of the device in a row and a column between its nodes: row, column and state.
    temperature : float
        Of the simulation. [K]
    steps_an_edge : float
        How many steps of the longest length an edge of a pulse has.
    options : dict of str to str
        Of ngspice, beside those that all such decks have.
    """

    what: str
    shape: tuple[int, int]
    definition: tuple[str, ...]
    instance: Callable[[int, int, tuple[str, str, str]], Iterator[str]]
    temperature: float = DEFAULT_TEMPERATURE
    steps_an_edge: float = 10
    options: Mapping[str, str] = field(default_factory=dict)


def write_deck(devices: DeviceCards, schedule: WriteSchedule) -> str:
    """Text of a deck for plain ``ngspice -b``: it prints each device's conductance g_ROW_COLUMN as it is read. [S]

    Lines are ideal; each device is an instance from its row to its column.

    Raises
    ------
    StimulusError
        If the schedule is of another shape.
    """
    read = [
        card
        for row, time in enumerate(schedule.times[schedule.read_corners])
        for column in range(devices.shape[1])
        for card in _measurement(row, column, float(time), schedule.read_voltage)
    ]
    return "\n".join([*_cards(devices, schedule), *read, NGSPICE.end()]) + "\n"


def ngspice_written(
    devices: DeviceCards, schedule: WriteSchedule, executable: str | Path | None, timeout: float | None
) -> WrittenCrossbar:
    """The crossbar after its pulses, from ngspice.

    Parameters and errors of the engine are those of `analog_ep.ngspice.process.run_ngspice`.
    """
    n_rows, n_columns = devices.shape
    states = [NGSPICE.voltage(f"state_{row}_{column}") for row in range(n_rows) for column in range(n_columns)]
    currents = [NGSPICE.current(f"v_column_{column}") for column in range(n_columns)]
    cards = [*_cards(devices, schedule), _ANALYSES.save([*states, *currents]), NGSPICE.end()]
    (plot,) = run_plots("\n".join(cards) + "\n", executable, timeout)
    times = plot.columns(["time"])[:, 0]
    if times[-1] < schedule.times[-1] * (1 - 1e-9):
        raise NgspiceResultError(f"ngspice must reach {schedule.times[-1]:g} s, found its end at {times[-1]:g} s")
    instants = schedule.times[schedule.read_corners]
    read = np.stack([np.interp(instants, times, current) for current in plot.columns(currents).T], axis=1)
    final = plot.columns(states)[-1].reshape(n_rows, n_columns)
    return WrittenCrossbar(torch.from_numpy(read / schedule.read_voltage), torch.from_numpy(final))


def _cards(devices: DeviceCards, schedule: WriteSchedule) -> Iterator[str]:
    shape = (schedule.rows.shape[1], schedule.columns.shape[1])
    if devices.shape != shape:
        raise StimulusError(f"states must have the schedule's shape {shape}, found {devices.shape}")
    yield from _header(devices, schedule)
    yield _ANALYSES.options({"TEMP": in_celsius(devices.temperature), **_OPTIONS, **devices.options})
    yield ""
    yield from devices.definition
    yield from ["", NGSPICE.comment("Lines")]
    for name, lines in (("row", schedule.rows), ("column", schedule.columns)):
        for k, values in enumerate(lines.T):
            yield from _source(f"{name}_{k}", schedule.times, values)
    yield from ["", NGSPICE.comment("Devices")]
    for row, column in np.ndindex(*shape):
        yield from devices.instance(row, column, (f"row_{row}", f"column_{column}", f"state_{row}_{column}"))
    step = float(f"{np.diff(schedule.times).min() / devices.steps_an_edge:.3g}")
    yield ""
    yield _ANALYSES.transient(step, schedule.times[-1], from_start=True)


def _header(devices: DeviceCards, schedule: WriteSchedule) -> Iterator[str]:
    n_rows, n_columns = devices.shape
    lines = {
        "V/2": ("A pulse puts half its voltage on a row and minus half on a column. Then each row is read in turn.",),
        "V/3": (
            "A pulse puts half its voltage on a row and minus half on a column, minus a sixth on all other rows and a",
            "sixth on all other columns. Then each row is read in turn.",
        ),
    }
    yield from map(
        NGSPICE.comment,
        (
            f"Writing a crossbar of {n_rows} x {n_columns} {devices.what} by the {schedule.scheme} scheme",
            NGSPICE.how_to_run,
            *lines[schedule.scheme],
            "Names: x_ROW_COLUMN a device, state_ROW_COLUMN its state, g_ROW_COLUMN its conductance as read [S].",
        ),
    )


def instance_cards(
    letter: str, row: int, column: int, nodes: tuple[str, str, str], kind: str, own: dict[str, str]
) -> Iterator[str]:
    """Lines of one instance, not too long."""
    yield from folded(NGSPICE.instance(f"{letter}_{row}_{column}", nodes, kind, own), _WIDTH)


def _source(name: str, times: np.ndarray, values: np.ndarray) -> Iterator[str]:
    """A PWL source; corners on a straight line with their neighbours are left out."""
    slopes = np.diff(values) / np.diff(times)
    keep = np.concatenate([[True], slopes[1:] != slopes[:-1], [True]])
    points = _ANALYSES.corners(zip(times[keep], values[keep], strict=True))
    yield from folded(NGSPICE.element(f"v_{name}", (name, "0"), points), _WIDTH)


def _measurement(row: int, column: int, time: float, voltage: float) -> Iterator[str]:
    yield _ANALYSES.measured(f"i_{row}_{column}", NGSPICE.current(f"v_column_{column}"), time)
    yield _ANALYSES.computed(f"g_{row}_{column}", f"i_{row}_{column}/{number(voltage)}")
