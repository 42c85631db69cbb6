"""Elements that store energy: capacitors, open at rest, and inductors, shorts at rest."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from analog_ep.circuit.laws import ChargeLaw, VoltageLaw
from analog_ep.circuit.nodes import Indices, Values
from analog_ep.circuit.trainable import TunableAdmittance
from analog_ep.circuit.voltage_rows import VoltageRows
from analog_ep.devices.forms import NetlistForm, Primitive


class FluxLaw(VoltageLaw):
    """No voltage at rest: the flux of each element is its inductance times the current through it."""

    law_method: ClassVar[str] = "inductances"

    @abstractmethod
    def inductances(self) -> np.ndarray:
        """Inductance of each element, `(n_elements,)`. [H]"""

    def rows(self) -> VoltageRows:
        return VoltageRows.between(*self.ends(), inductive=True)


@dataclass(frozen=True, eq=False)
class Capacitors(TunableAdmittance, ChargeLaw):
    """Linear capacitors. [F]

    Trainable ones carry the name of the parameter and, per branch, the flat index into it.
    """

    positive: Indices
    negative: Indices
    farads: Values
    parameter: str | None = None
    index: Indices | None = None

    values: ClassVar[tuple[str, ...]] = ("farads",)
    symbol: ClassVar[str] = "capacitor"
    shown: ClassVar[tuple[str, str]] = ("farads", "F")
    tuned_field: ClassVar[str] = "farads"

    def __post_init__(self):
        super().__post_init__()
        self._check_parameter()

    def capacitances(self) -> np.ndarray:
        return np.asarray(self.farads)

    def admittance(self, omega: np.ndarray) -> np.ndarray:
        return 1j * omega * self.farads

    def admittance_slope(self, omega: np.ndarray) -> np.ndarray:
        return 1j * omega * np.ones_like(self.farads)

    def netlist_form(self) -> NetlistForm:
        return Primitive("c", np.asarray(self.farads))

    def positive_values(self) -> tuple[str, ...]:
        return self.values


@dataclass(frozen=True, eq=False)
class Inductors(TunableAdmittance, FluxLaw):
    """Linear inductors without coupling, v = L di/dt. [H]

    Trainable ones carry the name of the parameter and, per branch, the flat index into it.
    """

    positive: Indices
    negative: Indices
    henries: Values
    parameter: str | None = None
    index: Indices | None = None

    values: ClassVar[tuple[str, ...]] = ("henries",)
    symbol: ClassVar[str] = "inductor"
    shown: ClassVar[tuple[str, str]] = ("henries", "H")
    tuned_field: ClassVar[str] = "henries"

    def __post_init__(self):
        super().__post_init__()
        self._check_parameter()

    def inductances(self) -> np.ndarray:
        return np.asarray(self.henries)

    def admittance(self, omega: np.ndarray) -> np.ndarray:
        return 1 / (1j * omega * self.henries)

    def admittance_slope(self, omega: np.ndarray) -> np.ndarray:
        return -1 / (1j * omega * np.square(self.henries))

    def netlist_form(self) -> NetlistForm:
        return Primitive("l", np.asarray(self.henries))

    def positive_values(self) -> tuple[str, ...]:
        return self.values
