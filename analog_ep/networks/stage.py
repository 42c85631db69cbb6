"""What joins two layers, as their Kirchhoff equations need it: an operator, of which a crossbar's is a matrix."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from functools import cached_property, reduce
from typing import Self

import torch
from torch import Tensor

_PART = 65536
"""Elements of a matrix that are squared at once."""


@dataclass(frozen=True, eq=False)
class Stage(ABC):
    r"""What joins the layer (or the inputs) u before it to the nodes v of its own layer, as an operator W.

    Its columns carry into node j the current :math:`\sum_i a_i W_{ij} u_i + b_j - T_j v_j`; its amplifiers draw from
    node i of the layer before the current :math:`k_i (a_i R_i u_i - \sum_j W_{ij} v_j)`.

    Attributes
    ----------
    total : Tensor (n_out,)
        T, sum of all conductances of a column, bias rows included. [S]
    bias : Tensor (n_out,)
        b, current at u = v = 0: that of the bias rows, and what the offsets of the amplifiers before and behind the
        layer add. [A]
    load : Tensor (n_in,)
        R, sum of the conductances of a row, both signs. [S]
    gain, feedback : float or Tensor (n_in,)
        Amplifiers' a and k; 1 and 0 at the inputs, which sources hold; 1 and 1 of resistors alone, without amplifiers.
    mutual : Tensor (n_out, n_out) or None
        M, conductances between columns, through the resistance of rows: :math:`\sum_l M_{lj} v_l` flows into node j
        besides; T holds them too. None for ideal lines. [S]
    load_mutual : Tensor (n_in, n_in) or None
        L, likewise between amplifiers, which return :math:`k_i \sum_l L_{li} a_l u_l` to node i. [S]
    load_bias : Tensor (n_in,) or None
        Current from the bias rows to those of amplifier i, which returns it k-fold. [A]
    """

    total: Tensor
    bias: Tensor
    load: Tensor
    gain: float | Tensor
    feedback: float | Tensor
    mutual: Tensor | None = None
    load_mutual: Tensor | None = None
    load_bias: Tensor | None = None

    @property
    @abstractmethod
    def n_products(self) -> int:
        """Products that W times the voltages of one sample takes."""

    @abstractmethod
    def affine(self, share: float, vectors: Tensor, factor: float) -> Tensor:
        """The sum share · b + factor · vectors W, `(*batch, n_out)`; b is not read where the share is 0."""

    @abstractmethod
    def transposed(self, vectors: Tensor, factor: float) -> Tensor:
        """The product factor · vectors Wᵀ, `(*batch, n_in)`, for `(*batch, n_out)`, in new memory."""

    @abstractmethod
    def column_norm(self, factors: float | Tensor) -> Tensor:
        """Largest Euclidean norm of a column of W whose rows are multiplied by these. [S]"""

    @abstractmethod
    def row_norms(self) -> Tensor:
        """Euclidean norm of each row of W, `(n_in,)`. [S]"""

    @abstractmethod
    def matrix(self) -> Tensor:
        """W as a matrix `(n_in, n_out)`. [S]"""

    def among_rows(self) -> Tensor | None:
        """Matrix that takes the voltages before it to what amplifiers return of each other's, `(n_in, n_in)`. [S]"""
        if self.load_mutual is None:
            return None
        gain, feedback = (torch.as_tensor(a).to(self.load).expand_as(self.load) for a in (self.gain, self.feedback))
        return gain[:, None] * self.load_mutual * feedback

    def forward(self, before: Tensor) -> Tensor:
        """Current into the stage's nodes at 0 V, `(*batch, n_out)`, from the layer before. [A]"""
        return self._forward(before, 1.0)

    def forward_change(self, before: Tensor) -> Tensor:
        """Change of `forward` when the layer before changes by `before`. [A]"""
        return self._forward(before, 0.0)

    def _forward(self, before: Tensor, share: float) -> Tensor:
        if isinstance(self.gain, float):
            return self.affine(share, before, self.gain)
        return self.affine(share, self.gain * before, 1.0)

    def backward(self, after: Tensor) -> Tensor:
        """Current that the amplifiers return to the layer before, `(*batch, n_in)`, for the stage's voltages. [A]"""
        if isinstance(self.feedback, float):
            return self.transposed(after, self.feedback)
        return self.transposed(after, 1.0).mul_(self.feedback)

    def returned_drive(self, driven: Tensor) -> Tensor:
        """Current that the amplifiers return to the layer before when they drive `driven` [V] besides, v held. [A]"""
        drawn = self.load * driven
        if self.load_mutual is not None:
            drawn = drawn - driven @ self.load_mutual
        return -self.feedback * drawn

    def carried(self, driven: Tensor) -> Tensor:
        """Current into the stage's nodes, `(n_out,)`, when rows are at `driven` [V] besides. [A]"""
        return self.affine(0.0, driven[None], 1.0)[0]

    def exchanged(self, ratio: float) -> Self:
        """The stage whose amplifiers have gain and feedback exchanged, these counted by k/a: k over it, a times it."""
        return replace(self, gain=self.feedback / ratio, feedback=self.gain * ratio)

    @cached_property
    def forward_norm(self) -> Tensor:
        """Largest current of `forward_change`, for changes of Euclidean norm 1 V of the layer before. [S]"""
        if isinstance(self.gain, Tensor):
            return self.column_norm(self.gain)
        return self.gain * self.column_norm(1.0)

    @cached_property
    def backward_norm(self) -> Tensor:
        """Largest current of `backward`, for voltages of Euclidean norm 1 V. [S]"""
        return (self.feedback * self.row_norms()).amax()

    @property
    def input_load(self) -> Tensor:
        """Conductance that the amplifiers put on the nodes of the layer before, k a R, `(n_in,)`. [S]"""
        return self.feedback * self.gain * self.load


