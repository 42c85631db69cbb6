"""What programming and reading add to a phase-change conductance: noise and drift that depend on it.

The fits and their constants (g_max 25 µS, t_r 250 ns, Q at most 0.2, drift from t_0 = 20 s on) are those of
`PCMLikeNoiseModel` in aihwkit's repository, commit 1384c564, which refers to S. R. Nandakumar et al., ICECS 2019.
"""

from __future__ import annotations

import torch
from torch import Tensor

PCM_G_MAX = 25e-6
"""Largest conductance of the devices the fits are of. [S]"""

READ_DURATION = 250e-9
"""t_r, averaging time of a read. [s]"""


def programming_deviation(conductance: Tensor) -> Tensor:
    """Standard deviation of a programmed conductance, (0.263 + 1.965 γ − 1.173 γ²) µS with γ = g/g_max [1]_. [S]

    Parameters
    ----------
    conductance : Tensor
        Target g, 0…`PCM_G_MAX`. [S]

    References
    ----------
    .. [1] V. Joshi et al., "Accurate deep neural network inference using computational phase-change memory," Nat.
       Commun. 11, 2473, 2020; fit as above.
    """
    share = conductance / PCM_G_MAX
    return (0.263 + 1.965 * share - 1.173 * share**2).clamp(min=0) * 1e-6


def drift_exponent(conductance: Tensor) -> Tensor:
    """Mean drift exponent ν of a programmed conductance [S], −0.0155 ln γ + 0.0244 held in 0.049…0.1."""
    share = (conductance / PCM_G_MAX).clamp(min=torch.finfo(conductance.dtype).tiny)
    return (-0.0155 * torch.log(share) + 0.0244).clamp(0.049, 0.1)


def drift_exponent_deviation(conductance: Tensor) -> Tensor:
    """Standard deviation of ν over devices, −0.0125 ln γ − 0.0059 held in 0.008…0.045; argument as above. [S]"""
    share = (conductance / PCM_G_MAX).clamp(min=torch.finfo(conductance.dtype).tiny)
    return (-0.0125 * torch.log(share) - 0.0059).clamp(0.008, 0.045)


def read_deviation(conductance: Tensor, programmed: Tensor, time: float) -> Tensor:
    """Standard deviation of a read, from 1/f noise: g Q √(ln((t + t_r)/(2 t_r))), Q = 0.0088/γ^0.65, at most 0.2. [S]

    Parameters
    ----------
    conductance : Tensor
        g at the read. [S]
    programmed : Tensor
        g as programmed, which sets Q. [S]
    time : float
        t after programming, at least t_r. [s]
    """
    share = (programmed / PCM_G_MAX).clamp(min=torch.finfo(conductance.dtype).tiny)
    strength = (0.0088 / share**0.65).clamp(max=0.2)
    spectrum = torch.log(torch.tensor((time + READ_DURATION) / (2 * READ_DURATION), dtype=torch.float64))
    return conductance * strength * float(spectrum.clamp(min=0).sqrt())
