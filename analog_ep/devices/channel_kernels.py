"""Compiled loops over NMOS whose bulk is at their source and whose gate is held: currents and slopes.

The same equations as those of the devices, which the tests compare; a lattice of 20,000 transistors spends half of its
time here.
"""

from __future__ import annotations

import math

import numpy as np

from analog_ep.support.compiled import compiled
from analog_ep.support.exponential import expm1_of

_HIGHEST = 700.0
"""Logarithm of the largest exponential, nearly: Newton's method follows none that far."""


@compiled
def level1_channels(
    volts: np.ndarray,
    straight: np.ndarray,
    root: np.ndarray,
    body: np.ndarray,
    factor: np.ndarray,
    modulation: np.ndarray,
    saturation: np.ndarray,
    thermal: np.ndarray,
    gmin: np.ndarray,
    reversed_: np.ndarray,
    current: np.ndarray,
    slope: np.ndarray,
) -> None:
    """Fill currents and slopes `(n_samples, n_elements)` by `Level1Mosfet`, from source to drain.

    The drain's junction, which leads from the source as the bulk is joined to it, is part of them.

    Parameters, each `(n_elements,)`: v_G − V_bi [V], √φ [√V], γ [√V], β [A/V²], λ [1/V]; of the junction I_S [A], V_t
    [V], gmin [S], and the v/V_t below which it is reversed.
    """
    n_samples, n = volts.shape
    scaled, grown, room = np.empty(n), np.empty(n), np.empty(n)
    for b in range(n_samples):
        for k in range(n):
            scaled[k] = min(max(volts[b, k] / thermal[k], reversed_[k]), _HIGHEST)
        expm1_of(scaled, grown, room)
        # Without branches, so that several elements are done at a time.
        for k in range(n):
            u = volts[b, k]
            w, back = abs(u), u > 0
            lean = body[k] / (2 * root[k])
            tangent = body[k] * root[k] - (w * lean if back else 0.0)
            over = max(straight[k] + (w if back else 0.0) - max(tangent, 0.0), 0.0)
            rise = 1 + (lean if tangent > 0 else 0.0)
            reach = min(w, over)
            area = reach * (over - reach / 2)
            boosted = factor[k] * (1 + modulation[k] * w)
            forward = scaled[k] > reversed_[k]
            current[b, k] = gmin[k] * u + (boosted * area if back else -boosted * area)
            current[b, k] += saturation[k] * (grown[k] if forward else -1.0)
            along = boosted * (over - reach) + modulation[k] * factor[k] * area
            slope[b, k] = along + (boosted * reach * rise if back else 0.0) + gmin[k]
            slope[b, k] += saturation[k] / thermal[k] * (grown[k] + 1 if forward else 0.0)


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
