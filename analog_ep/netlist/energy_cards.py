r"""The energy of a circuit as SPICE elements: their currents add up in 1 Ω at the node `energy`, so v(energy) is E [W].

A source per resistor would double the netlist. By Tellegen's theorem the co-content of a block's resistors is
:math:`\tfrac12 \sum_R g v^2 = \tfrac12 \sum_n V_n J_n`, with :math:`J_n` the current that the *other* elements carry
into node n. With :math:`\omega_n` the energy weight of node n, every other element that takes the current I out of node
p and returns it to node n therefore contributes :math:`-\tfrac12 (\omega_p V_p - \omega_n V_n) I`, besides its own
co-content. Amplifiers between two blocks contribute nothing but their offsets' share: that is what the weights are
chosen for.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from analog_ep.circuit import (
    Amplifiers,
    Conductances,
    CurrentLaw,
    CurrentSources,
    Diodes,
    VoltageSources,
    energy_weights,
)
from analog_ep.circuit.energy import branch_weights, held_nodes
from analog_ep.circuit.nodes import GROUND
from analog_ep.constants import BOLTZMANN, ELEMENTARY_CHARGE, ZERO_CELSIUS
from analog_ep.devices import PiecewiseLinearDiode, ShockleyDiode
from analog_ep.netlist.netlist import NetlistWriter, number
from analog_ep.netlist.nudge_cards import NudgeCurrent
from analog_ep.netlist.subcircuits import amplifier_ammeters

_TERMS_PER_SOURCE = 16
"""ngspice takes quadratic time over the length of an expression."""

_CANCELLED = 1e-8
"""Relative imbalance of an amplifier's two sides that is the weights' rounding."""


@dataclass(frozen=True)
class EnergyCards:
    """Cards that print the energy, or the reason why there are none.

    Attributes
    ----------
    cards : list of str
        Empty where there are none.
    reason : str
        Empty where there are cards.
    """

    cards: list[str]
    reason: str = ""


def energy_cards(writer: NetlistWriter, nudge: Sequence[NudgeCurrent] = ()) -> EnergyCards:
    """The sources whose sum is E of the circuit, without the nudge's own term.

    Parameters
    ----------
    writer : NetlistWriter
        Of the circuit, with constant sources.
    nudge : sequence of NudgeCurrent
        Currents that flow besides those of the circuit's elements.
    """
    circuit = writer.circuit
    weights = energy_weights(circuit)
    if weights.nodes is None:
        return EnergyCards([], weights.reason)
    for group in circuit.of_kind(CurrentLaw):
        if not group.linear and (reason := _not_expressible(group)):
            return EnergyCards([], reason)
    terms = _Terms(writer, weights.nodes)
    sources = [f"b_energy_{i} 0 energy i={term}" for i, term in enumerate(terms.all(nudge))]
    return EnergyCards([*_functions(writer), *terms.warmth.cards(), *sources, "r_energy energy 0 1.0"])


def _not_expressible(group: CurrentLaw) -> str:
    device = group.device if isinstance(group, Diodes) else None
    if isinstance(device, ShockleyDiode):
        return f"{group.label} has its series resistance inside the model" if device.has_series_resistance else ""
    return "" if isinstance(device, PiecewiseLinearDiode) else f"{group.label} has no expression for its co-content"


class _Terms:
    """The terms of the energy, each an expression [W] in ngspice's words."""

    def __init__(self, writer: NetlistWriter, weights: np.ndarray):
        self.writer, self.circuit = writer, writer.circuit
        # The weights are defined to 1e-9; the digits beyond would only be noise on every card.
        distinct, which = np.unique(weights, return_inverse=True)
        self.weights = np.array([float(f"{weight:.9g}") for weight in distinct])[which]
        self.held = held_nodes(self.circuit)
        self.terminal = self._terminal_weights()
        self.warmth = _Warmth(self.circuit.temperature)

    def all(self, nudge: Sequence[NudgeCurrent]) -> Iterator[str]:
        for group in self.circuit.groups:
            if isinstance(group, VoltageSources):
                yield from self._voltage_sources(group)
            elif isinstance(group, CurrentSources):
                yield from self._current_sources(group)
            elif isinstance(group, Diodes):
                yield from self._diodes(group)
            elif isinstance(group, Amplifiers):
                yield from self._amplifiers(group)
            elif isinstance(group, Conductances):
                yield from self._other_blocks(group)
        for current in nudge:
            if power := self._power(0.5, current.positive, current.negative):
                yield f"{power}*({current.expression})*v(phase)"

    def _terminal_weights(self) -> np.ndarray:
        """ω of every node: its block's weight; at a held node that of most of its resistors, 0 where it has none."""
        weight = np.where(self.held, 0.0, self.weights)
        ends = [np.zeros((0, 2))]
        for group in self.circuit.of_kind(Conductances):
            own = branch_weights(group, self.weights, self.held)
            ends += [np.stack([nodes, own], axis=1)[self.held[nodes]] for nodes in (group.positive, group.negative)]
        rows, counts = np.unique(np.concatenate(ends), axis=0, return_counts=True)
        for node, own in rows[np.argsort(counts, kind="stable")]:
            weight[int(node)] = own
        weight[GROUND] = 0.0
        return weight

    def _power(self, scale: float, positive: int, negative: int) -> str:
        """Text of scale · (ω_p V_p − ω_n V_n), to be multiplied by a current; empty where it is zero."""
        names = self.circuit.node_names
        first, second = scale * self.terminal[positive], -scale * self.terminal[negative]
        if first and first == -second:
            return f"{number(first)}*v({names[positive]},{names[negative]})"
        if first and second:
            return f"({number(first)}*v({names[positive]})+({number(second)})*v({names[negative]}))"
        if first or second:
            return f"{number(first or second)}*v({names[positive if first else negative]})"
        return ""

    def _voltage_sources(self, group: VoltageSources) -> Iterator[str]:
        for i, (p, n) in enumerate(zip(group.positive.tolist(), group.negative.tolist(), strict=True)):
            if power := self._power(-0.5, p, n):
                yield f"{power}*i({self.writer.element_name(group, i)})"

    def _current_sources(self, group: CurrentSources) -> Iterator[str]:
        for p, n, amperes in zip(group.positive, group.negative, group.amperes, strict=True):
            content = self._content_of_source(int(p), int(n))
            yield f"{number(amperes)}*({content}+({self._power(-0.5, p, n) or 0}))"

    def _content_of_source(self, positive: int, negative: int) -> str:
        """Text of w_p V_p − w_n V_n: the ends of a current source may lie in blocks of different weight."""
        first, second = (
            self.weights[far] if self.held[near] else self.weights[near]
            for near, far in ((positive, negative), (negative, positive))
        )
        if first == second:
            return f"{number(first)}*{self.writer.across(positive, negative)}"
        above, below = (self.writer.across(node, GROUND) for node in (positive, negative))
        return f"({number(first)}*{above}-{number(second)}*{below})"

    def _diodes(self, group: Diodes) -> Iterator[str]:
        own = branch_weights(group, self.weights, self.held)
        name, parameters = self._function_call(group)
        for a, k, w, values in zip(group.anode, group.cathode, own, parameters, strict=True):
            arguments = ",".join([self.writer.across(a, k), *values])
            power = self._power(-0.5, a, k)
            resistors = f"+({power})*{name}_current({arguments})" if power else ""
            scale = "" if w == 1 else f"{number(w)}*"
            yield f"{scale}{name}_content({arguments}){resistors}"

    def _function_call(self, group: Diodes) -> tuple[str, list[tuple[str, str]]]:
        """Stem of the functions of a group's diodes, and the texts of their arguments after the voltage."""
        device = group.device
        if isinstance(device, ShockleyDiode):
            return "junction", self.warmth.junctions(device, len(group))
        assert isinstance(device, PiecewiseLinearDiode)
        columns = [_per_element(value, len(group)) for value in (device.leakage, device.offset)]
        return f"bends_{group.label}", [(number(leak), number(shift)) for leak, shift in zip(*columns, strict=True)]

    def _amplifiers(self, group: Amplifiers) -> Iterator[str]:
        names = self.circuit.node_names
        element, output, sign = group.outputs()
        drawn = self.terminal[group.input[element]] * (group.feedback / group.gain)[element]
        shift = 0.5 * drawn * sign * (group.gain * group.offset)[element]
        # Where a source holds the input, its side of the balance is that source's, and the two do not cancel.
        surplus = np.where(
            np.abs(self.terminal[output] - drawn) > _CANCELLED * self.terminal[output],
            0.5 * (self.terminal[output] - drawn),
            0.0,
        )
        for at in np.flatnonzero((surplus != 0) | (shift != 0)):
            ammeter = amplifier_ammeters(group, int(element[at]))[0 if sign[at] > 0 else 1]
            powers = [f"{number(surplus[at])}*v({names[output[at]]})"] if surplus[at] else []
            powers += [number(shift[at])] if shift[at] else []
            yield f"({'+'.join(powers)})*i({ammeter})" if shift[at] else f"{powers[0]}*i({ammeter})"

    def _other_blocks(self, group: Conductances) -> Iterator[str]:
        """Corrections at held nodes for resistors of another block than most: ½ (w − ω) V_h g (V_h − V)."""
        own = branch_weights(group, self.weights, self.held)
        for near, far in ((group.positive, group.negative), (group.negative, group.positive)):
            other = self.held[near] & (near != GROUND) & (own != self.terminal[near])
            for node in np.unique(near[other]):
                rows = np.flatnonzero(other & (near == node))
                for first in range(0, len(rows), _TERMS_PER_SOURCE):
                    yield self._correction(int(node), rows[first : first + _TERMS_PER_SOURCE], far, own, group)

    def _correction(self, node: int, rows: np.ndarray, far: np.ndarray, own: np.ndarray, group: Conductances) -> str:
        factors = 0.5 * (own - self.terminal[node]) * group.siemens
        terms = [f"({number(factors[row])})*{self.writer.across(node, int(far[row]))}" for row in rows]
        return f"v({self.circuit.node_names[node]})*({'+'.join(terms)})"


