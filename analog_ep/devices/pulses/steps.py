"""Steps that are constant or linear in the state."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from analog_ep.devices.pulses.device import Parameters, PulseModel, _normal


@dataclass(frozen=True, kw_only=True)
class StepModel(PulseModel):
    """A model whose steps have a size of their own.

    Parameters
    ----------
    step : float
        Size of a step at w = 0, or where the model says; positive. (dw_min)
    """

    step: float = 0.001

    def __post_init__(self):
        super().__post_init__()
        self._require(self.step > 0, "step must be positive", self.step)

    @property
    def mean_step(self) -> float:
        return self.step


@dataclass(frozen=True, kw_only=True)
class ConstantStep(StepModel):
    """Steps of one size between hard bounds: Δw = +up or −down."""

    subcircuit: ClassVar[str] = "pulse_constant"

    def potentiation(self, state: Tensor, drawn: Parameters) -> Tensor:
        return drawn["up"]

    def depression(self, state: Tensor, drawn: Parameters) -> Tensor:
        return drawn["down"]

    def straight_steps(self, drawn: Parameters) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
        flat = torch.zeros_like(drawn["up"])
        return (-drawn["down"], flat), (drawn["up"], flat)

    def step_expressions(self) -> tuple[str, str]:
        return "{up}", "{down}"


@dataclass(frozen=True, kw_only=True)
class LinearStep(StepModel):
    """Steps linear in the state: up (1 − γ_up w/w_max), down (1 − γ_down w/w_min).

    Parameters
    ----------
    gamma_up, gamma_down : float
        γ; 1 gives soft bounds.
    gamma_up_spread, gamma_down_spread : float
        Their standard deviation over devices. (gamma_up_dtod, gamma_down_dtod, 0.05 there)
    nominal_bound : bool
        Whether the slopes refer to the nominal bounds instead of the device's own. (mean_bound_reference, true there)
    noise_follows_step : bool
        Whether the noise is relative to the step at w, not to that at w = 0. (mult_noise)
    """

    gamma_up: float = 0.0
    gamma_down: float = 0.0
    gamma_up_spread: float = 0.0
    gamma_down_spread: float = 0.0
    nominal_bound: bool = False
    noise_follows_step: bool = True

    subcircuit: ClassVar[str] = "pulse_linear"

    def __post_init__(self):
        super().__post_init__()
        self._require(self.w_min < 0 < self.w_max, "w_min < 0 < w_max must hold", f"{self.w_min} and {self.w_max}")

    def draw(self, n_devices: int, generator: torch.Generator) -> dict[str, Tensor]:
        drawn = super().draw(n_devices, generator)
        gamma_up = (self.gamma_up + _normal(self.gamma_up_spread, n_devices, generator)).abs()
        gamma_down = (self.gamma_down + _normal(self.gamma_down_spread, n_devices, generator)).abs()
        low, high = (self.w_min, self.w_max) if self.nominal_bound else (drawn["low"], drawn["high"])
        return drawn | {"slope_up": drawn["up"] * gamma_up / high, "slope_down": drawn["down"] * gamma_down / low}

    def potentiation(self, state: Tensor, drawn: Parameters) -> Tensor:
        return drawn["up"] - drawn["slope_up"] * state

    def depression(self, state: Tensor, drawn: Parameters) -> Tensor:
        return drawn["down"] - drawn["slope_down"] * state

    def deviation(self, state: Tensor, up: Tensor, change: Tensor, drawn: Parameters) -> Tensor:
        if self.noise_follows_step:
            return super().deviation(state, up, change, drawn)
        return self.step_noise * torch.where(up, drawn["up"], drawn["down"])

    def straight_steps(self, drawn: Parameters) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]] | None:
        if self.is_noisy and not self.noise_follows_step:
            return None
        return (-drawn["down"], drawn["slope_down"]), (drawn["up"], -drawn["slope_up"])

    def step_expressions(self) -> tuple[str, str]:
        return "{up}-{slope_up}*v(held)", "{down}-{slope_down}*v(held)"

    def step_parameters(self, drawn: Parameters) -> dict[str, Tensor]:
        return super().step_parameters(drawn) | {name: drawn[name] for name in ("slope_up", "slope_down")}


@dataclass(frozen=True, kw_only=True)
class SoftBounds(LinearStep):
    """Steps that vanish linearly at the bounds they approach: `LinearStep` with γ = 1."""

    gamma_up: float = dataclasses.field(default=1.0, init=False)
    gamma_down: float = dataclasses.field(default=1.0, init=False)


@dataclass(frozen=True, kw_only=True)
class SoftBoundsReference(LinearStep):
    """Soft bounds, read against a reference device of its own: what is read is w − r.

    Parameters
    ----------
    reference_mean, reference_spread : float
        Mean and standard deviation of r over devices. (reference_mean, reference_std)
    noise_follows_step : bool
        As in `LinearStep`. (mult_noise, false there)
    subtract_symmetry_point : bool
        Whether r is added to the device's symmetry point (up − down)/(up/w_max − down/w_min), where both steps are
        equal, so that this point is read as w = 0.

    References
    ----------
    .. [1] N. Gong, M. J. Rasch et al., "Deep Learning Acceleration in 14nm CMOS Compatible ReRAM Array," IEDM 2022.
    """

    gamma_up: float = dataclasses.field(default=1.0, init=False)
    gamma_down: float = dataclasses.field(default=1.0, init=False)
    reference_mean: float = 0.0
    reference_spread: float = 0.0
    subtract_symmetry_point: bool = False

    def _signed(self) -> tuple[str, ...]:
        return ("reference_mean",)

    def draw(self, n_devices: int, generator: torch.Generator) -> dict[str, Tensor]:
        drawn = super().draw(n_devices, generator)
        reference = self.reference_mean + _normal(self.reference_spread, n_devices, generator)
        if self.subtract_symmetry_point:
            slope = drawn["slope_up"] - drawn["slope_down"]
            # A stuck device has no steps, and so no symmetry point.
            reference = reference + torch.where(slope > 0, (drawn["up"] - drawn["down"]) / slope, 0.0)
        return drawn | {"reference": reference}

    def read_offset(self, drawn: Parameters) -> Tensor:
        return drawn["reference"]
