"""The interface of a two-terminal nonlinear resistor with a non-decreasing characteristic, and a node's two of them."""

from __future__ import annotations

import dataclasses
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any, Self

import torch
from torch import Tensor

from analog_ep.constants import ELEMENTARY_CHARGE
from analog_ep.devices.clamp import Clamp
from analog_ep.devices.content import Content
from analog_ep.devices.diode_check import require_sound
from analog_ep.devices.forms import Expression, NetlistForm
from analog_ep.devices.library import ClampParameters
from analog_ep.devices.parameters import Parameter, require
from analog_ep.devices.per_element import PerElement
from analog_ep.devices.roots import bracketed_newton, newton_change
from analog_ep.errors import DeviceParameterError


@dataclasses.dataclass(frozen=True)
class Diode(PerElement, ABC):
    """A two-terminal resistor whose current i(v) does not decrease with the voltage v from anode to cathode.

    What a class says is tried when it is first used, see `analog_ep.devices.diode_check.require_sound`.

    Subclasses are frozen dataclasses; each numeric field is a float, or a tensor `(n_elements,)` with one value per
    element. All methods are elementwise on tensors `(*batch, n_elements)` and follow their dtype and device.
    """

    @abstractmethod
    def current(self, voltage: Tensor) -> Tensor:
        """Current i(v) from anode to cathode. [A]"""

    @abstractmethod
    def conductance(self, voltage: Tensor) -> Tensor:
        """Slope di/dv; at a kink the slope to the right. [S]"""

    def current_and_conductance(self, voltage: Tensor) -> tuple[Tensor, Tensor]:
        """Both of them, for laws that find them faster together."""
        return self.current(voltage), self.conductance(voltage)

    @abstractmethod
    def cocontent(self, voltage: Tensor) -> Tensor:
        """Co-content φ(v), the integral of i from 0 to v. [W]"""

    @abstractmethod
    def current_difference(self, voltage: Tensor, change: Tensor) -> Tensor:
        """i(v + d) − i(v) at full relative precision, however small d is. [A]"""

    @abstractmethod
    def voltage_estimate(self, current: Tensor) -> Tensor:
        """A voltage near which the diode carries `current` > 0 [A]: where to start an iteration. [V]"""

    def at_corner(self, kelvin: float, saturation_scale: float) -> Self | None:
        """The device at another temperature [K], its saturation current times a factor; None where it does not tell."""
        return None

    @property
    def own_temperature(self) -> Parameter | None:
        """Temperature that the device has of its own; None where it is its circuit's, or does not matter. [K]"""
        return None

    def at_temperature(self, kelvin: float) -> Self | None:
        """The device at another temperature of its own [K]; None where it has none."""
        return None

    def behind_resistance(self) -> tuple[Parameter, Self] | None:
        """Resistance in series [Ω], 0 for none, and the device without it; None where no element has one."""
        return None

    @property
    def fall(self) -> Parameter:
        """How far the current may fall where it jumps, as a simulator's own law may; 0 where it never falls. [A]"""
        return 0.0

    def condition(self) -> Parameter:
        """Error that float64 makes in the current over that of four roundings, see `CurrentLaw.condition`."""
        return 1.0

    def steepness(self) -> tuple[Parameter, Parameter] | None:
        """Voltage V [V] and slope g [S] with di/dv ≤ |i|/V + g at every voltage; None where it does not tell."""
        return None

    def expressions(self, voltages: Sequence[str]) -> Sequence[str] | None:
        """Current of each element as an expression of the text of its voltage: see `CurrentLaw.expressions`."""
        return None

    def netlist_form(self) -> NetlistForm:
        """How the diodes stand in a netlist, see `analog_ep.devices.forms`; by default by their `expressions`."""
        return Expression(self.expressions)

    def content(self, kelvin: float) -> Content | str:
        """Current and co-content for ngspice's energy, or why there are none: see `CurrentLaw.content`."""
        return "has no expression for its co-content"

    def clamp_parameters(self, kelvin: float) -> ClampParameters | None:
        """What the library's clamps take for these diodes in a circuit at `kelvin`; None where they cannot be."""
        return None

    @property
    def growth_voltage(self) -> Parameter:
        """Rise of the voltage that multiplies the current by e where it grows exponentially; infinite where slopes are
        bounded. [V]
        """
        return math.inf

    def noise_density(self, voltage: Tensor, temperature: float) -> Tensor:
        """Two-sided spectral density of the current's white noise at an operating point. [A²/Hz]

        Parameters
        ----------
        voltage : Tensor (*batch, n_elements)
            Across the diode. [V]
        temperature : float
            Of a device that has none of its own. [K]

        Raises
        ------
        DeviceParameterError
            If the device does not tell its noise.
        """
        raise DeviceParameterError(
            f"{type(self).__name__} must say what noise its current has, found nothing said; give the class a "
            "method noise_density"
        )

    def noise_in_spice(self, voltage: Tensor) -> Tensor:
        """The part of it that ngspice's ``.noise`` knows of: none where the element is an expression. [A²/Hz]"""
        return torch.zeros_like(voltage)

    def solve_loaded(self, total: Tensor, drive: Tensor) -> Tensor:
        """Voltage v at which total·v + i(v) = drive: the diode with a conductance across it. [V]

        Parameters
        ----------
        total : Tensor (n_elements,)
            Conductance across the diode; positive. [S]
        drive : Tensor (*batch, n_elements)
            Current into both. [A]
        """
        start = torch.minimum(drive / total, self.voltage_estimate(torch.clamp(drive, min=0)))
        return bracketed_newton(
            start, lambda v: total * v + self.current(v) - drive, lambda v: total + self.conductance(v), total
        )

    def solve_loaded_change(self, total: Tensor, voltage: Tensor, drive: Tensor) -> Tensor:
        """Change d with total·d + i(v + d) − i(v) = drive, at full relative precision. [V]"""
        return newton_change(
            self,
            total,
            voltage,
            drive,
            knee=lambda: self.solve_loaded(total, total * voltage + self.current(voltage) + drive) - voltage,
        )

    @abstractmethod
    def in_parallel(self, count: float) -> Self:
        """The element that stands for `count` of these side by side: `count` times the current at each voltage."""

    def clamp(self, upper: float | Tensor | None = None, lower: float | Tensor | None = None) -> DiodeClamp:
        """Such diodes from a node up to one bias voltage and down to another, see `DiodeClamp`. [V]"""
        return DiodeClamp(self, upper, lower)

    def of_layer(self, n_nodes: int) -> Clamp:
        """The clamp of a layer that is given this diode alone: alternating, see `Clamp.alternating`."""
        return Clamp.alternating(self, n_nodes)


