"""Amplifiers and diode clamps as instances of the subcircuits in `netlists/*.lib`."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch

from analog_ep.circuit import Amplifiers, Branches, Circuit, Diodes
from analog_ep.circuit.energy import held_nodes
from analog_ep.devices import PiecewiseLinearDiode, ShockleyDiode
from analog_ep.netlist.dialects import DIALECTS
from analog_ep.netlist.netlist import amplifier_input, number

AMPLIFIER_LIBRARY = "amplifier.lib"
CLAMP_LIBRARY = "diode_clamp.lib"

_DEFAULT = ShockleyDiode()
"""Its energy gap, exponent and nominal temperature are those of the library's junction models."""


@dataclass(frozen=True)
class Clamp:
    """One diode from a hidden node to a held one.

    Attributes
    ----------
    name : str
        Group's label and index.
    node, bias : int
        The hidden node and the held one.
    above : bool
        Whether it conducts when the node is above the bias.
    linear : bool
        Whether it is piecewise linear.
    parameters : tuple of float
        (is, n) of a junction; (g_on, v_forward) of a piecewise-linear diode.
    """

    name: str
    node: int
    bias: int
    above: bool
    linear: bool
    parameters: tuple[float, ...]


class SubcircuitWriter:
    """Writes the groups of a circuit for which the library has a subcircuit.

    Amplifiers always have one. Diodes have one where each joins a node to ground or to a node that a source holds, and
    they are junctions at the circuit's temperature with SPICE's default temperature law, or piecewise linear with one
    knee.
    """

    def __init__(self, circuit: Circuit):
        self.circuit = circuit
        held = held_nodes(circuit)
        self._clamps = {
            group.label: clamps
            for group in circuit.of_kind(Diodes)
            if (clamps := _clamps_of(group, held, circuit.temperature)) is not None
        }
        self._partner = _partners([clamp for clamps in self._clamps.values() for clamp in clamps])

    def writes(self, group: Branches) -> bool:
        """Whether this group becomes instances."""
        return isinstance(group, Amplifiers) or group.label in self._clamps

    def libraries(self) -> dict[str, set[str]]:
        """Library files that the instances need, each with the subcircuits that they use."""
        amplifiers = self.circuit.of_kind(Amplifiers)
        inverted = np.concatenate([group.inverted for group in amplifiers]) if amplifiers else np.zeros(0)
        used = {
            AMPLIFIER_LIBRARY: {"amplifier_pair" if at >= 0 else "amplifier" for at in np.unique(inverted)},
            CLAMP_LIBRARY: {self._kind(clamp) for clamps in self._clamps.values() for clamp in clamps},
        }
        return {file: kinds for file, kinds in used.items() if kinds}

    def group_cards(self, group: Branches) -> Iterator[str]:
        """Instances of one group's elements; a node's second diode is part of its first one's instance."""
        if isinstance(group, Amplifiers):
            yield from self._amplifiers(group)
            return
        for clamp in self._clamps[group.label]:
            partner = self._partner.get(clamp.name)
            if partner is None:
                yield self._single(clamp)
            elif clamp.above:
                yield self._pair(clamp, partner)

    def _amplifiers(self, group: Amplifiers) -> Iterator[str]:
        names = self.circuit.node_names
        rows = zip(group.input, group.output, group.inverted, group.gain, group.feedback, group.offset, strict=True)
        for i, (source, output, inverted, gain, feedback, offset) in enumerate(rows):
            seen, cards = amplifier_input(f"{group.label}_{i}", names[source], offset, DIALECTS["ngspice"])
            yield from cards
            nodes = [seen, names[output]] + ([names[inverted]] if inverted >= 0 else [])
            kind = "amplifier_pair" if inverted >= 0 else "amplifier"
            yield f"x_{group.label}_{i} {' '.join(nodes)} {kind} a={number(gain)} k={number(feedback)}"

    def _kind(self, clamp: Clamp) -> str:
        side = "between" if clamp.name in self._partner else "above" if clamp.above else "below"
        return f"clamp_{side}_linear" if clamp.linear else f"clamp_{side}"

    def _single(self, clamp: Clamp) -> str:
        keys = ("g_on", "v_forward") if clamp.linear else ("is", "n")
        return self._instance(clamp, [clamp.node, clamp.bias], keys, clamp.parameters)

    def _pair(self, above: Clamp, below: Clamp) -> str:
        keys = ("is_upper", "n_upper", "is_lower", "n_lower")
        if above.linear:
            keys = ("g_on_upper", "v_forward_upper", "g_on_lower", "v_forward_lower")
        nodes = [above.node, above.bias, below.bias]
        return self._instance(above, nodes, keys, above.parameters + below.parameters)

    def _instance(self, clamp: Clamp, nodes: list[int], keys: tuple[str, ...], values: tuple[float, ...]) -> str:
        names = " ".join(self.circuit.node_names[node] for node in nodes)
        parameters = " ".join(f"{key}={number(value)}" for key, value in zip(keys, values, strict=True))
        return f"x_{clamp.name} {names} {self._kind(clamp)} {parameters}"


