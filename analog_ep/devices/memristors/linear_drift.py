"""The linear drift of a doped region, slowed at the film's ends by a window."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import ClassVar

from analog_ep.devices.memristors.memristor import Memristor, Parameter, Values, like


@dataclass(frozen=True, kw_only=True, eq=False)
class LinearDrift(Memristor):
    """A film of which the share x is doped: dx/dt = (µ r_on/d²) i f(x), i = v/(r_on x + r_off (1 − x)) [1]_.

    Parameters
    ----------
    r_on, r_off : float or Tensor
        Resistance of a film that is doped all through, and not at all; positive. [Ω]
    d : float or Tensor
        Thickness of the film. [m]
    mu : float or Tensor
        Mobility µ of the dopants. [m²/(V·s)]
    p : float or Tensor
        Steepness of the window, at least 1; a whole number in the subcircuit.

    References
    ----------
    .. [1] D. B. Strukov, G. S. Snider, D. R. Stewart, R. S. Williams, "The missing memristor found," Nature 453,
       80–83, 2008, doi:10.1038/nature06932.
    """

    r_on: Parameter = 100.0
    r_off: Parameter = 16e3
    d: Parameter = 10e-9
    mu: Parameter = 1e-14
    p: Parameter = 2.0
    x0: Parameter = 0.1

    positive: ClassVar[tuple[str, ...]] = ("r_on", "r_off", "d", "mu")
    exponents: ClassVar[tuple[str, ...]] = ("p",)

    def current(self, voltage: Values, state: Values) -> Values:
        return voltage / (self.r_on * state + self.r_off * (1 - state))

    def rate(self, voltage: Values, state: Values) -> Values:
        drift = self.mu * self.r_on / (self.d * self.d) * self.current(voltage, state)
        return drift * self.window(voltage, state)

    @abstractmethod
    def window(self, voltage: Values, state: Values) -> Values:
        """f(x), which may depend on the direction of the current; arguments as for `current`."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Joglekar(LinearDrift):
    """f = 1 − (2x − 1)^2p: zero at both ends, so that a state at an end stays there [1]_.

    References
    ----------
    .. [1] Y. N. Joglekar, S. J. Wolf, "The elusive memristor: properties of basic electrical circuits," Eur. J. Phys.
       30, 661–675, 2009, doi:10.1088/0143-0807/30/4/001.
    """

    subcircuit: ClassVar[str] = "memristor_joglekar"

    def window(self, voltage: Values, state: Values) -> Values:
        return 1 - ((2 * state - 1) ** 2) ** self.p


@dataclass(frozen=True, kw_only=True, eq=False)
class Biolek(LinearDrift):
    """f = 1 − (x − step(−i))^2p: zero only at the end ahead [1]_.

    References
    ----------
    .. [1] Z. Biolek, D. Biolek, V. Biolková, "SPICE model of memristor with nonlinear dopant drift," Radioengineering
       18(2), 210–214, 2009.
    """

    subcircuit: ClassVar[str] = "memristor_biolek"

    def window(self, voltage: Values, state: Values) -> Values:
        return 1 - ((state - like(voltage < 0, state)) ** 2) ** self.p


@dataclass(frozen=True, kw_only=True, eq=False)
class Prodromakis(LinearDrift):
    """f = j (1 − ((x − ½)² + ¾)^p) [1]_.

    Parameters
    ----------
    j : float or Tensor
        Scale of the window.

    References
    ----------
    .. [1] T. Prodromakis, B. P. Peh, C. Papavassiliou, C. Toumazou, "A versatile memristor model with nonlinear dopant
       kinetics," IEEE Trans. Electron Devices 58(9), 3099–3105, 2011.
    """

    j: Parameter = 1.0

    subcircuit: ClassVar[str] = "memristor_prodromakis"
    positive: ClassVar[tuple[str, ...]] = (*LinearDrift.positive, "j")

    def window(self, voltage: Values, state: Values) -> Values:
        return self.j * (1 - ((state - 0.5) ** 2 + 0.75) ** self.p)
