"""The junction diode, by the equation that ngspice solves."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Self

import torch
from torch import Tensor

from analog_ep.constants import (
    BOLTZMANN,
    DEFAULT_TEMPERATURE,
    ELEMENTARY_CHARGE,
    SIMULATION_GMIN,
    thermal_voltage,
)
from analog_ep.devices.content import Content
from analog_ep.devices.diode import Diode, shot_density, split_at
from analog_ep.devices.forms import Junction, NetlistForm
from analog_ep.devices.junction_content import junction_content
from analog_ep.devices.library import ClampParameters
from analog_ep.devices.parameters import require, require_finite

_TAIL_START = -3.0
"""ngspice leaves the exponential at this many n V_t and goes on with a cubic tail."""

_DEEPEST = 1 + math.exp(_TAIL_START)
"""More than any reverse current of the junction, which tends to 1 far down the tail, in units of I_S."""

_MAX_NEWTON_STEPS = 200


@dataclass(frozen=True)
class ShockleyDiode(Diode):
    r"""Junction diode, :math:`i = I_S (e^{v/nV_t} - 1) + g_{min} v`, with ngspice's cubic tail in reverse.

    For :math:`v < -3 n V_t` ngspice uses :math:`i = -I_S [1 + (3 n V_t / (e v))^3] + g_{min} v` [1]_ instead of the
    exponential; the two differ by up to 1e-6 V at a node behind 100 MΩ, so it is modelled here. There is no
    breakdown.

    Parameters
    ----------
    saturation_current : float or Tensor (n_elements,)
        :math:`I_S` at the nominal temperature; positive. [A]
    ideality : float or Tensor (n_elements,)
        Emission coefficient n; positive.
    temperature : float or Tensor (n_elements,)
        Junction temperature; positive. A slip to avoid: kelvin here, degrees Celsius in SPICE. [K]
    series_resistance : float or Tensor (n_elements,)
        Ohmic resistance in series with the junction, 0 for none. [Ω]
    gmin : float or Tensor (n_elements,)
        Conductance across the junction, SPICE's GMIN. [S]
    nominal_temperature : float
        Temperature at which `saturation_current` was measured, SPICE's TNOM. [K]
    energy_gap : float
        Activation energy EG of the saturation current. [eV]
    saturation_exponent : float
        Temperature exponent XTI of the saturation current.

    Raises
    ------
    DeviceParameterError
        If a parameter is not finite or not in its range.

    References
    ----------
    .. [1] ngspice 39, ``src/spicelib/devices/dio/dioload.c`` and ``diotemp.c``.
    """

    saturation_current: float | Tensor = 1e-14
    ideality: float | Tensor = 1.0
    temperature: float | Tensor = DEFAULT_TEMPERATURE
    series_resistance: float | Tensor = 0.0
    gmin: float | Tensor = SIMULATION_GMIN
    nominal_temperature: float = DEFAULT_TEMPERATURE
    energy_gap: float = 1.11
    saturation_exponent: float = 3.0

    def __post_init__(self):
        require_finite("ShockleyDiode", **{name: getattr(self, name) for name in self.__dataclass_fields__})
        for name in ("saturation_current", "ideality", "temperature", "nominal_temperature"):
            value = getattr(self, name)
            require(torch.as_tensor(value) > 0, f"ShockleyDiode: {name} must be positive", value)
        for name in ("series_resistance", "gmin"):
            value = getattr(self, name)
            require(torch.as_tensor(value) >= 0, f"ShockleyDiode: {name} must not be negative", value)

    @cached_property
    def emission_voltage(self) -> float | Tensor:
        """N k_B T / q. [V]"""
        return self.ideality * thermal_voltage(self.temperature)  # pyright: ignore[reportArgumentType]

    @cached_property
    def effective_saturation_current(self) -> float | Tensor:
        """Saturation current at `temperature` (ngspice ``diotemp.c``). [A]"""
        if isinstance(self.temperature, float) and self.temperature == self.nominal_temperature:
            return self.saturation_current
        ratio = torch.as_tensor(self.temperature, dtype=torch.float64) / self.nominal_temperature
        ideality = torch.as_tensor(self.ideality, dtype=torch.float64)
        exponent = (ratio - 1) * self.energy_gap / (ideality * thermal_voltage(self.temperature))  # pyright: ignore[reportArgumentType]
        factor = torch.exp(exponent) * ratio ** (self.saturation_exponent / ideality)
        if factor.ndim == 0:
            return self.saturation_current * float(factor)
        like = next(v for v in (self.temperature, self.ideality) if isinstance(v, Tensor))
        return self.saturation_current * factor.to(like)

    def at_corner(self, kelvin: float, saturation_scale: float) -> Self:
        like = torch.as_tensor(self.saturation_current, dtype=torch.float64)
        return replace(self, temperature=torch.full_like(like, kelvin), saturation_current=like * saturation_scale)

    @property
    def own_temperature(self) -> float | Tensor:
        return self.temperature

    def at_temperature(self, kelvin: float) -> Self:
        return replace(self, temperature=kelvin)

    def behind_resistance(self) -> tuple[float | Tensor, Self] | None:
        if not self.has_series_resistance:
            return None
        return self.series_resistance, replace(self, series_resistance=0.0)

    def condition(self) -> float | Tensor:
        # The saturation current follows T by an exponential. Its exponent (T/T_ref − 1) EG/(n V_t) has some three
        # roundings of its own and carries that of T/T_ref; so does the power of T/T_ref. At T_ref none are made.
        temperature, ideality, emission = (
            torch.as_tensor(value, dtype=torch.float64)
            for value in (self.temperature, self.ideality, self.emission_voltage)
        )
        ratio = temperature / self.nominal_temperature
        power = (self.saturation_exponent / ideality).abs()
        gap = abs(self.energy_gap) / emission
        exponential = 0.5 * (ratio - 1).abs() * gap + 0.15 * ratio.abs() * gap
        condition = exponential + 0.25 * power * (1 + ratio.log().abs())
        return 1 + torch.where(temperature == self.nominal_temperature, 0.0, condition)

    def steepness(self) -> tuple[float | Tensor, float | Tensor]:
        emission, saturation = self.emission_voltage, self.effective_saturation_current
        return emission, saturation / emission + self.gmin

    @property
    def growth_voltage(self) -> float | Tensor:
        """N k_B T / q of a bare junction; behind a series resistance the slope is bounded. [V]"""
        bounded = torch.as_tensor(self.series_resistance, dtype=torch.float64) > 0
        return torch.where(bounded, math.inf, torch.as_tensor(self.emission_voltage, dtype=torch.float64))

    @cached_property
    def has_series_resistance(self) -> bool:
        """Whether any element has a series resistance."""
        return bool((torch.as_tensor(self.series_resistance) > 0).any())

    def current(self, voltage: Tensor) -> Tensor:
        return self._junction_current(self.junction_voltage(voltage))

    def conductance(self, voltage: Tensor) -> Tensor:
        slope = self._junction_conductance(self.junction_voltage(voltage))
        return slope / (1 + self.series_resistance * slope) if self.has_series_resistance else slope

    def current_and_conductance(self, voltage: Tensor) -> tuple[Tensor, Tensor]:
        current, slope = self._junction(self.junction_voltage(voltage))
        return current, slope / (1 + self.series_resistance * slope) if self.has_series_resistance else slope

    def cocontent(self, voltage: Tensor) -> Tensor:
        junction = self.junction_voltage(voltage)
        content = self._junction_cocontent(junction)
        if not self.has_series_resistance:
            return content
        return content + 0.5 * self.series_resistance * self._junction_current(junction) ** 2

    def current_difference(self, voltage: Tensor, change: Tensor) -> Tensor:
        if not self.has_series_resistance:
            return self._junction_difference(voltage, change)
        junction = self.junction_voltage(voltage)
        return self._junction_difference(junction, self._junction_change(junction, change))

    def noise_density(self, voltage: Tensor, temperature: float) -> Tensor:
        junction = self.junction_voltage(voltage)
        current, slope = self._junction(junction)
        thermal = thermal_voltage(self.temperature)  # pyright: ignore[reportArgumentType]
        return self._seen_outside(shot_density(junction, current, slope, thermal), slope)

    def noise_in_spice(self, voltage: Tensor) -> Tensor:
        current, slope = self._junction(self.junction_voltage(voltage))
        return self._seen_outside(ELEMENTARY_CHARGE * current.abs(), slope)

    def netlist_form(self) -> NetlistForm:
        return Junction(
            self._card(), self.temperature, self.gmin, lambda kelvin: self._at_one_temperature(kelvin)._card()
        )

    def _card(self) -> dict[str, float | Tensor]:
        """Parameters in SPICE's words."""
        names = "saturation_current ideality series_resistance energy_gap saturation_exponent nominal_temperature"
        return {
            word: getattr(self, name)
            for word, name in zip(["IS", "N", "RS", "EG", "XTI", "TNOM"], names.split(), strict=True)
        }

    def _at_one_temperature(self, kelvin: float) -> Self:
        """The junctions that at `kelvin` have the characteristics of these at their own temperatures.

        Those that are at `kelvin` keep their parameters, and so follow the simulation's temperature.
        """
        own = torch.as_tensor(self.temperature, dtype=torch.float64)
        changed = {
            "saturation_current": self.effective_saturation_current,
            "ideality": self.ideality * (own / kelvin),
            "nominal_temperature": torch.tensor(kelvin, dtype=torch.float64),
        }
        kept = {name: torch.where(own == kelvin, getattr(self, name), value) for name, value in changed.items()}
        return replace(self, temperature=kelvin, **kept)

    def content(self, kelvin: float) -> Content | str:
        if self.has_series_resistance:
            return "has its series resistance inside the model"
        gmin = float(torch.as_tensor(self.gmin, dtype=torch.float64).reshape(-1)[:1].sum())
        effective = (self.effective_saturation_current, self.emission_voltage)
        return junction_content(self._card(), self.temperature, effective, gmin, kelvin)

    def clamp_parameters(self, kelvin: float) -> ClampParameters | None:
        # The library's models have SPICE's defaults for the others, and follow the simulation's temperature.
        law = ("energy_gap", "saturation_exponent", "nominal_temperature")
        usual = all((torch.as_tensor(getattr(self, name)) == getattr(_DEFAULT, name)).all() for name in law)
        own = bool((torch.as_tensor(self.temperature, dtype=torch.float64) != kelvin).any())
        if self.has_series_resistance or own or not usual:
            return None
        columns = (torch.as_tensor(v, dtype=torch.float64) for v in (self.saturation_current, self.ideality))
        return ClampParameters(
            "", ("is", "n"), torch.stack(torch.broadcast_tensors(*columns), -1).reshape(-1, 2).numpy()
        )

    def _seen_outside(self, density: Tensor, slope: Tensor) -> Tensor:
        """Noise of the junction, and that of the series resistance, as one current between the terminals. [A²/Hz]"""
        # In series add the voltages, S/g² and 2 k_B T R; the whole resistance 1/g + R turns them into a current.
        resistance = self.series_resistance
        own = 2 * BOLTZMANN * self.temperature * resistance
        return (density + own * slope**2) / (1 + resistance * slope) ** 2

    def in_parallel(self, count: float) -> Self:
        return replace(
            self,
            saturation_current=count * self.saturation_current,
            gmin=count * self.gmin,
            series_resistance=self.series_resistance / count,
        )

    def voltage_estimate(self, current: Tensor) -> Tensor:
        logarithm = torch.log1p(current / self.effective_saturation_current)
        return self.emission_voltage * logarithm + self.series_resistance * current

    def solve_loaded(self, total: Tensor, drive: Tensor) -> Tensor:
        if not self.has_series_resistance:
            return self._solve_junction(total, drive)
        # With j the junction's voltage, v = j + R i(j): the junction sees the load behind R.
        share = 1 + total * self.series_resistance
        junction = self._solve_junction(total / share, drive / share)
        return junction + self.series_resistance * self._junction_current(junction)

    def solve_loaded_change(self, total: Tensor, voltage: Tensor, drive: Tensor) -> Tensor:
        share = 1 + total * self.series_resistance
        start = self.junction_voltage(voltage)
        change = self._solve_junction_change(total / share, start, drive / share)
        return change + self.series_resistance * self._junction_difference(start, change)

    def _solve_junction(self, total: Tensor, drive: Tensor) -> Tensor:
        load = (total + self.gmin) * self.emission_voltage
        return self.emission_voltage * _solve_exponential(drive / load, self.effective_saturation_current / load)

    def _solve_junction_change(self, total: Tensor, voltage: Tensor, drive: Tensor) -> Tensor:
        # Newton on f(d) = G d + i(v + d) − i(v) − D = 0, G the total and D the drive. f is increasing and convex, so
        # that Newton falls monotonically to the root from any d with f(d) ≥ 0: what is wanted is a good bound from
        # above. With i_j the current without g_min:
        # - the tangent: f(d) ≥ (G + g) d − D by convexity, so d ≤ D/(G + g);
        # - in reverse i_j > −(1 + e⁻³) I_S: (G + g_min) d ≤ D + i_j(v) + (1 + e⁻³) I_S;
        # - for D > 0 the junction takes at most all of D: i_j(v + d) − i_j(v) ≤ D, that is
        #   d ≤ n V_t ln(1 + D/(I_S e^{v/nV_t})); from the tail, where e^{v/nV_t} is not i_j + I_S, the same by way of
        #   the voltage n V_t ln(1 + (i_j(v) + D)/I_S) at which i_j(v) + D flows, or 0 V where that is negative.
        emission, saturation = self.emission_voltage, self.effective_saturation_current
        current, slope = self._junction(voltage)
        current = current - self.gmin * voltage
        start = torch.minimum(drive / (total + slope), (drive + current + _DEEPEST * saturation) / (total + self.gmin))
        forward = torch.clamp(drive, min=0)
        exponential = saturation * torch.exp(torch.clamp(voltage / emission, min=_TAIL_START))
        taken = emission * torch.log1p(forward / exponential)
        from_tail = emission * torch.log1p(torch.clamp(current + forward, min=0) / saturation) - voltage
        taken = torch.where(voltage >= _TAIL_START * emission, taken, from_tail)
        return _descend(
            torch.where(drive > 0, torch.minimum(start, taken), start),
            drive,
            lambda d: (
                total * d + self._junction_difference(voltage, d) - drive,
                total + self._junction_conductance(voltage + d),
            ),
            emission,
        )

    def junction_voltage(self, voltage: Tensor) -> Tensor:
        """Voltage across the junction itself, behind the series resistance. [V]"""
        if not self.has_series_resistance:
            return voltage
        return self._junction_change(torch.zeros_like(voltage), voltage)

    def _junction_change(self, junction: Tensor, change: Tensor) -> Tensor:
        """Solve j + R [i(junction + j) − i(junction)] = change for j: the junction loaded by 1/R."""
        resistance = torch.as_tensor(self.series_resistance, dtype=change.dtype, device=change.device)
        present = resistance > 0
        conductance = 1 / torch.where(present, resistance, 1.0)
        return torch.where(present, self._solve_junction_change(conductance, junction, conductance * change), change)

    def _junction_current(self, voltage: Tensor) -> Tensor:
        return self._junction(voltage)[0]

    def _junction_conductance(self, voltage: Tensor) -> Tensor:
        return self._junction(voltage)[1]

    def _junction(self, voltage: Tensor) -> tuple[Tensor, Tensor]:
        """Current and slope of the junction; they share the exponential and the tail."""
        emission, saturation = self.emission_voltage, self.effective_saturation_current
        current, slope = _characteristic(voltage / emission)
        return saturation * current + self.gmin * voltage, (saturation / emission) * slope + self.gmin

    def _junction_cocontent(self, voltage: Tensor) -> Tensor:
        emission, saturation = self.emission_voltage, self.effective_saturation_current
        boundary = _TAIL_START * emission
        bounded = torch.clamp(voltage / emission, min=_TAIL_START)
        forward = emission * (torch.expm1(bounded) - bounded)
        tail_voltage = _clamp_max(voltage, boundary)
        cube = (3 * emission / math.e) ** 3
        tail = -(tail_voltage - boundary) + 0.5 * cube * (1 / tail_voltage**2 - 1 / boundary**2)
        at_boundary = emission * (math.expm1(_TAIL_START) - _TAIL_START)
        content = torch.where(voltage >= boundary, forward, at_boundary + tail)
        return saturation * content + 0.5 * self.gmin * voltage**2

    def _junction_difference(self, voltage: Tensor, change: Tensor) -> Tensor:
        emission, saturation = self.emission_voltage, self.effective_saturation_current
        boundary = _TAIL_START * emission
        below, above = split_at(voltage - boundary, change)
        start = torch.clamp(voltage / emission, min=_TAIL_START)
        forward = torch.exp(start) * torch.expm1(above / emission)
        begin = _clamp_max(voltage, boundary)
        end = _clamp_max(begin + below, boundary)
        # 1/b³ − 1/e³ without cancellation, for e = b + below.
        cubes = (3 * emission / math.e) ** 3
        tail = cubes * below * (begin**2 + begin * end + end**2) / (begin * end) ** 3
        return saturation * (forward + tail) + self.gmin * change


