"""Designers' netlists: read as ngspice reads them, or refused in one line that names file and line."""

from __future__ import annotations

from pathlib import Path

import pytest

from analog_ep.designs import Design, read_netlist
from analog_ep.equilibrium import Newton, solve
from tests.design_decks import DECKS
from tests.read_by_ngspice import plain_voltages

VOLTS = 1e-8
"""What counts as the same node voltage. [V]"""


def write(folder: Path, files: dict[str, str | bytes]) -> Path:
    """Write the files of a deck; its netlist is the one called main.cir."""
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
    return folder / "main.cir"


def newton_voltages(design: Design) -> dict[str, float]:
    """Voltages by the designer's names. [V]"""
    state = solve(design.circuit, design.default_inputs[None], solver=Newton())
    found = design.voltages(state.node_voltages())
    return {name: float(value[0]) for name, value in found.items() if name != "0"}


@pytest.mark.parametrize("name", DECKS)
def test_decks_read_as_ngspice_reads_them(name: str, tmp_path: Path):
    theirs = plain_voltages(DECKS[name])
    assert theirs is not None, "the deck must be one that ngspice takes without complaint"
    ours = newton_voltages(read_netlist(write(tmp_path, DECKS[name])))
    assert ours.keys() <= theirs.keys()
    assert ours
    assert {n: v for n, v in ours.items() if abs(v - theirs[n]) > VOLTS} == {}
