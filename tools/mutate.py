"""Mutation score of the numerics: one operator, sign or number is changed at a time, and a test has to fail.

    python tools/mutate.py trace FOLDER [TEST ...]          which test calls which function, and for how long
    python tools/mutate.py run FOLDER --count 60 --seed 0   a random sample of each package, against those tests
    python tools/mutate.py again FOLDER                     those that survived, with what has been traced since
    python tools/mutate.py report FOLDER                    scores with their standard errors, and the survivors

FOLDER keeps a copy of the tracked files, in which the changes are made, and the results; the checkout is only read.
A mutant meets the tests that call the function it stands in, the quickest first, until one fails. The process that
draws the mutants has imported the package: every mutant is a fork of it whose functions get the changed code, or which
imports the package anew where something else than a function has changed.
"""

from __future__ import annotations

import argparse
import gc
import importlib
import inspect
import json
import math
import os
import pkgutil
import re
import resource
import shutil
import signal
import subprocess
import sys
import time
import types
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path

import pytest
from mutants import PACKAGES, Mutant, mutants_of, sample

ROOT = Path(__file__).resolve().parent.parent
LIBRARIES = ("torch", "scipy.optimize", "scipy.stats", "numba", "pydantic", "matplotlib.figure", "rich")

COMPREHENSIONS = ("<genexpr>", "<listcomp>", "<dictcomp>", "<setcomp>")

FIRST_SECONDS, ALL_SECONDS = 3.0, 8.0
"""Of tests that a mutant meets: the quickest in a process of their own, and at most, as timed by `trace`."""

CPU_SECONDS, WALL_SECONDS = 20, 600
"""After which a mutant counts as caught, since it does not end."""


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
    text = original.decode().splitlines()[mutant.line - 1].strip()
    path.write_bytes(original[: mutant.start] + mutant.new.encode() + original[mutant.end :])
    log = folder / "mutant.log"
    outcome, seconds, ran = "survived", 0.0, 0
    try:
        for batch in batches(names, tests):
            log.unlink(missing_ok=True)
            code, took = child(lambda batch=batch: _limited(folder, path, original, batch, log))
            seconds, ran = seconds + took, ran + len(batch)
            if code != 0:
                outcome = outcome_of(code, log)
                break
    finally:
        path.write_bytes(original)
    words = [line for line in log.read_text().splitlines() if line.startswith("FAILED")] if names else []
    by = words[0].split(" - ")[0][7:] if words and outcome == "killed" else ""
    counts = {"seconds": seconds, "ran": ran, "of": len(names), "by": by}
    return {**asdict(mutant), "text": text, "outcome": outcome, **counts}


def outcome_of(code: int, log: Path) -> str:
    """What an exit status of pytest, not 0, says of a mutant."""
    if code < 0:
        return "endless"
    # A module of tests that fails while it is imported leaves the names of its tests unknown.
    imports = re.search(r"^ERROR tests/", log.read_text(), re.MULTILINE)
    return "killed" if code in (1, 2) or (code == 4 and imports) else f"error {code}"


def codes(code: types.CodeType) -> Iterator[types.CodeType]:
    """A code object and all inside it."""
    yield code
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from codes(constant)


def bodies(code: types.CodeType) -> Iterator[tuple[bytes, str]]:
    """What runs while the module is imported: its own code and that of its classes and comprehensions."""
    yield code.co_code, repr([value for value in code.co_consts if not isinstance(value, types.CodeType)])
    for inner in code.co_consts:
        comprehension = isinstance(inner, types.CodeType) and inner.co_name in COMPREHENSIONS
        if comprehension or (isinstance(inner, types.CodeType) and not inner.co_flags & inspect.CO_OPTIMIZED):
            yield from bodies(inner)


