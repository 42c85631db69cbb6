"""The same decks on several engines, each against PyTorch: a table of the largest differences.

    python benchmarks/engines_agree.py ngspice /path/of/another/ngspice ngspice-wasm vacask

An engine is a name that `analog-ep doctor` lists, or the path of an ngspice. Rows are decks of
`engine_decks.py`: operating points and ends of transients in volts, of all nodes in both phases; what has another unit
says so. A difference beyond what is allowed ends the run with status 1.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import tempfile
from pathlib import Path

import numpy as np
from engine_decks import DECKS, Deck, Points

from analog_ep.netlist.dialects import NGSPICE, analyses_of
from analog_ep.ngspice.engines import find_engine
from analog_ep.ngspice.process import EngineReport, has_klu
from analog_ep.ngspice.raw import read_plots

_PATIENCE = 120.0


def run(deck: Deck, engine: str, folder: Path) -> Points:
    """The result of an engine, which runs in a folder."""
    if engine == "vacask":
        return _vacask(deck, folder)
    program = find_engine(engine)
    command = program.command("-n", "-b", "-r", "out.raw")
    title, _, cards = deck.netlist("ngspice").partition("\n")
    text = "\n".join([title, *(analyses_of(NGSPICE).fast_solver if has_klu(program) else ()), cards])
    done = subprocess.run(command, cwd=folder, input=text.encode(), capture_output=True, timeout=_PATIENCE, check=False)
    if not (folder / "out.raw").is_file():
        raise SystemExit(f"{engine} ended with {done.returncode}: {done.stdout[-2000:].decode()}")
    (plot,) = read_plots(folder / "out.raw")
    names = [re.sub(r"^v\((.*)\)$", r"\1", name) for name in plot.names]
    return dict(zip(names, plot.values.T, strict=True))


def _vacask(deck: Deck, folder: Path) -> Points:
    # Without the list of what is printed all nodes are in the result.
    (folder / "deck.sim").write_text(re.sub(r"^  save .*$", "", deck.netlist("vacask"), flags=re.MULTILINE))
    command = find_engine("vacask").command("-qp", "-sp", "deck.sim")
    done = subprocess.run(command, cwd=folder, capture_output=True, timeout=_PATIENCE, check=False)
    result = folder / f"{deck.plot}.raw"
    if not result.is_file():
        raise SystemExit(f"vacask ended with {done.returncode}: {done.stdout[-2000:].decode()}")
    head, _, data = result.read_bytes().partition(b"Binary:\n")
    lines = head.decode().splitlines()
    names = [line.split("\t")[2].lower() for line in lines[lines.index("Variables:") + 1 :]]
    return dict(zip(names, np.frombuffer(data, "<f8").reshape(-1, len(names)).T, strict=True))


def difference(deck: Deck, engine: str) -> float:
    """The largest of a deck on an engine."""
    with tempfile.TemporaryDirectory() as folder:
        return deck.difference(run(deck, engine, Path(folder)))


def main() -> None:
    options = argparse.ArgumentParser(description="Compare engines on the same decks.")
    options.add_argument("engines", nargs="*", default=["ngspice"], help="Names, or paths of an ngspice.")
    options.add_argument("--decks", nargs="+", help="Rows whose names contain one of these.")
    chosen = options.parse_args()
    wanted = {name: deck for name, deck in DECKS.items() if not chosen.decks or any(w in name for w in chosen.decks)}
    named = [str(EngineReport.of(engine)) for engine in chosen.engines]
    print("| deck | " + " | ".join(named) + " | allowed |")
    print("|---" * (len(chosen.engines) + 2) + "|")
    wrong = []
    for name, deck in wanted.items():
        found = [difference(deck, engine) for engine in chosen.engines]
        wrong += [f"{name} on {engine}" for engine, d in zip(chosen.engines, found, strict=True) if d > deck.allowed]
        unit = "" if deck.unit == "V" else f" {deck.unit}"
        print(f"| {name} | " + " | ".join(f"{d:.1e}" for d in found) + f" | {deck.allowed:.0e}{unit} |", flush=True)
    if wrong:
        raise SystemExit("beyond what is allowed: " + "; ".join(wrong))


if __name__ == "__main__":
    main()
