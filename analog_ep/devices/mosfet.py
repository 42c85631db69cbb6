"""The interface of a MOSFET's model: the current of its channel, which three voltages control."""

from __future__ import annotations

import dataclasses
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import ClassVar, Literal, Self

import numpy as np
import torch
from torch import Tensor

from analog_ep.constants import DEFAULT_TEMPERATURE
from analog_ep.devices.bulk_junction import BulkJunction
from analog_ep.devices.forms import Expression, ModelInstance, NetlistForm
from analog_ep.devices.parameters import require, require_finite
from analog_ep.devices.per_element import PerElement
from analog_ep.errors import DeviceParameterError

Polarity = Literal["nmos", "pmos"]


@dataclasses.dataclass(frozen=True)
class MosfetModel(PerElement, ABC):
    """MOSFETs of one polarity, whatever says their current: formulas, or a table.

    All methods are elementwise on float64 tensors `(*batch, n_elements)`, the voltages of gate, drain and bulk against
    the source. Subclasses are frozen dataclasses.

    Parameters
    ----------
    polarity : "nmos" or "pmos"
        Whether electrons or holes are the carriers.
    temperature : float or Tensor (n_elements,)
        Of the transistors. [K]
    """

    polarity: Polarity = "nmos"
    temperature: float | Tensor = DEFAULT_TEMPERATURE

    @property
    def sign(self) -> float:
        """+1 of NMOS, −1 of PMOS, whose voltages and currents are those of NMOS with the other sign."""
        return 1.0 if self.polarity == "nmos" else -1.0

    def current(self, gate: Tensor, drain: Tensor, bulk: Tensor) -> Tensor:
        """Current through the channel from drain to source. [A]"""
        sign = self.sign
        return sign * self._current(sign * gate, sign * drain, sign * bulk)

    def slopes(self, gate: Tensor, drain: Tensor, bulk: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Its derivatives by the three voltages, SPICE's gm, gds and gmbs. [S]"""
        sign = self.sign
        return self._slopes(sign * gate, sign * drain, sign * bulk)

    @abstractmethod
    def _current(self, gate: Tensor, drain: Tensor, bulk: Tensor) -> Tensor:
        """`current` of NMOS."""

    @abstractmethod
    def _slopes(self, gate: Tensor, drain: Tensor, bulk: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """`slopes` of NMOS."""

    @abstractmethod
    def noise_density(self, gate: Tensor, drain: Tensor, bulk: Tensor) -> Tensor:
        """Two-sided density of the thermal noise of the channel's current, at `temperature`. [A²/Hz]"""

    def noise_in_spice(self, gate: Tensor, drain: Tensor, bulk: Tensor) -> Tensor:
        """The part of it that ngspice's ``.noise`` has: none of an expression. [A²/Hz]"""
        return torch.zeros_like(drain)

    def bulk_junctions(self) -> tuple[BulkJunction, BulkJunction] | None:
        """Junctions from the bulk to drain and to source, of PMOS into it; None of a model without them."""
        return None

    def expressions(self, gates: Sequence[str], drains: Sequence[str], bulks: Sequence[str]) -> Sequence[str] | None:
        """`current` of each element by the texts of its voltages, see `CurrentLaw.expressions`."""
        return None

    def model_card(self) -> ModelInstance | None:
        """A simulator's own model of them, with the terminals `drain`, `gate`, `source`, `bulk`; None without one."""
        return None

    def netlist_form(self) -> NetlistForm:
        """How transistors with the terminals `drain`, `gate`, `source` and `bulk` stand in a netlist."""
        return self.model_card() or Expression(self.expressions)

    @property
    def turn(self) -> float:
        """+1 where `resistors` count from drain to source, −1 where from source to drain: along the bulk's junction."""
        return 1.0 if self.bulk_junctions() is None else -self.sign

    def resistors(self, gate: Tensor) -> Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]:
        """Current [A] and slope [S] between the ends as of the voltage across, with bulk and source joined.

        Both are counted as `turn` says; the junction between source and drain is part of them.

        Parameters
        ----------
        gate : Tensor (n_elements,)
            Voltages at which the gates are held, against the sources. [V]

        Returns
        -------
        callable
            Of voltages `(*batch, n_elements)` [V].
        """
        turn, junctions = self.turn, self.bulk_junctions()

        def found(volts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            across = torch.from_numpy(np.ascontiguousarray(volts))
            at = gate, turn * across, torch.zeros_like(across)
            current, slope = turn * self.current(*at), self.slopes(*at)[1]
            if junctions is not None:
                more, steeper = junctions[0].current_and_conductance(across)
                current, slope = current + more, slope + steeper
            return current.numpy(), slope.numpy()

        return found

    def _compiled(
        self, kernel: Callable[..., None], *parameters: Tensor | float, sign: float | None = None
    ) -> _Resistors:
        """`resistors` by a compiled loop, of voltages and currents times the sign; by default over NMOS."""
        columns = torch.broadcast_tensors(*(torch.as_tensor(each, dtype=torch.float64) for each in parameters))
        own = self.sign if sign is None else sign
        return _Resistors(own, kernel, tuple(np.ascontiguousarray(column.numpy()) for column in columns))

    def condition(self, gate: Tensor) -> Tensor:
        """Error of the current over that of four roundings where the gate stands so much above source and bulk."""
        return torch.ones_like(gate)

    def kinks(self, gate: Tensor) -> Sequence[Tensor]:
        """Voltages across at which the current of a channel with its bulk at its source changes its form. [V]"""
        return ()

    longest: ClassVar[float] = math.inf
    """Stretch between them over which Gauss and Legendre's rule of `nodes` points is exact, or nearly so. [V]"""
    nodes: ClassVar[int] = 2

    def integral(
        self, function: Callable[[Tensor, Tensor, Tensor], Tensor], gate: Tensor, start: Tensor, end: Tensor
    ) -> Tensor:
        """Integral of `current`, or of one of the `slopes`, over the voltage across; bulk and source are joined.

        Parameters
        ----------
        function : callable
            Of the voltages of gate, drain and bulk.
        gate : Tensor (n_elements,)
            [V]
        start, end : Tensor (*batch, n_elements)
            Bounds of the integral. [V]
        """
        low, high = torch.minimum(start, end), torch.maximum(start, end)
        inner = [torch.minimum(torch.maximum(self.sign * kink + 0 * low, low), high) for kink in self.kinks(gate)]
        count = 1 if math.isinf(self.longest) else max(1, math.ceil(float((high - low).max()) / self.longest))
        inner += [low + (high - low) * (k / count) for k in range(1, count)]
        bounds = torch.stack([low, *inner, high]).sort(0).values
        points, weights = np.polynomial.legendre.leggauss(self.nodes)
        middle, half, total = (bounds[1:] + bounds[:-1]) / 2, (bounds[1:] - bounds[:-1]) / 2, 0 * low
        for point, weight in zip(points.tolist(), weights.tolist(), strict=True):
            at = middle + point * half
            total = total + (weight * half * function(gate, at, 0 * at)).sum(0)
        return torch.where(end >= start, total, -total)

    def conducts(self) -> bool:
        """Whether the channel leaves a path whatever the voltages."""
        return False

    def corner_index(self, corner: str) -> float | None:
        """What the field ``corner`` is at a corner of a foundry; None of a model that has no such field."""
        return None

    spread_fields: ClassVar[dict[str, str]] = {"gate_threshold": "threshold_voltage"}
    """Fields that a chip's spreads of other names are of."""

    @property
    def inexactness(self) -> float:
        """See `CurrentLaw.inexactness`."""
        return 0.0

    limited: ClassVar[bool] = False
    """Whether `outside` has anything to say."""

    def outside(self, gate: Tensor, drain: Tensor, bulk: Tensor) -> str:
        """Where voltages lie outside of what is known of the current, in words; empty where they do not."""
        return ""

    @abstractmethod
    def at_corner(self, kelvin: float, conductance_scale: float, saturation_scale: float) -> Self | None:
        """The transistors at another temperature [K], with factors on transconductance and saturation currents; None
        where they do not tell how they change.
        """


@dataclasses.dataclass(frozen=True)
class Mosfet(MosfetModel, ABC):
    """MOSFETs by a formula, symmetric in drain and source.

    Subclasses are frozen dataclasses; each numeric field is a float, or a tensor `(n_elements,)` with one value per
    element, in SPICE's own signs: the threshold of a PMOS transistor that is off without a gate voltage is negative.

    Parameters
    ----------
    polarity : "nmos" or "pmos"
        Whether electrons or holes are the carriers.
    width, length : float or Tensor (n_elements,)
        Of the channel; positive. [m]
    multiplicity : float or Tensor (n_elements,)
        Number of such transistors side by side; positive.
    threshold_voltage : float or Tensor (n_elements,)
        With source and bulk joined, SPICE's VTO. [V]
    transconductance : float or Tensor (n_elements,)
        SPICE's KP, mobility times the oxide's capacitance per area; positive. [A/V²]
    temperature, nominal_temperature : float or Tensor (n_elements,)
        Of the transistors, and the one at which the parameters hold, SPICE's TNOM; positive. Kelvin here, degrees
        Celsius in SPICE. [K]

    Raises
    ------
    DeviceParameterError
        If a parameter is not finite or not in its range.
    """

    width: float | Tensor = 1e-4
    length: float | Tensor = 1e-4
    multiplicity: float | Tensor = 1.0
    threshold_voltage: float | Tensor = 0.0
    transconductance: float | Tensor = 2e-5
    nominal_temperature: float | Tensor = DEFAULT_TEMPERATURE

    def __post_init__(self):
        kind = type(self).__name__
        if self.polarity not in ("nmos", "pmos"):
            raise DeviceParameterError(f"{kind}: polarity must be 'nmos' or 'pmos', found {self.polarity!r}")
        names = [field.name for field in dataclasses.fields(self) if field.name != "polarity"]
        require_finite(kind, **{name: getattr(self, name) for name in names})
        for name in self._positive():
            value = getattr(self, name)
            require(torch.as_tensor(value) > 0, f"{kind}: {name} must be positive", value)
        for name in self._not_negative():
            value = getattr(self, name)
            require(torch.as_tensor(value) >= 0, f"{kind}: {name} must not be negative", value)

    def _positive(self) -> tuple[str, ...]:
        """Names of the parameters that must be positive."""
        return ("width", "length", "multiplicity", "transconductance", "temperature", "nominal_temperature")

    def _not_negative(self) -> tuple[str, ...]:
        """Names of the parameters that must not be negative."""
        return ()

    def at_corner(self, kelvin: float, conductance_scale: float, saturation_scale: float) -> Self:
        """The transistors at another temperature [K], with factors on transconductance and saturation currents."""
        ones = torch.ones_like(torch.as_tensor(self.transconductance, dtype=torch.float64))
        return dataclasses.replace(
            self, temperature=kelvin * ones, transconductance=self.transconductance * conductance_scale
        )


@dataclasses.dataclass(frozen=True, eq=False)
class _Resistors:
    """Currents and slopes by a loop that fills arrays `(n_samples, n_elements)`."""

    sign: float
    kernel: Callable[..., None]
    parameters: tuple[np.ndarray, ...]

    def __call__(self, volts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        flat = volts.reshape(-1, volts.shape[-1])
        across = np.ascontiguousarray(flat if self.sign > 0 else -flat)
        current, slope = np.empty_like(across), np.empty_like(across)
        self.kernel(across, *self.parameters, current, slope)
        current = current if self.sign > 0 else -current
        return current.reshape(volts.shape), slope.reshape(volts.shape)
