"""Two arrays: a fast one for the changes, a slow one for the network."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from analog_ep.devices.pulses import PulsedArray
from analog_ep.devices.pulses.symmetry import find_symmetry, pulse_memory
from analog_ep.errors import DeviceParameterError
from analog_ep.learning.updates.schemes.scheme import PulsedCrossbar, Scheme, at_most, stochastic_rounding

_RECENT = 0.99
"""What is left of the mean size of the changes after each update, as in aihwkit's automatic scale."""

_TURNS = 40
"""Turns of a chopper after which a device's mean is what it will be."""

_LAST_READS = 5.0
"""By how much more the end of a chopper's period counts in the mean that the next period is read against."""


@dataclass(frozen=True)
class TikiTaka(Scheme):
    """A fast array takes the changes; column by column it is read and added to the slow one, which the network reads.

    Pulses without a common direction take fast devices back to their symmetry points, so that only changes that agree
    over many updates arrive [1]_. Between the two a digital buffer may sum what is read until it is a whole step [2]_,
    and choppers may turn the sign of a column's changes, so that what its devices do on their own cancels; a column is
    then read against what it was before the last turn, and needs no calibrated reference [3]_.

    Changes may have any size: a fast device gets as many pulses an update as make it remember `fast_memory` updates,
    and what is read is scaled back, so that a steady change reaches the slow array in full where `transfer_rate` is 1.

    Parameters
    ----------
    transfer_every : float
        Updates between two transfers; below 1 there are several transfers an update.
    units : "vectors" or "batches"
        What counts as an update: each sample of a batch, or the batch.
    columns : int
        Columns that a transfer takes, one after the other.
    transfer_rate : float
        The slow learning rate, relative to the one at which a steady change arrives in full.
    fast_memory : float
        Updates, in batches, that a fast device remembers; sets its mean number of pulses an update.
    fast_rate : float
        Where `fast_memory` is 0: the fast learning rate, a factor on the changes that the fast array gets.
    buffered : bool
        Whether what is read is summed until it is whole steps; else it is rounded at random.
    reference : "dynamic", "symmetry_point", "measured" or "middle"
        What counts as zero of a fast device: what was read before the last turn of its chopper; its symmetry point,
        exactly, or as `calibration_pulses` find it; the middle of the range.
    chopper : float
        Turns of a column's sign a read: regular with a dynamic reference, else at random with this chance; 0 for none.
    calibration_pulses : int
        Pairs of pulses up and down by which a reference is measured.
    max_pulses : int
        Most pulses of a device in one update.

    References
    ----------
    .. [1] T. Gokmen, W. Haensch, "Algorithm for Training Neural Networks on Resistive Device Arrays," Front.
       Neurosci. 14:103, 2020.
    .. [2] T. Gokmen, "Enabling Training of Neural Networks on Noisy Hardware," Front. Artif. Intell. 4:699148, 2021.
    .. [3] M. J. Rasch et al., "Fast and robust analog in-memory deep neural network training," Nat. Commun. 15:7133,
       2024.
    """

    transfer_every: float = 1.0
    units: Literal["vectors", "batches"] = "vectors"
    columns: int = 1
    transfer_rate: float = 1.0
    fast_memory: float = 10.0
    fast_rate: float = 1.0
    buffered: bool = True
    reference: Literal["dynamic", "symmetry_point", "measured", "middle"] = "dynamic"
    chopper: float = 0.1
    calibration_pulses: int = 2000
    max_pulses: int = 100

    def __post_init__(self):
        for name in ("columns", "calibration_pulses", "max_pulses"):
            self._require_count(name)
        for name in ("transfer_every", "transfer_rate", "fast_rate"):
            self._require_positive(name)
        if self.fast_memory:
            self._require_positive("fast_memory")
        self._require(self.units in ("vectors", "batches"), "units must be vectors or batches", self.units)
        self._require(isinstance(self.buffered, bool), "buffered must be true or false", self.buffered)
        known = ("dynamic", "symmetry_point", "measured", "middle")
        self._require(self.reference in known, f"reference must be one of {', '.join(known)}", self.reference)
        number = isinstance(self.chopper, (int, float)) and not isinstance(self.chopper, bool)
        self._require(number and 0 <= self.chopper <= 0.5, "chopper must lie in 0…0.5", self.chopper)
        turned = bool(self.chopper) or self.reference != "dynamic"
        self._require(turned, "a dynamic reference needs a chopper above 0", self.chopper)

    def prepare(self, crossbar: PulsedCrossbar) -> None:
        slow = crossbar.array
        fast = PulsedArray(slow.model, slow.conductances, slow.map, slow.seed + 2)
        crossbar.hidden_array, zero = fast, self._zero(fast)
        n_columns = fast.shape[-1]
        whole = torch.zeros((), dtype=torch.int64)
        crossbar.memory |= {"zero": zero, "updates": whole, "size": torch.zeros((), dtype=torch.float64)}
        crossbar.memory |= {"pulse_memory": torch.tensor(pulse_memory(fast), dtype=torch.float64)}
        if self.fast_memory:
            crossbar.memory["gain"] = torch.tensor(self._gain(crossbar), dtype=torch.float64)
        crossbar.memory |= {"transfers": torch.zeros(n_columns, dtype=torch.int64)}
        if self.buffered:
            crossbar.memory["buffer"] = torch.zeros_like(zero)
        if self.chopper:
            crossbar.memory["sign"] = torch.ones(n_columns, dtype=zero.dtype, device=zero.device)
        if self.reference == "dynamic":
            crossbar.memory["mean"] = zero.clone()

    def _zero(self, fast: PulsedArray) -> Tensor:
        if self.reference == "measured":
            return find_symmetry(fast, self.calibration_pulses)
        if self.reference == "middle":
            zero = torch.full_like(fast.conductances, (fast.map.g_min + fast.map.g_max) / 2)
        else:
            zero = fast.symmetry_conductances
        fast.set_conductances(zero)
        return zero

    def write(self, crossbar: PulsedCrossbar, change: Tensor) -> None:
        fast, memory = crossbar.hidden_array, crossbar.memory
        if fast is None:
            raise DeviceParameterError(
                f"TikiTaka needs a fast array, found none beside {crossbar.layout.label}; prepare it"
            )
        scale, rate = self._scales(crossbar, change)
        signed = change * memory["sign"] if self.chopper else change
        fast.pulse(self._whole(scale * signed, fast, crossbar))
        updates = int(memory["updates"])
        memory["updates"] = memory["updates"] + 1
        first, last = (self._read_columns(count, crossbar.vectors) for count in (updates, updates + 1))
        n_columns = change.shape[-1]
        # Runs of neighbouring columns are read at once; a column that comes twice is read twice.
        while first < last:
            start = first % n_columns
            count = min(last - first, n_columns - start)
            self._transfer(crossbar, slice(start, start + count), rate)
            first += count

    def _read_columns(self, updates: int, vectors: int) -> int:
        """Columns that are read in some updates."""
        counted = updates * vectors if self.units == "vectors" else updates
        return math.floor(counted / self.transfer_every + 1e-9) * self.columns

    def _scales(self, crossbar: PulsedCrossbar, change: Tensor) -> tuple[float, float]:
        """Factor on the changes for the fast array, and that on what is read of it for the slow one."""
        memory, step = crossbar.memory, crossbar.array.step
        size = float(change.double().pow(2).mean().sqrt())
        mean = _RECENT * float(memory["size"]) + (1 - _RECENT) * size if int(memory["updates"]) else size
        memory["size"] = torch.tensor(mean, dtype=torch.float64)
        if not self.fast_memory:
            return self.fast_rate, self.transfer_rate / self.fast_rate
        if not mean:
            return 1.0, 0.0
        scale = self._pulses(crossbar) * step / mean
        return scale, self.transfer_rate / float(memory["gain"]) / scale

    def _pulses(self, crossbar: PulsedCrossbar) -> float:
        """Of a fast device in an update, root mean square."""
        return min(float(crossbar.memory["pulse_memory"]) / self.fast_memory, self.max_pulses)

    def _gain(self, crossbar: PulsedCrossbar) -> float:
        """What is read in an update of a device to which each update adds 1, choppers at work, on average."""
        counted = crossbar.vectors if self.units == "vectors" else 1
        reads = counted / self.transfer_every * self.columns / crossbar.array.shape[-1]
        remembered, pulses = float(crossbar.memory["pulse_memory"]), self._pulses(crossbar)
        if self.reference != "dynamic":
            # A turn has what was added before count against what follows.
            return reads / (pulses / remembered + min(2 * self.chopper * reads, 1.0))
        kept = max(1 - 1 / remembered, 0.0) ** pulses
        return reads * self._dynamic_gain(kept, (1 - kept) * remembered / pulses, 1 / reads)

    def _dynamic_gain(self, kept: float, added: float, between: float) -> float:
        """Mean of what a device reads above its reference, its sign taken off, after many turns.

        Parameters
        ----------
        kept, added : float
            Share of its state that an update leaves, and what it adds.
        between : float
            Updates between two reads.
        """
        gained, kept = added * (1 - kept**between) / (1 - kept), kept**between
        share, period = min(_LAST_READS / self._period, 1.0), self._period
        fast = mean = zero = total = 0.0
        for read in range(_TURNS * period):
            sign = 1 if read // period % 2 == 0 else -1
            fast = kept * fast + sign * gained
            # The last period counts.
            total += sign * (fast - zero) if read >= (_TURNS - 1) * period else 0.0
            mean += share * (fast - mean)
            zero = mean if read % period == period - 1 else zero
        return total / period

    def _transfer(self, crossbar: PulsedCrossbar, columns: slice, rate: float) -> None:
        """Read some columns of the fast array and pulse the slow one by what is read, times the rate."""
        fast, slow, memory = crossbar.hidden_array, crossbar.array, crossbar.memory
        assert fast is not None
        read = fast.conductances[..., columns]
        wanted = rate * (read - memory["zero"][..., columns])
        if self.chopper:
            wanted = wanted * memory["sign"][columns]
        reads = memory["transfers"][columns]
        if self.reference == "dynamic":
            self._follow(memory, columns, read)
        pulses = torch.zeros(slow.shape, dtype=torch.int64, device=read.device)
        pulses[..., columns] = self._steps_of(crossbar, columns, wanted)
        slow.pulse(pulses)
        crossbar.count(reads=read.numel())
        if self.chopper:
            self._turn(memory, columns, fast)
        memory["transfers"][columns] = reads + 1

    @property
    def _period(self) -> int:
        return max(math.ceil(1 / self.chopper - 1e-9), 2)

    def _follow(self, memory: dict[str, Tensor], columns: slice, read: Tensor) -> None:
        share = min(_LAST_READS / self._period, 1.0)
        memory["mean"][..., columns] += share * (read - memory["mean"][..., columns])

    def _steps_of(self, crossbar: PulsedCrossbar, columns: slice, wanted: Tensor) -> Tensor:
        slow, memory = crossbar.array, crossbar.memory
        if not self.buffered:
            return self._whole(wanted, slow, crossbar)
        total = memory["buffer"][..., columns] + wanted
        steps = (total / slow.step).trunc().clamp(-self.max_pulses, self.max_pulses)
        memory["buffer"][..., columns] = total - steps * slow.step
        return steps.long()

    def _turn(self, memory: dict[str, Tensor], columns: slice, fast: PulsedArray) -> None:
        sign = memory["sign"][columns]
        if self.reference == "dynamic":
            turned = memory["transfers"][columns] % self._period == self._period - 1
            turned = turned.to(sign.device)
            # The reference of the coming period is what this one came to.
            mean = memory["mean"][..., columns]
            memory["zero"][..., columns] = torch.where(turned, mean, memory["zero"][..., columns])
        else:
            chance = torch.rand(sign.shape, generator=fast.generator, dtype=sign.dtype, device=sign.device)
            turned = chance < self.chopper
        memory["sign"][columns] = torch.where(turned, -sign, sign)

    def _whole(self, change: Tensor, array: PulsedArray, crossbar: PulsedCrossbar) -> Tensor:
        return at_most(stochastic_rounding(change / array.step, array.generator), self.max_pulses, crossbar)
