"""How a chip's cells hold what is written into them, and which of them cannot be written."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from analog_ep.circuit.branches import Conductances
from analog_ep.circuit.circuit import Circuit
from analog_ep.circuit.drawing import stream
from analog_ep.circuit.places import n_places, placed
from analog_ep.errors import CircuitError, DataError

Rounding = Literal["nearest", "stochastic", "carried"]
Fault = Literal["low", "high", "open"]

_SHORTED = 1e6
"""Conductance of a bridged segment, in that of a sound one."""

Range = tuple[float, float]
"""g_min and g_max. [S]"""

_ROUNDINGS = ("nearest", "stochastic", "carried")
_FAULTS = ("low", "high", "open")


@dataclass(frozen=True)
class Cells:
    """What time and a finite number of levels do to every sound cell.

    Attributes
    ----------
    levels : int or None
        Conductances that can be written, equally spaced from g_min to g_max; None for any.
    rounding : "nearest", "stochastic" or "carried"
        How a wanted conductance becomes a level: the nearest; the one above or below by chance, right on average; or
        the nearest, with what is missing kept in a digital memory beside the array and added at the next step.
    retention : float
        Time constant of the decay towards g_min, in steps; infinite for none.
    diffusion : float
        Standard deviation of a cell's random walk in one step, relative to g_max − g_min.

    Raises
    ------
    CircuitError
        If a value is outside its range.
    """

    levels: int | None = None
    rounding: Rounding = "nearest"
    retention: float = float("inf")
    diffusion: float = 0.0

    def __post_init__(self):
        if self.levels is not None and self.levels < 2:
            raise CircuitError(f"a cell must have at least 2 levels, found {self.levels}")
        if self.rounding not in _ROUNDINGS:
            raise CircuitError(f"rounding must be one of {', '.join(_ROUNDINGS)}, found {self.rounding!r}")
        if not self.retention > 0:
            raise CircuitError(f"the retention of a cell must be positive, found {self.retention}")
        if not 0 <= self.diffusion < float("inf"):
            raise CircuitError(f"the diffusion of a cell must be finite and not negative, found {self.diffusion}")


def draw_faults(
    circuit: Circuit,
    seed: int,
    conductance_range: Range | Mapping[str, Range],
    *,
    low: float = 0.0,
    high: float = 0.0,
    open_: float = 0.0,
    open_conductance: float = 1e-12,
) -> dict[str, np.ndarray]:
    """Conductances of faulty cells, for the `values` of a `Chip`.

    Parameters
    ----------
    circuit : Circuit
        The nominal circuit; its trainable conductances are the cells.
    seed : int
        Each group has a stream of its own.
    conductance_range : (float, float), or mapping of str to (float, float)
        g_min and g_max, of all parameters or of each by its name. [S]
    low, high, open_ : float
        Probability that a cell is stuck at g_min, stuck at g_max, or open.
    open_conductance : float
        What is left of an open cell; positive, since no netlist carries a resistor of 0 S. [S]

    Returns
    -------
    dict of str to ndarray
        By "label.siemens", one an element at its flat index, NaN where the cell is sound. [S]

    Raises
    ------
    CircuitError
        If the probabilities are negative or add up to more than 1, or the open conductance is not positive.
    """
    if min(low, high, open_) < 0 or not low + high + open_ <= 1:
        raise CircuitError(f"fractions of faulty cells must be 0 or more and 1 in sum, found {low}, {high} and {open_}")
    edges = np.cumsum([low, high, open_])
    left = _positive(open_conductance)
    values: dict[str, np.ndarray] = {}
    for group, name, _ in circuit.trained_groups():
        stuck = np.array([*_range_of(conductance_range, name), left, np.nan])
        chance = stream(seed, f"{group.label}.fault").random(len(group))
        values[f"{group.label}.siemens"] = placed(group, stuck[np.searchsorted(edges, chance, side="right")])
    return values


def draw_segment_faults(
    circuit: Circuit, seed: int, open_: float, shorted: float, open_conductance: float = 1e-12
) -> dict[str, np.ndarray]:
    """Conductances of broken and of bridged segments of lines, for the `values` of a `Chip`; as `draw_faults`.

    Parameters
    ----------
    circuit, seed
        As for `draw_faults`.
    open_, shorted : float
        Probability that a segment has the open conductance, or 10⁶ times its own.
    open_conductance : float
        What is left of an open segment; positive. [S]

    Raises
    ------
    CircuitError
        If there are no segments, the probabilities are negative or add up to more than 1, or the open conductance is
        not positive.
    """
    if min(open_, shorted) < 0 or not open_ + shorted <= 1:
        raise CircuitError(f"fractions of faulty segments must be 0 or more and 1 in sum, found {open_} and {shorted}")
    groups = [group for group in circuit.of_kind(Conductances) if group.wire]
    if not groups:
        raise CircuitError("faulty segments need a circuit whose lines have resistance, found none; leave them out")
    values: dict[str, np.ndarray] = {}
    for group in groups:
        chance = stream(seed, f"{group.label}.fault").random(len(group))
        sound = np.where(chance < open_ + shorted, _SHORTED * group.siemens, np.nan)
        values[f"{group.label}.siemens"] = np.where(chance < open_, _positive(open_conductance), sound)
    return values


def read_faults(
    circuit: Circuit,
    path: Path,
    conductance_range: Range | Mapping[str, Range],
    *,
    open_conductance: float = 1e-12,
) -> dict[str, np.ndarray]:
    """Conductances of the faulty cells that a map names; as `draw_faults`.

    Parameters
    ----------
    circuit, conductance_range, open_conductance
        As for `draw_faults`.
    path : Path
        CSV with the columns parameter, index (flat, into the parameter) and fault ("low", "high" or "open").

    Raises
    ------
    DataError
        If the file cannot be read, or names a cell or a fault that there is not.
    """
    left = _positive(open_conductance)
    groups = circuit.trained_groups()
    values: dict[str, np.ndarray] = {}
    for group, name, _ in groups:
        size = max(n_places(group), len(values.get(name, ())))
        values[name] = np.full(size, np.nan)
    try:
        with path.open(newline="", encoding="utf-8") as file:
            for row in csv.DictReader(file):
                name, index, fault = (row.get(key) or "" for key in ("parameter", "index", "fault"))
                known = name in values and fault in _FAULTS and index.isdecimal()
                if not known or int(index) >= len(values[name]):
                    raise DataError(
                        f"{path} must name a parameter ({', '.join(values)}), an index into it and a fault "
                        f"({', '.join(_FAULTS)}), found {name!r}, {index!r} and {fault!r}"
                    )
                low, high = _range_of(conductance_range, name)
                values[name][int(index)] = {"low": low, "high": high, "open": left}[fault]
    except OSError as error:
        raise DataError(f"the fault map {path} must be a readable file, found: {error.strerror}") from None
    except (csv.Error, UnicodeDecodeError) as error:
        raise DataError(f"{path} must be CSV in UTF-8, found: {error}") from None
    return {f"{group.label}.siemens": values[name][: n_places(group)] for group, name, _ in groups}


def _range_of(ranges: Range | Mapping[str, Range], parameter: str) -> Range:
    return ranges[parameter] if isinstance(ranges, Mapping) else ranges


def _positive(open_conductance: float) -> float:
    if not 0 < open_conductance < float("inf"):
        raise CircuitError(f"the conductance of an open cell must be positive and finite, found {open_conductance}")
    return open_conductance
