"""Where a layered network's parameters and diodes stand: facts that its equations and its circuit share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from analog_ep.devices import Clamp

Drive = Literal["single", "differential"]


@dataclass(frozen=True)
class ArrayLayout:
    """How the elements of one parameter lie on the hardware: as they come, for all that is known.

    Attributes
    ----------
    label : str
        Name of the parameter.
    shape : tuple of int
        Of the parameter.
    pairs : tuple of (slice, slice)
        Rows at +u and those at −u that stand for the same inputs, where rows come in pairs.
    """

    label: str
    shape: tuple[int, ...]
    pairs: tuple[tuple[slice, slice], ...] = ()


@dataclass(frozen=True)
class StageLayout:
    """Rows and columns of one crossbar: +u rows, −u rows where it is differential, then bias rows at ±V_bias."""

    label: str
    n_in: int
    n_out: int
    differential: bool
    biased: bool

    @property
    def n_rows(self) -> int:
        """Rows of the crossbar."""
        return self.n_in * (2 if self.differential else 1) + (2 if self.biased else 0)

    @property
    def shape(self) -> tuple[int, int]:
        """Shape of the parameter, rows × columns."""
        return self.n_rows, self.n_out

    @property
    def array(self) -> ArrayLayout:
        """The parameter's elements; differential rows, and then the bias rows, come in pairs."""
        starts = [(0, self.n_in)] + ([(2 * self.n_in, 1)] if self.biased else []) if self.differential else []
        pairs = tuple((slice(first, first + n), slice(first + n, first + 2 * n)) for first, n in starts)
        return ArrayLayout(self.label, self.shape, pairs)

    def split(self, rows: Tensor) -> tuple[Tensor, Tensor | None, Tensor | None]:
        """Views of the +u rows, the −u rows and the two bias rows of `rows` (n_rows, …)."""
        negative_end = 2 * self.n_in if self.differential else self.n_in
        negative = rows[self.n_in : negative_end] if self.differential else None
        return rows[: self.n_in], negative, rows[negative_end:] if self.biased else None


def side_names(clamp: Clamp) -> list[str]:
    """The sides on which a clamp has diodes, in the order of `Clamp.sides`."""
    return [name for name in ("upper", "lower") if getattr(clamp, name) is not None]


def nodes_with_diode(bound: float | Tensor, n_nodes: int) -> np.ndarray:
    """Indices of the nodes that have a diode to this bias voltage."""
    return np.flatnonzero(torch.isfinite(torch.as_tensor(bound)).expand(n_nodes).cpu().numpy())