class _Warmth:
    """Saturation current and emission voltage of junctions that follow the simulation's temperature T.

    Two nodes carry what T does: `_thermal` is k_B T/q, and `_rise<j>` the factor

        exp((T/T_nom − 1) EG / (n k_B T/q)) (T/T_nom)^(XTI/n)

    of IS that the diodes have in common whose n, EG, XTI and T_nom are the same (ngspice's ``diotemp.c``).
    """

    def __init__(self, kelvin: float):
        self._kelvin = kelvin
        self._laws: dict[tuple[float, ...], int] = {}

    def junctions(self, device: ShockleyDiode, count: int) -> list[tuple[str, str]]:
        """Both as texts, for each of a group's diodes: numbers where it has a temperature of its own."""
        own = (device.effective_saturation_current, device.emission_voltage)
        stated = (device.temperature, device.saturation_current, device.ideality)
        law = (device.ideality, device.energy_gap, device.saturation_exponent, device.nominal_temperature)
        columns = [_per_element(value, count) for value in (*own, *stated, *law)]
        texts = []
        for saturation, emission, kelvin, nominal, ideality, *how in zip(*columns, strict=True):
            if kelvin == self._kelvin:
                rise = self._laws.setdefault(tuple(how), len(self._laws))
                texts.append((f"{number(nominal)}*v(_rise{rise})", f"{number(ideality)}*v(_thermal)"))
            else:
                texts.append((number(saturation), number(emission)))
        return texts

    def cards(self) -> Iterator[str]:
        """Sources of the nodes."""
        if not self._laws:
            return
        kelvin, volts = f"(temper+{number(ZERO_CELSIUS)})", number(BOLTZMANN / ELEMENTARY_CHARGE)
        yield f"b_energy_thermal _thermal 0 v={volts}*{kelvin}"
        for (ideality, gap, exponent, nominal), i in self._laws.items():
            ratio = f"({kelvin}/{number(nominal)})"
            gained = f"({ratio}-1)*({number(gap / ideality)})/({volts}*{kelvin})"
            yield f"b_energy_rise{i} _rise{i} 0 v=exp({gained}+({number(exponent / ideality)})*ln({ratio}))"


