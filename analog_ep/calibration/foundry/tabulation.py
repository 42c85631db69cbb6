"""A table of a transistor that is as fine as its error asks for, kept for the next time."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import product
from pathlib import Path

import numpy as np
from scipy.interpolate import CubicSpline

from analog_ep.calibration.foundry.sweep import drain_currents
from analog_ep.constants import ZERO_CELSIUS, thermal_voltage
from analog_ep.devices.foundry_card import (
    GAIN,
    SHIFT,
    FoundryCard,
    TransistorTable,
    fingerprint,
    load_tables,
    save_tables,
    stretched,
    unstretched,
)
from analog_ep.errors import CardError
from analog_ep.ngspice.process import EngineReport

ALLOWED = 1e-3
"""Largest relative error of the current."""

FLOOR = 1e-12
"""What is added to the current that an error is relative to. [A]"""

_NEAR = 5e-4
"""Voltage of the drain next to 0, from which what a table holds there follows. [V]"""

_LEAST = 1e-18
"""Current that the logarithm of a table begins from. [A]"""

_STEPS = ((0.1, 0.0125, 0.4), (0.05, 0.0125, 0.2), (0.05, 0.00625, 0.2), (0.025, 0.00625, 0.1), (0.025, 0.003125, 0.1))
"""Of gate, drain in its stretched measure, and bulk, from one try to the next. [V]"""
_MOST_BYTES = 1 << 28


@dataclass(frozen=True)
class TableRange:
    """Voltages against the source for which a table is made, of PMOS with all signs turned.

    Attributes
    ----------
    gate, drain : (float, float)
        Lowest and highest. [V]
    bulk : float or (float, float)
        One voltage, 0 where the bulk is tied to the source, or lowest and highest. [V]
    """

    gate: tuple[float, float] = (0.0, 1.8)
    drain: tuple[float, float] = (-0.5, 1.8)
    bulk: float | tuple[float, float] = 0.0

    def __post_init__(self):
        for name in ("gate", "drain"):
            low, high = getattr(self, name)
            if not -np.inf < low < high < np.inf:
                raise CardError(f"the range of the {name} must rise, found {low:g} to {high:g} V")
        low, high = self.bulk_ends
        if not -np.inf < low <= high < np.inf:
            raise CardError(f"the range of the bulk must rise, found {low:g} to {high:g} V")

    @property
    def bulk_ends(self) -> tuple[float, float]:
        """Lowest and highest voltage of the bulk. [V]"""
        return self.bulk if isinstance(self.bulk, tuple) else (self.bulk, self.bulk)


def tabulated(
    cards: Sequence[FoundryCard],
    between: TableRange,
    celsius: Sequence[float] = (27.0,),
    *,
    allowed: float = ALLOWED,
    floor: float = FLOOR,
    cache: Path | None = None,
    say: Callable[[str], None] = lambda text: None,
) -> tuple[TransistorTable, ...]:
    """Tables of one transistor at all corners and temperatures, from the cache where they were made before.

    Parameters
    ----------
    cards : sequence of FoundryCard
        For each corner, the nominal one first.
    between : TableRange
        Voltages.
    celsius : sequence of float
        Temperatures, the nominal one first. [°C]
    allowed, floor : float
        See `tabulate`.
    cache : Path, optional
        Folder of what was made before; by default ``analog_ep/tables`` in the user's cache.
    say : callable
        Is told of each table in a sentence.

    Raises
    ------
    CardError
        See `tabulate`.
    """
    folder = cache_folder() if cache is None else cache
    return tuple(
        _kept(card, between, degrees, allowed, floor, folder, say) for card, degrees in product(cards, celsius)
    )


def _kept(
    card: FoundryCard,
    between: TableRange,
    celsius: float,
    allowed: float,
    floor: float,
    folder: Path,
    say: Callable[[str], None],
) -> TransistorTable:
    """The table from the cache, or made and put there."""
    engine = EngineReport.of()
    facts = asdict(card), asdict(between), celsius, allowed, floor, engine.name, engine.version, _STEPS
    path = folder / f"{card.name[:40]}-{fingerprint(*facts)}.npz"
    if path.is_file():
        say(f"{card.title} at {celsius:g} °C: as made before, {path}")
        return load_tables(path)[0]
    table = tabulate(card, between, celsius, allowed=allowed, floor=floor)
    folder.mkdir(parents=True, exist_ok=True)
    save_tables((table,), path)
    say(
        f"{card.title} at {celsius:g} °C: {'x'.join(map(str, table.values.shape[:3]))} points, within "
        f"{table.error:.1e} of the current + {floor:g} A"
    )
    return table


def cache_folder() -> Path:
    """Where tables are kept: ``analog_ep/tables`` in ``XDG_CACHE_HOME``, or else in ``~/.cache``."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "analog_ep" / "tables"


