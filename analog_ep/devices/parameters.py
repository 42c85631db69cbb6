"""What the parameters of a device must be."""

from __future__ import annotations

import torch
from torch import Tensor

from analog_ep.errors import DeviceParameterError

Parameter = float | Tensor
"""A device parameter: one value for all elements, or a tensor with one value per element."""


def require(condition: bool | Tensor, message: str, found: object = None) -> None:
    """Raise `DeviceParameterError` unless `condition` holds for every element; `found` ends the message."""
    # Texts of tensors are not made ahead of need: they would take most of the time of building a circuit.
    if not bool(torch.as_tensor(condition).all()):
        raise DeviceParameterError(message if found is None else f"{message}, found {found}")


def require_finite(device: str, **parameters: Parameter) -> None:
    """Raise `DeviceParameterError` unless every parameter is finite, naming the first that is not."""
    for name, value in parameters.items():
        require(torch.isfinite(torch.as_tensor(value)), f"{device}: {name} must be finite", value)
