"""The circuit of a layered resistive network."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from analog_ep.circuit import Amplifiers, Circuit, CircuitBuilder, Conductances, VoltageSources
from analog_ep.devices import DiodeClamp
from analog_ep.networks.layout import StageLayout, nodes_with_diode, side_names

if TYPE_CHECKING:
    from analog_ep.networks.resistive import ResistiveNetwork


def resistive_circuit(network: ResistiveNetwork) -> Circuit:
    """The network as nodes and branches, with the conductances as they are now.

    Nodes: inputs ``x<i>_p`` and ``x<i>_n``, bias rows ``bias_p`` and ``bias_n``, hidden nodes ``h<layer>_<j>``,
    amplifier outputs ``a<layer>_<j>_p`` and ``_n`` (``a<layer>_<j>`` where driven single-ended), outputs ``o<j>_p`` and
    ``o<j>_n``. All numbers but the layer's begin at 0.
    """
    builder = CircuitBuilder(f"resistive network {'-'.join(map(str, network.sizes))}")
    rows = _add_inputs(builder, network.n_inputs)
    bias = _add_bias(builder, network.bias_voltage)
    siemens = _siemens(network)
    for layer, size in enumerate(network.sizes[1:-1], start=1):
        nodes = builder.add_nodes(f"h{layer}_{j}" for j in range(size))
        builder.set_layer(f"h{layer}", nodes)
        _add_crossbar(builder, network.layouts[layer - 1], siemens, np.concatenate([rows, bias]), nodes)
        _add_clamp(builder, layer, network.clamps[layer - 1], nodes)
        rows = _add_amplifiers(builder, layer, nodes, network)
    positive = builder.add_nodes(f"o{j}_p" for j in range(network.n_outputs))
    negative = builder.add_nodes(f"o{j}_n" for j in range(network.n_outputs))
    outputs = np.concatenate([positive, negative])
    builder.set_layer("o", outputs)
    builder.set_outputs(positive, negative)
    _add_crossbar(builder, network.layouts[-1], siemens, np.concatenate([rows, bias]), outputs)
    return builder.build()


def _siemens(network: ResistiveNetwork) -> dict[str, np.ndarray]:
    """Conductances by crossbar; the product θ·g_ref is formed in float64, as a float64 solver forms it. [S]"""
    labels = [layout.label for layout in network.layouts]
    thetas = [network.theta(label).detach().to("cpu", torch.float64).numpy() for label in labels]
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


def _add_crossbar(
    builder: CircuitBuilder, layout: StageLayout, siemens: dict[str, np.ndarray], rows: np.ndarray, columns: np.ndarray
) -> None:
    # Column by column: ngspice's first factorisation is up to four times faster with this order.
    index = np.arange(len(rows) * len(columns)).reshape(layout.shape).T.ravel()
    builder.add(
        Conductances(
            layout.label,
            np.tile(rows, len(columns)),
            np.repeat(columns, len(rows)),
            siemens[layout.label].ravel()[index],
            parameter=layout.label,
            index=index,
        )
    )


def _add_clamp(builder: CircuitBuilder, layer: int, clamp: DiodeClamp, nodes: np.ndarray) -> None:
    clamp = clamp.for_spice
    for name, (sign, bound, diode) in zip(side_names(clamp), clamp.sides(), strict=True):
        has = nodes_with_diode(bound, len(nodes))
        volts = torch.as_tensor(bound, dtype=torch.float64).expand(len(nodes))[has].numpy()
        rails = _add_rails(builder, f"clamp{layer}_{name}", volts)
        ends = (nodes[has], rails) if sign > 0 else (rails, nodes[has])
        builder.add_diodes(f"clamp{layer}_{name}", *ends, diode.expand(len(nodes)).select(torch.from_numpy(has)))


def _add_rails(builder: CircuitBuilder, label: str, volts: np.ndarray) -> np.ndarray:
    """Node of each diode's bias voltage: ground for 0 V, otherwise one source a distinct voltage."""
    distinct, which = np.unique(volts, return_inverse=True)
    rails = np.zeros(len(distinct), dtype=np.int64)
    sources = np.flatnonzero(distinct)
    if len(sources):
        rails[sources] = builder.add_nodes(f"{label}_rail{i}" for i in range(len(sources)))
        builder.add(VoltageSources(f"{label}_bias", rails[sources], np.zeros_like(sources), distinct[sources]))
    return rails[which]


def _add_amplifiers(builder: CircuitBuilder, layer: int, nodes: np.ndarray, network: ResistiveNetwork) -> np.ndarray:
    label, gain, feedback = f"amplifier{layer}", network.gain, network.feedback
    if network.drive == "single":
        output = builder.add_nodes(f"a{layer}_{j}" for j in range(len(nodes)))
        builder.add(Amplifiers(label, nodes, output, gain, feedback))
        return output
    output = builder.add_nodes(f"a{layer}_{j}_p" for j in range(len(nodes)))
    inverted = builder.add_nodes(f"a{layer}_{j}_n" for j in range(len(nodes)))
    builder.add(Amplifiers(label, nodes, output, gain, feedback, inverted))
    return np.concatenate([output, inverted])
