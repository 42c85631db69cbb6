"""Voltages within the diodes of layers, and the clamps of layers in space."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from analog_ep.circuit import Circuit
from analog_ep.devices import Clamp, Diode, IdealDiode, ShockleyDiode
from analog_ep.errors import NetworkError
from analog_ep.networks.extent import Extent
from analog_ep.networks.layout import nodes_with_diode, side_names


def clamp_of_layer(given: Diode | IdealDiode | Clamp, extent: Extent) -> Clamp:
    """The clamp of a hidden layer, on the CPU, where its hardware is described.

    A bare device holds even units on one side and odd ones on the other; in maps, whole channels.

    Raises
    ------
    NetworkError
        If a clamp has neither one voltage, nor one for each unit.
    """
    channels = extent.shape[0]
    clamp = given.of_layer(channels).cpu()
    bounds = {side: bound for side in ("upper", "lower") if isinstance(bound := getattr(clamp, side), Tensor)}
    for side, bound in bounds.items():
        if bound.shape == (channels,) and extent.is_maps:
            over = bound[:, None, None].expand(extent.shape)
            bounds[side] = extent.units(over[None])[0].clone()
        elif bound.shape != (extent.size,):
            raise NetworkError(f"a clamp of a layer of {extent.size} needs {extent.size} voltages, found {len(bound)}")
    return replace(clamp, **bounds) if extent.is_maps else clamp


def fill_junctions(
    voltages: Tensor, layers: tuple[Tensor, ...], clamps: tuple[Clamp | None, ...], skeleton: Circuit
) -> None:
    """Set the nodes behind the diodes' series resistances, which the layer equations do not carry. [V]

    Parameters
    ----------
    voltages : Tensor (*batch, n_nodes)
        Of all nodes.
    layers, clamps : tuple of Tensor (*batch, n_units), tuple of Clamp or None
        Voltages of the layers, and what holds them; the last ones are the outputs'.
    skeleton : Circuit
        Whose nodes are meant.
    """
    for number, (clamp, layer) in enumerate(zip(clamps[:-1], layers[:-1], strict=True), start=1):
        if clamp is None or not clamp.has_current:
            continue
        for name, (sign, bound, diode) in zip(side_names(clamp), clamp.sides(), strict=True):
            if not isinstance(diode, ShockleyDiode) or not diode.has_series_resistance:
                continue
            bias = torch.as_tensor(bound, dtype=layer.dtype, device=layer.device).expand(layer.shape[-1])
            across = torch.where(torch.isfinite(bias), sign * (layer - bias), 0.0)
            # The resistor stands at the anode: the node on the upper side, the rail on the lower one.
            anode = layer if sign > 0 else bias
            junction = anode - (across - diode.junction_voltage(across))
            has = nodes_with_diode(bound, layer.shape[-1])
            behind = np.flatnonzero(np.asarray(diode.expand(layer.shape[-1]).series_resistance)[has] > 0)
            nodes = [skeleton.node(f"clamp{number}_{name}_j{i}") for i in behind]
            has = has[behind]
            voltages[..., nodes] = junction[..., torch.from_numpy(has)]
