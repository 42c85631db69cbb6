"""Crossbars in which every row meets every column: the dense operator."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from analog_ep.networks.crossbar import Crossbar, Gain
from analog_ep.networks.layout import StageLayout, cells_by_column
from analog_ep.networks.stage import DenseStage, Stage


@dataclass(frozen=True)
class DenseLayout(StageLayout):
    """Rows and columns of one crossbar: +u rows, −u rows where it is differential, then bias rows at ±V_bias."""

    label: str
    n_in: int
    n_out: int
    differential: bool
    biased: bool

    is_crossbar = True

    @property
    def n_taps(self) -> int:
        return self.n_in

    @property
    def n_columns(self) -> int:
        return self.n_out

    def crossbar(self, siemens: Callable[[], Tensor], bias_voltage: float) -> Crossbar:
        return IdealCrossbar(self, siemens, bias_voltage)

    def cells(self, rows: np.ndarray, columns: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        return cells_by_column(self.shape, np.tile(rows, (len(columns), 1)).T, np.tile(columns, (len(rows), 1)))

    def column_sums(self, siemens: Tensor) -> Tensor:
        return siemens.sum(0)

    def row_sums(self, siemens: Tensor) -> Tensor:
        positive, negative, _ = self.split(siemens)
        return positive.sum(1) if negative is None else (positive + negative).sum(1)

    def at_rows(self, units: Tensor, signed: bool = False) -> Tensor:
        rows = units.new_zeros(self.n_rows)
        positive, negative, _ = self.split(rows)
        positive.copy_(units)
        if negative is not None:
            negative.copy_(-units if signed else units)
        return rows[:, None]


class IdealCrossbar(Crossbar):
    """A crossbar whose lines have no resistance, by matrix products over the batch."""

    def __init__(self, layout: StageLayout, siemens: Callable[[], Tensor], bias_voltage: float):
        self.layout, self.bias_voltage = layout, bias_voltage
        self._form = siemens

    @cached_property
    def siemens(self) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        # A contrast does not ask for them, and to form them takes as long as a product with the batch.
        return self._form()

    def stage(self, gain: Gain, feedback: Gain, drives: bool) -> Stage:
        siemens = self.siemens
        positive, negative, bias = self.layout.split(siemens)
        return DenseStage(
            weight=positive if negative is None else positive - negative,
            total=self.layout.column_sums(siemens),
            bias=torch.zeros_like(siemens[0]) if bias is None else self.bias_voltage * (bias[0] - bias[1]),
            load=self.layout.row_sums(siemens),
            gain=gain,
            feedback=feedback,
        )

    def energy(self, before: Tensor, layer: Tensor) -> Tensor:
        # ½ Σ g (s − v)², by its expanded square.
        positive, negative, bias = self.layout.split(self.siemens)
        rows = positive if negative is None else positive + negative
        signed = positive if negative is None else positive - negative
        energy = (
            (before.square() @ rows).sum(-1) + layer.square() @ rows.sum(0) - 2 * ((before @ signed) * layer).sum(-1)
        )
        if bias is not None:
            below, above = layer - self.bias_voltage, layer + self.bias_voltage
            energy = energy + (below.square() @ bias[0]) + (above.square() @ bias[1])
        return 0.5 * energy

    def contrast(self, before: Tensor, before_change: Tensor | None, layer: Tensor, change: Tensor) -> Tensor:
        # Σ (ds ∓ d)(s ∓ v), expanded so that one matrix product serves the +u and the −u rows.
        layer, change, before = (t.reshape(-1, t.shape[-1]) for t in (layer, change, before))
        own = (change * layer).sum(0)
        if before_change is None:
            cross, row = before.T @ change, None
        else:
            before_change = before_change.reshape(-1, before_change.shape[-1])
            cross = torch.cat([before, before_change]).T @ torch.cat([change, layer])
            row = (before * before_change).sum(0)[:, None]
        result = own.expand(self.layout.shape).clone()
        positive, negative, bias = self.layout.split(result)
        positive.sub_(cross)
        if negative is not None:
            negative.add_(cross)
        if row is not None:
            positive.add_(row)
            if negative is not None:
                negative.add_(row)
        if bias is not None:
            drift = self.bias_voltage * change.sum(0)
            bias[0].sub_(drift)
            bias[1].add_(drift)
        return result

    def cell_voltages(self, before: Tensor, layer: Tensor) -> Tensor:
        return self.terminal_voltages(before, layer)

    def terminal_voltages(self, before: Tensor, layer: Tensor) -> Tensor:
        before, layer = (each.reshape(-1, each.shape[-1]) for each in (before, layer))
        rows = before.new_zeros(len(before), self.layout.n_rows)
        positive, negative, bias = self.layout.split(rows.T)
        positive.copy_(before.T)
        if negative is not None:
            negative.copy_(-before.T)
        if bias is not None:
            bias.copy_(bias.new_tensor([[self.bias_voltage], [-self.bias_voltage]]))
        return rows[:, :, None] - layer[:, None, :]
