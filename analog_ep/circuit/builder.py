"""How a circuit comes about: nodes by name, then branches at them."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from analog_ep.circuit.arguments import as_nodes, indexed
from analog_ep.circuit.branches import Conductances, Diodes
from analog_ep.circuit.circuit import Circuit, common_temperature
from analog_ep.circuit.laws import Branches
from analog_ep.circuit.names import validate_name
from analog_ep.circuit.nodes import Indices
from analog_ep.constants import DEFAULT_TEMPERATURE
from analog_ep.devices import Diode
from analog_ep.errors import CircuitError, NodeNameError


class CircuitBuilder:
    """Collects nodes and branches; `build` gives the `Circuit`.

    Parameters
    ----------
    title : str
        What the circuit is.
    temperature : float, optional
        Of the circuit; by default the one that all its junctions share, or 27 °C where they share none. [K]

    Examples
    --------
    >>> from analog_ep.circuit import CircuitBuilder, Conductances, VoltageSources
    >>> builder = CircuitBuilder("divider")
    >>> builder.add_nodes(["top", "middle"])
    array([1, 2])
    >>> builder.add(VoltageSources("v", "top", "0", 2.0))
    >>> builder.add(Conductances("r", ["top", "middle"], ["middle", "0"], ["1m", 2e-3]))
    >>> builder.set_outputs("middle", "0")
    >>> builder.build()
    Circuit 'divider': 3 nodes, 3 elements
      v: 1 VoltageSources
      r: 2 Conductances
      0 inputs, 1 outputs: middle
    """

    def __init__(self, title: str, temperature: float | None = None):
        if not title.isprintable() or not title.isascii():
            raise NodeNameError(f"a title must be printable ASCII on one line, found {title!r}")
        self._title, self._temperature = title, temperature
        self._names = ["0"]
        self._known = {"0": 0}
        self._groups: list[Branches] = []
        self._outputs: tuple[np.ndarray, np.ndarray] | None = None
        self._layers: dict[str, np.ndarray] = {}

    def add_nodes(self, names: Iterable[str]) -> np.ndarray:
        """Add named nodes and return their indices, int64 `(n_nodes,)`.

        Raises
        ------
        NodeNameError
            If a name is not one that every netlist can carry, or is there already; if one text is given in place of
            several.
        """
        if isinstance(names, str):
            raise NodeNameError(f"names of nodes must be a sequence of texts, found {names!r}; write [{names!r}]")
        first = len(self._names)
        for name in names:
            validate_name(name)
            if name in self._known:
                raise NodeNameError(f"node names must be unique, found {name!r} twice")
            self._known[name] = len(self._names)
            self._names.append(name)
        return np.arange(first, len(self._names))

    def add(self, group: Branches) -> None:
        """Add a group of branches, whose nodes may be given by name.

        Raises
        ------
        NodeNameError
            If the label is not one that every netlist can carry, or is there already.
        CircuitError
            If there is no such node.
        """
        validate_name(group.label)
        if any(group.label == other.label for other in self._groups):
            raise NodeNameError(f"labels of groups must be unique, found {group.label!r} twice")
        group = group.at_nodes(self._known)
        nodes = group.nodes()
        if len(nodes) and (nodes.min() < 0 or nodes.max() >= len(self._names)):
            raise CircuitError(f"{group.label}: node indices must lie in 0…{len(self._names) - 1}, found others")
        self._groups.append(group)

    def add_diodes(self, label: str, anode: Indices, cathode: Indices, device: Diode) -> None:
        """Add diodes; a series resistance becomes a node `label_j<i>` and a resistor of its own.

        The junction can then be probed, and every solver sees the same node.
        """
        anode, cathode = np.broadcast_arrays(*(indexed(label, as_nodes(n), self._known) for n in (anode, cathode)))
        device = device.expand(len(anode))
        if (parts := device.behind_resistance()) is not None:
            resistance, device = np.asarray(parts[0]), parts[1]
            behind = np.flatnonzero(resistance > 0)
            junction = self.add_nodes(f"{label}_j{i}" for i in behind)
            self.add(Conductances(f"{label}_rs", anode[behind], junction, 1 / resistance[behind]))
            anode = anode.copy()
            anode[behind] = junction
        self.add(Diodes(label, anode, cathode, device))

    def set_outputs(self, positive: Indices, negative: Indices) -> None:
        """Declare the differential outputs o = v₊ − v₋, by indices or names of nodes."""
        first, second = (indexed("outputs", as_nodes(nodes), self._known) for nodes in (positive, negative))
        self._outputs = first, np.broadcast_to(second, first.shape).copy() if len(second) == 1 else second

    def set_layer(self, name: str, nodes: np.ndarray) -> None:
        """Name a set of nodes for reports."""
        self._layers[name] = np.atleast_1d(nodes)

    def build(self) -> Circuit:
        """The finished circuit."""
        kelvin = self._temperature
        return Circuit(
            self._title,
            tuple(self._names),
            tuple(self._groups),
            self._outputs,
            dict(self._layers),
            common_temperature(self._groups, DEFAULT_TEMPERATURE) if kelvin is None else kelvin,
        )
