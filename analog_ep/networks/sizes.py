"""Which sizes and precisions a network may have."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from itertools import pairwise

import torch

from analog_ep.errors import NetworkError

_PRECISIONS = (torch.float32, torch.float64)
_MOST_LAYERS = 256
_MOST_PARAMETERS = 2**30
"""Of one network: 8 GiB in float64."""


def checked_sizes(sizes: Sequence[int]) -> tuple[int, ...]:
    """Units of the layers as a network keeps them.

    Raises
    ------
    NetworkError
        If they are not at least two positive whole numbers, or too many for memory.
    """
    try:
        found = tuple(operator.index(size) for size in sizes)
    except TypeError:
        raise NetworkError(f"sizes must be whole numbers, found {sizes}") from None
    if len(found) < 2 or min(found) < 1:
        raise NetworkError(f"sizes must be at least two positive numbers, found {list(sizes)}")
    if len(found) > _MOST_LAYERS:
        raise NetworkError(f"sizes must be those of at most {_MOST_LAYERS} layers, found {len(found)}")
    # Rows for +u and −u, columns for v₊ and v₋ of an output.
    if sum(4 * a * b for a, b in pairwise(found)) > 4 * _MOST_PARAMETERS:
        raise NetworkError(f"sizes must make at most 2^30 pairs of units, found {list(sizes)}")
    return found


def require_precision(dtype: object) -> None:
    """Raise `NetworkError` for a type of parameters in which no equilibrium is solved."""
    if dtype not in _PRECISIONS:
        raise NetworkError(f"parameters must be torch.float32 or torch.float64, found {dtype}")
