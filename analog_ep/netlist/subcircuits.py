"""Amplifiers and diode clamps as instances of the subcircuits in `netlists/*.lib`."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from analog_ep.circuit import Branches, Circuit
from analog_ep.circuit.energy import held_nodes
from analog_ep.devices.library import ClampParameters, LibraryForm
from analog_ep.devices.statement import states
from analog_ep.netlist.dialects import NGSPICE
from analog_ep.netlist.form_cards import FormCards
from analog_ep.netlist.texts import number

CLAMP_LIBRARY = "diode_clamp.lib"


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
    kind : str
        Ends the subcircuit's name, see `ClampParameters`.
    parameters : dict of str to float
        What the subcircuit takes.
    """

    name: str
    node: int
    bias: int
    above: bool
    kind: str
    parameters: dict[str, float]


class SubcircuitWriter:
    """Writes the groups of a circuit for which the library has a subcircuit.

    A kind says its own, see `Branches.library_form`. Clamps are made of what takes `Branches.clamp_parameters`, where
    each element joins a node to ground or to a node that a source holds.
    """

    def __init__(self, circuit: Circuit):
        self.circuit = circuit
        self._cards = FormCards(circuit, NGSPICE, {}, {}, {})
        forms = {group.label: group.library_form() for group in circuit.groups if _is_own(group, "library_form")}
        self._instances = {label: form for label, form in forms.items() if form is not None}
        held = held_nodes(circuit)
        self._clamps: dict[str, list[Clamp]] = {}
        for group in circuit.groups:
            own = _is_own(group, "clamp_parameters")
            parameters = group.clamp_parameters(circuit.temperature) if own else None
            if parameters is not None and _joins_held_nodes(group, held):
                self._clamps[group.label] = _clamps_of(group, held, parameters)
        self._partner = _partners([clamp for clamps in self._clamps.values() for clamp in clamps])

    def writes(self, group: Branches) -> bool:
        """Whether this group becomes instances."""
        return group.label in self._instances or group.label in self._clamps

    def libraries(self) -> dict[str, set[str]]:
        """Library files that the instances need, each with the subcircuits that they use."""
        used: dict[str, set[str]] = {}
        for form in self._instances.values():
            used.setdefault(form.file, set()).update(each.subcircuit for each in form.instances)
        used[CLAMP_LIBRARY] = {self._kind(clamp) for clamps in self._clamps.values() for clamp in clamps}
        return {file: kinds for file, kinds in used.items() if kinds}

    def group_cards(self, group: Branches) -> Iterator[str]:
        """Instances of one group's elements; a node's second diode is part of its first one's instance."""
        if group.label in self._instances:
            yield from self._of_library(group, self._instances[group.label])
            return
        for clamp in self._clamps[group.label]:
            partner = self._partner.get(clamp.name)
            if partner is None:
                yield self._single(clamp)
            elif clamp.above:
                yield self._pair(clamp, partner)

    def _of_library(self, group: Branches, form: LibraryForm) -> Iterator[str]:
        for i, each in enumerate(form.instances):
            stem = f"{group.label}_{i}"
            yield from self._cards.parts(stem, each.before)
            nodes = " ".join(self._cards.nodes(stem, each.nodes))
            yield f"x_{stem} {nodes} {each.subcircuit} {_assignments(each.parameters)}"

    def _kind(self, clamp: Clamp) -> str:
        side = "between" if clamp.name in self._partner else "above" if clamp.above else "below"
        return f"clamp_{side}{clamp.kind}"

    def _single(self, clamp: Clamp) -> str:
        return self._instance(clamp, [clamp.node, clamp.bias], clamp.parameters)

    def _pair(self, above: Clamp, below: Clamp) -> str:
        sides = {"upper": above.parameters, "lower": below.parameters}
        parameters = {f"{key}_{side}": value for side, own in sides.items() for key, value in own.items()}
        return self._instance(above, [above.node, above.bias, below.bias], parameters)

    def _instance(self, clamp: Clamp, nodes: list[int], parameters: dict[str, float]) -> str:
        names = " ".join(self.circuit.node_names[node] for node in nodes)
        return f"x_{clamp.name} {names} {self._kind(clamp)} {_assignments(parameters)}"


def _is_own(group: Branches, statement: str) -> bool:
    """Whether a group says this of its own law and netlist form, and does not inherit it from another's."""
    return all(states(group.law_type, (statement,), other) for other in ("netlist_form", group.law_method))


def row_currents(group: Branches) -> list[str]:
    """Currents of the rows of a group of the library's, as ngspice calls them inside its flattened subcircuits."""
    form = group.library_form()
    assert form is not None
    return [f"i(v.x_{group.label}_{i}.{sense})" for i, sense in form.senses]


def _assignments(parameters: dict[str, float]) -> str:
    return " ".join(f"{key}={number(value)}" for key, value in parameters.items())


def _joins_held_nodes(group: Branches, held: np.ndarray) -> bool:
    """Whether each element has a source or ground at one end and none at the other."""
    first, second = group.ends()
    return bool((held[first] ^ held[second]).all())


def _clamps_of(group: Branches, held: np.ndarray, parameters: ClampParameters) -> list[Clamp]:
    clamps = []
    values = np.broadcast_to(parameters.values, (len(group), len(parameters.names))).tolist()
    ends = zip(*(nodes.tolist() for nodes in group.ends()), strict=True)
    for i, ((anode, cathode), own) in enumerate(zip(ends, values, strict=True)):
        above = bool(held[cathode])
        node, bias = (anode, cathode) if above else (cathode, anode)
        named = dict(zip(parameters.names, own, strict=True))
        clamps.append(Clamp(f"{group.label}_{i}", node, bias, above, parameters.kind, named))
    return clamps


def _partners(clamps: list[Clamp]) -> dict[str, Clamp]:
    """The other diode, by name, of every node that has exactly one to each side, alike in kind."""
    at_node: dict[int, list[Clamp]] = defaultdict(list)
    for clamp in clamps:
        at_node[clamp.node].append(clamp)
    partner: dict[str, Clamp] = {}
    for pair in at_node.values():
        if len(pair) == 2 and pair[0].above != pair[1].above and pair[0].kind == pair[1].kind:
            first, second = pair
            partner[first.name], partner[second.name] = second, first
    return partner
