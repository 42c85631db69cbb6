"""A bounded parser of the expressions in netlists: text becomes a tree of terms, and nothing is ever executed.

term      := choice
choice    := disjunction ["?" choice ":" choice]
...       := || , && , comparison , + - , * / , sign and ! , ^ and ** (to the left, as ngspice has it)
atom      := number | name | name(arguments) | v(node[,node]) | i(source) | (term) | {term} | 'term'
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NoReturn

from analog_ep.errors import NetlistError
from analog_ep.support.numbers import read_number

LONGEST = 5_000
"""Characters of an expression."""

DEEPEST = 50
"""Brackets and signs within each other."""

MOST_OPERATORS = 250
"""Operators of an expression."""

COMPARISONS = ("==", "!=", "<>", "<=", ">=", "<", ">")

_TOKEN = re.compile(
    r"\s*(?:(?P<number>(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?[\w.]*)|(?P<name>[a-zA-Z_]\w*)"
    r"|(?P<sign>\*\*|==|!=|<>|<=|>=|&&|\|\||[-+*/^()\[\]{}?:<>!,']))"
)
_NODE = re.compile(r"\s*([\w.!#+\-\[\]]+)\s*")
_LEVELS: tuple[tuple[str, ...], ...] = (("||",), ("&&",), COMPARISONS, ("+", "-"), ("*", "/"))
_CLOSES = {"(": ")", "{": "}", "'": "'"}


@dataclass(frozen=True)
class Term:
    """A node of the tree.

    Attributes
    ----------
    kind : str
        "number", "name", "call", "voltage", "current", an operator, "neg", "!" or "?".
    parts : tuple of Term
        Operands or arguments.
    value : float or str or tuple of str
        Number, name of a parameter or function, nodes, or source.
    """

    kind: str
    parts: tuple[Term, ...] = ()
    value: float | str | tuple[str, ...] = ""

    def walk(self) -> Iterator[Term]:
        """The term itself and all below it."""
        yield self
        for part in self.parts:
            yield from part.walk()


def parse(text: str, quantities: bool = False) -> Term:
    """The tree of an expression.

    Parameters
    ----------
    text : str
        Without the braces or quotes around it.
    quantities : bool
        Whether voltages ``v(a)``, ``v(a,b)`` and currents ``i(vs)`` may stand in it.

    Raises
    ------
    NetlistError
        Without a place: if it is no expression, or too long or too deep.
    """
    if len(text) > LONGEST:
        raise NetlistError(f"an expression must be of at most {LONGEST} characters, found {len(text)}")
    parser = _Parser(text, quantities)
    term = parser.choice()
    parser.end()
    return term


class _Parser:
    def __init__(self, text: str, quantities: bool):
        self.text, self.quantities = text, quantities
        self.at, self.depth, self.chained, self.quoted = 0, 0, 0, False
        self.kind, self.token = "", ""
        self._advance()

    def choice(self) -> Term:
        self._deeper()
        condition = self._binary(0)
        if self.token == "?":
            self._advance()
            # How ngspice groups a choice within another depends on where it stands.
            yes = self._binary(0)
            self._expect(":")
            no = self.choice() if self.quantities else self._binary(0)
            if self.token == "?":
                self._refuse("a choice within another must stand in brackets")
            condition = Term("?", (condition, yes, no))
        self.depth -= 1
        return condition

    def end(self) -> None:
        if self.kind != "end":
            self._refuse("an operator must stand between two values")

    def _binary(self, level: int) -> Term:
        if level == len(_LEVELS):
            return self._signed()
        left = self._binary(level + 1)
        operators, compared = _LEVELS[level], False
        while self.kind == "sign" and self.token in operators:
            self.chained += 1
            if self.chained > MOST_OPERATORS:
                raise NetlistError(f"an expression must have at most {MOST_OPERATORS} operators, found more")
            if compared and operators is COMPARISONS:
                self._refuse("comparisons of comparisons must stand in brackets")
            compared, operator = True, "!=" if self.token == "<>" else self.token
            self._advance()
            left = Term(operator, (left, self._binary(level + 1)))
        return left

    def _signed(self) -> Term:
        if self.token in ("-", "+", "!") and self.kind == "sign":
            sign = self.token
            self._advance()
            self._deeper()
            part = self._signed()
            self.depth -= 1
            return part if sign == "+" else Term("neg" if sign == "-" else "!", (part,))
        return self._power()

    def _power(self) -> Term:
        left = self._atom()
        while self.token in ("^", "**"):
            self.chained += 1
            self._advance()
            signed = self.token in ("-", "+")
            right = self._signed() if signed else self._atom()
            if signed and self.token in ("^", "**"):
                self._refuse("powers of powers must stand in brackets")
            left = Term("^", (left, right))
        return left

    def _atom(self) -> Term:
        kind, token = self.kind, self.token
        if kind == "number":
            self._advance()
            return Term("number", value=read_number(token))
        if kind == "name":
            return self._named(token.lower())
        if token in _CLOSES and not (token == "'" and self.quoted):
            self._advance()
            outer, self.quoted = self.quoted, self.quoted or token == "'"
            inside = self.choice()
            self._expect(_CLOSES[token])
            self.quoted = outer
            return inside
        self._refuse("a value must be a number, a name, a function or a bracket")

    def _named(self, name: str) -> Term:
        if self.quantities and name in ("v", "i") and self.text[self.at :].lstrip().startswith("("):
            self.at = self.text.index("(", self.at) + 1
            return self._quantity(name)
        self._advance()
        if self.token != "(":
            return Term("name", value=name)
        self._advance()
        arguments = [self.choice()]
        while self.token == ",":
            self._advance()
            arguments.append(self.choice())
        self._expect(")")
        return Term("call", tuple(arguments), name)

    def _quantity(self, name: str) -> Term:
        """A voltage or current; names of nodes hold characters that are operators elsewhere."""
        inside, closed, _ = self.text[self.at :].partition(")")
        words = [_NODE.fullmatch(word) for word in inside.split(",")]
        if not closed or len(words) > (2 if name == "v" else 1) or not all(words):
            raise NetlistError(
                f"{name}(…) in an expression must name {'one node or two' if name == 'v' else 'a voltage source'} of "
                f"letters, digits and _.!#+-[], found {name}({inside[:30]}"
            )
        self.at += len(inside) + 1
        self._advance()
        names = tuple(word[1].lower() for word in words if word is not None)
        return Term("voltage" if name == "v" else "current", value=names)

    def _advance(self) -> None:
        match = _TOKEN.match(self.text, self.at)
        if match is None:
            rest = self.text[self.at :].strip()
            if rest:
                raise NetlistError(
                    f"an expression must be of numbers, names, brackets and + - * / ^ ** == != < > <= >= && || ! ? :, "
                    f"found {rest[:20]!r}"
                )
            self.kind, self.token, self.at = "end", "", len(self.text)
            return
        self.at, self.kind, self.token = match.end(), str(match.lastgroup), match[str(match.lastgroup)]

    def _expect(self, token: str) -> None:
        if self.token != token:
            self._refuse(f"{token!r} must stand here")
        self._advance()

    def _deeper(self) -> None:
        self.depth += 1
        if self.depth > DEEPEST:
            raise NetlistError(f"an expression must have at most {DEEPEST} brackets and signs within each other")

    def _refuse(self, what: str) -> NoReturn:
        found = self.token or "its end"
        raise NetlistError(f"in an expression {what}, found {found!r} in {self.text[:60]!r}")
