"""Two arrays: a fast one for the changes, a slow one for the network."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from analog_ep.devices.pulses import PulsedArray
from analog_ep.errors import DeviceParameterError
from analog_ep.learning.updates.schemes.scheme import PulsedCrossbar, Scheme, stochastic_rounding


@dataclass(frozen=True)
class TikiTaka(Scheme):
    """A fast array takes the changes; one of its columns at a time is added to the slow one (Gokmen & Haensch 2020).

    The fast array begins, and counts as zero, at each device's symmetry point, to which pulses without a common
    direction return it: only changes that agree over many updates reach the slow array, which the network reads.

    Parameters
    ----------
    transfer_every : int
        Updates between two transfers.
    transfer_rate : float
        Share of a fast conductance that a transfer adds to the slow one.
    max_pulses : int
        Most pulses of a device in one update.

    References
    ----------
    .. [1] T. Gokmen, W. Haensch, "Algorithm for Training Neural Networks on Resistive Device Arrays," Front.
       Neurosci. 14:103, 2020.
    """

    transfer_every: int = 1
    transfer_rate: float = 0.1
    max_pulses: int = 100

    def __post_init__(self):
        for name in ("transfer_every", "max_pulses"):
            self._require_count(name)
        good = isinstance(self.transfer_rate, (int, float)) and 0 < self.transfer_rate < math.inf
        self._require(good, "transfer_rate must be positive and finite", self.transfer_rate)

    def prepare(self, crossbar: PulsedCrossbar) -> None:
        slow = crossbar.array
        fast = PulsedArray(slow.model, slow.conductances, slow.map, slow.seed + 2)
        fast.set_conductances(fast.symmetry_conductances)
        crossbar.hidden_array = fast
        crossbar.memory |= {"zero": fast.symmetry_conductances, "updates": torch.zeros((), dtype=torch.int64)}

    def write(self, crossbar: PulsedCrossbar, change: Tensor) -> None:
        fast, slow = crossbar.hidden_array, crossbar.array
        if fast is None:
            raise DeviceParameterError(
                f"TikiTaka needs a fast array, found none beside {crossbar.layout.label}; prepare it"
            )
        fast.pulse(self._whole(change, fast))
        updates = crossbar.memory["updates"] = crossbar.memory["updates"] + 1
        transfer, remainder = divmod(int(updates), self.transfer_every)
        if remainder:
            return
        column = (transfer - 1) % change.shape[-1]
        wanted = torch.zeros_like(change)
        wanted[..., column] = self.transfer_rate * (fast.conductances - crossbar.memory["zero"])[..., column]
        slow.pulse(self._whole(wanted, slow))

    def _whole(self, change: Tensor, array: PulsedArray) -> Tensor:
        steps = stochastic_rounding(change / array.step, array.generator)
        return steps.clamp(-self.max_pulses, self.max_pulses).long()
