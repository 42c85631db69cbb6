"""What a chip can measure of its own phases, and the gradient that follows from that."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from analog_ep.circuit import Chip
from analog_ep.circuit.reading import driven
from analog_ep.equilibrium.equilibrium import Equilibrium, Solver, solve
from analog_ep.equilibrium.layered.stability import require_stable_nudge
from analog_ep.networks import RangedNetwork
from analog_ep.stimulus import Cost, Nudge, NudgeKind


@dataclass(frozen=True, eq=False)
class Measurement:
    r"""The phases of one batch on a chip, and what its converters and learning circuits make of them.

    True are the equilibria of the chip's own circuit. Measured is what the gradient is formed from:

    - The inputs are what the DACs drive; they are known.
    - The nodes of the hidden and output layers are read by the ADCs, the same in all phases. The voltages of the rows
      that amplifiers drive are not read: they follow from the read nodes by the gains and offsets that are `known`,
      nominal ones without it. So the offsets and gain errors of the amplifiers, and the offsets of the ADCs, bias the
      gradient; the mismatch of conductances and diodes does not, since the chip itself is what is differentiated. Of
      transistors ∂φ/∂V_G is formed with the parameters that are known, nominal ones without `known`.
    - The frozen nudge takes its current from the read outputs.
    - The learning circuits see the mean contrast of the batch, and what they add of their own.

    Where no converter stands between, the contrast is formed from the response as an unknown of its own
    (`Equilibrium.response`); two reads, and reads of twin arrays, are subtracted, as the chip would do it.

    Parameters
    ----------
    network : RangedNetwork
        The nominal network, with the programmed conductances or gate voltages.
    chip : Chip
        The hardware.
    cost : Cost
        C.
    kind : "frozen" or "elastic"
        Kind of the nudge.
    solver : Solver
        Finds the equilibria.
    known : Chip or None
        What is known of the chip and corrected for: gains and offsets of the amplifiers, offsets of the ADCs, and
        biases of the learning circuits, each where `known` has it.
    generator : torch.Generator
        Of the converters' noise.
    """

    network: RangedNetwork
    chip: Chip
    cost: Cost
    kind: NudgeKind
    solver: Solver
    known: Chip | None
    generator: torch.Generator

    def gradients(
        self, inputs: Tensor, targets: Tensor, strengths: Sequence[float]
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Mean cost as it is read, and the gradient by every parameter θ = p/p_ref; its sign where only that is seen.

        Parameters
        ----------
        inputs : Tensor (*batch, n_inputs)
            What the DACs are given. [V]
        targets : Tensor (*batch, n_outputs)
            Targets of the cost.
        strengths : sequence of float
            Nudging strengths of the phases: one, which is compared with the free phase, or two of opposite sign.
        """
        inputs = driven(inputs, self.chip, self.generator)
        free = solve(self.network, inputs, solver=self.solver, chip=self.chip)
        seen = self._read(free)
        total: dict[str, Tensor] = {}
        for strength in strengths:
            nudge = Nudge(strength, targets, self.cost, self.kind)
            response = self._response(inputs, nudge, free, seen, len(strengths))
            weight = 1 / (strength * len(strengths))
            for name, value in self._contrast(inputs, seen, response).items():
                total[name] = total[name] + weight * value if name in total else weight * value
        n_samples = max(inputs.shape[:-1].numel(), 1)
        between = max(0.0, *strengths) - min(0.0, *strengths)
        gradients = {name: self._learnt(name, value / n_samples, between) for name, value in total.items()}
        outputs = self.network.outputs_of(seen)
        return self.cost.value(outputs, targets.to(outputs)).mean(), gradients

    def _response(
        self, inputs: Tensor, nudge: Nudge, free: Equilibrium, seen: tuple[Tensor, ...], n_phases: int
    ) -> tuple[Tensor, ...]:
        """Nudged less free state, as measured."""
        array = self.chip if nudge.strength < 0 and n_phases == 2 else self.chip.later
        own = free if array is self.chip else solve(self.network, inputs, solver=self.solver, chip=array)
        if self.kind == "frozen":
            own = replace(own, outputs=self.network.outputs_of(seen))
        require_stable_nudge(self.network, nudge, [own], array)
        nudged = solve(self.network, inputs, nudge, solver=self.solver, start=own, chip=array)
        require_stable_nudge(self.network, nudge, [nudged], array)
        if array is self.chip and self._reads_exactly:
            return nudged.response(about=own)
        return tuple(after - before for after, before in zip(self._read(nudged), seen, strict=True))

    @property
    def _reads_exactly(self) -> bool:
        return self.chip.converters is None or self.chip.converters.reads_exactly

    def _read(self, state: Equilibrium) -> tuple[Tensor, ...]:
        return self.network.read(state.layers, self.chip, self.generator, self.known)

    def _contrast(self, inputs: Tensor, seen: tuple[Tensor, ...], response: tuple[Tensor, ...]) -> dict[str, Tensor]:
        return self.network.contrast(inputs.to(seen[0]), seen, response, known=self.known, chip=self.chip)

    def _learnt(self, name: str, gradient: Tensor, between: float) -> Tensor:
        """The gradient by θ, or its sign, with the bias of the learning circuits.

        `between` is the difference of the nudging strengths of the two phases that are compared.
        """
        parameter, circuits = self.network.get_parameter(name), self.chip.learning
        if circuits is not None:
            bias = circuits.bias_of(name, gradient)
            if self.known is not None and self.known.learning is not None:
                bias = bias - self.known.learning.bias_of(name, gradient)
            share = self.network.weight_shares()[name]
            gradient = gradient + bias * (share / between)
            if circuits.comparator:
                return torch.sign(gradient).to(parameter)
        return (gradient * self.network.parameter_scale).to(parameter)
