"""The circuit of a layered resistive network."""

from __future__ import annotations

import numpy as np
import torch

from analog_ep.circuit import Amplifiers, Circuit, CircuitBuilder, VoltageSources
from analog_ep.networks.clamp_circuit import add_clamp
from analog_ep.networks.layout import StageLayout
from analog_ep.networks.network import CrossbarNetwork


def resistive_circuit(network: CrossbarNetwork) -> Circuit:
    """The network as nodes and branches, with the conductances as they are now.

    Nodes: inputs ``x<i>_p`` and ``x<i>_n``, bias rows ``bias_p`` and ``bias_n``, hidden nodes ``h<layer>_<j>``,
    amplifier outputs ``a<layer>_<j>_p`` and ``_n`` (``a<layer>_<j>`` where driven single-ended), outputs ``o<j>_p`` and
    ``o<j>_n``; within crossbars whose lines have resistance ``stage<s>_row<i>_<j>`` and ``stage<s>_column<j>_<i>``. All
    numbers but the layer's begin at 0.
    """
    builder = CircuitBuilder(f"resistive network {'-'.join(map(str, network.sizes))}")
    rows = _add_inputs(builder, network.n_inputs)
    bias = _add_bias(builder, network.bias_voltage)
    siemens, clamps = crossbar_siemens(network), network.spice_clamps

    def add(layout: StageLayout, rows: np.ndarray, columns: np.ndarray) -> None:
        network.lines.add(builder, layout, siemens[layout.label], rows, columns)

    for layer, size in enumerate(network.sizes[1:-1], start=1):
        nodes = builder.add_nodes(f"h{layer}_{j}" for j in range(size))
        builder.set_layer(f"h{layer}", nodes)
        add(network.layouts[layer - 1], np.concatenate([rows, bias]), nodes)
        add_clamp(builder, f"clamp{layer}", clamps[layer - 1], nodes)
        rows = _add_amplifiers(builder, layer, nodes, network)
    positive = builder.add_nodes(f"o{j}_p" for j in range(network.n_outputs))
    negative = builder.add_nodes(f"o{j}_n" for j in range(network.n_outputs))
    outputs = np.concatenate([positive, negative])
    builder.set_layer("o", outputs)
    builder.set_outputs(positive, negative)
    add(network.layouts[-1], np.concatenate([rows, bias]), outputs)
    return builder.build()


def crossbar_siemens(network: CrossbarNetwork) -> dict[str, np.ndarray]:
    """Conductances by crossbar; the product θ·g_ref is formed in float64, as a float64 solver forms it. [S]"""
    labels = [layout.label for layout in network.layouts]
    thetas = [network.get_parameter(label).detach().to("cpu", torch.float64).numpy() for label in labels]
    return {label: theta * network.reference_conductance for label, theta in zip(labels, thetas, strict=True)}


def _add_inputs(builder: CircuitBuilder, n_inputs: int) -> np.ndarray:
    index = np.arange(n_inputs)
    positive = builder.add_nodes(f"x{i}_p" for i in index)
    negative = builder.add_nodes(f"x{i}_n" for i in index)
    nodes = np.concatenate([positive, negative])
    scale = np.repeat([1.0, -1.0], n_inputs)
    builder.add(VoltageSources("inputs", nodes, np.zeros_like(nodes), 0.0, np.tile(index, 2), scale))
    return nodes


def _add_bias(builder: CircuitBuilder, bias_voltage: float | None) -> np.ndarray:
    if bias_voltage is None:
        return np.zeros(0, dtype=np.int64)
    nodes = builder.add_nodes(["bias_p", "bias_n"])
    builder.add(VoltageSources("bias", nodes, np.zeros(2, int), bias_voltage * np.array([1.0, -1.0])))
    return nodes


def _add_amplifiers(builder: CircuitBuilder, layer: int, nodes: np.ndarray, network: CrossbarNetwork) -> np.ndarray:
    label, gain, feedback = f"amplifier{layer}", network.gain, network.feedback
    if network.drive == "single":
        output = builder.add_nodes(f"a{layer}_{j}" for j in range(len(nodes)))
        builder.add(Amplifiers(label, nodes, output, gain, feedback))
        return output
    output = builder.add_nodes(f"a{layer}_{j}_p" for j in range(len(nodes)))
    inverted = builder.add_nodes(f"a{layer}_{j}_n" for j in range(len(nodes)))
    builder.add(Amplifiers(label, nodes, output, gain, feedback, inverted))
    return np.concatenate([output, inverted])
