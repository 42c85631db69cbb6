"""Firing rates ρ(u) of a Hopfield network's units, with the derivatives and differences that its equations need."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field

import torch
from torch import Tensor

from analog_ep.devices import DiodeClamp, PiecewiseLinearDiode, TanhCurve
from analog_ep.errors import NetworkError
from analog_ep.networks.leaky_integrators import LeakyIntegrators


class Activation(ABC):
    """A firing rate ρ(u); functions are elementwise, on tensors of any shape.

    Attributes
    ----------
    bounds : (float, float) or None
        Interval in which states are kept, with ρ(u) = u on it; None where they are free.
    curvature_bound : float
        Not less than |d²ρ/du²| anywhere.
    clamp : DiodeClamp or None
        Diodes that pull states back, in units of the leak: their current is part of `leak`.
    curve : TanhCurve or None
        ρ as the curve of an amplifier; None where it needs none, since ρ(u) = u.
    """

    bounds: tuple[float, float] | None = None
    curvature_bound: float = 0.0
    clamp: DiodeClamp | None = None
    curve: TanhCurve | None = None

    @abstractmethod
    def value(self, state: Tensor) -> Tensor:
        """ρ(u)."""

    @abstractmethod
    def slope(self, state: Tensor) -> Tensor:
        """dρ/du."""

    @abstractmethod
    def curvature(self, state: Tensor) -> Tensor:
        """d²ρ/du²."""

    @abstractmethod
    def change(self, state: Tensor, step: Tensor) -> Tensor:
        """ρ(u + d) − ρ(u), at full relative precision in d."""

    @abstractmethod
    def slope_change(self, state: Tensor, step: Tensor) -> Tensor:
        """ρ'(u + d) − ρ'(u), at full relative precision in d."""

    def clip(self, state: Tensor) -> Tensor:
        """The nearest state within `bounds`."""
        return state if self.bounds is None else state.clamp(*self.bounds)

    def leak(self, state: Tensor) -> Tensor:
        """What draws a unit back to rest: u, and the current of its clamp."""
        return state if self.clamp is None else state + self.clamp.current(state)

    def content(self, state: Tensor) -> Tensor:
        """Integral of `leak` from 0 to u: the unit's own part of the energy."""
        content = 0.5 * state * state
        return content if self.clamp is None else content + self.clamp.cocontent(state)

    def in_hardware(self, stiffness: float) -> Activation:
        """What stands for it in a circuit whose clamps conduct `stiffness` times as much as the leak."""
        return self

    def clamp_in_siemens(self, hardware: LeakyIntegrators) -> DiodeClamp | None:
        """The clamp of a circuit's units; None where states are free."""
        return None if self.clamp is None else self.clamp.in_parallel(hardware.leak_conductance)


@dataclass(frozen=True)
class HardSigmoid(Activation):
    """ρ(u) = u, of states kept in [0, 1]: the paper's hard sigmoid min(max(u, 0), 1) [1]_.

    The slope at the two bounds is that of the inside, 1, so that a state at a bound may leave it.

    References
    ----------
    .. [1] B. Scellier and Y. Bengio, "Equilibrium Propagation," Front. Comput. Neurosci. 11:24, 2017,
       arXiv:1602.05179.
    """

    bounds = (0.0, 1.0)

    def value(self, state: Tensor) -> Tensor:
        return state.clamp(0.0, 1.0)

    def slope(self, state: Tensor) -> Tensor:
        return ((state >= 0) & (state <= 1)).to(state.dtype)

    def curvature(self, state: Tensor) -> Tensor:
        return torch.zeros_like(state)

    def change(self, state: Tensor, step: Tensor) -> Tensor:
        inside = state.clamp(0.0, 1.0)
        return torch.minimum(torch.maximum(step + (state - inside), -inside), 1 - inside)

    def slope_change(self, state: Tensor, step: Tensor) -> Tensor:
        return self.slope(state + step) - self.slope(state)

    def in_hardware(self, stiffness: float) -> Activation:
        return ClampedLinear(stiffness)

    def clamp_in_siemens(self, hardware: LeakyIntegrators) -> DiodeClamp:
        return ClampedLinear(hardware.clamp_conductance).clamp


