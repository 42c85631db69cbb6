"""Measures the shape of the package: who asks for kinds by name, how long things are, how imports run.

python tools/structure.py            a table of figures
python tools/structure.py --list     and the places behind the first of them
"""

from __future__ import annotations

import argparse
import ast
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

PACKAGE = Path(__file__).resolve().parent.parent / "analog_ep"
sys.setrecursionlimit(10_000)

BRANCH_KINDS = {
    "Conductances",
    "Diodes",
    "Capacitors",
    "VoltageSources",
    "CurrentSources",
    "VoltageControlledVoltageSources",
    "VoltageControlledCurrentSources",
    "NonlinearCurrentSources",
    "CurrentControlledCurrentSources",
    "CurrentControlledVoltageSources",
    "Amplifiers",
}
NETWORKS = {"ResistiveNetwork", "HopfieldNetwork"}


@cache
def trees() -> dict[str, ast.Module]:
    """Syntax trees by module, such as "analog_ep.circuit.branches"."""
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = ast.parse(path.read_text(encoding="utf-8"))
    return found


def own_classes() -> set[str]:
    """Classes of the package that take part in a hierarchy of its own: they have a subclass or a parent here."""
    bases = {
        node.name: {base.id for base in node.bases if isinstance(base, ast.Name)}
        for tree in trees().values()
        for node in ast.walk(tree)
        if isinstance(node, ast.ClassDef)
    }
    children = {name for name, parents in bases.items() if parents & bases.keys()}
    return children | {parent for parents in bases.values() for parent in parents if parent in bases}


def type_questions() -> Iterator[tuple[str, int, str]]:
    """Places (module, line, class) that ask for a class of an own hierarchy by isinstance, issubclass or match."""
    own = own_classes()
    for module, tree in trees().items():
        tables = _tuples_of_names(tree)
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and _name(node.func) in ("isinstance", "issubclass") and len(node.args) == 2:
                for name in sorted(_names(node.args[1], tables) & own):
                    yield module, node.lineno, name
            elif isinstance(node, ast.MatchClass) and _name(node.cls) in own:
                yield module, node.cls.lineno, str(_name(node.cls))


def _tuples_of_names(tree: ast.Module) -> dict[str, set[str]]:
    """Names that stand for tuples or tables of types at the top of a module."""
    return {
        target.id: {n.id for n in ast.walk(node.value) if isinstance(n, ast.Name)}
        for node in tree.body
        if isinstance(node, ast.Assign)
        for target in node.targets
        if isinstance(target, ast.Name)
    }


def _names(node: ast.expr, tables: dict[str, set[str]]) -> set[str]:
    found = {n.id for n in ast.walk(node) if isinstance(n, ast.Name)}
    return found | {name for table in found for name in tables.get(table, ())}


def _name(node: ast.expr) -> str | None:
    return node.id if isinstance(node, ast.Name) else node.attr if isinstance(node, ast.Attribute) else None


def modules_naming(names: set[str]) -> list[str]:
    """Modules whose code mentions one of some classes, besides re-exports in an ``__init__``."""
    return [
        module
        for module, tree in trees().items()
        if not _is_facade(module) and any(isinstance(node, ast.Name) and node.id in names for node in ast.walk(tree))
    ]


@cache
def imports(type_checking: bool = False) -> dict[str, set[str]]:
    """Own modules that each module imports; those for annotations alone only where asked for."""
    known, found = trees().keys(), {}
    for module, tree in trees().items():
        skipped = set() if type_checking else _under_type_checking(tree)
        wanted: set[str] = set()
        for node in ast.walk(tree):
            if node in skipped:
                continue
            if isinstance(node, ast.ImportFrom) and node.module:
                wanted |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
            elif isinstance(node, ast.Import):
                wanted |= {alias.name for alias in node.names}
        found[module] = {name for name in wanted if name in known and name != module}
    return found


def _under_type_checking(tree: ast.Module) -> set[ast.AST]:
    blocks = [node for node in ast.walk(tree) if isinstance(node, ast.If) and _name(node.test) == "TYPE_CHECKING"]
    return {inner for block in blocks for statement in block.body for inner in ast.walk(statement)}


def cycles(graph: dict[str, set[str]]) -> list[list[str]]:
    """Strongly connected components of more than one module (Tarjan, SIAM J. Comput. 1:146, 1972)."""
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    found = []

    def visit(node: str) -> None:
        index[node] = low[node] = len(index)
        stack.append(node)
        for other in graph[node]:
            if other not in index:
                visit(other)
                low[node] = min(low[node], low[other])
            elif other in stack:
                low[node] = min(low[node], index[other])
        if low[node] == index[node]:
            component = []
            while not component or component[-1] != node:
                component.append(stack.pop())
            if len(component) > 1:
                found.append(sorted(component))

    for node in graph:
        if node not in index:
            visit(node)
    return found


def longest_chain(graph: dict[str, set[str]]) -> list[str]:
    """Longest way along imports; of a graph without cycles."""

    @cache
    def below(node: str) -> tuple[str, ...]:
        return (node, *max((below(other) for other in graph[node]), key=len, default=()))

    return list(max(map(below, graph), key=len))


def figures() -> dict[str, object]:
    """All figures by what they count."""
    at_run_time, with_annotations = _without_facades(imports()), _without_facades(imports(True))
    lengths = [len(path.read_text(encoding="utf-8").splitlines()) for path in PACKAGE.rglob("*.py")]
    functions = [
        (node, ast.get_docstring(node, clean=False))
        for tree in trees().values()
        for node in ast.walk(tree)
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
    ]
    codes = [
        (node.end_lineno or 0) - node.lineno + 1 - (0 if text is None else len(text.splitlines()))
        for node, text in functions
    ]
    found = cycles(at_run_time)
    return {
        "isinstance on own hierarchies": len(list(type_questions())),
        "modules that name a branch kind": len(modules_naming(BRANCH_KINDS)),
        "modules that name a network class": len(modules_naming(NETWORKS)),
        "modules at the top": len([path for path in PACKAGE.glob("*.py") if not path.name.startswith("__")]),
        "cycles of modules at run time": len(found),
        "cycles with annotations": len(cycles(with_annotations)),
        "longest chain of imports": "-" if found else len(longest_chain(at_run_time)),
        "longest file": max(lengths),
        "functions": len(functions),
        "functions over 50 lines of code": sum(length > 50 for length in codes),
    }


def _without_facades(graph: dict[str, set[str]]) -> dict[str, set[str]]:
    return {m: {o for o in others if not _is_facade(o)} for m, others in graph.items() if not _is_facade(m)}


def _is_facade(module: str) -> bool:
    """Whether a module only re-exports: an ``__init__``."""
    return (PACKAGE.parent / Path(*module.split(".")) / "__init__.py").exists()


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--list", action="store_true", help="also the places of type questions")
    options = parser.parse_args()
    if options.list:
        for module, line, name in type_questions():
            print(f"{module}:{line} {name}")
    for what, value in figures().items():
        print(f"{what:42} {value}")


if __name__ == "__main__":
    main()
