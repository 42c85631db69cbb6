"""The EKV model of a MOSFET: one expression for weak, moderate and strong inversion."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from analog_ep.constants import BOLTZMANN, thermal_voltage
from analog_ep.devices.channel_kernels import ekv_channels
from analog_ep.devices.mosfet import Mosfet
from analog_ep.devices.parameters import require

_NEAR = 1.0
"""Difference of the two arguments up to which that of the logarithms is formed in one."""


@dataclass(frozen=True)
class EkvMosfet(Mosfet):
    r"""Forward and reverse current, by the interpolation of Enz, Krummenacher and Vittoz [1]_.

    With all voltages against the bulk, of NMOS,

    .. math:: i = I_S \left[ \ln^2\!\left(1 + e^{(v_P - v_S)/2U_T}\right)
              - \ln^2\!\left(1 + e^{(v_P - v_D)/2U_T}\right) \right], \quad v_P = (v_G - V_{T0})/n, \quad
              I_S = 2 n β U_T^2

    β = KP·M·W/L. So far below threshold i is exponential in all voltages, and far above it is the square law. There are
    no channel-length modulation and no junctions; `Diodes` stand for these where they matter. V_T0 falls with the
    temperature by `threshold_drift`, and KP follows it to the power of `mobility_exponent` (EKV 2.6 calls them TCV and
    BEX).

    In netlists it is an expression, with constants at the transistors' own temperature.

    Parameters
    ----------
    slope_factor : float or Tensor (n_elements,)
        n; at least 1.
    threshold_drift : float or Tensor (n_elements,)
        Fall of the threshold's magnitude. [V/K]
    mobility_exponent : float or Tensor (n_elements,)
        Power of T/T_nom that KP follows.

    References
    ----------
    .. [1] C. C. Enz, F. Krummenacher, E. A. Vittoz, "An analytical MOS transistor model valid in all regions of
       operation and dedicated to low-voltage and low-current applications," Analog Integr. Circuits Signal Process. 8,
       83–114, 1995, doi:10.1007/BF01239381.
    """

    slope_factor: float | Tensor = 1.3
    threshold_drift: float | Tensor = 1e-3
    mobility_exponent: float | Tensor = -1.5

    def __post_init__(self):
        super().__post_init__()
        require(
            torch.as_tensor(self.slope_factor) >= 1, "EkvMosfet: slope_factor must be at least 1", self.slope_factor
        )

    def _current(self, gate: Tensor, drain: Tensor, bulk: Tensor) -> Tensor:
        forward, reverse, apart = self._arguments(gate, drain, bulk)
        first, second = _softplus(forward), _softplus(reverse)
        # ln(1 + e^f) − ln(1 + e^r) = ln(1 + σ(r) (e^(f−r) − 1)), without cancellation where f and r are close.
        near = torch.log1p(torch.sigmoid(reverse) * torch.expm1(torch.clamp(apart, -_NEAR, _NEAR)))
        difference = torch.where(apart.abs() <= _NEAR, near, first - second)
        return self._scaled.specific * difference * (first + second)

    def _slopes(self, gate: Tensor, drain: Tensor, bulk: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        forward, reverse, _ = self._arguments(gate, drain, bulk)
        by_source, by_drain = (self._end_slope(argument) for argument in (forward, reverse))
        both, n = by_source - by_drain, self.slope_factor
        return both / n, by_drain, both * (1 - 1 / n)

    def _end_slope(self, argument: Tensor) -> Tensor:
        """Derivative of one of the two currents by the voltage of its end. [S]"""
        at = self._scaled
        return at.specific / at.thermal * _softplus(argument) * torch.sigmoid(argument)

    def _arguments(self, gate: Tensor, drain: Tensor, bulk: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Of the two exponentials, and their difference."""
        at = self._scaled
        pinch_off = (gate - bulk - at.threshold) / self.slope_factor
        forward, apart = (pinch_off + bulk) / (2 * at.thermal), drain / (2 * at.thermal)
        return forward, forward - apart, apart

    def noise_density(self, gate: Tensor, drain: Tensor, bulk: Tensor) -> Tensor:
        r"""2 k_B T G of the channel's inversion charge, G = I_S/U_T times its mean along the channel.

        With charges q in units that make the two currents :math:`q^2 + q`, and :math:`i\,dx = -(2q + 1)\,dq`,

        .. math:: \int_0^1 q\,dx = \frac{\tfrac23 (q_S^2 + q_S q_D + q_D^2) + \tfrac12 (q_S + q_D)}{q_S + q_D + 1} :

        2/3 of the source's conductance in saturation, shot noise q (i_F + i_R) in weak inversion, and Johnson's noise
        at 0 V across.
        """
        at, (forward, reverse, _) = self._scaled, self._arguments(*(self.sign * v for v in (gate, drain, bulk)))
        source, end = (_charge(_softplus(argument) ** 2) for argument in (forward, reverse))
        mean = (2 / 3 * (source**2 + source * end + end**2) + (source + end) / 2) / (source + end + 1)
        return 2 * BOLTZMANN * self.temperature * at.specific / at.thermal * mean

    def expressions(self, gates: Sequence[str], drains: Sequence[str], bulks: Sequence[str]) -> Sequence[str]:
        at, sign = self._scaled, self.sign
        columns = (
            torch.broadcast_to(torch.as_tensor(c, dtype=torch.float64), (len(gates),)).tolist()
            for c in (sign * at.specific, at.threshold, torch.as_tensor(self.slope_factor), 2 * at.thermal)
        )
        rows = zip(*columns, gates, drains, bulks, strict=True)
        return [_text(self.sign, *row) for row in rows]

    longest: ClassVar[float] = 0.1
    nodes: ClassVar[int] = 12

    def resistors(self, gate: Tensor) -> Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]:
        at, none = self._scaled, torch.zeros_like(gate)
        forward, *_ = self._arguments(self.sign * gate, none, none)
        return self._compiled(ekv_channels, forward, _softplus(forward), 2 * at.thermal, at.specific)

    def condition(self, gate: Tensor) -> Tensor:
        # Of the exponentials' arguments, which are quotients of what they are the differences of.
        at = self._scaled
        return 1 + (gate.abs() + at.threshold.abs()) / (4 * self.slope_factor * at.thermal)

    def conducts(self) -> bool:
        return True

    @cached_property
    def _scaled(self) -> _AtTemperature:
        kelvin, nominal = (
            torch.as_tensor(t, dtype=torch.float64) for t in (self.temperature, self.nominal_temperature)
        )
        thermal = torch.as_tensor(thermal_voltage(kelvin))  # pyright: ignore[reportArgumentType]
        factor = self.transconductance * (kelvin / nominal) ** self.mobility_exponent
        factor = factor * self.multiplicity * self.width / self.length
        threshold = self.sign * self.threshold_voltage - self.threshold_drift * (kelvin - nominal)
        return _AtTemperature(threshold, thermal, 2 * self.slope_factor * factor * thermal**2)


@dataclasses.dataclass(frozen=True)
class _AtTemperature:
    """Threshold of NMOS [V], thermal voltage [V] and specific current I_S [A]."""

    threshold: Tensor
    thermal: Tensor
    specific: Tensor


def _softplus(x: Tensor) -> Tensor:
    """ln(1 + e^x), to rounding."""
    return torch.logaddexp(x, torch.zeros_like(x))


def _charge(current: Tensor) -> Tensor:
    """The q with q² + q = current."""
    return 2 * current / (1 + torch.sqrt(1 + 4 * current))


def _text(
    sign: float, specific: float, threshold: float, slope: float, scale: float, gate: str, drain: str, bulk: str
) -> str:
    s = "" if sign > 0 else "-"
    pinch_off = f"({s}({gate}-{bulk})-({threshold!r}))/{slope!r}"
    forward = f"(({pinch_off}{'+' if sign > 0 else '-'}{bulk})/{scale!r})"
    reverse = f"({forward}{'-' if sign > 0 else '+'}{drain}/{scale!r})"
    first, second = (f"(max({x},0)+ln(1+exp(-abs({x}))))" for x in (forward, reverse))
    return f"({specific!r})*(({first})*({first})-({second})*({second}))"
