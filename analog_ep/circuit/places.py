"""Where each element's value stands in arrays that have one value an element."""

from __future__ import annotations

import numpy as np

from analog_ep.circuit.branches import Conductances
from analog_ep.circuit.laws import Branches


def places(group: Branches) -> np.ndarray:
    """Place of each element: its flat index into the parameter behind the group, else its own number.

    So whatever is given an element, such as a chip's factors or faults, is in the parameter's own row-major order, in
    whatever order the circuit lists the elements.
    """
    if isinstance(group, Conductances) and group.index is not None:
        return np.asarray(group.index)
    return np.arange(len(group))


def n_places(group: Branches) -> int:
    """Length of an array that has one value an element."""
    return int(places(group).max(initial=-1)) + 1


def placed(group: Branches, values: np.ndarray) -> np.ndarray:
    """Values of the elements (n_elements,), each at its place; NaN where no element stands."""
    array = np.full(n_places(group), np.nan)
    array[places(group)] = values
    return array
