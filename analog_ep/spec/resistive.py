"""Tables of a spec that trains a resistive network of crossbars."""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import model_validator

from analog_ep.networks import HardwareNetwork
from analog_ep.networks.sizes import checked_sizes
from analog_ep.spec.diodes import DiodeSpec
from analog_ep.spec.network import LayeredTable, ResistiveTable


class NetworkSpec(ResistiveTable, LayeredTable):
    """See `analog_ep.networks.ResistiveNetwork`: crossbars between layers of `sizes` units."""

    kind: Literal["resistive"] = "resistive"

    @model_validator(mode="after")
    def _sizes(self) -> NetworkSpec:
        checked_sizes(self.sizes)
        return self

    @property
    def diode_layers(self) -> int:
        return len(self.sizes) - 2

    def refuse_held(self) -> None:
        if len(self.sizes) > 2 and self.drive != "differential":
            raise ValueError('update.held needs network.drive = "differential", found "single"')

    def build(self, diodes: list[DiodeSpec], seed: int, dtype: torch.dtype) -> HardwareNetwork:
        """The network with its initial conductances."""
        return self.layered(self.sizes, diodes, self.sizes[1:-1], seed, dtype)
