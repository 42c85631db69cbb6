"""What every pulse model gives: the step of a state under one pulse, its noise, and its spread over devices."""

from __future__ import annotations

import dataclasses
import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from analog_ep.devices.memristors import Memristor
from analog_ep.devices.selection import voltage_share
from analog_ep.errors import DeviceParameterError

Parameters = Mapping[str, Tensor]
"""Drawn parameters: one value for all devices, or `(n_devices,)`."""


@dataclass(frozen=True, kw_only=True)
class PulseModel(ABC):
    """How the state w of a device answers a programming pulse; a frozen dataclass of nominal parameters.

    A potentiating pulse adds `potentiation(w)`, a depressing one takes `depression(w)` away, each times
    1 + step_noise ξ with ξ standard normal and new at every pulse; then w is held between the device's bounds.
    Steps and bounds are in units of w; `ConductanceMap` gives siemens. Parameters mean what they mean in aihwkit [1]_,
    whose names stand in brackets. The defaults are devices that are all alike and have no noise; where aihwkit's own
    default is another, it stands beside its name, here and in the models.

    Parameters
    ----------
    w_min, w_max : float
        Nominal bounds of the state, w_min < w_max.
    up_down : float
        Asymmetry: below 0 potentiating steps shrink by 1 + up_down, above 0 depressing ones by 1 − up_down.
    step_noise : float
        Cycle-to-cycle noise of a step, relative to it. (dw_min_std, 0.3 there)
    write_noise : float
        Deviation of what is read from the hidden state, new at every pulse, in mean steps. (write_noise_std)
    step_spread, up_down_spread : float
        Device-to-device spread of the step, relative, and of its asymmetry. (dw_min_dtod, 0.3 there; up_down_dtod,
        0.01 there)
    log_normal_spread : bool
        Whether the steps spread by exp(σ ξ) instead of 1 + σ ξ. (dw_min_dtod_log_normal)
    w_min_spread, w_max_spread : float
        Device-to-device spread of the bounds, relative. (w_min_dtod, w_max_dtod, 0.3 there)
    corrupt_probability : float
        Share of devices that are stuck, each anywhere in ±`corrupt_range`.
    corrupt_range : float
        Largest |w| of a stuck device. (corrupt_devices_range, 0.1 there)
    lifetime, lifetime_spread : float
        Decay of the state to `rest_state` by the share 1/lifetime per rest; 0 for none; relative spread.
    rest_state : float
        Where a decaying state goes. (reset)
    diffusion, diffusion_spread : float
        Standard deviation of the state's random walk per rest; relative spread.
    drift_exponent, drift_exponent_spread : float
        ν of g ∝ (t/t_0)^−ν, and its standard deviation over devices.
    pulse_voltage, pulse_width : float
        Of a potentiating pulse, row against column; a pulse takes the energy g V² t of the conductance before it.
        [V], [s]
    depress_voltage : float
        Magnitude of a depressing pulse's voltage, which has the other sign; 0 where it is that of the others. [V]
    disturb_voltage : float
        v_0: a pulse of another voltage v makes a step sinh(v/v_0)/sinh(V/v_0) times as large, in the direction of its
        sign, as ions hop [2]_; positive. The default is k T t_ox/(q γ a_0) of a filament [3]_, see
        `analog_ep.devices.memristors.Stanford`, in the middle of its gap at 298 K. [V]
    endurance : float
        Pulses after which a device no longer answers.

    Raises
    ------
    DeviceParameterError
        If a parameter is outside its range.

    References
    ----------
    .. [1] M. J. Rasch et al., "A Flexible and Fast PyTorch Toolkit for Simulating Training and Inference on Analog
       Crossbar Arrays," AICAS 2021, arXiv:2104.02184; the step equations were compared with traces of release 1.1.0.
    .. [2] D. B. Strukov, R. S. Williams, "Exponential ionic drift: fast switching and low volatility of thin-film
       memristors," Appl. Phys. A 94, 515–519, 2009, doi:10.1007/s00339-008-4975-3.
    .. [3] X. Guan, S. Yu, H.-S. P. Wong, "A SPICE Compact Model of Metal Oxide Resistive Switching Memory With
       Variations," IEEE Electron Device Lett. 33(10), 1405–1407, 2012.
    """

    subcircuit: ClassVar[str] = ""
    """Name of the netlist's subcircuit with these steps; none where there is no such one."""

    w_min: float = -0.6
    w_max: float = 0.6
    up_down: float = 0.0
    step_noise: float = 0.0
    write_noise: float = 0.0
    step_spread: float = 0.0
    up_down_spread: float = 0.0
    log_normal_spread: bool = False
    w_min_spread: float = 0.0
    w_max_spread: float = 0.0
    corrupt_probability: float = 0.0
    corrupt_range: float = math.inf
    lifetime: float = 0.0
    lifetime_spread: float = 0.0
    rest_state: float = 0.0
    diffusion: float = 0.0
    diffusion_spread: float = 0.0
    drift_exponent: float = 0.0
    drift_exponent_spread: float = 0.0
    pulse_voltage: float = 1.0
    pulse_width: float = 1e-7
    depress_voltage: float = 0.0
    disturb_voltage: float = 0.08
    endurance: float = math.inf

    def __post_init__(self):
        self._require_numbers()
        self._require(self.w_min < self.w_max, "w_min must be below w_max", f"{self.w_min} and {self.w_max}")
        self._require(-1 < self.up_down < 1, "up_down must lie between -1 and 1", self.up_down)
        within = 0 <= self.corrupt_probability <= 1
        self._require(within, "corrupt_probability must lie in 0…1", self.corrupt_probability)
        self._require(
            self.lifetime == 0 or self.lifetime > 1, "lifetime must be 0 for none, or more than 1 rest", self.lifetime
        )
        for name in ("pulse_voltage", "pulse_width", "disturb_voltage"):
            self._require(getattr(self, name) > 0, f"{name} must be positive", getattr(self, name))
        self._require(self.endurance >= 1, "endurance must be at least one pulse", self.endurance)

    def _require_numbers(self) -> None:
        signed = {"w_min", "w_max", "up_down", "rest_state", *self._signed()}
        unbounded = {"endurance", "corrupt_range"}
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if field.type == "bool":
                self._require(isinstance(value, bool), f"{field.name} must be true or false", repr(value))
            if field.type != "float":
                continue
            number = isinstance(value, (int, float)) and not isinstance(value, bool)
            self._require(number, f"{field.name} must be a number", repr(value))
            finite = field.name in unbounded or math.isfinite(value)
            self._require(finite and not math.isnan(value), f"{field.name} must be finite", value)
            if field.name not in signed:
                self._require(value >= 0, f"{field.name} must not be negative", value)

    def _signed(self) -> tuple[str, ...]:
        """Names of further parameters that may be negative."""
        return ()

    def _require(self, holds: bool, rule: str, found: object) -> None:
        if not holds:
            raise DeviceParameterError(f"{type(self).__name__}: {rule}, found {found}")

    @property
    def voltages(self) -> tuple[float, float]:
        """Across a device, row against column, of a potentiating and of a depressing pulse; of opposite signs. [V]"""
        return self.pulse_voltage, -(self.depress_voltage or self.pulse_voltage)

    @property
    def electrical(self) -> tuple[str, ...]:
        """Fields that say what a pulse is, and what others do to a device."""
        return ("pulse_voltage", "depress_voltage", "pulse_width", "disturb_voltage")

    @property
    def underlying(self) -> Memristor | None:
        """The memristor whose steps these are; None of a model of steps."""
        return None

    def states_of(self, conductance: Tensor) -> Tensor:
        """The underlying memristor's states at conductances [S], `(n,)`, float64.

        Raises
        ------
        DeviceParameterError
            If there is none.
        """
        raise DeviceParameterError(f"states of a memristor need one, found {type(self).__name__}")

    @property
    @abstractmethod
    def mean_step(self) -> float:
        """What a pulse is taken to change where its size has to be assumed, in units of w."""

    @abstractmethod
    def potentiation(self, state: Tensor, drawn: Parameters) -> Tensor:
        """Mean step up of one pulse, not negative inside the bounds.

        Parameters
        ----------
        state : Tensor (n,)
            w.
        drawn : mapping of str to Tensor, scalar or (n,)
            What `draw` gave, at the same devices.
        """

    @abstractmethod
    def depression(self, state: Tensor, drawn: Parameters) -> Tensor:
        """Mean step down of one pulse, as a positive number; parameters as for `potentiation`."""

    def deviation(self, state: Tensor, up: Tensor, change: Tensor, drawn: Parameters) -> Tensor:
        """Standard deviation of one pulse's step, where `change` is its mean, signed.

        `up` tells potentiating pulses from depressing ones; the sign of `change` does not, which is 0 at a bound where
        steps end, and turned beyond it.
        """
        return self.step_noise * change

    def straight_steps(self, drawn: Parameters) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]] | None:
        """Step and slope where a pulse changes w by step + slope w on average; of a depressing, of a potentiating one.

        Given by models whose noise is relative to that, None for others. It is what `potentiation`, `depression` and
        `deviation` say, in a form that takes less time; a subclass that changes one of them changes this, too.
        """
        return None

    def respond(self, state: Tensor, up: Tensor, drawn: Parameters, generator: torch.Generator) -> Tensor:
        """Signed change of the state by one pulse, with its noise; `up` is boolean, `(n,)`."""
        change = torch.where(up, self.potentiation(state, drawn), -self.depression(state, drawn))
        if not self.is_noisy:
            return change
        noise = torch.randn(state.shape, generator=generator, dtype=state.dtype, device=state.device)
        return change + self.deviation(state, up, change, drawn) * noise

    def disturbance(self, state: Tensor, voltage: float, drawn: Parameters) -> Tensor:
        """Mean signed change of the state by one pulse of any voltage, as devices see them that are not selected.

        Parameters
        ----------
        state : Tensor (n,)
            w.
        voltage : float
            Across the device, row against column, for the width of a pulse. [V]
        drawn : mapping of str to Tensor, scalar or (n,)
            What `draw` gave, at the same devices.
        """
        up, down = self.voltages
        if voltage * up > 0:
            return voltage_share(abs(voltage), abs(up), self.disturb_voltage) * self.potentiation(state, drawn)
        return -voltage_share(abs(voltage), abs(down), self.disturb_voltage) * self.depression(state, drawn)

    def step_expressions(self) -> tuple[str, str]:
        """Steps up and down as ngspice's expressions of v(held), the state before the pulse, and {low}, {high}.

        Raises
        ------
        DeviceParameterError
            If the model has no subcircuit.
        """
        raise DeviceParameterError(
            f"a netlist needs steps in closed form, found the model {type(self).__name__}; fit one of the others by "
            "analog-ep calibrate pulses"
        )

    def step_parameters(self, drawn: Parameters) -> dict[str, Tensor]:
        """Parameters of the expressions by name, `()` or `(n_devices,)`; arguments as for `potentiation`."""
        return {name: drawn[name] for name in ("up", "down")}

    @property
    def is_noisy(self) -> bool:
        """Whether the steps have cycle-to-cycle noise."""
        return self.step_noise > 0

    def draw(self, n_devices: int, generator: torch.Generator) -> dict[str, Tensor]:
        """Parameters of some devices, float64, each `()` where all share it, else `(n_devices,)`.

        The base draws `up` and `down`, the steps of each device; `low` and `high`, its bounds; `rest`, `decay`,
        `walk` and `drift`. Subclasses add their own.
        """
        up, down = self._draw_steps(n_devices, generator)
        low = self.w_min * (1 + _normal(self.w_min_spread, n_devices, generator)).abs()
        high = self.w_max * (1 + _normal(self.w_max_spread, n_devices, generator)).abs()
        bounds = {"low": torch.minimum(low, high), "high": torch.maximum(low, high)}
        drawn = {"up": up, "down": down, **bounds, **self._draw_rest(n_devices, generator)}
        return drawn | self._draw_corrupt(drawn, n_devices, generator)

    def _draw_steps(self, n_devices: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        spread = _normal(self.step_spread, n_devices, generator)
        gain = torch.exp(spread) if self.log_normal_spread else 1 + spread
        tilt = _normal(self.up_down_spread, n_devices, generator)
        up = (gain + min(self.up_down, 0.0) + tilt).abs() * self.mean_step
        down = (gain - max(self.up_down, 0.0) - tilt).abs() * self.mean_step
        return up, down

    def _draw_corrupt(self, drawn: Parameters, n_devices: int, generator: torch.Generator) -> dict[str, Tensor]:
        if not self.corrupt_probability:
            return {}
        corrupt = _uniform(n_devices, generator) < self.corrupt_probability
        floor, ceiling = drawn["low"].clamp(min=-self.corrupt_range), drawn["high"].clamp(max=self.corrupt_range)
        stuck = floor + (ceiling - floor) * _uniform(n_devices, generator)
        steps = {name: torch.where(corrupt, 0.0, drawn[name]) for name in ("up", "down")}
        return steps | {name: torch.where(corrupt, stuck, drawn[name]) for name in ("low", "high")}

    def _draw_rest(self, n_devices: int, generator: torch.Generator) -> dict[str, Tensor]:
        drawn = {"rest": torch.tensor(self.rest_state, dtype=torch.float64)}
        if self.lifetime:
            lifetime = self.lifetime * (1 + _normal(self.lifetime_spread, n_devices, generator))
            drawn["decay"] = 1 / lifetime.clamp(min=1)
        if self.diffusion:
            drawn["walk"] = self.diffusion * (1 + _normal(self.diffusion_spread, n_devices, generator)).abs()
        drawn["drift"] = self.drift_exponent + _normal(self.drift_exponent_spread, n_devices, generator)
        return drawn

    def read_offset(self, drawn: Parameters) -> Tensor:
        """What is subtracted from the state when it is read, scalar or `(n,)`."""
        return torch.zeros((), dtype=drawn["up"].dtype, device=drawn["up"].device)


def _normal(deviation: float, n_devices: int, generator: torch.Generator) -> Tensor:
    """Zero, or a normal draw per device: a parameter without spread stays one number."""
    if not deviation:
        return torch.zeros((), dtype=torch.float64)
    return deviation * torch.randn(n_devices, generator=generator, dtype=torch.float64)


def _uniform(n_devices: int, generator: torch.Generator) -> Tensor:
    return torch.rand(n_devices, generator=generator, dtype=torch.float64)
