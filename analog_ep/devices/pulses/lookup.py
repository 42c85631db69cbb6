"""Steps drawn from a measured table."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor

from analog_ep.devices.pulses.device import Parameters, PulseModel
from analog_ep.errors import DataError


@dataclass(frozen=True, kw_only=True, eq=False)
class Lookup(PulseModel):
    """Steps drawn from a table over conductance and cumulative probability, as CrossSim v2 does.

    Row i belongs to the conductance g_min + i (g_max − g_min)/(rows − 1), column j to the probability j/(columns − 1)
    that ΔG is smaller. Between rows and columns the table is interpolated. The state w is the conductance itself.

    Parameters
    ----------
    table_up, table_down : ndarray (n_conductances, n_probabilities)
        Signed ΔG of a potentiating and of a depressing pulse, non-decreasing along each row. [S]
    w_min, w_max : float
        Conductances of the first and the last row. [S]
    step_noise : float
        Scales the tables' own spread about their means; 1 is as measured, 0 leaves the mean.

    Raises
    ------
    DeviceParameterError
        If a table is not as above.

    References
    ----------
    .. [1] CrossSim, Sandia National Laboratories, version 2, manual, lookup tables.
    """

    table_up: np.ndarray
    table_down: np.ndarray
    step_noise: float = 1.0

    def __post_init__(self):
        super().__post_init__()
        for name in ("table_up", "table_down"):
            table = np.asarray(getattr(self, name), dtype=float)
            object.__setattr__(self, name, table)
            self._require(table.ndim == 2 and min(table.shape) >= 2, f"{name} must be at least 2 × 2", table.shape)
            self._require(bool(np.isfinite(table).all()), f"{name} must be finite", "NaN or infinity")
            ordered = bool((np.diff(table, axis=1) >= 0).all())
            self._require(ordered, f"{name} must not decrease with probability", "a row that does")
        up, down = self._means()
        self._require(up > 0 > down, "pulses must raise and lower the conductance on average", (up, down))

    @classmethod
    def from_pulses(
        cls,
        before: np.ndarray,
        after: np.ndarray,
        up: np.ndarray,
        *,
        n_conductances: int = 501,
        n_probabilities: int = 501,
        **parameters: Any,
    ) -> Self:
        """Build the tables from measured pulses.

        Each row holds the quantiles of ΔG of the nearest measurements: those within one row's distance, or the
        n_probabilities/10 nearest ones where these are fewer.

        Parameters
        ----------
        before, after : ndarray (n_pulses,)
            Conductance before and after each pulse. [S]
        up : ndarray of bool (n_pulses,)
            Whether a pulse potentiates.
        n_conductances, n_probabilities : int
            Size of the tables.
        **parameters
            Further parameters of the model.

        Raises
        ------
        DataError
            If the arrays differ in length, are not finite, or have fewer than 10 pulses of a sign.
        """
        before, after, up = np.asarray(before, float), np.asarray(after, float), np.asarray(up, bool)
        if not before.shape == after.shape == up.shape or before.ndim != 1:
            shapes = f"{before.shape}, {after.shape} and {up.shape}"
            raise DataError(f"before, after and up must be three lists of one length, found {shapes}")
        if not (np.isfinite(before).all() and np.isfinite(after).all()):
            raise DataError("conductances before and after pulses must be finite, found NaN or infinity")
        if min(up.sum(), (~up).sum()) < 10:
            raise DataError(f"10 pulses of each sign are needed, found {up.sum()} up and {(~up).sum()} down")
        low, high = float(min(before.min(), after.min())), float(max(before.max(), after.max()))
        grid, share = np.linspace(low, high, n_conductances), np.linspace(0, 1, n_probabilities)
        tables = {
            f"table_{name}": _quantiles(before[sign], (after - before)[sign], grid, share)
            for name, sign in (("up", up), ("down", ~up))
        }
        return cls(w_min=low, w_max=high, **tables, **parameters)

    def _means(self) -> tuple[float, float]:
        return float(self.table_up.mean()), float(self.table_down.mean())

    @property
    def mean_step(self) -> float:
        up, down = self._means()
        return (up - down) / 2

    @property
    def is_noisy(self) -> bool:
        return True

    def potentiation(self, state: Tensor, drawn: Parameters) -> Tensor:
        return self._scale(drawn["up"]) * self._mean(self.table_up, state)

    def depression(self, state: Tensor, drawn: Parameters) -> Tensor:
        return -self._scale(drawn["down"]) * self._mean(self.table_down, state)

    def respond(self, state: Tensor, up: Tensor, drawn: Parameters, generator: torch.Generator) -> Tensor:
        share = torch.rand(state.shape, generator=generator, dtype=state.dtype, device=state.device)
        rise = self._scale(drawn["up"]) * self._drawn(self.table_up, state, share)
        fall = self._scale(drawn["down"]) * self._drawn(self.table_down, state, share)
        return torch.where(up, rise, fall)

    def _scale(self, step: Tensor) -> Tensor:
        return step / self.mean_step

    def _mean(self, table: np.ndarray, state: Tensor) -> Tensor:
        row, part = self._rows(table, state)
        # The mean of a variable whose quantiles are linear between the columns.
        means = torch.from_numpy((table[:, 1:] + table[:, :-1]).mean(1) / 2).to(state)
        return means[row] * (1 - part) + means[row + 1] * part

    def _drawn(self, table: np.ndarray, state: Tensor, share: Tensor) -> Tensor:
        row, part = self._rows(table, state)
        values = torch.from_numpy(table).to(state)
        place = share * (table.shape[1] - 1)
        column = place.floor().clamp(max=table.shape[1] - 2).long()
        rest = place - column
        near, far = (values[r, column] * (1 - rest) + values[r, column + 1] * rest for r in (row, row + 1))
        sample, mean = near * (1 - part) + far * part, self._mean(table, state)
        return mean + self.step_noise * (sample - mean)

    def _rows(self, table: np.ndarray, state: Tensor) -> tuple[Tensor, Tensor]:
        last = table.shape[0] - 1
        place = ((state - self.w_min) / (self.w_max - self.w_min)).clamp(0, 1) * last
        row = place.floor().clamp(max=last - 1).long()
        return row, place - row


def _quantiles(before: np.ndarray, change: np.ndarray, grid: np.ndarray, share: np.ndarray) -> np.ndarray:
    order = np.argsort(before)
    before, change = before[order], change[order]
    reach = grid[1] - grid[0]
    fewest = min(len(before), max(10, len(share) // 10))
    rows = []
    for conductance in grid:
        first, last = np.searchsorted(before, [conductance - reach, conductance + reach])
        if last - first < fewest:
            nearest = np.argsort(np.abs(before - conductance), kind="stable")[:fewest]
            rows.append(np.quantile(change[nearest], share))
        else:
            rows.append(np.quantile(change[first:last], share))
    return np.array(rows)
