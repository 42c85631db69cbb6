"""The Stanford model of a filament with a gap."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from analog_ep.devices.memristors.memristor import Memristor, Parameter, Values, exp, like, sinh

_BOLTZMANN = 8.617333e-5
"""k, as in the subcircuit. [eV/K]"""


@dataclass(frozen=True, kw_only=True, eq=False)
class Stanford(Memristor):
    """A filament that ends a gap g, the state in nanometres, before the electrode: i = i0 e^(−g/g0) sinh(v/v0) [1]_.

    dg/dt = −velocity e^(−e_a/kT) sinh(γ a0 v/(t_ox kT)) f(g) with γ = gamma0 − beta g³ and T = ambient + r_th |v i|;
    a positive voltage narrows the gap. The window f = 1 − (share of the way behind)^2p is zero at the bound ahead;
    it takes the place of the original's hard limits, which a transient analysis takes hard.

    Parameters
    ----------
    i0 : float or Tensor
        Scale of the current. [A]
    g0 : float or Tensor
        Decay length of the current. [nm]
    v0 : float or Tensor
        Curvature of the current. [V]
    velocity : float or Tensor
        Attempt velocity. [m/s]
    e_a : float or Tensor
        Activation energy. [eV]
    gamma0, beta : float or Tensor
        Enhancement of the field, γ = gamma0 − beta g³. [1], [1/nm³]
    a0 : float or Tensor
        Hopping distance. [nm]
    t_ox : float or Tensor
        Thickness of the oxide. [nm]
    r_th : float or Tensor
        Thermal resistance. [K/W]
    ambient : float or Tensor
        Temperature without current. [K]
    g_min, g_max : float or Tensor
        Bounds of the gap. [nm]
    p : float or Tensor
        Steepness of the window, at least 1; a whole number in the subcircuit.

    References
    ----------
    .. [1] X. Guan, S. Yu, H.-S. P. Wong, "A SPICE Compact Model of Metal Oxide Resistive Switching Memory With
       Variations," IEEE Electron Device Lett. 33(10), 1405–1407, 2012.
    """

    i0: Parameter = 1e-3
    g0: Parameter = 0.25
    v0: Parameter = 0.25
    velocity: Parameter = 10.0
    e_a: Parameter = 0.6
    gamma0: Parameter = 16.0
    beta: Parameter = 0.8
    a0: Parameter = 0.25
    t_ox: Parameter = 12.0
    r_th: Parameter = 2.1e3
    ambient: Parameter = 298.0
    g_min: Parameter = 0.2
    g_max: Parameter = 1.7
    p: Parameter = 4.0
    x0: Parameter = 1.5

    subcircuit: ClassVar[str] = "memristor_stanford"
    positive: ClassVar[tuple[str, ...]] = (
        *("i0", "g0", "v0", "velocity", "e_a", "gamma0", "a0", "t_ox", "ambient", "g_min", "g_max"),
    )
    exponents: ClassVar[tuple[str, ...]] = ("p",)

    @property
    def bounds(self) -> tuple[Parameter, Parameter]:
        return self.g_min, self.g_max

    def current(self, voltage: Values, state: Values) -> Values:
        return self.i0 * exp(-state / self.g0) * sinh(voltage / self.v0)

    def rate(self, voltage: Values, state: Values) -> Values:
        heat = abs(voltage * self.current(voltage, state))
        thermal = _BOLTZMANN * (self.ambient + self.r_th * heat)
        gamma = self.gamma0 - self.beta * state**3
        # From metres to nanometres.
        hop = sinh(gamma * self.a0 / self.t_ox * voltage / thermal)
        speed = -1e9 * self.velocity * exp(-self.e_a / thermal) * hop
        ahead = (state - self.g_min) / (self.g_max - self.g_min) - like(voltage > 0, state)
        return speed * (1 - (ahead**2) ** self.p)
