"""Batches of operating points in VACASK: sources follow a variable, which a sweep counts."""

from __future__ import annotations

import re
from collections.abc import Iterable

from analog_ep.netlist.dialects.sweeps import INDEX, Sweeps

TABLE = r"over\(([^()]*)\)"
"""What `VacaskSweeps.over_samples` writes, within an expression."""

_ALONE = re.compile(rf"(-?){TABLE}")


class VacaskSweeps(Sweeps):
    """A value over the samples is an element of a list there, which the dialect makes of ``over(value,value,…)``."""

    fast_solver = ()
    index_vector = "_sample"
    # It asks for residuals below abstol, which the rounding of a larger one's current exceeds.
    pin = 1.0

    def over_samples(self, index: Iterable[str], values: Iterable[str]) -> str:
        return f"over({','.join(values)})"

    def samples(self, source: str, count: int) -> str:
        points = ",".join(map(str, range(count)))
        return "\n".join(
            [
                "control",
                f"  var {INDEX}=0",
                f'  sweep _sample variable="{INDEX}" values=[{points}] continuation=1',
                "    analysis samples op",
                "endc",
            ]
        )

    def save(self, vectors: Iterable[str]) -> str:
        return f"save {' '.join(f'v({node})' for node in vectors)}"

    def vector(self, node: str) -> str:
        return node


def alone(expression: str) -> str | None:
    """The value of a source whose expression is one over the samples and nothing else; None of another expression."""
    found = _ALONE.fullmatch(expression)
    return None if found is None else f"{found[1]}{element(found[2])}"


def element(values: str) -> str:
    """That of the list of values whose sample it is."""
    return f"[{values}][{INDEX}]"
