"""What every update scheme gives, and what it works on."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass, field

import torch
from torch import Tensor

from analog_ep.devices.pulses import PulsedArray
from analog_ep.errors import DeviceParameterError
from analog_ep.networks.layout import ArrayLayout


@dataclass(eq=False)
class PulsedCrossbar:
    """A crossbar of pulsed devices and what its scheme remembers.

    Attributes
    ----------
    layout : ArrayLayout
        Its shape, and rows that come in pairs.
    array : PulsedArray
        The devices that the network reads.
    hidden_array : PulsedArray, optional
        Devices that the network does not read; Tiki-Taka's fast array.
    memory : dict of str to Tensor
        Digital state of the scheme.
    vectors : int
        Samples whose gradients a change sums up; what a scheme counts that goes by vectors.
    tally : dict of str to Tensor
        "lost", pulses that changes were worth beyond the most of an update; "reads", reads that the scheme needed.
    """

    layout: ArrayLayout
    array: PulsedArray
    hidden_array: PulsedArray | None = None
    memory: dict[str, Tensor] = field(default_factory=dict)
    vectors: int = 1
    tally: dict[str, Tensor] = field(
        default_factory=lambda: {
            "lost": torch.zeros((), dtype=torch.float64),
            "reads": torch.zeros((), dtype=torch.int64),
        }
    )

    @property
    def arrays(self) -> list[PulsedArray]:
        """The devices that the network reads, then those that it does not."""
        return [array for array in (self.array, self.hidden_array) if array is not None]

    def count(self, lost: Tensor | float = 0.0, reads: int = 0) -> None:
        """Add to the tally."""
        self.tally["lost"] += lost
        self.tally["reads"] += reads


@dataclass(frozen=True)
class Scheme(ABC):
    """Turns the change ΔG that an optimiser proposes into whole pulses."""

    def prepare(self, crossbar: PulsedCrossbar) -> None:  # noqa: B027 - most schemes remember nothing
        """Set up what the scheme remembers of a crossbar.

        Raises
        ------
        DeviceParameterError
            If the scheme cannot be used with this crossbar.
        """

    @abstractmethod
    def write(self, crossbar: PulsedCrossbar, change: Tensor) -> None:
        """Give the pulses for a wanted change ΔG, in the shape of the parameter. [S]"""

    def write_outer(self, crossbar: PulsedCrossbar, rows: Tensor, columns: Tensor) -> None:
        """Give the pulses for ΔG = x δᵀ, x (n_rows,) and δ (n_columns,), whose products are in [S].

        Raises
        ------
        DeviceParameterError
            If the scheme pulses elements one by one.
        """
        raise DeviceParameterError(f"pulses that coincide need the scheme stochastic, found {type(self).__name__}")

    def _require(self, holds: bool, rule: str, found: object) -> None:
        if not holds:
            raise DeviceParameterError(f"{type(self).__name__}: {rule}, found {found!r}")

    def _require_positive(self, name: str) -> None:
        value = getattr(self, name)
        number = isinstance(value, (int, float)) and not isinstance(value, bool)
        self._require(number and 0 < value < math.inf, f"{name} must be positive and finite", value)

    def _require_count(self, name: str) -> None:
        value = getattr(self, name)
        whole = isinstance(value, int) and not isinstance(value, bool) and value >= 1
        self._require(whole, f"{name} must be a whole number of at least 1", value)


def at_most(steps: Tensor, most: int, crossbar: PulsedCrossbar) -> Tensor:
    """Whole numbers of pulses (…) as int64, none above `most`; what is above is counted as lost."""
    within = steps.clamp(-most, most)
    crossbar.count(lost=(steps - within).abs().sum(dtype=torch.float64).cpu())
    return within.long()


def stochastic_rounding(steps: Tensor, generator: torch.Generator) -> Tensor:
    """Whole numbers whose mean is `steps`."""
    return (steps + torch.rand(steps.shape, generator=generator, dtype=steps.dtype, device=steps.device)).floor()
