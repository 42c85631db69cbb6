"""Whether a negative elastic nudge leaves the equilibrium a minimum."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from analog_ep.circuit import Chip
from analog_ep.equilibrium.equilibrium import Equilibrium
from analog_ep.equilibrium.layered.resistive_layers import Ladder
from analog_ep.errors import StimulusError, UnstableNudgeError
from analog_ep.networks import HopfieldNetwork, Network, ResistiveNetwork
from analog_ep.stimulus import Nudge

_CLAMPED = 1e12
"""Conductance that stands for an ideal diode's clamp, relative to the node's own."""


def require_stable_nudge(network: Network, nudge: Nudge, states: list[Equilibrium], chip: Chip | None = None) -> None:
    """Refuse an elastic nudge −b with b at or beyond b_c = 1/λ_max(Z ∂²C).

    Z is the differential output-impedance matrix. Without the diodes it is largest, which gives a bound that holds for
    every state; only where the nudge exceeds that bound is Z formed at each state of `states`.

    Raises
    ------
    UnstableNudgeError
        If the equilibrium is not a minimum at one of the states.
    """
    if nudge.strength >= 0 or nudge.kind != "elastic":
        return
    if isinstance(network, HopfieldNetwork):
        return  # Its states are kept in bounds, or its solver says that the outputs have no minimum.
    if not isinstance(network, ResistiveNetwork):
        raise StimulusError(f"a negative elastic nudge needs a ResistiveNetwork, found a {type(network).__name__}")
    ladder = Ladder.of(network, states[0].layers[0].double(), chip)
    impedance = torch.linalg.eigvals(output_impedance(ladder)).real.max()
    if -nudge.strength * float(impedance) * nudge.cost.curvature_bound < 1:
        return
    critical = min(float(critical_nudging(ladder, state, nudge).min()) for state in states)
    if -nudge.strength >= critical:
        raise UnstableNudgeError(
            f"a negative elastic nudge must be weaker than {critical:.3g} here, found {-nudge.strength:.3g}: beyond it "
            f"the equilibrium is no longer a minimum; lower the nudging or use a frozen nudge"
        )


def critical_nudging(ladder: Ladder, state: Equilibrium, nudge: Nudge) -> Tensor:
    """b_c at a state, `(*batch,)`; infinite where no nudge of this cost is unstable."""
    layers = [layer.reshape(-1, layer.shape[-1]).double() for layer in state.layers]
    outputs = state.outputs.reshape(-1, state.outputs.shape[-1]).double()
    curvature = nudge.cost.hessian(outputs)
    critical = []
    for sample in range(len(outputs)):
        slopes = [
            0.0 if clamp is None else clamp.slope_at(layer[sample], total, _CLAMPED)
            for clamp, layer, total in zip(ladder.clamps, layers, ladder.totals, strict=True)
        ]
        largest = torch.linalg.eigvals(output_impedance(ladder, slopes) @ curvature[sample]).real.max()
        critical.append(1 / torch.clamp(largest, min=0))
    return torch.stack(critical).reshape(state.outputs.shape[:-1])


def output_impedance(ladder: Ladder, slopes: Sequence[Tensor | float] | None = None) -> Tensor:
    """Differential output-impedance matrix Z `(n_outputs, n_outputs)`, by block elimination of the layers. [Ω]

    Parameters
    ----------
    ladder : Ladder
        The network's equations.
    slopes : list of Tensor (n_units,), optional
        Slope of each layer's diodes at the state; none for the network without its diodes. [S]
    """
    slopes = (0.0,) * len(ladder.totals) if slopes is None else slopes
    block = torch.diag(ladder.totals[0].double() + slopes[0])
    for stage, total, slope in zip(ladder.stages[1:], ladder.totals[1:], slopes[1:], strict=True):
        weight = stage.weight.double()
        gain, feedback = (torch.as_tensor(a, dtype=weight.dtype).to(weight) for a in (stage.gain, stage.feedback))
        down = gain.expand(len(weight))[:, None] * weight
        up = feedback.expand(len(weight))[:, None] * weight
        block = torch.diag(total.double() + slope) - down.T @ torch.linalg.solve(block, up)
    n = block.shape[0] // 2
    across = torch.cat([torch.eye(n, dtype=block.dtype), -torch.eye(n, dtype=block.dtype)]).to(block.device)
    return across.T @ torch.linalg.solve(block, across)
