"""The one description of hardware."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TypeVar

import numpy as np

from analog_ep.circuit.branches import Conductances, Diodes
from analog_ep.circuit.laws import Branches, VoltageLaw
from analog_ep.circuit.nodes import Indices, as_nodes, indexed
from analog_ep.constants import DEFAULT_TEMPERATURE
from analog_ep.devices import Diode
from analog_ep.errors import CircuitError, NodeNameError

_NAME = re.compile(r"[a-z][a-z0-9_]*")
_OF_NGSPICE = (
    "all allv alli ally ac temper time frequency hertz gnd value table agauss gauss aunif unif limit idx phase energy"
)
"""Vectors, sets of vectors, and functions that it looks for in expressions; and what the netlists here use."""

_OF_OTHERS = """
    ground abs acos acosh ahdl_include altergroup asin asinh atan atan2 atanh ceil checkpoint correlate cos cosh else
    endlibrary ends endsection exp export floor for function global hypot ic if inline int library local log log10
    march max min mismatch model nodeset parameters paramset plot pow print process protect pwr real return save section
    sens simulator sin sinh sqrt statistics string subckt tan tanh to truncate unprotect vary
"""
"""Ground of HSPICE, and keywords of Spectre."""

_RESERVED = frozenset(f"{_OF_NGSPICE} {_OF_OTHERS}".split())
"""Names that a simulator gives a meaning of its own, and those that the netlists here use for themselves."""

_SHOWN = 24
"""Groups that the text of a circuit names: one screen."""

_Kind = TypeVar("_Kind", bound=Branches)


def validate_name(name: str) -> str:
    """Return `name` if every netlist can carry it.

    Raises
    ------
    NodeNameError
        If it is not lower-case letters, digits and underscores after a letter, or is reserved.
    """
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise NodeNameError(
            f"a name must match [a-z][a-z0-9_]*, found {name!r}; use lower-case letters, digits and underscores"
        )
    # Vectors of a noise analysis, of one device each too.
    if name in _RESERVED or name.startswith(("onoise_", "inoise_")):
        raise NodeNameError(f"the name {name!r} is reserved in netlists; choose another")
    return name


@dataclass(frozen=True, eq=False, repr=False)
class Circuit:
    """Nodes and arrays of branches. Immutable; samples and nudges are not part of it.

    Build one with `CircuitBuilder`. Solvers call `check_circuit` before they run.

    Attributes
    ----------
    title : str
        What it is, for the head of a netlist.
    node_names : tuple of str
        Name of each node; index 0 is ground, "0".
    groups : tuple of Branches
        The elements, in the order they were added.
    outputs : (ndarray, ndarray) or None
        Nodes v₊ and v₋ of the differential outputs, each `(n_outputs,)`.
    layers : dict of str to ndarray
        Named sets of nodes, for reports.
    temperature : float
        Of everything that has no temperature of its own: resistors, whose noise it sets, and a simulation of the
        circuit. [K]
    """

    title: str
    node_names: tuple[str, ...]
    groups: tuple[Branches, ...]
    outputs: tuple[np.ndarray, np.ndarray] | None = None
    layers: Mapping[str, np.ndarray] = field(default_factory=dict)
    temperature: float = DEFAULT_TEMPERATURE

    def __post_init__(self):
        require_temperature("a circuit", self.temperature)
        for group in self.groups:
            if group.names_nodes():
                raise CircuitError(f"{group.label}: nodes must be indices, found names; use CircuitBuilder")

    def __repr__(self) -> str:
        lines = [f"Circuit {self.title!r}: {self.n_nodes} nodes, {self.n_branches} elements"]
        shown = self.groups if len(self.groups) <= _SHOWN else self.groups[: _SHOWN - 1]
        for group in shown:
            trained = getattr(group, "parameter", None)
            learns = f", learns as {trained!r}" if trained else ""
            lines.append(f"  {group.label}: {len(group)} {type(group).__name__}{learns}")
        if len(shown) < len(self.groups):
            lines.append(f"  and {len(self.groups) - len(shown)} groups more")
        pairs = [] if self.outputs is None else list(zip(*self.outputs, strict=True))
        names = [self.node_names[p] if n == 0 else f"{self.node_names[p]}-{self.node_names[n]}" for p, n in pairs[:6]]
        more = f" and {len(pairs) - 6} more" if len(pairs) > 6 else ""
        lines.append(f"  {self.n_inputs} inputs, {len(pairs)} outputs: {', '.join(names) or 'none'}{more}")
        return "\n".join(lines)

    @property
    def n_nodes(self) -> int:
        """Number of nodes, ground included."""
        return len(self.node_names)

    @cached_property
    def n_inputs(self) -> int:
        """Number of inputs that the voltage sources refer to."""
        return max((int(g.rows().input.max(initial=-1)) for g in self.of_kind(VoltageLaw)), default=-1) + 1

    @property
    def n_outputs(self) -> int:
        """Number of differential outputs; 0 where none are declared."""
        return 0 if self.outputs is None else len(self.outputs[0])

    @cached_property
    def n_branches(self) -> int:
        """Number of elements."""
        return sum(len(group) for group in self.groups)

    def of_kind(self, kind: type[_Kind]) -> list[_Kind]:
        """The groups of one kind."""
        return [group for group in self.groups if isinstance(group, kind)]

    def group(self, label: str) -> Branches:
        """The group with this label."""
        for group in self.groups:
            if group.label == label:
                return group
        raise CircuitError(f"no group of branches is called {label!r}; there are {[g.label for g in self.groups]}")

    def node(self, name: str) -> int:
        """Index of the node with this name."""
        try:
            return self._node_index[name]
        except KeyError:
            raise CircuitError(f"no node is called {name!r} in {self.title!r}") from None

    @cached_property
    def _node_index(self) -> dict[str, int]:
        return {name: index for index, name in enumerate(self.node_names)}

    def with_groups(self, groups: Iterable[Branches]) -> Circuit:
        """The same nodes with other branches."""
        return replace(self, groups=tuple(groups))

    def trainable(self) -> dict[str, Conductances]:
        """The conductance groups that a parameter stands behind, by the parameter's name."""
        return {g.parameter: g for g in self.of_kind(Conductances) if g.parameter is not None}


def require_temperature(what: str, kelvin: float) -> None:
    """Raise `CircuitError` unless a temperature is positive and finite."""
    if not 0 < kelvin < float("inf"):
        raise CircuitError(f"the temperature of {what} must be positive and finite, found {kelvin} K")


def common_temperature(groups: Iterable[Branches], otherwise: float) -> float:
    """The one temperature of all junctions; `otherwise` where they have none, or several. [K]"""
    found = {kelvin for group in groups for kelvin in np.unique(group.own_temperatures()).tolist()}
    return found.pop() if len(found) == 1 else otherwise


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
