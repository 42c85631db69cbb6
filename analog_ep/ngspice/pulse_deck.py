"""Pulsed devices in a deck that writes a crossbar with the pulses of an update, and reads the conductances back."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from torch import Tensor

from analog_ep.devices.memristors.writing import WriteSchedule, WrittenCrossbar
from analog_ep.devices.pulses import PulsedArray
from analog_ep.errors import DeviceParameterError
from analog_ep.netlist.pulse_devices import array_parameters, pulse_subcircuit
from analog_ep.netlist.texts import number
from analog_ep.ngspice.memristor_deck import memristor_cards
from analog_ep.ngspice.write_deck import DeviceCards, instance_cards, ngspice_written, write_deck


def pulse_write_deck(array: PulsedArray, start: Tensor, schedule: WriteSchedule) -> str:
    """Text of a deck for plain ``ngspice -b``: it prints each device's conductance g_ROW_COLUMN as it is read. [S]

    Lines are ideal. Each device is an instance of its model's subcircuit, from its row to its column, with its own
    drawn parameters; noise of steps and of reads is none of them. Memristors are those of `netlists/memristors.lib`,
    all alike.

    Parameters
    ----------
    array : PulsedArray
        The devices, in rows and columns.
    start : Tensor (n_devices,)
        States w before.
    schedule : WriteSchedule
        Voltages of the lines.

    Raises
    ------
    DeviceParameterError
        If the model's steps have no closed form, or the range of conductances is not the memristor's own.
    StimulusError
        If the schedule is of another shape.
    """
    return write_deck(pulse_cards(array, start), schedule)


def ngspice_pulse_crossbar(
    array: PulsedArray,
    start: Tensor,
    schedule: WriteSchedule,
    executable: str | Path | None = None,
    timeout: float | None = 600.0,
) -> WrittenCrossbar:
    """The crossbar after its pulses, from ngspice; it leaves the array as it is.

    Parameters and errors of the schedule are those of `pulse_write_deck`, the others those of
    `analog_ep.ngspice.process.run_ngspice`.
    """
    return ngspice_written(pulse_cards(array, start), schedule, executable, timeout)


def pulse_cards(array: PulsedArray, start: Tensor) -> DeviceCards:
    """The cards of a crossbar of pulsed devices; arguments and errors as for `pulse_write_deck`."""
    n_rows, n_columns = array.shape
    memristor = array.model.underlying
    if memristor is not None:
        _require_its_range(array)
        return memristor_cards(memristor, array.model.states_of(start).reshape(array.shape))
    values, states = array_parameters(array), start.reshape(array.shape)
    kind = array.model.subcircuit

    def instance(row: int, column: int, nodes: tuple[str, str, str]) -> Iterator[str]:
        own = {key: number(float(value[row, column])) for key, value in values.items()}
        own = {"w0": number(float(states[row, column]))} | own
        yield from instance_cards("x", row, column, nodes, kind, own)

    definition = tuple(pulse_subcircuit(array.model))
    # Steps as long as their errors allow: with trtol=1 half as many as ten an edge are five times as accurate.
    return DeviceCards(
        f"devices ({kind})", (n_rows, n_columns), definition, instance, steps_an_edge=0.5, options={"trtol": "1"}
    )


def _require_its_range(array: PulsedArray) -> None:
    window, model = array.map, array.model
    ends = (window.g_min / model.w_min, window.g_max / model.w_max)
    if not all(abs(end - 1) < 1e-3 for end in ends):
        raise DeviceParameterError(
            f"a netlist of memristors needs their own range, network.conductance_range = [{model.w_min:.6g}, "
            f"{model.w_max:.6g}], found {window.g_min:.6g} and {window.g_max:.6g} S, for which steps are scaled"
        )
