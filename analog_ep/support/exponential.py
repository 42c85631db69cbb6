"""The exponential of many numbers, within compiled loops."""

from __future__ import annotations

import math

import numpy as np

from analog_ep.support.compiled import compiled_in_order

_MAGIC = 1.5 * 2.0**52
"""Added to a number below 2^51, it leaves the nearest whole one in the lowest bits."""

_LOG2_E = 1 / math.log(2)
_LN2_HIGH, _LN2_LOW = 6.93147180369123816490e-01, 1.90821492927058770002e-10
"""ln 2 as a number whose products with whole ones below 2^20 are exact, and the rest."""

_C2, _C3, _C4, _C5, _C6, _C7, _C8, _C9, _C10, _C11, _C12, _C13 = (1 / math.factorial(k) for k in range(2, 14))


@compiled_in_order
def expm1_of(x: np.ndarray, found: np.ndarray, room: np.ndarray) -> None:
    """Fill e^x − 1 `(n,)` for |x| ≤ 700, to about one unit in the last place; `room` is overwritten.

    With x = n ln 2 + r, |r| ≤ ½ ln 2, it is 2^n (e^r − 1) + (2^n − 1), the series of e^r broken off where its terms
    vanish. Calls of the library's exponential are ten times as slow: they take one number after another.
    """
    bits = room.view(np.int64)
    for k in range(len(x)):
        room[k] = x[k] * _LOG2_E + _MAGIC
    for k in range(len(x)):
        n = room[k] - _MAGIC
        r = (x[k] - n * _LN2_HIGH) - n * _LN2_LOW
        q = _C10 + r * (_C11 + r * (_C12 + r * _C13))
        q = _C6 + r * (_C7 + r * (_C8 + r * (_C9 + r * q)))
        q = _C2 + r * (_C3 + r * (_C4 + r * (_C5 + r * q)))
        found[k] = r + r * r * q
    for k in range(len(x)):
        bits[k] = (bits[k] << 52) + (1023 << 52)
    for k in range(len(x)):
        found[k] = room[k] * found[k] + (room[k] - 1.0)
