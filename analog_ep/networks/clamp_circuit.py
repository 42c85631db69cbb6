"""The diodes of a layer in its circuit."""

from __future__ import annotations

import numpy as np
import torch

from analog_ep.circuit import CircuitBuilder, VoltageSources
from analog_ep.devices import Clamp
from analog_ep.networks.layout import nodes_with_diode, side_names


def add_clamp(builder: CircuitBuilder, label: str, clamp: Clamp, nodes: np.ndarray) -> None:
    """Add a clamp's diodes at `nodes`, as ``<label>_upper`` and ``<label>_lower``, and the rails that they lead to.

    Ideal diodes have no place in a circuit: see `Clamp.for_spice`.
    """
    for name, (sign, bound, diode) in zip(side_names(clamp), clamp.sides(), strict=True):
        has = nodes_with_diode(bound, len(nodes))
        volts = torch.as_tensor(bound, dtype=torch.float64).expand(len(nodes))[has].numpy()
        rails = _add_rails(builder, f"{label}_{name}", volts)
        ends = (nodes[has], rails) if sign > 0 else (rails, nodes[has])
        builder.add_diodes(f"{label}_{name}", *ends, diode.expand(len(nodes)).select(torch.from_numpy(has)))


def _add_rails(builder: CircuitBuilder, label: str, volts: np.ndarray) -> np.ndarray:
    """Node of each diode's bias voltage: ground for 0 V, otherwise one source a distinct voltage."""
    distinct, which = np.unique(volts, return_inverse=True)
    rails = np.zeros(len(distinct), dtype=np.int64)
    sources = np.flatnonzero(distinct)
    if len(sources):
        rails[sources] = builder.add_nodes(f"{label}_rail{i}" for i in range(len(sources)))
        builder.add(VoltageSources(f"{label}_bias", rails[sources], np.zeros_like(sources), distinct[sources]))
    return rails[which]
