"""The one description of hardware."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from html import escape
from typing import TypeVar

import numpy as np

from analog_ep.circuit.laws import Branches, VoltageLaw
from analog_ep.circuit.picture import MOST_ELEMENTS, circuit_drawing
from analog_ep.circuit.trainable import ConductanceLaw, TrainableLaw
from analog_ep.constants import DEFAULT_TEMPERATURE
from analog_ep.errors import CircuitError
from analog_ep.support.shown import Drawing

_SHOWN = 24
"""Groups that the text of a circuit names: one screen."""

_Kind = TypeVar("_Kind", bound=Branches)


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
    ideal : Circuit or None
        What the circuit stands for, where its designer took it for another one: with this one's first nodes, and
        trainable groups of the same labels between them. Contrasts have that one's weights, see `contrast_weights`.
    origin : Circuit or None
        The circuit of which this one is by other branches, see `with_groups`: what both have in common solvers form
        once.
    """

    title: str
    node_names: tuple[str, ...]
    groups: tuple[Branches, ...]
    outputs: tuple[np.ndarray, np.ndarray] | None = None
    layers: Mapping[str, np.ndarray] = field(default_factory=dict)
    temperature: float = DEFAULT_TEMPERATURE
    ideal: Circuit | None = None
    origin: Circuit | None = None

    def __post_init__(self):
        require_temperature("a circuit", self.temperature)
        for group in self.groups:
            if group.names_nodes():
                raise CircuitError(f"{group.label}: nodes must be indices, found names; use CircuitBuilder")

    def __repr__(self) -> str:
        lines = [f"Circuit {self.title!r}: {self.n_nodes} nodes, {self.n_branches} elements"]
        shown = self.groups if len(self.groups) <= _SHOWN else self.groups[: _SHOWN - 1]
        learnt = {group.label: group.parameter for group in self.learning_groups()}
        for group in shown:
            learns = f", learns as {learnt[group.label]!r}" if group.label in learnt else ""
            lines.append(f"  {group.label}: {len(group)} {type(group).__name__}{learns}")
        if len(shown) < len(self.groups):
            lines.append(f"  and {len(self.groups) - len(shown)} groups more")
        pairs = [] if self.outputs is None else list(zip(*self.outputs, strict=True))
        names = [self.node_names[p] if n == 0 else f"{self.node_names[p]}-{self.node_names[n]}" for p, n in pairs[:6]]
        more = f" and {len(pairs) - 6} more" if len(pairs) > 6 else ""
        lines.append(f"  {self.n_inputs} inputs, {len(pairs)} outputs: {', '.join(names) or 'none'}{more}")
        return "\n".join(lines)

    def draw(self, places: Mapping[str, tuple[float, float]] | None = None) -> Drawing:
        """The circuit drawn: named nodes, elements with symbols and values; controls are dashed.

        The values are those of this circuit; what a network has learnt is in `network.circuit()`.

        Parameters
        ----------
        places : mapping of str to (float, float), optional
            Column and row of every node but ground, by its name, from the upper left: of a lattice, say. Without
            them inputs stand on the left, and the others by their distance from these.

        Returns
        -------
        Drawing
            Notebooks show it; `save` writes it as SVG.

        Raises
        ------
        CircuitError
            If it has more than 60 elements and no places are given, or a node has none.
        """
        return circuit_drawing(self.title, self.node_names, self.groups, places)

    def _repr_html_(self) -> str:
        drawing = self.draw().svg if self.n_branches <= MOST_ELEMENTS else ""
        return f"<pre>{escape(repr(self))}</pre>{drawing}"

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

    @cached_property
    def parts(self) -> tuple[Branches, ...]:
        """The groups as Kirchhoff's equations see them, see `Branches.parts`."""
        return tuple(part for group in self.groups for part in group.parts())

    def of_kind(self, kind: type[_Kind]) -> list[_Kind]:
        """The groups of one kind, or those of their `parts` that are."""
        return [part for part in self.parts if isinstance(part, kind)]

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
        return replace(self, groups=tuple(groups), origin=self.origin or self)

    def learning_groups(self) -> list[TrainableLaw]:
        """All groups, or parts of them, whose quantity learns, whatever it is: conductances, gate voltages."""
        return [group for group in self.of_kind(TrainableLaw) if group.parameter is not None]

    def trainable(self) -> dict[str, ConductanceLaw]:
        """The group that stands for each parameter, by the parameter's name.

        Raises
        ------
        CircuitError
            If several groups share a parameter: `trainable_groups` has them all.
        """
        found: dict[str, ConductanceLaw] = {}
        for group, name, _ in self.trained_groups():
            if name in found:
                raise CircuitError(
                    f"one group must stand for each parameter, found {found[name].label} and {group.label} for "
                    f"{name!r}; ask trainable_groups()"
                )
            found[name] = group
        return found

    def trainable_groups(self) -> list[ConductanceLaw]:
        """All groups that a parameter stands behind; several may share one."""
        return [group for group, *_ in self.trained_groups()]

    def trained_groups(self) -> list[tuple[ConductanceLaw, str, np.ndarray]]:
        """All conductances that a parameter stands behind, its name, and the flat index of each element into it.

        Several may share a parameter.
        """
        groups = self.of_kind(ConductanceLaw)
        return [(g, g.parameter, g.index) for g in groups if g.parameter is not None and g.index is not None]


def require_temperature(what: str, kelvin: float) -> None:
    """Raise `CircuitError` unless a temperature is positive and finite."""
    if not 0 < kelvin < float("inf"):
        raise CircuitError(f"the temperature of {what} must be positive and finite, found {kelvin} K")


def common_temperature(groups: Iterable[Branches], otherwise: float) -> float:
    """The one temperature of all junctions; `otherwise` where they have none, or several. [K]"""
    found = {kelvin for group in groups for kelvin in np.unique(group.own_temperatures()).tolist()}
    return found.pop() if len(found) == 1 else otherwise
