"""The ends of branches, between which voltages are taken and currents flow."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from analog_ep.equilibrium.nodal.branch_kernels import (
    sum_magnitudes,
    sum_outflow,
    take_across,
    take_sizes,
)

BRANCH_CHUNK = 2**17
"""Values of branches held at a time: 1 MiB, so that several arrays stay in the processor's cache."""


@dataclass(frozen=True, eq=False)
class Ends:
    """First and second nodes of branches, each `(n_branches,)`, of a circuit with `n_nodes`.

    A product with the incidence matrix says the same and takes several times as long, which counts where branches are
    many more than nodes.
    """

    first: np.ndarray
    second: np.ndarray
    n_nodes: int

    @classmethod
    def of(cls, pairs: Sequence[tuple[np.ndarray, np.ndarray]], n_nodes: int) -> Ends:
        """Those of groups of branches, one after another."""
        none = np.zeros(0, np.int64)
        first, second = (np.concatenate([none, *(pair[side] for pair in pairs)]) for side in (0, 1))
        return cls(first, second, n_nodes)

    def parts(self, n_samples: int) -> Iterator[slice]:
        """Samples of which so many values of branches are held at a time."""
        step = max(1, BRANCH_CHUNK // max(1, len(self.first)))
        for begin in range(0, n_samples, step):
            yield slice(begin, begin + step)

    def across(self, voltages: np.ndarray) -> np.ndarray:
        """Voltages `(n_samples, n_branches)` from those of the nodes `(n_samples, n_nodes)`. [V]"""
        found = np.empty((len(voltages), len(self.first)))
        take_across(np.ascontiguousarray(voltages), self.first, self.second, found)
        return found

    def sizes(self, voltages: np.ndarray) -> np.ndarray:
        """Sums of the magnitudes that `across` takes the differences of, shapes as there. [V]"""
        found = np.empty((len(voltages), len(self.first)))
        take_sizes(np.ascontiguousarray(voltages), self.first, self.second, found)
        return found

    def outflow(self, currents: np.ndarray) -> np.ndarray:
        """What leaves the nodes `(n_samples, n_nodes)` through the branches' currents `(n_samples, n_branches)`. [A]"""
        found = np.zeros((len(currents), self.n_nodes))
        sum_outflow(np.ascontiguousarray(currents), self.first, self.second, found)
        return found

    def magnitudes(self, currents: np.ndarray) -> np.ndarray:
        """Sum of the currents' magnitudes at the nodes, shapes as of `outflow`. [A]"""
        found = np.zeros((len(currents), self.n_nodes))
        sum_magnitudes(np.ascontiguousarray(currents), self.first, self.second, found)
        return found