def _per_element(value: float | torch.Tensor, count: int) -> list[float]:
    return torch.as_tensor(value, dtype=torch.float64).expand(count).tolist()


def _functions(writer: NetlistWriter) -> Iterator[str]:
    diodes = writer.circuit.of_kind(Diodes)
    if any(isinstance(group.device, ShockleyDiode) for group in diodes):
        yield from _junction_functions(writer.gmin)
    for group in diodes:
        if isinstance(group.device, PiecewiseLinearDiode):
            yield from _bend_functions(f"bends_{group.label}", group.device)


def _junction_functions(gmin: float) -> Iterator[str]:
    """Junction as ngspice has it: exponential above −3 n V_t, cubic tail below; u the voltage, vte = n V_t."""
    leak, cube = number(gmin), number(27 * math.exp(-3))
    forward, tail = "isat*(exp(u/vte)-1)", f"-isat*(1+{cube}*vte*vte*vte/(u*u*u))"
    yield f".func junction_current(u,isat,vte) {{(u >= -3*vte ? {forward} : {tail})+{leak}*u}}"
    forward = "isat*(vte*(exp(u/vte)-1)-u)"
    tail = f"isat*({number(math.expm1(-3))}*vte-u+0.5*{cube}*vte*(vte*vte/(u*u)-{number(1 / 9)}))"
    yield f".func junction_content(u,isat,vte) {{(u >= -3*vte ? {forward} : {tail})+0.5*{leak}*u*u}}"


def _bend_functions(name: str, device: PiecewiseLinearDiode) -> Iterator[str]:
    """A piecewise-linear characteristic of the voltage u, with its leakage, all thresholds shifted."""
    current, content = ["leak*u"], ["0.5*leak*u*u"]
    for threshold, increment in zip(device.thresholds, device.increments, strict=True):
        t, slope = f"({number(threshold)}+shift)", f"({number(increment)})"
        above, origin = f"max(u-{t},0)", f"max(-{t},0)"
        current.append(f"{slope}*({above}-{origin})")
        content.append(f"{slope}*(0.5*({above}*{above}-{origin}*{origin})-{origin}*u)")
    yield f".func {name}_current(u,leak,shift) {{{'+'.join(current)}}}"
    yield f".func {name}_content(u,leak,shift) {{{'+'.join(content)}}}"
