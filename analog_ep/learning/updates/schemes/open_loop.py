"""Schemes that do not look at what their pulses do."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from analog_ep.learning.updates.coincidence import outer_pulses, row_pulses
from analog_ep.learning.updates.schemes.scheme import PulsedCrossbar, Scheme, at_most, stochastic_rounding


@dataclass(frozen=True)
class FixedStep(Scheme):
    """As many pulses as the change has mean steps, without looking at what they do.

    Parameters
    ----------
    rounding : "stochastic" or "nearest"
        How a change becomes whole steps; nearest loses changes below half a step, stochastic is right on average.
    max_pulses : int
        Most pulses of a device in one update.
    """

    rounding: Literal["stochastic", "nearest"] = "stochastic"
    max_pulses: int = 100

    def __post_init__(self):
        self._require(
            self.rounding in ("stochastic", "nearest"), "rounding must be stochastic or nearest", self.rounding
        )
        self._require_count("max_pulses")

    def write(self, crossbar: PulsedCrossbar, change: Tensor) -> None:
        steps = change / crossbar.array.step
        counts = steps.round() if self.rounding == "nearest" else stochastic_rounding(steps, crossbar.array.generator)
        crossbar.array.pulse(at_most(counts, self.max_pulses, crossbar))


@dataclass(frozen=True)
class SignStep(Scheme):
    """One pulse in the direction of the change: the Manhattan rule, which needs a comparator alone.

    Parameters
    ----------
    offset_spread : float
        Standard deviation of the comparators' offsets, drawn once a device. [S] of the wanted change
    dead_band : float
        Size below which a change gives no pulse. [S]
    """

    offset_spread: float = 0.0
    dead_band: float = 0.0

    def __post_init__(self):
        for name in ("offset_spread", "dead_band"):
            value = getattr(self, name)
            good = isinstance(value, (int, float)) and 0 <= value < math.inf
            self._require(good, f"{name} must be finite and not negative", value)

    def prepare(self, crossbar: PulsedCrossbar) -> None:
        if self.offset_spread:
            like = crossbar.array.conductances
            noise = torch.randn(like.shape, generator=crossbar.array.generator, dtype=like.dtype, device=like.device)
            crossbar.memory["offset"] = self.offset_spread * noise

    def write(self, crossbar: PulsedCrossbar, change: Tensor) -> None:
        compared = change + crossbar.memory["offset"] if self.offset_spread else change
        crossbar.array.pulse(torch.where(compared.abs() > self.dead_band, compared.sign(), 0.0).long())


@dataclass(frozen=True)
class StochasticCoincidence(Scheme):
    """Random pulse trains on rows and columns; a device switches where both meet (Gokmen & Vlasov 2016).

    The trains of factors x and δ give a device BL p_x p_δ pulses on average, that is ΔG = x δ. A change that comes as
    a matrix, from an optimiser, is written row by row, or as its leading singular pairs, one train each: these are
    fewer trains, but leave out what is not in the leading pairs, which of Adam's steps is most.

    Parameters
    ----------
    train_length : int
        Longest train, BL.
    manage_length : bool
        Whether a train is only as long as the largest product needs.
    rank : int
        Outer products that stand for a matrix; 0 for one a row, which is the whole matrix on average.

    References
    ----------
    .. [1] T. Gokmen, Y. Vlasov, "Acceleration of Deep Neural Network Training with Resistive Cross-Point Devices,"
       Front. Neurosci. 10:333, 2016.
    """

    train_length: int = 31
    manage_length: bool = True
    rank: int = 0

    def __post_init__(self):
        self._require_count("train_length")
        if self.rank != 0 or isinstance(self.rank, bool):
            self._require_count("rank")
        self._require(isinstance(self.manage_length, bool), "manage_length must be true or false", self.manage_length)

    def write(self, crossbar: PulsedCrossbar, change: Tensor) -> None:
        # Single elements are a column: each has a line of its own, and all share the other one.
        matrix = change if change.ndim == 2 else change.flatten()[:, None]
        if not self.rank:
            crossbar.count(lost=row_pulses(crossbar.array, matrix, self.train_length, self.manage_length))
            return
        left, sizes, right = torch.linalg.svd(matrix, full_matrices=False)
        for k in range(min(self.rank, len(sizes))):
            root = sizes[k].sqrt()
            self.write_outer(crossbar, left[:, k] * root, right[k] * root)

    def write_outer(self, crossbar: PulsedCrossbar, rows: Tensor, columns: Tensor) -> None:
        crossbar.count(lost=outer_pulses(crossbar.array, rows, columns, self.train_length, self.manage_length))
