"""Arrays of branches, one class a kind of element. Each array has one entry per element."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, ClassVar

import numpy as np
import torch

from analog_ep.devices import Diode, TanhCurve
from analog_ep.errors import CircuitError

Indices = Any
"""Node indices, 0 for ground: given as one or a sequence of them, kept as int64 `(n_elements,)`."""

Values = Any
"""Element values: given as one or a sequence of them, kept as float64 `(n_elements,)`."""

NONE = -1
"""Index of an input or node that an element does not have."""


@dataclass(frozen=True, eq=False)
class Branches:
    """Elements of one kind that belong together. `label` is unique in a circuit and begins their netlist names."""

    label: str

    values: ClassVar[tuple[str, ...]] = ()
    """Fields that hold element values; scalars are spread over the elements."""
    terminals: ClassVar[tuple[str, ...]] = ("positive", "negative")
    """Fields that hold node indices."""

    def __post_init__(self):
        sizes = {name: np.atleast_1d(getattr(self, name)).shape for name in self.terminals}
        n_elements = max((shape[0] for shape in sizes.values()), default=0)
        for name in self.terminals:
            self._set(name, np.atleast_1d(getattr(self, name)), np.int64, n_elements)
        for name in self.values:
            self._set(name, np.atleast_1d(np.asarray(getattr(self, name), dtype=np.float64)), np.float64, n_elements)

    def _set(self, name: str, array: np.ndarray, dtype: type, n_elements: int) -> None:
        if array.shape not in ((n_elements,), (1,)):
            raise CircuitError(
                f"{self.label}: {name} must be one value or {n_elements} of them, found an array of shape {array.shape}"
            )
        spread = np.ascontiguousarray(np.broadcast_to(array.astype(dtype), (n_elements,)))
        spread.flags.writeable = False
        object.__setattr__(self, name, spread)

    def __len__(self) -> int:
        return len(getattr(self, self.terminals[0]))

    def nodes(self) -> np.ndarray:
        """All node indices that the elements touch, `(n_terminals · n_elements,)`."""
        return np.concatenate([getattr(self, name) for name in self.terminals])

    def arrays(self) -> dict[str, np.ndarray]:
        """Every array field by name."""
        return {f.name: getattr(self, f.name) for f in fields(self) if isinstance(getattr(self, f.name), np.ndarray)}


@dataclass(frozen=True, eq=False)
class Conductances(Branches):
    """Linear conductances g, i = g (v_p − v_n). [S]

    Trainable ones carry the name of the parameter and, per branch, the flat index into it. `nudge` marks elements
    that stand for the elastic nudge: those alone may be negative.
    """

    positive: Indices
    negative: Indices
    siemens: Values
    parameter: str | None = None
    index: Indices | None = None
    nudge: bool = False

    values: ClassVar[tuple[str, ...]] = ("siemens",)

    def __post_init__(self):
        super().__post_init__()
        if (self.parameter is None) != (self.index is None):
            raise CircuitError(f"{self.label}: give parameter and index together, found one of them")
        if self.index is not None:
            self._set("index", np.atleast_1d(self.index), np.int64, len(self))


@dataclass(frozen=True, eq=False)
class Diodes(Branches):
    """Nonlinear two-terminal elements of one model; the model's parameters may be per element."""

    anode: Indices
    cathode: Indices
    device: Diode

    terminals: ClassVar[tuple[str, ...]] = ("anode", "cathode")


@dataclass(frozen=True, eq=False)
class Capacitors(Branches):
    """Linear capacitors. [F]"""

    positive: Indices
    negative: Indices
    farads: Values

    values: ClassVar[tuple[str, ...]] = ("farads",)


@dataclass(frozen=True, eq=False)
class VoltageSources(Branches):
    """Independent sources, v_p − v_n = volts + scale · inputs[input]; `input` −1 for a constant one. [V]"""

    positive: Indices
    negative: Indices
    volts: Values
    input: Indices = NONE
    scale: Values = 1.0

    values: ClassVar[tuple[str, ...]] = ("volts", "scale")

    def __post_init__(self):
        super().__post_init__()
        self._set("input", np.atleast_1d(self.input), np.int64, len(self))

    def source_values(self, inputs: np.ndarray) -> np.ndarray:
        """Source voltages `(*batch, n_elements)` for inputs `(*batch, n_inputs)`. [V]"""
        driven = np.where(self.input >= 0, self.scale, 0.0)
        if not driven.any():
            return np.broadcast_to(self.volts, (*inputs.shape[:-1], len(self)))
        return self.volts + driven * inputs[..., np.maximum(self.input, 0)]


@dataclass(frozen=True, eq=False)
class CurrentSources(Branches):
    """Independent sources; the current flows from the positive node through the source to the negative one. [A]"""

    positive: Indices
    negative: Indices
    amperes: Values

    values: ClassVar[tuple[str, ...]] = ("amperes",)


