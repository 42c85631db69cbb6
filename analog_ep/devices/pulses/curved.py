"""Steps that are exponentials, powers or tables of the state."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar

import torch
from torch import Tensor

from analog_ep.devices.pulses.device import Parameters, PulseModel, _normal
from analog_ep.devices.pulses.steps import StepModel


@dataclass(frozen=True, kw_only=True)
class ExpStep(StepModel):
    """Steps exponential in the state.

    With z = 2a w/(w_max − w_min) + b: up · max(1 − A_up exp(γ_up z), 0) and down · max(1 − A_down exp(−γ_down z), 0).

    Parameters
    ----------
    a, b : float
        Scale and offset of z.
    amplitude_up, amplitude_down : float
        A. (A_up, A_down)
    gamma_up, gamma_down : float
        γ.
    noise_offset, noise_slope : float
        Where one is not 0, the noise of a step Δw is step_noise (|Δw| + offset + slope |w|). (dw_min_std_add, …_slope)
    """

    a: float = 0.244
    b: float = 0.2425
    amplitude_up: float = 0.00081
    amplitude_down: float = 0.36833
    gamma_up: float = 12.44625
    gamma_down: float = 12.78785
    noise_offset: float = 0.0
    noise_slope: float = 0.0

    subcircuit: ClassVar[str] = "pulse_exp"

    def _signed(self) -> tuple[str, ...]:
        return ("a", "b", "amplitude_up", "amplitude_down", "gamma_up", "gamma_down")

    def potentiation(self, state: Tensor, drawn: Parameters) -> Tensor:
        growth = torch.exp(self.gamma_up * self._position(state, drawn))
        return drawn["up"] * (1 - self.amplitude_up * growth).clamp(min=0)

    def depression(self, state: Tensor, drawn: Parameters) -> Tensor:
        growth = torch.exp(-self.gamma_down * self._position(state, drawn))
        return drawn["down"] * (1 - self.amplitude_down * growth).clamp(min=0)

    def _position(self, state: Tensor, drawn: Parameters) -> Tensor:
        return 2 * self.a * state / _width(drawn) + self.b

    def deviation(self, state: Tensor, up: Tensor, change: Tensor, drawn: Parameters) -> Tensor:
        return self.step_noise * (change.abs() + self.noise_offset + self.noise_slope * state.abs())

    def step_expressions(self) -> tuple[str, str]:
        place = "({2*a/max(high-low,1e-9)}*v(held)+{b})"
        return (
            f"{{up}}*max(1-{{amplitude_up}}*exp({{gamma_up}}*{place}),0)",
            f"{{down}}*max(1-{{amplitude_down}}*exp(-{{gamma_down}}*{place}),0)",
        )

    def step_parameters(self, drawn: Parameters) -> dict[str, Tensor]:
        return super().step_parameters(drawn) | _own(self, (*_SCALE, "amplitude_up", "amplitude_down", *_GROWTH))


@dataclass(frozen=True, kw_only=True)
class PowStep(StepModel):
    """Steps that are powers of the distance to the bound.

    With ω = (w_max − w)/(w_max − w_min): up · ω^γ₊ and down · (1 − ω)^γ₋, where γ₊ = γ (1 + min(gamma_up_down, 0)) and
    γ₋ = γ (1 − max(gamma_up_down, 0)).

    Parameters
    ----------
    gamma, gamma_spread : float
        γ and its relative spread over devices. (pow_gamma; pow_gamma_dtod, 0.1 there)
    gamma_up_down, gamma_up_down_spread : float
        Asymmetry of γ and its spread. (pow_up_down)
    """

    gamma: float = 1.0
    gamma_spread: float = 0.0
    gamma_up_down: float = 0.0
    gamma_up_down_spread: float = 0.0

    subcircuit: ClassVar[str] = "pulse_pow"

    def _signed(self) -> tuple[str, ...]:
        return ("gamma_up_down",)

    def draw(self, n_devices: int, generator: torch.Generator) -> dict[str, Tensor]:
        gain = 1 + _normal(self.gamma_spread, n_devices, generator)
        tilt = _normal(self.gamma_up_down_spread, n_devices, generator)
        powers = {
            "power_up": self.gamma * (gain + min(self.gamma_up_down, 0.0) + tilt).abs(),
            "power_down": self.gamma * (gain - max(self.gamma_up_down, 0.0) - tilt).abs(),
        }
        return super().draw(n_devices, generator) | powers

    def potentiation(self, state: Tensor, drawn: Parameters) -> Tensor:
        return drawn["up"] * ((drawn["high"] - state) / _width(drawn)).clamp(min=0) ** drawn["power_up"]

    def depression(self, state: Tensor, drawn: Parameters) -> Tensor:
        return drawn["down"] * ((state - drawn["low"]) / _width(drawn)).clamp(min=0) ** drawn["power_down"]

    def step_expressions(self) -> tuple[str, str]:
        # Not quite 0, where powers below 1 have no slope.
        return (
            "{up}*max(({high}-v(held))*{1/max(high-low,1e-9)},1e-12)^{power_up}",
            "{down}*max((v(held)-{low})*{1/max(high-low,1e-9)},1e-12)^{power_down}",
        )

    def step_parameters(self, drawn: Parameters) -> dict[str, Tensor]:
        return super().step_parameters(drawn) | {name: drawn[name] for name in ("power_up", "power_down")}


@dataclass(frozen=True, kw_only=True)
class PiecewiseStep(StepModel):
    """Steps interpolated between factors at equally spaced states from w_min to w_max.

    Parameters
    ----------
    factors_up, factors_down : tuple of float
        Factors on `up` and `down`, at least two each, not negative. (piecewise_up, piecewise_down)
    """

    factors_up: tuple[float, ...] = (1.0, 1.0)
    factors_down: tuple[float, ...] = (1.0, 1.0)

    subcircuit: ClassVar[str] = "pulse_piecewise"

    def __post_init__(self):
        super().__post_init__()
        for name in ("factors_up", "factors_down"):
            factors = tuple(getattr(self, name))
            object.__setattr__(self, name, factors)
            numbers = all(isinstance(factor, (int, float)) and factor >= 0 for factor in factors)
            self._require(len(factors) >= 2 and numbers, f"{name} must be two or more factors, none negative", factors)

    def potentiation(self, state: Tensor, drawn: Parameters) -> Tensor:
        return drawn["up"] * self._interpolated(self.factors_up, state, drawn)

    def depression(self, state: Tensor, drawn: Parameters) -> Tensor:
        return drawn["down"] * self._interpolated(self.factors_down, state, drawn)

    def _interpolated(self, factors: tuple[float, ...], state: Tensor, drawn: Parameters) -> Tensor:
        nodes = torch.tensor(factors, dtype=state.dtype, device=state.device)
        position = ((state - drawn["low"]) / _width(drawn)).clamp(0, 1) * (len(factors) - 1)
        below = position.floor().clamp(max=len(factors) - 2).long()
        share = position - below
        return nodes[below] * (1 - share) + nodes[below + 1] * share

    def step_expressions(self) -> tuple[str, str]:
        return f"{{up}}*({_straight_pieces(self.factors_up)})", f"{{down}}*({_straight_pieces(self.factors_down)})"


@dataclass(frozen=True, kw_only=True)
class Exponential(PulseModel):
    r"""Conductance that saturates exponentially with the number of pulses.

    :math:`w(P) = B (1 - e^{-P/A}) + w_{min}`, :math:`B = (w_{max} - w_{min}) / (1 - e^{-P_{max}/A})` for potentiation
    from w_min, and its mirror image for depression from w_max; here as the step that follows from any state.

    Parameters
    ----------
    pulses : float
        P_max, from one bound to the other; positive.
    curvature_up, curvature_down : float
        A, in pulses; positive, small where the step is far from constant.

    References
    ----------
    .. [1] P.-Y. Chen, X. Peng, S. Yu, "NeuroSim: A Circuit-Level Macro Model for Benchmarking Neuro-Inspired
       Architectures in Online Learning," IEEE TCAD 37(12), 2018.
    """

    pulses: float = 100.0
    curvature_up: float = 50.0
    curvature_down: float = 50.0

    subcircuit: ClassVar[str] = "pulse_exponential"

    def __post_init__(self):
        super().__post_init__()
        for name in ("pulses", "curvature_up", "curvature_down"):
            self._require(getattr(self, name) > 0, f"{name} must be positive", getattr(self, name))

    @property
    def mean_step(self) -> float:
        return (self.w_max - self.w_min) / self.pulses

    def potentiation(self, state: Tensor, drawn: Parameters) -> Tensor:
        return drawn["up"] * self._relative_step(self.curvature_up, (state - drawn["low"]) / _width(drawn))

    def depression(self, state: Tensor, drawn: Parameters) -> Tensor:
        return drawn["down"] * self._relative_step(self.curvature_down, (drawn["high"] - state) / _width(drawn))

    def _relative_step(self, curvature: float, travelled: Tensor) -> Tensor:
        """Step in mean steps, after a share of the way from bound to bound."""
        pulses = torch.tensor(-self.pulses / curvature, dtype=travelled.dtype, device=travelled.device)
        whole_way = -1 / torch.expm1(pulses)
        return self.pulses * -torch.expm1(pulses / self.pulses) * (whole_way - travelled).clamp(min=0)

    def step_expressions(self) -> tuple[str, str]:
        up, down = (
            f"{{{side}*pulses*(1-exp(-1/curvature_{side}))}}*max({{1/(1-exp(-pulses/curvature_{side}))}}-%s,0)"
            for side in ("up", "down")
        )
        return up % "(v(held)-{low})*{1/max(high-low,1e-9)}", down % "({high}-v(held))*{1/max(high-low,1e-9)}"

    def step_parameters(self, drawn: Parameters) -> dict[str, Tensor]:
        return super().step_parameters(drawn) | _own(self, ("pulses", "curvature_up", "curvature_down"))


_SCALE, _GROWTH = ("a", "b"), ("gamma_up", "gamma_down")


def _own(model: PulseModel, names: Sequence[str]) -> dict[str, Tensor]:
    """Fields of a model as parameters that all devices share."""
    return {name: torch.tensor(getattr(model, name), dtype=torch.float64) for name in names}


def _straight_pieces(factors: tuple[float, ...]) -> str:
    """An expression of the place of v(held) between {low} and {high} that is linear between factors."""
    place, last = "(v(held)-{low})*{1/max(high-low,1e-9)}", len(factors) - 1
    slopes = [(after - before) * last for before, after in pairwise(factors)]
    turns = [(k / last, new - old) for k, (old, new) in enumerate(pairwise(slopes), start=1) if new != old]
    # The place never leaves 0…1: what is held is within the bounds.
    return "".join(
        [f"{factors[0]!r}", f"{slopes[0]:+.17g}*{place}", *(f"{by:+.17g}*max({place}-{at!r},0)" for at, by in turns)]
    )


def _width(drawn: Parameters) -> Tensor:
    """Distance of the bounds; a stuck device, whose bounds coincide, has steps of no effect anyway."""
    width = drawn["high"] - drawn["low"]
    return torch.where(width > 0, width, 1.0)
