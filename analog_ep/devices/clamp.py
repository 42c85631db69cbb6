"""A node's diodes to its bias voltages: the nonlinearity of a hidden layer."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Self

import torch
from torch import Tensor

from analog_ep.devices.diode import Diode, bracketed_newton, newton_change, require
from analog_ep.devices.ideal import IdealDiode


@dataclass(frozen=True)
class DiodeClamp:
    """Diodes from a node up to a bias voltage (they conduct when the node is above) and down to another.

    The current that leaves the node through them is i(v − upper) − i(lower − v).

    Parameters
    ----------
    diode : Diode or IdealDiode
        The element used on both sides.
    upper, lower : float, Tensor (n_nodes,) or None
        Bias voltages; None, or ±inf for single nodes, where there is no diode on that side. [V]
    lower_diode : Diode, optional
        The element on the lower side where it differs, as the mismatch of a chip makes it.

    Raises
    ------
    DeviceParameterError
        If neither side has a diode, or lower is not below upper where an ideal diode stands on both sides.
    """

    diode: Diode | IdealDiode
    upper: float | Tensor | None = None
    lower: float | Tensor | None = None
    lower_diode: Diode | None = None

    def __post_init__(self):
        require(
            self.upper is not None or self.lower is not None, "DiodeClamp: upper or lower must be given, found neither"
        )
        for name in ("upper", "lower"):
            value = getattr(self, name)
            if value is not None:
                require(~torch.isnan(torch.as_tensor(value)), f"DiodeClamp: {name} must be a number, found {value}")
        if isinstance(self.diode, IdealDiode) and self.upper is not None and self.lower is not None:
            low, high = (torch.as_tensor(bound) for bound in self.limits)
            require(low <= high, f"DiodeClamp: lower must be below upper, found {self.lower} and {self.upper}")

    @classmethod
    def alternating(cls, diode: Diode | IdealDiode, n_nodes: int, upper: float = 0.0, lower: float = 0.0) -> Self:
        """Even nodes held below `upper`, odd nodes held above `lower`: units of both signs in one layer."""
        odd = torch.arange(n_nodes) % 2 == 1
        infinity = torch.full((n_nodes,), torch.inf, dtype=torch.float64)
        return cls(diode, upper=torch.where(odd, infinity, upper), lower=torch.where(odd, lower, -infinity))

    @property
    def limits(self) -> tuple[float | Tensor, float | Tensor]:
        """Node voltages (low, high) at which an ideal clamp, forward voltage included, begins to conduct. [V]"""
        drop = self.diode.forward_voltage if isinstance(self.diode, IdealDiode) else 0.0
        low = -torch.inf if self.lower is None else self.lower - drop
        high = torch.inf if self.upper is None else self.upper + drop
        return low, high

    def limits_like(self, like: Tensor) -> tuple[Tensor, Tensor]:
        """`limits` as tensors in the dtype and on the device of `like`; made once for each. [V]"""
        key = (like.dtype, like.device)
        if key not in self._limits:
            low, high = (torch.as_tensor(bound, dtype=like.dtype, device=like.device) for bound in self.limits)
            self._limits[key] = low, high
        return self._limits[key]

    @cached_property
    def _limits(self) -> dict[tuple[torch.dtype, torch.device], tuple[Tensor, Tensor]]:
        return {}

    def for_spice(self, node_conductance: float) -> Self:
        """The same clamp with an ideal diode replaced by its stand-in; see `IdealDiode.stand_in`."""
        if not isinstance(self.diode, IdealDiode):
            return self
        return replace(self, diode=self.diode.stand_in(node_conductance))

    def in_parallel(self, count: float) -> Self:
        """`count` of these clamps side by side: `count` times the current; ideal diodes stay what they are."""
        if isinstance(self.diode, IdealDiode):
            return replace(self)
        lower = None if self.lower_diode is None else self.lower_diode.in_parallel(count)
        return replace(self, diode=self.diode.in_parallel(count), lower_diode=lower)

    def to(self, like: Tensor) -> Self:
        """The same clamp in the dtype and on the device of `like`; made once for each."""
        key = (like.dtype, like.device)
        if key not in self._converted:
            bounds = {n: b.to(like) for n in ("upper", "lower") if isinstance(b := getattr(self, n), Tensor)}
            diode = self.diode.to(like) if isinstance(self.diode, Diode) else self.diode
            lower_diode = None if self.lower_diode is None else self.lower_diode.to(like)
            self._converted[key] = replace(self, diode=diode, lower_diode=lower_diode, **bounds)
        return self._converted[key]

    @cached_property
    def _converted(self) -> dict[tuple[torch.dtype, torch.device], Self]:
        return {}

    def cpu(self) -> Self:
        """The same clamp with its tensors on the CPU."""
        bounds = {n: b.cpu() for n in ("upper", "lower") if isinstance(b := getattr(self, n), Tensor)}
        diode = self.diode.cpu() if isinstance(self.diode, Diode) else self.diode
        return replace(self, diode=diode, lower_diode=self.lower_diode and self.lower_diode.cpu(), **bounds)

    def current(self, voltage: Tensor) -> Tensor:
        """Current that leaves the node through its diodes. [A]"""
        return sum(
            (sign * _present(bound, diode.current(across)) for sign, bound, diode, across in self._sides(voltage)),
            torch.zeros_like(voltage),
        )

    def conductance(self, voltage: Tensor) -> Tensor:
        """Slope of `current`. [S]"""
        return sum(
            (_present(bound, diode.conductance(across)) for _, bound, diode, across in self._sides(voltage)),
            torch.zeros_like(voltage),
        )

    def cocontent(self, voltage: Tensor) -> Tensor:
        """Sum of the co-contents of the node's diodes. [W]"""
        return sum(
            (_present(bound, diode.cocontent(across)) for _, bound, diode, across in self._sides(voltage)),
            torch.zeros_like(voltage),
        )

    def current_difference(self, voltage: Tensor, change: Tensor) -> Tensor:
        """Change of `current` when the node moves by `change`, at full relative precision. [A]"""
        return sum(
            (
                sign * _present(bound, diode.current_difference(across, sign * change))
                for sign, bound, diode, across in self._sides(voltage)
            ),
            torch.zeros_like(voltage),
        )

    def conducting(self, voltage: Tensor, threshold: Tensor) -> Tensor:
        """Share of the layer's nodes whose diode current exceeds `threshold` [A] in size, `(*batch,)`."""
        return (self.current(voltage).abs() > threshold).to(voltage.dtype).mean(-1)

    def sides(self) -> list[tuple[float, float | Tensor, Diode]]:
        """Triples (sign of the current out of the node, bias voltage, diode), the upper side first."""
        if isinstance(self.diode, IdealDiode):
            raise TypeError("an ideal diode has no current function; use for_spice or the layer solver's clamp")
        sides = [] if self.upper is None else [(1.0, self.upper, self.diode)]
        return sides if self.lower is None else [*sides, (-1.0, self.lower, self.lower_diode or self.diode)]

    @cached_property
    def _single(self) -> tuple[Tensor, Tensor, Diode] | None:
        """Sign, bias voltage and diode of every node, where each node has exactly one diode and all are alike."""
        if isinstance(self.diode, IdealDiode) or self.lower_diode is not None:
            return None
        upper, lower = (torch.as_tensor(torch.inf if b is None else b).abs() for b in (self.upper, self.lower))
        above = torch.isfinite(upper)
        if bool((above == torch.isfinite(lower)).any()):
            return None
        # A float bound must not become a single-precision tensor; as a 0-dimensional one it promotes nothing.
        given = (0.0 if b is None else b for b in (self.upper, self.lower))
        bias = torch.where(
            above, *(b if isinstance(b, Tensor) else torch.tensor(b, dtype=torch.float64) for b in given)
        )
        tensors = [b for b in (self.upper, self.lower) if isinstance(b, Tensor)]
        like = tensors[0] if tensors else bias
        return torch.where(above, 1.0, -1.0).to(like), bias.to(like), self.diode

    @cached_property
    def _biased(self) -> bool:
        return self._single is not None and bool(self._single[1].any())

    def _sides(self, voltage: Tensor):
        """Quadruples (sign, presence by bias, diode, voltage across it) that cover all diodes of the layer."""
        if self._single is not None:
            sign, bias, diode = self._single
            yield sign, 0.0, diode, sign * (voltage - bias)
            return
        for sign, bound, diode in self.sides():
            yield sign, bound, diode, sign * (voltage - _finite(bound))

    def solve_node(self, total: Tensor, drive: Tensor) -> Tensor:
        """Node voltage v with total·v + current(v) = drive, `(*batch, n_nodes)`.

        Parameters
        ----------
        total : Tensor (n_nodes,)
            Sum of the conductances at the node; positive. [S]
        drive : Tensor (*batch, n_nodes)
            Current into the node at 0 V. [A]
        """
        if isinstance(self.diode, IdealDiode):
            return torch.clamp(drive / total, *self.limits_like(drive))
        if self._single is not None:
            sign, bias, diode = self._single
            if not self._biased:
                return sign * diode.solve_loaded(total, sign * drive)
            voltage = bias + sign * diode.solve_loaded(total, sign * (drive - total * bias))
            # The sum with the bias rounds to the bias's digits; a step on the node's own equation restores v's.
            wrong = total * voltage + self.current(voltage) - drive
            return voltage - wrong / (total + self.conductance(voltage))
        return bracketed_newton(
            self._estimate(total, drive),
            lambda v: total * v + self.current(v) - drive,
            lambda v: total + self.conductance(v),
            total,
        )

    def solve_change(self, total: Tensor, voltage: Tensor, excess: Tensor, drive: Tensor) -> Tensor:
        """Change d of the node voltage with total·d + i(v + d) − i(v) = drive, at full relative precision.

        Parameters
        ----------
        total : Tensor (n_nodes,)
            Sum of the conductances at the node; positive. [S]
        voltage : Tensor (*batch, n_nodes)
            Node voltage v at the reference state. [V]
        excess : Tensor (*batch, n_nodes)
            For ideal diodes, how far beyond the clamp the node would be without it (0 where it is free). [V]
        drive : Tensor (*batch, n_nodes)
            Change of the current into the node. [A]
        """
        if isinstance(self.diode, IdealDiode):
            low, high = self.limits_like(drive)
            return torch.clamp(excess + drive / total, low - voltage, high - voltage)

        if self._single is not None:
            sign, bias, diode = self._single
            return sign * diode.solve_loaded_change(total, sign * (voltage - bias), sign * drive)
        return newton_change(
            self,
            total,
            voltage,
            drive,
            knee=lambda: self._estimate(total, total * voltage + self.current(voltage) + drive) - voltage,
        )

    def _estimate(self, total: Tensor, drive: Tensor) -> Tensor:
        estimate = drive / total
        for sign, bound, diode in self.sides():
            bias = _finite(bound)
            surplus = torch.clamp(sign * (drive - total * bias), min=0)
            limit = bias + sign * diode.voltage_estimate(surplus)
            bounded = torch.minimum(estimate, limit) if sign > 0 else torch.maximum(estimate, limit)
            estimate = _present(bound, bounded, estimate)
        return estimate


def _present(bound: float | Tensor, value: Tensor, otherwise: float | Tensor = 0.0) -> Tensor:
    return torch.where(torch.isfinite(bound), value, otherwise) if isinstance(bound, Tensor) else value


def _finite(bound: float | Tensor) -> float | Tensor:
    return torch.where(torch.isfinite(bound), bound, 0.0) if isinstance(bound, Tensor) else bound
