"""A stage as it is asked for, apart from where it stands: what every kind of operator says."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import torch

from analog_ep.networks.extent import Extent
from analog_ep.networks.layout import StageLayout


@dataclass(frozen=True)
class Place:
    """Where a stage stands in its network.

    Attributes
    ----------
    label : str
        Name of the stage.
    before, behind : Extent
        Layers that it joins; `behind` is what `Operator.extent` gave.
    differential : bool
        Whether what is before it drives rows at −u, too.
    biased : bool
        Whether the network has bias rows.
    last : bool
        Whether its nodes are pairs v₊, v₋: first those of all outputs at v₊.
    """

    label: str
    before: Extent
    behind: Extent
    differential: bool
    biased: bool
    last: bool


class Operator(ABC):
    """A stage as it is asked for, apart from where it stands."""

    clamped: ClassVar[bool] = True
    """Whether its nodes have diodes."""
    learns: ClassVar[bool] = True
    """Whether its conductances are a parameter."""

    @property
    def siemens(self) -> float | None:
        """Of every conductance, where these do not learn; None for the largest of the network's range. [S]"""
        return None

    @abstractmethod
    def extent(self, label: str, before: Extent, last: bool) -> Extent:
        """The layer that it makes of the one before.

        Raises
        ------
        NetworkError
            If it does not fit that one; `label` names the stage.
        """

    @abstractmethod
    def layout(self, place: Place) -> StageLayout:
        """Its conductances."""

    def ordinary(self, before: Extent) -> torch.nn.Module | None:
        """The layer of PyTorch that an ordinary network has in its place; None where there is none."""
        return None
