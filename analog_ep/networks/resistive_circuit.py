"""The circuit of a layered resistive network."""

from __future__ import annotations

import numpy as np
import torch

from analog_ep.circuit import Amplifiers, Circuit, CircuitBuilder, VoltageSources
from analog_ep.networks.clamp_circuit import add_clamp
from analog_ep.networks.extent import Extent
from analog_ep.networks.layout import StageLayout
from analog_ep.networks.network import CrossbarNetwork


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
