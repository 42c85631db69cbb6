"""Memristors in a deck that writes a crossbar with the pulses of an update, and reads the conductances back."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor

from analog_ep.constants import DEFAULT_TEMPERATURE
from analog_ep.devices.memristors import Memristor
from analog_ep.devices.memristors.writing import WriteSchedule, WrittenCrossbar
from analog_ep.netlist.dialects import NGSPICE, analyses_of
from analog_ep.netlist.texts import number
from analog_ep.netlist.verilog_memristors import instance_parameters, verilog_a
from analog_ep.ngspice.write_deck import DeviceCards, instance_cards, ngspice_written, write_deck
from analog_ep.support.resources import netlists_folder

_LIBRARY = "memristors.lib"
_ANALYSES = analyses_of(NGSPICE)


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
    return write_deck(memristor_cards(memristor, start, compiled), schedule)


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
    return ngspice_written(memristor_cards(memristor, start), schedule, executable, timeout)


def memristor_cards(memristor: Memristor, start: Tensor, compiled: Path | str | None = None) -> DeviceCards:
    """The cards of a crossbar of memristors; arguments and errors as for `memristor_write_deck`."""
    shape = (int(start.shape[0]), int(start.shape[1]))
    kelvin = _temperatures(memristor, shape)
    ambient = float(kelvin.flatten()[0])
    values, letter = instance_parameters(memristor, shape), "x" if compiled is None else "n"

    def instance(row: int, column: int, nodes: tuple[str, str, str]) -> Iterator[str]:
        parameters = {key: number(float(value[row, column])) for key, value in values.items()}
        x0 = float(start[row, column])
        if compiled is None:
            parameters = {"x0": number(x0)} | parameters
        else:
            yield _ANALYSES.initial(nodes[2], x0)
        if kelvin[row, column] != ambient:
            parameters["warmer"] = number(float(kelvin[row, column]) - ambient)
        yield from instance_cards(letter, row, column, nodes, memristor.subcircuit, parameters)

    definition = _subcircuit(memristor.subcircuit).splitlines() if compiled is None else _module(memristor, compiled)
    return DeviceCards(f"memristors ({memristor.subcircuit})", shape, tuple(definition), instance, ambient)


def _temperatures(memristor: Memristor, shape: tuple[int, int]) -> Tensor:
    """Of the devices without current, where their law has one; the simulation's is the first one's. [K]"""
    own = getattr(memristor, "ambient", DEFAULT_TEMPERATURE)
    return torch.as_tensor(own, dtype=torch.float64).expand(shape)


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
