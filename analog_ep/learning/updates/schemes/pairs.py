"""One device of a pair held fixed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from analog_ep.errors import DeviceParameterError
from analog_ep.learning.updates.schemes.scheme import PulsedCrossbar, Scheme


@dataclass(frozen=True)
class OneOfPair(Scheme):
    """Another scheme with one device of each pair ±u held fixed: the other takes the change of the difference.

    Parameters
    ----------
    scheme : Scheme
        Which pulses the device that is not held gets.
    held : "negative" or "positive"
        Row of the pair whose devices get no pulses.
    """

    scheme: Scheme
    held: Literal["negative", "positive"] = "negative"

    def __post_init__(self):
        self._require(self.held in ("negative", "positive"), "held must be negative or positive", self.held)

    def prepare(self, crossbar: PulsedCrossbar) -> None:
        if not crossbar.layout.pairs:
            raise DeviceParameterError(
                f"one of a pair can be held only where rows come in pairs ±u, found single rows in "
                f'{crossbar.layout.label}; set network.drive = "differential"'
            )
        self.scheme.prepare(crossbar)

    def write(self, crossbar: PulsedCrossbar, change: Tensor) -> None:
        wanted = torch.zeros_like(change)
        for positive, negative in crossbar.layout.pairs:
            difference = change[positive] - change[negative]
            if self.held == "negative":
                wanted[positive] = difference
            else:
                wanted[negative] = -difference
        self.scheme.write(crossbar, wanted)
