"""A transistor of a foundry or of the designer's own: its cards, which ngspice runs, and tables of its current."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import numpy as np

from analog_ep.constants import ZERO_CELSIUS, thermal_voltage
from analog_ep.devices.table_kernels import interpolated
from analog_ep.errors import CardError
from analog_ep.support.files import read_bounded, write_atomically

_FORMAT = "analog_ep table of a transistor 1"
_MOST_BYTES = 1 << 28
AXES = ("gate", "drain", "bulk")

SHIFT, GAIN = 0.02, 0.05
"""Shift of the threshold [V], and of the factor from 1, at which mismatch by table and card are compared."""

_STRETCH = 0.1
"""Voltage of the drain beyond which steps grow. [V]"""


def stretched(drain: np.ndarray) -> np.ndarray:
    """In this measure points of the drain are at equal distances: s asinh(v/s), close about 0 V. [V]"""
    return _STRETCH * np.arcsinh(drain / _STRETCH)


def unstretched(measure: np.ndarray) -> np.ndarray:
    """The inverse of `stretched`. [V]"""
    return _STRETCH * np.sinh(measure / _STRETCH)


@dataclass(frozen=True)
class FoundryCard:
    """What ngspice is given of a transistor.

    Attributes
    ----------
    name : str
        Of the ``.model`` or the ``.subckt`` with drain, gate, source and bulk, in this order.
    text : str
        All cards that define it, a line each, in ngspice's words.
    is_model : bool
        Whether it is a model; its instances then may have ``delvto`` and ``mulu0``.
    polarity : "nmos" or "pmos"
        Of the carriers.
    instance : dict of str to float
        Parameters of an instance, in lower case: w, l, nf, … [m, 1]
    corner : str
        Section of the library that the cards are from; empty for none.
    """

    name: str
    text: str
    is_model: bool
    polarity: str = "nmos"
    instance: Mapping[str, float] = field(default_factory=dict)
    corner: str = ""

    @property
    def title(self) -> str:
        """Name and corner, for messages."""
        return f"{self.name} ({self.corner})" if self.corner else self.name

    @property
    def letter(self) -> str:
        """That the names of its instances begin with."""
        return "m" if self.is_model else "x"

    def at_corner(self, corner: str, text: str) -> Self:
        """The same transistor by the cards of another corner."""
        return replace(self, text=text, corner=corner)


@dataclass(frozen=True, eq=False)
class TransistorTable:
    """The drain's current of one card at one temperature on a grid of voltages, of PMOS with all signs turned.

    Between its points ln(i/tanh(v_DS/2U_T)) is cubic in each voltage: it is smooth from subthreshold to saturation.
    Where drain and source change their parts, at v_DS = 0, its derivatives may jump, as those of BSIM's models do.

    Attributes
    ----------
    card : FoundryCard
        Of what.
    kelvin : float
        [K]
    start, step : ndarray (3,)
        First voltage and step of gate, drain and bulk, against the source; of the drain in `stretched` measure. [V]
    values : ndarray (n_gate, n_drain, n_bulk, 8)
        Values and derivatives, see `table_kernels.interpolated`; of the drain the voltage 0 has two points where there
        are negative ones, for both sides. One point of the bulk: it is joined to the source, or
        held at `start`.
    error, floor : float
        Largest error that was found between the points, relative to the current plus the floor. [1], [A]
    facts : dict
        What made it: engine, key, errors of mismatch.
    """

    card: FoundryCard
    kelvin: float
    start: np.ndarray
    step: np.ndarray
    values: np.ndarray
    error: float
    floor: float
    facts: Mapping[str, Any] = field(default_factory=dict)

    @cached_property
    def ends(self) -> np.ndarray:
        """Last point of each axis, `(3,)`, as `start`. [V]"""
        counts = np.array(self.values.shape[:3]) - 1
        counts[1] -= self.negative > 0
        return self.start + self.step * counts

    @cached_property
    def negative(self) -> int:
        """Points of the drain up to 0 V, 0 from below included."""
        return max(0, round(-float(self.start[1] / self.step[1])) + 1) if self.start[1] < 0 else 0

    @cached_property
    def low(self) -> np.ndarray:
        """Lowest voltages of gate, drain and bulk, `(3,)`. [V]"""
        return np.array([self.start[0], unstretched(self.start[1]), self.start[2]])

    @cached_property
    def high(self) -> np.ndarray:
        """Highest voltages, `(3,)`. [V]"""
        return np.array([self.ends[0], unstretched(self.ends[1]), self.ends[2]])

    @property
    def celsius(self) -> float:
        """Its temperature. [°C]"""
        return round(self.kelvin - ZERO_CELSIUS, 9)

    def limits(self, axis: int) -> str:
        """Range of an axis, for messages, in the transistor's own signs."""
        sign = 1 if self.card.polarity == "nmos" else -1
        low, high = sorted((sign * float(self.low[axis]), sign * float(self.high[axis])))
        return f"{low:.4g}…{high:.4g} V"

    def current_and_slopes(self, volts: np.ndarray) -> np.ndarray:
        """Current [A] and its derivatives by the three voltages [S], `(n, 4)`, at `volts` `(n, 3)` of an NMOS.

        Beyond the table the current is that of its edge, but for a drain through a conductance: so a solver that comes
        by finds its way back.
        """
        inside = np.clip(volts, self.low, self.high)
        places, found = inside.copy(), np.empty((len(volts), 4))
        places[:, 1] = stretched(inside[:, 1])
        interpolated(places, self.start, self.step, self.negative, self.values, found)
        found[:, 2] /= np.sqrt(1 + (inside[:, 1] / _STRETCH) ** 2)
        # i = tanh(v/2U) e^f: di = e^f tanh df + e^f tanh' dv.
        scale = 2 * float(thermal_voltage(self.kelvin))
        size, share = np.exp(found[:, 0]), np.tanh(inside[:, 1] / scale)
        result = np.empty_like(found)
        result[:, 0] = share * size
        result[:, 1:] = (share * size)[:, None] * found[:, 1:]
        result[:, 2] += size * (1 - share**2) / scale
        beyond = volts - inside
        result[:, 1:] *= beyond == 0
        result[:, 2] += self._beyond * (beyond[:, 1] != 0)
        result[:, 0] += self._beyond * beyond[:, 1]
        return result

    @cached_property
    def _beyond(self) -> float:
        """Slope of the current where the drain is beyond the table: that at 0 V of the highest gate. [S]"""
        at = self.values[-1, self.negative if self.negative else 0, 0, 0]
        return float(np.exp(at)) / (2 * float(thermal_voltage(self.kelvin)))

    def outside(self, volts: np.ndarray, slack: float = 1e-9) -> np.ndarray:
        """Which of `volts` `(n, 3)` are beyond the table by more than `slack` [V], bool `(n, 3)`."""
        beyond = (volts < self.low - slack) | (volts > self.high + slack)
        return beyond & (np.array(self.values.shape[:3]) > 1)

    def packed(self) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """Arrays, and facts as JSON holds them."""
        card = self.card
        facts = {
            "card": {
                "name": card.name,
                "text": card.text,
                "is_model": card.is_model,
                "polarity": card.polarity,
                "instance": dict(card.instance),
                "corner": card.corner,
            },
            "kelvin": self.kelvin,
            "error": self.error,
            "floor": self.floor,
            "facts": dict(self.facts),
        }
        return {"start": self.start, "step": self.step, "values": self.values}, facts

    @classmethod
    def unpacked(cls, arrays: Mapping[str, np.ndarray], facts: Mapping[str, Any]) -> TransistorTable:
        """What `packed` gave."""
        card = FoundryCard(**facts["card"])
        numbers = float(facts["kelvin"]), arrays["start"], arrays["step"], arrays["values"]
        return cls(card, *numbers, float(facts["error"]), float(facts["floor"]), facts["facts"])


