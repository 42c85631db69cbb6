"""Which class states what, where a law and its netlist form may come from different ones."""

from __future__ import annotations

from collections.abc import Sequence


def states(kind: type, statement: Sequence[str], law: str) -> bool:
    """Whether a class says one of `statement` where it says `law` or later."""
    for ancestor in kind.__mro__:
        if not vars(ancestor).keys().isdisjoint(statement):
            return True
        if law in vars(ancestor):
            return False
    return False
