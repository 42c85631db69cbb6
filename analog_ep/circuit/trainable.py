"""Currents with a quantity that learns: which one, and how the current and the energy follow it."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import ClassVar, Self

import numpy as np

from analog_ep.circuit.laws import Branches, CurrentLaw
from analog_ep.circuit.nodes import Indices, Values
from analog_ep.errors import CircuitError


class TrainableLaw(CurrentLaw):
    """A current with one quantity p an element that may learn: a conductance, a gate voltage.

    Where it does, `parameter` is the name of the array that it is kept in, and `index` the flat index of each element
    into it; both are None elsewhere. Elements with the same index share their p.
    """

    parameter: str | None
    index: Indices | None

    quantity: ClassVar[str]
    """What p is, as in "conductance"."""
    unit: ClassVar[str]
    """Its unit, as in "S"."""

    @property
    @abstractmethod
    def learnt(self) -> np.ndarray:
        """P of each element, `(n_elements,)`."""

    @abstractmethod
    def sensitivity(self, *volts: np.ndarray) -> np.ndarray:
        """∂i/∂p at voltages of the controls, `(*batch, n_elements)`."""

    @abstractmethod
    def contrast(self, volts: Sequence[np.ndarray], changes: Sequence[np.ndarray], linear: bool) -> np.ndarray:
        r"""What ∂φ/∂p gains where the controls' voltages change, φ the co-content, `(*batch, n_elements)`.

        .. math:: \\int ∂i/∂p \\; d(v_1 - v_2)

        along the straight way from `volts` to `volts` + `changes`, v_1 and v_2 the ends' voltages; formed without
        cancellation, or, where `linear` is set, to first order in the changes. A law without a co-content has it too,
        as hardware would form it.

        Parameters
        ----------
        volts, changes : sequence of ndarray (*batch, n_elements)
            Of each control; the second one's are those of the voltage between the ends where there are several. [V]
        linear : bool
            Whether the changes are infinitesimal.
        """


class ConductanceLaw(TrainableLaw):
    """The current is a conductance `siemens` times the element's own voltage. [S]"""

    positive: Indices
    negative: Indices
    siemens: Values

    quantity: ClassVar[str] = "conductance"
    unit: ClassVar[str] = "S"

    @property
    def learnt(self) -> np.ndarray:
        return np.asarray(self.siemens)

    def sensitivity(self, *volts: np.ndarray) -> np.ndarray:
        return volts[0]

    def contrast(self, volts: Sequence[np.ndarray], changes: Sequence[np.ndarray], linear: bool) -> np.ndarray:
        return changes[0] * (volts[0] if linear else volts[0] + changes[0] / 2)


class Tunable:
    """Mixin of groups whose elements carry `parameter` and `index`."""

    label: str
    parameter: str | None
    index: Indices | None
    tuned_field: ClassVar[str]
    """The field that holds what learns."""

    def _check_parameter(self) -> None:
        if (self.parameter is None) != (self.index is None):
            raise CircuitError(f"{self.label}: give parameter and index together, found one of them")
        if self.index is not None:
            self._set("index", np.atleast_1d(self.index), np.int64, len(self))  # pyright: ignore[reportAttributeAccessIssue, reportArgumentType]

    def tuned(self, values: Mapping[str, np.ndarray]) -> Self:
        """The same elements with what they have learnt, by the name of the parameter, each a flat array."""
        if self.parameter is None or self.parameter not in values:
            return self
        return self.with_parameters({self.tuned_field: values[self.parameter][self.index]})  # pyright: ignore


class TunableAdmittance(Tunable, Branches):
    """Linear two-terminal elements, of phasors i = y(ω) v, whose y has one quantity that may learn; beside a law."""

    @abstractmethod
    def admittance(self, omega: np.ndarray) -> np.ndarray:
        """Y of each element `(n_frequencies, n_elements)` [S] at angular frequencies `(n_frequencies, 1)` [rad/s]."""

    @abstractmethod
    def admittance_slope(self, omega: np.ndarray) -> np.ndarray:
        """∂y/∂p by what learns, arguments and shape as of `admittance`."""
