"""A layer's diodes as one chip has them."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from analog_ep.circuit import Chip
from analog_ep.devices import Clamp, Diode, ShockleyDiode
from analog_ep.networks.layout import nodes_with_diode, side_names


def chip_clamp(clamp: Clamp, n_nodes: int, label: str, chip: Chip) -> Clamp:
    """The clamp of a layer with the parameters that `chip` gives its diodes.

    Parameters
    ----------
    clamp : Clamp
        The nominal one.
    n_nodes : int
        Nodes of the layer.
    label : str
        Beginning of the diodes' labels in the circuit, such as "clamp1".
    chip : Chip
        Of the circuit; `label`_upper and `label`_lower are what is looked for.
    """
    if not any(key.startswith((f"{label}_upper", f"{label}_lower")) for key in chip.names()):
        return clamp
    if not clamp.has_current:
        return _ideal(clamp, n_nodes, label, chip)
    sides: dict[str, Diode] = {}
    for name, (_, bound, diode) in zip(side_names(clamp), clamp.sides(), strict=True):
        sides[name] = _side(diode, nodes_with_diode(bound, n_nodes), n_nodes, f"{label}_{name}", chip)
    upper, lower = sides.get("upper"), sides.get("lower")
    if upper is None or lower is None:
        return replace(clamp, diode=upper or clamp.diode, lower_diode=lower)
    is_above, is_below = (_has_diode(bound, n_nodes) for bound in (clamp.upper, clamp.lower))
    if bool((is_above & is_below).any()):
        return replace(clamp, diode=upper, lower_diode=lower)
    # No node has two diodes, so that one device can carry the parameters of both sides: the solvers' fast case.
    merged = {name: torch.where(is_above, value, getattr(lower, name)) for name, value in _tensors(upper).items()}
    return replace(clamp, diode=replace(upper, **merged), lower_diode=None)


def _side(diode: Diode, nodes, n_nodes: int, label: str, chip: Chip) -> Diode:
    expanded = diode.expand(n_nodes)
    fields: dict[str, Tensor] = {}
    for name, value in _tensors(expanded).items():
        if chip.changes(f"{label}.{name}"):
            fields[name] = value.clone()
            fields[name][nodes] = chip.adjusted(f"{label}.{name}", value[nodes])
    if isinstance(expanded, ShockleyDiode) and chip.changes(f"{label}_rs.siemens"):
        resistance = torch.as_tensor(expanded.series_resistance).clone()
        behind = nodes[resistance[nodes].numpy() > 0]
        resistance[behind] = 1 / chip.adjusted(f"{label}_rs.siemens", 1 / resistance[behind])
        fields["series_resistance"] = resistance
    return replace(expanded, **fields)


def _has_diode(bound: float | Tensor | None, n_nodes: int) -> Tensor:
    return torch.isfinite(torch.as_tensor(torch.inf if bound is None else bound)).expand(n_nodes)


def _tensors(diode: Diode) -> dict[str, Tensor]:
    return {name: value for name, value in vars(diode).items() if isinstance(value, Tensor)}


def _ideal(clamp: Clamp, n_nodes: int, label: str, chip: Chip) -> Clamp:
    """An ideal diode's threshold moves its bias voltage; it has nothing else that could differ."""
    bounds: dict[str, Tensor] = {}
    for name, sign in (("upper", 1.0), ("lower", -1.0)):
        bound = getattr(clamp, name)
        if bound is not None and chip.changes(f"{label}_{name}.offset"):
            moved = torch.as_tensor(bound, dtype=torch.float64).expand(n_nodes).clone()
            nodes = nodes_with_diode(bound, n_nodes)
            moved[nodes] += sign * chip.adjusted(f"{label}_{name}.offset", torch.zeros_like(moved[nodes]))
            bounds[name] = moved
    return replace(clamp, **bounds)
