"""Parameters that are one number for all elements, or a tensor with one for each."""

from __future__ import annotations

import dataclasses
from typing import Self

import torch
from torch import Tensor


@dataclasses.dataclass(frozen=True)
class PerElement:
    """A frozen dataclass whose numeric fields are floats, or tensors `(n_elements,)`."""

    def to(self, like: Tensor) -> Self:
        """The same device with its per-element parameters in the dtype and on the device of `like`."""
        return self._map(lambda value: value.to(like))

    def cpu(self) -> Self:
        """The same device with its per-element parameters on the CPU."""
        return self._map(lambda value: value.cpu())

    def select(self, index: Tensor | slice) -> Self:
        """The device restricted to the elements at `index`."""
        return self._map(lambda value: value[index])

    def expand(self, n_elements: int) -> Self:
        """The device with each parameter written out per element, `(n_elements,)` float64."""
        values = {
            field.name: torch.as_tensor(getattr(self, field.name), dtype=torch.float64).expand(n_elements).clone()
            for field in dataclasses.fields(self)
            if isinstance(getattr(self, field.name), (int, float, Tensor))
        }
        return dataclasses.replace(self, **values)

    def _map(self, function) -> Self:
        values = {
            field.name: function(getattr(self, field.name))
            for field in dataclasses.fields(self)
            if isinstance(getattr(self, field.name), Tensor)
        }
        return dataclasses.replace(self, **values) if values else self
