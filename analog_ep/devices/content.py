"""What a device says of its current and co-content, for the energy that ngspice prints."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Shared:
    """A factor times a quantity that follows the simulation's temperature and that many elements share.

    Attributes
    ----------
    factor : float
        The number.
    name : str
        Word for the quantity.
    expression : str
        In ngspice's words, with ``temper``, the simulation's temperature in °C.
    alone : bool
        Whether the name stands for one quantity in all of a deck.
    """

    factor: float
    name: str
    expression: str
    alone: bool = False


@dataclass(frozen=True, eq=False)
class Content:
    """Current and co-content of elements of two terminals, as functions in ngspice's words: what its energy is of.

    Parameters
    ----------
    name : str
        Stem of the functions, which end in ``_current`` and ``_content``.
    parameters : sequence of str
        What they take after ``u``, the voltage across [V].
    current, content : str
        Current [A], and its integral from 0 to u [W].
    arguments : sequence of sequence of float or Shared
        Values of the parameters, for each element.
    shared : bool
        Whether all groups have the same functions; otherwise each has its own.
    """

    name: str
    parameters: Sequence[str]
    current: str
    content: str
    arguments: Sequence[Sequence[float | Shared]]
    shared: bool = False
