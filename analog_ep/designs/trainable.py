"""What of a netlist is learnt: a number of a file, and the resistors that have it."""

from __future__ import annotations

from dataclasses import dataclass

from analog_ep.designs.source import Span


@dataclass(frozen=True, eq=False)
class Trainable:
    """One number of a file that is learnt, and the resistors that have it.

    Attributes
    ----------
    names : tuple of str
        Paths of the resistors: several where instances share the line.
    origin : Span
        The number.
    factor : float
        Ohms of a resistor over the number.
    siemens : float
        Conductance that it begins with. [S]
    """

    names: tuple[str, ...]
    origin: Span
    factor: float
    siemens: float