@dataclasses.dataclass(frozen=True)
class DiodeClamp(Clamp):
    """Of diodes whose current is a function of the voltage: i(v − upper) − i(lower − v) leaves the node.

    Parameters
    ----------
    diode : Diode
        The element used on both sides.
    upper, lower : float, Tensor (n_nodes,) or None
        Bias voltages; None, or ±inf for single nodes, where there is no diode on that side. [V]
    lower_diode : Diode, optional
        The element on the lower side where it differs, as the mismatch of a chip makes it.

    Raises
    ------
    DeviceParameterError
        If neither side has a diode, a bias voltage is not a number, the diode has no current, or contradicts itself.
    """

    diode: Diode
    lower_diode: Diode | None = None

    def __post_init__(self):
        for diode in (self.diode, self.lower_diode or self.diode):
            require(
                isinstance(diode, Diode),
                f"DiodeClamp: the diode must be a Diode, found {type(diode).__name__}; write "
                "diode.clamp(upper, lower), which is a HardClamp for an IdealDiode",
            )
            require_sound(diode)
        super().__post_init__()

    @property
    def has_current(self) -> bool:
        return True

    def for_spice(self, node_conductance: float) -> Self:
        return self

    def in_parallel(self, count: float) -> Self:
        lower = None if self.lower_diode is None else self.lower_diode.in_parallel(count)
        return dataclasses.replace(self, diode=self.diode.in_parallel(count), lower_diode=lower)

    def _moved(self, move: Callable[[Any], Any]) -> Self:
        lower = None if self.lower_diode is None else move(self.lower_diode)
        return dataclasses.replace(super()._moved(move), diode=move(self.diode), lower_diode=lower)

    def current(self, voltage: Tensor) -> Tensor:
        return sum(
            (sign * _present(bound, diode.current(across)) for sign, bound, diode, across in self._sides(voltage)),
            torch.zeros_like(voltage),
        )

    def conductance(self, voltage: Tensor) -> Tensor:
        return sum(
            (_present(bound, diode.conductance(across)) for _, bound, diode, across in self._sides(voltage)),
            torch.zeros_like(voltage),
        )

    def cocontent(self, voltage: Tensor) -> Tensor:
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

    def holds(self, voltage: Tensor, margin: float | Tensor = 0.0) -> Tensor:
        return torch.zeros_like(voltage, dtype=torch.bool)

    def beyond(self, voltage: Tensor) -> Tensor:
        return torch.zeros_like(voltage)

    def current_and_slope(self, voltage: Tensor) -> tuple[Tensor, Tensor]:
        return self.current(voltage), self.conductance(voltage)

    def slope_at(self, voltage: Tensor, total: Tensor, held: float) -> Tensor:
        return self.conductance(voltage)

    def sides(self) -> list[tuple[float, float | Tensor, Diode]]:
        sides = [] if self.upper is None else [(1.0, self.upper, self.diode)]
        return sides if self.lower is None else [*sides, (-1.0, self.lower, self.lower_diode or self.diode)]

    @cached_property
    def _single(self) -> tuple[Tensor, Tensor, Diode] | None:
        """Sign, bias voltage and diode of every node, where each node has exactly one diode and all are alike."""
        if self.lower_diode is not None:
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

    def solve_node(self, total: Tensor, drive: Tensor, resistance: Tensor | None = None) -> Tensor:
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

    def excess(self, voltage: Tensor, drive: Tensor, resistance: Tensor) -> Tensor:
        return torch.zeros_like(voltage)

    def consistent(self, voltage: Tensor, drive: Tensor, resistance: Tensor) -> tuple[Tensor, Tensor]:
        return voltage, drive

    def response_resistance(self, voltage: Tensor, total: Tensor, drive: Tensor, resistance: Tensor) -> Tensor:
        return 1 / (total + self.conductance(voltage))

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


