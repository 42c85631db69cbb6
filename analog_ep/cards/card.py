"""A device card: the parameters of one measured or published device."""

from __future__ import annotations

import math
import re
import reprlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

import tomli_w

from analog_ep.cards.units import depth_of, unit_of
from analog_ep.constants import DEFAULT_TEMPERATURE
from analog_ep.devices import Diode, PiecewiseLinearDiode, ShockleyDiode
from analog_ep.devices.memristors import MEMRISTORS, Memristor, memristor
from analog_ep.devices.pulses import MODELS, Lookup, PulseModel, pulse_model
from analog_ep.errors import AnalogEPError, CardError, DeviceParameterError
from analog_ep.measurements import si_scale

KINDS: dict[str, tuple[str, ...]] = {
    "diode": ("shockley", "piecewise"),
    "pulses": (*MODELS, "Lookup"),
    "memristor": tuple(MEMRISTORS),
    "amplifier": ("linear", "rails"),
}
"""Kinds of cards and the models of each."""

_NAME = re.compile(r"[a-z0-9][a-z0-9_]*")
_DIODES: dict[str, type[ShockleyDiode] | type[PiecewiseLinearDiode]] = {
    "shockley": ShockleyDiode,
    "piecewise": PiecewiseLinearDiode,
}
_NOT_OF_MODEL = ("conductance_", "factors_up_", "factors_down_")
_MOST_DEPTH = 2
_Device = TypeVar("_Device")


@dataclass(frozen=True)
class Quantity:
    """One parameter of a card.

    Attributes
    ----------
    value : float, int, bool, or a list of them or of lists
        In `unit`; not NaN.
    uncertainty : float
        1 σ in the same unit; 0 where exact, infinite where the data do not tell the value.
    unit : str
        With an SI prefix where wanted, such as "nA"; empty for the SI unit of the parameter.

    Raises
    ------
    CardError
        If the value or the uncertainty is anything else.
    """

    value: Any
    uncertainty: float = 0.0
    unit: str = ""

    def __post_init__(self):
        if not _numeric(self.value):
            raise CardError(f"value must be a number or a list of them, found {reprlib.repr(self.value)}")
        sigma = self.uncertainty
        if isinstance(sigma, bool) or not (_is_number(sigma) and sigma >= 0):
            raise CardError(f"uncertainty must be a number of at least 0, found {reprlib.repr(sigma)}")

    def in_si(self, unit: str, depth: int = 0) -> Any:
        """The value in the SI unit of its parameter, "1" for none, as a number or, by `depth`, lists of them.

        Raises
        ------
        CardError
            If it is in another unit, or lists lie in one another otherwise.
        """
        scale = si_scale(self.unit or unit, unit)
        if scale is None:
            asked = "a plain number" if unit == "1" else f"in {unit}, with a prefix such as m or n where wanted"
            raise CardError(f"must be {asked}, found the unit {self.unit!r}")
        if not _has_depth(self.value, depth):
            asked = ("a number", "a list of numbers", "a list of lists of numbers")[depth]
            raise CardError(f"must be {asked}, found {reprlib.repr(self.value)}")
        return self.value if scale == (1.0, 0.0) else _scaled(self.value, *scale)


