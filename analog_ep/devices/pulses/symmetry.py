"""The point where steps up and down are equal: how fast pulses forget around it, and how it is found by pulses."""

from __future__ import annotations

import torch
from torch import Tensor

from analog_ep.devices.pulses.array import PulsedArray
from analog_ep.errors import DeviceParameterError

_NEAR = 1e-3
"""Half the distance over which the slope at a symmetry point is taken, relative to the window."""


def symmetry_slopes(array: PulsedArray) -> Tensor:
    r"""By which share each device nears its symmetry point under a pulse of either sign, in the array's shape.

    :math:`\lambda = -\frac{1}{2} \frac{d}{dw} (\Delta w_+ - \Delta w_-)` there: pulses without a common direction
    take a device back by the factor 1 − λ each, so that it remembers about 1/λ pulses. Zero where steps do not depend
    on the state.

    Parameters
    ----------
    array : PulsedArray
        The devices.
    """
    point = array.map.state(array.symmetry_conductances.flatten()) + array.read_offset
    away = _NEAR * (array.map.w_max - array.map.w_min)
    low, high = (array.drawn[name].expand_as(point) for name in ("low", "high"))
    below, above = torch.maximum(point - away, low), torch.minimum(point + away, high)

    def pull(state: Tensor) -> Tensor:
        return array.model.potentiation(state, array.drawn) - array.model.depression(state, array.drawn)

    slope = (pull(below) - pull(above)) / (2 * (above - below))
    return torch.where(above > below, slope, 0.0).clamp(min=0).reshape(array.shape)


def pulse_memory(array: PulsedArray) -> float:
    """Pulses that the array's typical device remembers: 1/λ of the median λ, at most what its range has steps."""
    steps = (array.map.w_max - array.map.w_min) / array.model.mean_step
    slope = float(symmetry_slopes(array).double().median())
    return min(1 / slope, steps) if slope > 0 else steps


def find_symmetry(array: PulsedArray, pairs: int) -> Tensor:
    """Take devices to their symmetry points by pulses up and down in turn, and say where they are read there.

    The mean of the reads after every pulse of the second half; noise, and devices that had too far to go, are in it,
    as they are in a measurement [1]_.

    Parameters
    ----------
    array : PulsedArray
        Pulsed.
    pairs : int
        Pairs of pulses that each device gets, at least 2.

    Returns
    -------
    Tensor
        Conductances, in the array's shape. [S]

    References
    ----------
    .. [1] H. Kim et al., "Zero-shifting Technique for Deep Neural Network Training on Resistive Cross-point Arrays,"
       arXiv:1907.10228, 2019.
    """
    if pairs < 2:
        raise DeviceParameterError(f"a symmetry point needs at least 2 pairs of pulses, found {pairs}")
    up = torch.ones(array.shape, dtype=torch.int64, device=array.hidden.device)
    first, total = pairs // 2, torch.zeros(array.shape, dtype=torch.float64, device=array.hidden.device)
    for pair in range(pairs):
        for pulses in (up, -up):
            array.pulse(pulses)
            if pair >= first:
                total += array.conductances
    return (total / (2 * (pairs - first))).to(array.hidden)
