"""What every memristor model gives: its current, and the rate of its state."""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from analog_ep.errors import DeviceParameterError

Values = Any
"""Tensors, or NumPy arrays: operators and methods that both have; arrays of few devices take a fraction of the time."""

Parameter = float | Values
"""One value for all devices, or one each, `(*devices)`."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Memristor(ABC):
    """A resistance that remembers; a frozen dataclass whose fields are the parameters of the SPICE subcircuit.

    The state x lies in `bounds`; a voltage v drives the current i(v, x) and moves the state by dx/dt = r(v, x).
    Outside the bounds the equations do not hold: `integrate` holds the state within them, where the subcircuit lets it
    overshoot a little and pulls it back.

    Parameters
    ----------
    x0 : float, Tensor or ndarray (*devices)
        State at the beginning, within the bounds.

    Raises
    ------
    DeviceParameterError
        If a parameter is outside its range.
    """

    x0: Parameter

    subcircuit: ClassVar[str]
    """Name of the subcircuit in `netlists/memristors.lib`."""

    positive: ClassVar[tuple[str, ...]] = ()
    """Parameters that must be positive; all must be finite."""

    negative: ClassVar[tuple[str, ...]] = ()
    """Parameters that must be negative."""

    exponents: ClassVar[tuple[str, ...]] = ()
    """Parameters that must be at least 1."""

    def __post_init__(self):
        self._require(torch.isfinite, [field.name for field in dataclasses.fields(self)], "be finite")
        self._require(lambda value: value > 0, self.positive, "be positive")
        self._require(lambda value: value < 0, self.negative, "be negative")
        self._require(lambda value: value >= 1, self.exponents, "be at least 1")
        low, high = self.bounds
        self._require(lambda value: (value >= low) & (value <= high), ("x0",), f"lie in {low}…{high}")

    def _require(self, holds, names, rule: str) -> None:
        for name in names:
            value = torch.as_tensor(getattr(self, name), dtype=torch.float64)
            bad = ~holds(value)
            if bool(bad.any()):
                found = float(value[bad].flatten()[0])
                raise DeviceParameterError(f"{type(self).__name__}: {name} must {rule}, found {found:g}")

    @property
    def bounds(self) -> tuple[Parameter, Parameter]:
        """Least and largest state."""
        return 0.0, 1.0

    @abstractmethod
    def current(self, voltage: Values, state: Values) -> Values:
        """Current from plus to minus.

        Parameters
        ----------
        voltage : Tensor or ndarray (*batch, *devices)
            Of plus against minus. [V]
        state : Tensor or ndarray (*batch, *devices)
            x, within the bounds.

        Returns
        -------
        Tensor or ndarray (*batch, *devices)
            [A]
        """

    @abstractmethod
    def rate(self, voltage: Values, state: Values) -> Values:
        """dx/dt, in the unit of the state a second; arguments as for `current`."""

    def conductance(self, state: Tensor, voltage: float) -> Tensor:
        """What a read at a voltage [V], small enough to leave the state alone, takes for the conductance. [S]"""
        return self.current(torch.full_like(state, voltage), state) / voltage


def like(value: Parameter, values: Values) -> Values:
    """A parameter as a tensor or array of another's dtype and device."""
    if isinstance(values, np.ndarray):
        return np.asarray(value, dtype=values.dtype)
    return torch.as_tensor(value, dtype=values.dtype, device=values.device)


def exp(values: Values) -> Values:
    """Exponential of a tensor or an array."""
    return np.exp(values) if isinstance(values, np.ndarray) else torch.exp(values)


def sinh(values: Values) -> Values:
    """Hyperbolic sine of a tensor or an array."""
    return np.sinh(values) if isinstance(values, np.ndarray) else torch.sinh(values)
