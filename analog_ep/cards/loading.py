"""Cards from their files, and devices by name."""

from __future__ import annotations

import reprlib
import tomllib
from collections.abc import Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from analog_ep.cards.card import Card, Quantity, is_name
from analog_ep.cards.measured_steps import measured_steps
from analog_ep.devices.memristors import MEMRISTORS
from analog_ep.devices.pulses import MODELS, PRESETS, MemristorSteps, PulseModel, pulse_model
from analog_ep.errors import CardError, DeviceParameterError
from analog_ep.measurements.content import read_limited
from analog_ep.support.resources import calibration_folder

_TABLES = ("parameters", "validity", "source", "fit")


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
    tables = _tables(path)
    head = {}
    for key in ("name", "kind", "model"):
        if not isinstance(tables.get(key), str):
            raise CardError(f"{path}: {key} must be a string, found {reprlib.repr(tables.get(key, 'nothing'))}")
        head[key] = tables.pop(key)
    for key, value in tables.items():
        if key not in _TABLES or not isinstance(value, dict):
            raise CardError(f"{path}: a card has the tables {', '.join(_TABLES)}, found {key!r}")
    parameters = {key: _quantity(path, key, entry) for key, entry in tables.pop("parameters", {}).items()}
    try:
        return Card(**head, parameters=parameters, **tables)
    except CardError as error:
        raise CardError(f"{path}: {error}") from None


def _tables(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(read_limited(path).decode("utf-8-sig"))
    except OSError as error:
        raise CardError(f"the card {path} must be a readable file, found: {error.strerror}") from None
    except RecursionError:
        raise CardError(f"{path} must be a card in TOML, found lists in one another by the hundred") from None
    except ValueError as error:  # also that of an integer with thousands of digits
        raise CardError(f"{path} must be TOML in UTF-8, found: {error}") from None


def pulsed_device(name: str, **parameters: Any) -> PulseModel:
    """A pulse model by name: of the literature, of a card, or with the steps of a measurement.

    Parameters
    ----------
    name : str
        A model or preset, see `analog_ep.devices.pulses.pulse_model`; a memristor, see
        `analog_ep.devices.memristors.MEMRISTORS`; a card of either kind, see `load_card`; or the path of a CSV of
        pulses, see `analog_ep.cards.measured_steps`.
    **parameters
        Fields of the model that differ; of a memristor those of `MemristorSteps` and its own, `potentiate` and
        `depress` among them.

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
    if name in MEMRISTORS:
        return _memristor_steps(Card("memristor", "memristor", name, {}), parameters)
    if name.endswith(".csv"):
        return measured_steps(Path(name), **parameters)
    if name not in card_names() and not name.endswith(".toml"):
        known, cards = ", ".join([*MODELS, *PRESETS, *MEMRISTORS]), ", ".join(card_names())
        raise DeviceParameterError(
            f"device must be one of {known}, the path of a CSV of pulses, a card ({cards}) or the path of one, "
            f"found {name!r}"
        )
    card = load_card(name)
    if card.kind == "memristor":
        return _memristor_steps(card, parameters)
    changed = {key: Quantity(value) for key, value in parameters.items()}
    return replace(card, parameters={**card.parameters, **changed}).pulse_model()


def _memristor_steps(card: Card, parameters: Mapping[str, Any]) -> MemristorSteps:
    """Steps of the memristor of a card, where parameters of both may differ."""
    known = [field.name for field in fields(MemristorSteps) if field.init and field.name != "memristor"]
    own = {key: Quantity(value) for key, value in parameters.items() if key not in known}
    device = replace(card, parameters={**card.parameters, **own}).memristor()
    pulse = {key: value for key, value in parameters.items() if key in known}
    if missing := sorted({"potentiate", "depress"} - pulse.keys()):
        raise DeviceParameterError(
            f"pulses of a memristor need their voltages, potentiate and depress, found no {missing[0]}; give it in "
            "parameters, and pulse_width"
        )
    return MemristorSteps(memristor=device, **pulse)


def require_device(name: str) -> None:
    """Refuse a name that is none of `pulsed_device`, whatever its parameters.

    Raises
    ------
    DeviceParameterError, CardError, DataError
        As `pulsed_device`.
    """
    card = load_card(name) if name.endswith(".toml") or name in card_names() else None
    if card is not None and card.kind == "memristor":
        card.memristor()
    elif name not in MEMRISTORS:
        pulsed_device(name)


def given_parameters(name: str) -> set[str]:
    """Parameters that a device's own card gives; none of a device of the literature, or of a CSV of pulses.

    Parameters
    ----------
    name : str
        As `pulsed_device` takes it.

    Raises
    ------
    CardError
        If the card is broken.
    """
    if name in MODELS or name in PRESETS or name in MEMRISTORS or name.endswith(".csv"):
        return set()
    return set(load_card(name).parameters)


def card_names() -> list[str]:
    """Names of the shipped cards."""
    return sorted(path.stem for path in calibration_folder().glob("*.toml"))


def _card_path(name: str | Path) -> Path:
    path = Path(name)
    if path.suffix == ".toml" or len(path.parts) > 1:
        return path
    if not is_name(str(name)) or not (shipped := calibration_folder() / f"{name}.toml").is_file():
        raise CardError(
            f"a card must be one of {', '.join(card_names())} or the path of a .toml file, found {str(name)!r}"
        )
    return shipped


def _quantity(path: Path, name: str, entry: Any) -> Quantity:
    if not isinstance(entry, dict) or "value" not in entry or not entry.keys() <= {"value", "uncertainty", "unit"}:
        raise CardError(
            f"{path}: parameters.{name} must have value, unit and perhaps uncertainty, found {reprlib.repr(entry)}"
        )
    try:
        return Quantity(**_known_types(entry))
    except CardError as error:
        raise CardError(f"{path}: parameters.{name}.{error}") from None


def _known_types(entry: Mapping[str, Any]) -> Mapping[str, Any]:
    unit = entry.get("unit", "")
    if not isinstance(unit, str):
        raise CardError(f"unit must be a string, found {reprlib.repr(unit)}")
    return entry
