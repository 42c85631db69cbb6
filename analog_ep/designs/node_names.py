"""A designer's names of nodes, and the names that every netlist here can carry in their place."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterable

from analog_ep.circuit.names import validate_name
from analog_ep.errors import NodeNameError

_STRANGE = re.compile(r"[^a-z0-9_]+")
_OF_GROUPS = re.compile(r"[a-z]+_j\d+")
"""Nodes that the builder adds behind series resistances."""


def safe_names(names: Iterable[str]) -> dict[str, str]:
    """A different name of letters, digits and underscores for each of the designer's; "0" stays.

    Parameters
    ----------
    names : iterable of str
        In lower case, each once.
    """
    given = list(names)
    taken = {name for name in given if _is_safe(name)}
    found: dict[str, str] = {}
    for name in given:
        safe = name
        if name != "0" and name not in taken:
            stem = _STRANGE.sub("_", name).strip("_") or "node"
            stem = stem if stem[0].isalpha() else f"n{stem}"
            safe, count = stem, 0
            while safe in taken or not _is_safe(safe):
                count += 1
                safe = f"{stem}_{count}"
            taken.add(safe)
        found[name] = safe
    return found


def _is_safe(name: str) -> bool:
    with contextlib.suppress(NodeNameError):
        return validate_name(name) == name and not _OF_GROUPS.fullmatch(name)
    return False
