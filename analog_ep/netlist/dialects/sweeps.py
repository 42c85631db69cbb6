"""Cards of a batch of operating points, for the simulators that solve them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import ClassVar

INDEX = "idx"
"""The node whose voltage counts the samples of a sweep."""


class Sweeps:
    """The forms of one simulator. This class is ngspice's; another dialect overrides what differs."""

    fast_solver: ClassVar[Sequence[str]] = (".options klu",)
    """Cards that choose the faster solver, where the program has it."""
    index_vector: ClassVar[str] = "v(v-sweep)"
    """The vector of the result that counts the points."""
    pin: ClassVar[float] = 1e3
    """Conductance that holds a node where its search begins: one that draws 1 mA begins 1 uV off. [S]"""

    def over_samples(self, index: Iterable[str], values: Iterable[str]) -> str:
        """A value that follows the sample index, from values at ``0,``, ``1,``…, as an expression."""
        return f"pwl(v({INDEX}),{','.join(map(str.__add__, index, values))})"

    def samples(self, source: str, count: int) -> str:
        """An operating point for each sample, by a sweep of the source that holds the index."""
        return f".dc {source} 0 {count - 1} 1"

    def save(self, vectors: Iterable[str]) -> str:
        """The vectors of the result."""
        return f".save {' '.join(vectors)}"

    def vector(self, node: str) -> str:
        """What the result calls the voltage of a node."""
        return f"v({node})"