@dataclass(frozen=True, eq=False, kw_only=True)
class DenseStage(Stage):
    r"""A crossbar: every row joins every column.

    Attributes
    ----------
    weight : Tensor (n_in, n_out)
        W, conductances from +u less those from −u. [S]
    """

    weight: Tensor

    @property
    def n_products(self) -> int:
        return self.weight.numel()

    def affine(self, share: float, vectors: Tensor, factor: float) -> Tensor:
        return _affine(self.bias, share, vectors, self.weight, factor)

    def transposed(self, vectors: Tensor, factor: float) -> Tensor:
        return _affine(self.load, 0.0, vectors, self.weight.mT, factor)

    def carried(self, driven: Tensor) -> Tensor:
        return driven @ self.weight

    def column_norm(self, factors: float | Tensor) -> Tensor:
        return _largest_column_norm(factors[:, None] * self.weight if isinstance(factors, Tensor) else self.weight)

    def row_norms(self) -> Tensor:
        return torch.linalg.vector_norm(self.weight, dim=1)

    def matrix(self) -> Tensor:
        return self.weight


def _largest_column_norm(matrix: Tensor) -> Tensor:
    # In parts: fresh memory for the squares of a wide matrix takes six times as long as squaring.
    parts = [matrix] if matrix.numel() <= _PART else matrix.split(max(1, _PART // matrix.shape[1]))
    squares = torch.empty_like(parts[0])
    sums = [torch.mul(part, part, out=squares[: len(part)]).sum(0) for part in parts]
    return reduce(torch.add, sums).amax().sqrt()


def _affine(constant: Tensor, share: float, vectors: Tensor, matrix: Tensor, factor: float) -> Tensor:
    """The sum share · constant + factor · vectors @ matrix in one call; a constant with share 0 is not read."""
    flat = vectors if vectors.dim() == 2 else vectors.reshape(-1, vectors.shape[-1])
    found = torch.addmm(constant, flat, matrix, beta=share, alpha=factor)
    return found if vectors.dim() == 2 else found.reshape(*vectors.shape[:-1], matrix.shape[-1])
