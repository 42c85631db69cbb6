"""Whether the converters of a spec can see the responses that it learns from."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from analog_ep.analyses.nudging import NudgedBatch
from analog_ep.analyses.read_errors import Reads
from analog_ep.circuit import Chip
from analog_ep.networks import CrossbarNetwork, Network, Question
from analog_ep.runs.building import build_nudge
from analog_ep.runs.trained import test_samples
from analog_ep.spec import Spec

_SAMPLES = 32
"""Test samples over which a response is averaged."""


def weak_responses(spec: Spec, network: Network, chip: Chip | None) -> list[str]:
    """Sentences on the layers whose response to the spec's nudge is below the read noise or one step of a converter.

    Parameters
    ----------
    spec : Spec
        Its nudge counts, and its test samples.
    network : Network
        With the conductances as they are now.
    chip : Chip or None
        Its converters count.

    Returns
    -------
    list of str
        None where there are no converters, no phases are read, or the network is no stack of crossbars.

    Raises
    ------
    ConvergenceError
        If an equilibrium was not reached.
    """
    if chip is None or chip.converters is None or not spec.gradient.measures:
        return []
    return network.answer(_WeakResponses(spec, chip, Reads.of(chip.converters, spec.network.read_layers)))


@dataclass(frozen=True, eq=False)
class _WeakResponses(Question[list[str]]):
    spec: Spec
    chip: Chip
    reads: Reads

    def network(self, network: Network) -> list[str]:
        return []

    def crossbars(self, network: CrossbarNetwork) -> list[str]:
        built, strength = network.as_built(), self.spec.gradient.nudging
        inputs, targets = (each[:_SAMPLES] for each in test_samples(self.spec, built, slice(0, None), self.chip))
        signs = self.spec.gradient.compared_signs
        exact = replace(self.chip, converters=None)
        batch = NudgedBatch(built, inputs, build_nudge(self.spec, targets), signs, exact)
        between = batch.difference([tuple(sign * strength * unit for unit in batch.unit) for sign in signs])
        said = []
        for layout, change, noise, step in zip(
            network.layouts, between, self.reads.noise, self.reads.step, strict=True
        ):
            response, both = float(change.square().mean().sqrt()), math.sqrt(2) * noise
            limits = [f"the noise of two reads, {both:.2g} V"] if response < both else []
            limits += [f"one step of its converter, {step:.2g} V"] if response < step else []
            if limits:
                said.append(
                    f"gradient.nudging should move the nodes behind {layout.label} by {' and '.join(limits)} at least, "
                    f"found {response:.2g} V rms at {strength:g}; raise it, see: analog-ep analyse RUN nudging"
                )
        return said
