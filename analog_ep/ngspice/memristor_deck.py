"""A deck that writes a crossbar of memristors with the pulses of an update, and reads the conductances back."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from analog_ep.constants import DEFAULT_TEMPERATURE
from analog_ep.devices.memristors import Memristor
from analog_ep.devices.memristors.writing import WriteSchedule, WrittenCrossbar
from analog_ep.errors import NgspiceResultError, StimulusError
from analog_ep.netlist.dialects import NGSPICE, analyses_of
from analog_ep.netlist.dialects.analyses import folded
from analog_ep.netlist.texts import in_celsius, number
from analog_ep.netlist.verilog_memristors import instance_parameters, verilog_a
from analog_ep.ngspice.process import run_plots
from analog_ep.support.resources import netlists_folder

_LIBRARY = "memristors.lib"
_ANALYSES = analyses_of(NGSPICE)
_OPTIONS = {"TNOM": "27", "reltol": "1e-6", "vntol": "1e-9", "abstol": "1e-15", "chgtol": "1e-18", "gmin": "1e-15"}
_STEPS_AN_EDGE = 10
_WIDTH = 110


def memristor_write_deck(
    memristor: Memristor, start: Tensor, schedule: WriteSchedule, compiled: Path | str | None = None
) -> str:
    """Text of a deck for plain ``ngspice -b``: it prints each device's conductance g_ROW_COLUMN as it is read. [S]

    Lines are ideal; each device is an instance of the subcircuit, or of a compiled module, from its row to its column.

    Parameters
    ----------
    memristor : Memristor
        The devices.
    start : Tensor (n_rows, n_columns)
        States before.
    schedule : WriteSchedule
        Voltages of the lines.
    compiled : Path or str, optional
        The device's Verilog-A (`verilog_memristors.verilog_a`) as OpenVAF compiled it, as the deck shall
        name it, for an ngspice with OSDI.

    Raises
    ------
    CircuitError
        If there is no such module.
    StimulusError
        If the schedule is of another shape.
    """
    read = [
        card
        for row, time in enumerate(schedule.times[schedule.read_corners])
        for column in range(start.shape[1])
        for card in _measurement(row, column, float(time), schedule.read_voltage)
    ]
    return "\n".join([*_cards(memristor, start, schedule, compiled), *read, NGSPICE.end()]) + "\n"


def ngspice_write_crossbar(
    memristor: Memristor,
    start: Tensor,
    schedule: WriteSchedule,
    executable: str | Path | None = None,
    timeout: float | None = 600.0,
) -> WrittenCrossbar:
    """What `analog_ep.devices.memristors.writing.write_crossbar` computes, from ngspice.

    Parameters and errors of the schedule are those of `memristor_write_deck`, the others those of
    `analog_ep.ngspice.process.run_ngspice`.
    """
    n_rows, n_columns = start.shape
    states = [NGSPICE.voltage(f"state_{row}_{column}") for row in range(n_rows) for column in range(n_columns)]
    currents = [NGSPICE.current(f"v_column_{column}") for column in range(n_columns)]
    cards = [*_cards(memristor, start, schedule), _ANALYSES.save([*states, *currents]), NGSPICE.end()]
    (plot,) = run_plots("\n".join(cards) + "\n", executable, timeout)
    times = plot.columns(["time"])[:, 0]
    if times[-1] < schedule.times[-1] * (1 - 1e-9):
        raise NgspiceResultError(f"ngspice must reach {schedule.times[-1]:g} s, found its end at {times[-1]:g} s")
    instants = schedule.times[schedule.read_corners]
    read = np.stack([np.interp(instants, times, current) for current in plot.columns(currents).T], axis=1)
    final = plot.columns(states)[-1].reshape(n_rows, n_columns)
    return WrittenCrossbar(torch.from_numpy(read / schedule.read_voltage), torch.from_numpy(final))


def _cards(
    memristor: Memristor, start: Tensor, schedule: WriteSchedule, compiled: Path | str | None = None
) -> Iterator[str]:
    shape = (schedule.rows.shape[1], schedule.columns.shape[1])
    if tuple(start.shape) != shape:
        raise StimulusError(f"states must have the schedule's shape {shape}, found {tuple(start.shape)}")
    yield from _header(memristor, shape)
    kelvin = _temperatures(memristor, shape)
    ambient = float(kelvin.flatten()[0])
    yield _ANALYSES.options({"TEMP": in_celsius(ambient), **_OPTIONS})
    yield ""
    yield from _subcircuit(memristor.subcircuit).splitlines() if compiled is None else _module(memristor, compiled)
    yield from ["", NGSPICE.comment("Lines")]
    for name, lines in (("row", schedule.rows), ("column", schedule.columns)):
        for k, values in enumerate(lines.T):
            yield from _source(f"{name}_{k}", schedule.times, values)
    yield from ["", NGSPICE.comment("Devices")]
    values, letter = instance_parameters(memristor, shape), "x" if compiled is None else "n"
    for row, column in np.ndindex(*shape):
        parameters = {key: number(float(value[row, column])) for key, value in values.items()}
        x0, state = float(start[row, column]), f"state_{row}_{column}"
        if compiled is None:
            parameters = {"x0": number(x0)} | parameters
        else:
            yield _ANALYSES.initial(state, x0)
        if kelvin[row, column] != ambient:
            parameters["warmer"] = number(float(kelvin[row, column]) - ambient)
        nodes = (f"row_{row}", f"column_{column}", state)
        yield from folded(NGSPICE.instance(f"{letter}_{row}_{column}", nodes, memristor.subcircuit, parameters), _WIDTH)
    step = float(f"{np.diff(schedule.times).min() / _STEPS_AN_EDGE:.3g}")
    yield ""
    yield _ANALYSES.transient(step, schedule.times[-1], from_start=True)


def _temperatures(memristor: Memristor, shape: tuple[int, int]) -> Tensor:
    """Of the devices without current, where their law has one; the simulation's is the first one's. [K]"""
    own = getattr(memristor, "ambient", DEFAULT_TEMPERATURE)
    return torch.as_tensor(own, dtype=torch.float64).expand(shape)


def _header(memristor: Memristor, shape: tuple[int, int]) -> Iterator[str]:
    yield from map(
        NGSPICE.comment,
        (
            f"Writing a crossbar of {shape[0]} x {shape[1]} memristors ({memristor.subcircuit}) by the V/2 scheme",
            NGSPICE.how_to_run,
            "A pulse puts half its voltage on a row and minus half on a column. Then each row is read in turn.",
            "Names: x_ROW_COLUMN a device, state_ROW_COLUMN its state, g_ROW_COLUMN its conductance as read [S].",
        ),
    )


def _module(memristor: Memristor, compiled: Path | str) -> Iterator[str]:
    """What makes a compiled module a model."""
    verilog_a(memristor)
    yield from (".control", f"pre_osdi {compiled}", ".endc")
    yield NGSPICE.model_card(memristor.subcircuit, memristor.subcircuit, {})


def _subcircuit(name: str) -> str:
    library = (netlists_folder() / _LIBRARY).read_text(encoding="utf-8")
    found = re.search(rf"^\.subckt {name} .*?^\.ends {name}$", library, re.MULTILINE | re.DOTALL)
    assert found is not None
    return found[0]


def _source(name: str, times: np.ndarray, values: np.ndarray) -> Iterator[str]:
    """A PWL source; corners on a straight line with their neighbours are left out."""
    slopes = np.diff(values) / np.diff(times)
    keep = np.concatenate([[True], slopes[1:] != slopes[:-1], [True]])
    points = _ANALYSES.corners(zip(times[keep], values[keep], strict=True))
    yield from folded(NGSPICE.element(f"v_{name}", (name, "0"), points), _WIDTH)


def _measurement(row: int, column: int, time: float, voltage: float) -> Iterator[str]:
    yield _ANALYSES.measured(f"i_{row}_{column}", NGSPICE.current(f"v_column_{column}"), time)
    yield _ANALYSES.computed(f"g_{row}_{column}", f"i_{row}_{column}/{number(voltage)}")
