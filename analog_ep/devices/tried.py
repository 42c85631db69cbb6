"""Which laws have been tried: those of this package once for each class, others for some values of their parameters."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
from torch import Tensor

_PACKAGE = __name__.partition(".")[0] + "."

MOST = 32
"""Sets of values that a class is tried with. What learns, or is drawn for every chip, would be tried without end."""


class Tried:
    """Remembers classes, and of those that are not this package's own also the values that they were tried with.

    A law of one's own may hold for one polarity and not for the other, or below a knee that another element has.
    """

    def __init__(self) -> None:
        self._seen: WeakKeyDictionary[type, set[Hashable]] = WeakKeyDictionary()

    def is_new(self, kind: type, values: Mapping[str, Any], *others: Hashable) -> bool:
        """Whether a class is still to be tried with these values, or with these `others`, as any class is."""
        seen = self._seen.get(kind, set())
        return _key(kind, values, others) not in seen and len(seen) < MOST

    def add(self, kind: type, values: Mapping[str, Any], *others: Hashable) -> None:
        """It was tried, and found sound."""
        self._seen.setdefault(kind, set()).add(_key(kind, values, others))


def _key(kind: type, values: Mapping[str, Any], others: tuple[Hashable, ...]) -> Hashable:
    if kind.__module__.startswith(_PACKAGE):
        return others
    return others, hash(tuple((name, _told(value)) for name, value in sorted(values.items())))


def _told(value: Any) -> Hashable:
    if isinstance(value, Tensor):
        value = value.detach().cpu().numpy()
    if isinstance(value, np.ndarray) and value.dtype != object:
        return value.shape, value.tobytes()
    return repr(value)
