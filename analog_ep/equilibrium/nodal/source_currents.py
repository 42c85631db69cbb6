"""Branches that have a voltage of their own, and a current that the voltages do not tell."""

from __future__ import annotations

import numpy as np

from analog_ep.circuit import NONE, Circuit, CurrentFollower, VoltageLaw, VoltageRows
from analog_ep.equilibrium.nodal.assembly import Entries


class Border:
    """Rows K V + H c = R s and columns C of the branches whose current c stays an unknown.

    These are the rows of voltage laws that `eliminated` leaves: floating sources, E and H sources, and the sources
    whose current another branch follows. The current c flows from the positive node through the branch to the negative
    one. The sources s are the circuit's inputs and, last, 1 V for all constant voltages.

    Attributes
    ----------
    size : int
        Number of currents.
    rows : csr_array (size, n_nodes)
        K.
    columns : csr_array (n_nodes, size)
        C, with what followers draw.
    currents : csr_array (size, size)
        H.
    sources : csr_array (size, n_inputs + 1)
        R.
    places : dict of str to ndarray (n_rows,)
        Number of each row's current among them, by the label of its group; of rows that are eliminated no number that
        means anything.
    """

    def __init__(self, circuit: Circuit):
        rows, columns, currents, sources = Entries(), Entries(), Entries(), Entries()
        groups = [(group, group.rows()) for group in circuit.of_kind(VoltageLaw)]
        self.places: dict[str, np.ndarray] = {}
        place = self.places
        self.size = 0
        for group, held in groups:
            kept = ~eliminated(circuit, group.label, held)
            own = self.size + np.cumsum(kept) - 1
            place[group.label] = own
            element, own = np.flatnonzero(kept), own[kept]
            for node, sign in ((held.positive, 1.0), (held.negative, -1.0)):
                rows.put(own, node[element], sign)
                columns.put(node[element], own, sign)
            if held.control is not None and held.gain is not None:
                rows.put(own, held.control[0][element], -held.gain[element])
                rows.put(own, held.control[1][element], held.gain[element])
            if held.drawn_from is not None and held.feedback is not None:
                columns.put(held.drawn_from[element], own, -held.feedback[element])
            put_sources(sources, own, held, element, np.ones(len(element)), circuit.n_inputs)
            self.size += len(element)
        for group, held in groups:
            if held.resistance is not None and (followed := group.followed()) is not None:
                currents.put(place[group.label], place[followed[0]][followed[1]], -held.resistance)
        for group in circuit.of_kind(CurrentFollower):
            control = place[group.control_label][group.control]
            columns.put(group.positive, control, group.gain)
            columns.put(group.negative, control, -group.gain)
        self.rows = rows.matrix((self.size, circuit.n_nodes))
        self.columns = columns.matrix((circuit.n_nodes, self.size))
        self.currents = currents.matrix((self.size, self.size))
        self.sources = sources.matrix((self.size, circuit.n_inputs + 1))


def eliminated(circuit: Circuit, label: str, rows: VoltageRows) -> np.ndarray:
    """Mask of the rows of group `label` whose node takes the prescribed voltage, and whose current is no unknown."""
    eliminable = rows.grounded if rows.chained else np.zeros(len(rows), dtype=bool)
    for group in circuit.groups:
        if (followed := group.followed()) is not None and followed[0] == label:
            eliminable = eliminable & ~np.isin(np.arange(len(rows)), followed[1])
    return eliminable


def put_sources(
    entries: Entries, places: np.ndarray, rows: VoltageRows, chosen: np.ndarray, sign: np.ndarray, n_inputs: int
) -> None:
    """Put the constant and the driven part of the chosen rows, times `sign`, at `places` of a matrix by s."""
    entries.put(places, np.full_like(places, n_inputs), sign * rows.volts[chosen])
    driven = rows.input[chosen] != NONE
    entries.put(places[driven], rows.input[chosen][driven], (sign * rows.scale[chosen])[driven])
