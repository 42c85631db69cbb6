"""The nudge of one sample as SPICE elements that the node `phase` switches: 0 V free, 1 V nudged."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from analog_ep.circuit import Circuit
from analog_ep.devices.statement import states
from analog_ep.errors import StimulusError
from analog_ep.netlist.dialects import Dialect, require_form
from analog_ep.netlist.texts import number
from analog_ep.stimulus import Cost, Nudge


@dataclass(frozen=True)
class NudgeCurrent:
    """The current into v₊ and out of v₋ of one differential output.

    Attributes
    ----------
    positive, negative : int
        Nodes v₊ and v₋.
    expression : str
        The current at v(phase) = 1, in ngspice's words. [A]
    constant : bool
        Whether the expression is a number.
    """

    positive: int
    negative: int
    expression: str
    constant: bool


def nudge_currents(circuit: Circuit, nudge: Nudge, free_outputs: np.ndarray | None) -> list[NudgeCurrent]:
    """The nudge currents of one sample; a frozen nudge takes its from the free-phase outputs `(n_outputs,)` [V].

    Raises
    ------
    StimulusError
        If the circuit has no outputs, the target has another width, a frozen nudge lacks the free-phase outputs, or no
        expression stands for the cost.
    """
    if circuit.outputs is None:
        raise StimulusError(f"a nudge needs outputs, found none in {circuit.title!r}; declare them with set_outputs")
    nodes = list(zip(*(side.tolist() for side in circuit.outputs), strict=True))
    target = nudge.target.detach().to("cpu", torch.float64).numpy()
    if target.shape != (len(nodes),):
        raise StimulusError(
            f"a deck holds one sample: its target must have shape ({len(nodes)},), found {target.shape}"
        )
    if nudge.kind == "frozen":
        return [NudgeCurrent(p, n, i, True) for (p, n), i in zip(nodes, _frozen(nudge, free_outputs), strict=True)]
    elastic = elastic_currents(circuit, nudge, [number(y) for y in target])
    return [NudgeCurrent(p, n, i, False) for (p, n), i in zip(nodes, elastic, strict=True)]


def nudge_cards(circuit: Circuit, currents: list[NudgeCurrent], dialect: Dialect) -> list[str]:
    """One controlled source per output; it drives the current from v₋ through itself into v₊."""
    names, cards = circuit.node_names, []
    for i, current in enumerate(currents):
        ends = (names[current.negative], names[current.positive])
        if current.constant:
            cards.append(dialect.element(f"g_phase_{i}", (*ends, "phase", "0"), current.expression))
        else:
            require_form(dialect, "expressions", f"b_phase_{i}", "use a frozen nudge")
            expression = dialect.in_own_words(switched(current.expression))
            cards.append(dialect.behavioural(f"b_phase_{i}", ends, "i", expression))
    return cards


def switched(current: str) -> str:
    """A current that flows while the node `phase` is at 1 V."""
    return f"({current})*v(phase)"


def current_cards(
    names: Sequence[str], outputs: Iterable[Sequence[int]], currents: Iterable[object], stem: str, dialect: Dialect
) -> Iterator[str]:
    """Cards of sources that carry a current each from v₋ through themselves into v₊ of an output.

    Parameters
    ----------
    names : sequence of str
        Of the circuit's nodes.
    outputs : iterable of pairs of int
        Nodes v₊ and v₋.
    currents : iterable
        Expressions or numbers. [A]
    stem : str
        Of the sources' names.
    dialect : Dialect
        In which they are written.
    """
    for i, ((p, n), current) in enumerate(zip(outputs, currents, strict=True)):
        yield dialect.behavioural(f"{stem}_{i}", (names[n], names[p]), "i", str(current))


def _frozen(nudge: Nudge, free_outputs: np.ndarray | None) -> list[str]:
    if free_outputs is None:
        raise StimulusError(
            "a frozen nudge needs the outputs of the free phase, found none; solve the free phase first"
        )
    free = torch.as_tensor(free_outputs).detach().to("cpu", torch.float64)
    if free.shape != nudge.target.shape or not bool(torch.isfinite(free).all()):
        raise StimulusError(f"free_outputs must be {nudge.target.numel()} finite values, found {free.tolist()}")
    target = nudge.target.detach().to(free)
    return [number(i) for i in Nudge(nudge.strength, target, nudge.cost).current(free).tolist()]


def elastic_currents(circuit: Circuit, nudge: Nudge, targets: Sequence[str]) -> list[str]:
    """Current of an elastic nudge into each v₊ and out of v₋, as an expression of the live outputs. [A]

    Raises
    ------
    StimulusError
        If no expression stands for the cost.
    """
    assert circuit.outputs is not None
    names = circuit.node_names
    return current_expressions(
        nudge, [f"v({names[p]},{names[n]})" for p, n in zip(*circuit.outputs, strict=True)], targets
    )


def is_expressible(cost: Cost) -> bool:
    """Whether ngspice can form the currents of a nudge by this cost itself: see `current_expressions`."""
    stated = states(type(cost), ("error_expressions",), "gradient")
    return stated and cost.error_expressions(["v(a)"], ["0.0"]) is not None


def current_expressions(nudge: Nudge, outputs: Sequence[str], targets: Sequence[str]) -> list[str]:
    """The nudge's current at outputs and targets that are expressions themselves. [A]

    Raises
    ------
    StimulusError
        If no expression stands for the cost.
    """
    stated = nudge.cost.error_expressions(outputs, targets) if is_expressible(nudge.cost) else None
    if stated is None:
        raise StimulusError(
            f"a netlist carries elastic nudges of SquaredError and CrossEntropy, found {type(nudge.cost).__name__}; "
            f"give it error_expressions, or use a frozen nudge"
        )
    errors, divisor = stated
    return [f"({number(nudge.strength / divisor)})*({error})" for error in errors]
