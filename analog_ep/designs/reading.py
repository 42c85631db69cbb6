"""What the cards of a design hold: its elements kind by kind, and the conditions under which they are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from analog_ep.constants import DEFAULT_TEMPERATURE, ZERO_CELSIUS
from analog_ep.designs.assembly import Assembly
from analog_ep.designs.definitions import Contents, sort_cards
from analog_ep.designs.diode_models import Conditions
from analog_ep.designs.elements import Reader
from analog_ep.designs.expansion import expand
from analog_ep.designs.scopes import Scope
from analog_ep.designs.source import Card

_SPICE_GMIN = 1e-12
"""Conductance across every junction where a deck gives none: SPICE's own, and not the one of circuits here. [S]"""


@dataclass(frozen=True, eq=False)
class Elements:
    """The elements of a design.

    Attributes
    ----------
    assembly : Assembly
        Kind by kind.
    conditions : Conditions
        Temperatures, and the conductance across junctions.
    scope : Scope or None
        That of the last element, by which all others are reached; None where there is none.
    notes : tuple of str
        What was passed over, with its place.
    """

    assembly: Assembly
    conditions: Conditions
    scope: Scope | None
    notes: tuple[str, ...]


def read_elements(cards: Sequence[Card], kelvin: float | None = None) -> Elements:
    """Write subcircuits out, and read every element.

    Parameters
    ----------
    cards : sequence of Card
        Of all files.
    kelvin : float, optional
        Temperature, in place of the one that the cards give. [K]

    Raises
    ------
    NetlistError
        With file and line: if something cannot be read.
    """
    contents = sort_cards(cards)
    conditions = _conditions(contents)
    if kelvin is not None:
        conditions = replace(conditions, kelvin=kelvin)
    assembly = Assembly()
    reader = Reader(assembly, conditions)
    scope: Scope | None = None
    for element in expand(contents):
        scope = element.scope
        reader.read(element)
    reader.finish()
    return Elements(assembly, conditions, scope, tuple(contents.notes))


def _conditions(contents: Contents) -> Conditions:
    scope = Scope()
    scope.functions = contents.functions
    for name, value in contents.top.parameters:
        scope.bind(name, value, scope)
    values = {name: scope.read(word).value for name, word in contents.options.items()}
    # ngspice lets .temp win over the option, wherever it stands.
    kelvin = values.get(".temp", values.get("temp", DEFAULT_TEMPERATURE - ZERO_CELSIUS)) + ZERO_CELSIUS
    nominal = values.get("tnom", DEFAULT_TEMPERATURE - ZERO_CELSIUS) + ZERO_CELSIUS
    for name, number in ((".temp", kelvin), ("tnom", nominal)):
        word = contents.options.get(name) or contents.options.get("temp")
        if number <= 0 and word is not None:
            raise word.refuse(f"a temperature must be above {-ZERO_CELSIUS} °C, found {number - ZERO_CELSIUS:g} °C")
    gmin = values.get("gmin", _SPICE_GMIN)
    if gmin < 0:
        raise contents.options["gmin"].refuse(f"gmin must not be negative, found {gmin:g} S")
    return Conditions(round(kelvin, 10), round(nominal, 10), gmin)
