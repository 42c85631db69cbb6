"""Stochastic pulse trains on the rows and columns of a crossbar, and the pulses where they coincide."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from analog_ep.devices.pulses.array import PulsedArray
from analog_ep.learning.updates.kernels import coincidences, lit_lines
from analog_ep.support.compiled import runs_compiled


def outer_pulses(array: PulsedArray, rows: Tensor, columns: Tensor, train_length: int, manage_length: bool) -> float:
    """Pulse an array with ΔG = x δᵀ on average; how many pulses that would have taken beyond the longest train.

    With BL slots, a row has a pulse in a slot with probability x √(1/(BL ΔG_0)) √(max δ/max x), a column likewise, so
    that a device gets BL p_x p_δ = x δ/ΔG_0 pulses of the mean step ΔG_0; probabilities end at 1.

    Parameters
    ----------
    array : PulsedArray
        `(n_rows, n_columns)`.
    rows, columns : Tensor (n_rows,), (n_columns,)
        x and δ; a product is in [S].
    train_length : int
        Most slots, BL.
    manage_length : bool
        Whether BL is only as large as the largest product needs.
    """
    trains = _Trains(array.step, train_length, manage_length, array.generator)
    one_pass = runs_compiled(rows) and columns.dtype == rows.dtype
    found = (_coincidences_compiled if one_pass else _coincidences)(rows, columns, trains)
    if found is None:
        return 0.0
    array.pulse_at(*found.pulses)
    return found.lost(rows, columns) if found.saturated else 0.0


def row_pulses(array: PulsedArray, change: Tensor, train_length: int, manage_length: bool) -> Tensor:
    """Pulse an array with any ΔG on average, row by row: the row is held on, its columns have trains of their own.

    A device gets a binomial number of pulses, BL p with p = |ΔG|/(BL ΔG_0), at most BL. What that would have taken
    beyond BL, summed over the devices, is given back.

    Parameters
    ----------
    array : PulsedArray
        `(n_rows, n_columns)`.
    change : Tensor (n_rows, n_columns)
        ΔG. [S]
    train_length : int
        Most slots, BL.
    manage_length : bool
        Whether the slots of a row are only as many as its largest change needs.
    """
    steps = change.abs() / array.step
    slots = torch.full_like(steps[:, :1], train_length)
    if manage_length:
        slots = steps.amax(1, keepdim=True).ceil().clamp(1, train_length)
    chance = (steps / slots).clamp(max=1.0)
    counts = torch.binomial(slots.expand_as(chance).contiguous(), chance, generator=array.generator)
    array.pulse(counts.copysign_(change).long().reshape(array.shape))
    return (steps - train_length).clamp_(min=0).sum(dtype=torch.float64).cpu()


@dataclass(frozen=True)
class _Found:
    """Devices whose rows and columns met, and what their trains were.

    Attributes
    ----------
    pulses : (Tensor, Tensor)
        Devices, flat, and their signed pulses.
    slots : int
        Of the trains.
    scales : (float, float)
        From rows and columns to the chance of a pulse in a slot.
    saturated : bool
        Whether a chance is above 1.
    step : float
        Mean step. [S]
    """

    pulses: tuple[Tensor, Tensor]
    slots: int
    scales: tuple[float, float]
    saturated: bool
    step: float

    def lost(self, rows: Tensor, columns: Tensor) -> float:
        """Mean pulses that the products would have taken beyond what lines that are always on can give."""
        wanted = rows.abs().sum(dtype=torch.float64) * columns.abs().sum(dtype=torch.float64) / self.step
        lines = zip((rows, columns), self.scales, strict=True)
        on = [(line.abs() * scale).clamp(max=1.0).sum(dtype=torch.float64) for line, scale in lines]
        return float((wanted - self.slots * on[0] * on[1]).detach())


@dataclass(frozen=True)
class _Trains:
    """How products x δ become trains."""

    step: float
    longest: int
    manage_length: bool
    generator: torch.Generator

    def plan(self, most_row: float, most_column: float) -> tuple[int, float, float]:
        """Number of slots, 0 for none, and what turns a row and a column into its chance of a pulse in one of them."""
        steps = most_row * most_column / self.step
        if steps == 0:
            return 0, 0.0, 0.0
        slots = min(max(math.ceil(steps), 1), self.longest) if self.manage_length else self.longest
        # Balanced trains: the largest row and the largest column pulse equally often.
        largest = math.sqrt(steps / slots)
        return slots, largest / most_row, largest / most_column

    def found(self, pulses: tuple[Tensor, Tensor], plan: tuple[int, float, float], most_row: float) -> _Found:
        """What came of a plan; the largest row and column have the same chance."""
        slots, *scales = plan
        return _Found(pulses, slots, (scales[0], scales[1]), most_row * scales[0] > 1, self.step)

    def draws(self, slots: int, like: Tensor, n_lines: int) -> Tensor:
        """Uniform numbers in 0…1, (slots, n_lines)."""
        return like.new_empty((slots, n_lines)).uniform_(generator=self.generator)


def _coincidences_compiled(rows: Tensor, columns: Tensor, trains: _Trains) -> _Found | None:
    row_lines, column_lines = rows.detach().numpy(), columns.detach().numpy()
    lit, n_rows, most_row, most_column = lit_lines(row_lines, column_lines)
    plan = slots, row_scale, column_scale = trains.plan(most_row, most_column)
    if not slots:
        return None
    draws = trains.draws(slots, rows, len(lit)).numpy()
    index, counts = coincidences(row_lines, column_lines, lit, n_rows, (row_scale, column_scale), draws)
    return trains.found((torch.from_numpy(index), torch.from_numpy(counts)), plan, most_row)


@torch.inference_mode()
def _coincidences(rows: Tensor, columns: Tensor, trains: _Trains) -> _Found | None:
    most_row = float(rows.abs().max())
    plan = slots, row_scale, column_scale = trains.plan(most_row, float(columns.abs().max()))
    if not slots:
        return None
    lines = torch.cat((rows * row_scale, columns * column_scale))
    # Most rows of an input are dark, and few lines pulse in a short train.
    line = lines.nonzero().squeeze(1)
    lines = lines.index_select(0, line)
    draws = trains.draws(slots, lines, line.numel())
    # In place, 0 and 1 stay numbers, which is several times as fast as booleans.
    pulses = draws.lt_(lines.abs())
    pulsed = pulses.amax(0).nonzero().squeeze(1)
    line, pulses = line.index_select(0, pulsed), pulses.copysign_(lines).index_select(1, pulsed)
    n_rows = int(torch.searchsorted(line, rows.numel()))
    row_pulses, column_pulses = pulses.tensor_split((n_rows,), 1)
    counts = row_pulses.T @ column_pulses
    row, column = line[:n_rows].unsqueeze(1), line[n_rows:] - rows.numel()
    return trains.found(((row * columns.numel() + column).flatten(), counts.flatten().long()), plan, most_row)
