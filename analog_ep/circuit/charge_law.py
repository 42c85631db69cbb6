"""Elements whose charge is a capacitance times their voltage."""

from __future__ import annotations

from abc import abstractmethod
from typing import ClassVar

import numpy as np

from analog_ep.circuit.laws import Branches


class ChargeLaw(Branches):
    """No current at rest: the charge of each element is its capacitance times the voltage across it."""

    has_law: ClassVar[bool] = True
    law_method: ClassVar[str] = "capacitances"
    is_open_at_rest: ClassVar[bool] = True

    @abstractmethod
    def capacitances(self) -> np.ndarray:
        """Capacitance of each element, `(n_elements,)`. [F]"""
