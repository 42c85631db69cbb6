"""Specs as earlier versions wrote them into run folders."""

from __future__ import annotations

from typing import Any

from analog_ep.spec.gradients import GRADIENTS

_GRADIENT = {"variant": "centered", "amplitude": 0.1, "gibbs_steps": 1}
"""Options that stood in the `[gradient]` table of every method, at these values where they had no meaning."""


def without_idle_defaults(tables: dict[str, Any]) -> dict[str, Any]:
    """The tables without options of other methods at the values that an earlier version gave them by itself."""
    gradient = tables.get("gradient")
    if not isinstance(gradient, dict):
        return tables
    known = GRADIENTS.get(str(gradient.get("method", "ep")))
    if known is None:
        return tables
    idle = {key for key, value in _GRADIENT.items() if key not in known.model_fields and gradient.get(key) == value}
    return {**tables, "gradient": {key: value for key, value in gradient.items() if key not in idle}}