def split_at(offset: Tensor, change: Tensor) -> tuple[Tensor, Tensor]:
    """Split a step into the part below and the part above a boundary.

    `offset` is where the step begins, relative to the boundary. A step that does not cross is returned whole on its
    own side, without rounding, and as an exact zero on the other.
    """
    starts_above, end = offset >= 0, offset + change
    above = torch.where(starts_above, torch.maximum(change, -offset), torch.clamp(end, min=0))
    below = torch.where(starts_above, torch.clamp(end, max=0), torch.minimum(change, -offset))
    return below, above


def shot_density(voltage: Tensor, current: Tensor, slope: Tensor, thermal: float | Tensor) -> Tensor:
    r"""Two-sided density of the noise of charges q that cross a barrier one by one. [A²/Hz]

    .. math:: S = q\, i \coth\frac{v}{2 V_t}

    Forward and reverse crossings are independent Poisson streams :math:`i_+ - i_- = i` whose rates detailed balance
    holds at :math:`i_+/i_- = e^{v/V_t}`, whatever the characteristic [1]_. Of :math:`i = I_S (e^{v/V_t} - 1)` it is
    :math:`q (i + 2 I_S)`; at rest it is Johnson's 2 k_B T g of the slope g, for an emission coefficient n ≠ 1 too; far
    from rest it is Schottky's q |i|.

    Parameters
    ----------
    voltage, current, slope : Tensor (*batch, n_elements)
        Operating point. [V], [A], [S]
    thermal : float or Tensor (n_elements,)
        Thermal voltage V_t. [V]

    References
    ----------
    .. [1] J. L. Wyatt and G. J. Coram, "Nonlinear device noise models: satisfying the thermodynamic requirements,"
       IEEE Trans. Electron Devices 46(1), 184–193, 1999, doi:10.1109/16.737458.
    """
    at_rest = voltage == 0
    half = torch.where(at_rest, 1.0, voltage / (2 * thermal))
    return ELEMENTARY_CHARGE * torch.where(at_rest, 2 * thermal * slope, current / torch.tanh(half))
