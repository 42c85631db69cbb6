"""Specs as earlier versions wrote them into run folders: with all keys, at their defaults where they had no meaning."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from analog_ep.spec.gradients import GRADIENTS
from analog_ep.spec.relaxation import RelaxationSpec, idle_keys

_GRADIENT = {"variant": "centered", "amplitude": 0.1, "gibbs_steps": 1}
"""Options that stood in the `[gradient]` table of every method."""

_RELAXATION = {name: field.default for name, field in RelaxationSpec.model_fields.items()}


def without_idle_defaults(tables: dict[str, Any]) -> dict[str, Any]:
    """The tables without keys that have no meaning, where these have the values that a version gave them by itself."""
    result = dict(tables)
    gradient, relaxation, network = (_table(tables, name) for name in ("gradient", "relaxation", "network"))
    known = GRADIENTS.get(str(gradient.get("method", "ep")))
    if known is not None and gradient:
        result["gradient"] = _without(gradient, _GRADIENT.keys() - known.model_fields.keys(), _GRADIENT)
    if relaxation:
        idle = idle_keys(str(network.get("kind", "resistive")), str(relaxation.get("method", "sweeps")))
        result["relaxation"] = _without(relaxation, idle, _RELAXATION)
    return result


def _table(tables: dict[str, Any], name: str) -> dict[str, Any]:
    table = tables.get(name)
    return table if isinstance(table, dict) else {}


def _without(table: dict[str, Any], idle: Iterable[str], defaults: dict[str, Any]) -> dict[str, Any]:
    left = {key for key in idle if table.get(key) == defaults[key]}
    return {key: value for key, value in table.items() if key not in left}
