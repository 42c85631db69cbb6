"""Writing a crossbar of memristors device by device, and reading it back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from analog_ep.devices.memristors.integration import integrate
from analog_ep.devices.memristors.memristor import Memristor, like
from analog_ep.devices.selection import EDGE, IDLE, WriteScheme
from analog_ep.errors import DeviceParameterError


class PulseOrder(Protocol):
    """Pulses of one sign for one device, such as `analog_ep.learning.updates.pulsed.DevicePulses`."""

    @property
    def index(self) -> int:
        """Row × n_columns + column."""
        ...

    @property
    def sign(self) -> int:
        """+1 to raise the conductance, −1 to lower it."""
        ...

    @property
    def count(self) -> int:
        """Number of pulses."""
        ...


@dataclass(frozen=True)
class WriteVoltages:
    """Voltages and times of all lines while one device is written, or a row is read.

    A pulse puts half its voltage on the device's row and minus half on its column. By the V/2 scheme all other lines
    are grounded: the device sees the whole, the others of its row and column half of it, and the rest nothing; by the
    V/3 scheme see `analog_ep.devices.selection`. A row is read by a small voltage on it; the currents of the grounded
    columns are those of its devices.

    Parameters
    ----------
    potentiate, depress : float
        Across a device, row against column, to raise and to lower its conductance; of opposite signs. [V]
    read : float
        Of the row that is read; not 0. [V]
    width : float
        Time at full height; a pulse takes a slot of twice that. [s]
    scheme : "V/2" or "V/3"
        Voltages of the lines that are not selected.

    Raises
    ------
    DeviceParameterError
        If a value is not as above.
    """

    potentiate: float
    depress: float
    read: float
    width: float
    scheme: WriteScheme = "V/2"

    def __post_init__(self):
        self._require(self.potentiate * self.depress < 0, "potentiate and depress must have opposite signs")
        self._require(self.read != 0 and bool(np.isfinite(self.read)), "read must be finite and not 0")
        self._require(0 < self.width < np.inf, "width must be positive and finite")
        self._require(bool(np.isfinite([self.potentiate, self.depress]).all()), "voltages must be finite")

    def _require(self, holds: bool, rule: str) -> None:
        if not holds:
            raise DeviceParameterError(f"WriteVoltages: {rule}, found {self}")


@dataclass(frozen=True, eq=False)
class WriteSchedule:
    """What the lines of a crossbar do over time: all pulses of a list, one after the other, then a read of each row.

    Attributes
    ----------
    times : ndarray (n_times,)
        Corners. [s]
    rows, columns : ndarray (n_times, n_rows), (n_times, n_columns)
        Line voltages, linear between the corners. [V]
    read_corners : ndarray (n_rows,)
        Index of the corner in the middle of each row's read.
    read_voltage : float
        [V]
    scheme : "V/2" or "V/3"
        Voltages of the lines that are not selected.
    """

    times: np.ndarray
    rows: np.ndarray
    columns: np.ndarray
    read_corners: np.ndarray
    read_voltage: float
    scheme: WriteScheme = "V/2"

    @classmethod
    def of(cls, pulses: Sequence[PulseOrder], shape: tuple[int, int], voltages: WriteVoltages) -> WriteSchedule:
        """Schedule of a pulse list on a crossbar of n_rows × n_columns.

        Raises
        ------
        DeviceParameterError
            If a pulse is of no device of the crossbar, or sign or count are not as `PulseOrder` says.
        """
        for each in pulses:
            good = 0 <= each.index < shape[0] * shape[1] and each.sign in (1, -1) and each.count >= 0
            if not good:
                raise DeviceParameterError(
                    f"pulses must be of devices 0…{shape[0] * shape[1] - 1}, of sign 1 or -1 and of count 0 or more, "
                    f"found {each.count} of sign {each.sign} for device {each.index}"
                )
        single = [(each.index, each.sign) for each in pulses for _ in range(each.count)]
        n_slots = len(single) + shape[0]
        rows, columns = np.zeros((n_slots, shape[0])), np.zeros((n_slots, shape[1]))
        for slot, (index, sign) in enumerate(single):
            whole = voltages.potentiate if sign > 0 else voltages.depress
            rows[slot], columns[slot] = -IDLE[voltages.scheme] * whole, IDLE[voltages.scheme] * whole
            rows[slot, index // shape[1]], columns[slot, index % shape[1]] = whole / 2, -whole / 2
        rows[len(single) + np.arange(shape[0]), np.arange(shape[0])] = voltages.read
        times, share = _corners(n_slots, voltages.width)
        reads = 1 + 5 * (len(single) + np.arange(shape[0])) + 2
        return cls(times, _at_corners(rows, share), _at_corners(columns, share), reads, voltages.read, voltages.scheme)

    @property
    def device_voltages(self) -> np.ndarray:
        """Row against column, `(n_times, n_rows, n_columns)`. [V]"""
        return self.rows[:, :, None] - self.columns[:, None, :]


@dataclass(frozen=True, eq=False)
class WrittenCrossbar:
    """A crossbar after its pulses.

    Attributes
    ----------
    conductances : Tensor (n_rows, n_columns)
        As read. [S]
    states : Tensor (n_rows, n_columns)
        After all reads.
    """

    conductances: Tensor
    states: Tensor


def write_crossbar(
    memristor: Memristor, start: Tensor, schedule: WriteSchedule, tolerance: float = 1e-8
) -> WrittenCrossbar:
    """Apply a schedule to a crossbar of ideal lines and read it back.

    Parameters
    ----------
    memristor : Memristor
        The devices, from row to column.
    start : Tensor (n_rows, n_columns)
        States before.
    schedule : WriteSchedule
        Voltages of the lines.
    tolerance : float
        See `integrate`.
    """
    times = torch.from_numpy(schedule.times).to(start)
    voltages = torch.from_numpy(schedule.device_voltages).to(start)
    path = integrate(memristor, times, voltages, start, tolerance)
    corners = torch.from_numpy(schedule.read_corners).to(start.device)
    own = torch.arange(len(corners), device=start.device)
    read = path.states[corners, own]
    current = memristor.current(like(schedule.read_voltage, read).expand_as(read), read)
    return WrittenCrossbar(current / schedule.read_voltage, path.states[-1])


def _corners(n_slots: int, width: float) -> tuple[np.ndarray, np.ndarray]:
    """Times of all corners, and the share of a slot's voltages at each of its five."""
    edge = EDGE * width
    offsets = width / 2 + np.array([0, edge, edge + width / 2, edge + width, 2 * edge + width])
    begins = 2 * width * np.arange(n_slots)
    times = np.concatenate([[0.0], (begins[:, None] + offsets).ravel(), [2 * width * n_slots]])
    # Without the last digits of the sums, which a deck would show.
    return np.array([float(f"{time:.12g}") for time in times]), np.array([0.0, 1.0, 1.0, 1.0, 0.0])


def _at_corners(slots: np.ndarray, share: np.ndarray) -> np.ndarray:
    corners = (slots[:, None, :] * share[None, :, None]).reshape(-1, slots.shape[1])
    rest = np.zeros((1, slots.shape[1]))
    # Adding zero makes -0 a plain 0.
    return np.concatenate([rest, corners, rest]) + 0.0
