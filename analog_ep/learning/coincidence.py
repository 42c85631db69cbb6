"""Stochastic pulse trains on the rows and columns of a crossbar, and the pulses where they coincide."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from analog_ep.devices.pulses.array import PulsedArray


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
    lines = torch.cat((rows * (largest / most_row), columns * (largest / most_column)))
    # Most rows of an input are dark, and few lines pulse in a short train.
    line = lines.nonzero().squeeze(1)
    lines = lines.index_select(0, line)
    draws = lines.new_empty((slots, line.numel())).uniform_(generator=array.generator)
    # In place, 0 and 1 stay numbers, which is several times as fast as booleans.
    trains = draws.lt_(lines.abs())
    pulsed = trains.amax(0).nonzero().squeeze(1)
    line, trains = line.index_select(0, pulsed), trains.copysign_(lines).index_select(1, pulsed)
    n_rows = int(torch.searchsorted(line, rows.numel()))
    row_trains, column_trains = trains.tensor_split((n_rows,), 1)
    counts = row_trains.T @ column_trains
    row, column = line[:n_rows].unsqueeze(1), line[n_rows:] - rows.numel()
    array.pulse_at((row * columns.numel() + column).flatten(), counts.flatten().long())
