"""Arrays with one value an element, in the order of the parameter behind the elements where there is one.

So whatever is given an element, such as a chip's factors or faults, is in the parameter's own row-major order, in
whatever order the circuit lists the elements.
"""

from __future__ import annotations

import numpy as np

from analog_ep.circuit.law_check import answered
from analog_ep.circuit.laws import Branches


def n_places(group: Branches) -> int:
    """Length of an array that has one value an element."""
    return int(_places(group).max(initial=-1)) + 1


def placed(group: Branches, values: np.ndarray, origin: str = "values") -> np.ndarray:
    """Values of the elements (n_elements,), each at its place; NaN where no element stands.

    Raises
    ------
    CircuitError
        Naming the kind, and the method by `origin`, where there is not one value an element.
    """
    array = np.full(n_places(group), np.nan)
    array[_places(group)] = answered(group, origin, lambda: values, (len(group),))
    return array


def _places(group: Branches) -> np.ndarray:
    return answered(group, "places", group.places, (len(group),)).astype(np.int64)