_DEFAULT = ShockleyDiode()


def _characteristic(u: Tensor) -> tuple[Tensor, Tensor]:
    """The current i/I_S without g_min at v = u n V_t, and its slope by u."""
    exponential, forward = u >= _TAIL_START, torch.expm1(torch.clamp(u, min=_TAIL_START))
    q = torch.clamp(u, max=_TAIL_START).reciprocal() * (_TAIL_START / math.e)
    cube = q * q * q
    return torch.where(exponential, forward, cube - 1), torch.where(exponential, forward + 1, math.e * (cube * q))


def _solve_exponential(open_circuit: Tensor, share: Tensor) -> Tensor:
    """The u with u + share · i(u) = open_circuit, i by `_characteristic`: a junction with a resistor across it.

    Without the tail, w = share · e^u is the Wright omega function of open_circuit + share + log(share). Newton goes on
    from there: on an increasing, convex function it ends from any start.
    """
    logarithm, most = share.log(), open_circuit + share
    # Where w is no more than its least value only the reverse current flows.
    u = torch.minimum(_wright_omega(most + logarithm).log() - logarithm, most)
    size = open_circuit.abs()
    for _ in range(_MAX_NEWTON_STEPS):
        current, slope = _characteristic(u)
        slope = torch.addcmul(torch.ones_like(share), share, slope)
        step = torch.addcmul(u - open_circuit, share, current) / slope
        settled = _settled(step, 1.0, u.abs() + size / slope)
        u = u - step
        if settled:
            break
    return u


