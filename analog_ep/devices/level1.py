"""SPICE's first model of a MOSFET (Shichman and Hodges), by the equations that ngspice solves."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Self

import numpy as np
import torch
from torch import Tensor

from analog_ep.constants import BOLTZMANN, ELEMENTARY_CHARGE, SIMULATION_GMIN, thermal_voltage
from analog_ep.devices.bulk_junction import REVERSED, BulkJunction
from analog_ep.devices.channel_kernels import level1_channels
from analog_ep.devices.forms import ModelInstance
from analog_ep.devices.mosfet import Mosfet

_REFERENCE = 300.15
"""Temperature that ngspice's scaling refers to, REFTEMP. [K]"""

_REFERENCE_GAP = 1.1150877
"""Band gap there. [eV]"""


@dataclass(frozen=True)
class Level1Mosfet(Mosfet):
    r"""SPICE's level 1. With the end of lower voltage as source, w ≥ 0 the voltage across and b that of the bulk,

    .. math:: i = β (1 + λ w)\, r\, (o - r/2), \quad o = \max(v_{GS} - v_{on}, 0), \quad r = \min(w, o), \quad
              v_{on} = V_{bi} + γ \sqrt{φ - b}

    of NMOS, β = KP·M·W/L: nothing below threshold, the linear region for w < o, and saturation beyond. For b > 0 the
    root goes on along its tangent, not below zero [1]_. Temperature moves KP, φ, V_bi and I_S as ngspice has it [2]_.
    From the bulk to drain and source there are junctions, see `BulkJunction`, with the simulation's one gmin across
    them, whatever I_S is.

    Left out are the capacitances and the resistances of drain and source. ngspice's own gmbs is not the derivative of
    its current where the bulk is forward-biased; here it is, so that there `.ac` differs.

    Parameters
    ----------
    body_effect : float or Tensor (n_elements,)
        γ, SPICE's GAMMA; not negative. [√V]
    surface_potential : float or Tensor (n_elements,)
        φ, SPICE's PHI; positive. [V]
    channel_modulation : float or Tensor (n_elements,)
        λ, SPICE's LAMBDA; not negative. [1/V]
    saturation_current : float or Tensor (n_elements,)
        IS of each junction, times the multiplicity; not negative. [A]
    saturation_density : float or Tensor (n_elements,)
        JS; where it and both areas are not zero, JS times the area stands in place of IS. [A/m²]
    drain_area, source_area : float or Tensor (n_elements,)
        AD and AS. [m²]
    gmin : float or Tensor (n_elements,)
        Conductance across each junction, SPICE's GMIN. [S]

    References
    ----------
    .. [1] ngspice 39, ``src/spicelib/devices/mos1/mos1load.c``; H. Shichman and D. A. Hodges, "Modeling and simulation
       of insulated-gate field-effect transistor switching circuits," IEEE J. Solid-State Circuits 3(3), 285–289, 1968,
       doi:10.1109/JSSC.1968.1049902.
    .. [2] ngspice 39, ``mos1temp.c``; noise: ``mos1noi.c``.
    """

    body_effect: float | Tensor = 0.0
    surface_potential: float | Tensor = 0.6
    channel_modulation: float | Tensor = 0.0
    saturation_current: float | Tensor = 1e-14
    saturation_density: float | Tensor = 0.0
    drain_area: float | Tensor = 0.0
    source_area: float | Tensor = 0.0
    gmin: float | Tensor = SIMULATION_GMIN

    def _positive(self) -> tuple[str, ...]:
        return (*super()._positive(), "surface_potential")

    def _not_negative(self) -> tuple[str, ...]:
        areas = ("saturation_density", "drain_area", "source_area")
        return ("body_effect", "channel_modulation", "saturation_current", *areas, "gmin")

    def _current(self, gate: Tensor, drain: Tensor, bulk: Tensor) -> Tensor:
        here = self._biased(gate, drain, bulk)
        size = self._scaled.factor * (1 + self.channel_modulation * here.across) * here.area
        return torch.where(drain >= 0, size, -size)

    def _slopes(self, gate: Tensor, drain: Tensor, bulk: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        here, factor = self._biased(gate, drain, bulk), self._scaled.factor
        boosted = factor * (1 + self.channel_modulation * here.across)
        by_gate = boosted * here.reach
        by_drain = boosted * (here.over - here.reach) + self.channel_modulation * factor * here.area
        by_bulk = by_gate * here.rise
        # With ends exchanged, i = −f(v_GS − v, −v, v_BS − v) for v = v_DS.
        forward = drain >= 0
        return (
            torch.where(forward, by_gate, -by_gate),
            torch.where(forward, by_drain, by_gate + by_drain + by_bulk),
            torch.where(forward, by_bulk, -by_bulk),
        )

    def _biased(self, gate: Tensor, drain: Tensor, bulk: Tensor) -> _Bias:
        """What the current is made of, as seen from the end of lower voltage."""
        at = self._scaled
        shift = torch.clamp(drain, max=0)
        gate, across = gate - shift, drain.abs()
        threshold, rise = self._threshold(bulk - shift) if self._has_body_effect else (at.built_in, 0.0)
        over = torch.clamp(gate - threshold, min=0)
        reach = torch.minimum(across, over)
        return _Bias(across, over, reach, reach * (over - reach / 2), rise)

    @cached_property
    def _has_body_effect(self) -> bool:
        return bool((torch.as_tensor(self.body_effect) != 0).any())

    def _threshold(self, bulk: Tensor) -> tuple[Tensor, Tensor]:
        """v_on [V] and −dv_on/db, b the bulk's voltage against the end of lower voltage."""
        at = self._scaled
        steepest = at.potential.sqrt()
        root = torch.where(
            bulk <= 0,
            torch.sqrt(at.potential - torch.clamp(bulk, max=0)),
            torch.clamp(steepest - bulk / (2 * steepest), min=0),
        )
        # The tangent's own above 0 V, where ngspice divides by the root itself.
        divisor = 2 * torch.where(bulk <= 0, root, steepest)
        rise = torch.where(root > 0, self.body_effect / divisor, 0.0)
        return at.built_in + self.body_effect * root, rise

    def noise_density(self, gate: Tensor, drain: Tensor, bulk: Tensor) -> Tensor:
        """(4/3) k_B T |gm|, half of ngspice's one-sided 8/3 k_B T |gm|: that of saturation, and none at 0 V across."""
        return 4 / 3 * BOLTZMANN * self.temperature * self.slopes(gate, drain, bulk)[0].abs()

    def noise_in_spice(self, gate: Tensor, drain: Tensor, bulk: Tensor) -> Tensor:
        return self.noise_density(gate, drain, bulk)

    def bulk_junctions(self) -> tuple[BulkJunction, BulkJunction]:
        drain, source = (self._scaled.saturation(area) for area in (self.drain_area, self.source_area))
        return BulkJunction(drain, self.temperature, self.gmin), BulkJunction(source, self.temperature, self.gmin)

    def at_corner(self, kelvin: float, conductance_scale: float, saturation_scale: float) -> Self:
        moved = super().at_corner(kelvin, conductance_scale, saturation_scale)
        return dataclasses.replace(
            moved,
            saturation_current=self.saturation_current * saturation_scale,
            saturation_density=self.saturation_density * saturation_scale,
        )

    def resistors(self, gate: Tensor) -> Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]:
        at, junction = self._scaled, self.bulk_junctions()[0]
        channel = self.sign * gate - at.built_in, at.potential.sqrt(), self.body_effect, at.factor
        own = junction.saturation_current, junction.growth_voltage, junction.gmin, REVERSED
        # Of PMOS, too: what flows from source to drain of NMOS is what flows from drain to source there.
        return self._compiled(level1_channels, *channel, self.channel_modulation, *own, sign=1.0)

    def condition(self, gate: Tensor) -> Tensor:
        # Of r (o − r/2) ≥ r o/2 the overdrive o is what is rounded, by half an EPSILON of what it is the difference of.
        over = torch.clamp(self.sign * (gate - self.threshold_voltage), min=0)
        size = gate.abs() + torch.as_tensor(self.threshold_voltage).abs()
        return 1 + torch.where(over > 0, size / (2 * torch.where(over > 0, over, 1.0)), 0.0)

    def kinks(self, gate: Tensor) -> Sequence[Tensor]:
        # Ahead the overdrive o is a number, and saturation begins there. Backwards, w the voltage, the bulk is forward
        # by w: o = g + w − v_on(w), straight on both sides of w = 2 φ, where the root ends.
        at, g = self._scaled, self.sign * gate
        ahead = torch.clamp(g - at.built_in - self.body_effect * at.potential.sqrt(), min=0)
        end = 2 * at.potential
        found = [ahead, 0 * ahead, -(end + 0 * ahead)]
        rise = 1 + self.body_effect / (2 * at.potential.sqrt())
        lines = ((g - at.built_in - self.body_effect * at.potential.sqrt(), rise), (g - at.built_in, 1.0 + 0 * rise))
        for offset, slope in lines:
            # o = offset + slope·w leaves zero, and meets w.
            found.append(torch.clamp(offset / slope, max=0))
            steep = slope - 1
            found.append(torch.where(steep > 0, torch.clamp(offset / torch.where(steep > 0, steep, 1.0), max=0), 0.0))
        return found

    def model_card(self) -> ModelInstance:
        names = "threshold_voltage transconductance body_effect surface_potential channel_modulation"
        words = dict(zip(["VTO", "KP", "GAMMA", "PHI", "LAMBDA"], names.split(), strict=True))
        words |= {"IS": "saturation_current", "JS": "saturation_density"}
        sizes = {"W": "width", "L": "length", "M": "multiplicity", "AD": "drain_area", "AS": "source_area"}
        return ModelInstance(
            "m",
            self.polarity.upper(),
            {"LEVEL": 1.0} | {word: getattr(self, name) for word, name in words.items()},
            ("drain", "gate", "source", "bulk"),
            {word: getattr(self, name) for word, name in sizes.items()},
            temperature=self.temperature,
            nominal_temperature=self.nominal_temperature,
            conductance=self.gmin,
        )

    @cached_property
    def _scaled(self) -> _AtTemperature:
        return _AtTemperature.of(self)


