"""The piecewise-linear diode: a measured characteristic, or an ideal clamp that SPICE can solve."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Self

import torch
from torch import Tensor

from analog_ep.constants import thermal_voltage
from analog_ep.devices.content import Content
from analog_ep.devices.diode import Diode, shot_density, split_at
from analog_ep.devices.forms import NetlistForm, PiecewiseLinear
from analog_ep.devices.library import ClampParameters
from analog_ep.devices.parameters import require, require_finite


@dataclass(frozen=True)
class PiecewiseLinearDiode(Diode):
    r"""Continuous, piecewise-linear, non-decreasing characteristic through the origin.

    .. math:: i(v) = g_0 v + \sum_k \Delta g_k [\max(v - t_k, 0) - \max(-t_k, 0)]

    Parameters
    ----------
    thresholds : sequence of float
        Voltages :math:`t_k` at which the slope changes, increasing. [V]
    increments : sequence of float
        Change of slope :math:`\Delta g_k` at each threshold; every slope that results must not be negative. [S]
    leakage : float or Tensor (n_elements,)
        Slope :math:`g_0` below the first threshold; not negative. [S]
    offset : float or Tensor (n_elements,)
        Shift added to every threshold, for element-to-element spread. [V]

    Raises
    ------
    DeviceParameterError
        If thresholds do not increase, a slope is negative, or a value is not finite.
    """

    thresholds: tuple[float, ...]
    increments: tuple[float, ...]
    leakage: float | Tensor = 0.0
    offset: float | Tensor = 0.0

    def __post_init__(self):
        object.__setattr__(self, "thresholds", tuple(float(t) for t in self.thresholds))
        object.__setattr__(self, "increments", tuple(float(g) for g in self.increments))
        name = "PiecewiseLinearDiode"
        count, slopes = len(self.thresholds), torch.tensor(self.increments, dtype=torch.float64)
        require(count > 0, f"{name}: at least one threshold is needed, found none")
        require(
            count == len(self.increments),
            f"{name}: thresholds and increments must have one length, found {count} and {len(self.increments)}",
        )
        thresholds = torch.tensor(self.thresholds, dtype=torch.float64)
        require_finite(name, thresholds=thresholds, increments=slopes, leakage=self.leakage, offset=self.offset)
        require(thresholds.diff() > 0, f"{name}: thresholds must increase, found {self.thresholds}")
        lowest = torch.as_tensor(self.leakage, dtype=torch.float64)
        require(lowest >= 0, f"{name}: leakage must not be negative, found {self.leakage}")
        # Rounding of a sum of increments that ends at a zero slope is not a negative slope.
        running = lowest[..., None] + slopes.cumsum(0)
        require(
            running >= -1e-12 * slopes.abs().sum(),
            f"{name}: every slope must be at least 0, found increments {self.increments} on leakage {self.leakage}",
        )

    @classmethod
    def from_points(cls, voltages: Sequence[float], currents: Sequence[float]) -> Self:
        """The characteristic through measured points, continued beyond them with the outer slopes.

        Parameters
        ----------
        voltages : sequence of float
            Increasing, and with 0 among them or between them. [V]
        currents : sequence of float
            Non-decreasing. The whole curve is shifted so that i(0) = 0. [A]
        """
        v, i = (torch.as_tensor(values, dtype=torch.float64) for values in (voltages, currents))
        require(len(v) == len(i) and len(v) >= 3, f"from_points needs at least 3 points, found {len(v)} and {len(i)}")
        require(v.diff() > 0, f"from_points: voltages must increase, found {list(voltages)}")
        require(i.diff() >= 0, f"from_points: currents must not decrease, found {list(currents)}")
        require(
            v[0] <= 0 <= v[-1], f"from_points: 0 must lie within the voltages, found {float(v[0])} to {float(v[-1])}"
        )
        slopes = i.diff() / v.diff()
        return cls(tuple(v[1:-1].tolist()), tuple(slopes.diff().tolist()), leakage=float(slopes[0]))

    def _offsets(self, voltage: Tensor):
        """Pairs of (v − t_k, Δg_k, −t_k)."""
        for threshold, increment in zip(self.thresholds, self.increments, strict=True):
            boundary = threshold + self.offset
            yield voltage - boundary, increment, torch.as_tensor(-boundary, dtype=voltage.dtype, device=voltage.device)

    def current(self, voltage: Tensor) -> Tensor:
        total = self.leakage * voltage
        for excess, increment, origin in self._offsets(voltage):
            total = total + increment * (torch.relu(excess) - torch.relu(origin))
        return total

    def conductance(self, voltage: Tensor) -> Tensor:
        total = self.leakage + torch.zeros_like(voltage)
        for excess, increment, _ in self._offsets(voltage):
            total = total + increment * (excess >= 0).to(voltage)
        return total

    def cocontent(self, voltage: Tensor) -> Tensor:
        total = 0.5 * self.leakage * voltage**2
        for excess, increment, origin in self._offsets(voltage):
            bend = 0.5 * (torch.relu(excess) ** 2 - torch.relu(origin) ** 2)
            total = total + increment * (bend - torch.relu(origin) * voltage)
        return total

    def current_difference(self, voltage: Tensor, change: Tensor) -> Tensor:
        total = self.leakage * change
        for excess, increment, _ in self._offsets(voltage):
            total = total + increment * split_at(excess, change)[1]
        return total

    def netlist_form(self) -> NetlistForm:
        return PiecewiseLinear(self.leakage, self.thresholds, self.increments, self.offset)

    def content(self, kelvin: float) -> Content:
        current, content = ["leak*u"], ["0.5*leak*u*u"]
        for threshold, increment in zip(self.thresholds, self.increments, strict=True):
            t, slope = f"({threshold!r}+shift)", f"({increment!r})"
            above, origin = f"max(u-{t},0)", f"max(-{t},0)"
            current.append(f"{slope}*({above}-{origin})")
            content.append(f"{slope}*(0.5*({above}*{above}-{origin}*{origin})-{origin}*u)")
        arguments = torch.stack(torch.broadcast_tensors(*self._spread())).reshape(2, -1).T.tolist()
        return Content("bends", ("leak", "shift"), "+".join(current), "+".join(content), arguments)

    def clamp_parameters(self, kelvin: float) -> ClampParameters | None:
        leakage, offset = self._spread()
        forward = offset + self.thresholds[0]
        if len(self.thresholds) > 1 or bool(leakage.any()) or bool((forward < 0).any()):
            return None
        values = torch.stack([torch.full_like(forward, self.increments[0]), forward], -1).reshape(-1, 2)
        return ClampParameters("_linear", ("g_on", "v_forward"), values.numpy())

    def _spread(self) -> tuple[Tensor, Tensor]:
        """Leakage and offset in float64."""
        return torch.as_tensor(self.leakage, dtype=torch.float64), torch.as_tensor(self.offset, dtype=torch.float64)

    def noise_density(self, voltage: Tensor, temperature: float) -> Tensor:
        return shot_density(voltage, self.current(voltage), self.conductance(voltage), thermal_voltage(temperature))

    def in_parallel(self, count: float) -> Self:
        increments = tuple(count * increment for increment in self.increments)
        return replace(self, increments=increments, leakage=count * self.leakage)

    def voltage_estimate(self, current: Tensor) -> Tensor:
        return self.thresholds[0] + self.offset + current / self._steepest

    def steepness(self) -> tuple[float, float | Tensor]:
        return math.inf, self._steepest

    @property
    def _steepest(self) -> float | Tensor:
        return self.leakage + sum(max(increment, 0.0) for increment in self.increments)