def _wright_omega(z: Tensor) -> Tensor:
    """The w > 0 with w + log w = z, to 1e-4, by its closed estimate and a Newton step on log w [1]_.

    From z = −80 downwards w, which is e^z, is that at −80.

    References
    ----------
    .. [1] R. Iacono and J. P. Boyd, "New approximations to the principal real-valued branch of the Lambert W
       function," Adv. Comput. Math. 43, 1403–1436, 2017, doi:10.1007/s10444-017-9530-3, eqs. (9) and (20).
    """
    z = torch.clamp(z, min=-80.0)
    soft = torch.nn.functional.softplus(z)
    w = soft - soft * torch.log1p(soft) / (2 + soft)
    fraction = w / (1 + w)
    return torch.addcmul(fraction, fraction, z - w.log())


def _descend(
    start: Tensor,
    drive: Tensor,
    equation: Callable[[Tensor], tuple[Tensor, Tensor]],
    emission: float | Tensor,
) -> Tensor:
    """Newton on a junction's equation, increasing and convex, that gives value and slope."""
    x = start
    for _ in range(_MAX_NEWTON_STEPS):
        excess, slope = equation(x)
        step = excess / slope
        settled = _settled(step, emission, x.abs() + drive.abs() / slope)
        x = x - step
        if settled:
            break
    return x


def _settled(step: Tensor, emission: float | Tensor, size: Tensor) -> bool:
    """Whether a Newton step on a junction's equation is the last one that is needed.

    As i″/2i′ < 1/(n V_t), a small step leaves less than its square over n V_t. Rounding of the terms, which are no
    larger than the drive, and of the voltage in the exponential leaves a few units in the last place of `size`.
    """
    left = step.abs()
    return bool((left * torch.clamp(left / emission, max=1) <= 4 * torch.finfo(step.dtype).eps * size).all())


def _clamp_max(voltage: Tensor, bound: float | Tensor) -> Tensor:
    return torch.clamp(voltage, max=bound)  # pyright: ignore[reportArgumentType, reportCallIssue]
