"""Voltages in a crossbar whose lines have resistance: how long they take, and how exact they are."""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass

import numpy as np
import torch
from rich.table import Table
from scipy.sparse import coo_array
from scipy.sparse.linalg import splu
from torch import Tensor

from analog_ep.errors import StimulusError
from analog_ep.networks.wires.elimination import LineElimination
from analog_ep.networks.wires.voltages import crossbar_voltages
from analog_ep.support.shown import Tabled

_DECADES = -7.0, -4.0
"""Powers of ten between which conductances lie. [S]"""

_LARGEST_LU = 300 * 300
"""Cells up to which a sparse factorisation judges: at 256 × 256 it takes seconds, at 1024 × 1024 more memory than most
machines have."""

_JUDGED = 2
"""Samples of the batch that are compared."""

_ROUNDS = 7


@dataclass(frozen=True)
class WiresBenchmark(Tabled):
    """Medians of times on one crossbar, and how exact its voltages are.

    Attributes
    ----------
    cold_ms : float
        Voltages of all nodes for one input vector, nothing being formed before. [ms]
    batch_ms_per_input : float
        For a batch, everything included, each. [ms]
    max_voltage_error : float
        Largest difference to the judge at any node, for one input and for the batch. [V]
    judge : str
        Where the right voltages are from: `sparse LU`, of the nodal matrix, refined with residuals in extended
        precision; `line elimination` for crossbars that are too large for that.
    rows, columns, inputs : int
        Of the crossbar; of the batch.
    resistance : float
        Of a segment. [Ω]
    threads : int
        Of PyTorch.
    """

    cold_ms: float
    batch_ms_per_input: float
    max_voltage_error: float
    judge: str
    rows: int
    columns: int
    inputs: int
    resistance: float
    threads: int

    def to_json(self) -> str:
        """The figures as a JSON object."""
        return json.dumps(asdict(self))

    def table(self) -> Table:
        """The figures as a table for a terminal."""
        table = Table("crossbar", "found", title=f"{self.rows} x {self.columns}, {self.resistance:g} ohm a segment")
        table.add_row("one input, cold", f"{self.cold_ms:.4g} ms")
        table.add_row(f"batch of {self.inputs}", f"{self.batch_ms_per_input:.4g} ms an input")
        table.add_row(f"largest difference to {self.judge}", f"{self.max_voltage_error:.2e} V")
        return table


def benchmark_wires(
    rows: int, columns: int | None = None, resistance: float = 1.0, inputs: int = 256, seed: int = 0
) -> WiresBenchmark:
    """Time the voltages of all nodes of a crossbar, and compare them with those of a solver that shares no code.

    Rows are driven from the left by voltages between −1 and 1 V, columns are held at 0 V at the bottom, and cells have
    1e-7 to 1e-4 S, log-uniformly.

    Parameters
    ----------
    rows, columns : int
        Of the crossbar; as many columns as rows unless stated.
    resistance : float
        Of every segment, > 0. [Ω]
    inputs : int
        Input vectors of the batch.
    seed : int
        Seed of conductances and inputs.

    Raises
    ------
    StimulusError
        If a size is below 1, or the resistance is not above 0.
    """
    columns = rows if columns is None else columns
    if min(rows, columns, inputs) < 1:
        raise StimulusError(f"a crossbar needs rows, columns and inputs, found {rows}, {columns} and {inputs}")
    if not 0 < resistance < float("inf"):
        raise StimulusError(f"the resistance of a segment must be finite and above 0, found {resistance:g} ohm")
    random = np.random.default_rng(seed)
    cells = torch.from_numpy(10 ** random.uniform(*_DECADES, (rows, columns)))
    segments = torch.full_like(cells, 1 / resistance)
    ends = torch.zeros(rows + columns, inputs, dtype=torch.float64)
    ends[:rows] = torch.from_numpy(random.uniform(-1, 1, (rows, inputs)))
    crossbar = cells, segments, segments
    crossbar_voltages(*crossbar, ends[:, :1])  # compiles
    one, cold = _timed(lambda: crossbar_voltages(*crossbar, ends[:, :1]), _ROUNDS)
    batch, each = _timed(lambda: crossbar_voltages(*crossbar, ends), 1)
    judged = ends[:, :_JUDGED]
    by_lu = cells.numel() <= _LARGEST_LU
    right = _by_lu(*crossbar, judged) if by_lu else _by_elimination(*crossbar, judged)
    pairs = [(found[..., : exact.shape[-1]], exact) for found, exact in zip(batch, right, strict=True)]
    pairs += [(found, exact[..., :1]) for found, exact in zip(one, right, strict=True)]
    return WiresBenchmark(
        cold_ms=1e3 * cold,
        batch_ms_per_input=1e3 * each / inputs,
        max_voltage_error=max(float((found - exact).abs().max()) for found, exact in pairs),
        judge="sparse LU" if by_lu else "line elimination",
        rows=rows,
        columns=columns,
        inputs=inputs,
        resistance=resistance,
        threads=torch.get_num_threads(),
    )


def _timed(solve: Callable[[], tuple[Tensor, Tensor]], rounds: int) -> tuple[tuple[Tensor, Tensor], float]:
    """What is found, and the median of the times. [s]"""
    seconds = []
    for _ in range(rounds):
        began = time.perf_counter()
        found = solve()
        seconds.append(time.perf_counter() - began)
    return found, statistics.median(seconds)


def _by_elimination(cells: Tensor, row_links: Tensor, column_links: Tensor, ends: Tensor) -> tuple[Tensor, Tensor]:
    links = (values[None] for values in (cells, row_links, column_links))
    rows, columns = LineElimination(*links, open_right=True, open_top=True).voltages(ends[None])
    return rows[0], columns[0]


def _by_lu(cells: Tensor, row_links: Tensor, column_links: Tensor, ends: Tensor) -> tuple[Tensor, Tensor]:
    """Nodal analysis of every branch: a factorisation by SuperLU, refined with residuals in extended precision."""
    n_rows, n_columns = cells.shape
    rows = np.arange(cells.numel()).reshape(n_rows, n_columns)
    columns, inner = rows + rows.size, 2 * rows.size
    left, bottom = inner + np.arange(n_rows), inner + n_rows + np.arange(n_columns)
    branches = [
        (np.column_stack([left, rows[:, :-1]]), rows, row_links),
        (rows, columns, cells),
        (columns, np.vstack([columns[1:], bottom]), column_links),
    ]
    tails, heads, siemens = (np.concatenate([np.ravel(branch[k]) for branch in branches]) for k in range(3))
    n_nodes, n_samples = inner + n_rows + n_columns, ends.shape[1]
    places = np.concatenate([tails, heads, tails, heads]), np.concatenate([tails, heads, heads, tails])
    matrix = coo_array((np.concatenate([siemens, siemens, -siemens, -siemens]), places), shape=(n_nodes, n_nodes))
    factors = splu(matrix.tocsc()[:inner, :inner])
    volts = np.zeros((n_nodes, n_samples), np.longdouble)
    volts[inner:] = ends
    for _ in range(4):
        currents = siemens.astype(np.longdouble)[:, None] * (volts[tails] - volts[heads])
        excess = np.zeros_like(volts)
        np.add.at(excess, heads, currents)
        np.subtract.at(excess, tails, currents)
        volts[:inner] += factors.solve(excess[:inner].astype(np.float64))
    found = torch.from_numpy(volts[:inner].astype(np.float64).reshape(2, n_rows, n_columns, n_samples))
    return found[0], found[1]
