"""How elements name their nodes and values."""

from __future__ import annotations

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