def save_tables(tables: tuple[TransistorTable, ...], path: Path) -> None:
    """Write tables of one transistor to one file, whole or not at all."""
    arrays, facts = {}, []
    for number, table in enumerate(tables):
        own, said = table.packed()
        arrays |= {f"{number}/{name}": array for name, array in own.items()}
        facts.append(said)
    content = io.BytesIO()
    header = np.frombuffer(json.dumps({"format": _FORMAT, "tables": facts}).encode(), dtype=np.uint8)
    np.savez_compressed(content, header=header, **arrays)
    write_atomically(path, content.getvalue())


def load_tables(path: str | Path) -> tuple[TransistorTable, ...]:
    """Read what `save_tables` wrote.

    Raises
    ------
    CardError
        If there is no such file, or it is something else.
    """
    path = Path(path)
    try:
        with np.load(io.BytesIO(read_bounded(path, _MOST_BYTES)), allow_pickle=False) as file:
            header = json.loads(bytes(file["header"]))
            if header.get("format") != _FORMAT:
                raise ValueError(f"a file of another format, {header.get('format')!r}")
            found = []
            for number, facts in enumerate(header["tables"]):
                arrays = {name: file[f"{number}/{name}"] for name in ("start", "step", "values")}
                found.append(TransistorTable.unpacked(arrays, facts))
    except OSError as error:
        raise CardError(f"the table {path} must be a readable file, found: {error.strerror or error}") from None
    except Exception as error:
        raise CardError(
            f"{path} must be a table that `calibrate solver` wrote, found none ({type(error).__name__}: {error})"
        ) from None
    return tuple(found)


def fingerprint(*parts: object) -> str:
    """A key by which equal tables are known again."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()[:32]
