"""What an element says of the netlist card that stands for it, in no simulator's words.

A kind of branches gives a `NetlistForm`, and so does a `Diode`: a linear element (`Primitive`), an `Expression` of
voltages, a `Table`, a `Junction`, a device with a model card (`ModelInstance`), or parts of its own (`Assembly`). The
writer makes the cards of it (`FormWriter`), and each dialect formats them. A form says values; the nodes are those of
the group that it stands for.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Protocol

import numpy as np
import torch
from torch import Tensor

from analog_ep.constants import ZERO_CELSIUS
from analog_ep.errors import CircuitError

Numbers = float | Sequence[float] | np.ndarray | Tensor
"""A number for all elements, or one for each."""
Model = tuple[str, tuple[tuple[str, float], ...]]
"""Type of a model card, such as ``NMOS``, and its parameters in SPICE's words; no type for a `Junction`'s."""


def per_element(values: Numbers, count: int) -> list[float]:
    """One number for each of `count` elements."""
    array = values.detach().cpu().numpy() if isinstance(values, Tensor) else np.asarray(values)
    return np.broadcast_to(array.astype(np.float64), (count,)).tolist()


class NetlistForm(ABC):
    """How the elements of a group stand in a netlist. A form of one's own writes itself with `FormWriter`."""

    name: ClassVar[str]
    """What a dialect has or lacks, such as "expressions"."""
    letter: str
    """Begins the names of the elements."""
    follows_sources: ClassVar[bool] = False
    """Whether the cards depend on the values of sources, or on their names."""

    @abstractmethod
    def cards(self, writer: FormWriter, group: Any) -> Iterator[str]:
        """The cards of a group, by the writer's method for this form."""

    def driven_values(self, drive: Callable[[Any], Any], group: Any) -> list[float | str] | None:
        """Values that `drive` gives the elements; None where they have their own."""
        return None

    def models(self, count: int, kelvin: float | None) -> list[Model]:
        """Model of each element; `kelvin` where no element can have a temperature of its own. Empty without models."""
        return []

    def gmin(self) -> set[float]:
        """Conductances that SPICE's gmin has to be. [S]"""
        return set()

    def definitions(self) -> tuple[str, str]:
        """Name of what others' cards define that a deck must have once, and these cards; empty texts without any."""
        return "", ""

    def steepest_current(self, volts: float) -> float:
        """Largest slope times largest voltage where the terminals are up to `volts` from ground. [A]

        Only of elements whose slopes may dwarf all others.
        """
        return 0.0


class FormWriter(Protocol):
    """What makes the cards of each form: the writer of netlists."""

    def primitives(self, group: Any, form: Primitive) -> Iterator[str]: ...
    def sources(self, group: Any, form: Source) -> Iterator[str]: ...
    def followers(self, group: Any, form: Follower) -> Iterator[str]: ...
    def assemblies(self, group: Any, form: Assembly) -> Iterator[str]: ...
    def junctions(self, group: Any, form: Junction) -> Iterator[str]: ...
    def instances(self, group: Any, form: ModelInstance) -> Iterator[str]: ...
    def piecewise(self, group: Any, form: PiecewiseLinear) -> Iterator[str]: ...
    def expressions(self, group: Any, form: Expression) -> Iterator[str]: ...
    def tables(self, group: Any, form: Table) -> Iterator[str]: ...
    def foreign(self, group: Any, form: Any) -> Iterator[str]: ...


@dataclass(frozen=True, eq=False)
class Primitive(NetlistForm):
    """A linear element of SPICE's: ``r``, ``c``, ``l``, ``i`` of two nodes, ``e`` and ``g`` of four.

    Parameters
    ----------
    letter : str
        Which.
    values : ndarray (n_elements,)
        In SPICE's unit: [Ω], [F], [H], [A], none, [S].
    """

    name = "elements"

    letter: str
    values: np.ndarray

    def cards(self, writer: FormWriter, group: Any) -> Iterator[str]:
        return writer.primitives(group, self)

    def values_of(self, label: str) -> list[float]:
        """The values as the cards carry them."""
        return self.values.tolist()


