"""The decks of benchmarks/engines_agree.py on every engine that is on this machine, against PyTorch."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))
from engine_decks import DECKS  # pyright: ignore[reportMissingImports]
from engines_agree import difference, main  # pyright: ignore[reportMissingImports]

QUICK = ("ideal diodes", "lattice", "Hopfield, hard", "memristor")
"""Begin the names of decks that CI runs in ngspice under node, which takes a second for each."""


def marked(deck: str, engine: str) -> list[pytest.MarkDecorator]:
    marks = [getattr(pytest.mark, {"ngspice-wasm": "wasm"}.get(engine, engine))]
    return marks if engine != "ngspice-wasm" or deck.startswith(QUICK) else [*marks, pytest.mark.lengthy]


CASES = [
    pytest.param(deck, engine, marks=marked(deck, engine), id=f"{deck}, {engine}")
    for engine in ("ngspice", "vacask", "ngspice-wasm")
    for deck in DECKS
]


@pytest.mark.parametrize(("deck", "engine"), CASES)
def test_engines_find_what_pytorch_does(deck: str, engine: str):
    assert difference(DECKS[deck], engine) <= DECKS[deck].allowed


@pytest.mark.ngspice
def test_the_table_ends_with_what_is_wrong(capsys, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["engines_agree.py", "ngspice", "--decks", "lattice"])
    main()
    printed = capsys.readouterr().out.splitlines()
    assert printed[0].startswith("| deck | ngspice ")
    assert len(printed) == 3
    monkeypatch.setitem(DECKS, "lattice", Shifted(DECKS["lattice"]))
    with pytest.raises(SystemExit, match="beyond what is allowed: lattice on ngspice"):
        main()


class Shifted:
    """A deck whose inputs are a billionth off."""

    def __init__(self, deck):
        self.deck, self.allowed, self.unit, self.plot = deck, deck.allowed, deck.unit, deck.plot

    def netlist(self, dialect: str) -> str:
        lines = self.deck.netlist(dialect).splitlines()
        return "\n".join(
            f"{line.rpartition(' ')[0]} {float(line.split()[-1]) * (1 + 1e-9)!r}" if line.startswith("v_x_") else line
            for line in lines
        )

    def difference(self, points) -> float:
        return self.deck.difference(points)
