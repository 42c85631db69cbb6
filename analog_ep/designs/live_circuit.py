"""A live PySpice circuit as a design, and the learnt values set in it; PySpice itself is not imported."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from analog_ep.designs.design import Design, Output, design_of
from analog_ep.designs.includes import Files
from analog_ep.designs.source import Card, SourceFile, split_lines, words_of
from analog_ep.designs.trainable import Trainable
from analog_ep.errors import NetlistError
from analog_ep.networks import CircuitNetwork


def from_pyspice(
    circuit: Any,
    *,
    trainable: Sequence[str] | None = None,
    bounds: tuple[float, float] | Sequence[tuple[float, float]] | None = None,
    inputs: Sequence[str] | None = None,
    outputs: Sequence[Output] | None = None,
    folder: str | os.PathLike[str] = ".",
) -> Design:
    """Read a PySpice circuit, with its subcircuits and models, as `read_netlist` reads a file.

    Parameters
    ----------
    circuit : PySpice.Spice.Netlist.Circuit
        Where an element is called ``circuit.R('w1', …)`` its name here is ``rw1``.
    trainable, bounds, inputs, outputs
        See `read_netlist`.
    folder : path
        Holds all files that the circuit includes.

    Raises
    ------
    NetlistError
        See `read_netlist`; a line is one of ``str(circuit)``.
    """
    title = str(getattr(circuit, "title", "a circuit"))
    file = SourceFile(Path(f"PySpice circuit {title!r}"), str(circuit), "utf-8")
    lines = split_lines(file, is_main=True)
    return design_of(lines, Files(Path(os.path.realpath(folder))), trainable, bounds, inputs, outputs)


def set_pyspice(circuit: Any, design: Design, learnt: CircuitNetwork | Tensor | Mapping[str, float]) -> Any:
    """Give the resistors of a live PySpice circuit their learnt values, and return the circuit.

    Resistors of a subcircuit are those of all its instances.

    Parameters
    ----------
    circuit : PySpice.Spice.Netlist.Circuit
        The one that `from_pyspice` made `design` of; it is changed.
    design : Design
        What was read.
    learnt : CircuitNetwork, Tensor or mapping
        See `Design.resistances`.

    Raises
    ------
    NetlistError
        If a value stands elsewhere than on a resistor or in a parameter of the circuit; nothing is set then.
    """
    ohms = design.resistances(learnt)
    plan = [(_holder(circuit, design, part), ohms[part.names[0]] / part.factor) for part in design.trainable]
    for (holder, name), value in plan:
        if name:
            holder.parameter(name, value)
        else:
            holder.resistance = value
    return circuit


def _holder(circuit: Any, design: Design, part: Trainable) -> tuple[Any, str]:
    """The element that has a trainable number, or the circuit and the name of its parameter."""
    card, subcircuit = _card_of(design, part)
    netlist = circuit if not subcircuit else next(s for s in circuit.subcircuits if str(s.name).lower() == subcircuit)
    word = words_of(card)[0]
    if card.kind == "param" and not subcircuit:
        pairs = words_of(card)[1:]
        at = next(i for i, w in enumerate(pairs) if w.card.span(w.start, w.end) == part.origin)
        return circuit, pairs[at - 2].text
    element = next((e for e in netlist.elements if str(e.name).lower() == word.lower), None)
    if element is None or word.lower[0] != "r":
        raise NetlistError(
            f"{part.origin.place}: a learnt value must be that of a resistor or of a parameter of the circuit, found "
            f"it in {card.text[:40]!r}; give the resistor {part.names[0]} a number"
        )
    return element, ""


def _card_of(design: Design, part: Trainable) -> tuple[Card, str]:
    """The card on which a trainable number stands, and the subcircuit around it."""
    open_ones: list[str] = []
    for card in design.cards:
        if card.kind == "subckt":
            open_ones.append(words_of(card)[1].lower)
        elif card.kind == "ends":
            open_ones.pop()
        if any(w.card.span(w.start, w.end) == part.origin for w in words_of(card)):
            return card, open_ones[-1] if open_ones else ""
    raise NetlistError(f"{part.origin.place}: a learnt value must be a word of a card, found none")
