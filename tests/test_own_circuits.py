"""The examples of docs/own-circuits.md, run as they are written, and its commands."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from analog_ep.spec import CircuitSpec, parse_spec
from tests.read_by_ngspice import plain_voltages

PAGE = (Path(__file__).parent.parent / "docs" / "own-circuits.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    """Code of the page in one language."""
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)


@pytest.mark.ngspice
def test_every_example_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    pytest.importorskip("PySpice.Spice.Netlist")
    monkeypatch.chdir(tmp_path)
    (deck,), examples = blocks("spice"), blocks("python")
    assert len(examples) == 6
    names: dict[str, object] = {"__name__": "examples", "NETLIST": deck}
    for number, code in enumerate(examples):
        exec(compile(code, f"example {number}", "exec"), names)
    learnt = (tmp_path / "learnt.cir").read_text()
    changed = [(a, b) for a, b in zip(deck.split("\n"), learnt.split("\n"), strict=True) if a != b]
    assert [a for a, _ in changed] == [".param start=20k", "R_w2 b out 33k ; the second weight", "R_w3 out gnd 15k"]
    assert plain_voltages({"main.cir": learnt}) is not None


def test_the_spec_of_the_page_is_one():
    (text,) = blocks("toml")
    spec = parse_spec(tomllib.loads(text), "the page")
    assert isinstance(spec.network, CircuitSpec)
    assert spec.network.netlist == "sum.cir"
    assert spec.training.epochs == 300
