"""Small blocks of a crossbar, eliminated down to their ports, on the CPU."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
from torch import Tensor

from analog_ep.networks.wires.joins import disconnected
from analog_ep.networks.wires.leaf_kernels import LANES, eliminate, spread_moments, spread_voltages


@dataclass(frozen=True)
class Plan:
    """In which order the nodes of a block are eliminated, and what is linked then.

    A block of p rows and q columns has the ports left and right of its rows, top and bottom of its columns, in this
    order; the right ones are the last cells' row nodes, and the top ones the first cells' column nodes.

    Attributes
    ----------
    nodes, starts : ndarray (n,), (n + 1,)
        Eliminated nodes in order, and where the neighbours of each begin.
    neighbours, slots : ndarray (n_weights,)
        Nodes that are linked to it then, and the slots of these links.
    pair_slots : ndarray
        Slots of all pairs of neighbours of each node, the second one's number ascending and the first one's below it.
    ports, port_slots : ndarray (n_ports,), (n_ports (n_ports − 1) / 2,)
        Nodes of the ports, and slots of their pairs, those of the lower triangle row by row.
    row_nodes, column_nodes : ndarray (p q,)
        Of the cells.
    entry_slots : ndarray (3 p q,)
        Of the segments in rows, the cells, and the segments in columns.
    n_slots : int
        Number of slots.
    """

    nodes: np.ndarray
    starts: np.ndarray
    neighbours: np.ndarray
    slots: np.ndarray
    pair_slots: np.ndarray
    ports: np.ndarray
    port_slots: np.ndarray
    row_nodes: np.ndarray
    column_nodes: np.ndarray
    entry_slots: np.ndarray
    n_slots: int


@cache
def plan_of(n_rows: int, n_columns: int) -> Plan:
    """The plan of blocks of this size: halves of a block are eliminated before what they share (George 1973)."""
    rows = np.arange(n_rows * (n_columns + 1)).reshape(n_rows, -1)
    columns = rows.size + np.arange((n_rows + 1) * n_columns).reshape(-1, n_columns)
    size = rows.size + columns.size
    ends = [
        (rows[:, :-1], rows[:, 1:]),
        (rows[:, 1:], columns[:-1]),
        (columns[:-1], columns[1:]),
    ]
    first, second = (np.concatenate([pair[k].ravel() for pair in ends]) for k in range(2))
    ports = np.concatenate([rows[:, 0], rows[:, -1], columns[0], columns[-1]])
    linked = np.zeros((size, size), bool)
    linked[first, second] = linked[second, first] = True
    linked[np.ix_(ports, ports)] = True
    nodes = np.array(list(_order(rows, columns)), np.int64)
    left, neighbours = np.ones(size, bool), []
    for node in nodes:
        left[node] = False
        neighbours.append(np.flatnonzero(linked[node] & left))
        linked[np.ix_(neighbours[-1], neighbours[-1])] = True
    slot = np.zeros((size, size), np.int64)
    above = np.triu(linked, 1)
    slot[above] = np.arange(above.sum())
    slot += slot.T
    pairs = [slot[np.ix_(some, some)][np.tril_indices(len(some), -1)] for some in neighbours]
    slots = [slot[node, some] for node, some in zip(nodes, neighbours, strict=True)]
    return Plan(
        nodes=_indices(nodes),
        starts=np.cumsum([0] + [len(some) for some in neighbours]),
        neighbours=_indices(*neighbours),
        slots=_indices(*slots),
        pair_slots=_indices(*pairs),
        ports=_indices(ports),
        port_slots=_indices(slot[np.ix_(ports, ports)][np.tril_indices(len(ports), -1)]),
        row_nodes=_indices(rows[:, 1:].ravel()),
        column_nodes=_indices(columns[:-1].ravel()),
        entry_slots=_indices(slot[first, second]),
        n_slots=int(above.sum()),
    )


def _indices(*parts: np.ndarray) -> np.ndarray:
    # Without a sign, so that compiled loops need not ask whether they count from the end.
    return np.concatenate([np.empty(0), *parts]).astype(np.uint32)


def _order(rows: np.ndarray, columns: np.ndarray):
    """Inner nodes of a block whose rows' and columns' nodes these are, in the order of their elimination."""
    n_rows, n_columns = len(rows), columns.shape[1]
    if n_columns >= n_rows and n_columns > 1:
        half = n_columns // 2
        yield from _order(rows[:, : half + 1], columns[:, :half])
        yield from _order(rows[:, half:], columns[:, half:])
        yield from rows[:, half]
    elif n_rows > 1:
        half = n_rows // 2
        yield from _order(rows[:half], columns[: half + 1])
        yield from _order(rows[half:], columns[half:])
        yield from columns[half]


class CompiledLeaves:
    """Blocks of one size that make up crossbars.

    Parameters
    ----------
    links : tuple of Tensor (n_crossbars, n_rows, n_columns)
        Conductances of segments in rows, of cells, and of segments in columns. [S]
    padding : float
        That of segments beyond the crossbar. [S]
    leaf, blocks : (int, int)
        Rows and columns of a block, and blocks on top of each other and side by side. What they have beyond the
        crossbar, at the top and on the right, is without cells.

    Attributes
    ----------
    links : Tensor (n_crossbars, n_block_rows, n_block_columns, n_ports, n_ports)
        Conductances between ports. [S]
    samples_at_once : int
        For how many samples' voltages the intermediate ones stay in a cache.

    Raises
    ------
    NetworkError
        If a node is connected to nothing.
    """

    samples_at_once = 32

    def __init__(
        self, links: tuple[Tensor, Tensor, Tensor], padding: float, leaf: tuple[int, int], blocks: tuple[int, int]
    ):
        self._plan, self._size = plan_of(*leaf), links[0].shape
        self._shape = (*blocks, *leaf, blocks[0] * leaf[0] - self._size[1])
        plan, n_blocks = self._plan, self._size[0] * blocks[0] * blocks[1]
        self._weights = np.empty((-(-n_blocks // LANES), len(plan.slots), LANES))
        row_links, cells, column_links = (values.contiguous().numpy() for values in links)
        segments = row_links, cells, column_links, padding
        order = plan.entry_slots, plan.starts, plan.slots, plan.pair_slots, plan.port_slots
        joined = np.zeros((n_blocks, len(plan.ports), len(plan.ports)))
        if eliminate(segments, self._shape, order, plan.n_slots, self._weights, joined):
            raise disconnected()
        self.links = torch.from_numpy(joined).unflatten(0, (self._size[0], *blocks))

    def voltages(self, ports: Tensor, rows: Tensor, columns: Tensor, first_sample: int) -> None:
        """Set those of the cells' nodes, from those of ports `(n_crossbars, …, n_ports, n_samples)`."""
        plan = self._plan
        order = plan.nodes, plan.starts, plan.neighbours, plan.ports, plan.row_nodes, plan.column_nodes
        volts = ports.flatten(0, 2).contiguous().numpy()
        spread_voltages(self._weights, order, volts, self._shape, rows.numpy(), columns.numpy(), first_sample)

    def moments(self, ports: Tensor) -> Tensor:
        """Across the cells, from those of ports `(n_crossbars, …, n_ports, n_ports)`."""
        plan, found = self._plan, np.empty(self._size)
        order = plan.nodes, plan.starts, plan.neighbours, plan.slots, plan.pair_slots
        n_cells = len(plan.row_nodes)
        cell_slots = plan.entry_slots[n_cells : 2 * n_cells]
        places = plan.ports, plan.port_slots, plan.row_nodes, plan.column_nodes, cell_slots
        of_ports = ports.flatten(0, 2).contiguous().numpy()
        spread_moments(self._weights, order, places, of_ports, self._shape, plan.n_slots, found)
        return torch.from_numpy(found)
