"""A crossbar of a fused step: what a batch wants of its conductances, and their change in place."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from analog_ep.learning.updates.kernels import update_crossbar
from analog_ep.networks import CrossbarNetwork, Stage
from analog_ep.networks.stage import DenseStage
from analog_ep.support.compiled import runs_compiled

_THREADS = 2
"""Most threads at which one compiled loop beats PyTorch's many passes, which it shares out among them."""


@dataclass(frozen=True, eq=False)
class Wanted:
    """Sums over the batch that make up a crossbar's change of θ, behind amplifiers of gain a.

    It is ±a signed_ij − a² row_i − own_j, and ±V_bias drift_j − own_j in the bias rows.
    """

    signed: Tensor
    own: Tensor
    row: Tensor | None
    drift: Tensor


class FusedCrossbar:
    """One crossbar of a network: its θ, which is changed in place, and its equations, which follow."""

    learns = True

    def __init__(self, network: CrossbarNetwork, s: int, scratch: Tensor):
        layout = network.layouts[s]
        self.gain = network.gain if s else 1.0
        self.feedback = network.feedback if s else 0.0
        self.bounds = network.theta_range(layout.label)
        self.theta = network.theta(layout.label).detach()
        self.positive, self.negative, bias = layout.split(self.theta)
        self.bias = self.theta[:0] if bias is None else bias
        self.blocks = self.theta[: layout.n_rows - len(self.bias)].unflatten(0, (-1, layout.n_in))
        self.bias_voltage = network.bias_voltage or 0.0
        self.bias_voltages = self.theta.new_tensor([self.bias_voltage, -self.bias_voltage])[: len(self.bias)]
        self.product = scratch[: self.positive.numel()].view_as(self.positive)
        self.weight = self.positive if self.negative is None else torch.empty_like(self.positive)
        # For wide crossbars a product with ones is twice as fast as a sum.
        self.ones = self.theta.new_ones(layout.n_rows)
        self.total, self.load = torch.empty_like(self.theta[0]), self.blocks.sum(2).sum(0)
        self._sum_columns()
        self.stage = self._stage()

    def wanted(
        self,
        before: Tensor,
        changes: list[Tensor] | None,
        layer: Tensor,
        responses: list[Tensor],
        ratios: list[float],
        linear: bool,
    ) -> Wanted:
        """Of one step: voltages before and behind the crossbar, and in each phase their responses and its weight.

        `changes` None stands for rows that sources hold.
        """
        total = _weighted(responses, ratios)
        middles = [layer if linear else layer + 0.5 * d for d in responses]
        own = _weighted([d * v for d, v in zip(responses, middles, strict=True)], ratios).sum(0)
        signed = torch.mm(before.mT, total, out=self.product)
        row = None
        if changes is not None:
            # ½ [(b + c − v − d)² − (b − v)²] with b + c/2 and v + d/2 in the middle of the changes c and d.
            for ratio, change, response, middle in zip(ratios, changes, responses, middles, strict=True):
                if not linear:
                    signed.addmm_(change.mT, response, alpha=0.5 * ratio)
                signed.addmm_(change.mT, middle, alpha=ratio)
            row = _weighted([c * (before if linear else before + 0.5 * c) for c in changes], ratios).sum(0)
        return Wanted(signed, own, row, total.sum(0))

    def apply(self, wanted: Wanted, factor: float) -> None:
        """Change θ by `factor` [1/V²] times what is wanted, within the range."""
        one_pass = runs_compiled(self.theta) and torch.get_num_threads() <= _THREADS
        change = self._change_in_one_pass if one_pass else self._change_in_passes
        change(wanted, factor, factor * self.gain, factor * self.gain**2)
        self.stage = self._stage()

    def _change_in_one_pass(self, wanted: Wanted, of_own: float, of_signed: float, of_row: float) -> None:
        blocks, bias, weight, total, load, no_row = self._arrays
        signed, own, drift = wanted.signed.numpy(), wanted.own.numpy(), wanted.drift.numpy()
        row = no_row if wanted.row is None else wanted.row.numpy()
        factors = of_signed, of_row, of_own, of_own * self.bias_voltage
        update_crossbar(blocks, bias, weight, total, load, signed, row, own, drift, factors, self.bounds)
        # PyTorch has not seen it.
        torch.autograd.graph.increment_version(self.theta)

    @cached_property
    def _arrays(self) -> list[np.ndarray]:
        views = self.blocks, self.bias, self.weight, self.total, self.load, torch.zeros_like(self.load)
        return [view.numpy() for view in views]

    def _change_in_passes(self, wanted: Wanted, of_own: float, of_signed: float, of_row: float) -> None:
        self.positive.add_(wanted.signed, alpha=of_signed)
        if self.negative is not None:
            self.negative.sub_(wanted.signed, alpha=of_signed)
        if wanted.row is not None:
            self.blocks.sub_(wanted.row[:, None], alpha=of_row)
        if len(self.bias):
            self.bias.addr_(self.bias_voltages, wanted.drift, alpha=of_own)
        self.theta.sub_(wanted.own, alpha=of_own).clamp_(*self.bounds)
        self._sum_columns()
        # Sources hold the rows of the first crossbar: nothing asks for their load.
        if wanted.row is not None:
            torch.sum(self.blocks.sum(2), 0, out=self.load)

    def _sum_columns(self) -> None:
        if self.negative is not None:
            torch.sub(self.positive, self.negative, out=self.weight)
        torch.mv(self.theta.mT, self.ones, out=self.total)

    def _stage(self) -> Stage:
        bias = torch.mv(self.bias.mT, self.bias_voltages)
        return DenseStage(self.total, bias, self.load, self.gain, self.feedback, weight=self.weight)


def _weighted(tensors: list[Tensor], ratios: list[float]) -> Tensor:
    """Sum of the tensors in their ratios; the first one's is 1."""
    total = tensors[0]
    for tensor, ratio in zip(tensors[1:], ratios[1:], strict=True):
        total = torch.add(total, tensor, alpha=ratio)
    return total
