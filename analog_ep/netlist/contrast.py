"""What turns the contrast of a branch into a derivative of the cost."""

from __future__ import annotations

import numpy as np

from analog_ep.circuit import Circuit, energy_weights
from analog_ep.circuit.energy import branch_weights, held_nodes, output_weight, why_no_contrast
from analog_ep.errors import EnergyUnavailableError, StimulusError
from analog_ep.stimulus import Nudge


def contrast_factors(circuit: Circuit, nudge: Nudge) -> dict[str, np.ndarray]:
    """w_s / (w_L β) of every trainable branch, by the label of its group."""
    if not nudge.strength:
        raise StimulusError("the nudging strength must not be zero: ΔG is the contrast divided by it")
    if reason := why_no_contrast(circuit):
        raise EnergyUnavailableError(f"ΔG needs the weights of the energy, found none: {reason}")
    weights = energy_weights(circuit).require()
    scale, held = output_weight(circuit, weights) * nudge.strength, held_nodes(circuit)
    groups = circuit.trainable_groups()
    return {group.label: branch_weights(group, weights, held) / scale for group in groups}
