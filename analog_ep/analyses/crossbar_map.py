"""One crossbar at one equilibrium, cell by cell."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, eq=False)
class CrossbarMap:
    """One crossbar at one equilibrium; rows +u, −u, then the bias rows, as in the parameter.

    Attributes
    ----------
    label : str
        Name of the parameter.
    siemens : ndarray (n_rows, n_columns)
        Conductances. [S]
    volts : ndarray (n_rows, n_columns)
        Voltage across each, from its row to its column. [V]
    change : ndarray (n_rows, n_columns) or None
        What a step changes of each conductance, where it was given. [S]
    """

    label: str
    siemens: np.ndarray
    volts: np.ndarray
    change: np.ndarray | None = None

    @property
    def amperes(self) -> np.ndarray:
        """Current through each conductance, from its row into its column, `(n_rows, n_columns)`. [A]"""
        return self.siemens * self.volts

    @property
    def watts(self) -> float:
        """What the crossbar's conductances dissipate together. [W]"""
        return float((self.siemens * self.volts**2).sum())
