"""What elements say of a law that is known within limits, or at the corners of a process."""

from __future__ import annotations

import numpy as np


class KnownWithin:
    """Base class of branches: by default a law is known everywhere, exactly, and of no corner."""

    inexactness: float = 0.0
    """Part by which the current may differ from that of the element's netlist form, where this is another law."""

    @property
    def limited(self) -> bool:
        """Whether `outside` has anything to say."""
        return False

    def outside(self, *volts: np.ndarray) -> str:
        """Where voltages `(*batch, n_elements)` of the controls of a `limited` law lie outside of what is known of its
        current, in words; empty where they do not. Solvers refuse a state that ends there.
        """
        return ""

    def corner_index(self, corner: str) -> float | None:
        """What the parameter ``corner`` is at a corner of a foundry; None for elements that have none."""
        return None
