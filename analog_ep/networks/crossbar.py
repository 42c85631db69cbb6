"""The conductances between two layers, whatever joins them, and what learning and analyses ask of them."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor

from analog_ep.networks.stage import Stage

Gain = float | Tensor
"""One for all amplifiers, or `(n_in,)`."""


class Crossbar(ABC):
    """A crossbar with its conductances.

    Attributes
    ----------
    siemens : Tensor (n_rows, n_columns)
        Of the cells, or of those that share a parameter. [S]
    """

    siemens: Tensor

    def has(self, siemens: Tensor) -> bool:
        """Whether these are its conductances."""
        return self.siemens.dtype == siemens.dtype and torch.equal(self.siemens, siemens)

    @abstractmethod
    def stage(self, gain: Gain, feedback: Gain, drives: bool) -> Stage:
        """As the layer equations need it; `drives` says whether amplifiers drive its rows, or sources."""

    @abstractmethod
    def energy(self, before: Tensor, layer: Tensor) -> Tensor:
        """½ Σ g v² over all its conductances, `(*batch,)`. [W]

        Parameters
        ----------
        before, layer : Tensor (*batch, n_in), (*batch, n_out)
            Voltages s of the rows at +u, and v of the columns. [V]
        """

    @abstractmethod
    def contrast(self, before: Tensor, before_change: Tensor | None, layer: Tensor, change: Tensor) -> Tensor:
        """Σ over the batch of the change of ½ v² to first order for every cell, rows × columns. [V²]

        Parameters
        ----------
        before, layer : Tensor (*batch, n_in), (*batch, n_out)
            Voltages s of the rows at +u, and v of the columns. [V]
        before_change, change : Tensor or None
            Their changes; None before inputs that sources hold. [V]
        """

    @abstractmethod
    def cell_voltages(self, before: Tensor, layer: Tensor) -> Tensor:
        """Voltage across every conductance `(n_samples, n_rows, n_out)`, from the layers as for `energy`. [V]"""

    @abstractmethod
    def terminal_voltages(self, before: Tensor, layer: Tensor) -> Tensor:
        """Voltage from the source of each row to the node of each column, as `cell_voltages`. [V]"""

    def inner_voltages(self, before: Tensor, layer: Tensor) -> Tensor | None:
        """Voltages of the nodes that `Lines.add` makes, in their order, `(*batch, n_nodes)`; None for none. [V]"""
        return None
