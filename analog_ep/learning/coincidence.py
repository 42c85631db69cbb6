"""Stochastic pulse trains on the rows and columns of a crossbar, and the pulses where they coincide."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from analog_ep.devices.pulses.array import PulsedArray, nonzero


@torch.inference_mode()
def outer_pulses(array: PulsedArray, rows: Tensor, columns: Tensor, train_length: int, manage_length: bool) -> None:
    """Pulse an array with ΔG = x δᵀ on average.

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
    most_row, most_column = float(rows.abs().max()), float(columns.abs().max())
    steps = most_row * most_column / array.step
    if steps == 0:
        return
    slots = min(max(math.ceil(steps), 1), train_length) if manage_length else train_length
    # Balanced trains: the largest row and the largest column pulse equally often.
    largest = math.sqrt(steps / slots)
    row_trains = _trains(rows, largest / most_row, slots, array)
    column_trains = _trains(columns, largest / most_column, slots, array)
    # Most rows of an input are dark, and most columns have an error.
    row = nonzero(row_trains.any(0))
    counts = (row_trains.index_select(1, row).T @ column_trains).flatten()
    place = nonzero(counts)
    column = torch.arange(len(columns), device=row.device)
    index = (row[:, None] * len(columns) + column).flatten().index_select(0, place)
    array.pulse_at(index, counts.index_select(0, place).long())


def _trains(values: Tensor, factor: float, slots: int, array: PulsedArray) -> Tensor:
    """In which slots the lines pulse, with the sign of their value, (slots, n)."""
    draws = torch.rand((slots, len(values)), generator=array.generator, dtype=values.dtype, device=values.device)
    return (draws < values.abs() * factor) * values.sign()
