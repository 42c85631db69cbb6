"""Table of equilibrium propagation by a sinusoidal nudge and lock-in amplifiers."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import PositiveFloat, PositiveInt

from analog_ep.equilibrium.oscillation import Oscillation
from analog_ep.learning.gradients.lock_in import LockInEquilibriumPropagation
from analog_ep.spec.gradients.table import SWEEPS, GradientTable, Needs, Parts


class LockInSpec(GradientTable):
    """See `analog_ep.learning.LockInEquilibriumPropagation`.

    Attributes
    ----------
    frequency : float
        Of the nudge. [Hz]
    capacitance : float
        Of each node. [F]
    periods : int
        For which every sample is read.
    noise : bool
        Whether the readings have the circuit's noise.
    snr : float, optional
        Least SNR of a batch's gradient.
    """

    needs: ClassVar[Needs] = SWEEPS | {"gradient.kind": ("frozen",)}
    on_chips: ClassVar[bool] = True

    method: Literal["lock_in"] = "lock_in"
    frequency: PositiveFloat = 1e3
    capacitance: PositiveFloat = 1e-12
    periods: PositiveInt = 1
    noise: bool = False
    snr: PositiveFloat | None = None

    def build(self, parts: Parts) -> LockInEquilibriumPropagation:
        return LockInEquilibriumPropagation(
            parts.network,
            self.nudging,
            Oscillation(self.frequency, self.capacitance),
            parts.cost,
            parts.solver,
            parts.chip,
            periods=self.periods,
            noise=self.noise,
            snr=self.snr,
            seed=parts.seed,
        )
