"""The circuits of layered networks: of conductances, and of transistors in their place."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

import numpy as np
import torch

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
from analog_ep.networks.extent import Extent
from analog_ep.networks.layout import StageLayout
from analog_ep.networks.network import CrossbarNetwork
from analog_ep.networks.sizes import checked_sizes


def resistive_circuit(network: CrossbarNetwork) -> Circuit:
    """The network as nodes and branches, with the conductances as they are now.

    Nodes: inputs ``x<i>_p`` and ``x<i>_n``, bias rows ``bias_p`` and ``bias_n``, hidden nodes ``h<layer>_<j>``,
    amplifier outputs ``a<layer>_<j>_p`` and ``_n`` (``a<layer>_<j>`` where driven single-ended), outputs ``o<j>_p`` and
    ``o<j>_n``; within crossbars whose lines have resistance ``stage<s>_row<i>_<j>`` and ``stage<s>_column<j>_<i>``. All
    numbers but the layer's begin at 0. In maps a unit's number is that of its channel, row and column: ``h1_3_0_12``.
    """
    builder = CircuitBuilder(f"resistive network {'-'.join(map(str, network.sizes))}")
    rows = _add_inputs(builder, network.extents[0])
    bias = _add_bias(builder, network.bias_voltage)
    siemens = crossbar_siemens(network)
    clamps = dict(zip(network.clamped_layers, network.spice_clamps, strict=True))

    def add(layout: StageLayout, rows: np.ndarray, columns: np.ndarray) -> None:
        network.lines.add(builder, layout, siemens[layout.label], rows, columns)

    for layer, extent in enumerate(network.extents[1:-1], start=1):
        labels = extent.labels()
        nodes = builder.add_nodes(f"h{layer}_{j}" for j in labels)
        builder.set_layer(f"h{layer}", nodes)
        add(network.layouts[layer - 1], np.concatenate([rows, bias]), nodes)
        if layer in clamps:
            add_clamp(builder, f"clamp{layer}", clamps[layer], nodes)
        behind = network.layouts[layer]
        rows = nodes if behind.passive else _add_amplifiers(builder, layer, nodes, labels, network)
    labels = network.extents[-1].labels()
    positive = builder.add_nodes(f"o{j}_p" for j in labels)
    negative = builder.add_nodes(f"o{j}_n" for j in labels)
    outputs = np.concatenate([positive, negative])
    builder.set_layer("o", outputs)
    builder.set_outputs(positive, negative)
    add(network.layouts[-1], np.concatenate([rows, bias]), outputs)
    return builder.build()


def crossbar_siemens(network: CrossbarNetwork) -> dict[str, np.ndarray]:
    """Conductances by stage; the product θ·g_ref is formed in float64, as a float64 solver forms it. [S]"""
    found = {}
    for s, layout in enumerate(network.layouts):
        if layout.learns:
            theta = network.get_parameter(layout.label).detach().to("cpu", torch.float64).numpy()
            found[layout.label] = theta * network.reference_conductance
        else:
            found[layout.label] = network.crossbar(s).siemens.detach().to("cpu", torch.float64).numpy()
    return found


def _add_inputs(builder: CircuitBuilder, extent: Extent) -> np.ndarray:
    positive = builder.add_nodes(f"x{i}_p" for i in extent.labels())
    negative = builder.add_nodes(f"x{i}_n" for i in extent.labels())
    nodes, index = np.concatenate([positive, negative]), np.arange(extent.size)
    scale = np.repeat([1.0, -1.0], extent.size)
    builder.add(VoltageSources("inputs", nodes, np.zeros_like(nodes), 0.0, np.tile(index, 2), scale))
    return nodes


def _add_bias(builder: CircuitBuilder, bias_voltage: float | None) -> np.ndarray:
    if bias_voltage is None:
        return np.zeros(0, dtype=np.int64)
    nodes = builder.add_nodes(["bias_p", "bias_n"])
    builder.add(VoltageSources("bias", nodes, np.zeros(2, int), bias_voltage * np.array([1.0, -1.0])))
    return nodes


def _add_amplifiers(
    builder: CircuitBuilder, layer: int, nodes: np.ndarray, labels: list[str], network: CrossbarNetwork
) -> np.ndarray:
    label, gain, feedback = f"amplifier{layer}", network.gain, network.feedback
    if network.drive == "single":
        output = builder.add_nodes(f"a{layer}_{j}" for j in labels)
        builder.add(Amplifiers(label, nodes, output, gain, feedback))
        return output
    output = builder.add_nodes(f"a{layer}_{j}_p" for j in labels)
    inverted = builder.add_nodes(f"a{layer}_{j}_n" for j in labels)
    builder.add(Amplifiers(label, nodes, output, gain, feedback, inverted))
    return np.concatenate([output, inverted])


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
    """`ResistiveNetwork.circuit()` with a transistor in the place of each cell, and k = 1/a.

    The stages ``stage1``, ``stage2``, … are the names of the parameters.

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
        From every hidden and output node to ground; positive: a node stays in its place while all is off. [S]
    substrate : float
        Of the bulks where gates are grounded. [V]
    seed : int
        Of the initial gate voltages.

    Raises
    ------
    NetworkError
        If a value is not as above, or there is not a clamp for each hidden layer.
    """
    sizes = checked_sizes(sizes)
    _require(sizes, clamps, initial_gates, {"gain": gain, "leak": leak})
    builder = CircuitBuilder(f"transistors {'-'.join(map(str, sizes))}")
    inputs, bias, random = (
        _add_inputs(builder, Extent((sizes[0],))),
        _add_bias(builder, bias_voltage),
        np.random.default_rng(seed),
    )
    rows = np.concatenate([inputs, bias])
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
    volts = random.uniform(*initial_gates, (len(rows), len(outputs)))
    builder.add(edges(f"stage{len(sizes) - 1}", rows, outputs, volts))
    builder.add(Conductances("leak", np.concatenate([*free, outputs]), GROUND, leak))
    return builder.build()


def _require(
    sizes: Sequence[int], clamps: Sequence[Clamp], initial_gates: tuple[float, float], positive: dict[str, float]
) -> None:
    for name, value in positive.items():
        if not 0 < value < np.inf:
            raise NetworkError(f"{name} must be positive and finite, found {value}")
    if not -np.inf < initial_gates[0] <= initial_gates[1] < np.inf:
        raise NetworkError(f"initial gate voltages must be a range [low, high], found {initial_gates} V")
    if len(clamps) != len(sizes) - 2:
        raise NetworkError(f"each of {len(sizes) - 2} hidden layers needs its clamp, found {len(clamps)}")


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
