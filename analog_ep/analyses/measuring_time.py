"""How long lock-in amplifiers have to read the gradient of a batch while the network computes."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass

import numpy as np
from rich.table import Table
from torch import Tensor

from analog_ep.circuit import Chip
from analog_ep.equilibrium.oscillation import Oscillation
from analog_ep.learning.gradients.reading_noise import ReadingNoise, linearised_states, reading_noise
from analog_ep.networks import HardwareNetwork
from analog_ep.stimulus import Nudge
from analog_ep.support.shown import Tabled

_SHOWN = (1.0, 3.0, 10.0, 30.0, 100.0)


@dataclass(frozen=True, eq=False)
class MeasuringTime(Tabled):
    """Times for which every sample is read, for SNRs of the batch's gradient.

    Attributes
    ----------
    noise : ReadingNoise
        Signal and noise.
    nudging, frequency : float
        β, and what the nudge oscillates at. [S or A·V], [Hz]
    n_samples : int
        Of the batch.
    attenuation, lag : float
        Of the response of all nodes in the first sample: what is left of that to a slow nudge, and the delay in phase.
        [rad]
    snr : float
        The SNR that is asked for.
    """

    noise: ReadingNoise
    nudging: float
    frequency: float
    n_samples: int
    attenuation: float
    lag: float
    snr: float

    def times(self) -> dict[float, float]:
        """Time of every SNR that is shown, whole periods. [s]"""
        shown = sorted({*_SHOWN, self.snr})
        return {snr: max(math.ceil(self.noise.time(snr) * self.frequency), 1) / self.frequency for snr in shown}

    def to_json(self) -> str:
        """The figures as a JSON object."""
        figures = {
            "nudging": self.nudging,
            "frequency": self.frequency,
            "samples": self.n_samples,
            "attenuation": self.attenuation,
            "lag": self.lag,
            "times": [
                {"snr": snr, "time": time, "reached": self.noise.snr(time)} for snr, time in self.times().items()
            ],
        }
        return json.dumps(figures)

    def table(self) -> Table:
        """A row an SNR."""
        table = Table("SNR", "time of each sample", "periods", "reached", title="readings of a sinusoidal nudge")
        for snr, time in self.times().items():
            mark = " asked for" if snr == self.snr else ""
            table.add_row(
                f"{snr:g}{mark}", f"{time:.3g} s", f"{time * self.frequency:.0f}", f"{self.noise.snr(time):.3g}"
            )
        table.caption = (
            f"nudging {self.nudging:g} at {self.frequency:g} Hz, {self.n_samples} samples, white noise alone; in the "
            f"first sample the response has {self.attenuation:.4f} of a slow one's size and lags by "
            f"{math.degrees(self.lag):.2f}°"
        )
        return table


def measuring_time(
    network: HardwareNetwork,
    inputs: Tensor,
    nudge: Nudge,
    oscillation: Oscillation,
    snr: float = 10.0,
    chip: Chip | None = None,
) -> MeasuringTime:
    """For how long to read, from Johnson and shot noise at the free states.

    Parameters
    ----------
    network, inputs, nudge, oscillation, chip
        As for `reading_noise`, whose errors it has.
    snr : float
        What is asked for: norm of the gradient over the root of the sum of all variances.
    """
    noise = reading_noise(network, inputs, nudge, oscillation, chip)
    noise.time(snr)
    state, into = next(linearised_states(network, inputs, nudge, oscillation, chip))
    swung, slow = (state.response(into[:, None], f)[:, 0] for f in (oscillation.frequency, 0.0))
    ratio = complex(np.vdot(slow, swung) / max(float(np.vdot(slow, slow).real), np.finfo(float).tiny))
    return MeasuringTime(
        noise, nudge.strength, oscillation.frequency, len(inputs), abs(ratio), -math.atan2(ratio.imag, ratio.real), snr
    )
