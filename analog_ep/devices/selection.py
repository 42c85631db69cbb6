"""How one device of a crossbar is written: the voltages of all lines, and what the other devices see of them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from torch import Tensor

WriteScheme = Literal["V/2", "V/3"]
"""A row at +V/2 and a column at −V/2 in both; all other lines grounded, or rows at −V/6 and columns at +V/6 [1]_.

With V/2 the other devices of the row and the column see V/2, the rest nothing; with V/3 the ones see V/3, and the rest
−V/3.

.. [1] A. Chen, "A Comprehensive Crossbar Array Model With Solutions for Line Resistance and Nonlinear Device
   Characteristics," IEEE Trans. Electron Devices 60(4), 2013, doi:10.1109/TED.2013.2246791; here with the mean of the
   two selected lines as the ground.
"""

IDLE: dict[WriteScheme, float] = {"V/2": 0.0, "V/3": 1 / 6}
"""Voltage of columns that are not selected, and minus that of rows, as a share of V."""

EDGE = 0.1
"""Time in which a pulse rises, and in which it falls, over its width."""


def voltage_share(voltage: float, full: float, scale: float) -> float:
    r"""Change by a pulse over that by one of the full voltage, h(v/v_0)/h(V/v_0), at rates ∝ :math:`\sinh(v/v_0)`.

    :math:`h(u) = \sinh u + 2 \epsilon (\cosh u - 1)/u`: the rate over the width, and over edges of ε = `EDGE` of it.

    Parameters
    ----------
    voltage, full : float
        v and V, magnitudes; V positive. [V]
    scale : float
        v_0, positive. [V]
    """
    if not voltage:
        return 0.0
    u, whole = voltage / scale, full / scale
    # Without e^u, which may be beyond all numbers.
    return math.exp(u - whole) * _without_growth(u) / _without_growth(whole)


def _without_growth(u: float) -> float:
    """2 h(u) e^−u."""
    return -math.expm1(-2 * u) + 2 * EDGE * math.expm1(-u) ** 2 / u


@dataclass(frozen=True, eq=False)
class Exposure:
    """Pulses that devices see of those for others.

    Attributes
    ----------
    up : bool
        Whether the pulses are those that potentiate the others.
    fraction : float
        Voltage across the devices over that of the pulse; negative where it has the other sign.
    counts : Tensor (n_rows, n_columns)
        Pulses that each device sees, int64.
    """

    up: bool
    fraction: float
    counts: Tensor


def exposures(up: Tensor, down: Tensor, scheme: WriteScheme) -> list[Exposure]:
    """What the devices of a crossbar see of pulses that are given to one device after the other.

    Parameters
    ----------
    up, down : Tensor (n_rows, n_columns)
        Potentiating and depressing pulses that each device gets, int64.
    scheme : "V/2" or "V/3"
        Voltages of the lines.

    Returns
    -------
    list of Exposure
        One for each kind of pulse and each voltage.
    """
    found = []
    for potentiating, counts in ((True, up), (False, down)):
        cross = counts.sum(0, keepdim=True) + counts.sum(1, keepdim=True)
        if scheme == "V/2":
            found.append(Exposure(potentiating, 1 / 2, cross - 2 * counts))
        else:
            found.append(Exposure(potentiating, 1 / 3, cross - 2 * counts))
            found.append(Exposure(potentiating, -1 / 3, counts.sum() - cross + counts))
    return found
