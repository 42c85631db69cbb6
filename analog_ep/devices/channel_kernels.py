"""Compiled loops over channels of NMOS whose bulk is at their source and whose gate is held: currents and slopes.

The same equations as those of the devices, which the tests compare; a lattice of 20,000 transistors spends half of its
time here.
"""

from __future__ import annotations

import math

import numpy as np

from analog_ep.support.compiled import compiled


@compiled
def level1_channels(
    volts: np.ndarray,
    straight: np.ndarray,
    root: np.ndarray,
    body: np.ndarray,
    factor: np.ndarray,
    modulation: np.ndarray,
    current: np.ndarray,
    slope: np.ndarray,
) -> None:
    """Fill currents and slopes `(n_samples, n_elements)` by `Level1Mosfet`.

    Parameters, each `(n_elements,)`: v_G − V_bi [V], √φ [√V], γ [√V], β [A/V²], λ [1/V].
    """
    n_samples, n = volts.shape
    for b in range(n_samples):
        for k in range(n):
            v = volts[b, k]
            w, over, rise = v, max(straight[k] - body[k] * root[k], 0.0), 0.0
            if v < 0:
                w = -v
                tangent = root[k] - w / (2 * root[k])
                rise = body[k] / (2 * root[k]) if tangent > 0 else 0.0
                over = max(straight[k] + w - body[k] * max(tangent, 0.0), 0.0)
            reach = min(w, over)
            area = reach * (over - reach / 2)
            boosted = factor[k] * (1 + modulation[k] * w)
            along = boosted * (over - reach) + modulation[k] * factor[k] * area
            if v < 0:
                current[b, k] = -boosted * area
                slope[b, k] = along + boosted * reach * (1 + rise)
            else:
                current[b, k] = boosted * area
                slope[b, k] = along


@compiled
def ekv_channels(
    volts: np.ndarray,
    forward: np.ndarray,
    first: np.ndarray,
    scale: np.ndarray,
    specific: np.ndarray,
    current: np.ndarray,
    slope: np.ndarray,
) -> None:
    """Fill currents and slopes `(n_samples, n_elements)` by `EkvMosfet`.

    Parameters, each `(n_elements,)`: x = (v_P − v_S)/2U_T, ln(1 + e^x), 2 U_T [V], I_S [A].
    """
    n_samples, n = volts.shape
    for b in range(n_samples):
        for k in range(n):
            apart = volts[b, k] / scale[k]
            x = forward[k] - apart
            small = math.exp(-abs(x))
            second = max(x, 0.0) + math.log1p(small)
            sigmoid = (1.0 if x >= 0 else small) / (1 + small)
            difference = first[k] - second
            if abs(apart) <= 1.0:
                difference = math.log1p(sigmoid * math.expm1(apart))
            current[b, k] = specific[k] * difference * (first[k] + second)
            slope[b, k] = 2 * specific[k] / scale[k] * second * sigmoid
