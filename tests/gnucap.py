"""Runs gnucap, the third opinion, and knows its constants."""

import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np

from analog_ep.circuit import Circuit, Diodes
from analog_ep.constants import BOLTZMANN, ELEMENTARY_CHARGE
from analog_ep.devices import ShockleyDiode

GNUCAP_THERMAL = 1.3806226e-23 / 1.6021918e-19
"""Its k/q: 2.7e-5 below ngspice's, which a forward voltage follows. [V/K]"""


_SUFFIXES = {"K": 1e3, "m": 1e-3, "u": 1e-6, "n": 1e-9, "p": 1e-12, "f": 1e-15, "a": 1e-18}

ATOL, RTOL = 1e-7, 2e-7
"""A voltage source is a conductance of 10 MS to gnucap, and a reversed junction lacks ngspice's cubic tail. [V]"""


def with_gnucap_constants(circuit: Circuit) -> Circuit:
    """The circuit whose junctions at our constants are what gnucap makes of the given one's."""
    ratio = GNUCAP_THERMAL / (BOLTZMANN / ELEMENTARY_CHARGE)

    def like_gnucap(group):
        if not (isinstance(group, Diodes) and isinstance(group.device, ShockleyDiode)):
            return group
        device = group.device
        # The saturation current at the diode's own temperature stays what it is.
        scaled = replace(
            device,
            saturation_current=device.effective_saturation_current,
            ideality=device.ideality * ratio,
            nominal_temperature=device.temperature,
        )
        return replace(group, device=scaled)

    return circuit.with_groups(like_gnucap(group) for group in circuit.groups)


def gnucap_tables(deck: str, folder: Path) -> dict[str, np.ndarray]:
    """What gnucap prints for a deck, a column by its heading."""
    path = folder / "deck.cir"
    path.write_text(deck)
    gnucap = shutil.which("gnucap")
    assert gnucap is not None
    done = subprocess.run([gnucap, "-b", path], cwd=folder, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0
    assert "?" not in done.stdout.partition("\n#")[0], done.stdout
    lines = done.stdout[done.stdout.index("\n#") + 1 :].splitlines()
    headings, rows = lines[0].split()[1:], [line.split() for line in lines[1:] if line.strip()]
    return {heading: np.array([_value(row[i + 1]) for row in rows]) for i, heading in enumerate(headings)}


def _value(word: str) -> float:
    scale = _SUFFIXES.get(word[-1])
    return float(word) if scale is None else float(word[:-1]) * scale