def amplifier_ammeters(group: Amplifiers, i: int) -> tuple[str, ...]:
    """Names, as ngspice flattens them, of the sources that sense what leaves an amplifier's outputs."""
    senses = ("v_sense_p", "v_sense_n") if group.inverted[i] >= 0 else ("v_sense",)
    return tuple(f"v.x_{group.label}_{i}.{sense}" for sense in senses)


def _clamps_of(group: Diodes, held: np.ndarray, kelvin: float) -> list[Clamp] | None:
    """The group as clamps; None where the library has no subcircuit for it."""
    parameters = _parameters(group, kelvin)
    if parameters is None or not (held[group.anode] ^ held[group.cathode]).all():
        return None
    clamps = []
    for i, (anode, cathode) in enumerate(zip(group.anode.tolist(), group.cathode.tolist(), strict=True)):
        above = bool(held[cathode])
        node, bias = (anode, cathode) if above else (cathode, anode)
        linear = isinstance(group.device, PiecewiseLinearDiode)
        clamps.append(Clamp(f"{group.label}_{i}", node, bias, above, linear, tuple(parameters[i].tolist())))
    return clamps


def _parameters(group: Diodes, kelvin: float) -> np.ndarray | None:
    device = group.device
    if isinstance(device, ShockleyDiode):
        law = ("energy_gap", "saturation_exponent", "nominal_temperature")
        usual = all((torch.as_tensor(getattr(device, name)) == getattr(_DEFAULT, name)).all() for name in law)
        own = bool((torch.as_tensor(device.temperature, dtype=torch.float64) != kelvin).any())
        if device.has_series_resistance or own or not usual:
            return None
        return _columns(group, device.saturation_current, device.ideality)
    if isinstance(device, PiecewiseLinearDiode) and len(device.thresholds) == 1:
        forward = torch.as_tensor(device.offset, dtype=torch.float64) + device.thresholds[0]
        if not bool(torch.as_tensor(device.leakage).any()) and bool((forward >= 0).all()):
            return _columns(group, device.increments[0], forward)
    return None


def _columns(group: Diodes, *values: float | torch.Tensor) -> np.ndarray:
    return np.stack([torch.as_tensor(v, dtype=torch.float64).expand(len(group)).numpy() for v in values], axis=1)


def _partners(clamps: list[Clamp]) -> dict[str, Clamp]:
    """The other diode, by name, of every node that has exactly one to each side, alike in kind."""
    at_node: dict[int, list[Clamp]] = defaultdict(list)
    for clamp in clamps:
        at_node[clamp.node].append(clamp)
    partner: dict[str, Clamp] = {}
    for pair in at_node.values():
        if len(pair) == 2 and pair[0].above != pair[1].above and pair[0].linear == pair[1].linear:
            first, second = pair
            partner[first.name], partner[second.name] = second, first
    return partner
