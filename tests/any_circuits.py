"""A hundred different circuits without layers: graphs, diodes, amplifiers and one-way sources of every kind."""

# Scalars for element values are spread over the elements, which the annotations do not say.
# pyright: reportArgumentType=false

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from analog_ep.circuit import (
    Amplifiers,
    Circuit,
    CircuitBuilder,
    Conductances,
    CurrentControlledCurrentSources,
    CurrentControlledVoltageSources,
    CurrentSources,
    NonlinearCurrentSources,
    VoltageControlledCurrentSources,
    VoltageControlledVoltageSources,
    VoltageSources,
)
from analog_ep.designs.vendor_diode import VendorDiode
from analog_ep.devices import PiecewiseLinearDiode, ShockleyDiode, TanhCurve
from analog_ep.devices.diode import Diode
from tests.own_kinds import CubicDiode

FAMILIES = ("lattice", "random graph", "ring with an amplifier", "blocks with amplifiers", "controlled sources")
BOUNDS = (1e-7, 1e-2)

_DIODES: tuple[tuple[Diode, ...], ...] = (
    (ShockleyDiode(1e-9, 1.7, series_resistance=50.0), ShockleyDiode(1e-13)),
    (PiecewiseLinearDiode((0.1, 0.4), (1e-4, 1e-3), leakage=1e-9),),
    (
        VendorDiode(
            2e-9,
            1.8,
            breakdown_voltage=0.9,
            recombination_current=1e-8,
            recombination_ideality=2.5,
            knee_current=1e-3,
            reverse_knee_current=1e-3,
        ),
    ),
    (CubicDiode(1e-6, 2e-4),),
    (ShockleyDiode(1e-10), PiecewiseLinearDiode((0.3,), (5e-4,), leakage=1e-8), CubicDiode(1e-6, 1e-4)),
)


def any_circuit(seed: int) -> Circuit:
    """Circuit `seed` of the hundred, of family `seed % 5`: 4 to 15 nodes, two inputs and two parameters.

    The diodes go through their five sorts with `seed // 5`. Some elements share an index, within and across groups.
    """
    return _Draw(seed).circuit()


