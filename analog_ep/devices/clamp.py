"""A node's diodes to its bias voltages, of whatever kind: the nonlinearity of a hidden layer."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Protocol, Self, TypeVar

import torch
from torch import Tensor

from analog_ep.devices.parameters import require

_Made = TypeVar("_Made", bound="Clamp", covariant=True)


class Clampable(Protocol[_Made]):
    """What makes clamps of itself: a `Diode`, an `IdealDiode`."""

    def clamp(self, upper: float | Tensor | None = None, lower: float | Tensor | None = None) -> _Made:
        """The clamp with this element on both sides."""
        ...


@dataclass(frozen=True)
class Clamp(ABC):
    """Diodes from a node up to a bias voltage (they conduct when the node is above) and down to another.

    `diode.clamp(upper, lower)` gives the one that the diode asks for: a `HardClamp` for ideal diodes, which hold the
    node within limits, and a `DiodeClamp` for diodes whose current is a function of the voltage. Solvers of layers ask
    either of them the same.

    Parameters
    ----------
    diode : Diode or IdealDiode
        The element used on both sides.
    upper, lower : float, Tensor (n_nodes,) or None
        Bias voltages; None, or ±inf for single nodes, where there is no diode on that side. [V]

    Raises
    ------
    DeviceParameterError
        If neither side has a diode, or a bias voltage is not a number.
    """

    diode: Any
    upper: float | Tensor | None = None
    lower: float | Tensor | None = None

    def __post_init__(self):
        name = type(self).__name__
        require(
            self.upper is not None or self.lower is not None, f"{name}: upper or lower must be given, found neither"
        )
        for side in ("upper", "lower"):
            value = getattr(self, side)
            if value is not None:
                require(~torch.isnan(torch.as_tensor(value)), f"{name}: {side} must be a number, found {value}")

    @staticmethod
    def alternating(diode: Clampable[_Made], n_nodes: int, upper: float = 0.0, lower: float = 0.0) -> _Made:
        """The diode's clamp that holds even nodes below `upper`, odd nodes above `lower`: units of both signs."""
        odd = torch.arange(n_nodes) % 2 == 1
        infinity = torch.full((n_nodes,), torch.inf, dtype=torch.float64)
        return diode.clamp(upper=torch.where(odd, infinity, upper), lower=torch.where(odd, lower, -infinity))

    def of_layer(self, n_nodes: int) -> Self:
        """The clamp itself: what a layer is given may be a clamp or, see `Diode.of_layer`, a diode."""
        return self

    def to(self, like: Tensor) -> Self:
        """The same clamp in the dtype and on the device of `like`; made once for each."""
        key = (like.dtype, like.device)
        if key not in self._converted:
            self._converted[key] = self._moved(lambda part: part.to(like))
        return self._converted[key]

    @cached_property
    def _converted(self) -> dict[tuple[torch.dtype, torch.device], Self]:
        return {}

    def cpu(self) -> Self:
        """The same clamp with its tensors on the CPU."""
        return self._moved(lambda part: part.cpu())

    def _moved(self, move: Callable[[Any], Any]) -> Self:
        """The same clamp with its bias voltages elsewhere; `move` serves tensors and diodes."""
        return replace(self, **{n: move(b) for n in ("upper", "lower") if isinstance(b := getattr(self, n), Tensor)})

    @property
    @abstractmethod
    def has_current(self) -> bool:
        """Whether the current of its diodes is a function of the node voltage; else `sides`, `current` and
        `conductance` are a TypeError.
        """

    @abstractmethod
    def sides(self) -> list[tuple[float, float | Tensor, Any]]:
        """Triples (sign of the current out of the node, bias voltage, diode), the upper side first."""

    @abstractmethod
    def current(self, voltage: Tensor) -> Tensor:
        """Current that leaves the node through its diodes, i(v − upper) − i(lower − v), `(*batch, n_nodes)`. [A]"""

    @abstractmethod
    def conductance(self, voltage: Tensor) -> Tensor:
        """Slope of `current`. [S]"""

    @abstractmethod
    def for_spice(self, node_conductance: float) -> Clamp:
        """The clamp that stands for this one where a circuit is asked for; see `IdealDiode.stand_in`.

        Parameters
        ----------
        node_conductance : float
            Largest sum of the other conductances at a node of the layer; positive. [S]
        """

    @abstractmethod
    def in_parallel(self, count: float) -> Self:
        """`count` of these clamps side by side: `count` times the current at each voltage."""

    @abstractmethod
    def cocontent(self, voltage: Tensor) -> Tensor:
        """Sum of the co-contents of the node's diodes, `(*batch, n_nodes)`; 0 wherever ideal ones let a node be. [W]"""

    @abstractmethod
    def holds(self, voltage: Tensor, margin: float | Tensor = 0.0) -> Tensor:
        """Nodes whose voltage ideal diodes prescribe, bool `(*batch, n_nodes)`, those within `margin` [V] of it too."""

    @abstractmethod
    def beyond(self, voltage: Tensor) -> Tensor:
        """How far nodes lie beyond where ideal diodes would hold them, `(*batch, n_nodes)`; 0 of other diodes. [V]"""

    @abstractmethod
    def current_and_slope(self, voltage: Tensor) -> tuple[Tensor, Tensor] | tuple[float, float]:
        """Current out of the nodes that it does not hold [A], and its slope [S]."""

    @abstractmethod
    def slope_at(self, voltage: Tensor, total: Tensor, held: float) -> Tensor:
        """Slope of the current, `(*batch, n_nodes)`; `held` times `total` where an ideal diode holds the node. [S]"""

    @abstractmethod
    def solve_node(self, total: Tensor, drive: Tensor, resistance: Tensor | None = None) -> Tensor:
        """Node voltage v with total·v + current(v) = drive, `(*batch, n_nodes)`.

        Parameters
        ----------
        total : Tensor (n_nodes,)
            Sum of the conductances at the node; positive. [S]
        drive : Tensor (*batch, n_nodes)
            Current into the node at 0 V. [A]
        resistance : Tensor (n_nodes,), optional
            1/total, where it is at hand. [Ω]
        """

    @abstractmethod
    def solve_change(self, total: Tensor, voltage: Tensor, excess: Tensor, drive: Tensor) -> Tensor:
        """Change d of the node voltage with total·d + i(v + d) − i(v) = drive, at full relative precision.

        Parameters
        ----------
        total : Tensor (n_nodes,)
            Sum of the conductances at the node; positive. [S]
        voltage : Tensor (*batch, n_nodes)
            Node voltage v at the reference state. [V]
        excess : Tensor (*batch, n_nodes)
            What `excess` gives for the reference state. [V]
        drive : Tensor (*batch, n_nodes)
            Change of the current into the node. [A]
        """

    @abstractmethod
    def excess(self, voltage: Tensor, drive: Tensor, resistance: Tensor) -> Tensor:
        """How far a node under `drive` would be beyond ideal diodes' clamp without it; 0 where it is free. [V]"""

    @abstractmethod
    def consistent(self, voltage: Tensor, drive: Tensor, resistance: Tensor) -> tuple[Tensor, Tensor]:
        """Voltages and drives of a state that another solver found, as `solve_node` and `excess` need them."""

    @abstractmethod
    def response_resistance(self, voltage: Tensor, total: Tensor, drive: Tensor, resistance: Tensor) -> Tensor:
        """Voltage per current of each node alone, linearised at a state; 0 where an ideal diode holds it. [Ω]"""
