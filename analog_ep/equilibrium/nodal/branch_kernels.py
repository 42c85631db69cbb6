"""Compiled loops between the nodes of a circuit and its branches."""

from __future__ import annotations

import numpy as np

from analog_ep.support.compiled import compiled


@compiled
def take_across(voltages: np.ndarray, first: np.ndarray, second: np.ndarray, across: np.ndarray) -> None:
    """Fill voltages across pairs of nodes `(n_samples, n_pairs)` from those of the nodes `(n_samples, n_nodes)`."""
    for b in range(len(voltages)):
        for k in range(len(first)):
            across[b, k] = voltages[b, first[k]] - voltages[b, second[k]]


@compiled
def take_sizes(voltages: np.ndarray, first: np.ndarray, second: np.ndarray, sizes: np.ndarray) -> None:
    """Fill |v| of both nodes of pairs, added up `(n_samples, n_pairs)`, arguments as of `take_across`."""
    for b in range(len(voltages)):
        for k in range(len(first)):
            sizes[b, k] = abs(voltages[b, first[k]]) + abs(voltages[b, second[k]])


@compiled
def sum_outflow(currents: np.ndarray, first: np.ndarray, second: np.ndarray, outflow: np.ndarray) -> None:
    """Add currents `(n_samples, n_pairs)` from first to second nodes to what leaves those, `(n_samples, n_nodes)`."""
    for b in range(len(currents)):
        for k in range(len(first)):
            outflow[b, first[k]] += currents[b, k]
            outflow[b, second[k]] -= currents[b, k]


@compiled
def sum_magnitudes(currents: np.ndarray, first: np.ndarray, second: np.ndarray, total: np.ndarray) -> None:
    """Add magnitudes of currents `(n_samples, n_pairs)` to those at both nodes `(n_samples, n_nodes)`."""
    for b in range(len(currents)):
        for k in range(len(first)):
            size = abs(currents[b, k])
            total[b, first[k]] += size
            total[b, second[k]] += size
