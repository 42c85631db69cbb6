"""Nodes and values of elements as they are given, by name and as text, made arrays."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from analog_ep.circuit.nodes import Indices, Values
from analog_ep.errors import CircuitError
from analog_ep.support.numbers import read_number


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
