"""The junction diode of a vendor's model card: breakdown, recombination and high injection, as ngspice solves them."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Self

import numpy as np
import torch
from torch import Tensor

from analog_ep.constants import DEFAULT_TEMPERATURE, SIMULATION_GMIN, thermal_voltage
from analog_ep.devices import Diode
from analog_ep.devices.diode import shot_density
from analog_ep.devices.forms import Junction, Model, NetlistForm
from analog_ep.devices.parameters import require, require_finite
from analog_ep.errors import CircuitError

_TAIL_START = -3.0
_GENERATION_FLOOR = 0.005
_KNEE_FROM = 1e-18
"""Current from which ngspice counts high injection. [A]"""

_LARGEST_EXPONENT = 600.0
_NONE = 1e29
_NO_CURRENT = 1e-30

_PANELS = 32
_NODES, _WEIGHTS = (torch.from_numpy(values) for values in np.polynomial.legendre.leggauss(12))
_PLACES = (torch.arange(_PANELS)[:, None] + 0.5 * (1 + _NODES)).reshape(-1)
_AREAS = (0.5 * _WEIGHTS).repeat(_PANELS)
"""Gauss's nodes and weights on panels of width 1, one behind the other."""

_MOST_AT_ONCE = 2**20


@dataclass(frozen=True)
class VendorDiode(Diode):
    r"""A junction with all that ngspice's diode has at rest, its parameters those at the junction's temperature.

    With :math:`V = n V_t` and c the sum of

    .. math:: I_S (e^{v/V} - 1) + I_{SR} (e^{v/n_R V_t} - 1) [(1 - v/V_J)^2 + 0.005]^{M/2} \quad (v ≥ -3V), \qquad
              -I_S [1 + (3V/ev)^3] \quad (-V_B ≤ v < -3V), \qquad -I_S e^{-(V_B + v)/n_B V_t} \quad (v < -V_B)

    the current is :math:`c/(1 + \sqrt{|c|/I_K}) + g_{min} v`, with a knee current for c > 0 from
    −3V on and another one below [1]_.
    ngspice lets the recombination begin at −3V: the current falls there by up to the recombination current.

    Parameters
    ----------
    saturation_current, ideality, gmin
        As of `ShockleyDiode`, at the junction's temperature. A series resistance is a resistor of its own.
    temperature : float or Tensor (n_elements,)
        Of the junction. [K]
    breakdown_voltage : float or Tensor (n_elements,)
        Where the exponential of the breakdown begins, ngspice's matched BV; 1e30 for none. [V]
    breakdown_ideality : float or Tensor (n_elements,)
        NBV.
    recombination_current, recombination_ideality : float or Tensor (n_elements,)
        ISR [A], 0 for none, and NR.
    junction_potential, grading : float or Tensor (n_elements,)
        VJ [V] and M.
    knee_current, reverse_knee_current : float or Tensor (n_elements,)
        IKF and IKR, 1e30 for none. [A]

    Raises
    ------
    DeviceParameterError
        If a parameter is not finite or not in its range.

    References
    ----------
    .. [1] ngspice 39, ``src/spicelib/devices/dio/dioload.c``.
    """

    saturation_current: float | Tensor = 1e-14
    ideality: float | Tensor = 1.0
    gmin: float | Tensor = SIMULATION_GMIN
    temperature: float | Tensor = DEFAULT_TEMPERATURE
    breakdown_voltage: float | Tensor = 1e30
    breakdown_ideality: float | Tensor = 1.0
    recombination_current: float | Tensor = 0.0
    recombination_ideality: float | Tensor = 1.0
    junction_potential: float | Tensor = 1.0
    grading: float | Tensor = 0.5
    knee_current: float | Tensor = 1e30
    reverse_knee_current: float | Tensor = 1e30

    def __post_init__(self):
        values = {name: getattr(self, name) for name in self.__dataclass_fields__}
        require_finite("VendorDiode", **values)
        may_be_zero = ("gmin", "recombination_current", "grading")
        for name, value in values.items():
            at_least = torch.as_tensor(value) >= 0 if name in may_be_zero else torch.as_tensor(value) > 0
            what = "not be negative" if name in may_be_zero else "be positive"
            require(at_least, f"VendorDiode: {name} must {what}", value)

    @property
    def growth_voltage(self) -> float | Tensor:
        least = torch.minimum(
            *(torch.as_tensor(value, dtype=torch.float64) for value in (self.ideality, self.breakdown_ideality))
        )
        return least * self._thermal

    @property
    def _thermal(self) -> float | Tensor:
        return thermal_voltage(self.temperature)  # pyright: ignore[reportArgumentType]

    @property
    def own_temperature(self) -> float | Tensor:
        return self.temperature

    @property
    def fall(self) -> float | Tensor:
        edge = torch.as_tensor(_TAIL_START * self.ideality * self._thermal, dtype=torch.float64)
        return -self._recombined(edge)[0]

    def netlist_form(self) -> NetlistForm:
        return VendorJunction(self._card(), self.temperature, self.gmin, self._card_at)

    def _card_at(self, kelvin: float) -> dict[str, float | Tensor]:
        own = torch.as_tensor(self.temperature, dtype=torch.float64)
        if bool((own != kelvin).any()):
            raise CircuitError(
                f"this simulator has no temperatures of single diodes, found one at {float(own.max())} K in a circuit "
                f"at {kelvin} K; write the netlist for another"
            )
        return self._card()

    def _card(self) -> dict[str, float | Tensor]:
        """Parameters in SPICE's words; NaN for those that an element does not have."""
        breaks, knees, reverse = (
            torch.as_tensor(value, dtype=torch.float64) < _NONE
            for value in (self.breakdown_voltage, self.knee_current, self.reverse_knee_current)
        )
        recombines = torch.as_tensor(self.recombination_current, dtype=torch.float64) > 0
        # With so small a current at the breakdown ngspice takes BV itself for where the exponential begins.
        return {
            "IS": self.saturation_current,
            "N": self.ideality,
            "EG": 1.11,
            "XTI": 3.0,
            "BV": _where(breaks, self.breakdown_voltage),
            "IBV": _where(breaks, _NO_CURRENT),
            "NBV": _where(breaks, self.breakdown_ideality),
            "ISR": _where(recombines, self.recombination_current),
            "NR": _where(recombines, self.recombination_ideality),
            "VJ": _where(recombines, self.junction_potential),
            "M": _where(recombines, self.grading),
            "IKF": _where(knees, self.knee_current),
            "IKR": _where(reverse, self.reverse_knee_current),
            "TNOM": self.temperature,
        }

    def current(self, voltage: Tensor) -> Tensor:
        return self._junction(voltage)[0]

    def conductance(self, voltage: Tensor) -> Tensor:
        return self._junction(voltage)[1]

    def current_and_conductance(self, voltage: Tensor) -> tuple[Tensor, Tensor]:
        return self._junction(voltage)

    def current_difference(self, voltage: Tensor, change: Tensor) -> Tensor:
        return self._difference(voltage, change)

    def in_parallel(self, count: float) -> Self:
        scaled = ["saturation_current", "gmin", "recombination_current", "knee_current", "reverse_knee_current"]
        return replace(
            self,
            **{name: count * getattr(self, name) for name in scaled},
        )

    def voltage_estimate(self, current: Tensor) -> Tensor:
        ideal = current * (1 + torch.sqrt(current / self.knee_current))
        return self.ideality * self._thermal * torch.log1p(ideal / self.saturation_current)

    def noise_density(self, voltage: Tensor, temperature: float) -> Tensor:
        current, slope = self._junction(voltage)
        return shot_density(voltage, current, slope, self._thermal)

    def _junction(self, v: Tensor) -> tuple[Tensor, Tensor]:
        """Current and slope of the junction."""
        current, slope = self._injected(v)
        knee = self._knee(v)
        root = torch.sqrt(current.abs() / knee)
        counts = self._is_limited(v, current)
        # d/dc of c/(1 + √(c/k)) is (1 + √(c/k)/2)/(1 + √(c/k))².
        limited = torch.where(counts, current / (1 + root), current)
        rise = torch.where(counts, (1 + root / 2) / (1 + root) ** 2, 1.0)
        return limited + self.gmin * v, rise * slope + self.gmin

    def _is_limited(self, v: Tensor, current: Tensor) -> Tensor:
        """Where a knee counts: forwards from −3V for positive currents alone, below it for negative ones."""
        forward = v >= _TAIL_START * self.ideality * self._thermal
        return torch.where(forward, current, -current) > _KNEE_FROM

    def _knee(self, v: Tensor) -> Tensor:
        forward = v >= _TAIL_START * self.ideality * self._thermal
        return torch.where(forward, _like(self.knee_current, v), _like(self.reverse_knee_current, v))

    def _injected(self, v: Tensor) -> tuple[Tensor, Tensor]:
        """The current c before the knees, and its slope."""
        emission, saturation = self.ideality * self._thermal, self.saturation_current
        forward = v >= _TAIL_START * emission
        u = torch.where(forward, v / emission, _TAIL_START)
        exponential = torch.exp(u)
        recombined, its_slope = self._recombined(torch.where(forward, v, 0.0))
        below = torch.where(forward, _TAIL_START * emission, v)
        cube = (3 * emission / (math.e * below)) ** 3
        broken = below < -_like(self.breakdown_voltage, v)
        avalanche_voltage = self.breakdown_ideality * self._thermal
        beyond = torch.where(broken, -(self.breakdown_voltage + below) / avalanche_voltage, 0.0)
        avalanche = torch.exp(torch.clamp(beyond, max=_LARGEST_EXPONENT))
        reverse = torch.where(broken, -avalanche, -(1 + cube))
        reverse_slope = torch.where(broken, avalanche / avalanche_voltage, 3 * cube / below)
        current = torch.where(forward, saturation * torch.expm1(u) + recombined, saturation * reverse)
        slope = torch.where(forward, saturation * exponential / emission + its_slope, saturation * reverse_slope)
        return current, slope

    def _recombined(self, v: Tensor) -> tuple[Tensor, Tensor]:
        emission = self.recombination_ideality * self._thermal
        t = (1 - v / self.junction_potential) ** 2 + _GENERATION_FLOOR
        factor = self.recombination_current * t ** (self.grading / 2)
        rise = -self.grading * (1 - v / self.junction_potential) / (self.junction_potential * t)
        return factor * torch.expm1(v / emission), factor * (
            torch.exp(v / emission) / emission + rise * torch.expm1(v / emission)
        )

    def _difference(self, v: Tensor, d: Tensor) -> Tensor:
        """i(v + d) − i(v) of the junction without cancellation where both ends lie on the same branch."""
        injected, end = self._injected(v)[0], self._injected(v + d)[0]
        tail = _TAIL_START * self.ideality * self._thermal
        above = (v >= tail) & (v + d >= tail)
        emission, recombination = self.ideality * self._thermal, self.recombination_ideality * self._thermal
        start = torch.where(above, v, 0.0)
        step = torch.where(above, d, 0.0)
        rise = self.saturation_current * torch.exp(start / emission) * torch.expm1(step / emission)
        t = (1 - start / self.junction_potential) ** 2 + _GENERATION_FLOOR
        change = -(step / self.junction_potential) * (
            2 * (1 - start / self.junction_potential) - step / self.junction_potential
        )
        before = self.recombination_current * t ** (self.grading / 2)
        growth = torch.expm1(0.5 * self.grading * torch.log1p(change / t))
        rise = rise + before * (
            (1 + growth) * torch.exp(start / recombination) * torch.expm1(step / recombination)
            + torch.expm1(start / recombination) * growth
        )
        rise = torch.where(above, rise, self._reverse_difference(v, d, injected, end))
        return self._limited_difference(v, v + d, injected, end, rise) + self.gmin * d

    def _reverse_difference(self, v: Tensor, d: Tensor, injected: Tensor, end: Tensor) -> Tensor:
        tail = _TAIL_START * self.ideality * self._thermal
        low = -_like(self.breakdown_voltage, v)
        inside = (v < tail) & (v + d < tail) & (v >= low) & (v + d >= low)
        begin, finish = (torch.where(inside, x, -1.0) for x in (v, v + d))
        cubes = (3 * self.ideality * self._thermal / math.e) ** 3
        step = torch.where(inside, d, 0.0)
        within = (
            self.saturation_current * cubes * step * (begin**2 + begin * finish + finish**2) / (begin * finish) ** 3
        )
        broken = (v < low) & (v + d < low)
        avalanche = self.breakdown_ideality * self._thermal
        beyond = injected * torch.expm1(torch.where(broken, -d / avalanche, 0.0))
        return torch.where(inside, within, torch.where(broken, beyond, end - injected))

    def _limited_difference(self, v: Tensor, w: Tensor, c: Tensor, e: Tensor, rise: Tensor) -> Tensor:
        """The change of c/(1 + √(|c|/k)) where c changes by `rise` to e."""
        knee = self._knee(v)
        plain = ~self._is_limited(v, c) | ~self._is_limited(w, e) | (knee != self._knee(w))
        # Where no knee counts at either end the change is that of c itself.
        free = ~self._is_limited(v, c) & ~self._is_limited(w, e)
        first, second = torch.sqrt(c.abs() / knee), torch.sqrt(e.abs() / knee)
        together = torch.where(plain, 1.0, first + second)
        smooth = rise * (1 + first * second / together) / ((1 + first) * (1 + second))
        at_start, at_end = (
            torch.where(self._is_limited(at, x), x / (1 + torch.sqrt(x.abs() / self._knee(at))), x)
            for x, at in ((c, v), (e, w))
        )
        return torch.where(free, rise, torch.where(plain, at_end - at_start, smooth))

    def cocontent(self, voltage: Tensor) -> Tensor:
        # By Gauss's rule on each of the branches.
        v = voltage
        tail = _like(_TAIL_START * self.ideality * self._thermal, v).expand_as(v)
        low = torch.minimum(-_like(self.breakdown_voltage, v).expand_as(v), tail)
        zero = torch.zeros_like(v)

        def current(x):
            return self._junction(x)[0]

        forward = self._integral(zero, torch.maximum(v, tail), current)
        # Just below the tail's beginning, so that the whole piece lies on its branch; in ln |v| it is smooth.
        begin = torch.nextafter(tail, torch.full_like(tail, -math.inf))
        end = torch.minimum(torch.maximum(v, low), begin)
        reverse = self._integral(torch.log(-begin), torch.log(-end), lambda s: -torch.exp(s) * current(-torch.exp(s)))
        edge = torch.nextafter(low, torch.full_like(low, -math.inf))
        return forward + reverse + self._integral(edge, torch.minimum(v, edge), current)

    @staticmethod
    def _integral(start: Tensor, end: Tensor, function: Callable[[Tensor], Tensor]) -> Tensor:
        width = (end - start) / _PANELS
        total = torch.zeros_like(end)
        together = max(1, _MOST_AT_ONCE // max(end.numel(), 1))
        for places, weights in zip(_PLACES.split(together), _AREAS.split(together), strict=True):
            shape = (-1, *[1] * end.ndim)
            values = function(start + width * places.reshape(shape).to(end))
            total = total + (weights.reshape(shape).to(end) * values).sum(0)
        # Without width there is nothing, whatever the function is there.
        return torch.where(width == 0, 0.0, total * width)


@dataclass(frozen=True, eq=False)
class VendorJunction(Junction):
    """Junctions whose model cards have only the parameters that each element has."""

    def models(self, count: int, kelvin: float | None) -> list[Model]:
        return [(kind, tuple(p for p in card if not math.isnan(p[1]))) for kind, card in super().models(count, kelvin)]


def _where(counts: Tensor, value: float | Tensor) -> Tensor:
    return torch.where(counts, torch.as_tensor(value, dtype=torch.float64), math.nan)


def _like(value: float | Tensor, like: Tensor) -> Tensor:
    """A parameter as a tensor; of itself a number would have the precision of PyTorch's default."""
    return torch.as_tensor(value, dtype=like.dtype, device=like.device)
