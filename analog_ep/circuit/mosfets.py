"""MOSFETs: a channel that gate and bulk control, and the junctions between bulk and channel."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import ClassVar, Self

import numpy as np
import torch

from analog_ep.circuit.branches import Diodes
from analog_ep.circuit.device_branches import DeviceBranches
from analog_ep.circuit.laws import Branches, CurrentLaw
from analog_ep.circuit.nodes import Indices, NodePair
from analog_ep.devices.forms import NetlistForm
from analog_ep.devices.mosfet import MosfetModel

NOT_RECIPROCAL = "has channels that three terminals control, which are not reciprocal"


@dataclass(frozen=True, eq=False)
class Mosfets(DeviceBranches):
    r"""MOSFETs with four terminals, by a model such as `Level1Mosfet` or `EkvMosfet`.

    They have no energy. The channel's current i flows from drain to source and depends on both their voltages against
    gate and bulk, :math:`i = F(v_S) - F(v_D)` where channel-length modulation is left out, so that

    .. math:: \frac{∂(i)}{∂v_S} = F'(v_S) \ne \frac{∂(-i)}{∂v_D} = F'(v_D)

    unless :math:`v_D = v_S`: Kirchhoff's equations are the gradient of nothing, whatever holds the gates. Exact
    gradients come from `AdjointNetwork`, `AsymmetricEquilibriumPropagation` and `ImplicitDifferentiation`; a channel
    whose gate and bulk follow one of its own ends is an energy's, see `FloatingGateMosfets`.
    """

    drain: Indices
    gate: Indices
    source: Indices
    bulk: Indices
    device: MosfetModel

    has_law: ClassVar[bool] = True
    law_method: ClassVar[str] = "current"
    terminals: ClassVar[tuple[str, ...]] = ("drain", "source", "gate", "bulk")

    def parts(self) -> Sequence[Branches]:
        return self._parts

    @cached_property
    def _parts(self) -> tuple[Branches, ...]:
        device = self.device.expand(len(self))
        channels = Channels(self.label, self.drain, self.gate, self.source, self.bulk, device)
        if (junctions := device.bulk_junctions()) is None:
            return (channels,)
        ends = zip(("drain", "source"), (self.drain, self.source), junctions, strict=True)
        return channels, *(self._junctions(name, node, junction) for name, node, junction in ends)

    def _junctions(self, name: str, node: np.ndarray, junction) -> Branches:
        anode, cathode = (self.bulk, node) if self.device.sign > 0 else (node, self.bulk)
        # A name that no group of a circuit may have.
        return Diodes(f"{self.label}.{name}", anode, cathode, junction)

    def controls(self) -> Sequence[NodePair]:
        """The pairs whose voltages control the channels: gate, drain and bulk against the source."""
        return (self.gate, self.source), (self.drain, self.source), (self.bulk, self.source)

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
        return self.device.expand(len(self)).netlist_form()


@dataclass(frozen=True, eq=False)
class Channels(CurrentLaw):
    """The channels of `Mosfets`, from drain to source."""

    drain: Indices
    gate: Indices
    source: Indices
    bulk: Indices
    device: MosfetModel

    terminals: ClassVar[tuple[str, ...]] = ("drain", "source", "gate", "bulk")

    @property
    def law_type(self) -> type:
        return type(self.device)

    def controls(self) -> Sequence[NodePair]:
        return (self.gate, self.source), (self.drain, self.source), (self.bulk, self.source)

    def current(self, *volts: np.ndarray) -> np.ndarray:
        return self.device.current(*map(torch.from_numpy, volts)).numpy()

    def slopes(self, *volts: np.ndarray) -> tuple[np.ndarray, ...]:
        return tuple(slope.numpy() for slope in self.device.slopes(*map(torch.from_numpy, volts)))

    @property
    def inexactness(self) -> float:  # pyright: ignore[reportIncompatibleVariableOverride]
        return self.device.inexactness

    @property
    def limited(self) -> bool:
        return self.device.limited

    def outside(self, *volts: np.ndarray) -> str:
        return self.device.outside(*_tensors(volts))

    def noise_density(self, kelvin: float, *volts: np.ndarray) -> np.ndarray:
        return self.device.noise_density(*_tensors(volts)).numpy()

    def noise_in_spice(self, *volts: np.ndarray) -> np.ndarray:
        return self.device.noise_in_spice(*_tensors(volts)).numpy()

    def conducts(self) -> np.ndarray:
        return np.full(len(self), self.device.conducts())

    def irreciprocity(self) -> str:
        return NOT_RECIPROCAL

    def joins_ends(self) -> bool:
        return True

    def parameters(self) -> Mapping[str, np.ndarray]:
        return {}


def _tensors(volts: Sequence[np.ndarray]) -> list[torch.Tensor]:
    return [torch.from_numpy(np.ascontiguousarray(each)) for each in volts]
