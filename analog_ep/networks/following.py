"""Voltages that no solver has to find: what sources hold, and what amplifiers drive, which no converter reads."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from analog_ep.circuit import Amplifiers, Circuit, VoltageSources
from analog_ep.errors import CircuitError


def source_voltages(circuit: Circuit, inputs: Tensor, dtype: torch.dtype) -> Tensor:
    """Voltages that sources against ground give their nodes, 0 elsewhere, `(*batch, n_nodes)`. [V]"""
    voltages = torch.zeros(*inputs.shape[:-1], circuit.n_nodes, dtype=dtype, device=inputs.device)
    for group in circuit.of_kind(VoltageSources):
        values = np.array(group.source_values(inputs.detach().cpu().double().numpy()))
        voltages[..., torch.from_numpy(group.positive.copy())] = torch.from_numpy(values).to(voltages)
    return voltages


@dataclass(frozen=True, eq=False)
class Following:
    """Amplifiers in an order in which each one's input is known before its output.

    Attributes
    ----------
    stages : tuple of tuple of Tensor
        Amplifiers whose inputs follow from those of the stages before: nodes of the outputs and of the inputs, ±a, and
        ±a times the offset [V], each `(n_outputs,)`.
    """

    stages: tuple[tuple[Tensor, Tensor, Tensor, Tensor], ...]

    @classmethod
    def of(cls, circuit: Circuit) -> Following:
        """The amplifiers of a circuit.

        Raises
        ------
        CircuitError
            If amplifiers drive each other in a ring.
        """
        inputs, outputs, scales, shifts = [], [], [], []
        for group in circuit.of_kind(Amplifiers):
            element, nodes, sign = group.outputs()
            inputs.append(group.input[element])
            outputs.append(nodes)
            scales.append(group.gain[element] * sign)
            shifts.append(scales[-1] * group.offset[element])
        if not inputs:
            return cls(())
        columns = [np.concatenate(parts) for parts in (outputs, inputs, scales, shifts)]
        return cls(tuple(_ordered(columns)))

    def volts(self, voltages: Tensor) -> Tensor:
        """Voltages `(*batch, n_nodes)` with those of driven nodes as they follow from the others. [V]"""
        return self._followed(voltages, 1.0)

    def changes(self, change: Tensor) -> Tensor:
        """The same of changes of the voltages, to which offsets add nothing. [V]"""
        return self._followed(change, 0.0)

    def _followed(self, values: Tensor, share: float) -> Tensor:
        if not self.stages:
            return values
        values = values.clone()
        for output, source, scale, shift in self.stages:
            values[..., output] = scale.to(values) * values[..., source] + share * shift.to(values)
        return values


def _ordered(columns: list[np.ndarray]) -> list[tuple[Tensor, Tensor, Tensor, Tensor]]:
    """The amplifiers by stages."""
    stages, left = [], np.arange(len(columns[0]))
    while len(left):
        ready = ~np.isin(columns[1][left], columns[0][left])
        if not ready.any():
            raise CircuitError("amplifiers must not drive each other in a ring, found some that do; cut it")
        output, source, scale, shift = (torch.from_numpy(column[left[ready]]) for column in columns)
        stages.append((output, source, scale, shift))
        left = left[~ready]
    return stages
