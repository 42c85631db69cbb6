"""The interface of a two-terminal nonlinear resistor with a non-decreasing characteristic."""

from __future__ import annotations

import dataclasses
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Protocol, Self

import torch
from torch import Tensor

from analog_ep.constants import ELEMENTARY_CHARGE
from analog_ep.errors import DeviceParameterError

Parameter = float | Tensor
"""A device parameter: one value for all elements, or a tensor with one value per element."""


_MAX_NEWTON_STEPS = 100


@dataclasses.dataclass(frozen=True)
class Diode(ABC):
    """A two-terminal resistor whose current i(v) does not decrease with the voltage v from anode to cathode.

    Subclasses are frozen dataclasses; each numeric field is a float, or a tensor `(n_elements,)` with one value per
    element. All methods are elementwise on tensors `(*batch, n_elements)` and follow their dtype and device.
    """

    @abstractmethod
    def current(self, voltage: Tensor) -> Tensor:
        """Current i(v) from anode to cathode. [A]"""

    @abstractmethod
    def conductance(self, voltage: Tensor) -> Tensor:
        """Slope di/dv; at a kink the slope to the right. [S]"""

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

    def expressions(self, voltages: Sequence[str]) -> Sequence[str] | None:
        """Current of each element as an expression of the text of its voltage: see `CurrentLaw.expressions`."""
        return None

    def junction_parameters(self) -> dict[str, Parameter] | None:
        """Parameters of SPICE's junction model that stand for the device, in SPICE's words; None where none do.

        Beside them the model has TNOM, the nominal temperature, and its instance the temperature: a junction has the
        fields `temperature`, `nominal_temperature` and `gmin`. Those that have no effect are NaN.
        """
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


class Characteristic(Protocol):
    """What has a non-decreasing current: one diode, or all the diodes of a node."""

    def conductance(self, voltage: Tensor) -> Tensor:
        """Slope of the current. [S]"""
        ...

    def current_difference(self, voltage: Tensor, change: Tensor) -> Tensor:
        """Change of the current, at full relative precision. [A]"""
        ...


def newton_change(
    element: Characteristic, total: Tensor, voltage: Tensor, drive: Tensor, knee: Callable[[], Tensor]
) -> Tensor:
    """Solve total·d + Δi(voltage, d) = drive for d, from the better of the linearised and the `knee` estimate."""

    def imbalance(d: Tensor) -> Tensor:
        return total * d + element.current_difference(voltage, d) - drive

    # Small changes begin at the linearised one, which is exact in the limit; large ones at the knee estimate, since
    # beyond a knee the linearised change overshoots exponentially.
    linear, estimate = drive / (total + element.conductance(voltage)), knee()
    start = torch.where(imbalance(linear).abs() <= imbalance(estimate).abs(), linear, estimate)
    return bracketed_newton(start, imbalance, lambda d: total + element.conductance(voltage + d), total)


def bracketed_newton(
    start: Tensor, function: Callable[[Tensor], Tensor], slope: Callable[[Tensor], Tensor], scale: Tensor
) -> Tensor:
    """Root of an increasing function, elementwise: Newton, with bisection wherever Newton leaves the bracket.

    `slope` is at least `scale` everywhere, so the root lies within |value|/scale, which bounds the side not yet seen.
    """
    x = start
    low, high = torch.full_like(x, -torch.inf), torch.full_like(x, torch.inf)
    tolerance = 2 * torch.finfo(x.dtype).eps
    for _ in range(_MAX_NEWTON_STEPS):
        value = function(x)
        reach = value.abs() / scale
        low = torch.maximum(low, torch.where(value < 0, x, torch.where(value > 0, x - reach, low)))
        high = torch.minimum(high, torch.where(value > 0, x, torch.where(value < 0, x + reach, high)))
        proposal = x - value / slope(x)
        middle = 0.5 * (low + high)
        usable = (proposal >= low) & (proposal <= high)
        proposal = torch.where(usable, proposal, torch.where(torch.isfinite(middle), middle, x))
        settled = ((proposal - x).abs() <= tolerance * proposal.abs()) | (value == 0)
        x = torch.where(value == 0, x, proposal)
        if bool(settled.all()):
            break
    return x


def require(condition: bool | Tensor, message: str, found: object = None) -> None:
    """Raise `DeviceParameterError` unless `condition` holds for every element; `found` ends the message."""
    # Texts of tensors are not made ahead of need: they would take most of the time of building a circuit.
    if not bool(torch.as_tensor(condition).all()):
        raise DeviceParameterError(message if found is None else f"{message}, found {found}")


def require_finite(device: str, **parameters: Parameter) -> None:
    """Raise `DeviceParameterError` unless every parameter is finite, naming the first that is not."""
    for name, value in parameters.items():
        require(torch.isfinite(torch.as_tensor(value)), f"{device}: {name} must be finite", value)
