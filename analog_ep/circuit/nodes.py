"""How elements name their nodes and values."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

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


def sees_own_ends(ends: NodePair, controls: Sequence[NodePair]) -> np.ndarray:
    """Elements whose current is one of the voltages at both of their ends, or at one against ground, `(n_elements,)`.

    Where the slopes by them are zero, the Jacobian is singular, and the solver's status says so.

    Parameters
    ----------
    ends : (ndarray, ndarray)
        Nodes between which the current flows, `(n_elements,)`.
    controls : sequence of (ndarray, ndarray)
        Node pairs whose voltages count.
    """
    own = np.stack(ends)
    seen = np.stack([node for pair in controls for node in pair])
    known = (own == GROUND) | (own[:, None] == seen).any(axis=1)
    return known.all(axis=0) & (own != GROUND).any(axis=0)