@dataclass(frozen=True)
class _Bias:
    """Of NMOS, seen from the end of lower voltage: voltage across, overdrive, the lesser of both, r (o − r/2), and
    −dv_on/db.
    """

    across: Tensor
    over: Tensor
    reach: Tensor
    area: Tensor
    rise: Tensor | float


@dataclass(frozen=True)
class _AtTemperature:
    """What temperature moves: β [A/V²], φ [V], V_bi of NMOS [V], and the factor on saturation currents."""

    device: Level1Mosfet
    factor: Tensor
    potential: Tensor
    built_in: Tensor
    gained: Tensor

    @classmethod
    def of(cls, device: Level1Mosfet) -> _AtTemperature:
        kelvin, nominal, phi, width, length = (
            torch.as_tensor(value, dtype=torch.float64)
            for value in (
                device.temperature,
                device.nominal_temperature,
                device.surface_potential,
                device.width,
                device.length,
            )
        )
        gap, nominal_gap = _band_gap(kelvin), _band_gap(nominal)
        potential = kelvin / _REFERENCE * ((phi - _shift(nominal)) / (nominal / _REFERENCE)) + _shift(kelvin)
        # At its own temperature a device keeps what it is given, to the last bit.
        potential = torch.where(kelvin == nominal, phi, potential)
        built_in = (
            device.sign * torch.as_tensor(device.threshold_voltage, dtype=torch.float64)
            - device.body_effect * phi.sqrt()
            + device.sign * 0.5 * (nominal_gap - gap)
            + 0.5 * (potential - phi)
        )
        factor = device.transconductance / (kelvin / nominal) ** 1.5 * device.multiplicity * width / length
        volts, nominal_volts = (thermal_voltage(t) for t in (kelvin, nominal))  # pyright: ignore[reportArgumentType]
        return cls(device, factor, potential, built_in, torch.exp(nominal_gap / nominal_volts - gap / volts))

    def saturation(self, area: float | Tensor) -> Tensor:
        """Saturation current of a junction of this area. [A]"""
        d = self.device
        density, drain, source = (torch.as_tensor(v) for v in (d.saturation_density, d.drain_area, d.source_area))
        by_area = (density != 0) & (drain != 0) & (source != 0)
        amperes = torch.where(by_area, density * area, torch.as_tensor(d.saturation_current))
        return amperes.double() * d.multiplicity * self.gained


def _band_gap(kelvin: Tensor) -> Tensor:
    """Of silicon. [eV]"""
    return 1.16 - 7.02e-4 * kelvin**2 / (kelvin + 1108)


def _shift(kelvin: Tensor) -> Tensor:
    """What ngspice calls pbfact: by how much a potential is off its value in proportion to T. [V]"""
    gaps = _REFERENCE_GAP / (2 * BOLTZMANN * _REFERENCE) - _band_gap(kelvin) / (2 * BOLTZMANN * kelvin)
    thermal = thermal_voltage(kelvin)  # pyright: ignore[reportArgumentType]
    return -2 * thermal * (1.5 * torch.log(kelvin / _REFERENCE) + ELEMENTARY_CHARGE * gaps)
