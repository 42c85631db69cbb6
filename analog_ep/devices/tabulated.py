"""MOSFETs by a table of what ngspice makes of their own cards."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import ClassVar, Self

import numpy as np
import torch
from torch import Tensor

from analog_ep.constants import BOLTZMANN
from analog_ep.devices.foreign_form import ForeignInstance
from analog_ep.devices.foundry_card import AXES, GAIN, SHIFT, TransistorTable, load_tables
from analog_ep.devices.mosfet import MosfetModel
from analog_ep.devices.parameters import require, require_finite
from analog_ep.errors import CardError, DeviceParameterError


@dataclass(frozen=True)
class TabulatedMosfet(MosfetModel):
    r"""MOSFETs of a foundry's card: in ngspice the card itself, in the fast solver a table of its drain's current.

    Bulk junctions and all leakage are in the current. It flows from drain to source; what the bulk and the gate take of
    it is not told apart. Of one corner and temperature there is one table; a chip chooses among those that there are.
    Mismatch moves the gate and scales the current,

    .. math:: i = m\, i_{table}(v_G - Δ, v_D, v_B) ,

    where ngspice has ``delvto`` Δ and ``mulu0`` m in the card's own equations: how far these are apart is in
    `TransistorTable.facts`. A table is of channels of one size; W and L are the card's.

    Parameters
    ----------
    tables : tuple of TransistorTable
        Of one card, for each corner and temperature that may be asked for; the first is the nominal one.
    corner : float or Tensor (n_elements,)
        Index into `corners`.
    temperature : float or Tensor (n_elements,), optional
        One of the tables'; by default the nominal one's. [K]
    threshold_shift : float or Tensor (n_elements,)
        Δ, in SPICE's signs. [V]
    current_factor : float or Tensor (n_elements,)
        m; positive. [1]

    Raises
    ------
    DeviceParameterError
        If there is no table, they are of several cards, or none is of the corner and temperature asked for.
    """

    temperature: float | Tensor = 0.0
    tables: tuple[TransistorTable, ...] = ()
    corner: float | Tensor = 0.0
    threshold_shift: float | Tensor = 0.0
    current_factor: float | Tensor = 1.0

    spread_fields: ClassVar[dict[str, str]] = {
        "gate_threshold": "threshold_shift",
        "transconductance": "current_factor",
    }
    limited: ClassVar[bool] = True
    longest: ClassVar[float] = 0.05
    nodes: ClassVar[int] = 6

    def __post_init__(self):
        if not self.tables:
            raise DeviceParameterError("TabulatedMosfet: needs a table at least, found none; see load_tables")
        names = {(t.card.name, tuple(sorted(t.card.instance.items())), t.card.polarity) for t in self.tables}
        if len(names) > 1:
            raise DeviceParameterError(f"TabulatedMosfet: tables must be of one card and size, found {sorted(names)}")
        object.__setattr__(self, "polarity", self.tables[0].card.polarity)
        if isinstance(self.temperature, (int, float)) and self.temperature == 0:
            object.__setattr__(self, "temperature", self.tables[0].kelvin)
        numbers = ("corner", "temperature", "threshold_shift", "current_factor")
        require_finite("TabulatedMosfet", **{name: getattr(self, name) for name in numbers})
        factor = torch.as_tensor(self.current_factor)
        require(factor > 0, "TabulatedMosfet: current_factor must be positive", self.current_factor)
        _ = self._chosen

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """The transistors of a file that `calibrate solver` wrote.

        Raises
        ------
        CardError
            See `load_tables`.
        """
        return cls(tables=load_tables(path))

    @property
    def name(self) -> str:
        """Of the card."""
        return self.tables[0].card.name

    @cached_property
    def corners(self) -> tuple[str, ...]:
        """Names of the corners, in the tables' order."""
        return tuple(dict.fromkeys(table.card.corner for table in self.tables))

    def corner_index(self, corner: str) -> float:
        """Index of a corner.

        Raises
        ------
        CardError
            If no table is of this corner.
        """
        if corner not in self.corners:
            known = ", ".join(map(repr, self.corners))
            raise CardError(f"the card {self.name} is tabulated at {known}, found {corner!r} asked for; calibrate it")
        return float(self.corners.index(corner))

    @cached_property
    def _chosen(self) -> list[tuple[TransistorTable, np.ndarray | slice]]:
        """Tables, and the elements that have each."""
        columns = torch.broadcast_tensors(
            *(torch.as_tensor(value, dtype=torch.float64) for value in (self.corner, self.temperature))
        )
        pairs = torch.stack(columns, -1).reshape(-1, 2).numpy()
        found, which = np.unique(pairs, axis=0, return_inverse=True)
        alone = len(found) == 1
        return [
            (self._table(*pair), slice(None) if alone else np.flatnonzero(which.ravel() == i))
            for i, pair in enumerate(found.tolist())
        ]

    def _table(self, corner: float, kelvin: float) -> TransistorTable:
        for table in self.tables:
            if self.corners.index(table.card.corner) == corner and abs(table.kelvin - kelvin) < 1e-6:
                return table
        known = ", ".join(f"{t.card.corner or 'its own corner'} at {t.celsius:g} °C" for t in self.tables)
        raise DeviceParameterError(
            f"the card {self.name} is tabulated for {known}, found corner {corner:g} at {kelvin - 273.15:g} °C asked "
            "for; calibrate it there too"
        )

    def _current(self, gate: Tensor, drain: Tensor, bulk: Tensor) -> Tensor:
        return self._found(gate, drain, bulk)[..., 0]

    def _slopes(self, gate: Tensor, drain: Tensor, bulk: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        found = self._found(gate, drain, bulk)
        return found[..., 1], found[..., 2], found[..., 3]

    def _found(self, gate: Tensor, drain: Tensor, bulk: Tensor) -> Tensor:
        """Current and slopes, `(*batch, n_elements, 4)`."""
        volts = self._volts(gate, drain, bulk)
        found = np.empty((*volts.shape[:-1], 4))
        for table, elements in self._chosen:
            some = np.ascontiguousarray(volts[..., elements, :])
            found[..., elements, :] = table.current_and_slopes(some.reshape(-1, 3)).reshape(*some.shape[:-1], 4)
        factor = torch.as_tensor(self.current_factor, dtype=torch.float64)
        return torch.from_numpy(found) * factor.unsqueeze(-1)

    def _volts(self, gate: Tensor, drain: Tensor, bulk: Tensor) -> np.ndarray:
        shifted = gate - self.sign * torch.as_tensor(self.threshold_shift, dtype=torch.float64)
        columns = torch.broadcast_tensors(shifted, drain, bulk)
        return torch.stack([torch.atleast_1d(column) for column in columns], -1).double().numpy()

    def outside(self, gate: Tensor, drain: Tensor, bulk: Tensor) -> str:
        volts = self._volts(self.sign * gate, self.sign * drain, self.sign * bulk)
        for table, elements in self._chosen:
            some = volts[..., elements, :]
            beyond = table.outside(some.reshape(-1, 3)).reshape(some.shape)
            if beyond.any():
                *_, element, axis = np.argwhere(beyond)[0]
                worst = some[..., axis][beyond[..., axis]]
                found = self.sign * float(worst[np.abs(worst).argmax()])
                number = element if isinstance(elements, slice) else int(elements[element])
                return (
                    f"element {number}: the {AXES[axis]} of {table.card.title} must lie in {table.limits(axis)} of its "
                    f"source, where it is tabulated, found {found:.4g} V; calibrate a wider range"
                )
        return ""

    def kinks(self, gate: Tensor) -> Sequence[Tensor]:
        ends = [float(end) for table, _ in self._chosen for end in (table.low[1], 0.0, table.high[1])]
        return [end + 0 * gate for end in dict.fromkeys(ends)]

    def noise_density(self, gate: Tensor, drain: Tensor, bulk: Tensor) -> Tensor:
        """2 k_B T (2/3) |gm|, long channels' in saturation: a card's own noise is in no table."""
        kelvin = torch.as_tensor(self.temperature, dtype=torch.float64)
        return 4 / 3 * BOLTZMANN * kelvin * self.slopes(gate, drain, bulk)[0].abs()

    def at_corner(self, kelvin: float, conductance_scale: float, saturation_scale: float) -> Self | None:
        ones = torch.ones_like(torch.as_tensor(self.current_factor, dtype=torch.float64))
        return dataclasses.replace(
            self, temperature=kelvin * ones, current_factor=self.current_factor * conductance_scale
        )

    def netlist_form(self) -> ForeignInstance:
        return self._form(len(torch.atleast_1d(torch.as_tensor(self.current_factor))))

    def model_card(self) -> ForeignInstance:  # pyright: ignore[reportIncompatibleMethodOverride]
        return self.netlist_form()

    @property
    def inexactness(self) -> float:
        shift, factor = (torch.as_tensor(v, dtype=torch.float64) for v in (self.threshold_shift, self.current_factor))
        most = {
            "error_of_delvto": float(shift.abs().max()) / SHIFT,
            "error_of_mulu0": float((factor - 1).abs().max()) / GAIN,
        }
        return max(
            table.error + sum(float(table.facts.get(name, 0.0)) * share for name, share in most.items())
            for table, _ in self._chosen
        )

    def _form(self, count: int) -> ForeignInstance:
        (table, _), *others = self._chosen
        if others:
            raise DeviceParameterError(
                f"{self.name}: transistors of one group must be of one corner and temperature in a netlist, found "
                f"{1 + len(others)}"
            )
        instance = dict(table.card.instance)
        shift, factor = (
            np.broadcast_to(np.asarray(value, dtype=np.float64), count)
            for value in (self.threshold_shift, self.current_factor)
        )
        mismatch = {"delvto": shift, "mulu0": factor} if shift.any() or (factor != 1).any() else {}
        if mismatch and not table.card.is_model:
            raise DeviceParameterError(
                f"{self.name} is a subcircuit, which has no delvto and mulu0: mismatch needs its .model; calibrate that"
            )
        return ForeignInstance(
            table.card.letter, table.card.name, table.card.text, instance | mismatch, temperature=table.kelvin
        )
