"""What a network says of itself where it is printed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

import torch


class _Layered(Protocol):
    sizes: tuple[int, ...]

    def parameters(self) -> Iterator[torch.nn.Parameter]: ...


class Described:
    """A module with layers, in a line: "ResistiveNetwork(64-128-10, 21,800 parameters, float32)"."""

    def extra_repr(self: _Layered) -> str:
        """Sizes of the layers, number of parameters, and their type."""
        parameters = list(self.parameters())
        kinds = sorted({str(each.dtype).removeprefix("torch.") for each in parameters})
        count = sum(each.numel() for each in parameters)
        return ", ".join(["-".join(map(str, self.sizes)), f"{count:,} parameters", *kinds])
