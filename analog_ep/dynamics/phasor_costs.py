"""Costs of a circuit's outputs under sinusoids."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor


class PhasorCost(ABC):
    """A real cost C of phasors o `(*batch, n_frequencies, n_outputs)` [V] and targets."""

    @abstractmethod
    def value(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """C, `(*batch,)`; differentiable by PyTorch."""

    def gradient(self, outputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """C `(*batch,)`, and ∂C/∂Re o + j ∂C/∂Im o in the shape of the outputs."""
        with torch.enable_grad():
            live = outputs.detach().requires_grad_()
            value = self.value(live, targets)
            (slope,) = torch.autograd.grad(value.sum(), live)
        return value.detach(), slope


@dataclass(frozen=True)
class PhasorError(PhasorCost):
    """C = ½ Σ |o − y|² over frequencies and outputs; targets are phasors of the outputs' shape. [V²]"""

    def value(self, outputs: Tensor, targets: Tensor) -> Tensor:
        off = torch.view_as_real(outputs - targets)
        return 0.5 * off.square().sum((-1, -2, -3))


@dataclass(frozen=True)
class DecibelError(PhasorCost):
    """C = ½ mean (20 lg |o| − y)²; targets are levels of the outputs' shape. [dB²]

    Attributes
    ----------
    floor : float
        Level below which outputs, and targets, count as this level. [dB]
    """

    floor: float = -math.inf

    def value(self, outputs: Tensor, targets: Tensor) -> Tensor:
        power = torch.view_as_real(outputs).square().sum(-1)
        level = (10 * torch.log10(power)).clamp(min=self.floor)
        return 0.5 * (level - targets.clamp(min=self.floor)).square().mean((-1, -2))


@dataclass(frozen=True)
class PowerCrossEntropy(PhasorCost):
    """Cross-entropy of softmax(P/p₀), P = ½ Σ |o|² over the frequencies: what square-law detectors behind a filter see.

    Targets are probabilities of the classes, `(*batch, n_outputs)`.

    Attributes
    ----------
    scale : float
        p₀. [V²]
    """

    scale: float = 1.0

    def value(self, outputs: Tensor, targets: Tensor) -> Tensor:
        return -(targets * torch.log_softmax(self.powers(outputs) / self.scale, -1)).sum(-1)

    def powers(self, outputs: Tensor) -> Tensor:
        """P, `(*batch, n_outputs)`. [V²]"""
        return 0.5 * torch.view_as_real(outputs).square().sum(-1).sum(-2)
