"""Mutation score of the numerics: one operator, sign or number is changed at a time, and a test has to fail.

    python tools/mutate.py trace FOLDER [TEST_FILE ...]     which test calls which function, and for how long
    python tools/mutate.py run FOLDER --count 60 --seed 0   a random sample of each package, against those tests
    python tools/mutate.py again FOLDER                     those that survived, against the tests as they are now
    python tools/mutate.py report FOLDER                    scores with their standard errors, and the survivors

FOLDER keeps a copy of the tracked files, in which the changes are made, and the results; the checkout is only read.
A mutant meets the tests that call the function it stands in, the quickest first, until one fails. The process that
draws the mutants has imported the libraries but not the package: every mutant is a fork of it.
"""

from __future__ import annotations

import argparse
import ast
import importlib
import json
import math
import os
import random
import re
import resource
import shutil
import signal
import subprocess
import sys
import time
import types
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("equilibrium", "learning", "devices", "calibration")
ARITHMETIC = {ast.Add: "+", ast.Sub: "-", ast.Mult: "*", ast.Div: "/", ast.FloorDiv: "//", ast.Mod: "%", ast.Pow: "**"}
OPPOSITE = {"+": "-", "-": "+", "*": "/", "/": "*", "//": "/", "%": "*", "**": "*"}
BOUNDARY = {ast.Lt: ("<", "<="), ast.LtE: ("<=", "<"), ast.Gt: (">", ">="), ast.GtE: (">=", ">")}
NEGATED = {ast.Lt: ("<", ">="), ast.LtE: ("<=", ">"), ast.Gt: (">", "<="), ast.GtE: (">=", "<"), ast.Eq: ("==", "!="),
           ast.NotEq: ("!=", "==")}  # fmt: skip
UNCALCULATED = {"frozen", "eq", "kw_only", "slots", "strict", "repr"}
"""Keywords whose truth values choose no number."""

LIBRARIES = ("torch", "scipy.optimize", "scipy.stats", "numba", "pydantic", "matplotlib.figure", "rich")

FIRST_SECONDS, ALL_SECONDS = 3.0, 8.0
"""Of tests that a mutant meets: the quickest in a process of their own, and at most, as timed by `trace`."""

CPU_SECONDS, WALL_SECONDS = 40, 600
"""After which a mutant counts as caught, since it does not end."""


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


class Tracer:
    """A plugin of pytest that notes which functions of the package each test calls."""

    def __init__(self, root: Path):
        self.tests: dict[str, dict] = {}
        self._package, self._root = f"{root}/analog_ep/", f"{root}/"
        self._called: dict[int, types.CodeType] = {}
        self._unusable: set[str] = set()

    def _event(self, frame: types.FrameType, _event: str, _argument: object) -> None:
        if id(frame.f_code) not in self._called:
            self._called[id(frame.f_code)] = frame.f_code

    def pytest_runtest_logstart(self) -> None:
        """Begin."""
        self._called.clear()
        self._began = time.process_time()
        sys.settrace(self._event)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """A test that fails or is skipped catches no mutant."""
        if not report.passed:
            self._unusable.add(report.nodeid)

    def pytest_runtest_logfinish(self, nodeid: str) -> None:
        """Keep what was called."""
        sys.settrace(None)
        codes = [code for code in self._called.values() if code.co_filename.startswith(self._package)]
        functions = sorted({f"{c.co_filename[len(self._root) :]}:{c.co_firstlineno}" for c in codes})
        if nodeid not in self._unusable:
            self.tests[nodeid] = {"seconds": time.process_time() - self._began, "functions": functions}


def child(work) -> tuple[int, float]:
    """Status and seconds of a function in a fork: the exit code, or minus the signal that ended it."""
    began = time.monotonic()
    pid = os.fork()
    if pid == 0:
        os.setpgid(0, 0)
        os._exit(work())
    while time.monotonic() - began < WALL_SECONDS:
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status), time.monotonic() - began
        time.sleep(0.05)
    os.killpg(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    return -signal.SIGKILL, time.monotonic() - began


def pytest_in(folder: Path, arguments: Sequence[str], log: Path, plugins: Sequence[object] = ()) -> int:
    """Run tests in the copy, in this process."""
    tree = folder / "tree"
    os.chdir(tree)
    sys.path[:0] = [str(tree)]
    sys.argv = ["pytest"]
    with log.open("a") as output:
        os.dup2(output.fileno(), 1)
        os.dup2(output.fileno(), 2)
    options = ["-q", "-n", "0", "-p", "no:cacheprovider", "--tb=line"]
    return int(pytest.main([*options, *arguments], plugins=list(plugins)))


def copy_tree(folder: Path) -> None:
    """The tracked files as they are now, compiled so that Python notices a change by its text, not by its time."""
    names = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True).stdout.decode()
    for name in names.split("\0"):
        if (ROOT / name).is_file():
            (folder / "tree" / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, folder / "tree" / name)
    command = [sys.executable, "-m", "compileall", "-q", "--invalidation-mode", "checked-hash", "analog_ep"]
    subprocess.run(command, cwd=folder / "tree", check=True)