def tabulate(
    card: FoundryCard, between: TableRange, celsius: float = 27.0, *, allowed: float = ALLOWED, floor: float = FLOOR
) -> TransistorTable:
    """The table of a card at one temperature, with steps that are halved until it is within the error allowed.

    The error is looked for in the middle of every cell, by sweeps of their own.

    Parameters
    ----------
    card : FoundryCard
        The transistor.
    between : TableRange
        Voltages.
    celsius : float
        [°C]
    allowed : float
        Largest error, relative to the current plus the floor.
    floor : float
        Currents that do not matter, leakage. [A]

    Raises
    ------
    CardError
        If ngspice cannot run the card, the transistor carries nothing, or the finest table is not within the error.
    """
    if not -ZERO_CELSIUS < celsius < np.inf:
        raise CardError(
            f"the card {card.title}: the temperature must be above {-ZERO_CELSIUS} °C, found {celsius:g} °C"
        )
    kelvin, best = celsius + ZERO_CELSIUS, None
    for steps in _STEPS:
        table = _table(card, between, kelvin, np.array(steps), floor)
        if best is None or table.error < best.error:
            best = table
        if best.error <= allowed:
            return replace(best, facts={**best.facts, **_mismatch(best)})
        if 2**3 * table.values.nbytes > _MOST_BYTES:
            break
    assert best is not None  # there is a step
    raise CardError(
        f"the card {card.title} must be within {allowed:g} of its table, found {best.error:.1e} with steps of "
        f"{best.step[0]:g} V; allow more, a larger floor, or a smaller range"
    )


def _table(card: FoundryCard, between: TableRange, kelvin: float, steps: np.ndarray, floor: float) -> TransistorTable:
    gates = _axis(between.gate, steps[0])
    drains = _axis(_stretched(between.drain), steps[1])
    low, high = between.bulk_ends
    bulks = np.array([low]) if low == high else _axis((low, high), steps[2])
    sides = [drains[drains < -steps[1] / 2], drains[drains > steps[1] / 2]]
    limits = _limits(card, kelvin, gates, bulks) if drains[0] < steps[1] / 2 else None
    parts = []
    for sign, side in zip((-1, 1), sides, strict=True):
        if not len(side):
            continue
        found = np.stack(
            [drain_currents(card, kelvin, gates, unstretched(side), float(bulk)) for bulk in bulks], axis=2
        )
        if not np.abs(found).max() > floor:
            raise CardError(f"the card {card.title} must carry a current, found {np.abs(found).max():.1e} A at most")
        logarithms, points = _logarithms(found, unstretched(side), kelvin), side
        if limits is not None:
            ends = (logarithms, limits[sign]) if sign < 0 else (limits[sign], logarithms)
            logarithms, points = np.concatenate(ends, 1), np.append(side, 0.0) if sign < 0 else np.append(0.0, side)
        parts.append(_with_derivatives(logarithms, gates, points, bulks))
    values = np.concatenate(parts, axis=1)
    start = np.array([gates[0], drains[0], bulks[0]])
    table = TransistorTable(card, kelvin, start, steps, values, np.inf, floor)
    error = max(_error(table, bulk) for bulk in (bulks if len(bulks) == 1 else (bulks[1:] + bulks[:-1]) / 2))
    engine = EngineReport.of()
    facts = {"engine": f"{engine.name} {engine.version}"}
    return TransistorTable(card, kelvin, start, steps, values, error, floor, facts)


