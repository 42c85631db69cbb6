"""The circuit of a layered Hopfield network: leaky integrators that drive each other through transconductances."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from analog_ep.circuit import (
    GROUND,
    Capacitors,
    Circuit,
    CircuitBuilder,
    Conductances,
    CurrentSources,
    NonlinearCurrentSources,
    VoltageControlledCurrentSources,
    VoltageSources,
)
from analog_ep.devices import TanhCurve
from analog_ep.errors import NetworkError
from analog_ep.networks.clamp_circuit import add_clamp
from analog_ep.networks.leaky_integrators import LeakyIntegrators
from analog_ep.networks.network import UnitNetwork


def hopfield_circuit(network: UnitNetwork) -> Circuit:
    """The network as nodes and branches, with the weights as they are now.

    Nodes: inputs ``x<i>``, hidden units ``h<layer>_<j>``, outputs ``o<j>``. All numbers but the layer's begin at 0.
    Groups: ``leak``, ``capacitance``, and for each layer ``weight<layer>`` from the layer before and
    ``weight<layer>_back`` into it, ``bias<layer>``.

    Units whose rate is their voltage are driven at their own node; ``clamp<layer>_upper`` and ``clamp<layer>_lower``
    hold them. Others have two nodes more, without a capacitor: ``<unit>_rate`` at ρ(u), from the amplifiers ``rate``,
    and ``<unit>_drive``, where weights and biases add up to the drive p; the multipliers ``gate`` bring the current
    g ρ'(u) p into the unit, as −∂E/∂u has it.

    Raises
    ------
    NetworkError
        If the activation is neither clamped nor a `TanhCurve`.
    """
    clamp = network.activation.clamp_in_siemens(network.hardware)
    curve = network.activation.curve
    if clamp is None and curve is None:
        raise NetworkError(
            f"a Hopfield circuit needs an activation with a clamp or a curve, found "
            f"{type(network.activation).__name__}; use hard_sigmoid, sigmoid or tanh"
        )
    builder = CircuitBuilder(f"Hopfield network {'-'.join(map(str, network.sizes))}")
    inputs = builder.add_nodes(f"x{i}" for i in range(network.n_inputs))
    builder.add(VoltageSources("inputs", inputs, GROUND, 0.0, np.arange(network.n_inputs)))
    units = [builder.add_nodes(names) for names in unit_names(network)]
    for name, nodes in zip(network.layer_names, units, strict=True):
        builder.set_layer(name, nodes)
    builder.set_outputs(units[-1], np.full_like(units[-1], GROUND))
    _add_integrators(builder, np.concatenate(units), network.hardware)
    leak = network.hardware.leak_conductance
    if curve is not None:
        rates, drives = (
            [builder.add_nodes(f"{name}_{kind}" for name in names) for names in unit_names(network)]
            for kind in ("rate", "drive")
        )
        _add_amplifiers(builder, curve, leak, *(np.concatenate(nodes) for nodes in (units, rates, drives)))
        _add_drives(builder, network, [inputs, *rates], drives)
        return builder.build()
    _add_drives(builder, network, [inputs, *units], units)
    for layer, nodes in enumerate(units, start=1):
        if clamp is not None:
            add_clamp(builder, f"clamp{layer}", clamp, nodes)
    return builder.build()


def unit_names(network: UnitNetwork) -> list[list[str]]:
    """Node of each unit, by layers."""
    sizes = network.sizes[1:]
    hidden = [[f"h{layer}_{j}" for j in range(size)] for layer, size in enumerate(sizes[:-1], start=1)]
    return [*hidden, [f"o{j}" for j in range(sizes[-1])]]


def _add_integrators(builder: CircuitBuilder, nodes: np.ndarray, hardware: LeakyIntegrators) -> None:
    builder.add(Conductances("leak", nodes, GROUND, hardware.leak_conductance))
    builder.add(Capacitors("capacitance", nodes, GROUND, hardware.capacitance))


def _add_amplifiers(
    builder: CircuitBuilder, curve: TanhCurve, leak: float, units: np.ndarray, rates: np.ndarray, drives: np.ndarray
) -> None:
    """Rates and drives as voltages across conductances of the leak's size, and the current that both make."""
    loaded = np.concatenate([rates, drives])
    builder.add(Conductances("load", loaded, GROUND, leak))
    builder.add(NonlinearCurrentSources("rate", GROUND, rates, units, curve, leak))
    builder.add(NonlinearCurrentSources("gate", GROUND, units, units, curve, leak, factor=drives, slope=True))


def _add_drives(
    builder: CircuitBuilder, network: UnitNetwork, rates: list[np.ndarray], driven: list[np.ndarray]
) -> None:
    """Currents into the `driven` nodes of layers 1 … L: from the `rates` of their neighbours, and the biases."""
    leak = network.hardware.leak_conductance
    for layer, (weight, bias) in enumerate(zip(network.weights, network.biases, strict=True), start=1):
        siemens = leak * _float64(weight)
        builder.add(_synapses(f"weight{layer}", rates[layer - 1], driven[layer - 1], siemens))
        if layer > 1:
            builder.add(_synapses(f"weight{layer}_back", rates[layer], driven[layer - 2], siemens.T))
        builder.add(CurrentSources(f"bias{layer}", GROUND, driven[layer - 1], leak * _float64(bias)))


def _synapses(
    label: str, rates: np.ndarray, driven: np.ndarray, siemens: np.ndarray
) -> VoltageControlledCurrentSources:
    """One current source a weight `(n_rates, n_driven)` [S], from ground into the driven node; node by node."""
    into, control = np.repeat(driven, len(rates)), np.tile(rates, len(driven))
    return VoltageControlledCurrentSources(label, GROUND, into, control, GROUND, siemens.T.ravel())


def _float64(parameter: Tensor) -> np.ndarray:
    return parameter.detach().to("cpu", torch.float64).numpy()