class _Draw:
    def __init__(self, seed: int):
        self.family, self.sort, self.rng = seed % 5, seed // 5 % 5, np.random.default_rng(seed)
        self.builder = CircuitBuilder(f"{FAMILIES[self.family]} {seed}")
        self.used = {"ga": 0, "gb": 0}
        self.siemens = {name: 10 ** self.rng.uniform(-5, -3.5, 60) for name in self.used}

    def circuit(self) -> Circuit:
        self.builder.add_nodes(["x", "y", "bias"])
        volts = [0.0, 0.05, self.rng.uniform(0.2, 0.5)]
        sources = VoltageSources("v", ["x", "y", "bias"], "0", volts, [0, 1, -1], [1.0, -0.8, 1.0])
        self.builder.add(sources)
        nodes = (self.lattice, self.graph, self.ring, self.blocks, self.controlled)[self.family]()
        self.diodes(nodes)
        outputs = self.rng.permutation(nodes)[:3]
        # One output between two nodes and one against ground, or both against ground: pairs lie in one block.
        self.builder.set_outputs(outputs[:1] if self.family == 3 else outputs[:2], self.negatives(outputs))
        return self.builder.build()

    def negatives(self, outputs: np.ndarray) -> np.ndarray:
        if self.family == 3:
            return np.zeros(1, int)
        return np.array([outputs[2] if self.rng.random() < 0.5 and len(outputs) > 2 else 0, 0])

    def resistors(self, label: str, pairs: list[tuple[int, int]], parameter: str) -> None:
        """Trainable ones; every sixth shares the index of an earlier one."""
        fresh = self.used[parameter]
        index = []
        for _ in pairs:
            if fresh and self.rng.random() < 1 / 6:
                index.append(int(self.rng.integers(fresh)))
            else:
                index.append(fresh)
                fresh += 1
        self.used[parameter] = fresh
        first, second = np.array(pairs).T
        self.builder.add(Conductances(label, first, second, self.siemens[parameter][index], parameter, index))

    def tree(self, label: str, nodes: np.ndarray, roots: np.ndarray, parameter: str, extra: int) -> None:
        """A path from every node to a root, and some edges more."""
        pairs = [(int(n), int(self.rng.choice(np.concatenate([roots, nodes[:i]])))) for i, n in enumerate(nodes)]
        pool = np.concatenate([roots, nodes, [0]])
        pairs += [(int(a), int(b)) for a, b in self.rng.choice(pool, (extra, 2)) if a != b]
        self.resistors(label, pairs, parameter)

    def lattice(self) -> np.ndarray:
        rows, columns = (int(n) for n in self.rng.integers(2, 4, 2))
        nodes = self.builder.add_nodes(f"l{r}_{c}" for r in range(rows) for c in range(columns))
        grid = nodes.reshape(rows, columns)
        self.resistors("along", list(zip(grid[:, :-1].flat, grid[:, 1:].flat, strict=True)), "ga")
        self.resistors("across", list(zip(grid[:-1].flat, grid[1:].flat, strict=True)), "gb")
        ends = [(1, grid[0, 0]), (2, grid[-1, 0]), (3, grid[0, -1]), (0, grid[-1, -1])]
        self.resistors("leads", ends, "ga")
        return nodes

    def graph(self) -> np.ndarray:
        nodes = self.builder.add_nodes(f"n{i}" for i in range(int(self.rng.integers(4, 11))))
        self.tree("tree", nodes, np.array([1, 2]), "ga", len(nodes))
        self.tree("more", nodes[:3], np.array([3]), "gb", 2)
        self.builder.add(CurrentSources("pump", "0", nodes[-1], 1e-6))
        return nodes

    def ring(self) -> np.ndarray:
        """Around a ring lies an amplifier: with k = 1/a, or k = a, into a node that it drives from within the block."""
        nodes = self.builder.add_nodes(f"r{i}" for i in range(int(self.rng.integers(4, 8))))
        self.resistors("ring", list(zip(nodes, np.roll(nodes, -1), strict=True)), "ga")
        self.resistors("leads", [(1, nodes[0]), (2, nodes[2]), (nodes[1], 0), (3, nodes[-1])], "gb")
        driven = self.builder.add_nodes(["amplified"])
        # Within one block the weights ask for k = a: an ideal transformer.
        gain = self.rng.uniform(0.4, 2.0)
        self.builder.add(Amplifiers("amp", nodes[0], driven, gain, gain))
        self.resistors("loop", [(int(driven[0]), int(nodes[3]))], "gb")
        return nodes

    def blocks(self) -> np.ndarray:
        first = self.builder.add_nodes(f"a{i}" for i in range(int(self.rng.integers(2, 5))))
        self.tree("first", first, np.array([1, 2, 3]), "ga", 3)
        count, gain, feedback = 2, self.rng.uniform(1, 4), self.rng.uniform(0.1, 1)
        driven, inverted = (self.builder.add_nodes(f"{s}{i}" for i in range(count)) for s in ("p", "m"))
        self.builder.add(Amplifiers("amp", first[:count], driven, gain, feedback, inverted))
        second = self.builder.add_nodes(f"b{i}" for i in range(int(self.rng.integers(2, 5))))
        self.tree("second", second, np.concatenate([driven, inverted, [3]]), "gb", 4)
        return second

    def controlled(self) -> np.ndarray:
        """One-way sources, weak enough that no loop gain comes near 1."""
        nodes, add = self.graph(), self.builder.add
        e, meter, h = self.builder.add_nodes(["e", "meter", "h"])
        add(VoltageControlledVoltageSources("e_source", e, 0, nodes[0], nodes[1], 0.6))
        add(VoltageControlledCurrentSources("g_source", nodes[2], 0, nodes[0], 0, 2e-6))
        add(VoltageSources("ammeter", meter, nodes[3], 0.0))
        add(CurrentControlledCurrentSources("f_source", nodes[1], 0, "ammeter", 0, 0.3))
        add(CurrentControlledVoltageSources("h_source", h, 0, "ammeter", 0, 2e3))
        add(NonlinearCurrentSources("tanh_source", nodes[0], 0, nodes[-1], TanhCurve(0.3, 2.0), 1e-5))
        self.resistors("control", [(int(e), nodes[2]), (int(meter), 0), (int(h), nodes[0])], "gb")
        return nodes

    def diodes(self, nodes: np.ndarray) -> None:
        for number, device in enumerate(_DIODES[self.sort]):
            picked = self.rng.permutation(nodes)[:2]
            rails = np.array([0, 3]) if self.rng.random() < 0.5 else np.array([3, 0])
            forward = self.rng.random(len(picked)) < 0.5
            anode, cathode = np.where(forward, picked, rails), np.where(forward, rails, picked)
            self.builder.add_diodes(f"d{number}", anode, cathode, device)


def all_circuits(count: int = 100) -> Iterator[tuple[int, Circuit]]:
    """The hundred."""
    for seed in range(count):
        yield seed, any_circuit(seed)