def put_into_functions(path: Path, original: bytes) -> bool:
    """Give the loaded functions of a file the code that it has now; whether that is all that has changed."""
    before, now = (compile(text, str(path), "exec") for text in (original, path.read_bytes()))
    changed = {(c.co_qualname, c.co_firstlineno): c for c in codes(now)}
    functions = [o for o in gc.get_objects() if type(o) is types.FunctionType and o.__code__.co_filename == str(path)]
    keys = [(f.__code__.co_qualname, f.__code__.co_firstlineno) for f in functions]
    if list(bodies(before)) != list(bodies(now)) or not functions or not changed.keys() >= set(keys):
        return False
    if any(f.__code__.co_freevars != changed[key].co_freevars for f, key in zip(functions, keys, strict=True)):
        return False
    for function, key in zip(functions, keys, strict=True):
        function.__code__ = changed[key]
    return True


def load_package(folder: Path) -> None:
    """Import every module of the copy."""
    sys.path[:0] = [str(folder / "tree")]
    package = importlib.import_module("analog_ep")
    for module in pkgutil.walk_packages(package.__path__, "analog_ep."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)


def _limited(folder: Path, path: Path, original: bytes, names: Sequence[str], log: Path) -> int:
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_SECONDS, CPU_SECONDS))
    sys.dont_write_bytecode = True
    if not put_into_functions(path, original):
        for name in [name for name in sys.modules if name.split(".")[0] == "analog_ep"]:
            del sys.modules[name]
    return pytest_in(folder, ["-x", *names], log)


def key(result: dict) -> tuple:
    """What is changed, and where."""
    return result["path"], result["start"], result["end"], result["new"]


def run(folder: Path, mutants: Sequence[Mutant], kept: Path, before: Sequence[dict] | None = None) -> None:
    """Meet every mutant that has no result yet, a line of JSON each, with the key of its result `before`."""
    tests = json.loads((folder / "tests.json").read_text())
    load_package(folder)
    done = {tuple(r["first"]) for r in results(kept)}
    for mutant, first in zip(mutants, map(key, before or map(asdict, mutants)), strict=True):
        if first in done:
            continue
        result = meet(folder, mutant, tests) | {"first": first}
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
    survivors = [r for r in results(folder / "results.jsonl") if r["outcome"] == "survived"]
    copy_tree(folder)
    found = [(relocated(folder / "tree", r), r) for r in survivors]
    there = [(mutant, r) for mutant, r in found if mutant is not None]
    # The code may have been edited since, so that the same change stands elsewhere.
    run(folder, [mutant for mutant, _ in there], folder / "again.jsonl", [r for _, r in there])


def relocated(tree: Path, result: dict) -> Mutant | None:
    """The same change of the same line in a file that has been edited since, if it is still there."""
    lines = (tree / result["path"]).read_text().splitlines()
    kind = (result["old"], result["new"], result["kind"])
    alike = [
        m
        for m in mutants_of(tree, result["path"])
        if (m.old, m.new, m.kind) == kind and lines[m.line - 1].strip() == result["text"]
    ]
    return min(alike, key=lambda m: abs(m.start - result["start"]), default=None)


def report(folder: Path) -> None:
    """Scores by package, and what survived."""
    first = results(folder / "results.jsonl")
    later = {tuple(r["first"]): r["outcome"] for r in results(folder / "again.jsonl")}
    for package in PACKAGES:
        own = [r for r in first if r["path"].split("/")[1] == package]
        for words, outcomes in (
            ("", [r["outcome"] for r in own]),
            (" now", [later.get(key(r), r["outcome"]) for r in own]),
        ):
            n, alive = len(outcomes), outcomes.count("survived")
            # One more of each, so that few mutants without a survivor do not look like certainty.
            near = (n - alive + 1) / (n + 2)
            share, error = (n - alive) / max(n, 1), math.sqrt(near * (1 - near) / max(n, 1))
            print(f"{package + words:20} {n - alive:3} of {n:3} caught: {100 * share:.0f} ± {100 * error:.0f} %")
    for r in first:
        if later.get(key(r), r["outcome"]) == "survived":
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
    for name in LIBRARIES:
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