def trace(folder: Path, files: Sequence[str]) -> None:
    """Run tests once and add what they call to `tests.json`."""
    copy_tree(folder)
    kept = folder / "tests.json"
    known = json.loads(kept.read_text()) if kept.exists() else {}

    def work() -> int:
        tracer = Tracer(folder / "tree")
        code = pytest_in(folder, files or ["tests"], folder / "trace.log", [tracer])
        again = tuple(f"{name}::" for name in files) or ("tests/",)
        others = {name: test for name, test in known.items() if not name.startswith(again)}
        kept.write_text(json.dumps(others | tracer.tests))
        return code

    pid = os.fork()
    if pid == 0:
        os._exit(work())
    os.waitpid(pid, 0)


def tests_of(tree: Path, mutant: Mutant, tests: dict[str, dict]) -> list[str]:
    """Tests that call the mutant's function; else its module or one that imports it, or name what it defines."""
    calls, files = {f"{mutant.path}:{mutant.function}"}, set()
    if not any(calls.intersection(test["functions"]) for test in tests.values()):
        # Code at module level, and compiled functions, run without a call that can be seen.
        near = importers(tree, mutant.path)
        calls = {f for test in tests.values() for f in test["functions"] if f.split(":")[0] in near}
        files = {file for file in {name.split("::")[0] for name in tests} if names(tree / file, mutant.owner)}
    calling = [n for n, test in tests.items() if n.split("::")[0] in files or calls.intersection(test["functions"])]
    return sorted(calling, key=lambda name: tests[name]["seconds"] * (20 + len(tests[name]["functions"])))


def names(file: Path, word: str) -> bool:
    """Whether a file holds a word."""
    return bool(word) and re.search(rf"\b{word}\b", file.read_text()) is not None


def importers(tree: Path, path: str) -> set[str]:
    """A module that other modules see called, or else the files that import it."""
    words = f"from {path.removesuffix('.py').replace('/', '.')} import"
    files = [file for file in (tree / "analog_ep").rglob("*.py") if words in file.read_text()]
    return {path, *(str(file.relative_to(tree)) for file in files)}


def batches(names: Sequence[str], tests: dict[str, dict]) -> list[list[str]]:
    """The first few tests, which most often decide, and the others up to a limit of time."""
    first, then, seconds = [], [], 0.0
    for name in names:
        seconds += tests[name]["seconds"]
        if seconds < FIRST_SECONDS or not first:
            first.append(name)
        elif seconds < ALL_SECONDS:
            then.append(name)
    return [batch for batch in (first, then) if batch]


def meet(folder: Path, mutant: Mutant, tests: dict[str, dict]) -> dict:
    """Put a mutant into the copy, run its tests, and take it out again."""
    names = tests_of(folder / "tree", mutant, tests)
    path = folder / "tree" / mutant.path
    original = path.read_bytes()
    path.write_bytes(original[: mutant.start] + mutant.new.encode() + original[mutant.end :])
    log = folder / "mutant.log"
    outcome, seconds, ran = "survived", 0.0, 0
    try:
        for batch in batches(names, tests):
            log.unlink(missing_ok=True)
            code, took = child(lambda batch=batch: _limited(folder, batch, log))
            seconds, ran = seconds + took, ran + len(batch)
            if code != 0:
                outcome = outcome_of(code, log)
                break
    finally:
        path.write_bytes(original)
    words = [line for line in log.read_text().splitlines() if line.startswith("FAILED")] if names else []
    by = words[0].split(" - ")[0][7:] if words and outcome == "killed" else ""
    return {**asdict(mutant), "outcome": outcome, "seconds": seconds, "ran": ran, "of": len(names), "by": by}


