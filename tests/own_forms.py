"""Elements of a user's own that state their netlist form, written as a user would write them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from own_kinds import SquareLawTransistors
from torch import Tensor

from analog_ep.circuit import CurrentLaw, VoltageLaw, VoltageRows
from analog_ep.devices import Diode, ShockleyDiode
from analog_ep.devices.content import Content
from analog_ep.devices.forms import Assembly, ModelInstance, NetlistForm, Part, Source, Table


class CardTransistors(SquareLawTransistors):
    """The same by SPICE's model of level 1, with a bulk at the source and no junctions to it to speak of."""

    def netlist_form(self) -> NetlistForm:
        model = {"LEVEL": 1.0, "VTO": self.threshold, "KP": 2e-5, "GAMMA": 0.0, "LAMBDA": 0.0, "IS": 1e-30}
        sizes = {"W": self.factor / 2e-5 * 1e-6, "L": 1e-6}
        return ModelInstance("m", "NMOS", model, ("drain", "gate", "source", "source"), sizes)


@dataclass(frozen=True, eq=False)
class TabledElements(CurrentLaw):
    """Two-terminal elements through measured points."""

    positive: Any
    negative: Any
    table: Table

    def current(self, *volts: np.ndarray) -> np.ndarray:
        return self.table.current(volts[0])

    def slopes(self, *volts: np.ndarray) -> tuple[np.ndarray]:
        return (self.table.slope(volts[0]),)

    def netlist_form(self) -> NetlistForm:
        return self.table


@dataclass(frozen=True, eq=False)
class TabledSources(TabledElements):
    """The same currents, but of the voltage between two further nodes."""

    control: Any = 0

    terminals: ClassVar[tuple[str, ...]] = ("positive", "negative", "control")

    def controls(self):
        return ((self.control, np.zeros_like(self.control)),)


@dataclass(frozen=True)
class SinhDiode(Diode):
    """A junction back to back with its like, i = 2 I_S sinh(v/V). [A]"""

    saturation: float | Tensor = 1e-9
    growth: float | Tensor = 0.05

    def current(self, voltage: Tensor) -> Tensor:
        return 2 * self.saturation * torch.sinh(voltage / self.growth)

    def conductance(self, voltage: Tensor) -> Tensor:
        return 2 * self.saturation / self.growth * torch.cosh(voltage / self.growth)

    def cocontent(self, voltage: Tensor) -> Tensor:
        return 4 * self.saturation * self.growth * torch.sinh(voltage / (2 * self.growth)) ** 2

    def current_difference(self, voltage: Tensor, change: Tensor) -> Tensor:
        half = change / (2 * self.growth)
        return 4 * self.saturation * torch.cosh(voltage / self.growth + half) * torch.sinh(half)

    def voltage_estimate(self, current: Tensor) -> Tensor:
        return self.growth * torch.asinh(current / (2 * self.saturation))

    def in_parallel(self, count: float) -> "SinhDiode":
        return SinhDiode(self.saturation * count, self.growth)

    def expressions(self, voltages: Sequence[str]) -> Sequence[str]:
        rows = zip(*(torch.as_tensor(p).tolist() for p in (self.saturation, self.growth)), voltages, strict=True)
        return [f"({i!r})*(exp({v}/({s!r}))-exp(-({v})/({s!r})))" for i, s, v in rows]

    def content(self, kelvin: float) -> Content:
        current, content = "isat*(exp(u/vg)-exp(-u/vg))", "isat*vg*(exp(u/vg)+exp(-u/vg)-2)"
        columns = torch.broadcast_tensors(*map(torch.as_tensor, (self.saturation, self.growth)))
        return Content("sinh", ("isat", "vg"), current, content, torch.stack(columns, -1).reshape(-1, 2).tolist())


class CardDiode(ShockleyDiode):
    """A junction diode by a model card of its own."""

    def netlist_form(self) -> NetlistForm:
        model = {"IS": self.saturation_current, "N": self.ideality, "CJO": 1e-12}
        return ModelInstance("d", "D", model, ("anode", "cathode"))


@dataclass(frozen=True, eq=False)
class Batteries(VoltageLaw):
    """Cells of 1.5 V."""

    positive: Any
    negative: Any

    def rows(self) -> VoltageRows:
        return VoltageRows.between(self.positive, self.negative, volts=np.full(len(self), 1.5))

    def netlist_form(self) -> NetlistForm:
        return Source()


@dataclass(frozen=True, eq=False)
class LoadedCells(CurrentLaw):
    """A cell of 1 V behind 1 kΩ, in two parts."""

    positive: Any
    negative: Any

    linear: ClassVar[bool] = True

    def current(self, *volts: np.ndarray) -> np.ndarray:
        return (volts[0] - 1.0) / 1e3

    def slopes(self, *volts: np.ndarray) -> tuple[np.ndarray]:
        return (np.full(len(self), 1e-3),)

    def netlist_form(self) -> NetlistForm:
        ends = zip(self.positive.tolist(), self.negative.tolist(), strict=True)
        return Assembly("r", [(Part("r", "", (p, "_in"), 1e3), Part("v", "_cell", ("_in", n), 1.0)) for p, n in ends])
