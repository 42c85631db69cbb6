"""The circuit of layers that transistors join: what learns are the voltages of their gates."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

import numpy as np

from analog_ep.circuit import (
    GROUND,
    Amplifiers,
    Branches,
    Circuit,
    CircuitBuilder,
    Conductances,
    FloatingGateMosfets,
    GatedMosfets,
    VoltageSources,
)
from analog_ep.devices import Clamp
from analog_ep.devices.mosfet import MosfetModel
from analog_ep.errors import NetworkError
from analog_ep.networks.clamp_circuit import add_clamp
from analog_ep.networks.sizes import checked_sizes

Gates = Literal["floating", "grounded"]
"""Whether a gate is held above its own source, which leaves an energy, or above ground."""


def transistor_circuit(
    sizes: Sequence[int],
    device: MosfetModel,
    clamps: Sequence[Clamp],
    *,
    initial_gates: tuple[float, float],
    gates: Gates = "floating",
    gain: float = 4.0,
    bias_voltage: float | None = 1.0,
    leak: float = 1e-9,
    substrate: float = -1.0,
    seed: int = 0,
) -> Circuit:
    """Layers of a resistive network (Kendall et al. 2020) with a transistor in the place of each cell.

    The inputs drive the first stage as ±x. Each hidden node has a clamp and an amplifier that drives the next stage
    with ±a·u and draws k = 1/a of its current. The outputs are differential. Nodes and layers are named as those of
    `ResistiveNetwork.circuit()`, and stages ``stage1``, ``stage2``, …, which are the names of the parameters too.

    Parameters
    ----------
    sizes : sequence of int
        Units of the inputs, the hidden layers and the outputs.
    device : MosfetModel
        Model of all transistors, whose drains are at the rows: inputs, amplifiers and bias.
    clamps : sequence of Clamp
        Diodes of each hidden layer.
    initial_gates : (float, float)
        Range of the uniform initial gate voltages. [V]
    gates : "floating" or "grounded"
        See `FloatingGateMosfets` and `GatedMosfets`.
    gain : float
        Amplifiers' a; positive.
    bias_voltage : float or None
        Every stage has two rows at ± this voltage; None for none. [V]
    leak : float
        From every hidden and output node to ground; positive. It is what keeps a node in its place whose transistors
        are all off. [S]
    substrate : float
        Of the bulks where gates are grounded. [V]
    seed : int
        Of the initial gate voltages.

    Raises
    ------
    NetworkError
        If sizes, gain, leak or the initial gate voltages are not as above, or there is not a clamp for each hidden
        layer.
    """
    sizes = checked_sizes(sizes)
    for name, value in (("gain", gain), ("leak", leak)):
        if not 0 < value < np.inf:
            raise NetworkError(f"{name} must be positive and finite, found {value}")
    if not -np.inf < initial_gates[0] <= initial_gates[1] < np.inf:
        raise NetworkError(f"initial gate voltages must be a range [low, high], found {initial_gates} V")
    if len(clamps) != len(sizes) - 2:
        raise NetworkError(f"each of {len(sizes) - 2} hidden layers needs its clamp, found {len(clamps)}")
    builder = CircuitBuilder(f"transistors {'-'.join(map(str, sizes))}")
    rows, random = _rows(builder, sizes[0], bias_voltage), np.random.default_rng(seed)
    bias = rows[2 * sizes[0] :]
    edges = _edges(builder, device, gates, substrate)
    free = []
    for layer, size in enumerate(sizes[1:-1], start=1):
        nodes = builder.add_nodes(f"h{layer}_{j}" for j in range(size))
        builder.set_layer(f"h{layer}", nodes)
        builder.add(edges(f"stage{layer}", rows, nodes, random.uniform(*initial_gates, (len(rows), size))))
        add_clamp(builder, f"clamp{layer}", clamps[layer - 1], nodes)
        driven = [builder.add_nodes(f"a{layer}_{j}_{side}" for j in range(size)) for side in "pn"]
        builder.add(Amplifiers(f"amplifier{layer}", nodes, driven[0], gain, 1 / gain, driven[1]))
        rows = np.concatenate([*driven, bias])
        free.append(nodes)
    ends = [builder.add_nodes(f"o{j}_{side}" for j in range(sizes[-1])) for side in "pn"]
    outputs = np.concatenate(ends)
    builder.set_layer("o", outputs)
    builder.set_outputs(*ends)
    gate_volts = random.uniform(*initial_gates, (len(rows), len(outputs)))
    builder.add(edges(f"stage{len(sizes) - 1}", rows, outputs, gate_volts))
    builder.add(Conductances("leak", np.concatenate([*free, outputs]), GROUND, leak))
    return builder.build()


def _rows(builder: CircuitBuilder, n_inputs: int, bias_voltage: float | None) -> np.ndarray:
    """Nodes at ±x and at ± the bias voltage."""
    index = np.arange(n_inputs)
    nodes = np.concatenate([builder.add_nodes(f"x{i}_{side}" for i in index) for side in "pn"])
    builder.add(VoltageSources("inputs", nodes, GROUND, 0.0, np.tile(index, 2), np.repeat([1.0, -1.0], n_inputs)))
    if bias_voltage is None:
        return nodes
    if not 0 < bias_voltage < np.inf:
        raise NetworkError(f"bias_voltage must be positive and finite, found {bias_voltage} V")
    bias = builder.add_nodes(["bias_p", "bias_n"])
    builder.add(VoltageSources("bias", bias, GROUND, bias_voltage * np.array([1.0, -1.0])))
    return np.concatenate([nodes, bias])


_Edges = Callable[[str, np.ndarray, np.ndarray, np.ndarray], Branches]
"""Makes the transistors between all rows and columns, with gate voltages `(n_rows, n_columns)` [V]."""


def _edges(builder: CircuitBuilder, device: MosfetModel, gates: Gates, substrate: float) -> _Edges:
    if gates not in ("floating", "grounded"):
        raise NetworkError(f'gates must be "floating" or "grounded", found {gates!r}')
    bulk = GROUND
    if gates == "grounded":
        (bulk,) = builder.add_nodes(["substrate"])
        builder.add(VoltageSources("substrate_bias", bulk, GROUND, substrate))

    def edges(label: str, rows: np.ndarray, columns: np.ndarray, volts: np.ndarray) -> Branches:
        drain, source = np.repeat(rows, len(columns)), np.tile(columns, len(rows))
        own = {"parameter": label, "index": np.arange(volts.size)}
        # One by one, so that a chip may have its own.
        each = device.expand(len(drain))
        if gates == "floating":
            return FloatingGateMosfets(label, drain, source, volts.ravel(), each, **own)
        return GatedMosfets(label, drain, source, volts.ravel(), each, GROUND, bulk, **own)

    return edges
