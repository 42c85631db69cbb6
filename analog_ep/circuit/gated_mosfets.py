"""MOSFETs as edges of a network that learns: what their gate holds is a number of their own."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import ClassVar, Self

import numpy as np
import torch

from analog_ep.circuit.branches import Diodes
from analog_ep.circuit.device_branches import DeviceBranches
from analog_ep.circuit.laws import Branches
from analog_ep.circuit.mosfets import NOT_RECIPROCAL
from analog_ep.circuit.nodes import GROUND, Indices, NodePair, Values
from analog_ep.circuit.trainable import TrainableLaw, Tunable
from analog_ep.devices.forms import Expression, NetlistForm, Part
from analog_ep.devices.mosfet import MosfetModel

_PATH = np.array([-1.0, 1.0]) / (2 * np.sqrt(3)) + 0.5
"""Gauss and Legendre's two points between 0 and 1."""


@dataclass(frozen=True, eq=False)
class GatedMosfets(Tunable, DeviceBranches):
    """MOSFETs whose gates are held `gate_volts` above a node, ground unless `reference` names another; so are bulks.

    The edges of the networks of Dillavou et al. (Phys. Rev. Applied 18, 014040, 2022) and of PyCLLN. They have no
    energy, as `Mosfets` have none. `contrast` is then what hardware forms, and not the cost's gradient: in the linear
    region of level 1, KP·W/L times ½ (v_DS)² of the clamped phase less that of the free one, the rule of these boards.
    `FloatingGateMosfets` have an energy; `AdjointNetwork` and `AsymmetricEquilibriumPropagation` need none.

    Parameters
    ----------
    drain, source : nodes
        Ends of the channel.
    gate_volts : values
        Of each gate, against `reference`. [V]
    device : MosfetModel
        Model of them all.
    reference, bulk : nodes
        What gates are held against, and the bulks.
    parameter, index : str and indices, optional
        Where gate voltages learn: the parameter's name, and the flat index of each element into it.
    """

    drain: Indices
    source: Indices
    gate_volts: Values
    device: MosfetModel
    reference: Indices = GROUND
    bulk: Indices = GROUND
    parameter: str | None = None
    index: Indices | None = None

    has_law: ClassVar[bool] = True
    law_method: ClassVar[str] = "current"
    terminals: ClassVar[tuple[str, ...]] = ("drain", "source", "reference", "bulk")
    values: ClassVar[tuple[str, ...]] = ("gate_volts",)
    tuned_field: ClassVar[str] = "gate_volts"

    def __post_init__(self):
        super().__post_init__()
        self._check_parameter()

    def parts(self) -> Sequence[Branches]:
        return self._parts

    @cached_property
    def _parts(self) -> tuple[Branches, ...]:
        device, own = self.device.expand(len(self)), (self.parameter, self.index)
        channels = GatedChannels(
            self.label, self.drain, self.source, self.gate_volts, device, self.reference, self.bulk, *own
        )
        return channels, *bulk_diodes(self, device, self.bulk)

    def controls(self) -> Sequence[NodePair]:
        """The pairs whose voltages control the channels: gates' reference, drain and bulk against the source."""
        return (self.reference, self.source), (self.drain, self.source), (self.bulk, self.source)

    def parameters(self) -> dict[str, np.ndarray]:
        return super().parameters() | {"gate_volts": np.asarray(self.gate_volts)}

    def with_parameters(self, values: Mapping[str, np.ndarray]) -> Self:
        gates = values.get("gate_volts", self.gate_volts)
        own = {name: value for name, value in values.items() if name != "gate_volts"}
        return replace(super().with_parameters(own), gate_volts=gates)

    def places(self) -> np.ndarray:
        return super().places() if self.index is None else np.asarray(self.index)

    def corner_index(self, corner: str) -> float | None:
        return self.device.corner_index(corner)

    def spread_names(self) -> dict[str, str]:
        known = self.parameters()
        fields = {name: field for name, field in self.device.spread_fields.items() if field in known}
        return super().spread_names() | fields

    def own_temperatures(self) -> np.ndarray:
        return self._spread(self.device.temperature)

    def at_corner(self, kelvin: float, conductance_scale: float, saturation_scale: float) -> Self | None:
        device = self.device.expand(len(self)).at_corner(kelvin, conductance_scale, saturation_scale)
        return None if device is None else replace(self, device=device)

    def irreciprocity(self) -> str:
        return NOT_RECIPROCAL

    def joins_ends(self) -> bool:
        return True

    def is_controlled(self) -> bool:
        return True

    def netlist_form(self) -> NetlistForm:
        card = self.device.expand(len(self)).model_card()
        if card is None:
            return Expression(self._texts)
        gates = zip(np.asarray(self.reference).tolist(), np.asarray(self.gate_volts).tolist(), strict=True)
        parts = [(Part("v", "_gate", ("_g", node), volts),) for node, volts in gates]
        return replace(card, terminals=("drain", "_g", "source", "bulk"), parts=parts)

    def _texts(self, *volts: Sequence[str]) -> Sequence[str] | None:
        references, drains, bulks = volts
        gates = np.asarray(self.gate_volts).tolist()
        texts = [f"({v}+({volts!r}))" for v, volts in zip(references, gates, strict=True)]
        return self.device.expand(len(self)).expressions(texts, drains, bulks)


