"""Schemes that read the devices, or remember what they have not been given."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from analog_ep.learning.updates.schemes.scheme import PulsedCrossbar, Scheme


@dataclass(frozen=True)
class ProgramAndVerify(Scheme):
    """Pulse, read, and pulse again until what is read is within a tolerance of what was wanted.

    Parameters
    ----------
    tolerance : float
        In mean steps.
    max_rounds : int
        Most pulses of a device in one update.
    """

    tolerance: float = 0.5
    max_rounds: int = 20

    def __post_init__(self):
        self._require_positive("tolerance")
        self._require_count("max_rounds")

    def write(self, crossbar: PulsedCrossbar, change: Tensor) -> None:
        array = crossbar.array
        low, high = array.map.g_min, array.map.g_max
        target = (array.conductances + change).clamp(low, high).flatten()
        read = len(target)
        for _ in range(self.max_rounds):
            crossbar.count(reads=read)
            error = target - array.conductances.flatten()
            index = (error.abs() > self.tolerance * array.step).nonzero().squeeze(1)
            if not len(index):
                return
            array.pulse_at(index, error[index].sign().long())
            # What was not pulsed need not be read again.
            read = len(index)


@dataclass(frozen=True)
class MixedPrecision(Scheme):
    """Changes are summed in digital memory, and whole steps of the sum go to the device (Nandakumar et al. 2020).

    Parameters
    ----------
    max_pulses : int
        Most pulses of a device in one update.

    References
    ----------
    .. [1] S. R. Nandakumar et al., "Mixed-Precision Deep Learning Based on Computational Memory," Front. Neurosci.
       14:406, 2020.
    """

    max_pulses: int = 100

    def __post_init__(self):
        self._require_count("max_pulses")

    def prepare(self, crossbar: PulsedCrossbar) -> None:
        crossbar.memory["sum"] = torch.zeros_like(crossbar.array.conductances)

    def write(self, crossbar: PulsedCrossbar, change: Tensor) -> None:
        total = crossbar.memory["sum"] + change
        counts = (total / crossbar.array.step).trunc().clamp(-self.max_pulses, self.max_pulses)
        crossbar.memory["sum"] = total - counts * crossbar.array.step
        crossbar.array.pulse(counts.long())
