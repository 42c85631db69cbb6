"""Memristors that move only beyond a threshold."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import ClassVar

from analog_ep.devices.memristors.memristor import Memristor, Parameter, Values


@dataclass(frozen=True, kw_only=True, eq=False)
class Threshold(Memristor):
    """i = v/(r_on (1 − x) + r_off x), x = w/d; the state moves by a power of the distance to a threshold.

    dx/dt = (k_off/d) (u/u_off − 1)^alpha_off (1 − x^2p) where u > u_off > 0, and
    (k_on/d) (u/u_on − 1)^alpha_on (1 − (1 − x)^2p) where u < u_on < 0; in between it stands still. What u is, current
    or voltage, the model says. The window is zero at the bound ahead.

    Parameters
    ----------
    r_on, r_off : float or Tensor
        Resistance at x = 0 and x = 1; positive. [Ω]
    d : float or Tensor
        Largest w. [m]
    k_off, k_on : float or Tensor
        Speeds, k_off > 0 > k_on. [m/s]
    alpha_off, alpha_on : float or Tensor
        Exponents, at least 1.
    p : float or Tensor
        Steepness of the window, at least 1; a whole number in the subcircuit.
    """

    r_on: Parameter = 50.0
    r_off: Parameter = 1000.0
    d: Parameter = 3e-9
    k_off: Parameter = 5e-4
    k_on: Parameter = -10.0
    alpha_off: Parameter = 1.0
    alpha_on: Parameter = 3.0
    p: Parameter = 2.0
    x0: Parameter = 0.5

    positive: ClassVar[tuple[str, ...]] = ("r_on", "r_off", "d", "k_off")
    negative: ClassVar[tuple[str, ...]] = ("k_on",)
    exponents: ClassVar[tuple[str, ...]] = ("alpha_off", "alpha_on", "p")

    def current(self, voltage: Values, state: Values) -> Values:
        return voltage / (self.r_on * (1 - state) + self.r_off * state)

    def rate(self, voltage: Values, state: Values) -> Values:
        off, on = self._beyond(voltage, state)
        rise = self.k_off / self.d * off.clip(min=0) ** self.alpha_off * (1 - (state**2) ** self.p)
        fall = self.k_on / self.d * on.clip(min=0) ** self.alpha_on * (1 - ((1 - state) ** 2) ** self.p)
        return rise + fall

    @abstractmethod
    def _beyond(self, voltage: Values, state: Values) -> tuple[Values, Values]:
        """u/u_off − 1 and u/u_on − 1."""


@dataclass(frozen=True, kw_only=True, eq=False)
class TEAM(Threshold):
    """Thresholds in current [1]_.

    Parameters
    ----------
    i_off, i_on : float or Tensor
        Thresholds, i_off > 0 > i_on. [A]

    References
    ----------
    .. [1] S. Kvatinsky, E. G. Friedman, A. Kolodny, U. C. Weiser, "TEAM: ThrEshold Adaptive Memristor Model," IEEE
       Trans. Circuits Syst. I 60(1), 211–221, 2013, doi:10.1109/TCSI.2012.2215714.
    """

    k_on: Parameter = -1e-3
    i_off: Parameter = 4e-5
    i_on: Parameter = -4e-4

    subcircuit: ClassVar[str] = "memristor_team"
    positive: ClassVar[tuple[str, ...]] = (*Threshold.positive, "i_off")
    negative: ClassVar[tuple[str, ...]] = (*Threshold.negative, "i_on")

    def _beyond(self, voltage: Values, state: Values) -> tuple[Values, Values]:
        current = self.current(voltage, state)
        return current / self.i_off - 1, current / self.i_on - 1


@dataclass(frozen=True, kw_only=True, eq=False)
class VTEAM(Threshold):
    """Thresholds in voltage [1]_.

    Parameters
    ----------
    v_off, v_on : float or Tensor
        Thresholds, v_off > 0 > v_on. [V]

    References
    ----------
    .. [1] S. Kvatinsky, M. Ramadan, E. G. Friedman, A. Kolodny, "VTEAM: A General Model for Voltage-Controlled
       Memristors," IEEE Trans. Circuits Syst. II 62(8), 786–790, 2015, doi:10.1109/TCSII.2015.2433536.
    """

    v_off: Parameter = 0.02
    v_on: Parameter = -0.2

    subcircuit: ClassVar[str] = "memristor_vteam"
    positive: ClassVar[tuple[str, ...]] = (*Threshold.positive, "v_off")
    negative: ClassVar[tuple[str, ...]] = (*Threshold.negative, "v_on")

    def _beyond(self, voltage: Values, state: Values) -> tuple[Values, Values]:
        return voltage / self.v_off - 1, voltage / self.v_on - 1