@dataclass(frozen=True, eq=False)
class FloatingGateMosfets(GatedMosfets):
    r"""MOSFETs whose gates are held `gate_volts` above their own source, and whose bulks are joined to it.

    So a stored charge holds a floating gate, or a capacitor between gate and source. What the channel carries is then a
    function of the voltage v from drain to source alone, :math:`i = F(0) - F(v)` for models without channel-length
    modulation, which does not fall with v: a resistor, if no symmetric one, with the co-content

    .. math:: φ(v; V_G) = \int_0^v i(V_G, u)\,du, \qquad \frac{∂φ}{∂V_G} = \int_0^v g_m(V_G, u)\,du ,

    and a network of them has an energy, whose contrast :math:`\int_{v}^{v + d} g_m\,du` of two phases is the gradient.
    Held against ground instead, as in `GatedMosfets`, :math:`i = F(v_S) - F(v_D)` has the slopes F′(v_S) and F′(v_D) at
    its two ends: a Jacobian that no weights make symmetric, unless all F are one function times a constant, as in weak
    inversion (there networks are linear in :math:`e^{-v/U_T}`).

    From the source to the drain there is the bulk's junction, which conducts where v is far below zero.
    """

    terminals: ClassVar[tuple[str, ...]] = ("drain", "source")

    @cached_property
    def _parts(self) -> tuple[Branches, ...]:
        device, own = self.device.expand(len(self)), (self.parameter, self.index)
        return (FloatingGateChannels(self.label, self.drain, self.source, self.gate_volts, device, *own),)

    def controls(self) -> Sequence[NodePair]:
        return ((self.drain, self.source),)

    def irreciprocity(self) -> str:
        return ""

    def is_controlled(self) -> bool:
        return False

    def netlist_form(self) -> NetlistForm:
        card = self.device.expand(len(self)).model_card()
        if card is None:
            return Expression(self._texts)
        gates = zip(np.asarray(self.source).tolist(), np.asarray(self.gate_volts).tolist(), strict=True)
        parts = [(Part("v", "_gate", ("_g", node), volts),) for node, volts in gates]
        return replace(card, terminals=("drain", "_g", "source", "source"), parts=parts)

    def _texts(self, *volts: Sequence[str]) -> Sequence[str] | None:
        gates = [f"({gate!r})" for gate in np.asarray(self.gate_volts).tolist()]
        return self.device.expand(len(self)).expressions(gates, volts[0], ["0"] * len(self))


def bulk_diodes(group: GatedMosfets, device: MosfetModel, bulk: np.ndarray) -> list[Branches]:
    """Junctions between bulk and ends, without those that join a node to itself."""
    found: list[Branches] = []
    if (junctions := device.bulk_junctions()) is None:
        return found
    for name, junction in zip(("drain", "source"), junctions, strict=True):
        end = np.asarray(getattr(group, name))
        anode, cathode = (bulk, end) if device.sign > 0 else (end, bulk)
        apart = np.flatnonzero(anode != cathode)
        if len(apart):
            # A name that no group of a circuit may have.
            diodes = Diodes(f"{group.label}.{name}", anode, cathode, junction)
            found.append(diodes if len(apart) == len(group) else diodes.select(apart))
    return found


