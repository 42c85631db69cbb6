"""A circuit and a second one of its kind beside it, on the same sources."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from analog_ep.circuit.circuit import Circuit
from analog_ep.circuit.copies import moved
from analog_ep.circuit.energy import held_nodes
from analog_ep.circuit.laws import Branches
from analog_ep.errors import CircuitError

SUFFIX = "_twin"


@dataclass(frozen=True, eq=False)
class Twins:
    """Two circuits as one.

    Attributes
    ----------
    circuit : Circuit
        The first one's nodes and groups, then those of the second with names that end in `_twin`. Nodes that
        independent sources hold, and these sources, serve both. Outputs and layers are the first one's.
    twin_of : ndarray (n_nodes,)
        For each node of the first that of the second; itself where it serves both.
    free : Circuit
        The first alone.
    """

    circuit: Circuit
    twin_of: np.ndarray
    free: Circuit

    @classmethod
    def of(cls, first: Circuit, second: Circuit) -> Twins:
        """The circuits side by side.

        Parameters
        ----------
        first, second : Circuit
            With the same nodes and groups, which may differ in values.

        Raises
        ------
        CircuitError
            If they are not alike, or currents of sources are followed, of which there is one set for both.
        """
        alike = first.node_names == second.node_names and len(first.groups) == len(second.groups)
        if not alike or any(a.label != b.label for a, b in zip(first.groups, second.groups, strict=True)):
            raise CircuitError(f"twins must have the same nodes and groups, found others than {first.title!r}'s")
        held = held_nodes(first)
        twin_of = np.arange(first.n_nodes)
        twin_of[~held] = first.n_nodes + np.arange(int((~held).sum()))
        names = (*first.node_names, *(first.node_names[node] + SUFFIX for node in np.flatnonzero(~held)))
        groups = [_moved(group, twin_of) for group in second.groups if not _is_source(group, held)]
        return cls(replace(first, node_names=names, groups=(*first.groups, *groups)), twin_of, first)


def _is_source(group: Branches, held: np.ndarray) -> bool:
    """Whether the group is one of independent sources that hold nodes of both circuits."""
    rows = group.rows()
    return rows is not None and rows.is_source and bool(held[rows.positive].all() and held[rows.negative].all())


def _moved(group: Branches, twin_of: np.ndarray) -> Branches:
    if group.followed() is not None:
        raise CircuitError(f"{group.label}: twins share their sources, whose currents must not be followed")
    return replace(moved(group, twin_of), label=group.label + SUFFIX)
