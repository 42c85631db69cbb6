"""Memristors by name."""

from __future__ import annotations

import dataclasses
from typing import Any

from analog_ep.devices.memristors.linear_drift import Biolek, Joglekar, Prodromakis
from analog_ep.devices.memristors.memristor import Memristor
from analog_ep.devices.memristors.stanford import Stanford
from analog_ep.devices.memristors.threshold import TEAM, VTEAM
from analog_ep.devices.memristors.yakopcic import Yakopcic
from analog_ep.errors import DeviceParameterError

MEMRISTORS: dict[str, type[Memristor]] = {
    model.__name__.lower(): model for model in (Joglekar, Biolek, Prodromakis, TEAM, VTEAM, Yakopcic, Stanford)
}
"""Models by the name of their subcircuit, memristor_NAME."""


def memristor(name: str, **parameters: Any) -> Memristor:
    """A model by name, with other parameters where they are given.

    Raises
    ------
    DeviceParameterError
        If the name or a parameter is unknown, or a parameter is outside its range.
    """
    if name not in MEMRISTORS:
        raise DeviceParameterError(f"memristor must be one of {', '.join(MEMRISTORS)}, found {name!r}")
    known = [field.name for field in dataclasses.fields(MEMRISTORS[name])]
    for key in parameters:
        if key not in known:
            raise DeviceParameterError(f"memristor {name} has no parameter {key!r}; it has {', '.join(known)}")
    return MEMRISTORS[name](**parameters)