@dataclass(frozen=True)
class Card:
    """A device with its parameters, and where they come from.

    Attributes
    ----------
    name : str
        Lower-case letters, digits and underscores: what a spec calls it by, and its name in a netlist.
    kind, model : str
        See `KINDS`.
    parameters : dict of str to Quantity
        By the names of the model's fields.
    validity : dict of str to list of float
        Range of the data, [low, high], by quantity and unit.
    source : dict of str to str
        What the data are and where they come from.
    fit : dict
        How the parameters were found: noise, verdict, what the data cannot tell.
    """

    name: str
    kind: str
    model: str
    parameters: Mapping[str, Quantity]
    validity: Mapping[str, list[float]] = field(default_factory=dict)
    source: Mapping[str, str] = field(default_factory=dict)
    fit: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self):
        if not is_name(self.name):
            raise CardError(
                f"a card's name must be lower-case letters, digits and underscores, found {self.name!r}; rename it"
            )
        if self.kind not in KINDS:
            raise CardError(f"the card {self.name}: kind must be one of {', '.join(KINDS)}, found {self.kind!r}")
        if self.model not in KINDS[self.kind]:
            models = ", ".join(KINDS[self.kind])
            raise CardError(f"the card {self.name}: model must be one of {models}, found {self.model!r}")
        for key, limits in self.validity.items():
            if not (isinstance(limits, list) and len(limits) == 2 and all(map(_is_number, limits))):
                raise CardError(
                    f"the card {self.name}: validity.{key} must be two numbers, found {reprlib.repr(limits)}"
                )

    def diode(self, temperature: float | None = None) -> Diode:
        """The diode of the card.

        Parameters
        ----------
        temperature : float, optional
            Another junction temperature than the card's own, for a Shockley diode. [K]

        Raises
        ------
        CardError
            If the card is of another kind, a parameter is unknown or outside its range, or another temperature is
            asked for than the card holds at: a piecewise-linear diode, and one without `energy_gap`, holds at its own,
            one that was measured at several within them.
        """
        device = self._build("diode", lambda values: _DIODES[self.model](**values))
        if temperature is None or temperature == self._own_temperature(device):
            return device
        warmed = device.at_temperature(temperature)
        if warmed is None or "energy_gap" not in self.parameters:
            raise CardError(
                f"the card {self.name} holds at its own temperature alone, found {temperature:g} K asked for; "
                "calibrate it at that temperature, or at several"
            )
        low, high = self.validity.get("temperature_K", (0.0, math.inf))
        # One temperature limits nothing: the gap was given, not measured.
        if low < high and not low <= temperature <= high:
            raise CardError(
                f"the card {self.name} holds between {low:g} and {high:g} K, found {temperature:g} K asked for; "
                "calibrate it there too"
            )
        return warmed

    def _own_temperature(self, device: Diode) -> float:
        if device.own_temperature is not None:
            return float(device.own_temperature)
        low, high = self.validity.get("temperature_K", (DEFAULT_TEMPERATURE, DEFAULT_TEMPERATURE))
        return low if low == high else math.nan

    def pulse_model(self) -> PulseModel:
        """The pulse model of the card; its bounds stand for the conductance range of the network.

        Raises
        ------
        CardError
            As for `diode`.
        """

        def build(values: dict[str, Any]) -> PulseModel:
            fields = {name: value for name, value in values.items() if not name.startswith(_NOT_OF_MODEL)}
            for factors in ("factors_up", "factors_down"):
                if numbered := sorted(name for name in values if name.startswith(f"{factors}_")):
                    fields[factors] = tuple(values[name] for name in numbered)
            return Lookup(**fields) if self.model == "Lookup" else pulse_model(self.model, **fields)

        return self._build("pulses", build)

    def memristor(self) -> Memristor:
        """The memristor of the card, in the parameters of its subcircuit.

        Raises
        ------
        CardError
            As for `diode`.
        """
        return self._build("memristor", lambda values: memristor(self.model, **values))

    def amplifier(self) -> tuple[float, float]:
        """Gain and input offset [V] of the card's amplifier; those of a network are linear.

        Raises
        ------
        CardError
            As for `diode`; or if the amplifier inverts, or has rails.
        """
        return self._build("amplifier", self._linear)

    def _linear(self, values: dict[str, Any]) -> tuple[float, float]:
        if self.model == "rails":
            raise DeviceParameterError(
                f"an amplifier of a network must be linear, found rails at {values.get('low')} and "
                f"{values.get('high')} V; calibrate the part of the curve between them"
            )
        if missing := sorted({"gain", "offset"} ^ values.keys()):
            raise DeviceParameterError(f"an amplifier must have gain and offset alone, found {missing[0]} amiss")
        if not 0 < values["gain"] < math.inf:
            raise DeviceParameterError(
                f"gain must be positive, found {values['gain']:g}; a differential drive has the inverted output"
            )
        return float(values["gain"]), float(values["offset"])

    def values(self, kind: str) -> dict[str, Any]:
        """Plain values of the parameters of a card that must be of `kind`."""
        return self._build(kind, dict)

    def _build(self, kind: str, build: Callable[[dict[str, Any]], _Device]) -> _Device:
        if self.kind != kind:
            raise CardError(f"the card {self.name} is of kind {self.kind} ({self.model}), where {kind} was asked for")
        try:
            return build({name: self._value(name, quantity) for name, quantity in self.parameters.items()})
        except (TypeError, ValueError, OverflowError, AnalogEPError) as error:
            raise CardError(f"the card {self.name}: {error}") from None

    def _value(self, name: str, quantity: Quantity) -> Any:
        if isinstance(quantity.value, bool) and self.kind != "pulses":
            raise CardError(f"{name} must be a number, found {quantity.value}")
        try:
            return quantity.in_si(unit_of(self.kind, self.model, name), depth_of(name))
        except CardError as error:
            raise CardError(f"{name} {error}") from None

    def to_toml(self) -> str:
        """The card as `load_card` reads it."""
        parameters = {}
        for name, quantity in self.parameters.items():
            entry: dict[str, Any] = {"value": quantity.value}
            if quantity.uncertainty:
                entry["uncertainty"] = quantity.uncertainty
            parameters[name] = entry | ({"unit": quantity.unit} if quantity.unit else {})
        head = {"name": self.name, "kind": self.kind, "model": self.model}
        tables = {"validity": dict(self.validity), "source": dict(self.source), "fit": dict(self.fit)}
        return tomli_w.dumps(head | {"parameters": parameters} | tables)


def is_name(text: str) -> bool:
    """Whether a card may be called so."""
    return _NAME.fullmatch(text) is not None


def _is_number(value: Any) -> bool:
    """Whether it is a number that a float can hold."""
    if not isinstance(value, (bool, int, float)):
        return False
    try:
        return not math.isnan(float(value))
    except OverflowError:
        return False


def _numeric(value: Any, depth: int = _MOST_DEPTH) -> bool:
    if isinstance(value, list):
        return depth > 0 and all(_numeric(entry, depth - 1) for entry in value)
    return _is_number(value)


def _has_depth(value: Any, depth: int) -> bool:
    if depth == 0:
        return not isinstance(value, list)
    return isinstance(value, list) and all(_has_depth(entry, depth - 1) for entry in value)


def _scaled(value: Any, factor: float, offset: float) -> Any:
    if isinstance(value, list):
        return [_scaled(entry, factor, offset) for entry in value]
    return value * factor + offset
