"""How elements name their nodes and values."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from analog_ep.errors import CircuitError
from analog_ep.support.numbers import read_number

Indices = Any
"""Node indices, 0 for ground, or names: given as one or a sequence of them, kept as int64 `(n_elements,)`.

Names are kept as they are until `CircuitBuilder.add`, which knows their indices.
"""

Values = Any
"""Element values: given as one or a sequence of them, kept as float64 `(n_elements,)`.

A text such as "10k" or "4.7meg" is read as SPICE reads it.
"""

NodePair = tuple[np.ndarray, np.ndarray]
"""Nodes between which voltages are taken or currents flow, two arrays int64 `(n_elements,)`."""

NONE = -1
"""Index of an input or node that an element does not have."""

GROUND = 0
"""Index of the ground node, named "0"."""


def as_nodes(nodes: Indices) -> np.ndarray:
    """Indices as int64, or as objects where there are names among them."""
    array = np.atleast_1d(np.asarray(nodes, dtype=None if isinstance(nodes, np.ndarray) else object))
    named = array.dtype.kind in "OU" and any(isinstance(node, str) for node in array.flat)
    return array.astype(object if named else np.int64)


def as_values(values: Values) -> np.ndarray:
    """Values as float64.

    Raises
    ------
    NetlistError
        If a text is no number.
    """
    array = np.atleast_1d(np.asarray(values, dtype=object if isinstance(values, (str, list, tuple)) else None))
    if array.dtype.kind in "OU" and any(isinstance(value, str) for value in array.flat):
        array = np.array([read_number(value) if isinstance(value, str) else value for value in array.flat])
    return array.astype(np.float64)


def indexed(label: str, nodes: np.ndarray, indices: Mapping[str, int]) -> np.ndarray:
    """Node indices of names and indices, int64.

    Raises
    ------
    CircuitError
        If no node has such a name.
    """
    unknown = [node for node in nodes if isinstance(node, str) and node not in indices]
    if unknown:
        raise CircuitError(f"{label}: nodes must be added first, found no node called {unknown[0]!r}; see add_nodes")
    return np.array([indices[node] if isinstance(node, str) else node for node in nodes], dtype=np.int64)