@dataclass(frozen=True, eq=False)
class Resistors(Primitive):
    """Resistors, given by their conductances. [S]"""

    letter: str = field(default="r", init=False)

    def values_of(self, label: str) -> list[float]:
        # ngspice reads 0 Ω as 1 mΩ without a word, and below 2.3e-308 S a resistance is no longer a number.
        with np.errstate(divide="ignore", over="ignore"):
            ohms = 1 / self.values
        if not (ohms.all() and np.isfinite(ohms).all()):
            raise CircuitError(f"{label}: a resistor cannot stand for 0 S or infinite conductance; change the branch")
        return ohms.tolist()


@dataclass(frozen=True)
class Source(NetlistForm):
    """Independent voltage sources, whose values follow from the inputs."""

    name = "elements"
    letter = "v"
    follows_sources = True

    def cards(self, writer: FormWriter, group: Any) -> Iterator[str]:
        return writer.sources(group, self)

    def driven_values(self, drive: Callable[[Any], Any], group: Any) -> list[float | str]:
        return list(drive(group))


@dataclass(frozen=True, eq=False)
class Follower(NetlistForm):
    """Sources controlled by the currents of the voltage sources that `Branches.followed` names: ``f`` and ``h``.

    Parameters
    ----------
    letter : str
        Which.
    gain : ndarray (n_elements,)
        Of the current: none for ``f``, [Ω] for ``h``.
    """

    name = "elements"
    follows_sources = True

    letter: str
    gain: np.ndarray

    def cards(self, writer: FormWriter, group: Any) -> Iterator[str]:
        return writer.followers(group, self)


@dataclass(frozen=True)
class Part:
    """One of the elements that together stand for an element.

    Attributes
    ----------
    letter, suffix : str
        Name: the letter, the whole element's label and index, and the suffix, as in ``v_amp_0_offset``.
    nodes : tuple of int or str
        Nodes of the circuit, or hidden ones of the element by their suffix, as in ``_amp_0_in``.
    value : float
        In SPICE's unit.
    sensed : str or None
        Suffix of the part, a voltage source, whose current controls this one.
    """

    letter: str
    suffix: str
    nodes: tuple[int | str, ...]
    value: float
    sensed: str | None = None


@dataclass(frozen=True, eq=False)
class Assembly(NetlistForm):
    """Several linear elements for each.

    Parameters
    ----------
    letter : str
        Of the part that counts as the element.
    parts : sequence of sequence of Part
        For each element.
    """

    name = "elements"

    letter: str
    parts: Sequence[Sequence[Part]]

    def cards(self, writer: FormWriter, group: Any) -> Iterator[str]:
        return writer.assemblies(group, self)


@dataclass(frozen=True, eq=False)
class Junction(NetlistForm):
    """Junction diodes from the first terminal to the second, in SPICE's parameters at a nominal temperature.

    Parameters
    ----------
    parameters : dict of str to float or Tensor (n_elements,)
        By SPICE's words in the order of the card: IS [A], N, RS [Ω], EG [eV], XTI, TNOM [K]. RS of 0 is left out.
    temperature : float or Tensor (n_elements,)
        Of each junction. [K]
    conductance : float or Tensor (n_elements,)
        Across each junction, SPICE's gmin. [S]
    at : callable
        Parameters of the junctions that at a temperature [K] have the characteristics of these at their own.
    """

    name = "junction diodes"
    letter = "d"

    parameters: dict[str, Any]
    temperature: Any
    conductance: Any
    at: Callable[[float], dict[str, Any]]

    def cards(self, writer: FormWriter, group: Any) -> Iterator[str]:
        return writer.junctions(group, self)

    def models(self, count: int, kelvin: float | None) -> list[Model]:
        parameters = self.parameters if kelvin is None else self.at(kelvin)
        columns = [per_element(values, count) for values in parameters.values()]
        rows = (dict(zip(parameters, row, strict=True)) for row in zip(*columns, strict=True))
        return [("", tuple(_of_card(row).items())) for row in rows]

    def gmin(self) -> set[float]:
        return set(torch.as_tensor(self.conductance, dtype=torch.float64).reshape(-1).tolist())


def _of_card(parameters: dict[str, float]) -> dict[str, float]:
    """Without a resistance of 0, and with the temperature in °C."""
    nominal = {"TNOM": celsius(parameters["TNOM"])}
    return {key: value for key, value in (parameters | nominal).items() if key != "RS" or value > 0}


