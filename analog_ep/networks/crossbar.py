"""Energy and contrast of one crossbar of a layered network, by matrix products over the batch."""

from __future__ import annotations

import torch
from torch import Tensor

from analog_ep.networks.layout import StageLayout


def crossbar_energy(layout: StageLayout, siemens: Tensor, bias_voltage: float, before: Tensor, layer: Tensor) -> Tensor:
    """½ Σ g (s − v)² over the crossbar, by its expanded square. [W]"""
    positive, negative, bias = layout.split(siemens)
    rows = positive if negative is None else positive + negative
    signed = positive if negative is None else positive - negative
    energy = (before.square() @ rows).sum(-1) + layer.square() @ rows.sum(0) - 2 * ((before @ signed) * layer).sum(-1)
    if bias is not None:
        below, above = layer - bias_voltage, layer + bias_voltage
        energy = energy + (below.square() @ bias[0]) + (above.square() @ bias[1])
    return 0.5 * energy


def crossbar_contrast(
    layout: StageLayout,
    bias_voltage: float,
    before: Tensor,
    before_change: Tensor | None,
    layer: Tensor,
    change: Tensor,
) -> Tensor:
    """Σ over the batch of the change of ½ (s − v)² to first order, for every conductance, rows × columns. [V²]

    Parameters
    ----------
    layout : StageLayout
        Rows and columns.
    bias_voltage : float
        Of the bias rows. [V]
    before, layer : Tensor (*batch, n_in), (*batch, n_out)
        Voltages s of the rows at +u, and v of the columns. [V]
    before_change, change : Tensor or None
        Their changes; None before inputs that sources hold. [V]
    """
    # Σ (ds ∓ d)(s ∓ v), expanded so that one matrix product serves the +u and the −u rows.
    layer, change, before = (t.reshape(-1, t.shape[-1]) for t in (layer, change, before))
    own = (change * layer).sum(0)
    if before_change is None:
        cross, row = before.T @ change, None
    else:
        before_change = before_change.reshape(-1, before_change.shape[-1])
        cross = torch.cat([before, before_change]).T @ torch.cat([change, layer])
        row = (before * before_change).sum(0)[:, None]
    result = own.expand(layout.shape).clone()
    positive, negative, bias = layout.split(result)
    positive.sub_(cross)
    if negative is not None:
        negative.add_(cross)
    if row is not None:
        positive.add_(row)
        if negative is not None:
            negative.add_(row)
    if bias is not None:
        drift = bias_voltage * change.sum(0)
        bias[0].sub_(drift)
        bias[1].add_(drift)
    return result
