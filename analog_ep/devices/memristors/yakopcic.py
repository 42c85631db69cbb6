"""Yakopcic's generalised model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from analog_ep.devices.memristors.memristor import Memristor, Parameter, Values, exp, like, sinh


@dataclass(frozen=True, kw_only=True, eq=False)
class Yakopcic(Memristor):
    """i = a x sinh(b v); the state rises by an exponential beyond v_p, falls by one beyond −v_n [1]_.

    dx/dt = amplitude_p (e^v − e^v_p) f_p(x) where v > v_p, −amplitude_n (e^−v − e^v_n) f_n(x) where v < −v_n. The
    damping f_p is 1 up to x_p, then e^(−alpha_p (x − x_p)) (1 − x)/(1 − x_p); f_n is 1 down to 1 − x_n, then
    e^(−alpha_n (1 − x_n − x)) x/(1 − x_n).

    Parameters
    ----------
    a : float or Tensor
        Scale of the current. [A]
    b : float or Tensor
        Curvature of the current. [1/V]
    v_p, v_n : float or Tensor
        Thresholds, both positive. [V]
    amplitude_p, amplitude_n : float or Tensor
        Speeds, positive. [1/s]
    x_p, x_n : float or Tensor
        Where damping begins, below 1.
    alpha_p, alpha_n : float or Tensor
        Decay of the damping, positive.

    References
    ----------
    .. [1] C. Yakopcic, T. M. Taha, G. Subramanyam, R. E. Pino, "Generalized Memristive Device SPICE Model and its
       Application in Circuit Design," IEEE Trans. Comput.-Aided Des. 32(8), 1201–1214, 2013.
    """

    a: Parameter = 0.17
    b: Parameter = 0.05
    v_p: Parameter = 0.16
    v_n: Parameter = 0.15
    amplitude_p: Parameter = 4000.0
    amplitude_n: Parameter = 4000.0
    x_p: Parameter = 0.3
    x_n: Parameter = 0.5
    alpha_p: Parameter = 1.0
    alpha_n: Parameter = 5.0
    x0: Parameter = 0.11

    subcircuit: ClassVar[str] = "memristor_yakopcic"
    positive: ClassVar[tuple[str, ...]] = ("a", "b", "v_p", "v_n", "amplitude_p", "amplitude_n", "alpha_p", "alpha_n")

    def __post_init__(self):
        super().__post_init__()
        self._require(lambda value: (value >= 0) & (value < 1), ("x_p", "x_n"), "lie in 0…1, 1 excluded")

    def current(self, voltage: Values, state: Values) -> Values:
        return self.a * state * sinh(self.b * voltage)

    def rate(self, voltage: Values, state: Values) -> Values:
        up, down = (state - self.x_p).clip(min=0), (1 - self.x_n - state).clip(min=0)
        beyond_p = (exp(voltage) - exp(like(self.v_p, voltage))).clip(min=0)
        beyond_n = (exp(-voltage) - exp(like(self.v_n, voltage))).clip(min=0)
        rise = self.amplitude_p * beyond_p * exp(-self.alpha_p * up) * (1 - up / (1 - self.x_p))
        fall = self.amplitude_n * beyond_n * exp(-self.alpha_n * down) * (1 - down / (1 - self.x_n))
        return rise - fall
