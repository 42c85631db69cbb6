"""What every table of a spec has in common."""

from __future__ import annotations

import json
from typing import Any

from pydantic import ConfigDict

TABLE = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)
"""A table whose keys are all known and whose values are of their own type."""


def listed(value: Any) -> Any:
    """One value stands for a list of one: a table for every layer, a rate for every crossbar."""
    return value if isinstance(value, list) else [value]


def quoted(value: Any) -> str:
    """A value as TOML writes it."""
    return json.dumps(value) if isinstance(value, str | bool) else str(value)
