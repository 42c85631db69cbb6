"""Compiled elimination of small blocks of a crossbar, all of one size, `LANES` of them side by side.

Nodes are eliminated one by one: links between all pairs of a node's neighbours are added to, and nothing is subtracted.
Which nodes are neighbours then is the same in all blocks, and so each pair that ever has a link has a slot.
"""

from __future__ import annotations

import numpy as np

from analog_ep.support.compiled import compiled

LANES = 8
"""Blocks that are eliminated side by side."""


@compiled
def eliminate(
    segments: tuple[np.ndarray, np.ndarray, np.ndarray, float],
    shape: tuple[int, int, int, int, int],
    plan: tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray],
    n_slots: int,
    weights: np.ndarray,
    links: np.ndarray,
) -> bool:
    """Weights of the eliminated nodes, and links between ports; returns whether a node is connected to nothing.

    Parameters
    ----------
    segments : tuple of ndarray (n_crossbars, n_rows, n_columns) and float
        Conductances of segments in rows, of cells, and of segments in columns; that of segments in the padding. [S]
    shape : tuple of int
        Blocks on top of each other and side by side, rows and columns of a block, rows of padding at the top.
    plan : tuple of ndarray
        `entry_slots`, `starts`, `slots`, `pair_slots` and `port_slots`, see `Plan`.
    n_slots : int
        Number of slots.
    weights : ndarray (n_groups, n_weights, LANES)
        Overwritten: for each eliminated node, in order, the part of each neighbour's voltage in its own. [1]
    links : ndarray (n_blocks, n_ports, n_ports)
        Overwritten, but for the diagonals. [S]
    """
    entry_slots, starts, slots, pair_slots, port_slots = plan
    row_links, cells, column_links, wire = segments
    down, right, height, width, padding = shape
    n_columns, n_cells, n_ports = cells.shape[2], height * width, links.shape[1]
    # Neighbours' links and the present weights have places of their own: only these are known to overlap nothing.
    values, beside, weight = np.empty((n_slots, LANES)), np.empty((n_slots, LANES)), np.empty(LANES)
    inverse = np.empty(LANES)
    alone = False
    for group in range(len(weights)):
        values[:] = 0.0
        for lane in range(LANES):
            # What is left of the last group repeats the last block.
            block = min(group * LANES + lane, len(links) - 1)
            crossbar, place = block // (down * right), block % (down * right)
            top, left = (place // right) * height - padding, (place % right) * width
            for cell in range(n_cells):
                i, j = top + cell // width, left + cell % width
                if i >= 0 and j < n_columns:
                    values[entry_slots[cell], lane] = row_links[crossbar, i, j]
                    values[entry_slots[n_cells + cell], lane] = cells[crossbar, i, j]
                    values[entry_slots[2 * n_cells + cell], lane] = column_links[crossbar, i, j]
                else:
                    values[entry_slots[cell], lane] = values[entry_slots[2 * n_cells + cell], lane] = wire
        pair = 0
        for k in range(len(starts) - 1):
            begin, count = starts[k], starts[k + 1] - starts[k]
            inverse[:] = 0.0
            for at in range(count):
                for lane in range(LANES):
                    beside[at, lane] = values[slots[begin + at], lane]
                    inverse[lane] += beside[at, lane]
            for lane in range(LANES):
                alone |= not inverse[lane] > 0.0
                inverse[lane] = 1.0 / inverse[lane]
            for at in range(count):
                for lane in range(LANES):
                    weight[lane] = beside[at, lane] * inverse[lane]
                    weights[group, begin + at, lane] = weight[lane]
                for other in range(at):
                    link = values[pair_slots[pair]]
                    for lane in range(LANES):
                        link[lane] += beside[other, lane] * weight[lane]
                    pair += 1
        for lane in range(min(LANES, len(links) - group * LANES)):
            block, at = group * LANES + lane, 0
            for port in range(n_ports):
                for other in range(port):
                    links[block, port, other] = links[block, other, port] = values[port_slots[at], lane]
                    at += 1
    return alone


@compiled
def spread_voltages(
    weights: np.ndarray,
    plan: tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray],
    ports: np.ndarray,
    shape: tuple[int, int, int, int, int],
    rows: np.ndarray,
    columns: np.ndarray,
    first_sample: int,
) -> None:
    """Voltages of the cells' nodes, from those of the blocks' ports.

    Parameters
    ----------
    weights : ndarray (n_groups, n_weights, LANES)
        From `eliminate`.
    plan : tuple of ndarray
        `nodes`, `starts`, `neighbours`, `ports`, `row_nodes` and `column_nodes`, see `Plan`.
    ports : ndarray (n_blocks, n_ports, n_samples)
        Voltages. [V]
    shape : tuple of int
        As in `eliminate`.
    rows, columns : ndarray (n_crossbars, n_rows, n_columns, all samples)
        Overwritten for these samples. [V]
    first_sample : int
        Where these samples begin.
    """
    nodes, starts, neighbours, port_nodes, row_nodes, column_nodes = plan
    down, right, height, width, padding = shape
    n_columns, n_samples = rows.shape[2], ports.shape[2]
    volts = np.empty((len(nodes) + len(port_nodes), n_samples))
    for block in range(len(ports)):
        group, lane = block // LANES, block % LANES
        for port in range(len(port_nodes)):
            volts[port_nodes[port]] = ports[block, port]
        for k in range(len(nodes) - 1, -1, -1):
            own = volts[nodes[k]]
            own[:] = 0.0
            for at in range(starts[k], starts[k + 1]):
                weight, other = weights[group, at, lane], volts[neighbours[at]]
                for sample in range(n_samples):
                    own[sample] += weight * other[sample]
        crossbar, place = block // (down * right), block % (down * right)
        top, left = (place // right) * height - padding, (place % right) * width
        for i in range(max(0, -top), height):
            for j in range(min(width, n_columns - left)):
                for sample in range(n_samples):
                    at = first_sample + sample
                    rows[crossbar, top + i, left + j, at] = volts[row_nodes[i * width + j], sample]
                    columns[crossbar, top + i, left + j, at] = volts[column_nodes[i * width + j], sample]


@compiled
def spread_moments(
    weights: np.ndarray,
    plan: tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray],
    places: tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray],
    ports: np.ndarray,
    shape: tuple[int, int, int, int, int],
    n_slots: int,
    moments: np.ndarray,
) -> None:
    """Moments across the cells from those of the blocks' ports: on the slots alone (Erisman & Tinney 1975).

    Parameters
    ----------
    weights : ndarray (n_groups, n_weights, LANES)
        From `eliminate`.
    plan : tuple of ndarray
        `nodes`, `starts`, `neighbours`, `slots` and `pair_slots`, see `Plan`.
    places : tuple of ndarray
        `ports`, `port_slots`, `row_nodes`, `column_nodes`, and the slots of cells.
    ports : ndarray (n_blocks, n_ports, n_ports)
        Moments of ports. [V²]
    shape : tuple of int
        As in `eliminate`.
    n_slots : int
        Number of slots.
    moments : ndarray (n_crossbars, n_rows, n_columns)
        Overwritten. [V²]
    """
    nodes, starts, neighbours, slots, pair_slots = plan
    port_nodes, port_slots, row_nodes, column_nodes, cell_slots = places
    down, right, height, width, padding = shape
    own, beside = np.empty((len(nodes) + len(port_nodes), LANES)), np.empty((n_slots, LANES))
    found, parts, total = np.empty((n_slots, LANES)), np.empty((n_slots, LANES)), np.empty(LANES)
    for group in range(len(weights)):
        for lane in range(LANES):
            block, at = min(group * LANES + lane, len(ports) - 1), 0
            for port in range(len(port_nodes)):
                own[port_nodes[port], lane] = ports[block, port, port]
                for other in range(port):
                    beside[port_slots[at], lane] = ports[block, port, other]
                    at += 1
        pair = len(pair_slots)
        for k in range(len(nodes) - 1, -1, -1):
            begin, count = starts[k], starts[k + 1] - starts[k]
            pair -= count * (count - 1) // 2
            across = pair
            for at in range(count):
                for lane in range(LANES):
                    parts[at, lane] = weights[group, begin + at, lane]
                    found[at, lane] = parts[at, lane] * own[neighbours[begin + at], lane]
                    total[lane] = 0.0
                for other in range(at):
                    moment = beside[pair_slots[across]]
                    for lane in range(LANES):
                        found[other, lane] += parts[at, lane] * moment[lane]
                        total[lane] += parts[other, lane] * moment[lane]
                    across += 1
                for lane in range(LANES):
                    found[at, lane] += total[lane]
            total[:] = 0.0
            for at in range(count):
                for lane in range(LANES):
                    beside[slots[begin + at], lane] = found[at, lane]
                    total[lane] += parts[at, lane] * found[at, lane]
            for lane in range(LANES):
                own[nodes[k], lane] = total[lane]
        for lane in range(LANES):
            block = min(group * LANES + lane, len(ports) - 1)
            crossbar, place = block // (down * right), block % (down * right)
            top, left = (place // right) * height - padding, (place % right) * width
            for cell in range(len(row_nodes)):
                i, j = top + cell // width, left + cell % width
                if i >= 0 and j < moments.shape[2]:
                    sum_of_squares = own[row_nodes[cell], lane] + own[column_nodes[cell], lane]
                    moments[crossbar, i, j] = sum_of_squares - 2 * beside[cell_slots[cell], lane]
