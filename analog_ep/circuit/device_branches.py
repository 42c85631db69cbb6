"""Elements whose parameters are those of a device, written out one by one or shared."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, replace
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor

from analog_ep.circuit.laws import Branches


class DeviceBranches(Branches):
    """Elements of one model `device`, a `PerElement`."""

    device: Any

    @property
    def law_type(self) -> type:
        return type(self.device)

    def select(self, index: np.ndarray) -> Self:
        device = self.device.expand(len(self)).select(torch.from_numpy(index))
        return replace(super().select(index), device=device)

    def parameters(self) -> dict[str, np.ndarray]:
        """The device's parameters that are given one by one."""
        found = {f.name: getattr(self.device, f.name) for f in fields(self.device)}
        return {name: value.numpy() for name, value in found.items() if isinstance(value, Tensor)}

    def with_parameters(self, values: Mapping[str, np.ndarray]) -> Self:
        changed = {name: torch.from_numpy(value) for name, value in values.items()}
        return replace(self, device=replace(self.device, **changed))

    def _spread(self, value: float | Tensor) -> np.ndarray:
        return np.broadcast_to(np.asarray(value, dtype=np.float64), len(self))