def outcome_of(code: int, log: Path) -> str:
    """What an exit status of pytest, not 0, says of a mutant."""
    if code < 0:
        return "endless"
    # A module of tests that fails while it is imported leaves the names of its tests unknown.
    imports = re.search(r"^ERROR tests/", log.read_text(), re.MULTILINE)
    return "killed" if code in (1, 2) or (code == 4 and imports) else f"error {code}"


def _limited(folder: Path, names: Sequence[str], log: Path) -> int:
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_SECONDS, CPU_SECONDS))
    sys.dont_write_bytecode = True
    return pytest_in(folder, ["-x", *names], log)


def run(folder: Path, mutants: Sequence[Mutant], kept: Path) -> None:
    """Meet every mutant that has no result yet, a line of JSON each."""
    tests = json.loads((folder / "tests.json").read_text())
    done = {(r["path"], r["start"], r["end"], r["new"]) for r in results(kept)}
    for mutant in mutants:
        if (mutant.path, mutant.start, mutant.end, mutant.new) in done:
            continue
        result = meet(folder, mutant, tests)
        with kept.open("a") as file:
            file.write(json.dumps(result) + "\n")
        print(f"{result['outcome']:9} {result['seconds']:5.0f} s  {described(result)}", flush=True)


def results(kept: Path) -> list[dict]:
    """Of earlier runs."""
    return [json.loads(line) for line in kept.read_text().splitlines()] if kept.exists() else []


def described(result: dict) -> str:
    """A mutant in a line."""
    old, new = (" ".join(result[key].split()) for key in ("old", "new"))
    return (
        f"{result['path']}:{result['line']} {result['kind']}: {old[:60]} → {new[:60]} ({result['ran']}/{result['of']})"
    )


def again(folder: Path) -> None:
    """Let the survivors meet the tests as they are now, in the code as it is now."""
    old = {r["path"]: (folder / "tree" / r["path"]).read_text() for r in results(folder / "results.jsonl")}
    survivors = [r for r in results(folder / "results.jsonl") if r["outcome"] == "survived"]
    copy_tree(folder)
    found = [relocated(folder / "tree", r, old[r["path"]]) for r in survivors]
    run(folder, [mutant for mutant in found if mutant is not None], folder / "again.jsonl")


def relocated(tree: Path, result: dict, old: str) -> Mutant | None:
    """The same change of the same line in a file that has been edited since, if it is still there."""
    line = old.splitlines()[result["line"] - 1].strip()
    lines = (tree / result["path"]).read_text().splitlines()
    kind = (result["old"], result["new"], result["kind"])
    alike = [
        m
        for m in mutants_of(tree, result["path"])
        if (m.old, m.new, m.kind) == kind and lines[m.line - 1].strip() == line
    ]
    return min(alike, key=lambda m: abs(m.start - result["start"]), default=None)


def report(folder: Path) -> None:
    """Scores by package, and what survived."""
    first = results(folder / "results.jsonl")
    later = {(r["path"], r["start"], r["end"], r["new"]): r["outcome"] for r in results(folder / "again.jsonl")}
    for package in PACKAGES:
        own = [r for r in first if r["path"].split("/")[1] == package]
        for words, outcomes in (
            ("", [r["outcome"] for r in own]),
            (" now", [later.get((r["path"], r["start"], r["end"], r["new"]), r["outcome"]) for r in own]),
        ):
            n, alive = len(outcomes), outcomes.count("survived")
            share = 1 - alive / max(n, 1)
            error = math.sqrt(share * (1 - share) / max(n, 1))
            print(f"{package + words:20} {n - alive:3} of {n:3} caught: {100 * share:.0f} ± {100 * error:.0f} %")
    for r in first:
        if later.get((r["path"], r["start"], r["end"], r["new"]), r["outcome"]) == "survived":
            print(described(r))


def main() -> None:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("command", choices=["trace", "run", "again", "report"])
    parser.add_argument("folder", type=Path)
    parser.add_argument("files", nargs="*")
    parser.add_argument("--count", type=int, default=60)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    folder = options.folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    os.environ |= {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(folder / "tree")}
    for name in (
        "torch",
        "scipy.optimize",
        "scipy.stats",
        "numba",
        "pydantic",
        "matplotlib.figure",
        "rich",
    ):
        importlib.import_module(name)
    if options.command == "trace":
        trace(folder, options.files)
    elif options.command == "run":
        run(folder, sample(folder / "tree", options.count, options.seed), folder / "results.jsonl")
    elif options.command == "again":
        again(folder)
    else:
        report(folder)


if __name__ == "__main__":
    main()
