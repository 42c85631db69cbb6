"""What makes the elements of an adjoint network, as the kinds of branches ask for them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Protocol

import numpy as np

from analog_ep.circuit.nodes import NodePair


class AdjointElements(Protocol):
    """Gives a kind what stands for it; see `analog_ep.circuit.adjoint`. Two networks are made in this way."""

    def rest(self, nodes: np.ndarray) -> np.ndarray:
        """Voltages of nodes about which the network is linear: 0 where it carries responses alone. [V]"""
        ...

    def weight(self, pair: NodePair) -> np.ndarray:
        """Weight of the block that each pair of nodes lies in, by which responses are counted; 1 without weights."""
        ...

    def of_currents(self, law: Any) -> Iterator[Any]:
        """The transposed slopes of a `CurrentLaw`."""
        ...

    def of_rows(self, law: Any) -> Iterator[Any]:
        """The transposed rows of a `VoltageLaw`, with what follows their currents."""
        ...
