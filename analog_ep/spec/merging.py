"""A spec's tables with other values, as a command's options and a study's variants give them."""

from __future__ import annotations

from typing import Any

from analog_ep.spec.data import COLUMNS
from analog_ep.spec.gradients import GradientTable
from analog_ep.spec.relaxation import shared_keys

_TAGS = ("model", "function")
"""Keys that say what all others of their table mean."""

_METHODS = {"gradient": ("ep", set(GradientTable.model_fields)), "relaxation": ("sweeps", shared_keys())}
"""Tables with a method: the default one, and the keys that every method has."""


def merged(tables: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """Tables with changes merged in key by key; neither is altered.

    A change of a table counts for each table of a list. One that names another `model` or `function` replaces the
    table; another `method`, of the gradient or the relaxation, leaves what all methods have, and drops the options of
    the one before.
    """
    result = dict(tables)
    for key, value in changes.items():
        old = tables.get(key)
        if isinstance(old, list) and isinstance(value, dict):
            result[key] = [_entry(each, value) for each in old]
        elif key == "data" and isinstance(old, dict) and isinstance(value, dict):
            result[key] = {**_rest_of_data(old, value), **value}
        elif key in _METHODS and isinstance(old, dict) and isinstance(value, dict):
            result[key] = {**_options(key, old, value), **value}
        else:
            result[key] = _entry(old, value)
    return result


def _entry(old: Any, value: Any) -> Any:
    both = isinstance(value, dict) and isinstance(old, dict)
    keep = both and all(value.get(tag, old.get(tag)) == old.get(tag) for tag in _TAGS)
    return merged(old, value) if keep else value


def _rest_of_data(old: dict[str, Any], value: dict[str, Any]) -> dict[str, Any]:
    """What other data leave of the old ones: a set by name and a table take each other's place."""
    gone = {"source"} if "table" in value else {"table", *COLUMNS} if "source" in value else set()
    # Targets and classes do so too.
    gone |= {"labels"} if "outputs" in value else {"outputs"} if "labels" in value else set()
    return {key: entry for key, entry in old.items() if key not in gone}


def _options(name: str, old: dict[str, Any], value: dict[str, Any]) -> dict[str, Any]:
    """What another table of this name leaves of the old one."""
    default, shared = _METHODS[name]
    method = old.get("method", default)
    if value.get("method", method) == method:
        return old
    return {key: entry for key, entry in old.items() if key in shared}
