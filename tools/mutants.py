"""The mutants of a Python file: one operator, term, sign, comparison or number changed at a time."""

from __future__ import annotations

import ast
import random
import re
from dataclasses import dataclass
from pathlib import Path

PACKAGES = ("equilibrium", "learning", "devices", "calibration", "circuit", "networks", "dynamics")
ARITHMETIC = {ast.Add: "+", ast.Sub: "-", ast.Mult: "*", ast.Div: "/", ast.FloorDiv: "//", ast.Mod: "%", ast.Pow: "**"}
OPPOSITE = {"+": "-", "-": "+", "*": "/", "/": "*", "//": "/", "%": "*", "**": "*"}
BOUNDARY = {ast.Lt: ("<", "<="), ast.LtE: ("<=", "<"), ast.Gt: (">", ">="), ast.GtE: (">=", ">")}
NEGATED = {ast.Lt: ("<", ">="), ast.LtE: ("<=", ">"), ast.Gt: (">", "<="), ast.GtE: (">=", "<"), ast.Eq: ("==", "!="),
           ast.NotEq: ("!=", "==")}  # fmt: skip
UNCALCULATED = {"frozen", "eq", "kw_only", "slots", "strict", "repr"}
"""Keywords whose truth values choose no number."""


@dataclass(frozen=True)
class Mutant:
    """Bytes `start` to `end` of a file replaced by `new`.

    It stands in the function that begins at line `function`, 0 for none, of the top-level statement of name `owner`.
    """

    path: str
    line: int
    start: int
    end: int
    old: str
    new: str
    kind: str
    function: int
    owner: str

    @property
    def package(self) -> str:
        """One of `PACKAGES`."""
        return self.path.split("/")[1]


class Mutations(ast.NodeVisitor):
    """All mutants of a file."""

    def __init__(self, path: str, source: bytes):
        self.found: list[Mutant] = []
        self._path, self._source = path, source
        self._starts = [0, *(m.end() for m in re.finditer(rb"\n", source))]
        self._functions, self._owner = [0], ""
        for statement in ast.parse(source).body:
            self._owner = _name_of(statement)
            self.visit(statement)

    def _span(self, node: ast.expr) -> tuple[int, int]:
        assert node.end_lineno is not None
        assert node.end_col_offset is not None
        return self._starts[node.lineno - 1] + node.col_offset, self._starts[node.end_lineno - 1] + node.end_col_offset

    def _text(self, node: ast.expr) -> str:
        start, end = self._span(node)
        return self._source[start:end].decode()

    def _add(self, node: ast.expr, start: int, end: int, new: str, kind: str) -> None:
        old = self._source[start:end].decode()
        self.found.append(Mutant(self._path, node.lineno, start, end, old, new, kind, self._functions[-1], self._owner))

    def _whole(self, node: ast.expr, new: str, kind: str) -> None:
        self._add(node, *self._span(node), new, kind)

    def _between(self, node: ast.expr, left: ast.expr, right: ast.expr, old: str, new: str, kind: str) -> None:
        """Replace an operator between two operands."""
        start, end = self._span(left)[1], self._span(right)[0]
        at = self._source[start:end].find(old.encode())
        if at >= 0:
            self._add(node, start + at, start + at + len(old), new, kind)

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        self._functions.append(min([node.lineno, *(d.lineno for d in node.decorator_list)]))
        for part in (*node.args.defaults, *filter(None, node.args.kw_defaults), *node.body):
            self.visit(part)
        self._functions.pop()

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        for part in node.body:
            self.visit(part)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        if node.value is not None:
            self.visit(node.value)

    def visit_Raise(self, node: ast.Raise) -> None:
        """Messages are tested by their words, not counted here."""

    def visit_JoinedStr(self, node: ast.JoinedStr) -> None:
        """As above."""

    def visit_keyword(self, node: ast.keyword) -> None:
        if node.arg not in UNCALCULATED:
            self.visit(node.value)

    def visit_BinOp(self, node: ast.BinOp) -> None:
        symbol = ARITHMETIC.get(type(node.op))
        words = any(isinstance(n, ast.Constant | ast.JoinedStr) and not _number(n) for n in (node.left, node.right))
        if symbol is not None and not words:
            self._between(node, node.left, node.right, symbol, OPPOSITE[symbol], "arithmetic")
            self._whole(node, f"({self._text(node.left)})", "removed term")
            if symbol in "+*":
                self._whole(node, f"({self._text(node.right)})", "removed term")
        self.generic_visit(node)

    def visit_AugAssign(self, node: ast.AugAssign) -> None:
        symbol = ARITHMETIC.get(type(node.op))
        if symbol is not None:
            self._between(node.value, node.target, node.value, f"{symbol}=", f"{OPPOSITE[symbol]}=", "arithmetic")
        self.generic_visit(node)

    def visit_Compare(self, node: ast.Compare) -> None:
        operands = [node.left, *node.comparators]
        for k, operator in enumerate(node.ops):
            for table, kind in ((BOUNDARY, "boundary"), (NEGATED, "comparison")):
                if type(operator) in table:
                    self._between(node, operands[k], operands[k + 1], *table[type(operator)], kind)
        self.generic_visit(node)

    def visit_UnaryOp(self, node: ast.UnaryOp) -> None:
        if isinstance(node.op, ast.USub | ast.Not):
            self._whole(node, f"({self._text(node.operand)})", "sign")
        self.generic_visit(node)

    def visit_BoolOp(self, node: ast.BoolOp) -> None:
        old, new = ("and", "or") if isinstance(node.op, ast.And) else ("or", "and")
        self._between(node, node.values[0], node.values[1], old, new, "logic")
        self.generic_visit(node)

    def visit_Constant(self, node: ast.Constant) -> None:
        if isinstance(node.value, bool):
            self._whole(node, str(not node.value), "constant")
        elif isinstance(node.value, int):
            self._whole(node, str(node.value + 1), "constant")
        elif isinstance(node.value, float):
            self._whole(node, repr(1.15 * node.value or 1.0), "constant")


def _name_of(statement: ast.stmt) -> str:
    """What a top-level statement defines."""
    if isinstance(statement, ast.Assign):
        statement = ast.Expr(statement.targets[0])
    target = getattr(statement, "target", getattr(statement, "value", statement))
    return getattr(target, "id", getattr(statement, "name", ""))


def _number(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, int | float)


def mutants_of(tree: Path, path: str) -> list[Mutant]:
    """All mutants of a file."""
    return Mutations(path, (tree / path).read_bytes()).found


def sample(tree: Path, count: int, seed: int) -> list[Mutant]:
    """`count` mutants of each package at random, the packages in turn, so that any beginning is a sample too."""
    drawn = []
    for package in PACKAGES:
        every = []
        for path in sorted((tree / "analog_ep" / package).rglob("*.py")):
            every += mutants_of(tree, str(path.relative_to(tree)))
        drawn.append(random.Random(f"{seed} {package}").sample(every, count))
    return [mutant for group in zip(*drawn, strict=True) for mutant in group]