@dataclass(frozen=True, eq=False)
class _Channels(TrainableLaw):
    """Channels whose gates are held at numbers."""

    drain: Indices
    source: Indices
    gate_volts: Values
    device: MosfetModel

    values: ClassVar[tuple[str, ...]] = ("gate_volts",)
    quantity: ClassVar[str] = "gate voltage"
    unit: ClassVar[str] = "V"

    @property
    def law_type(self) -> type:
        return type(self.device)

    @property
    def learnt(self) -> np.ndarray:
        return np.asarray(self.gate_volts)

    @cached_property
    def _gates(self) -> torch.Tensor:
        return torch.from_numpy(np.array(self.gate_volts))

    def conducts(self) -> np.ndarray:
        return np.full(len(self), self.device.conducts())

    def places(self) -> np.ndarray:
        return super().places() if self.index is None else np.asarray(self.index)

    def current(self, *volts: np.ndarray) -> np.ndarray:
        return self.device.current(*self._biases(volts)).numpy()

    def sensitivity(self, *volts: np.ndarray) -> np.ndarray:
        return self.device.slopes(*self._biases(volts))[0].numpy()

    @property
    def inexactness(self) -> float:  # pyright: ignore[reportIncompatibleVariableOverride]
        return self.device.inexactness

    @property
    def limited(self) -> bool:
        return self.device.limited

    def outside(self, *volts: np.ndarray) -> str:
        return self.device.outside(*self._biases(volts))

    def noise_density(self, kelvin: float, *volts: np.ndarray) -> np.ndarray:
        return self.device.noise_density(*self._biases(volts)).numpy()

    def noise_in_spice(self, *volts: np.ndarray) -> np.ndarray:
        return self.device.noise_in_spice(*self._biases(volts)).numpy()

    def _biases(self, volts: Sequence[np.ndarray]) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Voltages of gate, drain and bulk against the source."""
        raise NotImplementedError


@dataclass(frozen=True, eq=False)
class GatedChannels(_Channels):
    """The channels of `GatedMosfets`."""

    reference: Indices
    bulk: Indices
    parameter: str | None
    index: Indices | None

    terminals: ClassVar[tuple[str, ...]] = ("drain", "source", "reference", "bulk")

    def controls(self) -> Sequence[NodePair]:
        return (self.reference, self.source), (self.drain, self.source), (self.bulk, self.source)

    def _biases(self, volts: Sequence[np.ndarray]) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        reference, drain, bulk = _tensors(volts)
        return reference + self._gates, drain, bulk

    def slopes(self, *volts: np.ndarray) -> tuple[np.ndarray, ...]:
        return tuple(slope.numpy() for slope in self.device.slopes(*self._biases(volts)))

    def contrast(self, volts: Sequence[np.ndarray], changes: Sequence[np.ndarray], linear: bool) -> np.ndarray:
        if linear:
            return self.sensitivity(*volts) * changes[1]
        ways = [[v + share * d for v, d in zip(volts, changes, strict=True)] for share in _PATH]
        return sum((self.sensitivity(*way) for way in ways), np.zeros(1)) / len(_PATH) * changes[1]

    def irreciprocity(self) -> str:
        return NOT_RECIPROCAL

    def joins_ends(self) -> bool:
        return True


@dataclass(frozen=True, eq=False)
class FloatingGateChannels(_Channels):
    """The channels of `FloatingGateMosfets`, and the junctions of their drains, which lie between the same two nodes.

    Where there is a junction its direction is that of the current, so that the exponential rises with the voltage.
    """

    parameter: str | None
    index: Indices | None

    terminals: ClassVar[tuple[str, ...]] = ("drain", "source")

    def ends(self) -> NodePair:
        drain, source = super().ends()
        return (drain, source) if self._turn > 0 else (source, drain)

    @cached_property
    def _turn(self) -> float:
        return self.device.turn

    @cached_property
    def _junction(self) -> Diodes | None:
        junctions = self.device.bulk_junctions()
        return None if junctions is None else Diodes(f"{self.label}.drain", *self.ends(), junctions[0])

    def _biases(self, volts: Sequence[np.ndarray]) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        (across,) = _tensors(volts)
        return self._gates, self._turn * across, torch.zeros((), dtype=torch.float64)

    @cached_property
    def _resistors(self) -> Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]:
        return self.device.resistors(self._gates)

    def current(self, *volts: np.ndarray) -> np.ndarray:
        return self._resistors(volts[0])[0]

    def slopes(self, *volts: np.ndarray) -> tuple[np.ndarray, ...]:
        return (self._resistors(volts[0])[1],)

    def current_and_slopes(self, *volts: np.ndarray) -> tuple[np.ndarray, tuple[np.ndarray, ...]]:
        current, slope = self._resistors(volts[0])
        return current, (slope,)

    def sensitivity(self, *volts: np.ndarray) -> np.ndarray:
        return self._turn * super().sensitivity(*volts)

    def cocontent(self, *volts: np.ndarray) -> np.ndarray:
        gate, drain, _ = self._biases(volts)
        own = self.device.integral(self.device.current, gate, 0 * drain, drain).numpy()
        return own if self._junction is None else own + self._junction.cocontent(*volts)

    def contrast(self, volts: Sequence[np.ndarray], changes: Sequence[np.ndarray], linear: bool) -> np.ndarray:
        if linear:
            return self.sensitivity(*volts) * changes[0]
        gate, drain, _ = self._biases(volts)
        change = self._turn * _tensors(changes)[0]
        return self.device.integral(lambda *at: self.device.slopes(*at)[0], gate, drain, drain + change).numpy()

    def noise_density(self, kelvin: float, *volts: np.ndarray) -> np.ndarray:
        own = super().noise_density(kelvin, *volts)
        return own if self._junction is None else own + self._junction.noise_density(kelvin, *volts)

    def noise_in_spice(self, *volts: np.ndarray) -> np.ndarray:
        own = super().noise_in_spice(*volts)
        return own if self._junction is None else own + self._junction.noise_in_spice(*volts)

    def conducts(self) -> np.ndarray:
        own = super().conducts()
        return own if self._junction is None else own | self._junction.conducts()

    def growth_voltages(self) -> tuple[np.ndarray] | None:
        return None if self._junction is None else self._junction.growth_voltages()

    def require_sound(self) -> None:
        if self._junction is not None:
            self._junction.require_sound()

    def is_monotone(self) -> bool:
        return True

    def condition(self) -> np.ndarray:
        return self.device.condition(self._gates).numpy()


def _tensors(volts: Sequence[np.ndarray]) -> list[torch.Tensor]:
    return [torch.from_numpy(np.ascontiguousarray(each)) for each in volts]