def celsius(kelvin: float) -> float:
    """A temperature as cards have it. [°C]"""
    # Beyond 12 digits lies the rounding of the subtraction, and 300.15 K must read 27.
    return round(kelvin - ZERO_CELSIUS, 12)


@dataclass(frozen=True, eq=False)
class ModelInstance(NetlistForm):
    """Devices of a simulator's own with a model card: ``.model nmos_0 NMOS(LEVEL=1 …)`` and ``m_x_0 d g s b nmos_0``.

    Parameters
    ----------
    letter : str
        Of the instances: ``m``, ``q``, ``j``, ``d``, …
    type : str
        Of the model: ``NMOS``, ``PNP``, ….
    model : dict of str to float or ndarray (n_elements,)
        Parameters of the model card, in SPICE's words; elements that share all of them share a card.
    terminals : sequence of str
        Fields of the group that hold the nodes, in the order of the card; ``"_g"`` is a node that `parts` join.
    instance : dict of str to float or ndarray (n_elements,), optional
        Parameters of the instances, such as W and L [m].
    temperature, nominal_temperature : float or ndarray (n_elements,), optional
        Of each device, and at which the model holds, where these are not the simulation's. [K]
    conductance : float or ndarray (n_elements,), optional
        SPICE's gmin, where it matters. [S]
    parts : sequence of sequence of Part, optional
        Further elements, for each.
    """

    name = "model cards"

    letter: str
    type: str
    model: dict[str, Any]
    terminals: Sequence[str]
    instance: dict[str, Any] = field(default_factory=dict)
    temperature: Any = None
    nominal_temperature: Any = None
    conductance: Any = None
    parts: Sequence[Sequence[Part]] = ()

    def __post_init__(self):
        for word in (self.letter, self.type, *self.model, *self.instance):
            if not (word.isascii() and word.isidentifier()):
                raise CircuitError(f"a model card holds plain words, found {word!r}; use letters, digits and _")

    def cards(self, writer: FormWriter, group: Any) -> Iterator[str]:
        return writer.instances(group, self)

    def models(self, count: int, kelvin: float | None) -> list[Model]:
        model = dict(self.model)
        if self.nominal_temperature is not None:
            model["TNOM"] = [celsius(each) for each in per_element(self.nominal_temperature, count)]
        if kelvin is not None and set(self.temperatures(count)) - {kelvin}:
            raise CircuitError(
                f"a {self.type} transistor must be at the circuit's {kelvin} K, as the simulator gives devices none "
                f"of their own, found {sorted(set(self.temperatures(count)))} K; set the circuit's"
            )
        columns = [per_element(values, count) for values in model.values()]
        rows = zip(*columns, strict=True) if columns else [()] * count
        return [(self.type, tuple(zip(model, row, strict=True))) for row in rows]

    def temperatures(self, count: int) -> list[float]:
        """Of each device; empty where none has its own. [K]"""
        return [] if self.temperature is None else per_element(self.temperature, count)

    def gmin(self) -> set[float]:
        return set() if self.conductance is None else set(np.ravel(self.conductance).tolist())


@dataclass(frozen=True, eq=False)
class PiecewiseLinear(NetlistForm):
    r"""Currents :math:`g_0 v + \sum_k \Delta g_k [\max(v - t_k, 0) - \max(-t_k, 0)]` of the voltage across.

    Parameters
    ----------
    leakage : float or Tensor (n_elements,)
        :math:`g_0`. [S]
    thresholds, increments : sequence of float
        :math:`t_k` [V] and :math:`\Delta g_k` [S].
    offset : float or Tensor (n_elements,)
        Shift of every threshold. [V]
    """

    name = "piecewise-linear elements"
    letter = "b"

    leakage: Any
    thresholds: Sequence[float]
    increments: Sequence[float]
    offset: Any = 0.0

    def cards(self, writer: FormWriter, group: Any) -> Iterator[str]:
        return writer.piecewise(group, self)

    def rows(self, count: int) -> Iterator[tuple[float, list[tuple[float, float]]]]:
        """Leakage and bends (voltage, change of the slope) of each element."""
        for leakage, offset in zip(per_element(self.leakage, count), per_element(self.offset, count), strict=True):
            yield leakage, [(t + offset, d) for t, d in zip(self.thresholds, self.increments, strict=True)]

    def steepest_current(self, volts: float) -> float:
        slope, bend = max(map(abs, self.increments)), max(map(abs, self.thresholds))
        return slope * (bend + float(torch.as_tensor(self.offset, dtype=torch.float64).abs().max()) + volts)


