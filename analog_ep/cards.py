"""Device cards: the parameters of one measured or published device in TOML, by name or by path."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import tomli_w

from analog_ep.devices import Diode, PiecewiseLinearDiode, ShockleyDiode
from analog_ep.devices.memristors import MEMRISTORS, Memristor, memristor
from analog_ep.devices.pulses import MODELS, PRESETS, Lookup, PulseModel, pulse_model
from analog_ep.errors import AnalogEPError, CardError, DeviceParameterError
from analog_ep.measured_steps import measured_steps
from analog_ep.resources import calibration_folder

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
_TABLES = ("parameters", "validity", "source", "fit")


@dataclass(frozen=True)
class Quantity:
    """One parameter of a card: a value or a list of them, its standard uncertainty (1 σ; 0 where exact), its unit."""

    value: Any
    uncertainty: float = 0.0
    unit: str = "1"


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
        if not _NAME.fullmatch(self.name):
            raise CardError(
                f"a card's name must be lower-case letters, digits and underscores, found {self.name!r}; rename it"
            )
        if self.kind not in KINDS:
            raise CardError(f"the card {self.name}: kind must be one of {', '.join(KINDS)}, found {self.kind!r}")
        if self.model not in KINDS[self.kind]:
            models = ", ".join(KINDS[self.kind])
            raise CardError(f"the card {self.name}: model must be one of {models}, found {self.model!r}")

    def diode(self, temperature: float | None = None) -> Diode:
        """The diode of the card.

        Parameters
        ----------
        temperature : float, optional
            Another junction temperature than the card's own, for a Shockley diode. [K]

        Raises
        ------
        CardError
            If the card is of another kind, a parameter is unknown or outside its range, or a piecewise-linear diode
            is asked for at another temperature.
        """
        device = self._build("diode", lambda values: _DIODES[self.model](**values))
        if temperature is None:
            return device
        if not isinstance(device, ShockleyDiode):
            raise CardError(
                f"the card {self.name} holds at its own temperature alone, found {temperature:g} K asked for; "
                "calibrate it at that temperature"
            )
        return replace(device, temperature=temperature)

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
        if not values["gain"] > 0:
            raise DeviceParameterError(
                f"gain must be positive, found {values['gain']:g}; a differential drive has the inverted output"
            )
        return float(values["gain"]), float(values["offset"])

    def values(self, kind: str) -> dict[str, Any]:
        """Plain values of the parameters of a card that must be of `kind`."""
        return self._build(kind, dict)

    def _build(self, kind: str, build) -> Any:
        if self.kind != kind:
            raise CardError(f"the card {self.name} is of kind {self.kind} ({self.model}), where {kind} was asked for")
        try:
            return build({name: quantity.value for name, quantity in self.parameters.items()})
        except (TypeError, AnalogEPError) as error:
            raise CardError(f"the card {self.name}: {error}") from None

    def to_toml(self) -> str:
        """The card as `load_card` reads it."""
        parameters = {}
        for name, quantity in self.parameters.items():
            entry: dict[str, Any] = {"value": quantity.value}
            if quantity.uncertainty:
                entry["uncertainty"] = quantity.uncertainty
            parameters[name] = entry | {"unit": quantity.unit}
        head = {"name": self.name, "kind": self.kind, "model": self.model}
        tables = {"validity": dict(self.validity), "source": dict(self.source), "fit": dict(self.fit)}
        return tomli_w.dumps(head | {"parameters": parameters} | tables)


def load_card(name: str | Path) -> Card:
    """Load a card.

    Parameters
    ----------
    name : str or Path
        Name of a shipped card, or the path of a TOML file.

    Raises
    ------
    CardError
        If there is no such card, or it is broken; naming the key at fault.
    """
    path = _card_path(name)
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise CardError(f"the card {path} must be a readable file, found: {error.strerror}") from None
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise CardError(f"{path} must be TOML in UTF-8, found: {error}") from None
    head = {}
    for key in ("name", "kind", "model"):
        if not isinstance(tables.get(key), str):
            raise CardError(f"{path}: {key} must be a string, found {tables.get(key, 'nothing')!r}")
        head[key] = tables.pop(key)
    for key, value in tables.items():
        if key not in _TABLES or not isinstance(value, dict):
            raise CardError(f"{path}: a card has the tables {', '.join(_TABLES)}, found {key!r}")
    parameters = {key: _quantity(path, key, entry) for key, entry in tables.pop("parameters", {}).items()}
    return Card(**head, parameters=parameters, **tables)


def pulsed_device(name: str, **parameters: Any) -> PulseModel:
    """A pulse model by name: of the literature, of a card, or with the steps of a measurement.

    Parameters
    ----------
    name : str
        A model or preset, see `analog_ep.devices.pulses.pulse_model`; a card, see `load_card`; or the path of a CSV of
        pulses, see `analog_ep.measured_steps`.
    **parameters
        Fields of the model that differ.

    Raises
    ------
    DeviceParameterError
        If there is no such name, or a parameter is unknown or outside its range.
    CardError
        If the card is broken or of another kind.
    DataError
        If the CSV cannot be used.
    """
    if name in MODELS or name in PRESETS:
        return pulse_model(name, **parameters)
    if name.endswith(".csv"):
        return measured_steps(Path(name), **parameters)
    if name not in card_names() and not name.endswith(".toml"):
        known, cards = ", ".join([*MODELS, *PRESETS]), ", ".join(card_names())
        raise DeviceParameterError(
            f"device must be one of {known}, the path of a CSV of pulses, a card ({cards}) or the path of one, "
            f"found {name!r}"
        )
    card = load_card(name)
    changed = {key: Quantity(value) for key, value in parameters.items()}
    return replace(card, parameters={**card.parameters, **changed}).pulse_model()


def card_names() -> list[str]:
    """Names of the shipped cards."""
    return sorted(path.stem for path in calibration_folder().glob("*.toml"))


def _card_path(name: str | Path) -> Path:
    path = Path(name)
    if path.suffix == ".toml" or len(path.parts) > 1:
        return path
    if not _NAME.fullmatch(str(name)) or not (shipped := calibration_folder() / f"{name}.toml").is_file():
        raise CardError(
            f"a card must be one of {', '.join(card_names())} or the path of a .toml file, found {str(name)!r}"
        )
    return shipped


def _quantity(path: Path, name: str, entry: Any) -> Quantity:
    if not isinstance(entry, dict) or "value" not in entry or not entry.keys() <= {"value", "uncertainty", "unit"}:
        raise CardError(f"{path}: parameters.{name} must have value, unit and perhaps uncertainty, found {entry!r}")
    value = entry["value"]
    if not _numeric(value):
        raise CardError(f"{path}: parameters.{name}.value must be a number or a list of them, found {value!r}")
    return Quantity(value, float(entry.get("uncertainty", 0.0)), str(entry.get("unit", "1")))


def _numeric(value: Any, depth: int = 2) -> bool:
    if isinstance(value, list):
        return depth > 0 and all(_numeric(entry, depth - 1) for entry in value)
    return isinstance(value, (bool, int, float))
