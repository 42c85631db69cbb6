"""What of a netlist is learnt: a number of a file, and the resistors that have it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from analog_ep.designs.assembly import Branch
from analog_ep.designs.marks import Bounds, Wish, matching
from analog_ep.designs.scopes import Scope
from analog_ep.designs.source import Span

_PARAMETER = "weights"
"""Name of the parameter that holds the conductances of the first range; that of the second is weights2."""


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
    bounds : (float, float)
        Range of the conductance. [S]
    parameter, index : str, int
        Where the network has it: each range is a parameter of its own.
    """

    names: tuple[str, ...]
    origin: Span
    factor: float
    siemens: float
    bounds: Bounds
    parameter: str
    index: int


def trainable_parts(wishes: Sequence[Wish], resistors: Sequence[Branch], scope: Scope) -> tuple[Trainable, ...]:
    """The trainable parts that marks name, in the order of the resistors.

    Raises
    ------
    NetlistError
        With file and line: if a mark fits no resistor, two marks give a resistor different ranges, or its number cannot
        be learnt.
    """
    known = {branch.element.name: branch for branch in resistors if branch.quantity is not None}
    bounds = _bounds(wishes, known)
    groups: dict[Span, list[Branch]] = {}
    for name, branch in known.items():
        if name in bounds:
            groups.setdefault(_origin(branch, bounds[name]), []).append(branch)
    parameters: dict[Bounds, str] = {}
    sizes: Counter[str] = Counter()
    found: list[Trainable] = []
    for origin, branches in groups.items():
        _require_alone(origin, branches, scope)
        names, first = tuple(branch.element.name for branch in branches), branches[0]
        own = {bounds[name] for name in names}
        if len(own) > 1:
            raise first.element.refuse(
                f"resistors that share a number must share a range, found {len(own)} for {names}"
            )
        (limits,) = own
        number = len(parameters) + 1
        parameter = parameters.setdefault(limits, _PARAMETER if number == 1 else f"{_PARAMETER}{number}")
        found.append(Trainable(names, origin, first.factor, 1 / first.value, limits, parameter, sizes[parameter]))
        sizes[parameter] += 1
    return tuple(found)


def listed(names: Iterable[str]) -> str:
    """The first of some names, for messages."""
    shown = list(names)
    return (", ".join(shown[:8]) + (f" and {len(shown) - 8} more" if len(shown) > 8 else "")) or "none"


def _bounds(wishes: Sequence[Wish], known: dict[str, Branch]) -> dict[str, Bounds]:
    """The range of every chosen resistor. [S]"""
    chosen: dict[str, Bounds] = {}
    for wish in wishes:
        names = matching(wish.name, known)
        if not names:
            raise wish.refuse(
                f"a trainable part must be a resistor, found none that fits {wish.name!r}; there are {listed(known)}"
            )
        assert wish.bounds is not None
        for name in names:
            if chosen.setdefault(name, wish.bounds) != wish.bounds:
                (low, high), (other_low, other_high) = wish.bounds, chosen[name]
                raise wish.refuse(
                    f"{name} must have one range, found {low:g}…{high:g} S beside {other_low:g}…{other_high:g} S"
                )
    return chosen


def _origin(branch: Branch, bounds: Bounds) -> Span:
    """The number that a chosen resistor has; it must be one, and within the range."""
    quantity, name = branch.quantity, branch.element.name
    if quantity is None or quantity.origin is None:
        raise branch.element.refuse(
            "a trainable resistor must have a number for its value, or a parameter that is one, found an expression "
            f"for {name}"
        )
    low, high = bounds
    if not (branch.value > 0 and low * (1 - 1e-12) <= 1 / branch.value <= high * (1 + 1e-12)):
        raise branch.element.refuse(
            f"{name} must begin in the range {low:g}…{high:g} S, which is {1 / high:g}…{1 / low:g} Ω, "
            f"found {branch.value:g} Ω"
        )
    return quantity.origin


def _require_alone(origin: Span, branches: list[Branch], scope: Scope) -> None:
    """What is learnt must change nothing else, and all its resistors alike."""
    names = {branch.element.name for branch in branches}
    others = sorted(scope.uses.readers.get(origin, set()) - names)
    if others:
        raise branches[0].element.refuse(
            f"the number {origin.text!r} in line {origin.file.line_of(origin.start)} must be that of trainable parts "
            f"alone, found that {listed(others)} has it too; mark that as well, or give it a number of its own"
        )
    if any(branch.factor != branches[0].factor for branch in branches):
        raise branches[0].element.refuse(
            f"resistors that share a number must be equal, found {', '.join(sorted(names)[:3])} with different factors"
        )
