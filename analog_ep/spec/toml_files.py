"""The tables of a TOML file, within the bounds of what a spec may hold."""

from __future__ import annotations

import math
import tomllib
from pathlib import Path
from typing import Any

from analog_ep.errors import SpecError
from analog_ep.support.files import read_bounded

_MOST_BYTES = 2**20
_MOST_LEVELS = 16
_LEAST, _MOST = 1e-30, 1e15
"""Magnitudes that a number of a spec may have: squares of either are within single precision or negligible there."""


def read_tables(path: Path) -> dict[str, Any]:
    """The tables of a TOML file.

    Raises
    ------
    SpecError
        If the file is missing, or is not TOML in UTF-8.
    """
    try:
        tables = tomllib.loads(read_bounded(path, _MOST_BYTES).decode())
    except OSError as error:
        raise SpecError(f"the spec {path} must be a readable file, found: {error.strerror}") from None
    except UnicodeDecodeError:
        raise SpecError(f"{path} must be TOML in UTF-8, found other bytes") from None
    except RecursionError:
        raise SpecError(f"{path} must nest tables and arrays at most {_MOST_LEVELS} deep, found more") from None
    except ValueError as error:
        # Not all of tomllib's errors are its own: an integer of 5,000 digits is one of Python's.
        raise SpecError(f"{path} must be TOML, found: {error}") from None
    require_bounds(tables, str(path))
    return tables


def require_bounds(tables: dict[str, Any], origin: str) -> None:
    """Raise `SpecError` for integers beyond TOML's own 64 bits, numbers that no hardware has, and what is nested deeper
    than any spec.
    """
    entries = [(key, value, 1) for key, value in tables.items()]
    while entries:
        key, value, level = entries.pop()
        if isinstance(value, int) and not -(2**63) <= value < 2**63:
            raise SpecError(f"{origin}: {key} must be an integer of 64 bits, found {_digits(value)}")
        # NaN and infinity are refused by the tables, in their own words.
        if isinstance(value, float) and math.isfinite(value) and value and not _LEAST <= abs(value) <= _MOST:
            raise SpecError(f"{origin}: {key} must be 0 or {_LEAST:g}…{_MOST:g} in magnitude, found {value:g}")
        if isinstance(value, dict | list) and level > _MOST_LEVELS:
            raise SpecError(f"{origin}: {key} must be nested at most {_MOST_LEVELS} deep, found more")
        inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
        entries += [(f"{key}.{name}" if isinstance(name, str) else key, each, level + 1) for name, each in inner]


def _digits(value: int) -> str:
    return str(value) if value.bit_length() < 200 else f"one of {value.bit_length()} bits"
