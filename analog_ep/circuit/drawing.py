"""Random numbers of a chip: every part has a stream of its own, so that adding one leaves the others as they are."""

from __future__ import annotations

import zlib

import numpy as np

from analog_ep.errors import CircuitError


def stream(seed: int, key: str) -> np.random.Generator:
    """The stream of the part `key` of the chip with this seed."""
    return np.random.default_rng([seed, zlib.crc32(key.encode())])


def require_spread(name: str, value: float) -> None:
    """Raise `CircuitError` unless a standard deviation is finite and not negative."""
    if not (np.isfinite(value) and value >= 0):
        raise CircuitError(f"the spread of {name} must be finite and not negative, found {value}")
