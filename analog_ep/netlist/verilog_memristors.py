"""Memristors as Verilog-A: their text, and a deck for VACASK that writes a crossbar of them."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from analog_ep.devices.memristors import Memristor
from analog_ep.devices.memristors.writing import WriteSchedule
from analog_ep.errors import CircuitError, StimulusError
from analog_ep.netlist.dialects import DIALECTS
from analog_ep.netlist.texts import number
from analog_ep.support.resources import netlists_folder

_FOLDER = "memristors"
_STEPS_AN_EDGE = 10
_VACASK = DIALECTS["vacask"]


def verilog_a(memristor: Memristor) -> str:
    """The module of a memristor, whose name is that of its subcircuit; its third terminal is its state. [V]

    Raises
    ------
    CircuitError
        If there is none.
    """
    path = netlists_folder() / _FOLDER / f"{_stem(memristor.subcircuit)}.va"
    if not path.is_file():
        able = ", ".join(sorted(f"memristor_{each.stem}" for each in path.parent.glob("*.va")))
        raise CircuitError(f"there must be a Verilog-A module of {memristor.subcircuit}, found those of {able} alone")
    return path.read_text(encoding="ascii")


def _stem(subcircuit: str) -> str:
    return subcircuit.removeprefix("memristor_")


def instance_parameters(memristor: Memristor, shape: tuple[int, ...]) -> dict[str, np.ndarray]:
    """Parameters of the module by name, each spread over devices of a shape; the start of the state is none of them."""
    return {
        field.name: torch.as_tensor(getattr(memristor, field.name), dtype=torch.float64).expand(shape).numpy()
        for field in dataclasses.fields(memristor)
        if field.name not in ("ambient", "x0")
    }


def vacask_write_deck(memristor: Memristor, start: Tensor, schedule: WriteSchedule) -> str:
    """Text of a deck for ``vacask FILE`` that writes a crossbar with the pulses of an update, and reads it.

    The raw file ``write.raw`` has all voltages over time, and the current of each column, ``v_column_<j>:flow(br)``;
    over the voltage of a read it is the conductance of the device in the row that is read.

    Parameters
    ----------
    memristor : Memristor
        The devices; there must be a module of theirs, see `verilog_a`.
    start : Tensor (n_rows, n_columns)
        States before.
    schedule : WriteSchedule
        Voltages of the lines.

    Raises
    ------
    CircuitError
        If there is no module.
    StimulusError
        If the schedule is of another shape.
    """
    shape = (schedule.rows.shape[1], schedule.columns.shape[1])
    if tuple(start.shape) != shape:
        raise StimulusError(f"states must have the schedule's shape {shape}, found {tuple(start.shape)}")
    return "\n".join(_lines(memristor, start, schedule)) + "\n"


def _lines(memristor: Memristor, start: Tensor, schedule: WriteSchedule) -> Iterator[str]:
    module, master = verilog_a(memristor), memristor.subcircuit
    yield _VACASK.comment(f"Writing a crossbar of {start.shape[0]} x {start.shape[1]} memristors ({master})")
    yield _VACASK.comment(_VACASK.how_to_run)
    yield from ('include "builtins.inc"', f'embed "{master}.va" <<<FILE', module.rstrip(), ">>>FILE")
    yield from (f'load "{master}.va"', f"model {master} {master}")
    for name, lines in (("row", schedule.rows), ("column", schedule.columns)):
        for k, values in enumerate(lines.T):
            points = ", ".join(number(float(v)) for pair in zip(schedule.times, values, strict=True) for v in pair)
            yield f'v_{name}_{k} ({name}_{k} 0) vsource type="pwl" wave=[{points}]'
    parameters = instance_parameters(memristor, tuple(start.shape))
    for row, column in np.ndindex(*start.shape):
        own = {key: number(float(values[row, column])) for key, values in parameters.items()}
        nodes = (f"row_{row}", f"column_{column}", f"state_{row}_{column}")
        yield _VACASK.instance(f"n_{row}_{column}", nodes, master, own)
    states = np.ndenumerate(start.double().numpy())
    initial = ", ".join(f'"state_{row}_{column}", {number(float(x))}' for (row, column), x in states)
    step = number(float(f"{np.diff(schedule.times).min() / _STEPS_AN_EDGE:.3g}"))
    end = number(float(schedule.times[-1]))
    yield "control"
    yield "  options reltol=1e-6 vntol=1e-9 abstol=1e-15 gmin=1e-15"
    yield f'  analysis write tran step={step} stop={end} maxstep={step} icmode="uic" ic={{{initial}}}'
    yield "endc"