@dataclass(frozen=True)
class ClampedLinear(Activation):
    r"""ρ(u) = u everywhere, of states that clamps of finite conductance hold near [0, 1]: the hard sigmoid in hardware.

    The clamps add :math:`\tfrac12 r\, \max(u - 1, 0)^2 + \tfrac12 r\, \max(-u, 0)^2` to the energy in place of the hard
    bounds, so that a state whose drive is p > 1 comes to rest (p − 1)/(1 + r) above 1; likewise below 0.

    Parameters
    ----------
    stiffness : float
        r, the conductance of a clamp over that of the leak; positive.

    Raises
    ------
    NetworkError
        If it is not positive and finite.
    """

    stiffness: float = 1e5
    clamp: DiodeClamp = field(init=False, repr=False, compare=False)  # pyright: ignore[reportIncompatibleVariableOverride]

    def __post_init__(self):
        if not 0 < self.stiffness < float("inf"):
            raise NetworkError(f"the stiffness of a clamp must be positive and finite, found {self.stiffness}")
        diode = PiecewiseLinearDiode((0.0,), (self.stiffness,))
        object.__setattr__(self, "clamp", DiodeClamp(diode, upper=1.0, lower=0.0))

    def clamp_in_siemens(self, hardware: LeakyIntegrators) -> DiodeClamp:
        # Beyond 15 digits lies the rounding of the quotient that the stiffness is.
        return ClampedLinear(float(f"{hardware.leak_conductance * self.stiffness:.15g}")).clamp

    def value(self, state: Tensor) -> Tensor:
        return state

    def slope(self, state: Tensor) -> Tensor:
        return torch.ones_like(state)

    def curvature(self, state: Tensor) -> Tensor:
        return torch.zeros_like(state)

    def change(self, state: Tensor, step: Tensor) -> Tensor:
        return step

    def slope_change(self, state: Tensor, step: Tensor) -> Tensor:
        return torch.zeros_like(step)


@dataclass(frozen=True)
class Sigmoid(Activation):
    """ρ(u) = 1/(1 + exp(−4 (u − ½))), smooth, with the hard sigmoid's value and slope at u = ½; states are free.

    Analytic: it also takes complex states, as holomorphic equilibrium propagation asks for.
    """

    curvature_bound = 1.54
    curve = TanhCurve(amplitude=0.5, gain=2.0, centre=0.5, level=0.5)

    def value(self, state: Tensor) -> Tensor:
        return torch.sigmoid(4 * state - 2)

    def slope(self, state: Tensor) -> Tensor:
        return 4 * torch.sigmoid(4 * state - 2) * torch.sigmoid(2 - 4 * state)

    def curvature(self, state: Tensor) -> Tensor:
        return 4 * self.slope(state) * (1 - 2 * self.value(state))

    def change(self, state: Tensor, step: Tensor) -> Tensor:
        return _logistic_change(4 * state - 2, 4 * step)

    def slope_change(self, state: Tensor, step: Tensor) -> Tensor:
        # s (1 − s) changes by δ (1 − 2 s − δ) when s changes by δ.
        change = self.change(state, step)
        return 4 * change * (1 - 2 * self.value(state) - change)


@dataclass(frozen=True)
class Tanh(Activation):
    """ρ(u) = tanh(u), of free states; analytic, and odd, so that rates have both signs."""

    curvature_bound = 0.77
    curve = TanhCurve()

    def value(self, state: Tensor) -> Tensor:
        return torch.tanh(state)

    def slope(self, state: Tensor) -> Tensor:
        return 4 * torch.sigmoid(2 * state) * torch.sigmoid(-2 * state)

    def curvature(self, state: Tensor) -> Tensor:
        return -2 * self.value(state) * self.slope(state)

    def change(self, state: Tensor, step: Tensor) -> Tensor:
        return 2 * _logistic_change(2 * state, 2 * step)

    def slope_change(self, state: Tensor, step: Tensor) -> Tensor:
        # 1 − t² changes by −δ (2 t + δ) when t changes by δ.
        change = self.change(state, step)
        return -change * (2 * self.value(state) + change)


def _logistic_change(argument: Tensor, step: Tensor) -> Tensor:
    """σ(a + d) − σ(a) = σ(a + d) σ(−a) (1 − e^−d), with the larger end in the place of a + d against overflow."""
    if argument.is_complex():
        return torch.sigmoid(argument + step) * torch.sigmoid(-argument) * -torch.expm1(-step)
    end = argument + step
    size = torch.sigmoid(torch.maximum(end, argument)) * torch.sigmoid(-torch.minimum(end, argument))
    return torch.sign(step) * size * -torch.expm1(-step.abs())


ACTIVATIONS: dict[str, Activation] = {"hard_sigmoid": HardSigmoid(), "sigmoid": Sigmoid(), "tanh": Tanh()}
"""Activations by the name that a spec gives them."""


def activation_of(activation: str | Activation) -> Activation:
    """An activation by its name, or as it is.

    Raises
    ------
    NetworkError
        If the name is unknown.
    """
    if not isinstance(activation, str):
        return activation
    if activation not in ACTIVATIONS:
        raise NetworkError(f"activation must be one of {', '.join(ACTIVATIONS)}, found {activation!r}")
    return ACTIVATIONS[activation]
