"""The junction between a MOSFET's bulk and its source or drain, by the equation that ngspice solves there."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

from analog_ep.constants import DEFAULT_TEMPERATURE, SIMULATION_GMIN, thermal_voltage
from analog_ep.devices.diode import Diode, shot_density, split_at

REVERSED = -3.0
"""ngspice leaves the exponential at this many V_t."""


@dataclass(frozen=True)
class BulkJunction(Diode):
    r"""Junction of a MOSFET, :math:`i = I_S (e^{v/V_t} - 1) + g_{min} v`, and :math:`-I_S + g_{min} v` below −3 V_t.

    So ngspice has it in ``mos1load.c``, other than its diode: no emission coefficient, no cubic tail, and a step of
    :math:`e^{-3} I_S` in the current at −3 V_t.

    Parameters
    ----------
    saturation_current : float or Tensor (n_elements,)
        :math:`I_S` at `temperature`; not negative, 0 for gmin alone. [A]
    temperature : float or Tensor (n_elements,)
        Of the junction. [K]
    gmin : float or Tensor (n_elements,)
        Conductance across it, SPICE's GMIN. [S]
    """

    saturation_current: float | Tensor = 1e-14
    temperature: float | Tensor = DEFAULT_TEMPERATURE
    gmin: float | Tensor = SIMULATION_GMIN

    @property
    def own_temperature(self) -> float | Tensor:
        return self.temperature

    @property
    def growth_voltage(self) -> float | Tensor:
        return self._thermal

    def steepness(self) -> tuple[float | Tensor, float | Tensor]:
        return self._thermal, self.saturation_current / self._thermal + self.gmin

    def current(self, voltage: Tensor) -> Tensor:
        scaled = voltage / self._thermal
        forward = torch.expm1(torch.clamp(scaled, min=REVERSED))
        return self.saturation_current * torch.where(scaled > REVERSED, forward, -1.0) + self.gmin * voltage

    def conductance(self, voltage: Tensor) -> Tensor:
        scaled = voltage / self._thermal
        rise = torch.exp(torch.clamp(scaled, min=REVERSED)) / self._thermal
        return self.saturation_current * torch.where(scaled > REVERSED, rise, 0.0) + self.gmin

    def cocontent(self, voltage: Tensor) -> Tensor:
        scaled = voltage / self._thermal
        above = torch.clamp(scaled, min=REVERSED)
        content = torch.expm1(above) - above - torch.clamp(scaled - REVERSED, max=0)
        return self.saturation_current * self._thermal * content + 0.5 * self.gmin * voltage**2

    def current_difference(self, voltage: Tensor, change: Tensor) -> Tensor:
        boundary = REVERSED * self._thermal
        _, above = split_at(voltage - boundary, change)
        start = torch.exp(torch.clamp(voltage / self._thermal, min=REVERSED))
        step = (voltage + change > boundary).to(voltage) - (voltage > boundary).to(voltage)
        rise = start * torch.expm1(above / self._thermal) + math.exp(REVERSED) * step
        return self.saturation_current * rise + self.gmin * change

    def voltage_estimate(self, current: Tensor) -> Tensor:
        saturation = torch.clamp(torch.as_tensor(self.saturation_current), min=torch.finfo(current.dtype).tiny)
        return self._thermal * torch.log1p(current / saturation)

    def in_parallel(self, count: float) -> Self:
        return type(self)(count * self.saturation_current, self.temperature, count * self.gmin)

    def noise_density(self, voltage: Tensor, temperature: float) -> Tensor:
        return shot_density(voltage, self.current(voltage), self.conductance(voltage), self._thermal)

    @property
    def _thermal(self) -> float | Tensor:
        return thermal_voltage(self.temperature)  # pyright: ignore[reportArgumentType]