@dataclass(frozen=True)
class Expression(NetlistForm):
    """Currents from the first terminal to the second that follow expressions of the voltages of the group's controls.

    Parameters
    ----------
    texts : callable
        Gives for the texts of each control's voltages the expressions, or None: see `CurrentLaw.expressions`.
    """

    name = "expressions"
    letter = "b"

    texts: Callable[..., Sequence[str] | None]

    def cards(self, writer: FormWriter, group: Any) -> Iterator[str]:
        return writer.expressions(group, self)


@dataclass(frozen=True, eq=False)
class Table(NetlistForm):
    """Currents through points of the voltage of the group's one control: straight between them, and on beyond the last.

    Parameters
    ----------
    voltages : ndarray (n_points,) or (n_elements, n_points)
        Increasing. [V]
    currents : ndarray (n_points,) or (n_elements, n_points)
        From the first terminal to the second. [A]

    Raises
    ------
    CircuitError
        If voltages do not increase, there are fewer than two, or a value is not finite.
    """

    name = "tables"
    letter = "b"

    voltages: np.ndarray
    currents: np.ndarray

    def __post_init__(self):
        volts, amperes = (np.asarray(values, dtype=np.float64) for values in (self.voltages, self.currents))
        object.__setattr__(self, "voltages", volts)
        object.__setattr__(self, "currents", amperes)
        finite = np.isfinite(volts).all() and np.isfinite(amperes).all()
        fit = volts.ndim in (1, 2) and amperes.ndim in (1, 2) and volts.shape[-1] == amperes.shape[-1] >= 2
        if not (fit and finite and (np.diff(volts) > 0).all()):
            raise CircuitError(
                f"a table must have finite points, two or more, of increasing voltage, found voltages of shape "
                f"{volts.shape} and currents of shape {amperes.shape}; sort them, and give each its current"
            )

    def cards(self, writer: FormWriter, group: Any) -> Iterator[str]:
        return writer.tables(group, self)

    def rows(self, count: int) -> Iterator[list[tuple[float, float]]]:
        """Points of each element."""
        volts, amperes = (np.broadcast_to(v, (count, v.shape[-1])) for v in (self.voltages, self.currents))
        for v, i in zip(volts.tolist(), amperes.tolist(), strict=True):
            yield list(zip(v, i, strict=True))

    def steepest_current(self, volts: float) -> float:
        slopes = np.diff(self.currents) / np.diff(self.voltages)
        return float(np.abs(slopes).max() * (np.abs(self.voltages).max() + volts))

    def current(self, volts: np.ndarray) -> np.ndarray:
        """The law, elementwise on `(*batch, n_elements)` [V]: what a kind with this form may give as its own. [A]"""
        v, i, at = self._segments(volts)
        return i + self._slopes(at) * (volts - v)

    def slope(self, volts: np.ndarray) -> np.ndarray:
        """Its slope, at a point that to the right. [S]"""
        return self._slopes(self._segments(volts)[2])

    def _segments(self, volts: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Voltage and current where the segment begins that each voltage lies on, and the segment's index."""
        inner = np.broadcast_to(self.voltages[..., 1:-1], (volts.shape[-1], self.voltages.shape[-1] - 2))
        at = (volts[..., None] >= inner).sum(-1)
        return self._taken(self.voltages, at), self._taken(self.currents, at), at

    def _slopes(self, at: np.ndarray) -> np.ndarray:
        return self._taken(np.diff(self.currents) / np.diff(self.voltages), at)

    def _taken(self, values: np.ndarray, at: np.ndarray) -> np.ndarray:
        each = np.broadcast_to(values, (at.shape[-1], values.shape[-1]))
        return each[np.arange(at.shape[-1]), at]
