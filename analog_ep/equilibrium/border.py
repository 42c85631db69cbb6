"""Branches that have a voltage of their own, and a current that the voltages do not tell."""

from __future__ import annotations

import numpy as np

from analog_ep.circuit import (
    GROUND,
    Circuit,
    CurrentControlledCurrentSources,
    CurrentControlledVoltageSources,
    VoltageControlledVoltageSources,
    VoltageSources,
)
from analog_ep.equilibrium.assembly import Entries


class Border:
    """Rows K V + H c = R s and columns C of the branches whose current c stays an unknown.

    These are floating voltage sources, E and H sources, and the sources whose current an F or H source refers to. The
    current c flows from the positive node through the branch to the negative one.

    Attributes
    ----------
    size : int
        Number of currents.
    rows : csr_array (size, n_nodes)
        K.
    columns : csr_array (n_nodes, size)
        C, F sources included.
    currents : csr_array (size, size)
        H.
    sources : csr_array (size, n_sources + 1)
        R; its last column, of the offsets' source, is empty.
    controlling : dict of str to ndarray
        Which elements of each group of voltage sources an F or H source refers to, bool.
    """

    def __init__(self, circuit: Circuit):
        followers = circuit.of_kind(CurrentControlledCurrentSources) + circuit.of_kind(CurrentControlledVoltageSources)
        self.controlling = {
            group.label: np.isin(
                np.arange(len(group)),
                np.concatenate([f.control for f in followers if f.control_label == group.label] or [np.zeros(0, int)]),
            )
            for group in circuit.of_kind(VoltageSources)
        }
        rows, columns, currents, sources = Entries(), Entries(), Entries(), Entries()
        place: dict[str, np.ndarray] = {}
        self.size = n_sources = 0
        for group in circuit.groups:
            if not isinstance(
                group, (VoltageSources, VoltageControlledVoltageSources, CurrentControlledVoltageSources)
            ):
                continue
            kept = np.ones(len(group), dtype=bool)
            if isinstance(group, VoltageSources):
                kept = self.controlling[group.label] | ~is_grounded(group)
            own = self.size + np.cumsum(kept) - 1
            place[group.label] = own
            element, own = np.flatnonzero(kept), own[kept]
            for node, sign in ((group.positive, 1.0), (group.negative, -1.0)):
                rows.put(own, node[element], sign)
                columns.put(node[element], own, sign)
            if isinstance(group, VoltageSources):
                sources.put(own, n_sources + element, 1.0)
                n_sources += len(group)
            elif isinstance(group, VoltageControlledVoltageSources):
                rows.put(own, group.control_positive, -group.gain)
                rows.put(own, group.control_negative, group.gain)
            self.size += len(element)
        for group in followers:
            control = place[group.control_label][group.control]
            if isinstance(group, CurrentControlledVoltageSources):
                currents.put(place[group.label], control, -group.gain)
            else:
                columns.put(group.positive, control, group.gain)
                columns.put(group.negative, control, -group.gain)
        self.rows, self.columns = (
            rows.matrix((self.size, circuit.n_nodes)),
            columns.matrix((circuit.n_nodes, self.size)),
        )
        self.currents, self.sources = (
            currents.matrix((self.size, self.size)),
            sources.matrix((self.size, n_sources + 1)),
        )


def is_grounded(group: VoltageSources) -> np.ndarray:
    """Mask of the sources with one end at ground."""
    return (group.positive == GROUND) | (group.negative == GROUND)