@dataclass(frozen=True, eq=False)
class VoltageControlledVoltageSources(Branches):
    """SPICE's E: v_p − v_n = gain · (v_cp − v_cn)."""

    positive: Indices
    negative: Indices
    control_positive: Indices
    control_negative: Indices
    gain: Values

    values: ClassVar[tuple[str, ...]] = ("gain",)
    terminals: ClassVar[tuple[str, ...]] = ("positive", "negative", "control_positive", "control_negative")


@dataclass(frozen=True, eq=False)
class VoltageControlledCurrentSources(Branches):
    """SPICE's G: a current gain · (v_cp − v_cn) from the positive node through the source to the negative one. [S]"""

    positive: Indices
    negative: Indices
    control_positive: Indices
    control_negative: Indices
    gain: Values

    values: ClassVar[tuple[str, ...]] = ("gain",)
    terminals: ClassVar[tuple[str, ...]] = ("positive", "negative", "control_positive", "control_negative")


@dataclass(frozen=True, eq=False)
class NonlinearCurrentSources(Branches):
    """SPICE's B: a current siemens · f(v_control) · v_factor from the positive node through the source to the negative.

    f is `curve` or, where `slope` is set, its derivative. A `factor` of −1 is a constant 1 V. [S], of a product [S/V]
    """

    positive: Indices
    negative: Indices
    control: Indices
    curve: TanhCurve
    siemens: Values
    factor: Indices = NONE
    slope: bool = False

    values: ClassVar[tuple[str, ...]] = ("siemens",)
    terminals: ClassVar[tuple[str, ...]] = ("positive", "negative", "control")

    def __post_init__(self):
        super().__post_init__()
        self._set("factor", np.atleast_1d(self.factor), np.int64, len(self))

    def nodes(self) -> np.ndarray:
        return np.concatenate([super().nodes(), self.factor[self.factor >= 0]])

    def currents(self, control: np.ndarray, factor: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Currents [A] and their slopes by both voltages [S], `(*batch, n_elements)` as these. [V]"""
        volts = torch.from_numpy(np.ascontiguousarray(control))
        curve = self.curve
        value, rise = (curve.slope, curve.curvature) if self.slope else (curve.value, curve.slope)
        by_factor = self.siemens * value(volts).numpy()
        return by_factor * factor, self.siemens * rise(volts).numpy() * factor, by_factor


@dataclass(frozen=True, eq=False)
class CurrentControlledCurrentSources(Branches):
    """SPICE's F: gain times the current through voltage source `control` of group `control_label`."""

    positive: Indices
    negative: Indices
    control_label: str
    control: Indices
    gain: Values

    values: ClassVar[tuple[str, ...]] = ("gain",)

    def __post_init__(self):
        super().__post_init__()
        self._set("control", np.atleast_1d(self.control), np.int64, len(self))


@dataclass(frozen=True, eq=False)
class CurrentControlledVoltageSources(Branches):
    """SPICE's H: v_p − v_n = gain times the current through voltage source `control` of `control_label`. [Ω]"""

    positive: Indices
    negative: Indices
    control_label: str
    control: Indices
    gain: Values

    values: ClassVar[tuple[str, ...]] = ("gain",)

    def __post_init__(self):
        super().__post_init__()
        self._set("control", np.atleast_1d(self.control), np.int64, len(self))


@dataclass(frozen=True, eq=False)
class Amplifiers(Branches):
    """Bidirectional amplifiers (Kendall et al. 2020, arXiv:2006.01981).

    Holds `output` at gain·(u + offset) and, where it has one, `inverted` at −gain·(u + offset), u the voltage of
    `input` and `offset` the amplifier's own, referred to its input [V]. Draws from `input` feedback·(i₊ − i₋), i₊ and
    i₋ the currents that leave the two outputs.
    """

    input: Indices
    output: Indices
    gain: Values
    feedback: Values
    inverted: Indices = NONE
    offset: Values = 0.0

    values: ClassVar[tuple[str, ...]] = ("gain", "feedback", "offset")
    terminals: ClassVar[tuple[str, ...]] = ("input", "output")

    def __post_init__(self):
        super().__post_init__()
        self._set("inverted", np.atleast_1d(self.inverted), np.int64, len(self))

    def nodes(self) -> np.ndarray:
        return np.concatenate([self.input, self.output, self.inverted[self.inverted >= 0]])

    def outputs(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Triples (amplifier, output node, +1 or −1), one entry an output."""
        has = self.inverted >= 0
        element = np.arange(len(self))
        return (
            np.concatenate([element, element[has]]),
            np.concatenate([self.output, self.inverted[has]]),
            np.concatenate([np.ones(len(self)), -np.ones(int(has.sum()))]),
        )