def _axis(ends: tuple[float, float], step: float) -> np.ndarray:
    """Multiples of a step that hold both ends, and three more than one on each side of 0 that there is."""
    first, last = int(np.floor(ends[0] / step + 1e-9)), int(np.ceil(ends[1] / step - 1e-9))
    first = min(first, -3) if first < 0 else first
    return step * np.arange(first, max(last, first + 3, 3 if first < 0 else 0) + 1)


def _stretched(ends: tuple[float, float]) -> tuple[float, float]:
    low, high = stretched(np.array(ends)).tolist()
    return low, high


def _logarithms(currents: np.ndarray, drains: np.ndarray, kelvin: float) -> np.ndarray:
    """What a table holds: ln(i/tanh(v_DS/2U_T)), `(n_gates, n_drains, n_bulks)`."""
    share = np.tanh(drains / (2 * float(thermal_voltage(kelvin))))[None, :, None]
    return np.log(np.maximum(currents / share, _LEAST))


def _limits(card: FoundryCard, kelvin: float, gates: np.ndarray, bulks: np.ndarray) -> dict[int, np.ndarray]:
    """Logarithms at v_DS = 0 from below and above, each `(n_gates, 1, n_bulks)`: along lines through two points."""
    drains = _NEAR * np.arange(-2, 3)
    currents = np.stack([drain_currents(card, kelvin, gates, drains, float(bulk)) for bulk in bulks], axis=2)
    near = {
        side: _logarithms(currents[:, [place]], drains[[place]], kelvin)
        for place, side in enumerate((-2, -1, 0, 1, 2))
        if side
    }
    return {side: 2 * near[side] - near[2 * side] for side in (-1, 1)}


def _with_derivatives(values: np.ndarray, *axes: np.ndarray) -> np.ndarray:
    """Values and mixed derivatives of cubic splines through them, `(*shape, 8)`."""
    found = [values]
    for place, points in enumerate(axes):
        slopes = []
        for each in found:
            spline = None if len(points) == 1 else CubicSpline(points, each, axis=place)
            slopes.append(np.zeros_like(each) if spline is None else spline(points, 1))
        found += slopes
    return np.ascontiguousarray(np.stack(found, axis=-1))


def _error(table: TransistorTable, bulk: float) -> float:
    """Largest relative error in the middles of the cells, at one voltage of the bulk."""
    gates, drains = (_middles(table, axis) for axis in (0, 1))
    ours, theirs = _both(table, gates, drains, bulk, {})
    return float((np.abs(ours - theirs) / (np.abs(theirs) + table.floor)).max())


def _middles(table: TransistorTable, axis: int) -> np.ndarray:
    low, high = float(table.start[axis]), float(table.ends[axis])
    middles = np.arange(low + table.step[axis] / 2, high, table.step[axis])
    return unstretched(middles) if axis == 1 else middles


def _both(
    table: TransistorTable, gates: np.ndarray, drains: np.ndarray, bulk: float, extra: Mapping[str, float]
) -> tuple[np.ndarray, np.ndarray]:
    """Currents by table, with its own mismatch, and by card. [A]"""
    sign = 1.0 if table.card.polarity == "nmos" else -1.0
    theirs = drain_currents(table.card, table.kelvin, gates, drains, bulk, extra)
    moved = gates - sign * extra.get("delvto", 0.0)
    volts = np.stack([*np.meshgrid(moved, drains, indexing="ij"), np.full(theirs.shape, bulk)], -1)
    ours = extra.get("mulu0", 1.0) * table.current_and_slopes(volts.reshape(-1, 3))[:, 0].reshape(theirs.shape)
    return ours, theirs


def _mismatch(table: TransistorTable) -> dict[str, float]:
    """How far mismatch in the table is from that of the card, relative to the current; nothing where it has none."""
    if not table.card.is_model:
        return {}
    gates, drains, bulk = _middles(table, 0)[1:-1], _middles(table, 1), float(table.start[2])
    found = {}
    for name, extra in (("delvto", {"delvto": SHIFT}), ("mulu0", {"mulu0": 1 + GAIN})):
        try:
            ours, theirs = _both(table, gates, drains, bulk, extra)
        except CardError:
            # A level without these parameters of an instance.
            return {}
        found[f"error_of_{name}"] = float((np.abs(ours - theirs) / (np.abs(theirs) + 1e3 * table.floor)).max())
    return found
