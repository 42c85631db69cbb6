"""Currents that follow an expression of voltages: a netlist's B sources, and its E and G with a value."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, make_dataclass
from functools import lru_cache
from typing import Any, ClassVar

import numpy as np

from analog_ep.circuit import CurrentLaw, NodePair
from analog_ep.circuit.nodes import sees_own_ends
from analog_ep.designs.differentiation import value_and_slopes
from analog_ep.designs.expressions import Term

MOST_CONTROLS = 8
"""Different voltages in an expression, sums of them aside: a solver looks at all their corners."""

_SHARED = frozenset(["exp", "sqrt", "abs", "min", "max", "sin", "cos", "tanh"])


@dataclass(frozen=True, eq=False)
class ExpressionSources(CurrentLaw):
    """The current, from the positive node through the source to the negative one, follows one expression. [A]

    Elements of a group share the expression's form; the voltages and the numbers in it are each element's own. A class
    of its own stands for each form, see `expression_kind`.
    """

    positive: Any
    negative: Any

    form: ClassVar[Term]
    n_controls: ClassVar[int]
    n_constants: ClassVar[int]
    has_own_supply: ClassVar[bool] = True
    # A designer's expression may divide by a voltage. Its slopes are derived from it and need no trial.
    is_defined_everywhere: ClassVar[bool] = False

    def controls(self) -> Sequence[NodePair]:
        return [(getattr(self, f"control_{k}"), getattr(self, f"reference_{k}")) for k in range(self.n_controls)]

    def conducts(self) -> np.ndarray:
        return sees_own_ends(self.ends(), self.controls())

    def current(self, *volts: np.ndarray) -> np.ndarray:
        return np.asarray(self._evaluated(volts)[0])

    def slopes(self, *volts: np.ndarray) -> tuple[np.ndarray, ...]:
        slopes = self._evaluated(volts)[1]
        return tuple(np.asarray(slopes.get(k, np.zeros_like(volt))) for k, volt in enumerate(volts))

    def noise_density(self, kelvin: float, *volts: np.ndarray) -> np.ndarray:
        return np.zeros(len(self))

    def expressions(self, *volts: Sequence[str]) -> Sequence[str] | None:
        constants = [getattr(self, f"constant_{k}").tolist() for k in range(self.n_constants)]
        return [
            _text(self.form, [texts[i] for texts in volts], [numbers[i] for numbers in constants])
            for i in range(len(self))
        ]

    def _evaluated(self, volts: Sequence[np.ndarray]) -> tuple[Any, Mapping[int, Any]]:
        constants = [getattr(self, f"constant_{k}") for k in range(self.n_constants)]
        with np.errstate(all="ignore"):
            return value_and_slopes(self.form, volts, constants)

    def __reduce__(self):
        names = ("label", *self.terminals, *self.values)
        return _restored, (self.form, self.n_controls, self.n_constants, {n: getattr(self, n) for n in names})


def _restored(form: Term, n_controls: int, n_constants: int, values: dict[str, Any]) -> ExpressionSources:
    return expression_kind(form, n_controls, n_constants)(**values)


@lru_cache(maxsize=4096)
def expression_kind(form: Term, n_controls: int, n_constants: int) -> type[ExpressionSources]:
    """The kind of branches whose currents have an expression of this form.

    Parameters
    ----------
    form : Term
        In which "control" and "constant" stand for voltages and numbers.
    n_controls, n_constants : int
        How many of each. Node k of a control and its reference are the fields `control_k` and `reference_k`, a number
        is `constant_k`.
    """
    nodes = [f"{end}_{k}" for k in range(n_controls) for end in ("control", "reference")]
    numbers = [f"constant_{k}" for k in range(n_constants)]
    namespace = {
        "form": form,
        "n_controls": n_controls,
        "n_constants": n_constants,
        "terminals": ("positive", "negative", *nodes),
        "values": tuple(numbers),
    }
    fields = [(name, Any, field()) for name in (*nodes, *numbers)]
    return make_dataclass(
        "ExpressionSources", fields, bases=(ExpressionSources,), frozen=True, eq=False, namespace=namespace
    )


@dataclass(frozen=True)
class Formed:
    """An expression taken apart.

    Attributes
    ----------
    form : Term
        With "control" and "constant" leaves.
    controls : tuple of (str, str)
        Node and reference of each, by name.
    constants : tuple of float
        Its numbers.
    """

    form: Term
    controls: tuple[tuple[str, str], ...]
    constants: tuple[float, ...]


def formed(term: Term) -> Formed:
    """Take the voltages and numbers out of an expression, whose "voltage" leaves name a node and its reference."""
    controls: dict[tuple[str, str], int] = {}
    constants: list[float] = []

    def taken(term: Term) -> Term:
        if term.kind == "voltage":
            pair = (str(term.value[0]), str(term.value[1]))  # pyright: ignore[reportIndexIssue]
            return Term("control", value=controls.setdefault(pair, len(controls)))
        if term.kind == "number":
            constants.append(float(term.value))  # pyright: ignore[reportArgumentType]
            return Term("constant", value=len(constants) - 1)
        return Term(term.kind, tuple(taken(part) for part in term.parts), term.value)

    form = taken(term)
    return Formed(form, tuple(controls), tuple(constants))


def _text(term: Term, volts: Sequence[str], constants: Sequence[float]) -> str:
    """An expression in the words that simulators share, as far as there are any."""
    if term.kind == "constant":
        return f"({constants[int(term.value)]!r})"  # pyright: ignore[reportArgumentType]
    if term.kind == "control":
        return volts[int(term.value)]  # pyright: ignore[reportArgumentType]
    parts = [_text(part, volts, constants) for part in term.parts]
    if term.kind == "call":
        return _call(str(term.value), parts)
    if term.kind == "neg":
        return f"(-{parts[0]})"
    if term.kind == "^":
        return _power(parts, term, constants)
    if term.kind in ("+", "-", "*", "/"):
        return f"({parts[0]}{term.kind}{parts[1]})"
    # Comparisons have other forms in each simulator; the writer says so.
    return f"choice({','.join(parts)})"


def _call(name: str, parts: list[str]) -> str:
    x = parts[0]
    shared = {
        "tan": f"(sin({x})/cos({x}))",
        "sinh": f"(0.5*(exp({x})-exp(-({x}))))",
        "cosh": f"(0.5*(exp({x})+exp(-({x}))))",
        "uramp": f"max({x},0.0)",
    }
    return shared.get(name, f"{name}({','.join(parts)})")


def _power(parts: list[str], term: Term, constants: Sequence[float]) -> str:
    exponent = term.parts[1]
    value = constants[int(exponent.value)] if exponent.kind == "constant" else 0.5  # pyright: ignore[reportArgumentType]
    if exponent.kind == "constant" and value in (1.0, 2.0, 3.0, 4.0):
        # Of the magnitude, as ngspice has it.
        return f"({'*'.join([f'abs({parts[0]})'] * int(value))})"
    if exponent.kind == "constant" and value == 0.5:
        return f"sqrt(abs({parts[0]}))"
    return f"pow({parts[0]},{parts[1]})"
